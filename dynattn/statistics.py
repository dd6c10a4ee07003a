"""How sure a mean is, and how much groups explain: used by chapters 9 to 11."""

import torch

from dynattn import _checks as check

RESAMPLES, LEVEL = 4000, 0.95


def interval(values: torch.Tensor, seed: int) -> tuple[float, float, float]:
    """The mean of values, and the middle 95 of 100 means of as many values drawn from them with repetition.

    The unit is the value: give one number for each text, question or pair that was drawn independently. The difference of two
    ways to treat the same texts is one value a text.

    Args:
        values: (units,), at least 2.
        seed: of the drawing.

    Returns:
        (mean, lower end, upper end).

    Raises:
        TypeError, ValueError: values are not real, finite numbers of that shape; seed is not an int of at least 0.

    Source: Efron and Tibshirani 1993, section 13.3 (the percentile interval).
    """
    check.require_tensor("values", values)
    check.require_int("seed", seed, at_least=0, at_most=2**62)
    if values.dim() != 1 or len(values) < 2:
        raise ValueError(f"values: got shape {check.shape_of(values)}, expected (units,), at least 2")
    check.require_finite(values=values)
    values = values.double()
    picks = torch.randint(
        len(values), (RESAMPLES, len(values)), generator=torch.Generator().manual_seed(int(seed))
    )
    ends = torch.tensor([(1 - LEVEL) / 2, (1 + LEVEL) / 2], dtype=torch.float64)
    low, high = values[picks].mean(1).quantile(ends).tolist()
    return values.mean().item(), low, high


def said(values: torch.Tensor, seed: int) -> str:
    """The mean of values and its interval in words; arguments and errors as in :func:`interval`."""
    return "{:z.3f} (interval {:z.3f} to {:z.3f})".format(*interval(values, seed))


def explained(x: torch.Tensor, groups: torch.Tensor) -> torch.Tensor:
    """Which fraction of the variance of x lies between groups, corrected for chance.

    One minus the squares within the groups over all squares, each divided by its degrees of freedom: the number of rows less
    the number of means that were taken. Groups that mean nothing then explain 0 on average, and some less than 0.

    Args:
        x: (rows, numbers); the squares of all numbers are added up.
        groups: (ways, groups, rows), True where a row is in a group; a row is in one group of a way, or left out of it.

    Returns:
        (ways,), one fraction for each way to group, in float64.

    Raises:
        TypeError: x is not a floating-point tensor, or groups not one of bools.
        ValueError: shapes that don't fit, a number in x that is not finite, a row in two groups, an empty group, or as many
            groups as rows; or x does not vary.

    Source: Kelley 1935 (epsilon squared).
    """
    check.require_tensor("x", x)
    check.require_finite(x=x)
    if not isinstance(groups, torch.Tensor) or groups.dtype != torch.bool:
        got = groups.dtype if isinstance(groups, torch.Tensor) else type(groups).__name__
        raise TypeError(f"groups: got {got}, expected a tensor of bools")
    if x.dim() != 2 or groups.dim() != 3 or groups.shape[2] != len(x):
        raise ValueError(
            f"x, groups: got shapes {check.shape_of(x)} and {check.shape_of(groups)}, expected (rows, numbers) and (ways, groups, rows)"
        )
    sizes, rows = groups.sum(-1), groups.sum((-1, -2))
    if not groups.numel() or groups.sum(1).max() > 1 or sizes.min() < 1 or (rows <= groups.shape[1]).any():
        raise ValueError(
            "groups: expected every row in at most one group of a way, and fewer groups than rows, none empty"
        )
    x = x.double() - x.double().mean(0)
    groups = groups.double()
    sums = groups @ x
    middle = sums.sum(1).square().sum(-1) / rows
    everything = groups.sum(1) @ x.square().sum(-1) - middle
    between = (sums.square().sum(-1) / sizes).sum(-1) - middle
    check.require_finite_result(everything, x=x)
    if (everything <= 0).any():
        raise ValueError("x: got rows that are all the same, expected some variance")
    return 1 - ((everything - between) / (rows - groups.shape[1])) / (everything / (rows - 1))
