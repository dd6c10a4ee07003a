"""Instruments for looking into a layer that mixes tokens.

Every layer of this book has two verbs: ``layer.weights(x)`` gives the matrix that it uses for input x, and
``layer.mix(A, x)`` applies a given matrix to x. The instruments need nothing else.
"""

import math

import torch
from torch.autograd.functional import jacobian

from dynattn._checks import (
    all_finite,
    require_callable,
    require_finite,
    require_finite_result,
    require_kind,
    require_number,
    require_plain,
    require_sizes,
    require_tensor,
    require_tokens,
    shape_of,
)
from dynattn.attention import MultiHeadAttention, SingleHeadAttention


def frozen(layer, x: torch.Tensor):
    """The static network that the layer builds for x: a function that applies A(x), whatever it is given.

    What is kept is the matrix. The values are made by the layer's own W_V, and follow it if it goes on learning: to keep
    these too, freeze a ``copy.deepcopy`` of the layer.

    Args:
        layer: any layer with ``weights`` and ``mix``.
        x: tokens (..., n, d) whose computed weights are kept.

    Returns:
        A function from tokens (..., n, d) to outputs (..., n, d_out), with the same A(x) for whatever it is given.

    Raises:
        TypeError: layer has not the two verbs; and what the layer raises for an x that does not fit it.
    """
    _require_layer(layer)
    A = layer.weights(x).detach().clone()  # a static layer's is the parameter itself, which may change
    return lambda other: layer.mix(A, other)


def transplant(layer, weights_from: torch.Tensor, values_from: torch.Tensor) -> torch.Tensor:
    """Run one input through the network that another input wrote: mix(weights(weights_from), values_from).

    Args:
        layer: any layer with ``weights`` and ``mix``.
        weights_from: tokens (..., n, d) from which the weights are computed.
        values_from: tokens (..., n, d) to which they are applied.

    Returns:
        The output (..., n, d_out).

    Raises:
        TypeError, ValueError: layer has not the two verbs, the two inputs are not finite floating-point tokens, or
            they differ in shape or dtype; and what the layer raises for inputs that do not fit it.
    """
    _require_layer(layer)
    require_tokens("weights_from", weights_from)
    require_tokens("values_from", values_from, like=weights_from)
    if values_from.shape != weights_from.shape:
        expected = f"{shape_of(weights_from)}, as weights_from"
        raise ValueError(f"values_from: got shape {shape_of(values_from)}, expected {expected}")
    require_finite(weights_from=weights_from, values_from=values_from)
    return layer.mix(layer.weights(weights_from), values_from)


def linearity_gap(f, x: torch.Tensor, y: torch.Tensor) -> float:
    """How far f is from linear, on one pair of inputs: 0 for a linear function, also for one plus a bias.

    The relative error of superposition, ||f(x + y) - f(x) - f(y) + f(0)|| / ||f(x + y) - f(0)||.

    Args:
        f: a function of one tensor, such as a layer or :func:`frozen` of one.
        x, y: two inputs of the same shape.

    Returns:
        A number >= 0 without unit.

    Raises:
        TypeError, ValueError: x and y are not finite floating-point tensors of one shape whose sum is finite; f is not
            a function, does not return floating-point tensors of one shape, or is not finite; or f(x + y) equals f(0),
            so that there is nothing to compare with.
    """
    require_callable("f", f)
    require_tensor("x", x)
    require_tensor("y", y, like=x)
    require_finite(x=x, y=y)
    if x.shape != y.shape:
        raise ValueError(f"y: got shape {shape_of(y)}, expected {shape_of(x)}, as x")
    if x.numel() == 0:
        raise ValueError(f"x: got shape {shape_of(x)}, expected at least one number")
    with torch.no_grad():
        both = x + y
        require_finite_result(both, x=x, y=y)
        zero = _result(f, torch.zeros_like(x))
        whole = _result(f, both, zero) - zero
        parts = (_result(f, x, zero) - zero) + (_result(f, y, zero) - zero)
        unit = _unit(whole)
        size = (whole * unit).norm()
        if size == 0:
            raise ValueError("f: got f(x + y) = f(0), expected a function that answers to these inputs")
        gap = (((whole - parts) * unit).norm() / size).item()
    if not math.isfinite(gap):
        raise ValueError("f: got a result that is not finite, expected finite numbers at 0, x, y and x + y")
    return gap


def _result(f, x, like=None):
    y = f(x)
    require_tensor("f", y, like)
    if like is not None and y.shape != like.shape:
        raise ValueError(f"f: got results of shapes {shape_of(like)} and {shape_of(y)}, expected one shape")
    if y.numel() == 0 or not all_finite(y):
        raise ValueError("f: got a result that is not finite, expected finite numbers at 0, x, y and x + y")
    return y


def _unit(x) -> float:
    """A power of two that brings the largest number of x near 1: then no square over- or underflows."""
    most = 1000 if x.dtype == torch.float64 else 100
    return 2.0 ** -min(max(math.frexp(x.abs().max().item())[1], -most), most)


def jacobian_paths(layer, x: torch.Tensor):
    """The two paths from an input to the output: through the values, and through the computed weights.

    With y = mix(A(x), x), the product rule splits dy/dx into the value path (A held still) and the weight
    path (the values held still). The third matrix is the derivative of the layer as it stands, found without
    the split.

    Args:
        layer: any layer with ``weights`` and ``mix``.
        x: one input (n, d), best in float64.

    Returns:
        (value_path, weight_path, whole), each (n * d_out, n * d), rows and columns token by token.

    Raises:
        TypeError, ValueError: layer has not the two verbs or cannot be called; x is not one finite floating-point (n, d)
            input that fits it; or a derivative overflows.
    """
    _require_layer(layer)
    require_callable("layer", layer, "a layer that can be called")
    _require_one_input(x)
    A = layer.weights(x).detach()

    def matrix(f):
        J = jacobian(f, x)
        require_finite_result(J, x=x)
        return J.reshape(-1, x.numel())

    return matrix(lambda t: layer.mix(A, t)), matrix(lambda t: layer.mix(layer.weights(t), x)), matrix(layer)


def effective_matrix(layer, x: torch.Tensor) -> torch.Tensor:
    """The layer's whole weight matrix for input x: sum over heads of A_h(x) kron (W_O W_V)_h.

    Writing the tokens below each other as one long vector, the layer (without its biases) multiplies it by
    this matrix: entry block (i, j) is what token j contributes to token i.

    Args:
        layer: a :class:`~dynattn.attention.SingleHeadAttention` or
            :class:`~dynattn.attention.MultiHeadAttention`.
        x: one input (n, d_model).

    Returns:
        The matrix (n * d_out, n * d_model).

    Raises:
        TypeError: another kind of layer, a W_V or W_O that is not a plain ``nn.Linear``, or x is not a floating-point
            tensor.
        ValueError: x is not one finite input (n, d_model), or the matrix is not finite.

    Source: Elhage et al. 2021 (A Mathematical Framework for Transformer Circuits), "attention heads as tensor
    products"; written here for row-major vectors.
    """
    _require_one_input(x)
    maps = head_maps(layer)
    with torch.no_grad():
        M = sum(torch.kron(A.contiguous(), W) for A, W in zip(_heads(layer, x), maps, strict=True))
    require_finite_result(M, x=x)
    return M


def head_maps(layer) -> list[torch.Tensor]:
    """For each head the learned map of one token's features, W_O W_V, as (d_out, d_model).

    Raises TypeError as :func:`effective_matrix` does, and ValueError for maps that are not finite.
    """
    kinds = SingleHeadAttention, MultiHeadAttention
    require_kind("layer", layer, kinds, "SingleHeadAttention or MultiHeadAttention")
    if isinstance(layer, SingleHeadAttention):
        require_plain(W_V=layer.W_V)
        maps = [layer.W_V.weight.detach()]
    else:
        require_plain(W_V=layer.W_V, W_O=layer.W_O)
        W_V = layer.W_V.weight.detach().unflatten(0, (layer.n_kv_heads, layer.d_head))
        W_O = layer.W_O.weight.detach().unflatten(1, (layer.n_heads, layer.d_head))
        share = layer.n_heads // layer.n_kv_heads  # so many heads have the same W_V
        maps = [W_O[:, h] @ W_V[h // share] for h in range(layer.n_heads)]
    if not all(map(all_finite, maps)):
        raise ValueError("layer: got a head whose W_O W_V is not finite, expected finite numbers")
    return maps


def _heads(layer, x):
    A = layer.weights(x)
    return A if A.dim() == 3 else A[None]


def kronecker_rank(M: torch.Tensor, n: int, tolerance: float = 1e-6) -> int:
    """The least number of terms with which M is a sum of Kronecker products A_r kron W_r, A_r (n, n).

    Rearranged so that each (i, j) block becomes one row, such a sum has ordinary rank equal to its number of
    terms. One attention head gives at most 1, H heads at most H.

    Args:
        M: a matrix (n * d_out, n * d_in).
        n: number of tokens.
        tolerance: singular values below this share of the largest count as 0.

    Returns:
        The rank, 0 for the zero matrix.

    Raises:
        TypeError, ValueError: M is not a finite floating-point matrix whose sides n divides, or the tolerance
            is below the precision of its dtype.

    Source: Van Loan and Pitsianis 1993.
    """
    require_tensor("M", M)
    require_sizes(n=n)
    if M.dim() != 2 or M.shape[0] % n or M.shape[1] % n or M.numel() == 0:
        raise ValueError(f"M: got shape {shape_of(M)}, expected (n * d_out, n * d_in) with n = {n}")
    require_finite(M=M)
    require_number("tolerance", tolerance)
    smallest = torch.finfo(M.dtype).eps
    if not smallest <= tolerance < 1:
        raise ValueError(
            f"tolerance: got {tolerance}, expected from {smallest:.2g}, the precision of {M.dtype}, to 1"
        )
    M = M.detach()
    blocks = (M * _unit(M)).unflatten(0, (n, -1)).unflatten(2, (n, -1))  # (n, d_out, n, d_in)
    singular = torch.linalg.svdvals(blocks.permute(0, 2, 1, 3).reshape(n * n, -1).double())
    return int((singular > tolerance * singular[0]).sum()) if singular[0] > 0 else 0


def dynamic_fraction(A: torch.Tensor) -> float:
    """Which share of the weights changes with the input: E||A - mean A||^2 / E||A||^2.

    0 for a static layer, whose matrix is the same for every input; near 1 when the mean says nothing.

    Args:
        A: the matrices for a sample of inputs (samples, ..., n_q, n_k), at least two samples.

    Returns:
        A number between 0 and 1.

    Raises:
        TypeError, ValueError: not a floating-point tensor of at least two matrices, or all are zero.
    """
    require_tensor("A", A)
    if A.dim() < 3 or len(A) < 2 or A.numel() == 0:
        raise ValueError(
            f"A: got shape {shape_of(A)}, expected (samples, ..., n_q, n_k) with at least 2 samples"
        )
    require_finite(A=A)
    A = A.detach().double()
    A = A * _unit(A)
    size = A.square().sum()
    if size == 0:
        raise ValueError("A: got only zeros, expected at least one weight that is not 0")
    return ((A - A.mean(0)).square().sum() / size).item()


def _require_one_input(x):
    require_tokens("x", x)
    if x.dim() != 2:
        raise ValueError(f"x: got shape {shape_of(x)}, expected one input (n, d)")


def _require_layer(layer):
    verbs = (getattr(layer, verb, None) for verb in ("weights", "mix"))
    if isinstance(layer, type) or not all(map(callable, verbs)):
        got = f"the class {layer.__name__}" if isinstance(layer, type) else type(layer).__name__
        raise TypeError(f"layer: got {got}, expected a layer with the methods weights and mix")
