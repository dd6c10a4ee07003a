"""What the unit tests share: seeded numbers, the form of every error message, and what may become of a projection."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune


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


def agree(outputs: dict, *inputs):
    """Outputs computed in several ways are the same, and so are their gradients."""
    first, *others = outputs.values()
    want = gradients(first, *inputs)
    for output in others:
        close(output, first)
        for got, expected in zip(gradients(output, *inputs), want, strict=True):
            close(got, expected)


class LoRA(nn.Module):
    """A projection with a learned change of low rank beside it: of nn.Linear's it has nothing but the call."""

    def __init__(self, base):
        super().__init__()
        self.base = base.requires_grad_(False)
        self.A = nn.Parameter(normal(2, base.in_features, seed=4).to(base.weight))
        self.B = nn.Parameter(normal(base.out_features, 2, seed=5).to(base.weight))

    def forward(self, x):
        return self.base(x) + x @ self.A.T @ self.B.T


class Sine(nn.Linear):
    def forward(self, x):
        return super().forward(x).sin()


def _sine(W):
    other = Sine(W.in_features, W.out_features, bias=W.bias is not None).to(W.weight)
    other.load_state_dict(W.state_dict())
    return other


def _weight_norm(W):
    parametrizations.weight_norm(W)
    with torch.no_grad():
        W.parametrizations.weight.original0 *= 1.5


def _patch(W, forward):
    W.forward = lambda x: forward(x).sin()


# What may become of a projection, other than learning: each changes what it returns.
CHANGES = {
    "forward hook": lambda layer, name: getattr(layer, name).register_forward_hook(lambda W, x, y: y.sin()),
    "forward pre-hook": lambda layer, name: getattr(layer, name).register_forward_pre_hook(
        lambda W, x: (x[0].sin(),)
    ),
    "patched forward": lambda layer, name: _patch(getattr(layer, name), getattr(layer, name).forward),
    "subclass": lambda layer, name: setattr(layer, name, _sine(getattr(layer, name))),
    "LoRA": lambda layer, name: setattr(layer, name, LoRA(getattr(layer, name))),
    "pruned": lambda layer, name: prune.l1_unstructured(getattr(layer, name), "weight", 0.5),
    "weight norm": lambda layer, name: _weight_norm(getattr(layer, name)),
}
