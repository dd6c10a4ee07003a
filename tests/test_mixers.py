"""What could stand in the place of attention: each mixer against its matrix written out, and the task to try them on."""

import ast
import math

import pytest
import torch
from conftest import CHAPTERS, cells
from helpers import CHANGES, close, normal, refuses
from torch import nn

from dynattn import mixers
from dynattn.attention import SingleHeadAttention
from dynattn.tasks import content_or_place

N, D, OUT = 5, 6, 3
STATIC = ("NoMixing", "UniformMixing", "RandomMixing", "StaticMixing", "StaticMixing, softmax")
OWN = ("DynamicConvolution", "DenseSynthesizer")
COMPARED = ("Attention", "Attention, beside", "Attention, features", "Attention, bias")
each = pytest.mark.parametrize("name", (*STATIC, *OWN, *COMPARED))


def make(name, n=N, d_model=D, d_out=OUT, seed=0, **options):
    torch.manual_seed(seed)
    kind, _, choice = name.partition(", ")
    if choice:
        options["places" if kind == "Attention" else "rows"] = choice
    torch.set_default_dtype(torch.float64)  # also for what is not a parameter
    try:
        mixer = getattr(mixers, kind)(n, d_model, d_out, **options)
    finally:
        torch.set_default_dtype(torch.float32)
    for parameter in mixer.parameters():  # no zeros, so that nothing can be forgotten unseen
        nn.init.normal_(parameter, std=0.4)
    return mixer


def softmax(row):
    powers = [math.exp(value) for value in row]
    return [power / sum(powers) for power in powers]


def by_hand(name, mixer, x):
    """The matrix for one sentence x (n, d_model), entry by entry."""
    n = len(x)
    if name == "NoMixing":
        return [[float(i == j) for j in range(n)] for i in range(n)]
    if name == "UniformMixing":
        return [[1 / n] * n for _ in range(n)]
    if name == "RandomMixing":
        return mixer.A
    if name == "StaticMixing":
        return mixer.W
    if name == "StaticMixing, softmax":
        return [softmax(row) for row in mixer.W.tolist()]
    if name == "DynamicConvolution":
        filters, reach = mixer.kernel(x), mixer.kernel.out_features // 2
        rows = []
        for i in range(n):
            reached = [j for j in range(n) if abs(j - i) <= reach]
            shares = softmax([filters[i, reach + j - i].item() for j in reached])
            rows.append([shares[reached.index(j)] if j in reached else 0.0 for j in range(n)])
        return rows
    if name == "DenseSynthesizer":
        first, _, second = mixer.rows
        hidden = ((x + mixer.W_places) @ first.weight.T + first.bias).clamp(min=0)
        return [softmax(row) for row in (hidden @ second.weight.T + second.bias).tolist()]
    placed = x + mixer.W_places if name.endswith("features") else x
    if name.endswith("beside"):
        placed = torch.stack([torch.cat([x[i], torch.eye(n).to(x)[i]]) for i in range(n)])
    Q, K = placed @ mixer.W_Q.weight.T, placed @ mixer.W_K.weight.T
    logits = [[(q @ k).item() / math.sqrt(Q.shape[1]) for k in K] for q in Q]
    if name.endswith("bias"):
        logits = [[logits[i][j] + mixer.W_places[i, j].item() for j in range(n)] for i in range(n)]
    return [softmax(row) for row in logits]


@each
def test_the_matrix_is_the_one_written_out(name):
    mixer, x = make(name), normal(2, N, D)
    A = mixer.weights(x).expand(2, N, N)
    for sentence in range(2):
        close(A[sentence], torch.as_tensor(by_hand(name, mixer, x[sentence]), dtype=torch.float64))


@pytest.mark.parametrize("reach", [1, 2, 4, 9])
def test_a_filter_reaches_so_far_and_no_farther(reach):
    mixer, x = make("DynamicConvolution", reach=reach), normal(N, D)
    A = mixer.weights(x)
    close(A, torch.tensor(by_hand("DynamicConvolution", mixer, x), dtype=torch.float64))
    far = (torch.arange(N) - torch.arange(N)[:, None]).abs() > reach
    assert (A[far] == 0).all() and (A[~far] > 0).all()


@each
def test_both_verbs_make_up_the_layer(name):
    mixer, x = make(name), normal(2, N, D)
    A = mixer.weights(x)
    values = x @ mixer.W_V.weight.T
    close(mixer(x), mixer.mix(A, x))
    close(
        mixer(x),
        torch.stack(
            [sum(A.expand(2, N, N)[:, i, j, None] * values[:, j] for j in range(N)) for i in range(N)], 1
        ),
    )
    assert mixer.mix(normal(2, 7, N), x).shape == (2, 7, OUT)


@pytest.mark.parametrize("change", CHANGES)
@each
def test_projections_may_be_replaced_hooked_into_and_pruned(name, change):
    mixer, x = make(name), normal(2, N, D)
    before = mixer(x)
    for learned in list(dict(mixer.named_children())):
        if learned.startswith("W_"):
            CHANGES[change](mixer, learned)
    close(mixer(x), mixer.weights(x) @ mixer.W_V(x))
    assert (mixer(x) - before).abs().max() > 1e-3
    if name == "Attention":
        close(mixer.weights(x), (mixer.W_Q(x) @ mixer.W_K(x).mT / math.sqrt(8)).softmax(-1))
    mixer.float()
    assert mixer(x.float()).dtype == torch.float32
    refuses(lambda: mixer(x), TypeError, "x")
    refuses(lambda: mixer(x.float()[..., :-1]), ValueError, "x")


@each
def test_a_batch_is_its_sentences(name):
    mixer, x = make(name), normal(2, 3, N, D)
    close(mixer(x), torch.stack([torch.stack([mixer(sentence) for sentence in group]) for group in x]))


@pytest.mark.parametrize("name", STATIC)
def test_a_static_matrix_is_the_same_for_every_input(name):
    """The same object, where the matrix is what is stored."""
    mixer = make(name)
    one, other = mixer.weights(normal(N, D)), mixer.weights(normal(7, N, D, seed=1))
    assert torch.equal(one, other) if name.endswith("softmax") else one is other


@each
def test_what_is_learned(name):
    learned = {"W_V.weight": OUT * D}
    if name.startswith("StaticMixing"):
        learned["W"] = N * N
    if name == "DynamicConvolution":
        learned |= {"kernel.weight": (2 * N - 1) * D, "kernel.bias": 2 * N - 1}
    if name == "DenseSynthesizer":
        learned |= {
            "W_places": N * D,
            "rows.0.weight": 32 * D,
            "rows.0.bias": 32,
            "rows.2.weight": N * 32,
            "rows.2.bias": N,
        }
    if name in COMPARED:
        seen = D + N if name.endswith("beside") else D
        learned |= {"W_Q.weight": 8 * seen, "W_K.weight": 8 * seen}
        learned |= {"features": {"W_places": N * D}, "bias": {"W_places": N * N}}.get(
            name.partition(", ")[2], {}
        )
    mixer = make(name)
    assert {key: value.numel() for key, value in mixer.named_parameters()} == learned
    y = mixer(normal(2, N, D))
    y.square().sum().backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in mixer.parameters())


@pytest.mark.parametrize("name", (*OWN, *COMPARED))
def test_who_writes_a_row(name):
    """Another token j changes row i of attention, and not that of a filter or synthesizer; one's own changes both."""
    mixer, x = make(name), normal(N, D)
    changed = x.clone()
    changed[2] += 1
    moved = (mixer.weights(changed) - mixer.weights(x)).abs().amax(-1) > 1e-9
    assert moved[2]
    assert moved[[0, 1, 3, 4]].all() if name in COMPARED else not moved[[0, 1, 3, 4]].any()


@pytest.mark.parametrize("name", ("RandomMixing", "StaticMixing, softmax", *OWN, *COMPARED))
def test_rows_are_shares(name):
    A = make(name).weights(normal(3, N, D))
    assert (A >= 0).all()
    close(A.sum(-1), torch.ones_like(A[..., 0]))


def test_a_random_matrix_is_drawn_once_by_the_global_generator():
    first, again, other = (make("RandomMixing", seed=seed).A for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert "A" in dict(make("RandomMixing").named_buffers())


def test_a_bias_alone_is_a_static_matrix_with_softmax_rows():
    """What chapter 6 takes for "the same layer without the comparison"."""
    mixer, static = make("Attention, bias"), make("StaticMixing, softmax")
    with torch.no_grad():
        mixer.W_Q.weight.zero_()
        mixer.W_places.copy_(static.W)
        mixer.W_V.weight.copy_(static.W_V.weight)
    x = normal(2, N, D)
    close(mixer(x), static(x))


def test_without_places_it_is_the_head_of_chapter_3():
    mixer, head = make("Attention"), SingleHeadAttention(D, 8, OUT).double()
    head.load_state_dict(mixer.state_dict())
    x = normal(2, N, D)
    close(mixer(x), head(x))
    close(mixer.weights(x), head.weights(x))


def test_only_with_places_does_the_order_matter():
    x, order = normal(N, D), torch.tensor([2, 0, 4, 1, 3])
    for name in COMPARED:
        mixer = make(name)
        assert torch.allclose(mixer(x[order]), mixer(x)[order]) == (name == "Attention")


def test_the_mlp_mixer_is_the_one_that_chapter_3_builds():
    (chapter,) = [path for path in CHAPTERS if path.stem == "03-rules-and-data"]
    space = {"nn": nn}
    for cell in cells(chapter, "code"):
        if cell["id"] in ("mixer-block", "competitors"):
            layers = cell["source"].split("\namounts")[0]  # what follows are settings
            exec(compile(ast.parse(layers), cell["id"], "exec"), space)
    built, packaged = space["mixer"]().double(), mixers.MLPMixer(9, 16, 8).double()
    with torch.no_grad():
        for own, other in zip(packaged.parameters(), built.parameters(), strict=True):
            own.copy_(other)
    x = normal(4, 9, 16)
    close(packaged(x), built(x))
    assert not hasattr(packaged, "weights") and not hasattr(packaged, "mix")


X = torch.ones(2, N, D)
BAD = {
    f"{kind.__name__}, {name} {value}": (lambda kind=kind, sizes=sizes: kind(*sizes), error, name)
    for kind in (mixers.NoMixing, mixers.UniformMixing, mixers.RandomMixing, mixers.StaticMixing,
                 mixers.DynamicConvolution, mixers.DenseSynthesizer, mixers.Attention, mixers.MLPMixer)
    for place, name in enumerate(("n", "d_model", "d_out"))
    for value, error in ((0, ValueError), (2.0, TypeError), (True, TypeError))
    for sizes in [tuple(value if i == place else 4 for i in range(3))]
} | {
    "reach": (lambda: mixers.DynamicConvolution(4, 4, 4, reach=0), ValueError, "reach"),
    "width": (lambda: mixers.DenseSynthesizer(4, 4, 4, width=0), ValueError, "width"),
    "d_head": (lambda: mixers.Attention(4, 4, 4, d_head=0), ValueError, "d_head"),
    "places": (lambda: mixers.Attention(4, 4, 4, places="sines"), ValueError, "places"),
    "rows": (lambda: mixers.StaticMixing(4, 4, 4, rows="sums"), ValueError, "rows"),
    "Mixer's width": (lambda: mixers.MLPMixer(4, 4, 4, width=0), ValueError, "width"),
    "Mixer's blocks": (lambda: mixers.MLPMixer(4, 4, 4, blocks=0), ValueError, "blocks"),
    "Mixer, tokens": (lambda: mixers.MLPMixer(4, D, 4)(X), ValueError, "x"),
    "Mixer, NaN": (lambda: mixers.MLPMixer(N, D, 4)(X * math.nan), ValueError, "x"),
    "p above 1": (lambda: content_or_place(1.1, 2, 4, 3, torch.Generator()), ValueError, "p"),
    "p below 0": (lambda: content_or_place(-0.1, 2, 4, 3, torch.Generator()), ValueError, "p"),
    "p NaN": (lambda: content_or_place(math.nan, 2, 4, 3, torch.Generator()), ValueError, "p"),
}  # fmt: skip


@pytest.mark.parametrize("call, kind, name", BAD.values(), ids=BAD)
def test_bad_arguments_are_refused_by_name(call, kind, name):
    refuses(call, kind, name)


@each
@pytest.mark.parametrize(
    "spoil, kind",
    [
        (lambda x: x.numpy(), TypeError),
        (lambda x: x.int(), TypeError),
        (lambda x: x.float(), TypeError),
        (lambda x: x[:, :-1], ValueError),
        (lambda x: x[..., :-1], ValueError),
        (lambda x: x[0, 0], ValueError),
        (lambda x: x * math.nan, ValueError),
        (lambda x: x * math.inf, ValueError),
    ],
    ids=["NumPy", "integers", "dtype", "n", "width", "vector", "NaN", "inf"],
)
def test_bad_inputs_are_refused_by_name(name, spoil, kind):
    refuses(lambda: make(name)(spoil(normal(2, N, D))), kind, "x")


@each
def test_a_matrix_that_does_not_fit_is_refused(name):
    refuses(lambda: make(name).mix(normal(N, N + 1), normal(2, N, D)), ValueError, "A")


# --------------------------------------------------------------------------------------------------- the task


@pytest.mark.parametrize("p", [0, 0.3, 1])
def test_the_source_of_each_token_is_where_its_answer_stands(p):
    x, y, sources = content_or_place(p, 500, 7, 4, torch.Generator().manual_seed(0), d_name=8)
    names, wanted, values = x[..., :8], x[..., 8:16], x[..., 16:]
    assert x.shape == (500, 7, 20) and y.shape == sources.shape == (500, 7)
    close(names.norm(dim=-1), torch.ones(500, 7), 1e-5)
    assert (values.sum(-1) == 1).all() and torch.equal(values.argmax(-1).gather(1, sources), y)
    looks = wanted.norm(dim=-1) > 0
    found = (wanted @ names.mT).argmax(-1)
    assert torch.equal(sources, torch.where(looks, found, torch.arange(7).roll(1).expand(500, 7)))
    assert abs(looks.double().mean().item() - p) < 0.03 and (p not in (0, 1) or looks.double().mean() == p)


def test_names_are_new_in_every_sentence_and_the_seed_decides():
    first, again = (content_or_place(0.5, 3, 7, 4, torch.Generator().manual_seed(1)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0][0, :, :8], first[0][1, :, :8])
