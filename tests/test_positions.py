"""Attention as the models of today have it: rotary positions, ALiBi, grouped keys and values.

The references are torch's own kernel and the code of transformers, neither of which the package uses.
"""

import math

import pytest
import torch
import torch.nn.functional as F
from helpers import close, gradients, normal, refuses
from test_attention import Operations
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.models.bloom.modeling_bloom import build_alibi_tensor
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding, apply_rotary_pos_emb

from dynattn.anatomy import effective_matrix, head_maps
from dynattn.attention import MultiHeadAttention
from dynattn.transformer import GPT, Block, export

KINDS = {
    "rotary": {"positions": "rotary"},
    "alibi": {"positions": "alibi"},
    "grouped": {"n_kv_heads": 2},
    "one key for all": {"n_kv_heads": 1},
    "rotary, grouped": {"positions": "rotary", "n_kv_heads": 2},
    "alibi, grouped": {"positions": "alibi", "n_kv_heads": 2},
}
each = pytest.mark.parametrize("kind", KINDS)
D_MODEL, N_HEADS, D_HEAD, N = 12, 4, 6, 7


def make(kind, causal=False, seed=3):
    torch.manual_seed(seed)
    return MultiHeadAttention(D_MODEL, N_HEADS, D_HEAD, causal=causal, **KINDS[kind]).double()


def reference(layer, x, causal):
    """The layer's output from its parameters, by transformers' positions and torch's kernel."""
    n = x.shape[-2]
    q, k, v = (
        W(x).view(*x.shape[:-1], -1, D_HEAD).transpose(1, 2) for W in (layer.W_Q, layer.W_K, layer.W_V)
    )
    bias = torch.zeros(N_HEADS, n, n, dtype=x.dtype)
    if layer.positions == "rotary":
        config = LlamaConfig(hidden_size=N_HEADS * D_HEAD, num_attention_heads=N_HEADS, head_dim=D_HEAD)
        turn = LlamaRotaryEmbedding(config)
        cos, sin = turn(x, torch.arange(n)[None])
        q, k = apply_rotary_pos_emb(q, k, cos, sin)
    if layer.positions == "alibi":
        # (n_heads, 1, n): slope times the key's place; a row's softmax takes no notice of the query's own.
        after = build_alibi_tensor(torch.ones(1, n), N_HEADS, torch.float64).view(N_HEADS, 1, n)
        slopes = after[:, :, 1:2]
        # Bloom is causal. Of what comes after, the distance counts as of what came before.
        place = torch.arange(n, dtype=x.dtype)
        bias = after - 2 * slopes * (place - place[:, None]).clamp_min(0)
    if causal:
        bias = bias.masked_fill(torch.ones(n, n, dtype=torch.bool).triu(1), -math.inf)
    y = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, enable_gqa=True)
    return layer.W_O(y.transpose(1, 2).flatten(-2))


@each
@pytest.mark.parametrize("causal", [False, True])
def test_each_kind_is_its_reference_forward_and_backward(kind, causal):
    layer, x = make(kind, causal), normal(2, N, D_MODEL).requires_grad_()
    parameters = list(layer.parameters())
    # Llama keeps its angles in float32.
    tolerance = 1e-6 if "rotary" in kind else 1e-12
    ways = layer, lambda x: layer(x, return_weights=True)[0], lambda x: layer.mix(layer.weights(x), x)
    for way in ways:
        output, want = way(x), reference(layer, x, causal)
        close(output, want, tolerance)
        for got, expected in zip(
            gradients(output, x, *parameters), gradients(want, x, *parameters), strict=True
        ):
            close(got, expected, tolerance)


@each
@pytest.mark.parametrize("leading", [(), (2,), (2, 3)], ids=str)
def test_the_fused_kernel_runs(kind, leading):
    layer = make(kind, causal=True).float()
    x = normal(*leading, N, D_MODEL, dtype=torch.float32)
    with Operations() as seen:
        y = layer(x)
    assert any("flash" in operation for operation in seen.names), seen.names
    close(y, layer(x, return_weights=True)[0], 1e-5)


@each
def test_masks_and_a_context_are_used_alike(kind):
    layer, x, context = make(kind), normal(2, N, D_MODEL), normal(2, 5, D_MODEL, seed=1)
    masks = {
        "none": None,
        "boolean": torch.rand(N, 5) > 0.3,
        "added": normal(2, 1, N, 5, seed=2),
        "per head": torch.rand(2, N_HEADS, N, 5) > 0.3,
    }
    for mask in masks.values():
        if mask is not None and mask.dtype == torch.bool:
            mask[..., 0] = True
        y, A = layer(x, context, mask, return_weights=True)
        close(layer(x, context, mask), y)
        assert A.shape == (2, N_HEADS, N, 5)
        if mask is not None and mask.dtype == torch.bool:
            assert (A * ~mask).abs().max() == 0
        elif mask is not None:  # added to the logits, whatever else is
            without = layer.weights(x, context)
            close(A, (without.log() + mask).softmax(-1), 1e-10)


@pytest.mark.parametrize("kind", ["rotary", "alibi"])
def test_places_count_by_their_difference(kind):
    """Where the tokens stand doesn't matter, only how far from each other."""
    layer, x, before = make(kind, causal=True), normal(4, D_MODEL), normal(3, D_MODEL, seed=1)
    shifted = layer.weights(torch.cat([before, x]))[:, 3:, 3:]
    close(shifted / shifted.sum(-1, keepdim=True), layer.weights(x), 1e-6)
    turned = x.flip(0)
    assert not torch.allclose(layer.weights(turned).flip(-1, -2)[:, -1], layer.weights(x)[:, -1])


def test_without_positions_a_layer_does_not_know_them():
    layer, x = make("grouped"), normal(N, D_MODEL)
    close(layer.weights(x.flip(0)).flip(-1, -2), layer.weights(x))


def test_slopes_are_the_papers():
    """Eight heads: 1/2, 1/4, ..., 1/256."""
    layer = MultiHeadAttention(16, 8, positions="alibi").double()
    nn.init.zeros_(layer.W_Q.weight)
    nn.init.zeros_(layer.W_Q.bias)
    A = layer.weights(normal(2, 16))
    close(A[:, 0, 0] / A[:, 0, 1], (2.0 ** -torch.arange(1, 9)).double().exp())


@each
def test_heads_that_share_keys_have_their_own_maps(kind):
    layer, x = make(kind), normal(N, D_MODEL)
    for W in (layer.W_V, layer.W_O):
        nn.init.zeros_(W.bias)
    assert len(head_maps(layer)) == N_HEADS
    close((effective_matrix(layer, x) @ x.flatten()).view(N, D_MODEL), layer(x))


@pytest.mark.parametrize("positions", ["rotary", "alibi"])
@pytest.mark.parametrize("n_kv_heads", [None, 2])
def test_a_gpt_takes_any_kind_of_positions(positions, n_kv_heads):
    torch.manual_seed(0)
    model = GPT(11, 9, 16, 4, 2, positions=positions, n_kv_heads=n_kv_heads).double()
    ids = torch.arange(18).reshape(2, 9) % 11
    scores = model(ids)
    close(model.mix(model.weights(ids), ids), scores)
    assert not any("places" in name for name, _ in model.named_parameters())
    close(model(ids[:, :5]), scores[:, :5])  # nothing that comes later is seen
    # It does know places: without, the last token would give what it looks at the same weights in any order.
    order = [1, 0, *range(2, 9)]
    A, swapped = (model.weights(tokens)[:, 0, :, -1] for tokens in (ids, ids[:, order]))
    assert (swapped - A[..., order]).abs().max() > 1e-4
    model(ids).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_a_llama_is_such_a_gpts_attention():
    """The layer with both, and the parameters of a Llama's, gives the output of that."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=11, hidden_size=D_MODEL, intermediate_size=8, num_hidden_layers=1, num_attention_heads=N_HEADS,
        num_key_value_heads=2, head_dim=D_HEAD, attn_implementation="sdpa",
    )  # fmt: skip
    llama = LlamaForCausalLM(config).model
    theirs, x = llama.layers[0].self_attn, normal(2, N, D_MODEL, dtype=torch.float32)
    ours = MultiHeadAttention(
        D_MODEL, N_HEADS, D_HEAD, bias=False, causal=True, n_kv_heads=2, positions="rotary"
    )
    names = {"W_Q": "q_proj", "W_K": "k_proj", "W_V": "v_proj", "W_O": "o_proj"}
    for mine, other in names.items():
        getattr(ours, mine).load_state_dict(getattr(theirs, other).state_dict())
    places = llama.rotary_emb(x, torch.arange(N)[None])
    close(ours(x), theirs(x, position_embeddings=places, attention_mask=None)[0], 1e-5)


@pytest.mark.parametrize(
    "call, kind, name",
    [
        (lambda: MultiHeadAttention(8, 4, n_kv_heads=3), ValueError, "n_kv_heads"),
        (lambda: MultiHeadAttention(8, 4, n_kv_heads=0), ValueError, "n_kv_heads"),
        (lambda: MultiHeadAttention(8, 4, n_kv_heads=2.0), TypeError, "n_kv_heads"),
        (lambda: MultiHeadAttention(8, 4, positions="absolute"), ValueError, "positions"),
        (lambda: MultiHeadAttention(8, 4, positions=True), TypeError, "positions"),
        (lambda: MultiHeadAttention(6, 2, positions="rotary"), ValueError, "d_head"),
        (lambda: MultiHeadAttention(8, 4, n_kv_heads=2).to_torch(), ValueError, "n_kv_heads"),
        (lambda: MultiHeadAttention(8, 4, positions="alibi").to_torch(), ValueError, "positions"),
        (lambda: Block(8, 4, positions="far"), ValueError, "positions"),
        (lambda: GPT(5, 4, 8, 2, 1, positions=None), TypeError, "positions"),
        (lambda: GPT(5, 4, 8, 2, 1, positions="far"), ValueError, "positions"),
        (lambda: export(GPT(2, 4, 8, 2, 1, positions="alibi"), "ab"), ValueError, "positions"),
        (lambda: export(GPT(2, 4, 8, 2, 1, n_kv_heads=1), "ab"), ValueError, "n_kv_heads"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(call, kind, name):
    refuses(call, kind, name)
