"""Right and wrong answers to the exercises of chapter 7, written as readers write them."""

import math

import numpy as np
import torch
import torch.nn.functional as F


def blind(tries=20, n=7, shuffle=torch.randperm, moved=lambda y, order: y[order]):
    """Compares f of the shuffled tokens with the outputs, moved along or not."""

    def answer(f):
        x = torch.randn(n, 3, dtype=torch.float64)
        orders = [shuffle(n) for _ in range(tries)]
        return all(torch.allclose(f(x[order]), moved(f(x), order)) for order in orders)

    return answer


def by_pairs(f):
    """Exchanges each pair of tokens once: every shuffle is made of such exchanges."""
    x = np.random.default_rng(0).normal(size=(5, 2))
    y = f(torch.tensor(x)).numpy()
    for i in range(5):
        for j in range(i):
            order = np.arange(5)
            order[[i, j]] = j, i
            if not np.allclose(f(torch.tensor(x[order])).numpy(), y[order]):
                return 0
    return 1


def project(T):
    """The number to subtract, found by trying every possible count of entries that stay above zero."""
    T = T.numpy()
    A = np.zeros_like(T)
    for i, row in enumerate(T):
        down = np.sort(row)[::-1]
        for k in range(len(row), 0, -1):
            number = (down[:k].sum() - 1) / k
            if down[k - 1] > number:
                break
        A[i] = np.maximum(row - number, 0)
    return A


def missed(shares):
    return lambda T: float(((shares(T) - T.numpy()) ** 2).sum() / (T.numpy() ** 2).sum())


def difference():
    return np.eye(8) - np.eye(8, k=-1)


def split(best, sign=1):
    """c_1 A_1 + c_2 A_2 for a matrix whose rows have the same sum."""
    plus, minus = np.maximum(best, 0), np.maximum(-best, 0)
    c_2 = minus.sum(1).max() + 0.5
    more = (c_2 - minus.sum(1, keepdims=True)) / 8
    c_1 = (plus + more)[0].sum()
    return (plus + more) / c_1, (minus + more) / c_2, sign * c_1, -sign * c_2


def with_sum(s, T=difference()):  # noqa: B008
    return T + (s - T.sum(1, keepdims=True)) / 8


def plain_heads(c_1=1.0, c_2=-1.0, first=1 / 8):
    A_2 = np.eye(8, k=-1)
    A_2[0] = first
    return np.eye(8), A_2, c_1, c_2


RIGHT = {
    "7.1, math": ("7.1", lambda n, m, p: math.log((n - m) / m) - math.log(1 / p - 1)),
    "7.1, logit": ("7.1", lambda n, m, p: torch.logit(torch.tensor(p)) + math.log(n - m) - math.log(m)),
    "7.2, shuffles": ("7.2", blind()),
    "7.2, exchanges": ("7.2", by_pairs),
    "7.3, counting": ("7.3", missed(project)),
    "7.4": ("7.4", lambda: split(with_sum(1 / 8))),
    "7.4, tensors": ("7.4", lambda: [torch.tensor(part) for part in split(with_sum(1 / 8))]),
}


WRONG = {
    "7.1, n others": ("7.1", lambda n, m, p: math.log(p / (1 - p) * n / m), "n others are counted"),
    "7.1, n - 1 others": ("7.1", lambda n, m, p: math.log(p / (1 - p) * (n - 1) / m), "n - 1 others"),
    "7.1, one wanted": ("7.1", lambda n, m, p: math.log(p / (1 - p) * (n - m)), "ONE wanted token"),
    "7.1, p alone": ("7.1", lambda n, m, p: math.log(p * (n - m) / m), "not p alone"),
    "7.1, no logarithm": ("7.1", lambda n, m, p: p / (1 - p) * (n - m) / m, "its logarithm"),
    "7.1, sign": ("7.1", lambda n, m, p: math.log((1 - p) / p * m / (n - m)), "sign is turned"),
    "7.1, base 2": ("7.1", lambda n, m, p: math.log2(p / (1 - p) * (n - m) / m), "base two"),
    "7.1, base 10": ("7.1", lambda n, m, p: math.log10(p / (1 - p) * (n - m) / m), "base ten"),
    "7.1, for each": (
        "7.1",
        lambda n, m, p: math.log(p / (1 / m - p) * (n / m - 1)),
        "together they must get it",
    ),
    "7.1, of the others": (
        "7.1",
        lambda n, m, p: math.log((1 - p) * (n - m) / (p * m)),
        "the part p of the row is left to the others",
    ),
    "7.2, always": ("7.2", lambda f: True, "adds its place"),
    "7.2, never": ("7.2", lambda f: False, "always answers zero"),
    "7.2, outputs left where they are": ("7.2", blind(moved=lambda y, order: y), "SHUFFLED outputs"),
    "7.2, shifts": ("7.2", blind(shuffle=lambda n: torch.arange(n).roll(1)), "shifting all tokens"),
    "7.2, reversal": ("7.2", blind(shuffle=lambda n: torch.arange(n).flip(0)), "reversal"),
    "7.2, first two exchanged": (
        "7.2",
        blind(shuffle=lambda n: torch.tensor([1, 0, *range(2, n)])),
        "last two tokens",
    ),
    "7.3, softmax": ("7.3", missed(lambda T: F.softmax(T, dim=1).numpy()), "the softmax of T"),
    "7.3, cut off and divided": (
        "7.3",
        missed(lambda T: (T.relu() / T.relu().sum(1, keepdim=True)).numpy()),
        "divided by its sum",
    ),
    "7.3, cut off": ("7.3", missed(lambda T: T.relu().numpy()), "negative entries set to zero: the rows"),
    "7.3, not relative": ("7.3", lambda T: ((project(T) - T.numpy()) ** 2).sum(), "relative to the size"),
    "7.3, negative entries": (
        "7.3",
        missed(lambda T: (T + (1 - T.sum(1, keepdim=True)) / len(T)).numpy()),
        "have negative entries",
    ),
    "7.3, subtracted once": (
        "7.3",
        missed(lambda T: (T + (1 - T.sum(1, keepdim=True)) / len(T)).relu().numpy()),
        "subtract another number",
    ),
    "7.3, largest entry": (
        "7.3",
        missed(lambda T: np.eye(len(T))[T.numpy().argmax(1)]),
        "largest entry",
    ),
    "7.3, columns": ("7.3", missed(lambda T: project(T.T).T), "columns in place of rows"),
    "7.3, root": ("7.3", lambda T: missed(project)(T) ** 0.5, "not squared"),
    "7.3, a matrix": ("7.3", lambda T: torch.tensor(project(T)), "shape"),
    "7.4, sum zero": ("7.4", plain_heads, "c_1 + c_2 = 0"),
    "7.4, a sum between": ("7.4", lambda: split(with_sum(0.05)), "which sum"),
    "7.4, right sum, not spread": ("7.4", lambda: plain_heads(c_2=-7 / 8), "went to the token before"),
    "7.4, right sum, the first head too large": (
        "7.4",
        lambda: plain_heads(c_1=9 / 8),
        "went to the token itself",
    ),
    "7.4, silent row": ("7.4", lambda: plain_heads(first=0.0), "cannot be silent"),
    "7.4, negative shares": ("7.4", lambda: (np.eye(8), difference(), 0.0, 1.0), "negative entry"),
    "7.4, both positive": ("7.4", lambda: plain_heads(c_2=1.0), "both factors are positive"),
    "7.4, signs": ("7.4", lambda: split(with_sum(1 / 8), sign=-1), "signs have changed places"),
    "7.4, transposed": ("7.4", lambda: split(with_sum(1 / 8, difference().T)), "transposed"),
    "7.4, three things": ("7.4", lambda: plain_heads()[:3], "four things"),
    "7.4, seven tokens": ("7.4", lambda: (np.eye(7), np.eye(7), 1.0, -1.0), "shape"),
}

SAME = set()


def blind_to_shifts_and_reversal(f):
    x = torch.randn(7, 3, dtype=torch.float64)
    return all(
        torch.allclose(f(x[order]), f(x)[order])
        for order in (torch.arange(7).roll(1), torch.arange(7).flip(0))
    )


WRONG |= {
    "7.1, without its sign": (
        "7.1",
        lambda n, m, p: abs(math.log(p / (1 - p) * (n - m) / m)),
        "the sign is lost",
    ),
    "7.2, shifts and reversal": ("7.2", blind_to_shifts_and_reversal, "shifts and a reversal"),
}
