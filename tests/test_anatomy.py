"""The instruments: each measures what it says, on layers for which the answer is known."""

import math

import pytest
import torch
from helpers import CHANGES, close, gradients, normal, refuses
from torch import nn

from dynattn.anatomy import (
    dynamic_fraction,
    effective_matrix,
    frozen,
    head_maps,
    jacobian_paths,
    kronecker_rank,
    linearity_gap,
    transplant,
)
from dynattn.attention import MultiHeadAttention, PlainAttention, SingleHeadAttention
from dynattn.static import TokenMixer

N, D = 5, 6
LAYERS = {
    "plain": lambda: PlainAttention(),
    "single": lambda: SingleHeadAttention(D, 3, 4),
    "multi": lambda: MultiHeadAttention(D, 3),
    "causal": lambda: MultiHeadAttention(D, 2, causal=True),
    "static": lambda: TokenMixer(N),
}
COMPUTED = [name for name in LAYERS if name != "static"]
EFFECTIVE = [name for name in COMPUTED if name != "plain"]
ALL = pytest.mark.parametrize("name", LAYERS)


def make(name):
    torch.manual_seed(1)
    return LAYERS[name]().double()


X, Y = normal(N, D, seed=1), normal(N, D, seed=2)


@ALL
def test_the_two_verbs_make_the_layer(name):
    layer = make(name)
    close(layer.mix(layer.weights(X), X), layer(X))


# ---------------------------------------------------------------------------------- frozen and transplanted


@ALL
def test_a_frozen_layer_is_linear_to_rounding(name):
    assert linearity_gap(frozen(make(name), X), normal(N, D, seed=3), Y) < 1e-13


@pytest.mark.parametrize("name", COMPUTED)
def test_a_live_layer_with_computed_weights_is_not_linear(name):
    assert linearity_gap(make(name), X, Y) > 0.01


def test_a_live_static_layer_is_linear():
    assert linearity_gap(make("static"), X, Y) < 1e-13


@ALL
def test_frozen_weights_are_those_of_their_own_input_and_stand_still(name):
    layer = make(name)
    source = X.clone().requires_grad_()
    still = frozen(layer, source)
    close(still(X), layer(X))
    close(still(Y), layer.mix(layer.weights(X), Y))
    output = still(Y.clone().requires_grad_())
    assert torch.autograd.grad(output.sum(), source, allow_unused=True) == (None,)
    leaf = X.clone().requires_grad_()
    A = layer.weights(X)
    close(gradients(still(leaf), leaf)[0], gradients(layer.mix(A, leaf), leaf)[0])


@ALL
def test_a_frozen_matrix_stays_when_the_layer_learns_on(name):
    """And the values follow the layer, as the docstring says."""
    layer = make(name)
    A = layer.weights(X).detach().clone()
    still = frozen(layer, X)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(
                0.1 * torch.arange(parameter.numel(), dtype=torch.float64).reshape(parameter.shape).sin()
            )
    close(still(Y), layer.mix(A, Y))
    if name != "plain":
        assert not torch.allclose(layer.weights(X), A)


@ALL
def test_a_transplant_takes_weights_from_one_input_and_values_from_the_other(name):
    layer = make(name)
    close(transplant(layer, X, X), layer(X))
    close(transplant(layer, X, Y), frozen(layer, X)(Y))
    if name == "static":
        close(transplant(layer, X, Y), layer(Y))
    else:
        assert (transplant(layer, X, Y) - layer(Y)).abs().max() > 1e-3


def test_the_gap_of_a_known_function():
    # f(x) = x^2 at x = y = 1: f(2) - 2 f(1) + f(0) = 2, and f(2) - f(0) = 4.
    one = torch.ones(1, dtype=torch.float64)
    assert linearity_gap(torch.square, one, one) == pytest.approx(0.5)
    assert linearity_gap(lambda x: 3 * x + 7, one, one) < 1e-15


@pytest.mark.parametrize("size", [1e-300, 1e-200, 1e-160, 1.0, 1e160, 1e200, 1e300])
def test_the_gap_has_no_unit(size):
    one = torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64)
    want = linearity_gap(torch.relu, one, one.roll(1))
    assert 0.1 < want == pytest.approx(linearity_gap(torch.relu, size * one, size * one.roll(1)), rel=1e-12)
    assert linearity_gap(torch.neg, size * one, size * one.flip(0)) < 1e-15


# ------------------------------------------------------------------------------------------ the Jacobian


@ALL
def test_value_path_and_weight_path_make_the_whole_jacobian(name):
    layer = make(name)
    value, weight, whole = jacobian_paths(layer, X)
    assert whole.shape == (layer(X).numel(), X.numel())
    close(value + weight, whole)
    direct = torch.autograd.functional.jacobian(layer, X)
    close(whole, direct.reshape(whole.shape))
    if name == "static":
        assert not weight.any()
        close(whole, torch.kron(layer.W.detach(), torch.eye(D, dtype=torch.float64)))
    else:
        assert weight.norm() > 1e-3 * whole.norm()


def test_the_causal_jacobian_has_nothing_above_the_diagonal():
    for path in jacobian_paths(make("causal"), X):
        blocks = path.unflatten(0, (N, -1)).unflatten(2, (N, -1)).abs().sum((1, 3))
        assert not blocks.triu(1).any() and blocks.tril().count_nonzero() >= N * (N - 1) / 2


# -------------------------------------------------------------------------------- the effective matrix


@pytest.mark.parametrize("name", EFFECTIVE)
def test_the_effective_matrix_is_the_frozen_layers_jacobian(name):
    layer = make(name)
    M = effective_matrix(layer, X)
    close(M, torch.autograd.functional.jacobian(frozen(layer, X), X).reshape(M.shape))
    bias = layer.mix(layer.weights(X), torch.zeros_like(X))
    close((M @ X.flatten()).reshape(N, -1) + bias, layer(X))


def test_the_map_of_a_head_is_its_share_of_the_output():
    layer = make("multi")
    A, maps = layer.weights(X), head_maps(layer)
    assert len(maps) == 3
    bias = layer.mix(A, torch.zeros_like(X))
    close(sum(A[h] @ X @ maps[h].T for h in range(3)) + bias, layer(X))
    (only,) = head_maps(make("single"))
    close(only, make("single").W_V.weight.detach())


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("learned", ["W_Q", "W_V", "W_O"])
@pytest.mark.parametrize("name", ["single", "multi"])
def test_the_effective_matrix_is_right_or_refused(name, learned, change):
    layer = make(name)
    if not hasattr(layer, learned):
        return
    CHANGES[change](layer, learned)
    # W_Q is called; and the weight of a parametrized module is computed whenever it is read.
    if learned == "W_Q" or change == "weight norm":
        M = effective_matrix(layer, X)
        close(M, torch.autograd.functional.jacobian(frozen(layer, X), X).reshape(M.shape))
    else:
        for instrument in (lambda: effective_matrix(layer, X), lambda: head_maps(layer)):
            assert "a plain nn.Linear" in refuses(instrument, TypeError, learned)


@pytest.mark.parametrize("terms", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_kronecker_rank_counts_terms(terms, dtype):
    M = torch.zeros(4 * 3, 4 * 5, dtype=torch.float64)
    for term in range(terms):
        M += torch.kron(normal(4, 4, seed=term), normal(3, 5, seed=term + 10))
    assert kronecker_rank(M.to(dtype), 4) == terms


def test_the_kronecker_rank_is_bounded_by_heads_and_is_not_the_ordinary_rank():
    assert kronecker_rank(effective_matrix(make("single"), X), N) == 1
    assert kronecker_rank(effective_matrix(make("multi"), X), N) == 3
    assert kronecker_rank(torch.eye(12), 4) == 1
    assert kronecker_rank(normal(12, 12), 4) == 9


# -------------------------------------------------------------------------------- how much is dynamic


def test_the_dynamic_fraction_of_known_cases():
    W = normal(N, N)
    assert dynamic_fraction(W.expand(7, N, N)) < 1e-30
    # Two opposite matrices have the mean 0: all of it changes.
    assert dynamic_fraction(torch.stack([W, -W])) == pytest.approx(1)
    # The routings "keep" and "swap" in turn: the mean is 1/2 everywhere, and half of the square goes.
    keep = torch.eye(2)
    assert dynamic_fraction(torch.stack([keep, keep.flip(0)])) == pytest.approx(0.5)
    # Three of one and one of the other: mean 3/4 and 1/4; 1 - (9 + 1) / 16 remains.
    assert dynamic_fraction(torch.stack([keep, keep, keep, keep.flip(0)])) == pytest.approx(1 - 10 / 16)


def test_the_dynamic_fraction_has_no_unit_and_takes_every_size():
    A = normal(6, 2, N, N).softmax(-1)
    want = dynamic_fraction(A)
    assert 0 < want < 1
    for factor in (1e-30, 1e30):
        assert dynamic_fraction((A * factor).float()) == pytest.approx(want, rel=1e-5)
    for factor in (1e-300, 1e-200, 1e-160, 1e160, 1e200, 1e308):
        assert dynamic_fraction(A * factor) == pytest.approx(want, rel=1e-9)
    assert dynamic_fraction(A.half() * 300) == pytest.approx(want, rel=1e-2)


def test_the_dynamic_fraction_of_layers():
    batch = normal(20, N, D)
    static = make("static")
    assert dynamic_fraction(torch.stack([static.weights(x).detach() for x in batch])) < 1e-30
    assert dynamic_fraction(PlainAttention().weights(batch)) > 0.1


# ------------------------------------------------------------------------------------------ bad input

NAN = torch.full((N, D), math.nan, dtype=torch.float64)
LINEAR = nn.Linear(D, D).double()


BIG = torch.full_like(X, 1.5e308)


def nan_head():
    layer = make("single")
    nn.init.constant_(layer.W_V.weight, math.nan)
    return layer


BAD = {
    "frozen: no layer": (lambda: frozen(LINEAR, X), TypeError, "layer"),
    "frozen: NumPy": (lambda: frozen(make("multi"), X.numpy()), TypeError, "x"),
    "frozen: other length": (lambda: frozen(make("multi"), X)(X[:3]), ValueError, "A"),
    "frozen: a class": (lambda: frozen(MultiHeadAttention, X), TypeError, "layer"),
    "frozen: None": (lambda: frozen(None, X), TypeError, "layer"),
    "transplant: NaN": (lambda: transplant(make("multi"), NAN, X), ValueError, "weights_from"),
    "transplant: NaN in the values": (lambda: transplant(make("multi"), X, NAN), ValueError, "values_from"),
    "gap: no function": (lambda: linearity_gap(3, X, Y), TypeError, "f"),
    "gap: f of another kind": (lambda: linearity_gap(lambda x: None, X, Y), TypeError, "f"),
    "gap: f of several shapes": (
        lambda: linearity_gap(lambda x: x[: 1 + bool(x.any())], X, Y),
        ValueError,
        "f",
    ),
    "gap: empty": (lambda: linearity_gap(torch.abs, X[:0], Y[:0]), ValueError, "x"),
    "gap: the sum overflows": (lambda: linearity_gap(torch.abs, BIG, BIG), ValueError, "x, y"),
    "effective: None": (lambda: effective_matrix(None, X), TypeError, "layer"),
    "maps: NaN": (lambda: head_maps(nan_head()), ValueError, "layer"),
    "rank: tolerance text": (lambda: kronecker_rank(torch.eye(4), 2, "1e-6"), TypeError, "tolerance"),
    "transplant: no layer": (lambda: transplant(LINEAR, X, X), TypeError, "layer"),
    "transplant: list": (lambda: transplant(make("multi"), X, [1]), TypeError, "values_from"),
    "transplant: NumPy": (lambda: transplant(make("multi"), X.numpy(), X), TypeError, "weights_from"),
    "transplant: dtypes": (lambda: transplant(make("multi"), X, X.float()), TypeError, "values_from"),
    "transplant: shapes": (lambda: transplant(make("multi"), X, X[None]), ValueError, "values_from"),
    "gap: NumPy": (lambda: linearity_gap(torch.abs, X.numpy(), X), TypeError, "x"),
    "gap: integers": (lambda: linearity_gap(torch.abs, X.int(), X.int()), TypeError, "x"),
    "gap: dtypes": (lambda: linearity_gap(torch.abs, X, X.float()), TypeError, "y"),
    "gap: shapes": (lambda: linearity_gap(torch.abs, X, X[:1]), ValueError, "y"),
    "gap: NaN": (lambda: linearity_gap(torch.abs, NAN, X), ValueError, "x"),
    "gap: constant": (lambda: linearity_gap(torch.zeros_like, X, Y), ValueError, "f"),
    "gap: f not finite": (lambda: linearity_gap(torch.reciprocal, X, Y), ValueError, "f"),
    "jacobian: no layer": (lambda: jacobian_paths(LINEAR, X), TypeError, "layer"),
    "jacobian: NumPy": (lambda: jacobian_paths(make("multi"), X.numpy()), TypeError, "x"),
    "jacobian: batch": (lambda: jacobian_paths(make("multi"), X[None]), ValueError, "x"),
    "jacobian: NaN": (lambda: jacobian_paths(make("multi"), NAN), ValueError, "x"),
    "effective: static": (lambda: effective_matrix(make("static"), X), TypeError, "layer"),
    "effective: batch": (lambda: effective_matrix(make("multi"), X[None]), ValueError, "x"),
    "effective: width": (lambda: effective_matrix(make("multi"), X[:, :4]), ValueError, "x"),
    "effective: NaN": (lambda: effective_matrix(make("multi"), NAN), ValueError, "x"),
    "maps: no layer": (lambda: head_maps(None), TypeError, "layer"),
    "rank: NumPy": (lambda: kronecker_rank(X.numpy(), 5), TypeError, "M"),
    "rank: integers": (lambda: kronecker_rank(torch.eye(4).int(), 2), TypeError, "M"),
    "rank: n float": (lambda: kronecker_rank(torch.eye(4), 2.0), TypeError, "n"),
    "rank: n zero": (lambda: kronecker_rank(torch.eye(4), 0), ValueError, "n"),
    "rank: n no divisor": (lambda: kronecker_rank(torch.eye(4), 3), ValueError, "M"),
    "rank: three dimensions": (lambda: kronecker_rank(torch.ones(2, 4, 4), 2), ValueError, "M"),
    "rank: empty": (lambda: kronecker_rank(torch.ones(0, 0), 2), ValueError, "M"),
    "rank: NaN": (lambda: kronecker_rank(torch.full((4, 4), math.nan), 2), ValueError, "M"),
    "rank: tolerance": (lambda: kronecker_rank(torch.eye(4), 2, tolerance=-1), ValueError, "tolerance"),
    "rank: tolerance NaN": (lambda: kronecker_rank(torch.eye(4), 2, math.nan), ValueError, "tolerance"),
    "rank: below precision": (lambda: kronecker_rank(torch.eye(4).bfloat16(), 2), ValueError, "tolerance"),
    "dynamic: NumPy": (lambda: dynamic_fraction(normal(3, 4, 4).numpy()), TypeError, "A"),
    "dynamic: one sample": (lambda: dynamic_fraction(normal(1, 4, 4)), ValueError, "A"),
    "dynamic: one matrix": (lambda: dynamic_fraction(normal(4, 4)), ValueError, "A"),
    "dynamic: empty": (lambda: dynamic_fraction(normal(3, 0, 4)), ValueError, "A"),
    "dynamic: zero": (lambda: dynamic_fraction(torch.zeros(3, 4, 4)), ValueError, "A"),
    "dynamic: NaN": (lambda: dynamic_fraction(NAN.expand(2, N, D)), ValueError, "A"),
}


@pytest.mark.parametrize("call, kind, name", BAD.values(), ids=BAD)
def test_refuses(call, kind, name):
    refuses(call, kind, name)
