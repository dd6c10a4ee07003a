"""Chapter 1: a linear layer over tokens whose weight matrix W is learned, then kept for every input."""

import torch
from torch import nn

from dynattn._checks import (
    require_finite,
    require_finite_result,
    require_matrices,
    require_sizes,
    require_tensor,
    require_tokens,
    shape_of,
)


class TokenMixer(nn.Module):
    """A linear layer over tokens, Y = W X, with a learned W of shape (n, n).

    Output token i is the sum over input tokens j of ``W[i, j] * X[j]``. W is a parameter: training changes
    it, the input does not. It fits sentences of exactly ``n`` tokens and no others.

    Args:
        n: number of tokens.

    Raises:
        TypeError: ``n`` is not an int, or an input is not a tensor of the dtype of W.
        ValueError: ``n`` is below 1, or an input has another number of tokens or a number that is not finite.

    Source: the token-mixing matrix of MLP-Mixer (Tolstikhin et al. 2021, eq. 1) without its hidden layer.
    """

    def __init__(self, n: int):
        super().__init__()
        require_sizes(n=n)
        self.W = nn.Parameter(torch.randn(n, n) / n**0.5)

    def weights(self, x: torch.Tensor) -> torch.Tensor:
        """The matrix used for input ``x`` (..., n, d): always W (n, n), whatever x holds."""
        require_tokens("x", x, n=self.W.shape[0], like=self.W)
        return self.W

    def mix(self, W: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Apply a given matrix W (..., n_out, n) to x (..., n, d): returns (..., n_out, d)."""
        require_tokens("x", x)
        require_matrices("W", W, x)
        y = W @ x
        require_finite_result(y, W=W, x=x)
        return y

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x (..., n, d) -> Y = W x (..., n, d)."""
        return self.mix(self.weights(x), x)


def best_static_weights(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """The one matrix W that best turns all x into all y: the least-squares solution, in closed form.

    Minimises the sum over the data set of ||y - W x||^2, that is W = (sum y x^T)(sum x x^T)^+.

    Args:
        x: inputs (samples, n, d).
        y: targets (samples, n_out, d).

    Returns:
        W (n_out, n), in the dtype of x. No static layer has a smaller squared error on these data.

    Raises:
        TypeError: x or y is not a floating-point tensor.
        ValueError: shapes do not fit, a value is not finite, or W overflows.
    """
    require_tokens("x", x)
    require_tokens("y", y, width=x.shape[-1])
    require_tensor("y", y, like=x)
    if x.dim() != 3 or y.dim() != 3 or len(x) != len(y) or len(x) == 0:
        raise ValueError(
            f"x, y: got shapes {shape_of(x)} and {shape_of(y)}, "
            "expected (samples, n, d) and (samples, n_out, d) with at least one sample"
        )
    require_finite(x=x, y=y)
    # One column per (sample, feature): the layer treats every feature alike.
    columns_x = x.double().transpose(0, 1).flatten(1)
    columns_y = y.double().transpose(0, 1).flatten(1)
    W = (columns_y @ torch.linalg.pinv(columns_x)).to(x.dtype)
    require_finite_result(W, x=x, y=y)
    return W
