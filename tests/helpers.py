"""What the unit tests share: seeded numbers, and the form that every error message must have."""

import pytest
import torch


def normal(*shape, seed=0, dtype=torch.float64):
    """Standard normal numbers, the same for the same seed."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def refuses(call, kind, name: str) -> str:
    """The call raises exactly this kind of error, whose message names the argument and what was expected."""
    with pytest.raises(kind) as caught:
        call()
    message = str(caught.value)
    assert type(caught.value) is kind, f"{type(caught.value).__name__}: {message}"
    assert message.startswith(f"{name}: "), message
    assert "expected" in message, message
    return message


def close(got, want, tolerance=1e-10):
    torch.testing.assert_close(got, want, rtol=tolerance, atol=tolerance)


def gradients(output, *inputs):
    """The gradients of a fixed uneven sum of the output."""
    weights = torch.arange(1.0, output.numel() + 1, dtype=torch.float64).sin().reshape(output.shape)
    return torch.autograd.grad((output * weights.to(output.dtype)).sum(), inputs)
