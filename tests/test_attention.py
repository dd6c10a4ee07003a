"""The attention function and layers: equal to torch's own, forward and backward; strict about input."""

import math
from collections import Counter

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import CHANGES, agree, close, gradients, normal, refuses
from torch import nn
from torch.nn.modules.module import register_module_forward_hook, register_module_full_backward_hook
from torch.utils._python_dispatch import TorchDispatchMode

from dynattn.attention import MultiHeadAttention, PlainAttention, SingleHeadAttention, attention

LEADING = [(), (2,), (3, 2), (0,)]


def masks(shape, dtype=torch.float64):
    """One mask of each allowed form for weights of this shape; every query may look at some key."""
    n_q, n_k = shape[-2:]
    boolean = (normal(*shape, seed=9) > 0) | (torch.arange(n_k) == 0)
    return {
        "no mask": None,
        "boolean": (normal(n_q, n_k, seed=8) > 0) | (torch.arange(n_k) == 0),
        "boolean, all dimensions": boolean,
        "additive": normal(n_q, n_k, seed=7, dtype=dtype),
        "additive, hiding": torch.zeros(shape, dtype=dtype).masked_fill(~boolean, -math.inf),
        "one row for all queries": boolean.reshape(-1, n_k)[:1] if boolean.numel() else None,
    }


MASKS = list(masks((1, 1)))


# ------------------------------------------------------------------------------------- equal to torch's own


@pytest.mark.parametrize("leading", LEADING, ids=str)
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("scale", [None, 0.3, -2])
def test_attention_is_torchs_forward_and_backward(leading, mask, scale):
    q, k, v = normal(*leading, 4, 3, seed=1), normal(*leading, 6, 3, seed=2), normal(*leading, 6, 5, seed=3)
    for x in (q, k, v):
        x.requires_grad_()
    mask = masks((*leading, 4, 6))[mask]
    output, A = attention(q, k, v, mask, scale)
    want = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)
    close(output, want)
    close(A @ v, output)
    assert A.shape == (*leading, 4, 6)
    for got, expected in zip(gradients(output, q, k, v), gradients(want, q, k, v), strict=True):
        close(got, expected)


# Unit roundoff times the number of roundings that add up here, with room: about 8 for the widths used.
@pytest.mark.parametrize(
    "dtype, tolerance", [(torch.float32, 1e-6), (torch.float16, 4e-3), (torch.bfloat16, 3e-2)]
)
def test_lower_precisions_stay_near_the_float64_result(dtype, tolerance):
    q, k, v = (normal(2, 8, 4, seed=seed, dtype=dtype) for seed in (1, 2, 3))
    want = F.scaled_dot_product_attention(q.double(), k.double(), v.double())
    output, A = attention(q, k, v)
    assert output.dtype == A.dtype == dtype
    close(output.double(), want, tolerance)
    layer = MultiHeadAttention(4, 2).to(dtype)
    exact = MultiHeadAttention(4, 2).double()
    exact.load_state_dict(layer.state_dict())
    close(layer(q).double(), exact(q.double()), tolerance)
    close(layer(q, return_weights=True)[0].double(), exact(q.double()), tolerance)


@pytest.mark.parametrize("leading", LEADING, ids=str)
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("dtype, tolerance", [(np.float64, 1e-12), (np.float32, 1e-6)])
def test_numpy_gives_what_torch_gives(leading, mask, dtype, tolerance):
    q, k, v = normal(*leading, 4, 3, seed=1), normal(*leading, 6, 3, seed=2), normal(*leading, 6, 5, seed=3)
    mask = masks((*leading, 4, 6))[mask]
    want = attention(q, k, v, mask, 0.7)
    arrays = [x.numpy().astype(dtype) for x in (q, k, v)]
    got = attention(*arrays, None if mask is None else mask.numpy(), np.float64(0.7))
    for ours, torchs in zip(got, want, strict=True):
        assert type(ours) is np.ndarray and ours.dtype == dtype
        close(torch.from_numpy(ours).double(), torchs, tolerance)


def test_numpy_views_with_negative_strides_are_taken():
    q = normal(5, 3).numpy()[::-1, ::-1]
    mask = np.tri(5, dtype=bool)[::-1, ::-1]
    np.testing.assert_allclose(
        attention(q, q, q, mask)[0], attention(q.copy(), q.copy(), q.copy(), mask.copy())[0]
    )


def test_logits_far_apart_and_far_from_zero_are_no_trouble():
    """Each row is taken relative to its own largest logit, so that exp neither overflows nor vanishes."""
    q, k = torch.tensor([[1.0], [-1.0], [1e-3]], dtype=torch.float64) * 3000, normal(4, 1)
    want = attention(q, k, k, scale=1)
    for got, expected in zip(attention(q.numpy(), k.numpy(), k.numpy(), scale=1), want, strict=True):
        close(torch.from_numpy(got), expected)
    close(want[0], F.scaled_dot_product_attention(q, k, k, scale=1))


def test_leading_dimensions_broadcast_as_in_a_matrix_product():
    q, k, v = normal(2, 1, 4, 3, seed=1), normal(3, 6, 3, seed=2), normal(6, 5, seed=3)
    close(attention(q, k, v)[0], F.scaled_dot_product_attention(q, k, v.expand(2, 3, 6, 5)))
    # A mask speaks of the computed weights, so v may have more leading dimensions than it.
    causal = torch.ones(4, 4, dtype=torch.bool).tril()
    assert attention(q[0, 0], q[0, 0], normal(7, 4, 2), causal)[0].shape == (7, 4, 2)


def test_inputs_and_masks_are_left_as_they_were():
    q, mask = normal(4, 3), torch.zeros(4, 4, dtype=torch.float64)
    before = q.clone()
    for call in (
        lambda: attention(q, q, q, mask),
        lambda: attention(q.numpy(), q.numpy(), q.numpy(), mask.numpy()),
    ):
        call()
        assert torch.equal(q, before) and not mask.any()


# ------------------------------------------------------------------------------------------ the layers


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("mask", ["no mask", "boolean", "additive"])
def test_multi_head_is_torchs_with_the_same_parameters(bias, causal, mask):
    """Packing of in_proj, orientation (out, in), and the opposite meaning of True in a boolean mask."""
    torch.manual_seed(1)
    theirs = nn.MultiheadAttention(6, 3, bias=bias, batch_first=True).double()
    for (
        parameter
    ) in theirs.parameters():  # torch starts the biases at 0, which would hide a mistake with them
        nn.init.normal_(parameter, std=0.5)
    ours = MultiHeadAttention.from_torch(theirs)
    ours.causal = causal
    x = normal(2, 5, 6).requires_grad_()
    mask = masks((5, 5))[mask]
    if mask is not None and mask.dtype == torch.bool:
        hidden = ~mask
    else:
        hidden = torch.zeros(5, 5, dtype=torch.float64) if mask is None else mask.clone()
    if causal:
        future = torch.ones(5, 5, dtype=torch.bool).triu(1)
        hidden = hidden | future if hidden.dtype == torch.bool else hidden.masked_fill(future, -math.inf)
    want, want_A = theirs(x, x, x, attn_mask=hidden, average_attn_weights=False)
    output, A = ours(x, mask=mask, return_weights=True)
    close(output, want)
    close(A, want_A)
    close(ours(x, mask=mask), want)

    expected = dict(
        zip(("x", *dict(theirs.named_parameters())), gradients(want, x, *theirs.parameters()), strict=True)
    )
    for path in (output, ours(x, mask=mask)):
        got = dict(
            zip(("x", *dict(ours.named_parameters())), gradients(path, x, *ours.parameters()), strict=True)
        )
        close(got["x"], expected["x"])
        for kind in ("weight", "bias")[: 1 + bias]:
            packed = torch.cat([got[f"{name}.{kind}"] for name in ("W_Q", "W_K", "W_V")])
            close(packed, expected[f"in_proj_{kind}"])
            close(got[f"W_O.{kind}"], expected[f"out_proj.{kind}"])


def test_cross_attention_is_torchs():
    theirs = nn.MultiheadAttention(6, 2, batch_first=True).double()
    x, context = normal(2, 3, 6, seed=1), normal(2, 7, 6, seed=2)
    close(MultiHeadAttention.from_torch(theirs)(x, context), theirs(x, context, context)[0])


def test_to_torch_and_back_keeps_every_parameter():
    ours = MultiHeadAttention(6, 3).double()
    again = MultiHeadAttention.from_torch(ours.to_torch())
    assert ours.state_dict().keys() == again.state_dict().keys()
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in ours.state_dict().items())
    x = normal(2, 5, 6)
    close(ours.to_torch()(x, x, x)[0], ours(x))


def test_multi_head_is_what_its_definition_says():
    """Head by head, token by token, in plain loops; a width per head that doesn't follow from d_model."""
    layer = MultiHeadAttention(5, 3, d_head=2).double()
    x = normal(4, 5)
    heads = []
    for h in range(3):
        rows = slice(2 * h, 2 * h + 2)
        q, k, v = (x @ W.weight[rows].T + W.bias[rows] for W in (layer.W_Q, layer.W_K, layer.W_V))
        mixed = []
        for i in range(4):
            e = torch.stack([torch.exp(q[i] @ k[j] / math.sqrt(2)) for j in range(4)])
            mixed.append(sum(e[j] / e.sum() * v[j] for j in range(4)))
        heads.append(torch.stack(mixed))
    close(layer(x), torch.cat(heads, dim=1) @ layer.W_O.weight.T + layer.W_O.bias)


def test_single_head_is_attention_between_its_projections():
    layer = SingleHeadAttention(5, 3, d_out=4).double()
    x, context = normal(2, 4, 5, seed=1), normal(2, 6, 5, seed=2)
    q, k, v = x @ layer.W_Q.weight.T, context @ layer.W_K.weight.T, context @ layer.W_V.weight.T
    close(layer(x, context), F.scaled_dot_product_attention(q, k, v))
    assert SingleHeadAttention(5, 3)(x.float()).shape == x.shape


def test_plain_attention_is_attention_of_the_tokens_to_themselves():
    x = normal(2, 4, 3)
    close(PlainAttention()(x), attention(x, x, x)[0])


def layers():
    torch.manual_seed(3)
    return {
        "multi": MultiHeadAttention(6, 2).double(),
        "causal": MultiHeadAttention(6, 3, causal=True).double(),
        "rotary": MultiHeadAttention(6, 3, positions="rotary").double(),
        "alibi, grouped": MultiHeadAttention(6, 3, causal=True, n_kv_heads=1, positions="alibi").double(),
        "single": SingleHeadAttention(6, 6).double(),
        "single, other width": SingleHeadAttention(6, 2, d_out=3).double(),
    }


@pytest.mark.parametrize("leading", LEADING, ids=str)
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("name", layers())
def test_both_paths_agree_forward_and_backward(leading, mask, name):
    layer = layers()[name]
    heads = (layer.n_heads,) if isinstance(layer, MultiHeadAttention) else ()
    mask = masks((*leading, *heads, 5, 5))[mask]
    x = normal(*leading, 5, 6).requires_grad_()
    output, A = layer(x, mask=mask, return_weights=True)
    fused = layer(x, mask=mask)
    close(fused, output)
    close(layer.mix(layer.weights(x, mask=mask), x), output)
    assert A.shape == (*leading, *heads, 5, 5)
    close(gradients(fused, x)[0], gradients(output, x)[0])


@pytest.mark.parametrize(
    "shapes", [((3, 6), (2, 4, 6)), ((2, 3, 6), (4, 6)), ((2, 1, 3, 6), (3, 4, 6))], ids=str
)
@pytest.mark.parametrize("name", ["multi", "single"])
def test_context_broadcasts_alike_on_both_paths(shapes, name):
    x, context = (normal(*shape, seed=seed) for seed, shape in enumerate(shapes))
    layer = layers()[name]
    close(layer(x, context), layer(x, context, return_weights=True)[0])


class Operations(TorchDispatchMode):
    """Records the name of each operation, and the size of the largest tensor that one makes."""

    def __init__(self):
        super().__init__()
        self.names, self.largest = Counter(), 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        self.names[function.overloadpacket.__name__] += 1
        for x in result if isinstance(result, tuple) else (result,):
            self.largest = max(self.largest, x.numel() if isinstance(x, torch.Tensor) else 0)
        return result


@pytest.mark.parametrize("leading", [(), (2,), (2, 2)], ids=str)
@pytest.mark.parametrize("name", ["multi", "causal", "single"])
def test_without_weights_the_fused_kernel_runs_and_nothing_as_large_as_a_is_made(leading, name):
    n = 128
    layer = layers()[name]
    with Operations() as seen:
        layer(normal(*leading, n, 6))
    assert any("flash" in operation for operation in seen.names), seen.names
    assert seen.largest < math.prod(leading) * n * n
    with Operations() as seen:
        layer(normal(*leading, n, 6), return_weights=True)
    assert seen.largest >= math.prod(leading) * n * n


# --------------------------------------------------- projections that are replaced, hooked into or pruned

WAYS = {
    "by itself": lambda layer, x: layer(x),
    "with weights": lambda layer, x: layer(x, return_weights=True)[0],
    "as its own context": lambda layer, x: layer(x, x.clone()),
    "by the two verbs": lambda layer, x: layer.mix(layer.weights(x), x),
}
PROJECTIONS = [
    (name, learned)
    for name in ("multi", "causal", "rotary", "alibi, grouped", "single, other width")
    for learned in ("W_Q", "W_K", "W_V", "W_O")[: 3 if "single" in name else 4]
]
each_projection = pytest.mark.parametrize("name, learned", PROJECTIONS)
each_change = pytest.mark.parametrize("change", CHANGES)


@each_change
@each_projection
def test_what_becomes_of_a_projection_shows_in_every_way_of_calling(name, learned, change):
    layer, x = layers()[name], normal(2, 5, 6).requires_grad_()
    before = layer(x)
    CHANGES[change](layer, learned)
    outputs = {way: call(layer, x) for way, call in WAYS.items()}
    agree(outputs, x, *(p for p in layer.parameters() if p.requires_grad))
    assert (outputs["by itself"] - before).abs().max() > 1e-3


@each_change
@each_projection
def test_a_changed_projection_learns_the_same_in_every_way_of_calling(name, learned, change):
    """Over several steps: what pruning makes of the weights is out of date after each."""
    x, trained = normal(2, 5, 6), []
    for call in WAYS.values():
        layer = layers()[name]
        CHANGES[change](layer, learned)
        optimizer = torch.optim.SGD(layer.parameters(), lr=0.01)
        for _ in range(3):
            optimizer.zero_grad()
            call(layer, x).square().mean().backward()
            optimizer.step()
        trained.append(layer.state_dict())
    for state in trained[1:]:
        for key, value in state.items():
            close(value, trained[0][key])


@pytest.mark.parametrize("kind", ["register_full_backward_hook", "register_full_backward_pre_hook"])
@each_projection
def test_a_backward_hook_of_a_projection_sees_its_gradients(name, learned, kind):
    layer, x, seen = layers()[name], normal(2, 5, 6).requires_grad_(), []
    getattr(getattr(layer, learned), kind)(lambda W, *gradients: seen.append(gradients[-1][0]))
    for call in WAYS.values():
        call(layer, x).sin().sum().backward()
    assert len(seen) == len(WAYS) and seen[0].any()
    for gradient in seen:
        close(gradient, seen[0])


@pytest.mark.parametrize("register", [register_module_forward_hook, register_module_full_backward_hook])
@pytest.mark.parametrize("name", layers())
def test_hooks_on_all_modules_see_every_projection(name, register):
    layer, x = layers()[name], normal(2, 5, 6).requires_grad_()
    for call in WAYS.values():
        seen = []
        handle = register(lambda W, *_, seen=seen: seen.append(W))
        try:
            call(layer, x).sum().backward()
        finally:
            handle.remove()
        assert all(seen.count(W) == 1 for W in layer.children())


def test_plain_projections_of_the_same_tokens_are_one_product():
    layer, x = layers()["multi"], normal(2, 5, 6)

    def products():
        with Operations() as seen:
            layer(x)
        return seen.names["mm"] + seen.names["addmm"]

    assert products() == 2  # the other one is W_O's
    handle = layer.W_K.register_forward_hook(lambda W, x, y: None)
    assert products() == 4
    handle.remove()
    assert products() == 2


@pytest.mark.parametrize("without", ["W_Q", "W_V", "W_O", "W_Q W_K", "W_Q W_K W_V", "W_K W_V W_O"])
def test_some_projections_may_lack_a_bias(without):
    layer, x = layers()["multi"], normal(2, 5, 6).requires_grad_()
    for learned in without.split():
        getattr(layer, learned).bias = None
    outputs = {way: call(layer, x) for way, call in WAYS.items()}
    close(layer.to_torch()(x, x, x)[0], outputs["by itself"])
    agree(outputs, x, *layer.parameters())


@pytest.mark.parametrize("way", WAYS)
def test_projections_of_other_widths_are_not_cut_where_it_happens_to_fit(way):
    layer = layers()["multi"]
    layer.W_Q, layer.W_K = nn.Linear(6, 4).double(), nn.Linear(6, 8).double()
    with pytest.raises(RuntimeError, match="unflatten"):
        WAYS[way](layer, normal(2, 5, 6))


@pytest.mark.parametrize("name", [name for name in layers() if "grouped" not in name])
def test_projections_may_have_no_parameters(name):
    layer, x = layers()[name], normal(2, 5, 6).requires_grad_()
    for learned in list(dict(layer.named_children())):
        setattr(layer, learned, nn.Identity())
    agree({way: call(layer, x) for way, call in WAYS.items()}, x)
    assert all(call(layer, x.float()).dtype == torch.float32 for call in WAYS.values())


@each_change
@each_projection
def test_a_changed_layer_refuses_what_a_plain_one_refuses(name, learned, change):
    layer = layers()[name]
    CHANGES[change](layer, learned)
    layer.float()  # parameters alone: a pruned weight stays as it was until the next call
    x = normal(2, 5, 6, dtype=torch.float32)
    for call in WAYS.values():
        refuses(lambda call=call: call(layer, x.double()), TypeError, "x")
        refuses(lambda call=call: call(layer, x[..., :4]), ValueError, "x")
        refuses(lambda call=call: call(layer, x.to("meta")), ValueError, "x")
        assert call(layer, x).dtype == torch.float32
    refuses(lambda: layer.mix(layer.weights(x), x[..., :4]), ValueError, "context")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", layers())
def test_queries_and_keys_that_a_hook_has_spoilt_are_noticed(name, way):
    layer, x = layers()[name].float(), normal(2, 5, 6, dtype=torch.float32)

    def hooked(factor, *names):
        handles = [getattr(layer, f"W_{n}").register_forward_hook(lambda W, x, y: y * factor) for n in names]
        try:
            refuses(lambda: WAYS[way](layer, x), ValueError, ", ".join(names).lower())
        finally:
            for handle in handles:
                handle.remove()

    hooked(1e30, "Q", "K")
    hooked(math.nan, "Q")
    hooked(math.inf, "K")
    WAYS[way](layer, x)


@each_change
@pytest.mark.parametrize("learned", ["W_Q", "W_K", "W_V", "W_O"])
def test_to_torch_takes_no_weight_that_does_not_say_what_the_projection_does(learned, change):
    layer, x = layers()["multi"], normal(2, 5, 6)
    CHANGES[change](layer, learned)
    if change == "weight norm":  # computed anew whenever it is read
        close(layer.to_torch()(x, x, x)[0], layer(x))
    else:
        got = {"LoRA": "LoRA", "subclass": "Sine"}.get(change, "Linear with a hook or a forward of its own")
        message = refuses(layer.to_torch, TypeError, learned)
        assert message == f"{learned}: got {got}, expected a plain nn.Linear"


# ------------------------------------------------------------------------------------------ bad input

Q, K, V = normal(3, 4, seed=1), normal(5, 4, seed=2), normal(5, 2, seed=3)
NAN, INF = math.nan, math.inf


def spoilt(x, value, index=(0, 0)):
    x = x.clone()
    x[index] = value
    return x


def arrays(**changes):
    """Fitting NumPy arguments of attention, but for the changes."""
    return {"q": Q.numpy(), "k": K.numpy(), "v": V.numpy(), **changes}


def tensors(**changes):
    return {"q": Q, "k": K, "v": V, **changes}


HIDDEN_ROW = torch.ones(3, 5, dtype=torch.bool).index_fill(0, torch.tensor(1), False)

BAD_ARGUMENTS = {
    "a list": (tensors(q=[[1.0]]), TypeError, "q"),
    "nothing": (tensors(q=None), TypeError, "q"),
    "mixed": (tensors(k=K.numpy()), TypeError, "k"),
    "mixed, NumPy first": (arrays(v=V), TypeError, "v"),
    "integers": (tensors(q=Q.int()), TypeError, "q"),
    "complex": (tensors(q=Q + 0j, k=K + 0j, v=V + 0j), TypeError, "q"),
    "complex NumPy": (arrays(q=Q.numpy() + 0j), TypeError, "q"),
    "objects": (arrays(q=Q.numpy().astype(object)), TypeError, "q"),
    "long doubles": ({name: x.astype(np.longdouble) for name, x in arrays().items()}, TypeError, "q"),
    "eight bits": ({name: x.to(torch.float8_e4m3fn) for name, x in tensors().items()}, TypeError, "q"),
    "numpy.matrix": (arrays(q=Q.numpy().view(np.matrix)), TypeError, "q"),
    "missing values": (arrays(q=np.ma.masked_array(Q.numpy())), TypeError, "q"),
    "other dtype": (tensors(v=V.float()), TypeError, "v"),
    "other device": (tensors(k=K.to("meta")), ValueError, "k"),
    "one dimension": (tensors(q=Q[0]), ValueError, "q"),
    "no token": (tensors(k=K[:0], v=V[:0]), ValueError, "k"),
    "no feature": (tensors(v=V[:, :0]), ValueError, "v"),
    "other width": (tensors(k=K[:, :3]), ValueError, "k"),
    "other number": (tensors(v=V[:4]), ValueError, "v"),
    "other batch": (tensors(q=Q.expand(2, 3, 4), k=K.expand(3, 5, 4)), ValueError, "q, k, v"),
    "NaN in q": (tensors(q=spoilt(Q, NAN)), ValueError, "q"),
    "inf in k": (tensors(k=spoilt(K, INF)), ValueError, "k"),
    "NaN in v": (tensors(v=spoilt(V, NAN)), ValueError, "v"),
    "inf in v, hidden": (tensors(v=spoilt(V, INF), mask=torch.arange(5)[None] > 0), ValueError, "v"),
    "NaN in NumPy q": (arrays(q=spoilt(Q, NAN).numpy()), ValueError, "q"),
    "NaN in NumPy v": (arrays(v=spoilt(V, NAN).numpy()), ValueError, "v"),
    "overflow": (tensors(q=Q * 1e200, k=K * 1e200), ValueError, "q, k"),
    "overflow by scale": (tensors(scale=1e308), ValueError, "q, k"),
    "overflow, NumPy": (arrays(q=Q.numpy() * 1e200, k=K.numpy() * 1e200), ValueError, "q, k"),
    "scale NaN": (tensors(scale=NAN), ValueError, "scale"),
    "scale inf": (arrays(scale=np.float32(INF)), ValueError, "scale"),
    "scale too large": (tensors(scale=10**400), ValueError, "scale"),
    "scale of text": (tensors(scale="1"), TypeError, "scale"),
    "scale complex": (tensors(scale=1j), TypeError, "scale"),
    "scale bool": (tensors(scale=True), TypeError, "scale"),
    "scale tensor": (tensors(scale=torch.tensor(0.5)), TypeError, "scale"),
    "mask list": (tensors(mask=[[True] * 5] * 3), TypeError, "mask"),
    "mask of the other kind": (tensors(mask=np.ones((3, 5), bool)), TypeError, "mask"),
    "mask of integers": (tensors(mask=torch.ones(3, 5, dtype=torch.int)), TypeError, "mask"),
    "mask of NumPy integers": (arrays(mask=np.ones((3, 5), int)), TypeError, "mask"),
    "mask on another device": (tensors(mask=torch.ones(3, 5, device="meta")), ValueError, "mask"),
    "mask transposed": (tensors(mask=torch.ones(5, 3, dtype=torch.bool)), ValueError, "mask"),
    "mask of one dimension": (tensors(mask=torch.ones(5, dtype=torch.bool)), ValueError, "mask"),
    "mask with a batch of its own": (tensors(mask=torch.ones(2, 3, 5, dtype=torch.bool)), ValueError, "mask"),
    "mask NaN": (tensors(mask=spoilt(torch.zeros(3, 5), NAN)), ValueError, "mask"),
    "mask inf": (arrays(mask=spoilt(torch.zeros(3, 5), INF).numpy()), ValueError, "mask"),
}


@pytest.mark.parametrize("arguments, kind, name", BAD_ARGUMENTS.values(), ids=BAD_ARGUMENTS)
def test_attention_refuses(arguments, kind, name):
    message = refuses(lambda: attention(**arguments), kind, name)
    assert len(message) < 600, "a message is to be read"


@pytest.mark.parametrize(
    "fits", [HIDDEN_ROW, torch.zeros(3, 5).masked_fill(~HIDDEN_ROW, -INF)], ids=["bool", "added"]
)
@pytest.mark.parametrize("convert", [lambda x: x, lambda x: x.numpy()], ids=["torch", "numpy"])
def test_a_row_with_nothing_to_look_at_is_named(fits, convert):
    arguments = {name: convert(x) for name, x in tensors(mask=fits).items()}
    assert "query row 1 " in refuses(lambda: attention(**arguments), ValueError, "mask")
    deep = {name: convert(x.expand(2, *x.shape)) for name, x in tensors(mask=fits).items()}
    assert "query row (0, 1) " in refuses(lambda: attention(**deep), ValueError, "mask")


def test_a_number_that_only_underflows_to_nothing_in_the_logits_dtype_counts_as_minus_infinity():
    mask = torch.full((3, 5), -1e300, dtype=torch.float64)
    refuses(lambda: attention(Q.float(), K.float(), V.float(), mask), ValueError, "mask")
    layer = SingleHeadAttention(4, 4)
    refuses(lambda: layer(Q.float(), mask=mask[:, :3]), ValueError, "mask")


X = normal(2, 5, 6, dtype=torch.float32)
ONES = torch.ones(5, 5, dtype=torch.bool)

BAD_LAYER_INPUT = {
    "NumPy": (dict(x=X.numpy()), TypeError, "x"),
    "integers": (dict(x=X.int()), TypeError, "x"),
    "other dtype": (dict(x=X.double()), TypeError, "x"),
    "other device": (dict(x=X.to("meta")), ValueError, "x"),
    "other width": (dict(x=X[..., :4]), ValueError, "x"),
    "one dimension": (dict(x=X[0, 0]), ValueError, "x"),
    "no token": (dict(x=X[:, :0]), ValueError, "x"),
    "NaN": (dict(x=spoilt(X, NAN, (0, 0, 0))), ValueError, "x"),
    "inf in the last token": (dict(x=spoilt(X, INF, (1, 4, 0))), ValueError, "x"),
    "overflow": (dict(x=X * 1e30), ValueError, "q, k"),
    "context NumPy": (dict(x=X, context=X.numpy()), TypeError, "context"),
    "a mask in place of the context": (dict(x=X, context=ONES), TypeError, "context"),
    "context of other dtype": (dict(x=X, context=X.double()), TypeError, "context"),
    "context of other width": (dict(x=X, context=X[..., :4]), ValueError, "context"),
    "context of other batch": (dict(x=X, context=X.repeat(2, 1, 1)[:3]), ValueError, "context"),
    "context NaN": (dict(x=X, context=spoilt(X, NAN, (0, 0, 0))), ValueError, "context"),
    "mask list": (dict(x=X, mask=[[True]]), TypeError, "mask"),
    "mask of integers": (dict(x=X, mask=ONES.int()), TypeError, "mask"),
    "mask of other size": (dict(x=X, mask=ONES[:4, :4]), ValueError, "mask"),
    "mask of one dimension": (dict(x=X, mask=ONES[0]), ValueError, "mask"),
    "mask of no dimension": (dict(x=X, mask=ONES[0, 0]), ValueError, "mask"),
    "mask of too many dimensions": (dict(x=X, mask=ONES[None, None, None]), ValueError, "mask"),
    "mask hides a row": (dict(x=X, mask=ONES.triu(1)), ValueError, "mask"),
    "mask NaN": (dict(x=X, mask=spoilt(torch.zeros(5, 5), NAN, (4, 0))), ValueError, "mask"),
    "mask inf": (dict(x=X, mask=spoilt(torch.zeros(5, 5), INF, (4, 0))), ValueError, "mask"),
}


@pytest.mark.parametrize("name", ["multi", "causal", "rotary", "alibi, grouped", "single"])
@pytest.mark.parametrize("path", ["fused", "with weights", "weights alone"])
@pytest.mark.parametrize("arguments, kind, argument", BAD_LAYER_INPUT.values(), ids=BAD_LAYER_INPUT)
def test_layers_refuse_alike_on_every_path(name, path, arguments, kind, argument):
    """The fused kernel by itself gives zeros for a NaN in a query or key, and for a query without a key."""
    layer = layers()[name].float()
    calls = {
        "fused": lambda: layer(**arguments),
        "with weights": lambda: layer(**arguments, return_weights=True),
        "weights alone": lambda: layer.weights(**arguments),
    }
    refuses(calls[path], kind, argument)


def test_a_mask_without_head_axis_is_not_taken_for_one_without_batch_axis():
    """Where batch and n_heads are equal, (batch, n, n) would broadcast as (n_heads, n, n), silently wrong."""
    layer = MultiHeadAttention(6, 2)
    mask = torch.stack([ONES, ONES.tril()])
    for give_weights in (False, True):
        message = refuses(
            lambda give=give_weights: layer(X, mask=mask, return_weights=give), ValueError, "mask"
        )
        assert "mask[:, None]" in message
    each = layer.weights(X, mask=mask[:, None])
    close(each[1], layer.weights(X[1], mask=ONES.tril()), 1e-6)
    per_head = layer.weights(X, mask=mask[None])
    close(per_head[:, 1], layer.weights(X, mask=ONES.tril())[:, 1], 1e-6)


def test_a_causal_layer_wants_as_many_context_tokens_and_checks_the_joint_mask():
    layer = MultiHeadAttention(6, 2, causal=True)
    refuses(lambda: layer(X, torch.cat([X, X], 1)), ValueError, "context")
    later = (
        ONES.triu(1) | (torch.arange(5) == 4)[:, None]
    )  # leaves each row something, but nothing of the past
    for call in (layer, layer.weights):
        assert "query row 0 " in refuses(lambda f=call: f(X, mask=later), ValueError, "mask")


@pytest.mark.parametrize("learned", ["W_Q", "W_K", "W_V", "W_O"])
def test_a_learned_parameter_that_has_become_nan_does_not_pass_in_silence(learned):
    layer = MultiHeadAttention(6, 2)
    with torch.no_grad():
        getattr(layer, learned).weight[0, 0] = NAN
    for give_weights in (False, True):
        with pytest.raises(ValueError, match="not finite"):
            layer(X, return_weights=give_weights)


BAD_WEIGHTS = {
    "list": ([1], TypeError),
    "integers": (torch.ones(2, 5, 5, dtype=torch.int), TypeError),
    "other dtype": (torch.ones(2, 5, 5, dtype=torch.float64), TypeError),
    "scalar": (torch.tensor(1.0), ValueError),
    "one dimension": (torch.ones(5), ValueError),
    "other number of tokens": (torch.ones(2, 5, 3), ValueError),
    "other batch": (torch.ones(3, 2, 5, 5), ValueError),
    "NaN": (torch.full((2, 5, 5), NAN), ValueError),
}


@pytest.mark.parametrize("layer", [MultiHeadAttention(6, 2), SingleHeadAttention(6, 3), PlainAttention()])
@pytest.mark.parametrize("A, kind", BAD_WEIGHTS.values(), ids=BAD_WEIGHTS)
def test_mix_refuses_weights_that_do_not_fit(layer, A, kind):
    A = A[:, 0] if isinstance(A, torch.Tensor) and A.dim() == 4 and not hasattr(layer, "n_heads") else A
    refuses(lambda: layer.mix(A, X), kind, "A")


def test_multi_head_mix_wants_a_matrix_for_each_head():
    refuses(lambda: MultiHeadAttention(6, 3).mix(torch.ones(2, 5, 5), X), ValueError, "A")
    refuses(lambda: MultiHeadAttention(6, 3).mix(torch.ones(5, 5), X), ValueError, "A")


CHANGED = nn.MultiheadAttention(6, 2)
nn.init.constant_(CHANGED.out_proj.bias, NAN)
CONSTRUCTORS = {
    "d_model float": (lambda: MultiHeadAttention(6.0, 2), TypeError, "d_model"),
    "d_model zero": (lambda: MultiHeadAttention(0, 2), ValueError, "d_model"),
    "n_heads bool": (lambda: MultiHeadAttention(6, True), TypeError, "n_heads"),
    "n_heads negative": (lambda: MultiHeadAttention(6, -2), ValueError, "n_heads"),
    "n_heads no divisor": (lambda: MultiHeadAttention(6, 4), ValueError, "n_heads"),
    "d_head zero": (lambda: MultiHeadAttention(6, 2, d_head=0), ValueError, "d_head"),
    "bias of text": (lambda: MultiHeadAttention(6, 2, bias="no"), TypeError, "bias"),
    "causal of text": (lambda: MultiHeadAttention(6, 2, causal="no"), TypeError, "causal"),
    "single d_head": (lambda: SingleHeadAttention(6, None), TypeError, "d_head"),
    "single d_out": (lambda: SingleHeadAttention(6, 2, 0), ValueError, "d_out"),
    "from a linear layer": (lambda: MultiHeadAttention.from_torch(nn.Linear(6, 6)), TypeError, "source"),
    "from NaN": (lambda: MultiHeadAttention.from_torch(CHANGED), ValueError, "source"),
    "from the class": (lambda: MultiHeadAttention.from_torch(nn.MultiheadAttention), TypeError, "source"),
    "to torch with another d_head": (lambda: MultiHeadAttention(6, 2, 2).to_torch(), ValueError, "d_head"),
    **{
        f"from torch with {option}": (
            lambda option=option, value=value: MultiHeadAttention.from_torch(
                nn.MultiheadAttention(6, 2, **{option: value})
            ),
            ValueError,
            "source",
        )
        for option, value in dict(kdim=4, vdim=4, add_bias_kv=True, add_zero_attn=True, dropout=0.1).items()
    },
}


@pytest.mark.parametrize("call, kind, name", CONSTRUCTORS.values(), ids=CONSTRUCTORS)
def test_constructors_refuse(call, kind, name):
    refuses(call, kind, name)


@pytest.mark.parametrize("layer", [MultiHeadAttention(6, 2), SingleHeadAttention(6, 3)])
def test_sparse_tokens_and_a_switch_that_is_none_are_refused(layer):
    x = normal(3, 6, dtype=torch.float32)
    refuses(lambda: layer(x.to_sparse()), TypeError, "x")
    refuses(lambda: layer(x, return_weights=x), TypeError, "return_weights")


@pytest.mark.parametrize("value", [NAN, INF, -INF])
@pytest.mark.parametrize("n", [1, 3, 33, 64])
def test_no_spoilt_token_comes_out_as_a_plausible_number(value, n):
    """Whatever block of the kernel it falls into: vectors and remainders are computed by different code."""
    layer = SingleHeadAttention(4, 4)
    for token in (0, n // 2, n - 1):
        x = spoilt(normal(n, 4, dtype=torch.float32), value, (token, 1))
        refuses(lambda x=x: layer(x), ValueError, "x")


def test_both_ways_refuse_the_same_logits():
    """Long queries and keys in different inputs of a batch, or at a right angle, make no logit that overflows."""
    layer = SingleHeadAttention(2, 2)
    with torch.no_grad():
        layer.W_Q.weight.copy_(torch.tensor([[1.0, 0], [0, 0]]))
        layer.W_K.weight.copy_(torch.tensor([[0, 0], [0, 1.0]]))
    apart = torch.tensor([[[1e25, 0]], [[0, 1e25]]])
    close(layer(apart), layer(apart, return_weights=True)[0], 1e-6)
    torch.manual_seed(0)
    half = MultiHeadAttention(8, 2).half()
    x = normal(5, 8, dtype=torch.float16)
    close(half(x), half(x, return_weights=True)[0], 1e-2)
    with torch.no_grad():
        half.W_Q.weight.mul_(4)
        half.W_K.weight.mul_(4)
    for give in (False, True):
        refuses(lambda give=give: half(400 * x, return_weights=give), ValueError, "q, k")


def test_a_row_of_a_mask_is_named_as_in_the_weights():
    mask = torch.ones(2, 3, 3, dtype=torch.bool)
    mask[1, 2] = False
    message = refuses(lambda: SingleHeadAttention(4, 2)(torch.ones(2, 3, 4), mask=mask), ValueError, "mask")
    assert "(1, 2)" in message
