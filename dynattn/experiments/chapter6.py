"""Chapter 6: a task with a dial, the best answers that formulas give, and eleven layers that are trained alike."""

import copy
import math
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from dynattn import _checks as check
from dynattn import mixers
from dynattn.tasks import content_or_place
from dynattn.training import fit, minibatches

N, CLASSES, D_NAME = 12, 8, 8  # tokens of a sentence, values, and the width of a name
D_MODEL = 2 * D_NAME + CLASSES  # a token: its name, the name that it looks for, its value
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)  # p, the fraction of tokens that look
RATES, DECAYS = (0.01, 0.03, 0.1), (0.0, 0.3)  # what the sweep tries
STEPS, BATCH = 200, 32

_attention = partial(mixers.Attention, d_head=16)
KINDS = {
    "no mixing": mixers.NoMixing,
    "uniform": mixers.UniformMixing,
    "random": mixers.RandomMixing,
    "static": mixers.StaticMixing,
    "static, softmax": partial(mixers.StaticMixing, rows="softmax"),
    "dynamic convolution": mixers.DynamicConvolution,
    "dense synthesizer": mixers.DenseSynthesizer,
    "attention, no places": _attention,
    "attention, places": partial(_attention, places="beside"),
    "attention + bias": partial(_attention, places="bias"),
    "MLP-Mixer": mixers.MLPMixer,
}
# Learning rate and weight decay with the highest accuracy at p = 1/2 on validation sentences, averaged over seeds 0 to 4.
SETTINGS = {
    "no mixing": (0.01, 0.3),
    "uniform": (0.1, 0.3),
    "random": (0.03, 0.3),
    "static": (0.03, 0.3),
    "static, softmax": (0.03, 0.0),
    "dynamic convolution": (0.1, 0.0),
    "dense synthesizer": (0.1, 0.3),
    "attention, no places": (0.1, 0.3),
    "attention, places": (0.1, 0.0),
    "attention + bias": (0.1, 0.0),
    "MLP-Mixer": (0.1, 0.3),
}
_LAYERS = (mixers._Mixer, mixers.MLPMixer)


def sentences(p: float, samples: int, seed: int, stream: int):
    """Sentences of the task; for one seed and stream the same ones for every p, except for who looks.

    Args:
        p: the fraction of tokens that look, from 0 to 1.
        samples: how many sentences.
        seed, stream: what they are drawn from; every stream has random numbers of its own. Both layers of the chapter train
            on stream 0, choose settings on stream 1 and report results on stream 2.

    Returns:
        (x, y, sources): x (samples, 12, 24), y and sources (samples, 12), as :func:`~dynattn.tasks.content_or_place`.

    Raises:
        TypeError, ValueError: p is not a number from 0 to 1, samples not an int of at least 1, seed not an int of at least
            0, or stream not one from 0 to 999.
    """
    _require_seed(seed)
    check.require_int("stream", stream, at_least=0, at_most=999)
    generator = torch.Generator().manual_seed(int(seed) + 1000 * int(stream))
    return content_or_place(p, samples, N, CLASSES, generator, D_NAME)


def best_answers(p: float, batch) -> dict[str, float]:
    """The accuracy of the best answers to such sentences, for layers that use names for nothing but comparing them.

    Args:
        p: the fraction of tokens that look, from 0 to 1.
        batch: what :func:`sentences` returns, or sentences of a different length; the answers are for their values.

    Returns:
        "no routing": always the most frequent value. "static": the best answer that doesn't see who looks. "own token": of a
        layer that sees of each token whether it looks, and whether it looks for itself. "content alone": of a layer that
        compares, but knows no places.

    Raises:
        TypeError, ValueError: p is not a number from 0 to 1, or batch not such sentences.
    """
    check.require_number("p", p, at_least=0, at_most=1)
    values = _pair("batch", batch)[0][..., -CLASSES:]
    if not ((values == 0) | (values == 1)).all() or (values.sum(-1) != 1).any():
        raise ValueError("batch: got values that are not one-hot, expected one 1 among eight features")
    values, n = values.double(), values.shape[1]
    before, counts = values.roll(1, dims=1), values.sum(1, keepdim=True)
    majority = counts.amax(-1).mean().item() / n
    of_others = (counts - values).amax(-1).mean().item() / max(1, n - 1)  # the majority among the others
    return {
        "no routing": majority,
        "static": ((1 - p) * before + p * counts / n).amax(-1).mean().item(),
        "own token": (1 - p) + p * (1 / n + (1 - 1 / n) * of_others),
        "content alone": p + (1 - p) * of_others,
    }


def make(kind: str, seed: int, **sizes) -> nn.Module:
    """An untrained layer of this kind, with parameters drawn from the seed.

    Args:
        kind: one of ``KINDS``.
        seed: of its parameters; torch's global generator is left as it was.
        sizes: n, d_model or d_out where it differs from the chapter's, or an option of the layer such as its width.

    Raises:
        TypeError, ValueError: no such layer, a seed that is not an int of at least 0, or sizes that the layer refuses.
    """
    check.require_choice("kind", kind, KINDS)
    _require_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(seed))
        return KINDS[kind](**({"n": N, "d_model": D_MODEL, "d_out": CLASSES} | sizes))


def train(layer, data, seed: int, setting: tuple | None = None, steps: int = STEPS) -> nn.Module:
    """Train a layer on sentences, in batches of 32.

    Args:
        layer: one of ``KINDS``, made from the seed; or a layer that was made, which is trained in place.
        data: what :func:`sentences` returns, to train on.
        seed: of the parameters and of the batches.
        setting: learning rate and weight decay. If None, those of ``SETTINGS``, which needs a name.
        steps: how many.

    Returns:
        The layer.

    Raises:
        TypeError, ValueError: an argument of another kind or out of its range, or the training went wrong.
    """
    check.require_kind("layer", layer, (str, *_LAYERS), "the name of a layer, or a mixer")
    _require_seed(seed)
    x, y = _pair("data", data)
    label = layer if isinstance(layer, str) else type(layer).__name__
    if setting is None:
        if not isinstance(layer, str):
            raise ValueError(
                "setting: got None, expected a learning rate and a weight decay for a layer without name"
            )
        check.require_choice("layer", layer, SETTINGS)
        setting = SETTINGS[layer]
    check.require_kind("setting", setting, tuple, "a pair of a learning rate and a weight decay, or None")
    if len(setting) != 2:
        raise ValueError(f"setting: got {len(setting)} numbers, expected a learning rate and a weight decay")
    if isinstance(layer, str):
        check.require_choice("layer", layer, KINDS)
        layer = make(layer, seed)
    lr, weight_decay = setting
    fit(
        layer, minibatches(x, y, BATCH), _cross_entropy, steps=steps, lr=lr, weight_decay=weight_decay, seed=seed,
        label=label,
    )  # fmt: skip
    return layer


def train_values(layer, data, validation, seed: int, steps: int = STEPS) -> nn.Module:
    """Train W_V alone and keep everything else of the layer, with each of three learning rates; the best of the three.

    Args:
        layer: a mixer with a matrix, which is left as it is.
        data, validation: what :func:`sentences` returns, to train on and to choose the rate by.
        seed: of the batches.
        steps: how many.

    Returns:
        A trained copy of the layer.

    Raises:
        TypeError, ValueError: an argument of another kind or out of its range, or the training went wrong.
    """
    check.require_kind("layer", layer, mixers._Mixer, "a mixer with a matrix")
    tries = []
    for lr in RATES:
        mixer = copy.deepcopy(layer)
        for name, parameter in mixer.named_parameters():
            parameter.requires_grad_(name.startswith("W_V"))
        tries.append(train(mixer, data, seed, (lr, 0.0), steps))
    return max(tries, key=lambda mixer: _correct(mixer, "validation", validation).float().mean().item())


def right(layer: nn.Module, data) -> float:
    """The accuracy of a layer: the fraction of tokens that name the right value.

    Args:
        layer: a mixer of ``KINDS``.
        data: what :func:`sentences` returns.

    Raises:
        TypeError, ValueError: layer is no mixer, or data not such sentences.
    """
    return correct(layer, data).float().mean().item()


def correct(layer: nn.Module, data) -> torch.Tensor:
    """Which tokens name the right value, (samples, n) of True and False; arguments and errors as :func:`right`."""
    return _correct(layer, "data", data)


def attention_by_hand(seed: int) -> mixers.Attention:
    """Attention with a bias whose rule is right: the query is the name looked for, the key the token's own name.

    The bias says "the token before", which decides where nothing is looked for. W_V is as the seed draws it.

    Raises:
        TypeError, ValueError: a seed that is not an int of at least 0.
    """
    layer = make("attention + bias", seed)
    with torch.no_grad():
        layer.W_Q.weight.zero_()[:D_NAME, D_NAME : 2 * D_NAME] = 20 * torch.eye(D_NAME)
        layer.W_K.weight.zero_()[:D_NAME, :D_NAME] = 20 * torch.eye(D_NAME)
        layer.W_places.copy_(10 * torch.eye(N).roll(1, dims=0))
    return layer


def own_token_by_hand() -> mixers.DenseSynthesizer:
    """A dense synthesizer that gives the best answer which rows from the token itself allow; nothing of it is trained.

    Its rows need two numbers of a token. One is the sum of the sizes of the features of the name that it looks for, w, which
    is 0 where it doesn't look, and from 1 to the root of 8 where it does. The other is that of this name minus its own, d,
    which is 0 where it looks for itself. All logits of a row are 0 but two. That of the token before is 3 - 2.4 w: where
    the token doesn't look, this one weight outvotes the eleven others; where it looks, it counts for less than two of
    them and for more than none, which leaves the majority as it is. The token's own logit is 3 - 60 d.

    Both numbers are sums of ReLUs, 32 per place, which are 0 at all other places: the features of the twelve places are
    points on a large circle.

    Returns:
        The layer, with a hidden layer of 396.
    """
    layer = make("dense synthesizer", 0, width=N * (4 * D_NAME + 1)).requires_grad_(False)
    # At a wrong place a ReLU gets -30 (1 - cos 30°) = -4 or less, and at most 2 from the names.
    radius, cut = 1e6, 3e-5
    angle = 2 * math.pi * torch.arange(N) / N
    circle = torch.stack([angle.cos(), angle.sin()], dim=1)  # (places, 2)
    name, wanted, value = torch.eye(D_MODEL).split([D_NAME, D_NAME, CLASSES])
    # The last unit is 1, at its own place.
    units = torch.cat([wanted, -wanted, wanted - name, name - wanted, torch.zeros(1, D_MODEL)])
    before = torch.tensor([-2.4] * 2 * D_NAME + [0.0] * 2 * D_NAME + [3.0])
    own = torch.tensor([0.0] * 2 * D_NAME + [-60.0] * 2 * D_NAME + [3.0])
    for parameter in layer.parameters():
        parameter.zero_()
    layer.W_V.weight.copy_(value)
    layer.W_places[:, -2:] = radius * circle
    for i in range(N):
        at = slice(i * len(units), (i + 1) * len(units))
        layer.rows[0].weight[at] = units
        layer.rows[0].weight[at, -2:] = cut * circle[i]
        layer.rows[0].bias[at] = -cut * radius
        layer.rows[0].bias[(i + 1) * len(units) - 1] += 1
        layer.rows[2].weight[i - 1, at] = before
        layer.rows[2].weight[i, at] = own
    return layer


def _cross_entropy(scores, answers):
    check.require_indices("data", answers, scores.shape[-1])
    return F.cross_entropy(scores.flatten(0, -2), answers.flatten())


def _correct(layer, name, data):
    check.require_kind("layer", layer, _LAYERS, "a mixer")
    x, y = _pair(name, data)
    with torch.no_grad():
        return layer(x).argmax(-1) == y


def _require_seed(seed):
    check.require_int("seed", seed, at_least=0, at_most=2**62)


def _pair(name, batch):
    """x and y of what sentences() returned."""
    check.require_kind(name, batch, (tuple, list), "what sentences() returns")
    if len(batch) < 2:
        raise ValueError(f"{name}: got {len(batch)} tensors, expected x, y and sources")
    x, y = batch[:2]
    check.require_tokens(name, x, width=D_MODEL)
    check.require_indices(name, y, CLASSES, tuple(x.shape[:-1]))
    if x.dim() != 3 or len(x) == 0:
        raise ValueError(
            f"{name}: got shape {tuple(x.shape)}, expected (samples, n, {D_MODEL}) with at least one sentence"
        )
    return x, y
