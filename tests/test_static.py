"""The static layer and the closed form of its best weights."""

import pytest
import torch
from helpers import close, normal, refuses

from dynattn.static import TokenMixer, best_static_weights
from dynattn.tasks import routed, routing


def test_the_layer_multiplies_tokens_by_its_one_matrix():
    layer, x = TokenMixer(4).double(), normal(2, 4, 3)
    want = torch.stack([sum(layer.W[i, j] * x[:, j] for j in range(4)) for i in range(4)], dim=1)
    close(layer(x), want)
    close(layer.mix(layer.weights(x), x), want)


def test_the_weights_are_a_parameter_and_the_same_object_for_every_input():
    layer = TokenMixer(4)
    assert layer.weights(torch.zeros(4, 2)) is layer.weights(torch.ones(7, 4, 3)) is layer.W
    assert [name for name, _ in layer.named_parameters()] == ["W"]


def test_mix_applies_any_matrix_that_fits():
    layer, x = TokenMixer(4).double(), normal(2, 4, 3)
    close(layer.mix(torch.eye(4, dtype=torch.float64), x), x)
    assert layer.mix(normal(2, 7, 4), x).shape == (2, 7, 3)


X = torch.ones(2, 4, 3)
NAN = torch.full((2, 4, 3), torch.nan)

BAD = {
    "n float": (lambda: TokenMixer(4.0), TypeError, "n"),
    "n bool": (lambda: TokenMixer(True), TypeError, "n"),
    "n zero": (lambda: TokenMixer(0), ValueError, "n"),
    "NumPy": (lambda: TokenMixer(4)(X.numpy()), TypeError, "x"),
    "integers": (lambda: TokenMixer(4)(X.int()), TypeError, "x"),
    "complex": (lambda: TokenMixer(4)(X + 0j), TypeError, "x"),
    "other dtype": (lambda: TokenMixer(4)(X.double()), TypeError, "x"),
    "other number of tokens": (lambda: TokenMixer(3)(X), ValueError, "x"),
    "features in place of tokens": (lambda: TokenMixer(4)(X.transpose(1, 2)), ValueError, "x"),
    "one dimension": (lambda: TokenMixer(4)(X[0, :, 0]), ValueError, "x"),
    "NaN": (lambda: TokenMixer(4)(NAN), ValueError, "x"),
    "W list": (lambda: TokenMixer(4).mix([[1.0]], X), TypeError, "W"),
    "W of other dtype": (lambda: TokenMixer(4).mix(torch.eye(4).double(), X), TypeError, "W"),
    "W scalar": (lambda: TokenMixer(4).mix(torch.tensor(1.0), X), ValueError, "W"),
    "W vector": (lambda: TokenMixer(4).mix(torch.ones(4), X), ValueError, "W"),
    "W of other width": (lambda: TokenMixer(4).mix(torch.eye(3), X), ValueError, "W"),
    "W of other batch": (lambda: TokenMixer(4).mix(torch.ones(3, 4, 4), X), ValueError, "W"),
    "W NaN": (lambda: TokenMixer(4).mix(torch.full((4, 4), torch.nan), X), ValueError, "W"),
    "best: NumPy": (lambda: best_static_weights(X.numpy(), X), TypeError, "x"),
    "best: dtypes": (lambda: best_static_weights(X, X.double()), TypeError, "y"),
    "best: one sentence": (lambda: best_static_weights(X[0], X[0]), ValueError, "x, y"),
    "best: widths": (lambda: best_static_weights(X, X[..., :2]), ValueError, "y"),
    "best: numbers of samples": (lambda: best_static_weights(X, X[:1]), ValueError, "x, y"),
    "best: no sample": (lambda: best_static_weights(X[:0], X[:0]), ValueError, "x, y"),
    "best: NaN": (lambda: best_static_weights(X, NAN), ValueError, "y"),
}


@pytest.mark.parametrize("call, kind, name", BAD.values(), ids=BAD)
def test_refuses(call, kind, name):
    refuses(call, kind, name)


@pytest.mark.parametrize("kind", ["shift", "reverse"])
def test_the_best_weights_of_a_fixed_routing_are_the_routing(kind):
    P = routing(kind, 5)
    W = best_static_weights(*routed(P, 50, 3, torch.Generator().manual_seed(0)))
    assert W.dtype == torch.float32
    close(W, P, 1e-5)


def test_no_other_matrix_does_better():
    x, y = normal(30, 4, 3, seed=1), normal(30, 5, 3, seed=2)
    W = best_static_weights(x, y)
    assert W.shape == (5, 4)
    best = (y - W @ x).square().sum()
    for seed in range(20):
        assert (y - (W + 1e-3 * normal(5, 4, seed=seed)) @ x).square().sum() > best
    # The gradient of the squared error vanishes at its minimum.
    close(((y - W @ x) @ x.mT).sum(0), torch.zeros(5, 4, dtype=torch.float64), 1e-10)


def test_with_fewer_equations_than_unknowns_the_smallest_solution_is_taken():
    x, y = normal(1, 6, 2, seed=1), normal(1, 3, 2, seed=2)
    W = best_static_weights(x, y)
    close(W @ x, y)
    close(W, torch.linalg.lstsq(x[0].T, y[0].T, driver="gelsd").solution.T)
