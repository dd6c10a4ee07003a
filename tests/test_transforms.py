"""Layers and models under what torch can do to a module: autocast, vmap, export, compilation, the meta device.

Each gives there what it gives otherwise. Where values cannot be looked at, only kinds and shapes are checked.
"""

import copy

import pytest
import torch
from helpers import close

from dynattn import mixers
from dynattn.attention import MultiHeadAttention, PlainAttention, SingleHeadAttention, attention
from dynattn.static import TokenMixer
from dynattn.transformer import GPT, Block, Encoder

N, D = 5, 8
LAYERS = {
    "PlainAttention": PlainAttention,
    "SingleHeadAttention": lambda: SingleHeadAttention(D, 4),
    "MultiHeadAttention": lambda: MultiHeadAttention(D, 2),
    "MultiHeadAttention, causal": lambda: MultiHeadAttention(D, 2, causal=True),
    "MultiHeadAttention, rotary": lambda: MultiHeadAttention(D, 2, positions="rotary"),
    "MultiHeadAttention, alibi": lambda: MultiHeadAttention(D, 2, positions="alibi", n_kv_heads=1),
    "TokenMixer": lambda: TokenMixer(N),
    "StaticMixing": lambda: mixers.StaticMixing(N, D, D),
    "DenseSynthesizer": lambda: mixers.DenseSynthesizer(N, D, D, 4),
    "Attention": lambda: mixers.Attention(N, D, D, 4),
    "MLPMixer": lambda: mixers.MLPMixer(N, D, D, 6, 1),
    "Block": lambda: Block(D, 2),
}
MODELS = {
    "GPT": lambda: GPT(7, N, D, 2, 2),
    "GPT, rotary": lambda: GPT(7, N, D, 2, 2, positions="rotary", n_kv_heads=1),
    "Encoder": lambda: Encoder(7, N, D, 2, 2),
}


def make(name):
    torch.manual_seed(3)
    model = (LAYERS | MODELS)[name]()
    return model, torch.randint(7, (2, N)) if name in MODELS else torch.randn(2, N, D)


each = pytest.mark.parametrize("name", LAYERS | MODELS)


@each
def test_vmap_is_a_loop(name):
    model, x = make(name)
    close(torch.func.vmap(model)(x), torch.stack([model(one) for one in x]), 1e-5)


@pytest.mark.parametrize("name", LAYERS)
def test_a_gradient_for_each_sample(name):
    model, x = make(name)
    want = [torch.func.grad(lambda t: model(t).sin().sum())(one) for one in x]
    close(torch.func.vmap(torch.func.grad(lambda t: model(t).sin().sum()))(x), torch.stack(want), 1e-5)


@each
def test_without_values_there_are_shapes(name):
    model, x = make(name)
    found = copy.deepcopy(model).to("meta")(x.to("meta"))
    assert found.is_meta and found.shape == model(x).shape


@each
@pytest.mark.parametrize("strict", [True, False])
def test_an_exported_program_is_the_model(name, strict):
    model, x = make(name)
    close(torch.export.export(model, (x,), strict=strict).module()(x), model(x), 1e-5)


@each
def test_compiled_in_one_piece_it_is_the_model(name):
    model, x = make(name)
    torch.compiler.reset()
    close(torch.compile(model, backend="eager", fullgraph=True)(x), model(x), 1e-5)


def test_the_function_compiles_in_one_piece():
    q, mask = torch.randn(2, N, D), torch.ones(N, N, dtype=torch.bool).tril()
    torch.compiler.reset()
    compiled = torch.compile(attention, backend="eager", fullgraph=True)
    for got, want in zip(compiled(q, q, q, mask), attention(q, q, q, mask), strict=True):
        close(got, want, 1e-5)


@each
@pytest.mark.parametrize("way", ["forward", "weights and mix", "both"])
def test_autocast_computes_in_its_own_precision(name, way):
    """In every way of calling, close to what float32 gives."""
    model, x = make(name)

    def call():
        if way == "both" and "return_weights" in model.forward.__code__.co_varnames:
            return model(x, return_weights=True)[0]
        if way == "weights and mix" and hasattr(model, "weights"):
            return model.mix(model.weights(x), x)
        return model(x)

    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = call()
    close(found.float(), call(), 0.15)


@pytest.mark.parametrize("name", ["MultiHeadAttention", "SingleHeadAttention", "PlainAttention"])
def test_outside_autocast_a_second_dtype_is_refused(name):
    model, x = make(name)
    with pytest.raises(TypeError, match="expected torch.float32"):
        model.mix(model.weights(x).bfloat16(), x)


@pytest.mark.parametrize("name", LAYERS)
def test_shapes_are_checked_where_values_are_not(name):
    model, x = make(name)
    wrong = x[..., :3] if name != "TokenMixer" and name != "PlainAttention" else x[0, 0]
    with pytest.raises(Exception, match=r"x: got shape|vmap"):
        torch.func.vmap(model)(wrong)


def test_shapes_are_checked_in_compiled_layers():
    model, x = make("MultiHeadAttention")
    torch.compiler.reset()
    with pytest.raises(ValueError, match=r"^x: got shape \(2, 5, 3\)"):
        torch.compile(model, backend="eager")(x[..., :3])
