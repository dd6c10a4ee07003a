"""The block, the small GPT and the encoder: against torch's own layers, causal, editable, and clear about bad input."""

import math

import pytest
import torch
from helpers import CHANGES, agree, close, normal, refuses
from torch import nn

from dynattn.transformer import GPT, Block, Encoder, export


def spread(model, seed=0):
    """The model in float64 with every parameter random, so that none of them can be forgotten."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model.double()


def torch_block(block: Block, d_mlp: int) -> nn.TransformerEncoderLayer:
    attention = block.attention
    layer = nn.TransformerEncoderLayer(
        attention.d_model, attention.n_heads, d_mlp, dropout=0, activation="gelu", batch_first=True,
        norm_first=block.norm_first, layer_norm_eps=1e-3,
    ).double()  # fmt: skip
    layer.self_attn = attention.to_torch()
    layer.linear1, layer.linear2 = block.mlp[0], block.mlp[2]
    layer.norm1.load_state_dict(block.norm_attention.state_dict())
    layer.norm2.load_state_dict(block.norm_mlp.state_dict())
    return layer


@pytest.mark.parametrize("norm_first", [True, False])
@pytest.mark.parametrize("causal", [True, False])
def test_block_equals_torchs(norm_first, causal):
    block = spread(Block(12, 3, 20, causal=causal, norm_first=norm_first, eps=1e-3))
    x = normal(2, 7, 12).requires_grad_()
    hidden = torch.ones(7, 7, dtype=torch.bool).triu(1) if causal else None
    theirs = torch_block(block, 20).train()(x, src_mask=hidden)
    close(block(x), theirs)
    close(torch.autograd.grad(block(x).sin().sum(), x)[0], torch.autograd.grad(theirs.sin().sum(), x)[0])


def test_edit_that_changes_nothing_changes_nothing():
    block, x = spread(Block(12, 3)), normal(2, 7, 12)
    close(block(x, edit=lambda A: A), block(x))
    mask = torch.rand(7, 7, generator=torch.Generator().manual_seed(0)) < 0.5
    mask |= torch.eye(7, dtype=torch.bool)
    close(block(x, mask=mask, edit=lambda A: A), block(x, mask=mask))
    seen = []
    block(x, mask=mask, edit=lambda A: seen.append(A) or A)
    assert (seen[0][..., ~mask] == 0).all() and seen[0].shape == (2, 3, 7, 7)


def test_the_static_half_leaves_tokens_alone_and_the_computed_half_does_not():
    block, x = spread(Block(12, 3)), normal(7, 12)
    other = x.clone()
    other[0] += normal(12, seed=1)
    only_self = torch.eye(7, dtype=torch.float64).expand(3, 7, 7)
    assert torch.equal(block(x, edit=lambda A: only_self)[1:], block(other, edit=lambda A: only_self)[1:])
    assert not torch.allclose(block(x)[1:], block(other)[1:])


def gpt(**sizes):
    return spread(
        GPT(**({"vocabulary": 11, "context": 9, "d_model": 12, "n_heads": 3, "n_layers": 3} | sizes))
    )


def encoder():
    return spread(Encoder(11, 9, 12, 3, 2, d_mlp=20))


def ids(*shape, high=11, seed=0):
    return torch.randint(high, shape, generator=torch.Generator().manual_seed(seed))


def test_gpt_is_its_parts():
    model, text = gpt(), ids(2, 8)
    x = model.tokens.weight[text] + model.places.weight[:8]
    for block in model.blocks:
        x = block(x)
    close(model(text), model.norm(x) @ model.tokens.weight.T)
    assert all(block.attention.causal and block.norm_first for block in model.blocks)


def test_encoder_is_its_parts():
    model, text = encoder(), ids(2, 8)
    x = model.norm(model.tokens.weight[text] + model.places.weight[:8])
    for block in model.blocks:
        x = block(x)
    close(model(text), x)
    assert not any(block.attention.causal or block.norm_first for block in model.blocks)


@pytest.mark.parametrize("shape", [(8,), (2, 8), (2, 3, 8)])
@pytest.mark.parametrize("make", [gpt, encoder])
def test_two_verbs(make, shape):
    model, text = make(), ids(*shape)
    A = model.weights(text)
    assert A.shape == (*shape[:-1], len(model.blocks), 3, 8, 8)
    close(A.sum(-1), torch.ones(A.shape[:-1], dtype=A.dtype))
    close(model.mix(A, text), model(text))
    other = model.weights(ids(*shape, seed=1))
    assert not torch.allclose(model.mix(other, text), model(text))
    layers = []
    close(model(text, edit=lambda layer, A: layers.append(layer) or A), model(text))
    assert layers == list(range(len(model.blocks)))


WAYS = {
    "by itself": lambda model, text: model(text),
    "with an edit": lambda model, text: model(text, edit=lambda layer, A: A),
    "by the two verbs": lambda model, text: model.mix(model.weights(text), text),
}
each_projection = pytest.mark.parametrize("learned", ["W_Q", "W_K", "W_V", "W_O"])


@pytest.mark.parametrize("change", CHANGES)
@each_projection
@pytest.mark.parametrize("make", [gpt, encoder])
def test_what_becomes_of_a_projection_shows_in_every_way_of_calling(make, learned, change):
    """And it learns the same: over several steps, since what pruning makes of the weights is out of date after each."""
    model, text, trained = make(), ids(2, 8), []
    before = model(text)
    CHANGES[change](model.blocks[1].attention, learned)
    outputs = {way: call(model, text) for way, call in WAYS.items()}
    agree(outputs, *(p for p in model.parameters() if p.requires_grad))
    assert (outputs["by itself"] - before).abs().max() > 1e-5
    for call in WAYS.values():
        model = make()
        CHANGES[change](model.blocks[1].attention, learned)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        for _ in range(3):
            optimizer.zero_grad()
            call(model, text).square().mean().backward()
            optimizer.step()
        trained.append(model.state_dict())
    for state in trained[1:]:
        for key, value in state.items():
            close(value, trained[0][key])


@each_projection
@pytest.mark.parametrize("make", [gpt, encoder])
def test_a_backward_hook_of_a_projection_sees_its_gradients(make, learned):
    model, text, found = make(), ids(2, 8), []
    for call in WAYS.values():
        seen = []
        handle = getattr(model.blocks[0].attention, learned).register_full_backward_hook(
            lambda W, into, out, seen=seen: seen.append(out[0])
        )
        call(model, text).sin().sum().backward()
        handle.remove()
        found.append(sum(seen))  # the two verbs pass through the model twice
    assert found[0].any()
    for gradient in found[1:]:
        close(gradient, found[0])


@pytest.mark.parametrize("make", [gpt, encoder])
@pytest.mark.parametrize("way", WAYS)
def test_every_part_of_a_model_is_called_and_so_can_be_hooked(make, way):
    model, seen = make(), []
    parts = [module for module in model.modules() if not list(module.children())]
    for part in parts:
        part.register_forward_hook(lambda module, inputs, output: seen.append(module))
    WAYS[way](model, ids(2, 8))
    assert set(parts) == set(seen)


def test_edit_of_one_layer_leaves_those_before_it_and_moves_those_after_it():
    model, text = gpt(), ids(2, 8)
    own, used = model.weights(text), []

    def uniform_in_the_second(layer, A):
        used.append(A)
        return torch.ones_like(A).tril() / torch.arange(1, 9)[:, None] if layer == 1 else A

    model(text, edit=uniform_in_the_second)
    close(torch.stack(used[:2], -4), own[:, :2])
    assert not torch.allclose(used[2], own[:, 2])


def test_gpt_is_causal_bit_for_bit():
    model = gpt()
    text = ids(2, 9)
    with torch.no_grad():
        whole = model(text)
        other = text.clone()
        other[:, 5:] = (other[:, 5:] + 1) % 11
        assert torch.equal(model(other)[:, :5], whole[:, :5])
        assert not torch.allclose(model(other)[:, 5:], whole[:, 5:])
        assert (model.weights(text).triu(1) == 0).all()


def test_filled_places_change_nothing():
    model, text = encoder(), ids(2, 9)
    present = torch.ones(2, 9, dtype=torch.bool)
    present[0, 6:] = False
    features = model(text, present=present)
    close(features[0, :6], model(text[0, :6]))
    close(features[1], model(text[1]))
    other = text.clone()
    other[0, 6:] = 0
    close(model(other, present=present)[0, :6], features[0, :6])
    A = model.weights(text, present=present)
    assert (A[0, ..., 6:] == 0).all()
    close(model.mix(A, text, present=present), features)


def test_gpt_starts_near_a_guess_with_small_steps():
    torch.manual_seed(0)
    model = GPT(80, 32, 64, 4, 8)
    loss = nn.functional.cross_entropy(
        model(ids(4, 32, high=80)).flatten(0, 1), ids(4, 32, high=80, seed=1).flatten()
    )
    # Logits of variance 768 * 0.02**2 = 0.31 cost half of it, 0.15, more than a guess.
    assert 0.05 < loss.item() - math.log(80) < 0.25
    for last in (model.blocks[0].attention.W_O, model.blocks[0].mlp[2]):
        assert last.weight.std().item() == pytest.approx(0.02 * math.sqrt(768 / 64 / (2 * 8)), rel=0.1)
    assert model.blocks[0].attention.W_Q.weight.std().item() == pytest.approx(
        0.02 * math.sqrt(768 / 64), rel=0.05
    )
    assert (
        sum(p.numel() for p in model.parameters()) == 80 * 64 + 32 * 64 + 8 * (12 * 64**2 + 13 * 64) + 2 * 64
    )


def test_generate_continues_and_looks_at_the_last_tokens_only():
    model = gpt()
    start = ids(2, 3)

    def go(start, **options):
        return model.generate(start, 12, torch.Generator().manual_seed(0), **options)

    long = go(start)
    assert long.shape == (2, 15) and torch.equal(long[:, :3], start) and torch.equal(long, go(start))
    lengths = []
    model.register_forward_pre_hook(lambda module, inputs: lengths.append(inputs[0].shape[-1]))
    likeliest = go(start, temperature=1e-4)
    assert lengths == [3, 4, 5, 6, 7, 8, 9, 9, 9, 9, 9, 9]
    for place in range(3, 15):
        seen = likeliest[:, max(0, place - 9) : place]
        assert torch.equal(model(seen)[:, -1].argmax(-1), likeliest[:, place])


def test_generate_draws_with_the_probabilities_of_its_temperature():
    model = gpt()
    start = ids(1, 3).expand(20000, 3)
    for temperature in (0.5, 2.0):
        drawn = model.generate(start, 1, torch.Generator().manual_seed(0), temperature)[:, -1]
        want = (model(start[:1])[0, -1] / temperature).softmax(-1)
        close(drawn.bincount(minlength=11) / 20000, want.float(), 0.02)


def test_bad_sizes_are_refused():
    for name in ("vocabulary", "context", "d_model", "n_heads", "n_layers", "d_mlp"):
        refuses(lambda name=name: gpt(**{name: 0}), ValueError, name)
        refuses(lambda name=name: gpt(**{name: 2.0}), TypeError, name)
    refuses(lambda: gpt(n_heads=5), ValueError, "n_heads")
    refuses(lambda: Block(8, 2, norm_first=1), TypeError, "norm_first")


@pytest.mark.parametrize("make", [gpt, encoder])
def test_bad_tokens_are_refused(make):
    model = make()
    refuses(lambda: model([1, 2]), TypeError, "ids")
    refuses(lambda: model(torch.ones(2, 3)), TypeError, "ids")
    for wrong in (torch.tensor(3), ids(2, 10), ids(2, 0), ids(0, 3)):
        assert str(tuple(wrong.shape)) in refuses(lambda wrong=wrong: model(wrong), ValueError, "ids")
    assert "11" in refuses(lambda: model(torch.tensor([1, 11])), ValueError, "ids")
    refuses(lambda: model(torch.tensor([1, -1])), ValueError, "ids")
    refuses(lambda: model.mix(torch.ones(2, 3, 3), ids(2, 3)), ValueError, "A")
    refuses(lambda: model.mix(torch.ones(3, 3, 4, 4), ids(2, 3)), ValueError, "A")
    refuses(lambda: model.mix(None, ids(2, 3)), TypeError, "A")


def test_bad_edits_and_masks_are_refused():
    refuses(lambda: gpt()(ids(2, 3), edit=lambda layer, A: A[..., :2]), ValueError, "A")
    refuses(lambda: gpt()(ids(2, 3), edit=lambda layer, A: None), TypeError, "A")
    refuses(lambda: gpt()(ids(2, 3), edit=3), TypeError, "edit")
    model, text = encoder(), ids(2, 3)
    refuses(lambda: model(text, present=torch.ones(2, 3)), TypeError, "present")
    refuses(lambda: model(text, present=[[True] * 3] * 2), TypeError, "present")
    refuses(lambda: model(text, present=torch.ones(2, 4, dtype=torch.bool)), ValueError, "present")
    refuses(lambda: model(text, present=torch.tensor([[True] * 3, [False] * 3])), ValueError, "present")


def test_bad_generation_is_refused():
    model, generator = gpt(), torch.Generator()
    for temperature in (0, -1.0, float("nan"), float("inf")):
        refuses(lambda t=temperature: model.generate(ids(1, 3), 2, generator, t), ValueError, "temperature")
    refuses(lambda: model.generate(ids(3), 2, generator), ValueError, "ids")
    refuses(lambda: model.generate([[1, 2]], 2, generator), TypeError, "ids")
    refuses(lambda: model.generate(ids(1, 3), 0, generator), ValueError, "steps")


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(
    "part", ["attention.W_Q", "attention.W_K", "attention.W_V", "attention.W_O", "mlp.2"]
)
def test_export_takes_no_parameter_that_does_not_say_what_its_layer_does(part, change):
    model = gpt()
    parent, _, name = part.partition(".")
    CHANGES[change](getattr(model.blocks[1], parent), name)
    refuses(lambda: export(model, "abcdefghijk"), TypeError, f"blocks.1.{part}")
