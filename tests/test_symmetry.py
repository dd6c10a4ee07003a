"""What theory says for any input: properties that computed weights have, learned weights have, or both."""

import pytest
import torch
from helpers import close, normal, refuses
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from dynattn.attention import MultiHeadAttention, PlainAttention, SingleHeadAttention, attention
from dynattn.static import TokenMixer

# The same examples in every run: a failure is a finding, never chance. They are small, so don't search for smaller.
settings.register_profile(
    "book", derandomize=True, deadline=None, max_examples=30, phases=(Phase.explicit, Phase.generate)
)
settings.load_profile("book")

D = 6
tokens = st.integers(2, 40)
seeds = st.integers(0, 10**6)


def make(name: str, n: int, seed: int):
    torch.manual_seed(seed)
    layers = {
        "plain": PlainAttention,
        "single": lambda: SingleHeadAttention(D, 4),
        "multi": lambda: MultiHeadAttention(D, 3),
        "causal": lambda: MultiHeadAttention(D, 2, causal=True),
        "static": lambda: TokenMixer(n),
    }
    return layers[name]().double()


def order(n: int, seed: int) -> torch.Tensor:
    """A permutation of n tokens that is not the identity."""
    found = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    return found.roll(1) if torch.equal(found, torch.arange(n)) else found


def each(*names):
    return pytest.mark.parametrize("name", names)


@each("plain", "single", "multi", "causal")
@given(n=tokens, seed=seeds, size=st.floats(1e-3, 1e3))
def test_every_row_of_computed_weights_is_a_distribution(name, n, seed, size):
    A = make(name, n, seed).weights(size * normal(2, n, D, seed=seed))
    assert (A >= 0).all()
    close(A.sum(-1), torch.ones_like(A[..., 0]), 1e-12)


@given(n=tokens, seed=seeds)
def test_the_rows_of_learned_weights_are_not(n, seed):
    W = make("static", n, seed).weights(normal(n, D))
    assert (W < 0).any() and (W.sum(-1) - 1).abs().max() > 1e-3


@each("plain", "single", "multi")
@given(n=tokens, seed=seeds)
def test_attention_is_permutation_equivariant(name, n, seed):
    layer, x, p = make(name, n, seed), normal(n, D, seed=seed), order(n, seed)
    close(layer(x[p]), layer(x)[p])
    close(layer.weights(x[p]), layer.weights(x)[..., p, :][..., p])


@each("static", "causal")
@given(n=tokens, seed=seeds)
def test_a_layer_that_knows_positions_is_not_permutation_equivariant(name, n, seed):
    layer, x, p = make(name, n, seed), normal(n, D, seed=seed), order(n, seed)
    assert (layer(x[p]) - layer(x)[p]).abs().max() > 1e-6


@each("single", "multi")
@given(n=tokens, seed=seeds)
def test_the_order_of_the_context_does_not_matter(name, n, seed):
    layer, x, context = make(name, n, seed), normal(3, D, seed=seed), normal(n, D, seed=seed + 1)
    close(layer(x, context[order(n, seed)]), layer(x, context))


@each("plain", "single", "multi", "causal", "static")
@given(n=tokens, seed=seeds)
def test_sentences_of_a_batch_do_not_see_each_other(name, n, seed):
    layer, x = make(name, n, seed), normal(3, n, D, seed=seed)
    other = x.clone()
    other[1] = normal(n, D, seed=seed + 1)
    before, after = layer(x), layer(other)
    assert torch.equal(before[0], after[0]) and torch.equal(before[2], after[2])
    assert not torch.equal(before[1], after[1])
    close(before, torch.stack([layer(sentence) for sentence in x]), 1e-12)


@pytest.mark.parametrize("return_weights", [False, True], ids=["fused", "with weights"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@given(n=tokens, seed=seeds, data=st.data())
def test_causality_holds_bit_for_bit(return_weights, dtype, n, seed, data):
    now = data.draw(st.integers(0, n - 2))
    layer, x = make("causal", n, seed).to(dtype), normal(2, n, D, seed=seed, dtype=dtype)
    other = x.clone()
    other[:, now + 1 :] = 10 * normal(2, n - now - 1, D, seed=seed + 1, dtype=dtype)
    outputs = [layer(t, return_weights=return_weights) for t in (x, other)]
    if return_weights:
        assert torch.equal(*(A[..., : now + 1, :] for _, A in outputs))
        assert not outputs[0][1].triu(1).any()
        outputs = [output for output, _ in outputs]
    assert torch.equal(*(output[:, : now + 1] for output in outputs))
    assert not torch.equal(*(output[:, now + 1 :] for output in outputs))


@each("plain", "single", "multi", "static")
@given(n=tokens, seed=seeds)
def test_layers_that_are_not_causal_see_the_last_token_from_the_first(name, n, seed):
    layer, x = make(name, n, seed), normal(n, D, seed=seed)
    other = x.clone()
    other[-1] += 1
    assert not torch.equal(layer(x)[0], layer(other)[0])


@each("plain", "single", "multi", "causal")
@given(n=tokens, other=tokens, seed=seeds)
def test_attention_takes_any_number_of_tokens(name, n, other, seed):
    assert make(name, n, seed)(normal(other, D)).shape == (other, D)


@given(n=tokens, other=tokens, seed=seeds)
def test_a_static_layer_takes_its_own_number_of_tokens_only(n, other, seed):
    layer, x = make("static", n, seed), normal(other, D)
    if other == n:
        assert layer(x).shape == x.shape
    else:
        refuses(lambda: layer(x), ValueError, "x")


@given(n=tokens, seed=seeds, factor=st.floats(1.5, 3))
def test_only_the_static_layer_scales_with_its_input(n, seed, factor):
    x = normal(n, D, seed=seed)
    static = make("static", n, seed)
    close(static(factor * x), factor * static(x))
    for name in ("plain", "single"):
        layer = make(name, n, seed)
        assert (layer(factor * x) - factor * layer(x)).abs().max() > 1e-6


@given(n=tokens, seed=seeds)
def test_outputs_stay_between_the_smallest_and_the_largest_value(n, seed):
    """A weighted mean never leaves the range of what it averages."""
    q, k, v = (normal(n, D, seed=seed + i) for i in range(3))
    output, _ = attention(q, k, v)
    assert (output <= v.amax(0) + 1e-12).all() and (output >= v.amin(0) - 1e-12).all()


@given(n=tokens, seed=seeds, size=st.floats(-1e3, 1e3))
def test_a_constant_added_to_a_row_of_logits_changes_nothing(n, seed, size):
    q, k = normal(n, D, seed=seed), normal(n, D, seed=seed + 1)
    row = size * normal(n, 1, seed=seed + 2)
    close(attention(q, k, k, row)[1], attention(q, k, k)[1], 1e-9)


@given(n=tokens, seed=seeds)
def test_hiding_a_key_is_the_same_as_not_having_it(n, seed):
    q, k, v = (normal(n, D, seed=seed + i) for i in range(3))
    seen = torch.arange(n) != seed % n
    hidden, A = attention(q, k, v, mask=seen[None])
    close(hidden, attention(q, k[seen], v[seen])[0])
    assert not A[:, ~seen].any()
