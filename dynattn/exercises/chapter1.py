"""Judges of the exercises of chapter 1."""

import torch

from dynattn.exercises._judging import misjudges, normal, same_as
from dynattn.static import best_static_weights


def _rotate(by: int) -> torch.Tensor:
    return torch.eye(5, dtype=torch.float64).roll(by, dims=0)


def _fit_cases(generator):
    sizes = ((40, 4, 3), (60, 5, 2), (30, 3, 4))
    return [(normal(generator, s, n, d), normal(generator, s, n, d)) for s, n, d in sizes]


def _transposed_fit(x, y):
    """W with y = x W per feature row, which is the transpose of the layer's W."""
    return best_static_weights(x, y).T


def _per_sample_fit(x, y):
    return torch.stack([a @ torch.linalg.pinv(b) for a, b in zip(y, x)]).mean(0)


def _floor_cases(generator):
    def some(k, n):
        return torch.stack(
            [torch.eye(n, dtype=torch.float64)[torch.randperm(n, generator=generator)] for _ in range(k)]
        )

    return [(some(2, 5),), (some(3, 4),), (some(7, 6),)]


def _floor(P):
    return (P - P.mean(0)).square().sum(dim=(1, 2)).mean() / P.shape[-1]


def _judge_linearity_test(answer):
    """The answer is itself a test; try it on functions that are linear, and on some that are not."""
    M = normal(torch.Generator().manual_seed(0), 5, 5)
    functions = (
        (lambda x: M @ x, True, "a matrix product is linear, but your test says that it is not."),
        (
            lambda x: 0 * x,
            True,
            "the function that is always 0 is linear, but your test says that it is not.",
        ),
        (lambda x: M @ x + 1, False, "your test takes M x + 1 for linear: a bias breaks superposition."),
        (
            torch.abs,
            False,
            "your test takes |x| for linear: scaling by a positive number is not enough, try a sum.",
        ),
        (lambda x: x**3, False, "your test takes x**3 for linear: f(-x) = -f(x) is not enough, try a sum."),
        (
            lambda x: x.sort(dim=0).values,
            False,
            "your test takes sorting for linear: compare f(x + y) with f(x) + f(y).",
        ),
    )
    return misjudges(answer, functions)


JUDGES = {
    "1.1": same_as(
        lambda: _rotate(2),
        lambda generator: [()],
        {
            "transposed: row i of W belongs to output i, and this W moves tokens the other way.": lambda: (
                _rotate(-2)
            ),
            "this W moves tokens by one place, not by two.": lambda: _rotate(1),
        },
    ),
    "1.2": same_as(
        best_static_weights,
        _fit_cases,
        {
            "transposed: the layer is y = W x with W on the left of x.": _transposed_fit,
            "this averages one solution a sentence; the sums over sentences come first, then one inverse.": _per_sample_fit,
            "only the first feature is used; every feature is one more equation for the same W.": lambda x, y: (
                best_static_weights(x[..., :1], y[..., :1])
            ),
        },
    ),
    "1.3": same_as(
        _floor,
        _floor_cases,
        {
            "relative to what? Divide by the expected size of the target, which is n for a permutation.": lambda P: (
                _floor(P) * P.shape[-1]
            ),
            "this takes the first routing as W; the best W is the mean of all.": lambda P: (
                (P - P[0]).square().sum(dim=(1, 2)).mean() / P.shape[-1]
            ),
            "the square is missing: the floor is a mean SQUARED error.": lambda P: (
                (P - P.mean(0)).square().sum(dim=(1, 2)).sqrt().mean() / P.shape[-1]
            ),
        },
    ),
    "1.4": _judge_linearity_test,
}
