"""How sure a mean is: intervals from resampling, used by chapters 9 to 11."""

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
    return "{:.3f} (interval {:.3f} to {:.3f})".format(*interval(values, seed))
