"""Judges of the exercises of chapter 7."""

import math

import torch

from dynattn.attention import attention
from dynattn.exercises._judging import misjudges, normal, run, same_as, tensor


def _lead(share=lambda p: p / (1 - p), others=lambda n, m: n - m, wanted=lambda m: m):
    """The lead of the logits, with one part replaced."""
    return lambda n, m, p: torch.tensor(math.log(share(p) * others(n, m) / wanted(m)), dtype=torch.float64)


def _judge_blindness_test(answer):
    """The answer is itself a test; try it on layers that are blind to order, and on some that are not."""

    def attend(mask=None):
        return lambda x: attention(x, x, x, mask)[0]

    def causal(x):
        return attend(torch.ones(len(x), len(x), dtype=torch.bool).tril())(x)

    def place(x):
        return torch.linspace(0.0, 1.0, len(x), dtype=x.dtype)[:, None]

    layers = (
        (lambda x: 0 * x, True, "a layer that always answers zero is blind, but your test says that it is not."),
        (attend(), True, "attention without a mask is blind, but your test says that it is not: compare f of the "
         "shuffled tokens with the SHUFFLED outputs."),
        (lambda x: x.tanh(), True, "a layer that changes each token by itself is blind, but your test says that it is not."),
        (lambda x: x - x.mean(0), True, "the distance to the mean is blind to order, but your test says that it is not."),
        (lambda x: x + place(x), False, "your test takes a layer that adds its place to each token for blind."),
        (causal, False, "your test takes attention under a causal mask for blind: the mask has a row for each place."),
        (lambda x: (x.roll(1, 0) + x) / 2, False, "your test takes the mean of a token and the one before it for blind: "
         "shifting all tokens is one shuffle, but not the only one."),
        (lambda x: x + place(x) * (1 - place(x)), False, "your test takes a layer for blind that respects only a reversal of "
         "the tokens: try other shuffles."),
        (lambda x: (x.roll(1, 0) + x.roll(-1, 0)) / 2, False, "your test takes the mean of both neighbours for blind: it respects "
         "shifts and a reversal, and nothing else."),
        (lambda x: x.sum(0, keepdim=True) + place(x), False, "your test takes a layer for blind whose outputs tell only the "
         "places: the sum of the outputs stays, the outputs don't move along."),
        (lambda x: torch.cat([x[:-2].mean(0, keepdim=True).expand(len(x) - 2, -1), x[-2:]]), False, "your test takes a layer "
         "for blind in which only the last two tokens are treated in another way: shuffle all of them, and more than once."),
    )  # fmt: skip
    return misjudges(answer, layers, times=3)


def _nearest_shares(T):
    """Each row's nearest point among the rows of shares (Euclidean projection on the simplex)."""
    ordered = T.sort(dim=1, descending=True).values
    over = (ordered.cumsum(1) - 1) / torch.arange(1, T.shape[1] + 1, dtype=T.dtype)
    last = (ordered > over).sum(1, keepdim=True) - 1
    return (T - over.gather(1, last)).clamp(min=0)


def _missed(shares, relative=True):
    """The error of some way to make shares from T."""
    return lambda T: (shares(T) - T).square().sum() / (T.square().sum() if relative else 1)


def _difference(n):
    T = torch.eye(n, dtype=torch.float64) - torch.eye(n, dtype=torch.float64).roll(1, dims=0)
    T[0] = torch.eye(n, dtype=torch.float64)[0]
    return T


def _target_cases(generator):
    return [(_difference(8),), (normal(generator, 6, 6),), (normal(generator, 5, 5) / 3,)]


def _clipped(T):
    positive = T.clamp(min=0)
    return positive / positive.sum(1, keepdim=True).clamp(min=1e-12)


def _judge_two_factors(answer):
    """The error of c_1 A_1 + c_2 A_2 against the difference; its floor is 7/960."""
    result = run(answer)
    if not (isinstance(result, tuple | list) and len(result) == 4):
        return "return four things: A_1, A_2, c_1 and c_2."
    A_1, A_2, c_1, c_2 = map(tensor, result)
    for name, A in (("A_1", A_1), ("A_2", A_2)):
        if A.shape != (8, 8):
            return f"{name} has shape {tuple(A.shape)}; expected (8, 8)."
        if not torch.isfinite(A).all():
            return f"{name} holds a number that is not finite."
        if A.min() < -1e-9:
            return f"{name} has a negative entry: its rows must be shares. The sign belongs into c_1 or c_2."
        if (A.sum(1) - 1).abs().max() > 1e-5:
            return f"the rows of {name} don't all add up to one: a head cannot be silent."
    if c_1.numel() != 1 or c_2.numel() != 1 or not torch.isfinite(c_1 + c_2).all():
        return "c_1 and c_2 must be two finite numbers."
    M, T = c_1 * A_1 + c_2 * A_2, _difference(8)
    error = ((M - T).square().sum() / T.square().sum()).item()
    if error <= 7 / 960 * (1 + 1e-4):
        return None
    if ((M - T.T).square().sum() / T.square().sum()).item() < 0.05:
        return "transposed: row i says from where output i takes, the token itself less the one BEFORE it."
    if ((M + T).square().sum() / T.square().sum()).item() < 0.05:
        return "the signs have changed places: the token itself counts plus, the one before it minus."
    if c_1 >= 0 and c_2 >= 0:
        return "both factors are positive: nothing is subtracted."
    if abs(error - 1 / 120) < 1e-4:
        return (
            "good, but c_1 + c_2 = 0 makes the first row miss 1/8; let all rows share the burden of its sum."
        )
    if abs(M.sum(1).mean().item() - 1 / 8) < 1e-3:
        return f"the sums of the rows are right; the error is {error:.5f}, and {7 / 960:.5f} can be reached: spread what is missing evenly."
    return f"the error is {error:.5f}, and {7 / 960:.5f} can be reached: which sum should all rows have?"


JUDGES = {
    "7.1": same_as(
        _lead(),
        lambda generator: [(8, 1, 0.9), (64, 4, 0.6), (512, 2, 0.25), (5, 4, 0.5)],  # in the last, the wanted ones lag
        {
            "n others are counted; m of the n tokens are wanted, so n - m are others.": _lead(others=lambda n, m: n),
            "the sign is lost: where most tokens are wanted and get little, they must lag.": lambda n, m, p: (
                _lead()(n, m, p).abs()
            ),
            "n - 1 others are counted; m of the n tokens are wanted, so n - m are others.": _lead(
                others=lambda n, m: n - 1
            ),
            "this gives each wanted token the share p; together they must get it.": _lead(
                share=lambda p: p, others=lambda n, m: (n - m), wanted=lambda m: 1
            ),
            "this gives ONE wanted token, beside n - m others, the share p; there are m of them.": _lead(
                wanted=lambda m: 1
            ),
            "p / (1 - p), the share over what is left of the row, not p alone.": _lead(share=lambda p: p),
            "this is how many times more a wanted token counts; the lead is its logarithm.": lambda n, m, p: (
                torch.tensor(p / (1 - p) * (n - m) / m)
            ),
            "the sign is turned: this is how far the others lead.": lambda n, m, p: -_lead()(n, m, p),
            "a logarithm with base 2 or 10; the softmax is made of powers of e.": lambda n, m, p: (
                _lead()(n, m, p) / math.log(2)
            ),
        },
    ),
    "7.2": _judge_blindness_test,
    "7.3": same_as(
        _missed(_nearest_shares),
        _target_cases,
        {
            "this is the squared distance; make it relative to the size of T.": _missed(_nearest_shares, relative=False),
            "the softmax of T is a row of shares, but not the nearest.": _missed(lambda T: T.softmax(1)),
            "negative entries set to zero and the rest divided by its sum: shares, but not the nearest.": _missed(_clipped),
            "negative entries set to zero: the rows no longer add up to one.": _missed(lambda T: T.clamp(min=0)),
            "the rows add up to one, but have negative entries: after subtracting, what is below zero becomes zero.": _missed(
                lambda T: T - (T.sum(1, keepdim=True) - 1) / T.shape[1]
            ),
            "subtracted once and then cut off at zero: the rows no longer add up to one, so subtract another number.": _missed(
                lambda T: (T - (T.sum(1, keepdim=True) - 1) / T.shape[1]).clamp(min=0)
            ),
            "each row gives everything to its largest entry: shares, but not the nearest.": _missed(
                lambda T: torch.zeros_like(T).scatter(1, T.argmax(1, keepdim=True), 1.0)
            ),
            "columns in place of rows: each row of A must be shares.": _missed(lambda T: _nearest_shares(T.T).T),
            "a distance, not squared: square it, and the size of T too.": lambda T: (
                (_nearest_shares(T) - T).norm() / T.norm()
            ),
        },
    ),
    "7.4": _judge_two_factors,
}  # fmt: skip
