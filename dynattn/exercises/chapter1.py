"""The exercises of chapter 1."""

import torch

from dynattn.exercises._judging import Exercise, Hard, Variants, normal, says
from dynattn.static import best_static_weights

# ------------------------------------------------------------------------------------ 1.1, write a routing

_NUMBER = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def _routing_text(n, by):
    return (
        f"Write the $W$ with which each of {_NUMBER[n]} tokens takes over the numbers of the token *{_NUMBER[by]}* places before "
        f"it. The first {_NUMBER[by]} read from the end of the sentence."
    )


def _routing(n, by):
    def moves(by):
        return torch.eye(n, dtype=torch.float64).roll(by, dims=0)

    return Exercise(
        moves(by),
        lambda generator: [()],
        {
            "transposed: row i of W belongs to output i, and this W moves tokens the other way.": moves(-by),
            f"the first {_NUMBER[by]} read nothing: their numbers come from the end of the sentence.": (
                torch.eye(n, dtype=torch.float64).roll(by, dims=0).tril()
            ),
            f"this W moves tokens by one place, not by {_NUMBER[by]}.": moves(1),
        },
    )


# ------------------------------------------------------------------------------------- 1.2, the best static W


def _best_text(ridge):
    asked = "the smallest squared error"
    if ridge:
        asked = (
            "the smallest sum of two things: the squared errors, added up over all sentences, tokens and features, and "
            f"{ridge} times the squares of $W$'s entries, added up"
        )
    return (
        "Given sentences `x` and targets `y`, both of shape (samples, n, d), return the $W$ of shape (n, n) with "
        f"{asked}. No training is needed."
    )


def _best(ridge):
    def fit(x, y):
        xx, yx = (torch.einsum("snd,smd->nm", a, x) for a in (x, y))
        return yx @ torch.linalg.inv(xx + ridge * torch.eye(len(xx), dtype=x.dtype))

    def cases(generator):
        sizes = ((40, 4, 3), (60, 5, 2), (30, 3, 4), (9, 1, 1))
        return [(normal(generator, *size), normal(generator, *size)) for size in sizes]

    mistakes = {
        "transposed: the layer is y = W x with W on the left of x.": lambda x, y: fit(x, y).T,
        "this averages one solution a sentence; the sums over sentences come first, then one inverse.": lambda x, y: (
            torch.stack([a @ torch.linalg.pinv(b) for a, b in zip(y, x)]).mean(0)
        ),
        "only the first feature is used; every feature is one more equation for the same W.": lambda x, y: (
            fit(x[..., :1], y[..., :1])
        ),
    }

    def regrouped(x, y):
        """reshape in the place of permute: rows of pieces of several sentences."""
        return fit(*(a.reshape(1, a.shape[1], -1) for a in (x, y)))

    mistakes[
        "reshape regroups the numbers, but doesn't swap axes: a row must hold one token's place in all sentences."
    ] = regrouped
    mistakes["the inverse is missing: these are the products of targets and sentences alone."] = lambda x, y: (
        torch.einsum("snd,smd->nm", y, x)
    )
    if ridge:
        mistakes["this is the W of the smallest squared error alone; its own squares count, too."] = (
            best_static_weights
        )
        mistakes[
            "the squares of W count for each sentence here; they are added once, to the sum over all."
        ] = lambda x, y: fit(x / len(x) ** 0.5, y / len(x) ** 0.5)
    return Exercise(fit if ridge else best_static_weights, cases, mistakes)


# -------------------------------------------------------------------------------- 1.3, the floor of routings


def _floor(P):
    return (P - P.mean(0)).square().sum(dim=(1, 2)).mean() / P.shape[-1]


def _floor_cases(generator):
    def some(k, n):
        return torch.stack(
            [torch.eye(n, dtype=torch.float64)[torch.randperm(n, generator=generator)] for _ in range(k)]
        )

    return [
        (some(2, 5),),
        (some(3, 4),),
        (some(7, 6),),
        Hard("right, but one routing alone has a floor of 0.", some(1, 3)),
        Hard(
            "right, except where a routing is there twice: then it is chosen twice as often.",
            some(3, 4)[[0, 1, 1, 2]],
        ),
    ]


# ---------------------------------------------------------------------------------- 1.4, test for linearity


def _is_linear(f):
    x, y = normal(torch.Generator().manual_seed(1), 2, 5)
    return torch.allclose(f(2 * x - 3 * y), 2 * f(x) - 3 * f(y))


def _linear_or_not(generator):
    M = normal(generator, 5, 5)
    return [
        Hard("a matrix product is linear, but your test says that it is not.", lambda x: M @ x),
        Hard("the function that is always 0 is linear, but your test says that it is not.", lambda x: 0 * x),
        Hard("your test takes M x + 1 for linear: a bias breaks superposition.", lambda x: M @ x + 1),
        Hard(
            "your test takes |x| for linear: so it is, as long as no number changes its sign; try sums in which some do.",
            torch.abs,
        ),
        Hard("your test takes x**3 for linear: f(-x) = -f(x) is not enough, try a sum.", lambda x: x**3),
        Hard(
            "your test takes a function for linear that cuts off what is larger than the mean size: f(2x) = 2 f(x) and f(-x) = -f(x) "
            "are not enough, try a sum.",
            lambda x: x.clamp(-x.abs().mean(), x.abs().mean()),
        ),
        Hard(
            "your test takes sorting for linear: compare f(x + y) with f(x) + f(y).",
            lambda x: x.sort(dim=0).values,
        ),
    ]


EXERCISES = {
    "1.1": Variants(_routing_text, _routing, {"n": 5, "by": 2}, {"n": 7, "by": 3}, {"n": 9, "by": 4}),
    "1.2": Variants(_best_text, _best, {"ridge": 0}, {"ridge": 2}, {"ridge": 5}),
    "1.3": Exercise(
        _floor,
        _floor_cases,
        {
            "relative to what? Divide by the expected size of the target, which is n for a permutation.": lambda P: (
                _floor(P) * P.shape[-1]
            ),
            "this takes the first routing as W; the best W is the mean of all.": lambda P: (
                (P - P[0]).square().sum(dim=(1, 2)).mean() / P.shape[-1]
            ),
            "divided by n twice, as .mean() over all entries does: the target's size is n, not n times n.": lambda P: (
                _floor(P) / P.shape[-1]
            ),
            "this is 1 - 1/K, which is right only where no two routings take the same token to the same place.": lambda P: (
                torch.tensor(1 - 1 / len(P))
            ),
            "this is the root of the floor: an error is a mean square.": lambda P: _floor(P).sqrt(),
            "the square is missing: the floor is a mean SQUARED error.": lambda P: (
                (P - P.mean(0)).square().sum(dim=(1, 2)).sqrt().mean() / P.shape[-1]
            ),
        },
    ),
    "1.4": Exercise(_is_linear, _linear_or_not, outcome=says),
}
