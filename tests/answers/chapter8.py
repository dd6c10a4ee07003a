"""Right and wrong answers to the exercises of chapter 8, written as readers write them."""

import math

import numpy as np
import torch
import torch.nn.functional as F

# ----------------------------------------------------------------------------------- 8.1, a store that fades


def by_store(q, k, f):
    """The store itself, fed with one-hot values: its outputs are the rows of the matrix."""
    n, d = q.shape
    S, rows = torch.zeros(n, d, dtype=q.dtype), []
    for i in range(n):
        S = f * S + torch.outer(torch.eye(n, dtype=q.dtype)[i], k[i])
        rows.append(S @ q[i])
    return torch.stack(rows)


def fading(weigh, dot=lambda q, k, i, j: q[i] @ k[j]):
    """In loops; weigh(f, i, j) is what a pair's product is multiplied with."""

    def answer(q, k, f):
        n = len(q)
        A = torch.zeros(n, n, dtype=q.dtype)
        for i in range(n):
            for j in range(n):
                A[i, j] = weigh(f, i, j) * dot(q, k, i, j)
        return A

    return answer


def power_of_every_age(q, k, f):
    """A mask of ones and zeros times powers, some of them negative."""
    i = torch.arange(len(q))
    return torch.ones(len(q), len(q)).tril() * (q @ k.T) * f ** (i[:, None] - i)


def softmax_of_fading(q, k, f):
    A = by_store(q, k, f).numpy()
    e = np.exp(A) * np.tri(len(A))
    return e / e.sum(1, keepdims=True)


# ------------------------------------------------------------------------------------------- 8.2, the best guess


def guess(add=1.0, total=None, keep=lambda text, i: text[i - 1] == text[-1], read=lambda text, i: text[i]):
    """Counts in a loop over the places of the text, starting from ``add``."""

    def answer(text, count):
        text = text.tolist()
        counts = [add(count) if callable(add) else add] * count
        for i in range(1, len(text)):
            if keep(text, i):
                counts[read(text, i)] += 1
        whole = sum(counts) if total is None else total(counts, count)
        return np.array(counts) / max(whole, 1e-9)

    return answer


def letters_counted(text, count):
    counts = np.bincount(text.numpy(), minlength=count) + 1
    return counts / counts.sum()


def followers_alone(text, count):
    """Right, where there are followers."""
    text = text.tolist()
    next_letters = [b for a, b in zip(text, text[1:]) if a == text[-1]]
    return [
        (next_letters.count(c) + 1) / (len(next_letters) + count) if next_letters else 0.0
        for c in range(count)
    ]


def itself_too(text, count):
    counts = np.ones(count)
    for before, after in zip(text.tolist(), [*text.tolist()[1:], text[-1].item()]):
        if before == text[-1]:
            counts[after] += 1
    return counts / counts.sum()


# ------------------------------------------------------------------------------------- 8.3, one gradient step


def step(x=lambda eta: eta, y=lambda eta: 1.0, bring=lambda d: slice(d, d + 1), corner=0.0):
    def answer(d, eta):
        B, W_V = np.zeros((d + 1, d + 1)), np.zeros(d + 1)
        for a in range(d):
            B[a, a] = x(eta)
        B[d] = corner
        W_V[bring(d)] = y(eta)
        return B, W_V

    return answer


def y_first(d, eta):
    B, W_V = torch.zeros(d + 1, d + 1), torch.zeros(d + 1)
    B[1:, 1:] = torch.eye(d) * eta
    W_V[0] = 1
    return B, W_V


# ---------------------------------------------------------------------------------- 8.4, two letters before j


def longer_by_masks(text):
    """All pairs at once, with rolled texts."""
    before, older = text.roll(1), text.roll(2)
    match = (text[:, None] == before) & (before[:, None] == older)
    match[:, :2] = False
    match[0] = False
    A = match.tril().double()
    A[:, 0] += A.sum(1) == 0
    return A / A.sum(1, keepdim=True)


def longer_in_a_circle(text):
    """All pairs at once, and nothing done about what came around."""
    match = (text[:, None] == text.roll(1)) & (text.roll(1)[:, None] == text.roll(2))
    A = match.tril().double()
    A[:, 0] += A.sum(1) == 0
    return A / A.sum(1, keepdim=True)


def the_rest_to_itself(text):
    A = came_after_two(text)
    A[A.sum(1) == 0] += torch.eye(len(A))[A.sum(1) == 0]
    return A / A.sum(1, keepdim=True)


def the_rest_to_all(text):
    A = came_after_two(text)
    A[A.sum(1) == 0] = torch.ones_like(A).tril()[A.sum(1) == 0]
    return A / A.sum(1, keepdim=True)


def came_after_two(text):
    n = len(text)
    pairs = [(i, j) for i in range(1, n) for j in range(2, i + 1)]
    A = torch.zeros(n, n)
    for i, j in pairs:
        A[i, j] = float(text[j - 1] == text[i] and text[j - 2] == text[i - 1])
    return A


def longer(match, first=0, until=lambda i, n: i + 1):
    def answer(text):
        t, n = text.tolist(), len(text)
        A = np.zeros((n, n))
        for i in range(n):
            found = [j for j in range(first, until(i, n)) if match(t, i, j)]
            A[i, found or [0]] = 1 / max(1, len(found))
        return A

    return answer


# -------------------------------------------------------------------------------------- 8.5, room for 32 keys


def power(p, factor=1.0):
    def answer(k):
        f = k
        for _ in range(p - 1):
            f = (f[:, :, None] * k[:, None]).flatten(1)
        return factor * f

    return answer


def each_other_out(k):
    """Makes all keys of the batch orthogonal at once."""
    return k @ torch.linalg.pinv(k)


def waves(count=2400, spread=2.2):
    """Random waves: products of features are near a Gaussian function of the distance."""
    directions = (
        torch.randn(16, count, generator=torch.Generator().manual_seed(3), dtype=torch.float64) * spread
    )

    def answer(k):
        return torch.cat([(k @ directions).cos(), (k @ directions).sin()], 1) / count**0.5

    return answer


RIGHT = {
    "8.1 the store itself": ("8.1", by_store),
    "8.1 loops": ("8.1", fading(lambda f, i, j: f ** (i - j) if j <= i else 0)),
    "8.1 NumPy": ("8.1", lambda q, k, f: torch.tensor(np.tril(f ** np.subtract.outer(np.arange(len(q)), np.arange(len(q))).clip(0))) * (q @ k.T)),
    "8.2 loop": ("8.2", guess()),
    "8.2 one-hot": ("8.2", lambda text, count: F.normalize(1.0 + F.one_hot(text[1:], count)[text[:-1] == text[-1]].sum(0), p=1, dim=0)),
    "8.3 eta in B": ("8.3", step()),
    "8.3 eta in W_V": ("8.3", step(lambda eta: 1.0, lambda eta: eta)),
    "8.3 roots": ("8.3", step(math.sqrt, math.sqrt)),
    "8.3 both turned": ("8.3", step(lambda eta: -1.0, lambda eta: -eta)),
    "8.3 what meets the zero": ("8.3", step(corner=7.0)),
    "8.4 masks": ("8.4", longer_by_masks),
    "8.4 loops": ("8.4", longer(lambda t, i, j: i and t[j - 1] == t[i] and t[j - 2] == t[i - 1], first=2)),
    "8.5 cube": ("8.5", power(3)),
    "8.5 waves": ("8.5", waves()),
}  # fmt: skip

WRONG = {
    "8.1 no fading": ("8.1", fading(lambda f, i, j: j <= i), "nothing fades"),
    "8.1 sees later ones": ("8.1", fading(lambda f, i, j: f ** abs(i - j)), "reads tokens after itself"),
    "8.1 too much": ("8.1", fading(lambda f, i, j: f ** (i - j + 1) * (j <= i)), "one fading too many"),
    "8.1 too little": ("8.1", fading(lambda f, i, j: f ** max(0, i - j - 1) * (j <= i)), "one fading too few"),
    "8.1 read first": ("8.1", fading(lambda f, i, j: f ** (i - j) * (j < i)), "read before written"),
    "8.1 place read": ("8.1", fading(lambda f, i, j: f**j * (j <= i)), "by the place of the token that is read"),
    "8.1 place reading": ("8.1", fading(lambda f, i, j: f**i * (j <= i)), "by the place of the token that reads"),
    "8.1 exchanged": ("8.1", fading(lambda f, i, j: f ** (i - j) * (j <= i), lambda q, k, i, j: k[i] @ q[j]), "have changed places"),
    "8.1 scaled": ("8.1", lambda q, k, f: by_store(q, k, f) / math.sqrt(q.shape[1]), "no such scale"),
    "8.1 softmax": ("8.1", softmax_of_fading, "a softmax in it"),
    "8.1 rows that sum to 1": ("8.1", lambda q, k, f: (A := by_store(q, k, f)) / A.sum(-1, keepdim=True), "divided by their sums"),
    "8.1 negative powers": ("8.1", power_of_every_age, "except for f = 0"),
    "8.1 reads before it writes": ("8.1", fading(lambda f, i, j: f ** (i - j - 1) if j < i else 0), "the order read, fade, write"),
    "8.1 transposed": ("8.1", lambda q, k, f: by_store(q, k, f).T, "transposed"),
    "8.1 outputs": ("8.1", lambda q, k, f: by_store(q, k, f) @ k, "the result has shape"),
    "8.1 cut off": ("8.1", lambda q, k, f: by_store(q, k, f).detach(), "gradient is not"),
    "8.1 fades twice": ("8.1", fading(lambda f, i, j: f ** (2 * (i - j)) * (j <= i)), "in no way that this check knows"),
    "8.2 nothing followed": ("8.2", followers_alone, "nothing has followed"),
    "8.2 a half": ("8.2", guess(0.5), "a half is added"),
    "8.2 letters": ("8.2", letters_counted, "counts all letters"),
    "8.2 shares": ("8.2", guess(0.0), "add one to every count"),
    "8.2 before": ("8.2", guess(keep=lambda t, i: t[i] == t[-1], read=lambda t, i: t[i - 1]), "the letters BEFORE"),
    "8.2 itself": ("8.2", itself_too, "as if it had followed itself"),
    "8.2 sum of counts": ("8.2", guess(total=lambda counts, count: sum(counts) - count), "but not to their sum"),
    "8.2 sum once": ("8.2", guess(total=lambda counts, count: sum(counts) - count + 1), "only once"),
    "8.2 other prior": ("8.2", guess(lambda count: 1 / count), "for another prior"),
    "8.2 counts": ("8.2", guess(total=lambda counts, count: 1), "these are counts"),
    "8.2 not finite": ("8.2", guess(total=lambda counts, count: math.nan), "not finite"),
    "8.2 the letter": ("8.2", lambda text, count: guess()(text, count).argmax(), "the result has shape"),
    "8.2 two more": ("8.2", guess(2.0), "two is added to every count"),
    "8.2 five more": ("8.2", guess(5.0), "in no way that this check knows"),
    "8.3 no eta": ("8.3", step(lambda eta: 1.0), "eta is missing"),
    "8.3 eta twice": ("8.3", step(y=lambda eta: eta), "eta is in both"),
    "8.3 uphill": ("8.3", step(y=lambda eta: -1.0), "uphill"),
    "8.3 mean": ("8.3", step(lambda eta: eta / 7), "divided by the number"),
    "8.3 brings x": ("8.3", step(bring=lambda d: slice(0, d)), "it should bring their y"),
    "8.3 brings both": ("8.3", step(bring=lambda d: slice(0, d + 1)), "x and y together"),
    "8.3 nothing": ("8.3", step(y=lambda eta: 0.0), "the answer is 0"),
    "8.3 y first": ("8.3", y_first, "the tokens are (x, y) here"),
    "8.3 one": ("8.3", lambda d, eta: step()(d, eta)[0], "return two things"),
    "8.3 five": ("8.3", lambda d, eta: step()(5, eta), "got shapes"),
    "8.3 no numbers": ("8.3", step(lambda eta: math.inf), "not finite"),
    "8.3 ones": ("8.3", lambda d, eta: (torch.ones(d + 1, d + 1), torch.ones(d + 1)), "don't take the step"),
    "8.4 one letter": ("8.4", longer(lambda t, i, j: t[j - 1] == t[i], first=1), "matches one letter"),
    "8.4 the earlier place": ("8.4", longer(lambda t, i, j: j < i and t[j] == t[i] and t[j - 1] == t[i - 1], first=1), "one token further"),
    "8.4 the place and own": ("8.4", longer(lambda t, i, j: t[j] == t[i] and t[j - 1] == t[i - 1], first=1), "its own included"),
    "8.4 wrong order": ("8.4", longer(lambda t, i, j: i and t[j - 1] == t[i - 1] and t[j - 2] == t[i], first=2), "wrong order"),
    "8.4 either": ("8.4", longer(lambda t, i, j: i and (t[j - 1] == t[i] or t[j - 2] == t[i - 1]), first=2), "both must match"),
    "8.4 only the older": ("8.4", longer(lambda t, i, j: i and t[j - 2] == t[i - 1], first=2), "only the older"),
    "8.4 later ones": ("8.4", longer(lambda t, i, j: i and t[j - 1] == t[i] and t[j - 2] == t[i - 1], 2, lambda i, n: n), "only j <= i"),
    "8.4 not itself": ("8.4", longer(lambda t, i, j: i and t[j - 1] == t[i] and t[j - 2] == t[i - 1], 2, lambda i, n: i), "j = i counts"),
    "8.4 in a circle": ("8.4", longer_in_a_circle, "read as a circle"),
    "8.4 the rest to itself": ("8.4", the_rest_to_itself, "token 0 gets all"),
    "8.4 the rest to all": ("8.4", the_rest_to_all, "shared among all tokens"),
    "8.4 not shared": ("8.4", lambda text: (longer_by_masks(text) > 0).double(), "in no way that this check knows"),
    "8.4 only the last row": ("8.4", lambda text: longer_by_masks(text)[-1], "the result has shape"),
    "8.5 the keys": ("8.5", power(1), "as with the keys themselves"),
    "8.5 square": ("8.5", power(2), "too far from 0"),
    "8.5 fourth power": ("8.5", power(4), "at most 5000"),
    "8.5 twice as long": ("8.5", power(3, 2.0), "divide the features"),
    "8.5 exponentials": ("8.5", lambda k: (4 * k).exp(), "should be 1 for every key"),
    "8.5 zero": ("8.5", lambda k: 0 * k, "all features are zero"),
    "8.5 of all keys": ("8.5", each_other_out, "depend on the other keys"),
    "8.5 by chance": ("8.5", lambda k: k + torch.randn_like(k), "depend on the other keys"),
    "8.5 not finite": ("8.5", lambda k: k / 0, "not finite"),
    "8.5 one number": ("8.5", lambda k: k.sum(), "the result has shape"),
}  # fmt: skip

SAME = {"8.5 of all keys", "8.5 by chance", "8.1 fades twice", "8.2 five more"}
