"""Checks of arguments. Each error names the argument, what came and what was expected."""

import math

import numpy as np
import torch

FLOATS = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
NUMPY_FLOATS = (np.float64, np.float32, np.float16)


def shape_of(array) -> tuple:
    return tuple(array.shape)


def require_tensor(name: str, x, like=None) -> None:
    """Refuse anything that is not a floating-point tensor, or has another dtype or device than ``like``."""
    if not isinstance(x, torch.Tensor):
        raise TypeError(f"{name}: got {type(x).__name__}, expected a torch.Tensor")
    if x.dtype not in FLOATS:
        raise TypeError(f"{name}: got dtype {x.dtype}, expected a floating-point dtype such as torch.float32")
    if like is not None and x.dtype != like.dtype:
        raise TypeError(f"{name}: got dtype {x.dtype}, expected {like.dtype}")
    if like is not None and x.device != like.device:
        raise ValueError(f"{name}: got a tensor on {x.device}, expected one on {like.device}")


def require_tokens(name: str, x, width: int | None = None, n: int | None = None, like=None) -> None:
    """Refuse anything that is not a batch of token rows (..., n, width)."""
    require_tensor(name, x, like)
    expected = f"(..., {'n' if n is None else n}, {'d' if width is None else width})"
    wrong = (
        x.dim() < 2 or (width is not None and x.shape[-1] != width) or (n is not None and x.shape[-2] != n)
    )
    if wrong or 0 in x.shape[-2:]:
        raise ValueError(f"{name}: got shape {shape_of(x)}, expected {expected} with at least one token")


def require_matrices(name: str, A, values, heads: int | None = None) -> None:
    """Refuse weights A (..., n_q, n), or (..., heads, n_q, n), that do not fit ``values`` (..., n, d)."""
    require_tensor(name, A, like=values)
    n, tail = values.shape[-2], 2 if heads is None else 3
    fits = A.dim() >= tail and A.shape[-1] == n and (heads is None or A.shape[-3] == heads)
    if not fits or broadcast(A.shape[:-tail], values.shape[:-2]) is None:
        expected = f"(..., n_q, {n})" if heads is None else f"(..., {heads}, n_q, {n})"
        raise ValueError(
            f"{name}: got shape {shape_of(A)}, expected {expected} for tokens {shape_of(values)}"
        )


def broadcast(*shapes) -> tuple | None:
    """The shape to which the shapes broadcast, or None if they don't."""
    try:
        return tuple(torch.broadcast_shapes(*shapes))
    except RuntimeError:
        return None


def all_finite(x) -> bool:
    """Whether no number is NaN or infinite. One sum tells, unless it overflows."""
    if isinstance(x, np.ndarray):
        return bool(np.isfinite(x).all())
    return math.isfinite(x.detach().sum()) or bool(torch.isfinite(x).all())


def require_finite(**inputs) -> None:
    """Refuse a tensor that holds NaN or an infinite number."""
    for name, x in inputs.items():
        if not all_finite(x):
            raise ValueError(f"{name}: got a number that is not finite (NaN or inf), expected finite numbers")


def require_finite_result(result, **inputs) -> None:
    """Refuse a result that is not finite, and name the input that is to blame."""
    if not all_finite(result):
        require_finite(**inputs)
        names = ", ".join(inputs)
        raise ValueError(
            f"{names}: the result is not finite though {names} {'is' if len(inputs) == 1 else 'are'}, "
            "expected numbers that do not overflow and learned parameters that are finite"
        )


def require_positive_int(name: str, value) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name}: got {type(value).__name__}, expected an int")
    if value < 1:
        raise ValueError(f"{name}: got {value}, expected at least 1")


def require_bool(name: str, value) -> None:
    if not isinstance(value, bool):
        raise TypeError(f"{name}: got {type(value).__name__}, expected True or False")
