"""The tests can fail: break a copy of the package in one place, and some test must notice.

A mutant is a text of the package and what stands there instead. Each runs in a process of its own, on the few
tests that should notice it, until the first one fails.
"""

# ruff: noqa: E501 (a mutant a line)

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import dynattn

PACKAGE = Path(dynattn.__file__).parent
TESTS = Path(__file__).parent

# name: (module, text, replacement, tests that must fail)
MUTANTS = {
    "no scale": ("attention", "1 / math.sqrt(q.shape[-1]) if scale is None", "1.0 if scale is None", "attention"),
    "scaled by d, not its root": ("attention", "1 / math.sqrt(q.shape[-1])", "1 / q.shape[-1]", "attention"),
    "scale not used": ("attention", "else float(scale)", "else 1 / math.sqrt(q.shape[-1])", "attention"),
    "softmax over queries": ("attention", "logits.softmax(-1)", "logits.softmax(-2)", "attention"),
    "softmax over queries, NumPy": ("attention", "exp / exp.sum(-1", "exp / exp.sum(-2", "attention:numpy"),
    "softmax without the largest logit": (
        "attention",
        "np.exp(logits - logits.max(-1, keepdims=True))",
        "np.exp(logits - logits.max())",
        "attention:far_apart",
    ),
    "boolean mask inverted": ("attention", "masked_fill_(~mask, -torch.inf)", "masked_fill_(mask, -torch.inf)", "attention"),
    "boolean mask inverted, NumPy": ("attention", "np.where(mask, 0, -np.inf)", "np.where(mask, -np.inf, 0)", "attention:numpy"),
    "masked keys keep a little": ("attention", "masked_fill_(~mask, -torch.inf)", "masked_fill_(~mask, -5.0)", "attention"),
    "mask not used by the fused kernel": ("attention", "attn_mask=mask,", "attn_mask=None,", "attention:both_paths"),
    "causal mask leaks the next token": ("attention", "device=x.device).tril()", "device=x.device).tril(1)", "symmetry:causal"),
    "causal mask leaks, fused": ("attention", "None if causal else layer._full_mask(x, context, mask), causal)", "mask, False)", "symmetry:causal"),
    "causal mask lost beside another": ("attention", "mask & causal if", "mask if", "attention:both_paths or multi_head_is"),
    "a query sees all but itself": ("attention", "device=x.device).tril()", "device=x.device).tril(-1)", "symmetry:causal"),
    "mask of one too few dimensions": ("_checks", "not in (2, len(shape))", "not in (2, 3, len(shape))", "attention:head_axis"),
    "an empty row passes": ("_checks", "    if empty.any():", "    if False:", "attention:nothing_to_look_at"),
    "a NaN passes the fused kernel": (
        "_checks",
        "not longest_q * longest_k <= largest",
        "False",
        "attention:spoilt or silence or refuse_alike",
    ),
    "heads interleaved": (
        "attention",
        "y.unflatten(-1, (n_heads, self.d_head)).transpose(-2, -3)",
        "y.unflatten(-1, (self.d_head, n_heads)).transpose(-1, -2).transpose(-2, -3)",
        "attention:multi_head_is",
    ),
    "heads cut without transpose": (
        "attention",
        "y.unflatten(-1, (n_heads, self.d_head)).transpose(-2, -3)",
        "y.reshape(*y.shape[:-2], n_heads, y.shape[-2], self.d_head)",
        "attention:multi_head_is",
    ),
    "no W_O": ("attention", "self.W_O(heads.transpose(-2, -3).flatten(-2))", "heads.transpose(-2, -3).flatten(-2)", "attention:multi_head"),
    "keys from the queries": ("attention", "self._keys(self.W_K(context)", "self._keys(self.W_K(x)", "attention:cross or both_paths"),
    "keys from the queries, fused": ("attention", "layer.W_Q(x), layer.W_K(context), layer.W_V(context)", "layer.W_Q(x), layer.W_K(x), layer.W_V(context)", "attention:cross"),
    "values from the keys": ("attention", "self._values(self.W_V(context)", "self._values(self.W_K(context)", "attention:multi_head"),
    "one product in another order": ("attention", "for W in projections))", "for W in (projections[1], projections[0], *projections[2:])))", "attention:multi_head or both_paths"),
    "one product without bias": ("attention", "if all(b is None for b in biases):", "if True:", "attention:multi_head or both_paths"),
    "one product without bias where one has none": ("attention", "if all(b is None for b in biases):", "if any(b is None for b in biases):", "attention:lack_a_bias"),
    "one product for two texts": ("attention", "if pays and context is x and all(", "if pays and all(", "attention:cross or both_paths"),
    "one product cut in thirds": ("attention", ".split([len(W.weight) for W in projections], -1)", ".chunk(3, -1)", "attention:happens_to_fit"),
    "one product whatever is hooked or replaced": ("attention", " and context is x and all(map(check.is_plain, projections)):", " and context is x:", "attention:every_way"),
    "one product never": ("attention", "if pays and context is x and all(map(check.is_plain, projections)):", "if False:", "attention:one_product"),
    "values not asked whether they are plain": ("attention", "all(map(check.is_plain, projections)):", "all(map(check.is_plain, projections[:2])):", "attention:every_way"),
    "forward hooks not seen": ("_checks", "(W._forward_hooks or ", "(", "attention:every_way"),
    "forward pre-hooks not seen": ("_checks", " or W._forward_pre_hooks", "", "attention:every_way"),
    "backward hooks not seen": ("_checks", " or W._backward_hooks", "", "attention:backward_hook"),
    "backward pre-hooks not seen": ("_checks", " or W._backward_pre_hooks", "", "attention:backward_hook"),
    "hooks on all modules not seen": ("_checks", "not _has_any_global_hook()", "True", "attention:all_modules"),
    "a patched forward not seen": ("_checks", '"forward" not in vars(W)', "True", "attention:every_way"),
    "a subclass taken for plain": ("_checks", "kind(W) is nn.Linear", "isinstance(W, nn.Linear)", "attention:every_way or to_torch"),
    "a hooked query bounded by W_Q": ("_checks", "if is_plain(W) else norm(y)", "if isinstance(W, nn.Linear) else norm(y)", "attention:spoilt_are_noticed"),
    "dtype of a pruned weight": ("_checks", "return next((p for p in layer.parameters() if p.dtype in FLOATS), None)", "return getattr(layer.W_V, 'weight', None)", "attention:changed_layer"),
    "out-of-date weights packed": ("_checks", "if not is_plain(W, kind):", "if not isinstance(W, nn.Linear):", "attention:to_torch"),
    "packing in another order": ("attention", "projections = layer.W_Q, layer.W_K, layer.W_V\n        with", "projections = layer.W_K, layer.W_Q, layer.W_V\n        with", "attention:multi_head"),
    "packing transposed": ("attention", "W.weight.copy_(part)", "W.weight.copy_(part.T)", "attention:multi_head"),
    "bias of the output forgotten": ("attention", "layer.W_O.bias.copy_(source.out_proj.bias)", "pass", "attention:multi_head"),
    "weights stored though not asked for": ("attention", "        if edit is None and not return_weights:\n", "        if False:\n", "attention:fused or both_paths"),
    "not in fused form": ("attention", "else t[None] for t in (q, k, v))", "else t for t in (q, k, v))", "attention:fused"),
    "rotary keys stay as they are": ("attention", "return self._turned(self._cut(y, self.n_kv_heads))", "return self._cut(y, self.n_kv_heads)", "positions:reference"),
    "rotary lost": ("attention", "return _rotated(y) if self.positions", "return y if self.positions", "positions:reference"),
    "rotary pairs are neighbours": ("attention", "first, second = y.chunk(2, dim=-1)", "first, second = y[..., ::2], y[..., 1::2]", "positions:reference"),
    "all pairs turn alike": ("attention", "10_000 ** (torch.arange(0, d, 2, **wide) / d)", "10_000 ** (torch.zeros(d // 2, **wide))", "positions:reference"),
    "another base": ("attention", "/ 10_000 **", "/ 1_000 **", "positions:reference"),
    "alibi likes what is far": ("attention", "return -slopes", "return slopes", "positions:reference"),
    "alibi's slopes from 1": ("attention", "torch.arange(1, n_heads + 1", "torch.arange(0, n_heads", "positions:reference or slopes"),
    "alibi forgets a mask": ("attention", "mask = bias if mask is None else bias + _for_logits(mask, bias.dtype)", "mask = bias", "positions:masks"),
    "alibi lost where the fast way is causal": ("attention", ' and layer.positions != "alibi"', "", "positions:reference"),
    "keys shared in turn": ("attention", "y.repeat_interleave(share, dim=-3)", "y.repeat(share, 1, 1)", "positions:reference"),
    "maps of shared values in turn": ("anatomy", "W_V[h // share]", "W_V[h % layer.n_kv_heads]", "positions:own_maps"),
    "GPT without its kind of positions": ("transformer", 'block["positions"] = None if positions == "absolute" else positions', 'block["positions"] = None', "positions:gpt"),
    "W applied from the right": ("static", "y = W @ x", "y = (x.mT @ W).mT", "static"),
    "static weights that depend on the input": ("static", "        return self.W\n", "        return self.W * (1 + x.mean())\n", "static"),
    "best weights transposed": ("static", "columns_y @ torch.linalg.pinv(columns_x)", "(columns_y @ torch.linalg.pinv(columns_x)).T", "static"),
    "best weights of the first sample": ("static", "columns_y = y.double()", "columns_x, columns_y = x[:1].double().transpose(0, 1).flatten(1), y[:1].double()", "static"),
    "frozen is not frozen": ("anatomy", "lambda other: layer.mix(A, other)", "lambda other: layer.mix(layer.weights(other), other)", "anatomy:frozen"),
    "transplant the wrong way": ("anatomy", "layer.mix(layer.weights(weights_from), values_from)", "layer.mix(layer.weights(values_from), weights_from)", "anatomy:transplant"),
    "gap without f(0)": ("anatomy", "parts = (_result(f, x, zero) - zero) + (_result(f, y, zero) - zero)", "parts = f(x) + f(y)", "anatomy:gap"),
    "gap that overflows": ("anatomy", "unit = _unit(whole)", "unit = 1.0", "anatomy:unit"),
    "fraction that overflows": ("anatomy", "A = A * _unit(A)", "A = A * 1.0", "anatomy:unit"),
    "a frozen matrix that learns on": ("anatomy", "layer.weights(x).detach().clone()", "layer.weights(x).detach()", "anatomy:learns_on"),
    "a place that wraps round": ("_checks", "if low < 0 or high >= below:", "if high >= below:", "tasks:refused"),
    "a place too far": ("_checks", "if low < 0 or high >= below:", "if low < 0:", "tasks:refused"),
    "a bool for an int": ("_checks", "if isinstance(value, bool) or not isinstance(value, numbers.Integral):", "if not isinstance(value, numbers.Integral):", "tasks:refused"),
    "a number without bounds": ("_checks", "abs(value) <= sys.float_info.max  # NaN is not, either\n        and ", "", "training:by_name"),
    "squares that overflow": ("_checks", "    if not math.isfinite(torch.linalg.vector_norm(numbers.detach(), dtype=wide)):", "    if False:", "fuzz:every_size"),
    "a destroyed model is returned": ("training", "if step % 16 == 0 or step == steps:", "if step % 16 == 0:", "training:last_gradient"),
    "a destroyed model trains on": ("training", "if step % 16 == 0 or step == steps:", "if step == steps:", "training:never_returned"),
    "the hub is asked again and again": ("pretrained", "            hub.get_hf_file_metadata(hub.hf_hub_url(REPOSITORY, name, revision=REVISION), timeout=5)\n", "", "pretrained:network or hub"),
    "weight path with moving values": ("anatomy", "layer.mix(layer.weights(t), x)", "layer.mix(layer.weights(t), t)", "anatomy:path"),
    "value path with moving weights": ("anatomy", "matrix(lambda t: layer.mix(A, t))", "matrix(layer)", "anatomy:path"),
    "effective matrix transposed": ("anatomy", "torch.kron(A.contiguous(), W)", "torch.kron(A.mT.contiguous(), W)", "anatomy:effective"),
    "Kronecker factors exchanged": ("anatomy", "torch.kron(A.contiguous(), W)", "torch.kron(W, A.contiguous())", "anatomy:effective"),
    "head maps exchanged": ("anatomy", "W_O[:, h] @ W_V[h // share]", "(W_O[:, h] @ W_V[h // share]).T", "anatomy:effective"),
    "map of a head whose values are hooked": ("anatomy", "require_plain(W_V=layer.W_V, W_O=layer.W_O)", "pass", "anatomy:right_or_refused"),
    "map of one head whose values are hooked": ("anatomy", "require_plain(W_V=layer.W_V)", "pass", "anatomy:right_or_refused"),
    "ordinary rank": ("anatomy", "blocks.permute(0, 2, 1, 3).reshape(n * n, -1)", "M", "anatomy:rank"),
    "dynamic fraction of the mean": ("anatomy", "(A - A.mean(0)).square()", "A.mean(0).square()", "anatomy:fraction"),
    "dynamic fraction over tokens": ("anatomy", "A - A.mean(0)", "A - A.mean(1, keepdim=True)", "anatomy:fraction"),
    "a filter turned round": ("mixers", "torch.arange(n) - torch.arange(n)[:, None] + reach", "torch.arange(n)[:, None] - torch.arange(n) + reach", "mixers:written_out"),
    "a filter goes round the end": ("mixers", "(offset < 0) | (offset > 2 * reach)", "offset != offset", "mixers:filter or written_out"),
    "synthesizer without places": ("mixers", "self.rows(x + self.W_places)", "self.rows(x)", "mixers:written_out or learned"),
    "places in the values too": ("mixers", "y = A @ self.W_V(x)", "y = A @ self.W_V(x + getattr(self, 'W_places', x)[..., : x.shape[-1]])", "mixers:verbs"),
    "mixer attention without scale": ("mixers", "/ math.sqrt(self.d_head)", "", "mixers:written_out or chapter_3"),
    "static rows that aren't shares": ("mixers", "self.W.softmax(-1) if", "self.W if", "mixers:written_out or shares"),
    "places beside the wrong token": ("mixers", "torch.eye(self.n, dtype", "torch.ones(self.n, self.n, dtype", "mixers:written_out"),
    "bias after the softmax": ("mixers", 'return (logits + self.W_places if self.places == "bias" else logits).softmax(-1)', 'return logits.softmax(-1) + (self.W_places if self.places == "bias" else 0)', "mixers:written_out or shares"),
    "a random matrix that is learned": ("mixers", 'self.register_buffer("A", A)', "self.A = nn.Parameter(A)", "mixers:learned"),
    "Mixer without its second norm": ("mixers", "self.mix_features(self.norm_2(x))", "self.mix_features(x)", "mixers:chapter_3_builds"),
    "place before counted from the end": ("tasks", "torch.arange(n).roll(1))", "torch.arange(n).roll(-1))", "mixers:source"),
    "the share p turned over": ("tasks", "generator=generator) < p", "generator=generator) >= p", "mixers:source"),
    "the answer stands in the question": ("tasks", "    tokens[:, -1, -1] = 0\n", "", "tasks:rule"),
    "one rule for all sentences": ("tasks", "torch.randn(samples, d, 1, generator=generator)", "torch.randn(1, d, 1, generator=generator)", "tasks:rule"),
    "letters follow the first one": ("tasks", "below[text, texts[:, i - 1]]", "below[text, texts[:, 0]]", "tasks:letters"),
    "rows that aren't equally likely": ("tasks", "waits = -luck.clamp_min(1e-300).log()", "waits = luck", "tasks:likely"),
    "claims never fail": ("claims/__init__", "math.isfinite(measured) and margin(record) >= 0", "True", "claims"),
    "NaN keeps a bound": ("claims/__init__", "math.isfinite(measured) and margin(record) >= 0", "not margin(record) < 0", "claims"),
    "lower bounds not looked at": ("claims/__init__", "measured - (-math.inf if low is None else low)", "math.inf", "claims"),
    "batches without seed": ("training", "torch.Generator().manual_seed(int(seed))", "torch.Generator(); generator.seed()", "training"),
    "a loss of NaN goes on": ("_checks", "if not torch.isfinite(value):", "if False:", "training"),
    "checks that pass all": ("exercises/__init__", '"wrong" if diagnosis else "right"', '"right"', "exercises:wrong_answers"),
    "gradients not looked at": ("exercises/_judging", 'if self.gradient and _style.get() != "NumPy":', "if False:", "exercises:wrong_answers"),
    "alternative text not escaped": ("figures", 'alt="{html.escape(alt)}"', 'alt="{alt}"', "figures"),
    "no dark drawing": ("figures", "ON_DARK[found[0]]", "found[0]", "figures"),
    "block without the first residual": ("transformer", "x = x + self._mixed(self.norm", "x = self._mixed(self.norm", "transformer:torchs"),
    "block without the second residual": ("transformer", "return x + self.mlp(self.norm_mlp(x))", "return self.mlp(self.norm_mlp(x))", "transformer:torchs"),
    "norm of the other half": ("transformer", "return x + self.mlp(self.norm_mlp(x))", "return x + self.mlp(self.norm_attention(x))", "transformer:torchs"),
    "norm first though it should be last": ("transformer", "if self.norm_first:", "if True:", "transformer:torchs"),
    "another GELU": ("transformer", "nn.GELU()", "nn.GELU('tanh')", "transformer:torchs"),
    "eps forgotten": ("transformer", "self.norm_mlp = nn.LayerNorm(d_model, eps=eps)", "self.norm_mlp = nn.LayerNorm(d_model)", "transformer:torchs"),
    "edit not used": ("attention", "A = edit(A)", "edit(A)", "transformer:two_verbs or one_layer"),
    "mask not used beside an edit": ("transformer", "else self.attention(x, mask=mask, edit=edit)", "else self.attention(x, edit=edit)", "transformer:edit_that or filled"),
    "layers counted from one": ("transformer", "lambda A, layer=layer: edit(layer, A)", "lambda A, layer=layer: edit(layer + 1, A)", "transformer:two_verbs"),
    "every layer gets the first one's weights": ("transformer", "own: A[..., layer, :, :, :]", "own: A[..., 0, :, :, :]", "transformer:two_verbs"),
    "no places": ("transformer", "x if self.places is None else x + self.places(torch.arange(ids.shape[-1], device=ids.device))", "x", "transformer:parts"),
    "places read, not called": ("transformer", "self.places(torch.arange(ids.shape[-1], device=ids.device))", "self.places.weight[: ids.shape[-1]]", "transformer:hooked"),
    "hooked parameters exported": ("transformer", "            require_plain(type, ", "            dict(", "transformer:export"),
    "parametrized parameters exported": ("transformer", "require_plain(type, ", "require_plain(", "transformer:export"),
    "GPT that sees what comes": ("transformer", "            causal=True,\n", "            causal=False,\n", "transformer:causal"),
    "filled places are seen": ("transformer", "mask = present[..., None, None, :]", "mask = None", "transformer:filled"),
    "temperature the wrong way": ("transformer", "logits / float(temperature)", "logits * float(temperature)", "transformer:generate"),
    "generation forgets too much": ("transformer", "ids[:, -self.context :]", "ids[:, -self.context + 1 :]", "transformer:generate_continues"),
    "residual layers start large": ("transformer", "std=std / math.sqrt(2 * n_layers)", "std=std", "transformer:starts"),
    "the same start at every width": ("transformer", "0.02 * math.sqrt(768 / d_model)", "0.02", "transformer:starts"),
    "a name held out of one language only": ("corpora", "if name not in held]", "if name not in held or language != 'de']", "corpora:split"),
    "texts of two languages": ("corpora", "pool, text = every[language], END", "pool, text = every[0] + every[-1], END", "corpora:sequences"),
    "any file will do": ("_checks", "    if found != digest:", "    if False:", "pretrained:changed or hub"),
    "keys for queries": ("pretrained", '"attention.W_Q": "attention.self.query"', '"attention.W_Q": "attention.self.key"', "pretrained:reference"),
    "the second kind of text": ("pretrained", 'token_type_embeddings.weight"][0]', 'token_type_embeddings.weight"][1]', "pretrained:reference"),
    "padding counted": ("pretrained", "encoder(ids, edit, present) * present[..., None]", "encoder(ids, edit, present)", "pretrained:sentence_vectors"),
    "texts cut": ("pretrained", "    tokenizer.no_truncation()\n", "", "pretrained:word_pieces"),
}  # fmt: skip


# A process that has the libraries loaded, but not the package, forks one child for each request: a folder with the
# package, and pytest's arguments. Loading the libraries anew for each mutant would take ten times as long; the last
# ones are those that torch loads late, the first of them for every comparison of tensors.
SERVER = """
import gc, json, os, sys
import bs4, hypothesis, IPython, matplotlib.pyplot, numpy, pytest, safetensors.torch, tokenizers, torch, tqdm
import torch.distributed.tensor, torch.nn.attention, torch.profiler, torch.utils._python_dispatch
gc.freeze()
for line in sys.stdin:
    folder, arguments = json.loads(line)
    child = os.fork()
    if not child:
        output = os.open(os.path.join(folder, "output"), os.O_WRONLY | os.O_CREAT)
        os.dup2(output, 1), os.dup2(output, 2)
        os.chdir(folder), sys.path.insert(0, folder), os.environ.update(PYTHONPATH=folder)
        code = 99
        try:
            code = int(pytest.main(arguments))
        finally:
            os._exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    # The compiled tests are kept for the next mutant; the package of each mutant lies in a folder of its own.
    compiled = str(tmp_path_factory.mktemp("compiled"))
    environment |= {"PYTHONPYCACHEPREFIX": compiled, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    environment |= {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    for name in ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE"):
        environment.pop(name, None)
    with subprocess.Popen(
        [sys.executable, "-c", SERVER],
        cwd=tmp_path_factory.mktemp("server"),
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        process.stdin.close()


def run(server, folder: Path, *selections: str) -> tuple[int, str]:
    """Exit code and output of the selected tests: "module", or "module:words of the tests' names"."""
    modules = {selection.partition(":")[0] for selection in selections}
    words = " or ".join(filter(None, (selection.partition(":")[2] for selection in selections)))
    arguments = [
        "-x",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:unraisableexception",
        "--rootdir",
        str(TESTS),
    ]
    arguments += [*(str(TESTS / f"test_{module}.py") for module in modules), "-k", words]
    server.stdin.write(json.dumps([str(folder), arguments]) + "\n")
    server.stdin.flush()
    code = int(server.stdout.readline())
    return code, (folder / "output").read_text()[-2000:]


def copy(folder: Path) -> Path:
    shutil.copytree(PACKAGE, folder / "dynattn", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.mark.parametrize("module, text, replacement, tests", MUTANTS.values(), ids=MUTANTS)
def test_a_mutant_is_noticed(module, text, replacement, tests, tmp_path, server):
    path = copy(tmp_path) / "dynattn" / f"{module}.py"
    source = path.read_text(encoding="utf-8")
    assert text in source, "the text to replace is no longer in the package: bring this mutant up to date"
    path.write_text(source.replace(text, replacement), encoding="utf-8")
    code, output = run(server, tmp_path, tests)
    assert code == 1, f"not noticed, or not by a test:\n{output}"


def test_without_a_mutation_the_same_tests_pass(tmp_path, server):
    """What fails on a mutant fails because of the mutation, and it is the copy that is tested."""
    code, output = run(server, copy(tmp_path), "static", "anatomy:")
    assert code == 0, output
    (tmp_path / "dynattn" / "static.py").write_text("raise RuntimeError('the copy was read')")
    code, output = run(server, tmp_path, "static")
    assert code == 2 and "the copy was read" in output
