"""Shape and type checks that name the argument, what came and what was expected."""

import torch


def shape_of(array) -> tuple:
    return tuple(array.shape)


def require_tensor(name: str, x) -> None:
    """Refuse anything that is not a floating-point torch tensor."""
    if not isinstance(x, torch.Tensor):
        raise TypeError(f"{name}: got {type(x).__name__}, expected a torch.Tensor")
    if not x.is_floating_point():
        raise TypeError(f"{name}: got dtype {x.dtype}, expected a floating-point dtype such as torch.float32")


def require_tokens(name: str, x, width: int | None = None, n: int | None = None) -> None:
    """Refuse anything that is not a batch of token rows (..., n, width)."""
    require_tensor(name, x)
    expected = f"(..., {'n' if n is None else n}, {'d' if width is None else width})"
    wrong = x.dim() < 2 or (width is not None and x.shape[-1] != width) or (n is not None and x.shape[-2] != n)
    if wrong or 0 in x.shape[-2:]:
        raise ValueError(f"{name}: got shape {shape_of(x)}, expected {expected} with at least one token")


def require_positive_int(name: str, value) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name}: got {type(value).__name__}, expected an int")
    if value < 1:
        raise ValueError(f"{name}: got {value}, expected at least 1")
