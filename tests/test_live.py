"""The live figures: the numbers of torch, in one implementation that works wherever and however a reader reads."""

import base64
import gzip
import html
import itertools
import json
import math
import os
import random
import re
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import violations
from helpers import normal, refuses
from theme import move_payloads

from dynattn import attention, facts, figures, words
from dynattn.experiments import chapter8
from dynattn.live import KINDS, SCRIPT, Live
from dynattn.transformer import GPT, export

SENTENCES = [
    "I am a student.",
    "Cats chase small mice.",
    "We are clever doctors.",
    "student a am I .",
    "They hear birds.",
]
NINE = "The old cat chases the small mouse . ."
HEAD = words.load()
W_Q, W_K, W_V, READOUT = (np.array(HEAD[name]) for name in ("W_Q", "W_K", "W_V", "readout"))
PLACE = {word.lower(): place for place, word in enumerate(HEAD["vocabulary"])}


def tokens_of(text: str) -> list[str]:
    return re.findall(r"[^\W_]+|[^\w\s]|_", text)


def features(tokens: list[str]) -> np.ndarray:
    return np.array([HEAD["words"][PLACE[token.lower()]] for token in tokens]) + HEAD["places"][: len(tokens)]


def answers(A: np.ndarray, X: np.ndarray) -> list[str]:
    return [HEAD["vocabulary"][place] for place in (A @ X @ W_V.T @ READOUT.T).argmax(-1)]


def bank_cases():
    """Banks of whole matrices by the partition of each row's places, written with loops, and their best use."""
    rng = np.random.default_rng(1)
    for split in ([1, 1, 1], [3, 2, 1], [3, 3, 3], [4, 2, 1, 1]):
        n = len(split)
        bank = []
        for chosen in itertools.product(*(range(g) for g in split)):
            W = np.zeros((n, n))
            for i, (g, m) in enumerate(zip(split, chosen)):
                group = [m] if m < g - 1 else range(g - 1, n)
                W[i, list(group)] = 1 / len(group)
            bank.append(W)
        A = rng.dirichlet(np.ones(n), size=n)
        distances = [((A - W) ** 2).sum() for W in bank]
        basis = np.linalg.qr(rng.normal(size=(n * n, n)))[0].T
        yield {
            "split": split,
            "bank": [W.tolist() for W in bank],
            "A": A.tolist(),
            "nearest": bank[int(np.argmin(distances))].tolist(),
            "distance": min(distances),
            "basis": basis.reshape(n, n, n).tolist(),
            "added": (basis.T @ basis @ A.flatten()).reshape(n, n).tolist(),
        }


def small_gpt(seed: int, vocabulary: str, context: int, *sizes: int, size: float = 0.5) -> GPT:
    """A GPT in float64 whose parameters float16 holds exactly, none of them so small that it would not matter."""
    model = GPT(len(vocabulary), context, *sizes).double()
    with torch.no_grad():
        for place, (name, parameter) in enumerate(model.named_parameters()):
            drawn = size * normal(*parameter.shape, seed=100 * seed + place)
            parameter.copy_((drawn + (name.startswith("norm") and name.endswith("weight"))).half())
    return model


def gpt_cases():
    """Networks of several shapes, each with texts of several lengths, and what torch computes for them."""
    everything = ";aäbcdefghijklmnopqrstuvwxyz -'"
    for seed, (known, context, *sizes) in enumerate(
        [(1, 1, 1, 1, 1), (4, 5, 4, 1, 1), (7, 9, 6, 3, 2), (31, 12, 8, 2, 3, 5), (30, 16, 12, 4, 2), (5, 20, 10, 5, 4)]
    ):  # fmt: skip
        vocabulary = everything[:known]
        model = small_gpt(seed, vocabulary, context, *sizes)
        layout, payload = export(model, vocabulary)
        texts = []
        for n in sorted({1, (context + 1) // 2, context}):
            ids = torch.randint(known, (n,), generator=torch.Generator().manual_seed(n + seed))
            with torch.no_grad():
                texts.append(
                    {"ids": ids.tolist(), "A": model.weights(ids).tolist(), "logits": model(ids).tolist()}
                )
        yield {"layout": layout, "payload": base64.b64encode(payload).decode(), "texts": texts}


def half_cases():
    """Float16 numbers of every exponent, both signs, with the smallest and the largest."""
    bits = np.array([*range(0, 1 << 16, 61), 1, 0x3FF, 0x400, 0x7BFF, 0x8000, 0x8001, 0xFBFF], dtype="<u2")
    bits = bits[np.isfinite(bits.view("<f2"))]
    return {"bytes": base64.b64encode(bits.tobytes()).decode(), "values": bits.view("<f2").tolist()}


def apart_cases():
    rng = np.random.default_rng(2)
    for heads, n in [(1, 1), (1, 4), (3, 5)]:
        A, B = rng.dirichlet(np.ones(n), size=(2, heads, n))
        yield {"A": A.tolist(), "B": B.tolist(), "distance": np.mean(np.abs(A - B).sum(-1)) / 2}


# --------------------------------------------------------------------------------- arithmetic, in Node

TEST = Path(__file__).parent / "live.test.js"
needs_node = pytest.mark.skipif(not shutil.which("node"), reason="Node.js (node) is not installed")


def attention_cases():
    """Shapes, masks, scales, logits beyond where exp overflows; with torch's answers in double precision."""
    shapes = [(1, 1, 1), (1, 6, 2), (4, 4, 3), (3, 7, 5), (9, 9, 12), (12, 12, 64)]
    scales = [None, 1.0, 0.25, -1.5, 0.0]
    for seed, (shape, scale, masked, size) in enumerate(
        itertools.product(shapes, scales, (False, True), (1, 12))
    ):
        n_q, n_k, d = shape
        q, k = size * normal(n_q, d, seed=2 * seed), size * normal(n_k, d, seed=2 * seed + 1)
        mask = None
        if masked:
            mask = normal(n_q, n_k, seed=seed) > 0
            mask[:, seed % n_k] = True
        A = attention.attention(q, k, k, mask=mask, scale=scale)[1]
        yield {
            "name": f"n_q {n_q}, n_k {n_k}, d {d}, scale {scale}, mask {masked}, size {size}",
            "Q": q.tolist(),
            "K": k.tolist(),
            "scale": scale,
            "mask": mask if mask is None else mask.tolist(),
            "A": A.tolist(),
        }


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    """A file with questions and Python's answers."""
    products = [
        (normal(a, b, seed=a), normal(b, c, seed=b + 9))
        for a, b, c in [(1, 1, 1), (2, 3, 4), (5, 1, 2), (7, 24, 12)]
    ]
    rng, sentences = random.Random(0), []
    for tokens in [tokens_of(text) for text in [*SENTENCES, NINE]] + [
        words.sentence(rng)[0] for _ in range(40)
    ]:
        X = torch.tensor(features(tokens))
        q, k = X @ torch.tensor(W_Q).T, X @ torch.tensor(W_K).T
        A = attention.attention(q, k, k)[1].numpy()
        np.testing.assert_allclose(A, words.computed_weights(HEAD, tokens), rtol=1e-12, atol=1e-12)
        sentences.append(
            {"tokens": tokens, "X": X.tolist(), "A": A.tolist(), "answers": answers(A, X.numpy())}
        )
    transplants = []
    for donor, host in itertools.permutations(sentences, 2):
        if len(donor["tokens"]) == len(host["tokens"]):
            A, X = donor["A"], host["X"]
            transplants.append({"A": A, "X": X, "answers": answers(np.array(A), np.array(X))})
    hulls = []
    for n in (3, 5, 20):
        corners = [[np.cos(t), np.sin(t)] for t in 2 * np.pi * np.arange(n) / n + 0.1]
        inner = [[0.2 * x, 0.2 * y] for x, y in normal(10, 2, seed=n).clamp(-2, 2).tolist()]
        hulls.append({"points": [*inner, *corners], "corners": corners})
        hulls[-1]["points"] = [p for p in hulls[-1]["points"] if p in corners or np.hypot(*p) < 0.4]
    path = tmp_path_factory.mktemp("live") / "cases.json"
    path.write_text(
        json.dumps(
            {
                "products": [{"A": a.tolist(), "B": b.tolist(), "AB": (a @ b).tolist()} for a, b in products],
                "attention": list(attention_cases()),
                "head": HEAD,
                "sentences": sentences,
                "transplants": transplants[:60],
                "hulls": hulls,
                "banks": list(bank_cases()),
                "gpts": list(gpt_cases()),
                "halves": half_cases(),
                "erf": [[x, math.erf(x)] for x in [*np.linspace(-7, 7, 500).tolist(), 0, 1e-9, -1e-300, 40]],
                "apart": list(apart_cases()),
            },
            allow_nan=False,
        )
    )
    return path


def node(cases: Path, *arguments, **environment: str) -> tuple[int, str]:
    """Exit code and output of the tests in JavaScript."""
    command, environment = (
        ["node", *arguments, TEST],
        os.environ | {"DYNATTN_CASES": str(cases)} | environment,
    )
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


def mutate(text: str, replacement: str) -> str:
    assert text in SCRIPT, "the text to replace is no longer in live.js: bring this mutant up to date"
    return SCRIPT.replace(text, replacement)


@needs_node
def test_arithmetic_equals_torch(cases):
    code, output = node(cases, "--test")
    assert code == 0, output[-4000:]
    for line in ("tests [1-9]", "skipped 0", "todo 0"):
        assert re.search(rf"^\S* ?{line}", output, re.MULTILINE), output[-500:]


MUTANTS = {
    "softmax over queries": (
        "return Q.map((q, i) => softmax(K.map((k, j) => (mask && !mask[i][j] ? -Infinity : dot(q, k) * scale))));",
        "return transpose(K.map((k, j) => softmax(Q.map((q, i) => (mask && !mask[i][j] ? -1e9 : dot(q, k) * scale)))));",
    ),
    "softmax without the largest": ("Math.exp(x - largest)", "Math.exp(x)"),
    "softmax not divided": ("powers.map((x) => x / sum)", "powers"),
    "softmax of minus the logits": ("Math.exp(x - largest)", "Math.exp(largest - x)"),
    "no scale": ("scale = 1 / Math.sqrt(K[0].length)", "scale = 1"),
    "scale inverted": ("scale = 1 / Math.sqrt(K[0].length)", "scale = Math.sqrt(K[0].length)"),
    "scaled by d, not its root": ("1 / Math.sqrt(K[0].length)", "1 / K[0].length"),
    "scale of the keys' number": ("Math.sqrt(K[0].length)", "Math.sqrt(K.length)"),
    "scale not used": ("dot(q, k) * scale", "dot(q, k) / Math.sqrt(q.length)"),
    "mask inverted": ("mask && !mask[i][j]", "mask && mask[i][j]"),
    "mask transposed": ("!mask[i][j]", "!(mask[j] || [])[i]"),
    "mask not used": ("mask && !mask[i][j]", "false"),
    "masked keys keep a little": ("? -Infinity", "? -5"),
    "queries and keys exchanged": ("linear(X, head.W_Q), linear(X, head.W_K)", "linear(X, head.W_K), linear(X, head.W_Q)"),
    "product transposed": ("columns.map((column) => dot(row, column))", "columns.map((column) => dot(column, A[0]))"),
    "W transposed": ("matmul(X, transpose(W))", "matmul(X, W.length === W[0].length ? W : transpose(W))"),
    "places forgotten": ("x + head.places[i][f]", "x"),
    "places from 1": ("head.places[i][f]", "head.places[(i + 1) % head.places.length][f]"),
    "capital letters kept": ("head.words[head.index[token.toLowerCase()]]", "head.words[head.index[token] ?? 0]"),
    "inherited names known": ("Object.create(null)", "{}"),
    "answers without A": ("linear(matmul(A, X), head.W_V)", "linear(X, head.W_V)"),
    "answers without W_V": ("linear(matmul(A, X), head.W_V)", "matmul(A, X)"),
    "the smallest score wins": ("row.indexOf(Math.max(...row))])", "row.indexOf(Math.min(...row))])"),
    "marks not cut": ("|[^\\s\\p{L}\\p{N}]", ""),
    "the farthest of a bank": ("distance(A, B) < distance(A, best)", "distance(A, B) > distance(A, best)"),
    "distance without its square": ("(x - B[i][j]) ** 2", "Math.abs(x - B[i][j])"),
    "groups not averaged": ("Number(j >= m) / (n - m)", "Number(j >= m)"),
    "the same groups in every row": ("groupRows(split.length, g)", "groupRows(split.length, split[0])"),
    "added up with equal coefficients": ("times(B, dot(A.flat(), B.flat()))", "times(B, 1 / basis.length)"),
    "error function cut off": ("Math.min(Math.abs(x), 6)", "Math.min(Math.abs(x), 3)"),
    "error function too soon": ("1e-17 * sum", "1e-9 * sum"),
    "GELU by its approximation": (
        "0.5 * x * (1 + erf(x / Math.SQRT2))",
        "0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)))",
    ),
    "ReLU for GELU": (".map(gelu)", ".map((v) => Math.max(0, v))"),
    "bias forgotten": ("let s = b ? b[o] : 0", "let s = 0"),
    "rest of a row forgotten": ("for (; i < n; i++) s += W[at + i] * x[i];", ""),
    "variance by n - 1": ("0) / x.length + 1e-5", "0) / (x.length - 1 || 1) + 1e-5"),
    "another epsilon": ("x.length + 1e-5", "x.length + 1e-6"),
    "epsilon outside the root": ("x.length + 1e-5)", "x.length) + 1e-5"),
    "no gain": ("/ spread * gain[f]", "/ spread"),
    "no shift": ("* gain[f] + shift[f]", "* gain[f]"),
    "mean not taken away": ("(v - mean) / spread", "v / spread"),
    "the other byte first": ("view.getUint16(2 * i, true)", "view.getUint16(2 * i)"),
    "sign forgotten": ("(half >> 15 ? -1 : 1)", "1"),
    "exponent by one": ("2 ** (exponent - 25)", "2 ** (exponent - 24)"),
    "small numbers are 0": ("rest * 2 ** -24", "0"),
    "too few bytes read": ("if (2 * at !== bytes.length)", "if (false)"),
    "the first characters": ("known.slice(-net.context)", "known.slice(0, net.context)"),
    "characters cut before": ("[...text.toLowerCase()]", "[...text.toLowerCase()].slice(-net.context)"),
    "no features of the place": (' + P["places.weight"][before.length * d + f]', ""),
    "all at the first place": ('P["places.weight"][before.length * d + f]', 'P["places.weight"][f]'),
    "attention replaces": ('plus(through("attention.W_O", mixed))', 'x = through("attention.W_O", mixed)'),
    "MLP replaces": ('plus(through("mlp.2",', 'x = (through("mlp.2",'),
    "norm not before attention": ('const seen = norm("norm_attention")', "const seen = x"),
    "one norm for both": ('norm("norm_mlp")', 'norm("norm_attention")'),
    "no last norm": ('layerNorm(x, P["norm.weight"], P["norm.bias"])', "x"),
    "first layer everywhere": ("[P[`blocks.${layer}.${name}.weight`]", "[P[`blocks.0.${name}.weight`]"),
    "GPT scaled by d_model": ("sum / Math.sqrt(size)", "sum / Math.sqrt(d)"),
    "GPT without scale": ("sum / Math.sqrt(size)", "sum"),
    "the first head everywhere": ("const from = head * size", "const from = 0"),
    "values of the first layer": ("rows[j].V[layer][f]", "rows[j].V[0][f]"),
    "keys for values": ('row.V[layer] = through("attention.W_V", seen)', "row.V[layer] = row.K[layer]"),
    "values of its own place": ("a * rows[j].V[layer][f]", "a * row.V[layer][f]"),
    "no look at itself": ("rows = [...before, row];", "rows = before.length ? before : [row];"),
    "old places stay": ("known.slice(0, changed < 0 ? ids.length : changed)", "known.slice(0, ids.length)"),
    "a shorter text stays long": ("changed < 0 ? ids.length : changed", "changed < 0 ? known.length : changed"),
    "distances not halved": ("Math.abs(a - B[h][i][j]) / 2", "Math.abs(a - B[h][i][j])"),
    "distances squared": ("Math.abs(a - B[h][i][j]) / 2", "(a - B[h][i][j]) ** 2"),
    "distances summed": ("reduce((a, b) => a + b) / rows.length", "reduce((a, b) => a + b)"),
    "hull with inner points": ("turn(chain[chain.length - 2], chain[chain.length - 1]) <= 0", "false"),
}  # fmt: skip


@needs_node
@pytest.mark.parametrize("text, replacement", MUTANTS.values(), ids=MUTANTS)
def test_a_mutant_is_noticed(text, replacement, cases, tmp_path):
    (tmp_path / "live.js").write_text(mutate(text, replacement), encoding="utf-8")
    code, output = node(cases, DYNATTN_LIVE=str(tmp_path / "live.js"))
    assert code == 1 and re.search(r"^\S* ?pass [1-9]", output, re.MULTILINE), output[
        -2000:
    ]  # and it can be read


# ---------------------------------------------------------------------------------------------- Python


def still():
    figure, axes = figures.subplots(width=3, height=2)
    axes.plot([0, 1])
    return figure


def live(
    kind="networks",
    data=None,
    caption="What to try.",
    alt="One line, up to 1.",
    table=(["a", "b"], [["x", 0.5]]),
    payload=None,
):
    return Live(kind, data or {}, caption=caption, alt=alt, still=still(), table=table, payload=payload)


def test_wrong_arguments_are_refused():
    for name, wrong in {
        "kind": {"kind": "network"},
        "caption, alt": {"caption": " "},
        "caption, alt: ": {"alt": ""},
        "data": {"data": {"W": [[1.0, float("nan")]]}},
        "data: ": {"data": {"x": float("inf")}},
        "payload": {"kind": "gpt"},
        "payload: ": {"payload": b"12"},
    }.items():
        refuses(lambda wrong=wrong: live(**wrong), ValueError, name.removesuffix(": "))


def test_every_kind_of_the_script_is_known():
    body = SCRIPT[SCRIPT.index("const kinds = {") : SCRIPT.index("/** The corners of the convex hull")]
    assert tuple(re.findall(r"^    (\w+)\(panel, data\) \{$", body, re.MULTILINE)) == KINDS


def test_script_is_small_and_safe_within_a_page():
    assert len(gzip.compress(SCRIPT.encode(), mtime=0)) <= 25_000
    for text in ("</script", "<!--", "innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval(", "new Function",
                 "currentScript", "fetch(", "XMLHttpRequest", "import(", "setInterval", "@import", "url("):  # fmt: skip
        assert text.lower() not in SCRIPT.lower(), text
    assert re.findall(r"\w+://[^\"' ]*", SCRIPT) == ["http://www.w3.org/2000/svg"]  # a name, not an address


def test_html_is_deterministic_and_holds_text_as_text():
    bad = "\"><script>alert(1)</script><b x='y'>&amp;"
    arguments = {"data": {"sentences": [bad]}, "caption": bad, "alt": bad, "table": ([bad], [[bad]])}
    figure = live(**arguments)
    bundle = figure._repr_mimebundle_()
    assert bundle == live(**arguments)._repr_mimebundle_()
    assert set(bundle) == {"text/html", "image/png", "image/svg+xml", "text/plain"}
    assert bad in bundle["text/plain"] and "payload" not in bundle["text/html"].split("<script")[0]
    element = figure.element()
    assert "<b " not in element and "<script" not in element and "<table" in element
    data = html.unescape(re.search(r' data="([^"]*)"', element)[1])
    assert json.loads(data) == {"sentences": [bad]}


def test_export_holds_every_parameter_once():
    model = small_gpt(3, "abc;", 5, 6, 2, 2)
    layout, payload = export(model, "abc;")
    sizes = {"n_layers": 2, "n_heads": 2, "context": 5, "d_model": 6, "vocabulary": "abc;"}
    assert {name: layout[name] for name in sizes} == sizes and set(layout) == {*sizes, "parameters"}
    assert json.loads(json.dumps(layout)) == layout
    numbers = np.frombuffer(payload, dtype="<f2")
    for (name, shape), (own, parameter) in zip(layout["parameters"], model.named_parameters(), strict=True):
        assert (name, shape) == (own, list(parameter.shape))
        part, numbers = numbers[: math.prod(shape)], numbers[math.prod(shape) :]
        assert (part.reshape(shape) == parameter.detach().numpy()).all()
    assert not len(numbers)


def test_export_refuses_what_does_not_fit():
    model = small_gpt(3, "abc;", 5, 6, 2, 2)
    refuses(lambda: export(model, list("abc;")), TypeError, "vocabulary")
    for vocabulary in ("abc", "abc;d", "abca", ""):
        refuses(lambda vocabulary=vocabulary: export(model, vocabulary), ValueError, "vocabulary")
    for wrong in (70000.0, -1e9, float("nan"), float("inf")):
        with torch.no_grad():
            model.blocks[1].mlp[0].bias[2] = wrong
        assert "blocks.1.mlp.0.bias" in refuses(lambda: export(model, "abc;"), ValueError, "model")


def test_the_exported_head_is_the_one_that_was_pinned(tmp_path, monkeypatch):
    assert set(words.load()) == {"vocabulary", "words", "places", "W_Q", "W_K", "W_V", "readout", "W"}
    (tmp_path / "words.json").write_text(words.FILE.read_text(encoding="utf-8").replace("student", "pupil"))
    monkeypatch.setattr(words, "FILE", tmp_path / "words.json")
    refuses(words.load, ValueError, "words.json")


def test_how_the_head_was_made_is_documented():
    assert "``python -m dynattn.words``" in words.__doc__
    assert 'if __name__ == "__main__":' in Path(words.__file__).read_text(encoding="utf-8")


def test_the_exported_head_answers_new_sentences():
    (found, present), targets = words.sentences(2000, torch.Generator().manual_seed(12345))
    right = []
    for row, there, wanted in zip(found.tolist(), present.tolist(), targets.tolist()):
        tokens = [HEAD["vocabulary"][word] for word, is_there in zip(row, there) if is_there]
        said = answers(words.computed_weights(HEAD, tokens), features(tokens))
        right += [PLACE[word.lower()] == answer for word, answer in zip(said, wanted)]
    assert len(right) > 8000
    assert np.mean(right) >= 0.99, np.mean(right)


def test_the_head_names_the_right_word_in_every_sentence_offered():
    """By the grammar of words.sentence: the place of the word that each token belongs to."""
    belongs_to = {
        "I am a student.": [3, 0, 3, 1, 1],
        "Cats chase small mice.": [1, 0, 3, 1, 1],
        "They are happy doctors.": [3, 0, 3, 1, 1],
        "You see the birds.": [3, 0, 3, 1, 1],
        "The cats chase a dog.": [1, 2, 1, 4, 2, 2],
        "The clever cat hears a bird.": [2, 2, 3, 2, 5, 3, 3],
    }
    assert tuple(belongs_to) == words.OFFERED
    for text, places in belongs_to.items():
        assert words.computed_weights(HEAD, tokens_of(text)).argmax(axis=1).tolist() == places, text


def test_computed_weights_refuses_what_the_head_cannot_read():
    with pytest.raises(KeyError):
        words.computed_weights(HEAD, ["zebra"])
    refuses(lambda: words.computed_weights(HEAD, ["a"] * 10), ValueError, "tokens")


# ------------------------------------------------------------------------------------- in a browser

FIVE_TOKENS = [text for text in [*SENTENCES, "The cat chases mice."] if len(tokens_of(text)) == 5]
rng = np.random.default_rng(0)
DATA = {
    "lookup": json.loads(facts.figure().data),
    "pairs": json.loads(facts.two_figure().data),
    "networks": {"sentences": SENTENCES, "head": HEAD, "W": HEAD["W"]},
    "arrows": {
        "tokens": ["I", "am", "a", "student", "."],
        "points": [[1.6, 0.6], [-0.4, 1.8], [-0.8, -0.6], [2.0, 0.1], [-1.2, -1.0]],
    },
    "drag": {
        "tokens": ["I", "am", "a", "student", "."],
        "points": [[1.6, 0.6], [-0.4, 1.8], [-0.8, -0.6], [2.0, 0.1], [-1.2, -1.0]],
        "query": [1.2, 1.2],
    },
    "transplant": {"sentences": FIVE_TOKENS, "head": HEAD},
    "training": {
        "steps": [0, 10, 50, 400],
        "names": list(facts.NAMES),
        "facts": [f"{name} drinks {drink}" for name, drink in facts.OFFERED[0]],
        "W": rng.normal(size=(4, 4)).round(3).tolist(),
        "B": rng.normal(size=(4, 8, 8)).round(3).tolist(),
        "A": rng.dirichlet(np.ones(4), size=(4, 3)).round(3).tolist(),
        "right_static": [0.1, 0.3, 0.33, 0.34],
        "right_attention": [0.12, 0.5, 0.9, 1],
    },
    "heads": {
        "W": rng.normal(size=(4, 16, 16)).round(3).tolist(),
        "bias": rng.normal(size=16).round(3).tolist(),
        "questions": [
            {
                "values": rng.normal(size=(8, 16)).round(3).tolist(),
                "asked": asked,
                "answers": [1, 3],
                "rows": rng.dirichlet(np.ones(8), size=4).round(3).tolist(),
            }
            for asked in ([2, 5], [0, 7])
        ],
    },
}
DATA["sign"] = {}
DATA["orders"] = {"n": 4, "length": 20, "start": 5}
DATA["bank"] = {
    "sizes": [1, 4, 13, 256],
    "ticks": [1, 256],
    "splits": [[1] * 4, [4, 1, 1, 1], [4, 3, 1, 1], [4] * 4],
    "basis": np.linalg.qr(rng.normal(size=(16, 13)))[0].T.reshape(13, 4, 4).tolist(),
    "inputs": [
        {"name": name, "A": rng.dirichlet(np.ones(4), size=4).round(3).tolist()}
        for name in ("first", "second")
    ],
    "curves": [
        {"name": "whole", "missed": [1, 0.75, 0.6, 0]},
        {"name": "rows", "missed": [1, 0, 0, 0]},
        {"name": "added", "missed": [1, 0.75, 0, 0]},
    ],
}
DATA["dial"] = {
    "p": [0, 0.5, 1],
    "layers": [
        {"name": name, "kind": kind} for name, kind in (("none", ""), ("static", "W"), ("computed", "A"))
    ],
    "right": rng.uniform(size=(3, 3)).round(4).tolist(),
    "best": [1, 0.64, 0.285],
    "needed": np.eye(4)[rng.integers(4, size=(3, 4))].tolist(),
    "matrices": [
        {"name": name, "kind": kind, "M": rng.dirichlet(np.ones(4), size=(3, 4)).round(3).tolist()}
        for name, kind in (("static", "W"), ("computed", "A"))
    ],
}
DATA["reader"] = {
    "letters": "abc",
    "texts": [
        {
            "text": text,
            "language": rng.dirichlet(np.ones(3), size=3).round(3).tolist(),
            "built": rng.dirichlet(np.ones(3), size=(7, 3)).round(3).tolist(),
        }
        for text in ("abacabac", "aabbccab")
    ],
}
LETTERS = ";-abcdefghij é"
SMALL = small_gpt(1, LETTERS, 24, 12, 3, 2)
LAYOUT, PAYLOAD = export(SMALL, LETTERS)
DATA["gpt"] = LAYOUT | {"text": ";bad-cafe"}
weights = rng.dirichlet(np.ones(5), size=(3, 2, 2, 2, 5))
weights[:, :, 0] = weights[0, 0, 0]  # the first layer is the same after every text
DATA["switch"] = {
    "first": 1,
    "tokens": ["o", "s", "l", " ", ";"],
    "languages": ["English", "German", "Finnish"],
    "contexts": [[";france;", ";italy;"], [";frankreich;", ";italien;"], [";ranska;", ";italia;"]],
    "weights": weights.tolist(),
    "mean": weights.mean(1).tolist(),
}
CSP = "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:"


def page(body: str, head: str = "") -> str:
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">{head}<title>Figures</title>'
        '<meta name="viewport" content="width=device-width"><style>body{margin:8px;font-family:sans-serif}'
        "html[data-theme=dark]{background:#121212;color:#e8eaed}</style></head>"
        f"<body><main><h1>Figures</h1>{body}</main></body></html>"
    )


@pytest.fixture(scope="module")
def bodies():
    """Each figure as a notebook's output has it, with a script of its own."""
    alt = "Still picture, largest weight 0.50."
    return {
        kind: live(
            kind,
            DATA[kind],
            caption=f"About {kind}.",
            alt=alt,
            payload=PAYLOAD if kind == "gpt" else None,
        )._repr_mimebundle_()["text/html"]
        for kind in KINDS
    }


@pytest.fixture(scope="module")
def demo(bodies, tmp_path_factory):
    path = tmp_path_factory.mktemp("demo") / "demo.html"
    path.write_text(page("".join(bodies.values())), encoding="utf-8")
    return path


@contextmanager
def opened(browser, path, also=(), **options):
    """Open a file; at the end, nothing has failed, and nothing but the file, and ``also``, has been asked for."""
    context = browser.new_context(**({"viewport": {"width": 1000, "height": 900}} | options))
    tab, wrong, loaded = context.new_page(), [], []
    tab.on("pageerror", lambda error: wrong.append(str(error)))
    tab.on(
        "console",
        lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None,
    )
    tab.on("dialog", lambda dialog: (wrong.append("dialog: " + dialog.message), dialog.dismiss()))
    tab.on("request", lambda request: loaded.append(request.url))
    tab.loaded = loaded
    tab.goto(path.as_uri())
    yield tab
    assert wrong == []
    loaded = {url for url in loaded if not url.startswith(("data:", "about:srcdoc"))}
    assert loaded == {path.as_uri(), *(other.as_uri() for other in also)}
    context.close()


def figure(tab, kind):
    return tab.locator(f"dynattn-live[kind={kind}]")


def frame(tab):
    """Wait until what was asked for is drawn."""
    tab.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def tables(tab, kind) -> list[list[list]]:
    """The numbers that a figure shows, row by row, without the rows' names."""
    frame(tab)
    read = """figure => [...figure.shadowRoot.querySelectorAll(".numbers table")].map(table =>
        [...table.tBodies[0].rows].map(row => [...row.cells].slice(1).map(cell => cell.textContent)))"""
    return figure(tab, kind).evaluate(read)


def shows(table, numbers):
    """A shown table holds these numbers, to the three digits that it shows."""
    found = np.array([[float(cell.replace("−", "-")) for cell in row] for row in table])
    assert found.shape == np.shape(numbers)
    assert np.abs(found - numbers).max() <= 5e-4 + 1e-9, (found, numbers)


def says(tab, kind, text):
    """The figure's one live region comes to say this."""
    from playwright.sync_api import expect

    region = figure(tab, kind).get_by_role("status")
    expect(region).to_contain_text(text, timeout=2000)
    assert region.count() == 1


def lines(tab, name):
    return figure(tab, "networks").evaluate(
        f"figure => [...figure.shadowRoot.querySelectorAll('line.{name}')].map(line => line.outerHTML).join()"
    )


def check_lookup(tab):
    lookup = figure(tab, "lookup")
    for of in facts.OFFERED:
        for name, _ in facts.OFFERED[0]:
            lookup.get_by_label(name, exact=True).check()
            want, found = facts.read(facts.load(), of, name), tables(tab, "lookup")
            shows(found[0], np.column_stack([want["A"], want["W"]]))
            shows(found[1], np.column_stack([want["attention"], want["static"]]))
            answer = dict(of)[name]
            says(
                tab,
                "lookup",
                f"from “{name} drinks {answer}” and answers: {answer} {want['attention'].max():.0%}",
            )
            best = [facts.DRINKS[i] for i in want["static"].argsort()[::-1][:3]]
            says(
                tab,
                "lookup",
                "The static layer guesses: "
                + ", ".join(f"{d} {want['static'][facts.DRINKS.index(d)]:.0%}" for d in best),
            )
        lookup.get_by_role("button", name="Different facts").click()
    drawn = lookup.locator("svg").evaluate_all(
        "all => all.map(svg => [svg.textContent, svg.querySelectorAll('line').length])"
    )
    assert drawn[0][0].count("drinks") == drawn[1][0].count("drinks") == 3
    assert drawn[0][1] == 1 and drawn[1][1] == 3, "all other weights are too small to be seen"


def check_pairs(tab):
    """Every pair of names in both orders, in all offered facts: the package's numbers, and the right drinks from two heads."""
    pairs = figure(tab, "pairs")
    people = [name for name, _ in facts.OFFERED[0]]
    for of in facts.OFFERED:
        for place, asked in enumerate(itertools.permutations(people, 2)):
            pairs.get_by_label("Question", exact=True).select_option(str(place))
            want, found = facts.read_two(facts.load(), of, asked), tables(tab, "pairs")
            for kind, shown in zip(("one", "two"), (found[:2], found[2:]), strict=True):
                for table, numbers in zip(shown, want[kind], strict=True):
                    shows(table, numbers)
            drinks = [dict(of)[name] for name in asked]
            scores = want["two"][1].max(axis=1)
            told = ", ".join(f"{n}: {d} {s:.2f}" for n, d, s in zip(asked, drinks, scores))
            says(tab, "pairs", f"Two heads: {told}.")
        pairs.get_by_role("button", name="Different facts").click()


def check_networks(tab):
    W = lines(tab, "W")
    assert W.count("<line") > 5
    typed = figure(tab, "networks").get_by_label("Sentence, typed")
    for text in [*SENTENCES[1:], "you are the happy children", "a a a a a", SENTENCES[0]]:
        A = lines(tab, "A")
        if text in SENTENCES:
            figure(tab, "networks").get_by_label("Sentence", exact=True).select_option(text)
        else:
            typed.fill(text)
        found = tables(tab, "networks")
        assert A != lines(tab, "A"), "A is drawn anew"
        assert typed.input_value() == text
        shows(found[0], words.computed_weights(HEAD, tokens_of(text)))
        if len(tokens_of(text)) == 5:
            shows(found[1], HEAD["W"])
            assert lines(tab, "W") == W
    says(tab, "networks", "A has been written anew: “I” reads")
    says(tab, "networks", "W has not moved.")
    typed.fill("I am a clever student.")
    shows(*tables(tab, "networks"), words.computed_weights(HEAD, tokens_of("I am a clever student.")))
    says(tab, "networks", "W does not fit 6 tokens.")
    assert (
        "W was learned for 5 tokens; it has no weights for 6."
        in figure(tab, "networks").locator("svg").nth(1).text_content()
    )
    assert lines(tab, "W") == ""
    typed.fill("The zebra and I")
    says(tab, "networks", "Not in the vocabulary of this head: zebra, and. It knows: I you")
    assert tables(tab, "networks") == [] and lines(tab, "A") == lines(tab, "W") == ""
    typed.fill("")
    says(tab, "networks", "Type a sentence.")
    typed.fill("the " * 10)
    says(tab, "networks", "This head has learned 9 places; the sentence has 10 tokens.")
    typed.fill(NINE)
    shows(*tables(tab, "networks"), words.computed_weights(HEAD, tokens_of(NINE)))
    choice = figure(tab, "networks").get_by_label("Sentence", exact=True)
    assert choice.input_value() == str(len(SENTENCES))
    choice.select_option(SENTENCES[2])
    choice.select_option("… or type one")
    frame(tab)
    assert (choice.input_value(), typed.input_value()) == (str(len(SENTENCES)), SENTENCES[2])


def check_arrows(tab):
    arrows, X = figure(tab, "arrows"), np.array(DATA["arrows"]["points"])
    tokens = DATA["arrows"]["tokens"]

    def agrees():
        A = attention.attention(X, X, X)[1]
        found = tables(tab, "arrows")
        shows(found[0], A)
        shows(found[1], X)
        most = A[3].argmax()
        from_whom = "itself" if most == 3 else f"“{tokens[most]}”"
        says(tab, "arrows", f"“student” from {from_whom}, {A[3, most]:.2f}")

    agrees()
    student = arrows.get_by_role("slider", name="arrow of “student”")
    for _ in range(12):
        student.press("ArrowLeft")
    X[3, 0] = 0.8
    agrees()
    for _ in range(40):
        student.press("ArrowUp")
    X[3, 1] = 2.2  # no further
    agrees()
    arrows.get_by_role("button", name="Put the arrows back").click()
    X[:] = DATA["arrows"]["points"]
    agrees()


def check_drag(tab):
    drag, keys, query = figure(tab, "drag"), np.array(DATA["drag"]["points"]), np.array(DATA["drag"]["query"])
    slider, width, factor = (
        drag.get_by_label(name) for name in ("Temperature", "Features d", "Divide by √d")
    )

    def agrees(temperature, d, divided):
        logits = torch.tensor(keys @ query) * (d / 2) ** 0.5 / temperature / (d**0.5 if divided else 1)
        A = logits.softmax(-1).numpy()
        found = tables(tab, "drag")
        shows(found[0], np.column_stack([keys, logits, A]))
        shows(found[1], [query, A @ keys])
        most = A.argmax()
        says(tab, "drag", f"The largest weight is {A[most]:.2f}, on “{DATA['drag']['tokens'][most]}”")

    agrees(1, 2, True)
    slider.fill("1")
    agrees(10, 2, True)
    slider.fill("-2")
    agrees(0.01, 2, True)
    slider.fill("0")
    width.select_option("1024")
    agrees(1, 1024, True)
    factor.uncheck()
    agrees(1, 1024, False)
    width.select_option("4")
    agrees(1, 4, False)
    # Arrow keys move a handle as often as they are pressed, and not out of the picture.
    key = drag.get_by_role("slider", name="key “a”")
    key.focus()
    for name in ("ArrowLeft", "ArrowLeft", "ArrowUp"):
        tab.keyboard.press(name)
        frame(tab)
    keys[2] += (-0.2, 0.1)
    agrees(1, 4, False)
    assert key.get_attribute("aria-valuetext") == "−1.0 across, −0.5 up"
    for _ in range(40):
        tab.keyboard.press("ArrowLeft")
    keys[2, 0] = -2.6
    agrees(1, 4, False)
    # So does the mouse, over many redraws.
    box = drag.get_by_role("slider", name="query").bounding_box()
    scale = drag.locator("svg").first.bounding_box()["width"] / 340 * 62
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    tab.mouse.move(x, y)
    tab.mouse.down()
    for part in range(1, 6):
        tab.mouse.move(x - part * scale / 5, y + part * scale / 10)
        frame(tab)
    tab.mouse.up()
    tab.mouse.move(x, y)
    told = drag.get_by_role("slider", name="query")
    frame(tab)
    assert told.get_attribute("aria-valuetext") == f"{query[0] - 1:.1f} across, {query[1] - 0.5:.1f} up"


def check_transplant(tab):
    for donor, host in [(0, 1), (1, 0), (3, 4), (2, 3)]:
        figure(tab, "transplant").get_by_label("Weights from").select_option(str(donor))
        figure(tab, "transplant").get_by_label("Values from").select_option(str(host))
        A, own = (words.computed_weights(HEAD, tokens_of(FIVE_TOKENS[place])) for place in (donor, host))
        X = features(tokens_of(FIVE_TOKENS[host]))
        found = tables(tab, "transplant")
        shows(found[0], A)
        assert found[1] == [list(pair) for pair in zip(answers(A, X), answers(own, X))]
    changed = [t for t, a, b in zip(tokens_of(FIVE_TOKENS[host]), answers(A, X), answers(own, X)) if a != b]
    says(tab, "transplant", f"arrives at: {', '.join(changed)}." if changed else "The same words arrive")
    figure(tab, "transplant").get_by_label("Values from").select_option(str(donor))
    says(tab, "transplant", "A sentence in its own network.")


def check_training(tab):
    data = DATA["training"]
    for step in (3, 0, 2):
        figure(tab, "training").get_by_label("Training step").fill(str(step))
        found = tables(tab, "training")
        shows(found[0], data["B"][step])
        shows(found[1], data["A"][step])
        shows(found[2], [data["W"][step]])
        assert figure(tab, "training").get_by_label("Training step").get_attribute("aria-valuetext") == str(
            data["steps"][step]
        )
    says(
        tab,
        "training",
        "Step 50: attention answers 90% of new questions rightly, the static layer 33%.",
    )


def check_heads(tab):
    data = DATA["heads"]
    for question, off in [(0, ()), (1, (1,)), (0, (0, 3))]:
        figure(tab, "heads").get_by_label("Question").select_option(str(question))
        for head in range(4):
            figure(tab, "heads").get_by_label(f"Head {head + 1}").set_checked(head not in off)
        found, asked = tables(tab, "heads"), data["questions"][question]
        W = np.array(data["W"]) * [[[float(head not in off)]] for head in range(4)]
        scores = data["bias"] + sum(W[h] @ (np.array(asked["rows"][h]) @ asked["values"]) for h in range(4))
        shows(found[0], asked["rows"])
        shows(found[1], scores.reshape(2, 8))
        shows(found[2], [np.linalg.norm(np.einsum("hj,hab->jab", asked["rows"], W), axis=(1, 2))])
    first, second = scores.reshape(2, 8).argmax(1) + 1
    says(tab, "heads", f"Without head 1, 4: answers {first} and {second}, ")


def check_orders(tab):
    """Orders are numbered as in a dictionary, and the rule writes the network of each."""
    angle = 2 * np.pi * np.arange(4) / 4
    stands = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    for number, wants in enumerate(itertools.permutations(range(4)), start=1):
        figure(tab, "orders").get_by_label("Order", exact=True).fill(str(number))
        A, found = attention.attention(20 * stands[list(wants)], stands, stands)[1], tables(tab, "orders")
        shows(found[0], A)
        assert [row[-1] for row in found[1]] == [str(j + 1) for j in wants]
        least = min(A[i, j] for i, j in enumerate(wants))
        says(tab, "orders", f"Order {number} of 24: every token reads at least {least:.3f}")


def check_sign(tab):
    """What is shown as the nearest is the nearest, found by trying a thousand rows of the softmax."""
    a = np.linspace(0, 1, 1001)
    for part, label in enumerate(("nothing", "a residual", "a residual and W_V")):
        figure(tab, "sign").get_by_label(label, exact=True).check()
        for wanted in (-1, -0.5, 0, 0.5, 1):
            figure(tab, "sign").get_by_label("Wanted weight on the word before").fill(str(wanted))
            found = tables(tab, "sign")
            rows = np.stack([a, 1 - a + part], axis=1) if part < 2 else np.array([[wanted, 1.0]])
            missed = ((rows - [wanted, 1]) ** 2).sum(axis=1)
            shows(found[0], [[wanted, 1], rows[missed.argmin()]])
            shows(found[1], [[missed.min()]])
    says(tab, "sign", "Wanted 1.00 and 1, reached 1.00 and 1.00, missed 0.00.")


def check_reader(tab):
    """The best guess is that of the Bayes predictor, had the text gone on with each letter."""
    for which, read in [(0, 1), (1, 5), (0, 7), (1, 2)]:
        figure(tab, "reader").get_by_label("Language", exact=True).select_option(index=which)
        figure(tab, "reader").get_by_label("Letters read").fill(str(read))
        text = DATA["reader"]["texts"][which]
        ids = torch.tensor(["abc".index(letter) for letter in text["text"][:read]])
        tried = torch.cat([ids.expand(3, -1), torch.arange(3)[:, None]], dim=1)
        best = chapter8.bayes(tried)[:, -1].numpy()
        parts = [np.array(M).reshape(9) for M in (text["built"][read - 1], best, text["language"])]
        shows(tables(tab, "reader")[0], np.stack(parts, axis=1))
        off = [abs(parts[0] - other).mean() for other in parts[1:]]
    says(tab, "reader", f"After 2 letters the network is {off[0]:.2f} from the best guess and {off[1]:.2f} ")


def check_bank(tab):
    data, bank = DATA["bank"], figure(tab, "bank")
    for place, which in [(0, 0), (2, 1), (3, 0), (1, 1), (2, 0)]:
        bank.get_by_label("Stored K").fill(str(place))
        bank.get_by_label("Example").select_option(str(which))
        K, A, found = data["sizes"][place], np.array(data["inputs"][which]["A"]), tables(tab, "bank")
        means = [
            [[float(j == m) if m < g - 1 else (j >= m) / (4 - m) for j in range(4)] for m in range(g)]
            for g in data["splits"][place]
        ]
        whole = np.array(min(itertools.product(*means), key=lambda W: ((A - W) ** 2).sum()))
        rows = np.eye(4) if K >= 4 else np.full((1, 4), 0.25)
        row = np.array([min(rows, key=lambda r: ((r - a) ** 2).sum()) for a in A])
        basis = np.array(data["basis"][:K]).reshape(-1, 16)
        added = (A.flatten() @ basis.T @ basis).reshape(4, 4)
        off = [((A - M) ** 2).sum() for M in (whole, row, added)]
        for table, M in zip(found, (A, whole, row, added), strict=False):
            shows(table, M)
        shows(found[4], [[error, curve["missed"][place]] for error, curve in zip(off, data["curves"])])
        assert bank.get_by_label("Stored K").get_attribute("aria-valuetext") == str(K)
    says(
        tab,
        "bank",
        f"K = 13. Squared error for this matrix: whole: {off[0]:.3f}; rows: {off[1]:.3f}; added: ",
    )


def check_dial(tab):
    data, dial = DATA["dial"], figure(tab, "dial")
    slider = dial.get_by_label("Fraction p who must look")
    for k in (2, 0, 1):
        slider.fill(str(k))
        found = tables(tab, "dial")
        shows(found[0], np.transpose(data["right"]))
        for table, M in zip(found[1:], (data["needed"], *(m["M"] for m in data["matrices"])), strict=True):
            shows(table, M[k])
        assert slider.get_attribute("aria-valuetext") == str(data["p"][k])
        widths = dial.evaluate(
            """figure => [...figure.shadowRoot.querySelector("svg").querySelectorAll("rect")].map(
                bar => [bar.getAttribute("class"), Number(bar.getAttribute("width"))])"""
        )
        assert [kind for kind, _ in widths] == ["node", "W", "A"]
        assert [width for _, width in widths] == pytest.approx([150 * value for value in data["right"][k]])
        drawn = dial.evaluate(
            """figure => [...figure.shadowRoot.querySelectorAll("svg")].slice(1).map(svg =>
                [...svg.querySelectorAll("rect:not(.frame)")].map(cell => Number(cell.getAttribute("fill-opacity"))))"""
        )
        assert drawn == [sum(M[k], []) for M in (data["needed"], *(m["M"] for m in data["matrices"]))]
        edge = dial.locator("line.frame")
        assert float(edge.get_attribute("x1")) == pytest.approx(148 + 150 * data["best"][k])
    static, computed = data["right"][1][1:]
    says(
        tab,
        "dial",
        f"p = 0.5: static {static:.2f}; computed {computed:.2f}; the best without comparing is 0.64.",
    )


def computed(text: str) -> tuple[np.ndarray, np.ndarray]:
    """A of every layer and head, and the probabilities of the next character."""
    ids = torch.tensor([LETTERS.index(character) for character in text])
    with torch.no_grad():
        return SMALL.weights(ids).numpy(), SMALL(ids)[-1].softmax(-1).numpy()


def drawn(tab, what: str) -> list:
    """Of the pixels of each map, or of the large one, the colour of the first and all opacities."""
    return figure(tab, "gpt").evaluate(
        """(figure, what) => [...figure.shadowRoot.querySelectorAll(what + " canvas")].map(canvas => {
            const copy = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
            copy.drawImage(canvas, 0, 0);
            const pixels = copy.getImageData(0, 0, canvas.width, canvas.height).data;
            return [[...pixels.slice(0, 3)], [...pixels].filter((_, k) => k % 4 === 3)];
        })""",
        what,
    )


def check_gpt(tab, colour=(213, 94, 0)):
    gpt = figure(tab, "gpt")
    typed = gpt.get_by_label("Text")
    gpt.evaluate("figure => figure.shadowRoot.querySelector('details').open = true")
    quoted = {letter: f"“{letter.replace(' ', '␣')}”" for letter in LETTERS}

    def agrees(text, layer=0, head=0, cell=None):
        """The maps, the large one, its numbers, the row under the eye, and the next characters."""
        found, (A, p) = tables(tab, "gpt"), computed(text)
        chosen, n = A[layer, head], len(text)
        assert [[cell != "" for cell in row] for row in found[0]] == np.tri(n, dtype=bool).tolist()
        shows([[cell or "0" for cell in row] for row in found[0]], chosen)
        for maps, wanted in (".maps", A.reshape(-1, n * n)), (".layers", chosen.reshape(1, n * n)):
            pixels = drawn(tab, maps)
            assert len(pixels) == len(wanted)
            for (first, opacity), M in zip(pixels, wanted):
                assert first == list(colour)
                assert np.abs(np.array(opacity) - 255 * np.sqrt(M)).max() <= 1
        i, j = cell or (n - 1, int(chosen[n - 1].argmax()))
        said = f"{quoted[text[i]]} ({i + 1}) takes {chosen[i, j]:.3f} from {quoted[text[j]]} ({j + 1})"
        slider = gpt.get_by_role("slider", name="cell of the chosen A")
        assert slider.get_attribute("aria-valuetext") == said and gpt.get_by_text(said).is_visible()
        bars = gpt.locator(".strip span").evaluate_all(
            "all => all.map(span => Number(span.style.getPropertyValue('--a')))"
        )
        assert bars == pytest.approx(np.sqrt(chosen[i]), abs=1e-4)
        assert "".join(gpt.locator(".strip span").all_text_contents()).replace("␣", " ") == text
        best = (-p).argsort()[:5]
        shows(found[1], p[best][:, None])
        names = gpt.evaluate(
            "figure => [...figure.shadowRoot.querySelectorAll('.numbers table')].at(-1).textContent"
        )
        place = [names.index(quoted[LETTERS[k]]) for k in best]
        assert place == sorted(place)
        widths = gpt.locator("svg rect.node").evaluate_all(
            "all => all.map(bar => Number(bar.getAttribute('width')))"
        )
        assert widths == pytest.approx(144 * p[best])
        says(tab, "gpt", f"The likeliest next character is {quoted[LETTERS[best[0]]]}, {p[best[0]]:.2f}.")

    agrees(";bad-cafe")
    gpt.get_by_role("radio", name="Layer 2, head 3").check()
    agrees(";bad-cafe", 1, 2)
    for text in (";bad-cafe a", ";bad-café", "a", "-bad-café", "é é", ";abcdefghij éjihgfedcba-"):
        typed.fill(text.upper())
        agrees(text, 1, 2)
    # It writes: the likeliest, and what chance says.
    for _ in range(2):
        text += LETTERS[computed(text[-24:])[1].argmax()]
        gpt.get_by_role("button", name="Add the likeliest next character").click()
        assert typed.input_value()[24:] == text[24:]
        agrees(text[-24:], 1, 2)
    says(tab, "gpt", "Of 26 characters it looks at the last 24.")
    typed.fill(";")
    p = computed(";")[1]
    for chance in (0, p[:4].sum() + p[4] / 2, 1 - 1e-9):
        tab.evaluate(f"Math.random = () => {chance}")
        typed.fill(";")
        gpt.get_by_role("button", name="Draw the next one by chance").click()
        assert typed.input_value() == ";" + LETTERS[int((p.cumsum() <= chance).sum())]
    # A cell, by keyboard and by pointer.
    typed.fill(";bad")
    agrees(";bad", 1, 2)
    i, j = 3, int(computed(";bad")[0][1, 2, 3].argmax())
    gpt.get_by_role("slider", name="cell of the chosen A").focus()
    for key, (di, dj) in {
        "ArrowUp": (-1, 0),
        "ArrowLeft": (0, -1),
        "ArrowRight": (0, 1),
        "ArrowDown": (1, 0),
    }.items():
        for _ in range(2):
            tab.keyboard.press(key)
            i = min(3, max(0, i + di))
            j = min(i, max(0, j + dj))
            agrees(";bad", 1, 2, (i, j))
    gpt.get_by_role("radio", name="Layer 1, head 2").check()
    agrees(";bad", 0, 1, (i, j))
    picture = gpt.locator(".layers canvas")
    picture.scroll_into_view_if_needed()
    box = picture.bounding_box()
    for i, j in [(2, 1), (3, 0)]:
        tab.mouse.move(box["x"] + (j + 0.8) * box["width"] / 4, box["y"] + (i + 0.2) * box["height"] / 4)
        agrees(";bad", 0, 1, (i, j))
    tab.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + box["height"] * 0.1)
    agrees(";bad", 0, 1, (i, j))
    typed.fill(";bad-")
    agrees(";bad-", 0, 1)
    # What it cannot read.
    typed.fill("b1a2d1")
    agrees("bad", 0, 1)
    says(tab, "gpt", "Not in its vocabulary, and not used: “1”, “2”. The likeliest")
    for text, said in {
        "": "Type a text.",
        "123": "Not in its vocabulary, and not used: “1”, “2”, “3”. Type a text.",
    }.items():
        typed.fill(text)
        says(tab, "gpt", said)
        assert tables(tab, "gpt") == [] and not gpt.locator("svg").first.is_visible()
        gpt.get_by_role("button", name="Add the likeliest next character").click()
        assert typed.input_value() == text
    typed.fill("a")
    agrees("a", 0, 1)


def check_switch(tab):
    data, switch = DATA["switch"], figure(tab, "switch")
    weights, mean = np.array(data["weights"]), np.array(data["mean"])
    assert switch.get_by_role("radio", name="German").is_checked(), (
        "it begins with another language than the reference"
    )
    for language, text, layer in [(1, 0, 1), (0, 1, 1), (2, 1, 0), (2, 1, 1), (1, 1, 1)]:
        name = data["languages"][language]
        switch.get_by_role("radio", name=name).check()
        frame(tab)
        switch.get_by_label("Text", exact=True).select_option(index=text)
        switch.get_by_label("Layer", exact=True).select_option(index=layer)
        found, A = tables(tab, "switch"), weights[language, text, layer]
        apart = np.abs(A - mean[:, layer]).sum(-1).mean((1, 2)) / 2
        shows(found[0], apart[:, None])
        for table, M in zip(found[1:], [*A, *mean[0, layer]], strict=True):
            shows(table, M)
        assert switch.locator(".before").text_content() == data["contexts"][language][text] + "osl ;"
        widths = switch.locator("rect.node").evaluate_all(
            "all => all.map(bar => Number(bar.getAttribute('width')))"
        )
        order = apart.argsort()
        if layer == 0:
            says(tab, "switch", "Layer 1 writes the same weights after every text: all distances are 0.000.")
            assert widths == pytest.approx([0, 0, 0], abs=1e-9)
            assert "nearest" not in switch.locator("svg").first.text_content()
        else:
            first, second = (f"{data['languages'][k]}, {apart[k]:.3f}" for k in order[:2])
            says(tab, "switch", f"Layer 2, after {name}: nearest to the mean of {first}; then {second}.")
            every = np.abs(weights[:, :, None, 1] - mean[:, 1]).sum(-1).mean((-1, -2)) / 2
            assert widths == pytest.approx(140 * apart / every.max())
            assert f"{apart[order[0]]:.3f} nearest" in switch.locator("svg").first.text_content()
        drawn = switch.evaluate(
            """figure => [...figure.shadowRoot.querySelectorAll("svg")].slice(1).map(svg =>
                [...svg.querySelectorAll("rect.A")].map(cell => Number(cell.getAttribute("fill-opacity"))))"""
        )
        largest = max(weights[:, :, layer].max(), mean[:, layer].max())
        for head, cells in enumerate(drawn):
            assert cells == pytest.approx(np.concatenate([mean[0, layer, head], A[head]]).flatten() / largest)


CHECKS = {
    name.removeprefix("check_"): check for name, check in list(globals().items()) if name.startswith("check_")
}


@pytest.mark.parametrize("kind", KINDS)
def test_figure_shows_the_numbers_of_python(browser, demo, kind):
    with opened(browser, demo) as tab:
        CHECKS[kind](tab)


def test_a_second_sentence_stays_beside_and_controls_may_be_left_out(browser, tmp_path):
    networks = live("networks", DATA["networks"] | {"beside": "Cats chase small mice."})
    drag = live("drag", DATA["drag"] | {"plain": True})
    path = tmp_path / "demo.html"
    path.write_text(
        page("".join(f._repr_mimebundle_()["text/html"] for f in (networks, drag))), encoding="utf-8"
    )
    with opened(browser, path) as tab:
        frame(tab)
        drawn = "figure => [...figure.shadowRoot.querySelectorAll('svg')].map(svg => svg.innerHTML)"
        before = figure(tab, "networks").evaluate(drawn)
        assert len(before) == 3 and "chase" in before[0] and "chase" not in before[1]
        figure(tab, "networks").get_by_label("Sentence, typed").fill(SENTENCES[-1])
        says(tab, "networks", "A has been written anew")
        after = figure(tab, "networks").evaluate(drawn)
        assert after[0] == before[0] and after[1] != before[1]
        assert figure(tab, "drag").locator("select, input").count() == 0
        keys, query = np.array(DATA["drag"]["points"]), np.array(DATA["drag"]["query"])
        A = attention.attention(query[None], keys, keys)[1][0]
        shows(tables(tab, "drag")[1], [query, A @ keys])


DRAWN_MUTANTS = {
    "an answer of the wrong layer": ("lookup", "linear(X, W_V))[0]", "linear(X, V))[0]"),
    "the last facts for all": ("lookup", "const facts = data.sets[at]", "const facts = data.sets[0]"),
    "arrows that don't ask": (
        "arrows",
        "const A = weights(X, X), said",
        "const A = weights(data.points, X), said",
    ),
    "temperature inverted": ("drag", "/ 10 ** sharp.value", "* 10 ** sharp.value"),
    "factor the wrong way": ("drag", "factor.value ? Math.sqrt(d) : 1", "factor.value ? 1 : Math.sqrt(d)"),
    "handles lose the focus": (
        "drag",
        "picture.replaceChildren();",
        "picture.replaceChildren(); svg.append(handles);",
    ),
    "transplant the wrong way": ("transplant", "[from, of].map", "[of, from].map"),
    "static side follows": ("networks", "network(learned, data.W,", "network(learned, A,"),
    "one head's scores for both": (
        "pairs",
        "matmul([row], V.map((v) => own(v, h)))[0]",
        "matmul([A[0]], V.map((v) => own(v, 0)))[0]",
    ),
    "always the last step": ("training", "const t = at.value", "const t = data.steps.length - 1"),
    "heads stay on": ("heads", "times(W, on[h].value ? q.rows[h][j] : 0)", "times(W, q.rows[h][j])"),
    "bias forgotten": ("heads", ", data.bias);", ");"),
    "a residual that brings nothing": ("sign", "[a, 2 - a]", "[a, 1 - a]"),
    "everyone wants what stands in its own place": (
        "orders",
        "wants.map((j) => times([stands[j]]",
        "wants.map((j, i) => times([stands[i]]",
    ),
    "the whole text has been read": ("reader", "read = [...text].slice(0, m)", "read = [...text]"),
    "the letter that is tried is forgotten": ("reader", "const all = [...read, a];", "const all = read;"),
    "always the largest bank": ("bank", "const K = data.sizes[at.value]", "const K = data.sizes.at(-1)"),
    "one row for all tokens": (
        "bank",
        "A.map((row) => nearest(",
        "A.map((_, i) => A[0]).map((row) => nearest(",
    ),
    "all networks added up": ("bank", "data.basis.slice(0, K)", "data.basis"),
    "bars that stand still": ("dial", "right = data.right[k]", "right = data.right[0]"),
    "matrices that stand still": ("dial", "heat(area, M[k], kind", "heat(area, M[0], kind"),
    "numbers of another p": (
        "dial",
        "p = ${data.p[k]}`, M[k], axes, axes))",
        "p = ${data.p[k]}`, M[0], axes, axes))",
    ),
    "the first map for all": ("gpt", "chosen = which.value", "chosen = 0"),
    "shade without the root": ("gpt", "255 * Math.sqrt(a)]", "255 * a]"),
    "a map turned over": ("gpt", "4 * (i * n + j)", "4 * (j * n + i)"),
    "the cell stays": ("gpt", 'typed.input.addEventListener("input", () => { cell = null; });', ""),
    "the cell keeps its row": ("gpt", "choose(big.at[0] + by[0],", "choose(big.at[0],"),
    "always the same chance": ("gpt", "let left = Math.random()", "let left = 0.5"),
    "the least likely": ("gpt", "sort((a, b) => p[b] - p[a])", "sort((a, b) => p[a] - p[b])"),
    "the cut not told": ("gpt", "if (length > n)", "if (false)"),
    "rows of another text": (
        "gpt",
        "rows = read(net, found.ids, rows); return found;",
        "rows = read(net, found.ids, rows).concat(rows.slice(found.ids.length)); return found;",
    ),
    "the reference follows": ("switch", "[mean[0][l][h], `", "[mean[at][l][h], `"),
    "always the first text": ("switch", "A = data.weights[at][t][l]", "A = data.weights[at][0][l]"),
    "distances in the first layer": ("switch", "apart(A, of[l])", "apart(A, of[0])"),
    "farthest called nearest": ("switch", "distances[a] - distances[b]", "distances[b] - distances[a]"),
    "a scale for each text": ("switch", "Math.max(limit.distance, 5e-4)", "Math.max(...distances, 5e-4)"),
    "the first layer's numbers": ("dial", "number(right[names.indexOf(name)])", "number(right[0])"),
}


@pytest.mark.parametrize("kind, text, replacement", DRAWN_MUTANTS.values(), ids=DRAWN_MUTANTS)
def test_a_drawn_mutant_is_noticed(browser, bodies, tmp_path, kind, text, replacement):
    (tmp_path / "demo.html").write_text(
        page(bodies[kind].replace(SCRIPT, mutate(text, replacement))), encoding="utf-8"
    )
    with opened(browser, tmp_path / "demo.html") as tab:
        with pytest.raises(AssertionError):
            CHECKS[kind](tab)


def test_without_eval_and_without_another_host(browser, bodies, tmp_path):
    """Under a content policy that forbids all else, and the script a few times more."""
    path = tmp_path / "strict.html"
    policy = f'<meta http-equiv="Content-Security-Policy" content="{CSP}">'
    policy += "<script>try { window.evaluates = eval('true') } catch { window.evaluates = false }</script>"
    path.write_text(page("".join([*bodies.values(), *bodies.values()]), policy), encoding="utf-8")
    with opened(browser, path) as tab:
        assert tab.locator("script.dynattn-live").count() == 2 * len(KINDS)
        assert tab.locator("dynattn-live").evaluate_all("all => all.map(figure => !!figure.shadowRoot)") == [
            True
        ] * 2 * len(KINDS)
        slider = tab.locator("dynattn-live[kind=training]").nth(1).get_by_label("Training step")
        slider.fill("1")
        frame(tab)
        values = (
            tab.locator("dynattn-live[kind=training]")
            .get_by_label("Training step")
            .evaluate_all("all => all.map(x => x.value)")
        )
        assert values == ["3", "1"], "each figure is its own"
        assert tab.evaluate("window.evaluates") is False, "the policy holds"


def test_in_sandboxed_frames(browser, bodies, tmp_path):
    """As Colab shows outputs: each in a frame of its own that has no origin."""
    path = tmp_path / "frames.html"
    frames = "".join(
        f'<iframe title="{kind}" sandbox="allow-scripts" width="800" height="700" '
        f'srcdoc="{html.escape(page(body))}"></iframe>'
        for kind, body in bodies.items()
    )
    path.write_text(page(frames), encoding="utf-8")
    with opened(browser, path) as tab:
        for kind in KINDS:
            inside = tab.frame_locator(f"iframe[title={kind}]")
            inside.locator("dynattn-live [role=status]").wait_for()
        inside = tab.frame_locator("iframe[title=heads]")
        # By keyboard: a click can miss in such a frame, which the browser draws apart, while the page still scrolls.
        inside.get_by_label("Head 2").press("Space")
        inside.get_by_text("Without head 2").wait_for()


ACTIVE = """(() => {
    let node = document.activeElement;
    while (node.shadowRoot && node.shadowRoot.activeElement) node = node.shadowRoot.activeElement;
    return node;
})()"""
TABS = [
    ("radio", "Ben"), ("button", "Different facts"), ("numbers", "lookup"),
    ("combobox", "Question"), ("button", "Different facts"), ("numbers", "pairs"),
    ("combobox", "Sentence"), ("textbox", "Sentence, typed"), ("numbers", "networks"),
    ("button", "Put the arrows back"), *(("slider", f"arrow of “{token}”") for token in DATA["arrows"]["tokens"]),
    ("numbers", "arrows"),
    ("slider", "Temperature"), ("combobox", "Features d"), ("checkbox", "Divide by √d"),
    *(("slider", f"key “{token}”") for token in DATA["drag"]["tokens"]), ("slider", "query"), ("numbers", "drag"),
    ("combobox", "Weights from"), ("combobox", "Values from"), ("numbers", "transplant"),
    ("slider", "Training step"), ("numbers", "training"),
    ("combobox", "Question"), *(("checkbox", f"Head {head}") for head in range(1, 5)), ("numbers", "heads"),
    ("slider", "Order"), ("numbers", "orders"),
    ("slider", "Wanted weight on the word before"), ("radio", "nothing"), ("numbers", "sign"),
    ("slider", "Stored K"), ("combobox", "Example"), ("numbers", "bank"),
    ("slider", "Fraction p who must look"), ("numbers", "dial"),
    ("combobox", "Language"), ("slider", "Letters read"), ("numbers", "reader"),
    ("textbox", "Text"), ("button", "Add the likeliest next character"), ("button", "Draw the next one by chance"),
    ("radio", "Layer 1, head 1"), ("slider", "cell of the chosen A"), ("numbers", "gpt"),
    ("radio", "German"), ("combobox", "Text"), ("combobox", "Layer"), ("numbers", "switch"),
]  # fmt: skip


def test_every_control_by_keyboard_with_a_name(browser, demo):
    with opened(browser, demo) as tab:
        devtools = tab.context.new_cdp_session(tab)

        def spoken():
            node = devtools.send("Runtime.evaluate", {"expression": ACTIVE})["result"]["objectId"]
            node = devtools.send(
                "Accessibility.getPartialAXTree", {"objectId": node, "fetchRelatives": False}
            )["nodes"][0]
            return node["role"]["value"], node["name"]["value"]

        tab.evaluate("window.heard = 0; document.addEventListener('keydown', () => window.heard++)")
        for role, name in TABS:
            tab.keyboard.press("Tab")
            if role != "numbers":
                assert spoken() == (role, name)
                continue
            assert spoken() == ("DisclosureTriangle", "The numbers")
            tab.keyboard.press("Enter")
            tab.keyboard.press("Tab")
            assert spoken()[1] == "Numbers of the figure"
            figure(tab, name).locator(".numbers table").first.wait_for()  # until it is visible
        tab.keyboard.press("Tab")
        assert tab.evaluate("document.activeElement.tagName") == "BODY", (
            "no control was missed, and the way leads out"
        )
        assert tab.evaluate("window.heard") <= 2, "keys pressed in a figure are the figure's own"


def test_controls_work_by_keyboard(browser, demo):
    with opened(browser, demo) as tab:
        figure(tab, "training").get_by_label("Training step").focus()
        tab.keyboard.press("ArrowLeft")
        says(tab, "training", "Step 50:")
        tab.keyboard.press("Home")
        says(tab, "training", "Step 0:")
        figure(tab, "heads").get_by_label("Head 3").focus()
        tab.keyboard.press("Space")
        says(tab, "heads", "Without head 3: ")
        figure(tab, "networks").get_by_label("Sentence", exact=True).focus()
        tab.keyboard.press("ArrowDown")
        says(tab, "networks", "“Cats” reads")
        tab.keyboard.press("Tab")
        tab.keyboard.press("Control+A")
        tab.keyboard.type("They see mice")
        says(tab, "networks", "“They” reads")
        tab.keyboard.press("Shift+Tab")
        tab.keyboard.press("Home")
        says(tab, "networks", "“I” reads")
        figure(tab, "switch").get_by_role("radio", name="German").focus()
        tab.keyboard.press("ArrowRight")
        says(tab, "switch", "after Finnish")
        figure(tab, "gpt").get_by_role("radio", name="Layer 1, head 1").focus()
        for _ in range(4):
            tab.keyboard.press("ArrowDown")
        assert figure(tab, "gpt").get_by_role("radio", name="Layer 2, head 2").is_checked()
        tab.keyboard.press("Shift+Tab")
        tab.keyboard.press("Shift+Tab")
        for _ in range(3):
            tab.keyboard.press("Enter")
            frame(tab)
        assert len(figure(tab, "gpt").get_by_label("Text").input_value()) == 9 + 3


def test_typed_text_never_becomes_markup(browser, demo):
    with opened(browser, demo) as tab:
        before = tab.evaluate("document.querySelectorAll('*').length")
        for text in (
            "<img src=x onerror=alert(1)>",
            "I am <b>",
            "</style><script>alert(1)</script>",
            "__proto__ constructor &lt;",
        ):
            figure(tab, "networks").get_by_label("Sentence, typed").fill(text)
            unknown = [token for token in tokens_of(text)[:9] if token.lower() not in PLACE]
            says(
                tab,
                "networks",
                f"Not in the vocabulary of this head: {', '.join(unknown)}.",
            )
            assert (
                figure(tab, "networks")
                .locator("img, b, script")
                .evaluate_all("all => all.filter(n => n.getRootNode() !== document).length")
                == 0
            )
            figure(tab, "gpt").get_by_label("Text").fill(text)
            says(tab, "gpt", "Not in its vocabulary, and not used: “")
            assert (
                figure(tab, "gpt").evaluate(
                    "figure => figure.shadowRoot.querySelectorAll('img, b, script').length"
                )
                == 0
            )
        assert tab.evaluate("document.querySelectorAll('*').length") == before


def test_tokens_of_the_data_never_become_markup(browser, tmp_path):
    bad = "<img src=x onerror=alert(1)>"
    data = DATA["drag"] | {"tokens": [bad, '"', "'", "&amp;", "</dynattn-live>"]}
    path = tmp_path / "bad.html"
    path.write_text(
        page(live("drag", data, caption=bad, alt=bad)._repr_mimebundle_()["text/html"]), encoding="utf-8"
    )
    with opened(browser, path) as tab:
        assert tab.locator("dynattn-live").count() == 1
        assert figure(tab, "drag").get_by_role("slider", name=f"key “{bad}”").count() == 1
        assert tab.locator("img").count() == 1  # the still picture


def test_a_figure_that_fails_leaves_the_still_picture(browser, tmp_path):
    path = tmp_path / "broken.html"
    path.write_text(page(live("drag", {})._repr_mimebundle_()["text/html"]), encoding="utf-8")
    with pytest.raises(AssertionError, match="undefined"):
        with opened(browser, path) as tab:
            assert (
                tab.locator("dynattn-live img").is_visible()
                and tab.locator("dynattn-live table").is_visible()
            )


def test_a_figure_may_be_moved_and_taken_away(browser, demo):
    with opened(browser, demo) as tab:
        figure(tab, "heads").get_by_label("Head 1").uncheck()
        tab.evaluate("document.querySelector('h1').after(document.querySelector('dynattn-live[kind=heads]'))")
        assert not figure(tab, "heads").get_by_label("Head 1").is_checked()
        figure(tab, "heads").get_by_label("Head 2").uncheck()
        says(tab, "heads", "Without head 1, 2: ")
        tab.evaluate("document.querySelectorAll('dynattn-live').forEach(figure => figure.remove())")
        tab.evaluate("document.documentElement.dataset.theme = 'dark'")
        frame(tab)


def test_scripts_off(browser, demo):
    with opened(browser, demo, java_script_enabled=False) as tab:
        for kind in KINDS:
            assert figure(tab, kind).locator("img").is_visible()
            assert figure(tab, kind).locator("table.dataframe td").last.is_visible()
            assert tab.get_by_text(f"About {kind}.").is_visible()


COLOURS = """() => ["line.A", "line.W", "svg text", ".status"].map(name => {
    const style = getComputedStyle(document.querySelector("dynattn-live").shadowRoot.querySelector(name));
    return name.startsWith("line") ? style.stroke : name.startsWith("svg") ? style.fill : style.color;
})"""


def test_colours_follow_the_page(browser, demo):
    light = ["rgb(213, 94, 0)", "rgb(0, 114, 178)", "rgb(0, 0, 0)", "rgb(0, 0, 0)"]
    dark = ["rgb(240, 138, 60)", "rgb(86, 180, 233)", "rgb(232, 234, 237)", "rgb(232, 234, 237)"]
    with opened(browser, demo) as tab:
        for theme, colours in (("light", light), ("dark", dark), ("light", light)):
            tab.evaluate(f"document.documentElement.dataset.theme = '{theme}'")
            frame(tab)
            assert tab.evaluate(COLOURS) == colours
            assert {f"rgb{tuple(first)}" for first, _ in drawn(tab, "")} == {colours[0]}


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_figures_are_accessible(browser, demo, theme):
    with opened(browser, demo) as tab:
        tab.evaluate(f"document.documentElement.dataset.theme = '{theme}'")
        assert violations(tab) == []
        assert tab.locator("dynattn-live .numbers table").first.is_visible(), "axe saw what was folded"


def test_axe_looks_into_a_figure(browser, bodies, tmp_path):
    path = tmp_path / "heads.html"
    path.write_text(page(bodies["heads"]), encoding="utf-8")
    with opened(browser, path) as tab:
        figure(tab, "heads").locator("label").last.evaluate("label => label.remove()")
        assert [problem.split(":")[0] for problem in violations(tab)] == ["label"]


@pytest.mark.parametrize("motion", ["reduce", "no-preference"])
def test_nothing_moves_by_itself(browser, demo, motion):
    with opened(browser, demo, reduced_motion=motion) as tab:
        figure(tab, "training").get_by_label("Training step").fill("1")
        frame(tab)
        assert tab.evaluate("document.getAnimations().length") == 0
        drawn = """() => [...document.querySelectorAll("dynattn-live")].map(
            figure => figure.shadowRoot.querySelector(".stages").innerHTML)"""
        before = tab.evaluate(drawn)
        tab.wait_for_timeout(300)
        assert tab.evaluate(drawn) == before


def test_on_a_phone(browser, demo):
    """320 px: nothing reaches out of the page, whatever is unfolded or typed, and no label is cut."""
    with opened(browser, demo, viewport={"width": 320, "height": 640}) as tab:
        figure(tab, "networks").get_by_label("Sentence, typed").fill(
            "teachers students children teachers students"
        )
        for kind in KINDS:
            figure(tab, kind).locator("summary").click()
        frame(tab)
        assert tab.evaluate("document.documentElement.scrollWidth") <= 320
        outside = tab.evaluate("""() => [...document.querySelectorAll("dynattn-live")].flatMap(figure =>
            [...figure.shadowRoot.querySelectorAll(
                "svg text, select, input, label, summary, .status, .handle"
            )].filter(node => {
                const box = node.getBoundingClientRect();
                return box.left < 0 || box.right > 320;
            }).map(node => node.outerHTML))""")
        assert outside == []
        figure(tab, "networks").get_by_label("Sentence, typed").fill("zebra" * 24)
        says(tab, "networks", "zebrazebra")
        figure(tab, "gpt").get_by_label("Text").fill("é" + "".join(map(chr, range(0x3040, 0x3090))))
        says(tab, "gpt", "Not in its vocabulary, and not used")
        assert tab.evaluate("document.documentElement.scrollWidth") <= 320


def test_touch_moves_a_handle_and_not_the_page(browser, demo):
    with opened(browser, demo, viewport={"width": 400, "height": 500}, has_touch=True) as tab:
        devtools = tab.context.new_cdp_session(tab)

        def stroke(x, y):
            """A finger moves 50 px up and 30 px to the left."""
            for part in range(11):
                touch = {
                    "type": "touchMove" if part else "touchStart",
                    "touchPoints": [{"x": x - 3 * part, "y": y - 5 * part}],
                }
                devtools.send("Input.dispatchTouchEvent", touch)
                frame(tab)
            devtools.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
            tab.wait_for_timeout(100)

        query = figure(tab, "drag").get_by_role("slider", name="query")
        query.evaluate("node => node.scrollIntoView({block: 'center'})")
        scrolled = tab.evaluate("scrollY")
        box = query.bounding_box()
        stroke(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        scale = figure(tab, "drag").locator("svg").first.bounding_box()["width"] / 340 * 62
        x, y = (
            float(part.split()[0].replace("−", "-"))
            for part in query.get_attribute("aria-valuetext").split(", ")
        )
        assert (x, y) == pytest.approx((1.2 - 30 / scale, 1.2 + 50 / scale), abs=0.06)
        assert tab.evaluate("scrollY") == scrolled
        stroke(box["x"] - 40, box["y"] + 120)
        assert tab.evaluate("scrollY") > scrolled, "elsewhere the same stroke scrolls the page"


LOAD = re.compile(r"Load the network, 0\.\d MB")


@pytest.fixture
def asked_for(tmp_path):
    """Pages of two figures of the same network, as the built book has them: the page, and the file of parameters."""
    policy = f'<meta http-equiv="Content-Security-Policy" content="{CSP}">'
    body = live("gpt", DATA["gpt"], payload=PAYLOAD)._repr_mimebundle_()["text/html"]
    static = tmp_path / "_static"
    static.mkdir()
    (tmp_path / "page.html").write_text(
        move_payloads(page(body + body, policy), static, "_static"), encoding="utf-8"
    )
    [file] = static.iterdir()
    return tmp_path / "page.html", file


def test_parameters_are_loaded_when_asked_for(browser, asked_for):
    path, file = asked_for
    text = path.read_text(encoding="utf-8")
    assert (
        base64.b64encode(PAYLOAD).decode() not in text
        and text.count(f'payload-file="_static/{file.name}"') == 2
    )
    with opened(browser, path, also=[file]) as tab:
        gpts, buttons = figure(tab, "gpt"), figure(tab, "gpt").get_by_role("button", name=LOAD)
        assert buttons.count() == 2
        for place in range(2):
            assert (
                gpts.nth(place).locator("img").is_visible() and gpts.nth(place).locator("table").is_visible()
            )
            assert not gpts.nth(place).locator("summary").is_visible()
        assert violations(tab) == []
        assert [url for url in tab.loaded if url.endswith(".js")] == []
        # By keyboard, impatiently: it is loaded, and the text field has the focus.
        tab.keyboard.press("Tab")
        tab.evaluate(f"() => {{ const press = () => {ACTIVE}.click(); press(); press(); press(); }}")
        gpts.nth(0).get_by_label("Text").wait_for()
        tab.wait_for_timeout(100)
        assert file.as_uri() in tab.loaded
        assert tab.evaluate(f"{ACTIVE}.value") == ";bad-cafe"
        assert gpts.nth(0).get_by_label("Text").count() == 1
        assert not gpts.nth(0).locator("img").is_visible() and gpts.nth(0).locator("summary").is_visible()
        asked = len(tab.loaded)
        assert buttons.count() == 1
        buttons.click()
        gpts.nth(1).get_by_label("Text").fill("a")
        frame(tab)
        assert len(tab.loaded) == asked, "the second figure has it already"
        gpts.nth(1).evaluate("figure => figure.remove()")
        check_gpt(tab)


def test_parameters_that_do_not_come(browser, asked_for):
    """The figure says so, keeps its still picture, and tries again when it is asked to."""
    path, file = asked_for
    script = file.read_text(encoding="utf-8")
    with pytest.raises(
        AssertionError, match="ERR_FILE_NOT_FOUND|expected"
    ):  # what the browser itself says of it
        with opened(browser, path, also=[file]) as tab:
            gpt = figure(tab, "gpt").first
            button, region = gpt.get_by_role("button", name=LOAD), gpt.get_by_role("status")
            file.unlink()
            for broken, said in {
                None: "could not be loaded",
                script.replace('= "', '= "AAAA'): "could not be read",
                "1;": "could not be read",
            }.items():
                if broken:
                    file.write_text(broken, encoding="utf-8")
                button.click()
                region.get_by_text(said).wait_for()
                assert gpt.locator("img").is_visible() and gpt.get_by_label("Text").count() == 0
                tab.evaluate("delete globalThis.dynattnPayloads")
            file.write_text(script, encoding="utf-8")
            button.click()
            gpt.get_by_label("Text").wait_for()
