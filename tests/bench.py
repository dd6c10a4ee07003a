"""Measure the attention layers and the small GPT against torch's own, and the live figures against a screen's frame.

``make bench`` measures all of it; ``python tests/bench.py --help`` tells how to measure less.

Forward and backward pass of self-attention, float32. All variants hold the same parameters and run
interleaved, in an order drawn anew each round, so that a busy machine slows all of them alike; a figure is
the median, over the rounds, of the ratio to the reference of the same round. Memory is the most that torch
holds at one moment of a pass, beyond the parameters and the input. Time is the processor's for one thread, which
others on the machine hardly disturb, and the wall clock's for more: believe those on an idle machine only.

The GPT is measured by training steps against the same model written with nothing but torch's own layers and
functions, without a check, and one matrix for queries, keys and values, as nanoGPT has it: once the forward and
backward pass alone, and once the whole step. The optimizer is the same for both, the fused AdamW of
``dynattn.training.fit``, so that the ratio speaks of the model.

A live figure is measured by redraws in a browser, each with its layout, against a frame of 1/60 s: what takes longer is
seen to lag behind the hand. Where what else the machine does would decide, the bar is for the least time.
"""

import argparse
import contextlib
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from dynattn.attention import MultiHeadAttention, SingleHeadAttention
from dynattn.experiments.chapter12 import peak
from dynattn.transformer import GPT, export

BATCH, D_MODEL, N_HEADS = 8, 256, 8
KINDS = {"rotary": {"positions": "rotary"}, "alibi": {"positions": "alibi"}, "grouped": {"n_kv_heads": 2}}
SMALL_GPT = {"vocabulary": 80, "context": 128, "d_model": 128, "n_heads": 4, "n_layers": 4}
GPT_BATCH = 32
FRAME = 1000 / 60  # milliseconds


class Bare(nn.Module):
    """The reference: projections, positions if there are any, ``F.scaled_dot_product_attention`` and nothing else."""

    def __init__(self, layer, d_head: int, causal: bool):
        super().__init__()
        self.layer, self.d_head, self.causal = layer, d_head, causal
        self.grouped = len(layer.W_K.weight) != len(layer.W_Q.weight)

    def forward(self, x):
        batch, n, d_model = x.shape
        q, k, v = (
            W(x).view(batch, n, -1, self.d_head).transpose(1, 2)
            for W in (self.layer.W_Q, self.layer.W_K, self.layer.W_V)
        )
        bias = None
        if self.layer.positions == "rotary":
            frequencies = 10_000.0 ** -(torch.arange(0, self.d_head, 2) / self.d_head)
            angles = torch.arange(n)[:, None] * frequencies
            cos, sin = torch.cat([angles, angles], -1).cos(), torch.cat([angles, angles], -1).sin()
            q, k = q * cos + turned(q) * sin, k * cos + turned(k) * sin
        if self.layer.positions == "alibi":
            place = torch.arange(n, dtype=x.dtype)
            slopes = 2.0 ** -(8 / N_HEADS * torch.arange(1, N_HEADS + 1))
            bias = -slopes[:, None, None] * (place[:, None] - place).abs()
            if self.causal:
                bias = bias.masked_fill(torch.ones(n, n, dtype=torch.bool).triu(1), -torch.inf)
            bias = bias[None]  # else it is not the fused kernel that computes
        causal = self.causal and bias is None
        y = F.scaled_dot_product_attention(q, k, v, bias, is_causal=causal, enable_gqa=self.grouped)
        y = y.transpose(1, 2).reshape(batch, n, -1)
        return self.layer.W_O(y) if hasattr(self.layer, "W_O") else y


def turned(y):
    first, second = y.chunk(2, -1)
    return torch.cat([-second, first], -1)


class PlainBlock(nn.Module):
    """A GPT's block from torch's own parts, without a check."""

    def __init__(self, d_model: int, n_heads: int):
        super().__init__()
        self.n_heads = n_heads
        self.norm_1, self.norm_2 = nn.LayerNorm(d_model), nn.LayerNorm(d_model)
        self.qkv, self.out = nn.Linear(d_model, 3 * d_model), nn.Linear(d_model, d_model)
        self.mlp = nn.Sequential(nn.Linear(d_model, 4 * d_model), nn.GELU(), nn.Linear(4 * d_model, d_model))

    def forward(self, x):
        batch, n, d_model = x.shape
        heads = (
            t.view(batch, n, self.n_heads, -1).transpose(1, 2) for t in self.qkv(self.norm_1(x)).chunk(3, -1)
        )
        y = F.scaled_dot_product_attention(*heads, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(batch, n, d_model))
        return x + self.mlp(self.norm_2(x))


class PlainGPT(nn.Module):
    """The reference for training: the same model as ``GPT``."""

    def __init__(self, vocabulary, context, d_model, n_heads, n_layers):
        super().__init__()
        self.tokens, self.places = nn.Embedding(vocabulary, d_model), nn.Embedding(context, d_model)
        self.blocks = nn.Sequential(*(PlainBlock(d_model, n_heads) for _ in range(n_layers)))
        self.norm = nn.LayerNorm(d_model)

    def forward(self, ids):
        x = self.blocks(self.tokens(ids) + self.places.weight[: ids.shape[-1]])
        return F.linear(self.norm(x), self.tokens.weight)

    def load(self, model: GPT):
        """Take over the learned parameters of ours."""
        with torch.no_grad():
            for mine, other in zip(self.blocks, model.blocks, strict=True):
                packed = other.attention.to_torch()
                mine.out.load_state_dict(packed.out_proj.state_dict())
                mine.mlp.load_state_dict(other.mlp.state_dict())
                mine.norm_1.load_state_dict(other.norm_attention.state_dict())
                mine.norm_2.load_state_dict(other.norm_mlp.state_dict())
                mine.qkv.weight.copy_(packed.in_proj_weight)
                mine.qkv.bias.copy_(packed.in_proj_bias)
            for name in ("tokens", "places", "norm"):
                getattr(self, name).load_state_dict(getattr(model, name).state_dict())
        return self


def variants(n: int, causal: bool) -> dict:
    """Name -> (function of x, name of its reference)."""
    torch.manual_seed(0)
    ours = MultiHeadAttention(D_MODEL, N_HEADS, causal=causal)
    theirs = ours.to_torch()
    hidden = (
        torch.ones(n, n, dtype=torch.bool).triu(1) if causal else None
    )  # torch's way round: True = may not look

    def torch_layer(x, **weights):
        return theirs(x, x, x, attn_mask=hidden, is_causal=causal and not weights["need_weights"], **weights)[
            0
        ]

    found = {
        "bare SDPA": (Bare(ours, D_MODEL // N_HEADS, causal), "bare SDPA"),
        "MultiHeadAttention": (ours, "bare SDPA"),
        "nn.MultiheadAttention": (lambda x: torch_layer(x, need_weights=False), "bare SDPA"),
        "MultiHeadAttention, A returned": (lambda x: ours(x, return_weights=True)[0], "bare SDPA"),
        "nn.MultiheadAttention, A returned": (
            lambda x: torch_layer(x, need_weights=True, average_attn_weights=False),
            "bare SDPA",
        ),
    }
    if not causal:
        single = SingleHeadAttention(D_MODEL, D_MODEL)
        found["bare SDPA, one head"] = (Bare(single, D_MODEL, False), "bare SDPA, one head")
        found["SingleHeadAttention"] = (single, "bare SDPA, one head")
    for kind, options in KINDS.items():
        layer = MultiHeadAttention(D_MODEL, N_HEADS, causal=causal, **options)
        found[f"bare SDPA, {kind}"] = (Bare(layer, D_MODEL // N_HEADS, causal), f"bare SDPA, {kind}")
        found[f"MultiHeadAttention, {kind}"] = (layer, f"bare SDPA, {kind}")
    return found


def step(f, x) -> float:
    """Seconds of one forward and backward pass."""
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    x = x.detach().requires_grad_()
    start = clock()
    f(x).sum().backward()
    return clock() - start


def measure(n: int, causal: bool, threads: int, rounds: int) -> tuple[dict, dict]:
    """Name -> (time ratio, its quartiles, memory ratio, milliseconds); kind -> that to torch's layer."""
    torch.set_num_threads(threads)
    found = variants(n, causal)
    x = torch.randn(BATCH, n, D_MODEL)
    for f, reference in found.values():
        torch.testing.assert_close(f(x), found[reference][0](x), rtol=1e-3, atol=1e-4)
        step(f, x)
    memory = {name: peak(lambda f=f: step(f, x)) for name, (f, _) in found.items()}
    seconds = {name: [] for name in found}
    order = list(found)
    for _ in range(rounds):
        random.shuffle(order)
        for name in order:
            seconds[name].append(step(found[name][0], x))
    result = {}
    for name, (_, reference) in found.items():
        ratios = [own / other for own, other in zip(seconds[name], seconds[reference], strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        milliseconds = 1000 * statistics.median(seconds[name])
        result[name] = (middle, low, high, memory[name] / memory[reference], milliseconds)
    against_torch = {}
    for kind in ("", ", A returned"):
        own, other = seconds[f"MultiHeadAttention{kind}"], seconds[f"nn.MultiheadAttention{kind}"]
        against_torch[kind] = statistics.median(a / b for a, b in zip(own, other, strict=True))
    return result, against_torch


def measure_training(threads: int, rounds: int) -> dict:
    """What -> a training step of ours to one of the reference: median of the ratios, quartiles, milliseconds of ours."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    ours = GPT(**SMALL_GPT)
    models = [ours, PlainGPT(**SMALL_GPT).load(ours)]
    ids, targets = torch.randint(SMALL_GPT["vocabulary"], (2, GPT_BATCH, SMALL_GPT["context"]))
    torch.testing.assert_close(models[0](ids), models[1](ids), rtol=1e-4, atol=1e-4)
    optimizers = [torch.optim.AdamW(model.parameters(), 1e-3, fused=True) for model in models]
    clock = time.process_time if threads == 1 else time.perf_counter

    def train(which: int) -> tuple[float, float]:
        optimizers[which].zero_grad()
        start = clock()
        F.cross_entropy(models[which](ids).flatten(0, 1), targets.flatten()).backward()
        passes = clock()
        optimizers[which].step()
        return passes - start, clock() - start

    seconds = ([], [])
    for turn in range(rounds + 1):
        for which in random.sample((0, 1), 2):
            elapsed = train(which)
            if turn:  # the first is for warming up
                seconds[which].append(elapsed)
    result = {}
    for what, own, other in zip(
        ("forward and backward", "a training step"), *(zip(*s) for s in seconds), strict=True
    ):
        low, middle, high = statistics.quantiles([a / b for a, b in zip(own, other, strict=True)], n=4)
        result[what] = (middle, low, high, 1000 * statistics.median(own))
    return result


def report_layers(options) -> None:
    print(
        f"torch {torch.__version__}, batch {BATCH}, d_model {D_MODEL}, {N_HEADS} heads, forward and backward"
    )
    worst = {}
    if options.gpt_only:
        options.tokens = []

    def note(bar, ratio):
        worst[bar] = max(worst.get(bar, 0), ratio)

    for threads in options.threads:
        for causal in (False, True):
            for n in options.tokens:
                rounds = max(5, options.rounds * 512 // max(n, 512))
                table, against_torch = measure(n, causal, threads, rounds)
                setting = f"n {n}, {'causal, ' if causal else ''}{threads} thread(s)"
                print(f"{setting}, {rounds} rounds: time (quartiles), memory")
                for name, (middle, low, high, memory, milliseconds) in table.items():
                    figures = f"{middle:5.2f} ({low:.2f}-{high:.2f})  {memory:5.2f}   {milliseconds:7.1f} ms"
                    print(f"  {name:35s} {figures}")
                for kind, ratio in against_torch.items():
                    print(f"  MultiHeadAttention{kind} / nn.MultiheadAttention{kind}: {ratio:.2f}")
                    note(f"against torch{kind}", ratio)
                for name in ("MultiHeadAttention", "SingleHeadAttention"):
                    if name in table:
                        note(f"{name}: time", table[name][0])
                        note(f"{name}: memory", table[name][3])
                for kind in KINDS:
                    note(f"{kind}: time", table[f"MultiHeadAttention, {kind}"][0])
                    note(f"{kind}: memory", table[f"MultiHeadAttention, {kind}"][3])
                sys.stdout.flush()
        sizes = ", ".join(f"{k}={v}" for k, v in SMALL_GPT.items())
        print(f"GPT({sizes}), batch {GPT_BATCH}, {threads} thread(s), to the plain one: time (quartiles)")
        for what, (middle, low, high, milliseconds) in measure_training(threads, 2 * options.rounds).items():
            print(f"  {what:35s} {middle:.3f} ({low:.2f}-{high:.2f})   {milliseconds:.1f} ms", flush=True)
            note(f"GPT: {what}", middle)
    print("\nThe bars, and the worst median above:")
    for name, bar in (
        ("against torch", "1.00"),
        ("against torch, A returned", "1.00"),
        ("MultiHeadAttention: time", "1.10 of bare SDPA"),
        ("MultiHeadAttention: memory", "1.10 of bare SDPA"),
        ("SingleHeadAttention: time", "1.10 of bare SDPA"),
        ("SingleHeadAttention: memory", "1.10 of bare SDPA"),
        *((f"{kind}: {what}", "1.05 of its own bare form") for kind in KINDS for what in ("time", "memory")),
        ("GPT: forward and backward", "1.02 of the plain GPT"),
        ("GPT: a training step", "1.02 of the plain GPT"),
    ):
        if name in worst:
            print(f"  {name:30s} {worst[name]:.2f}, bar {bar}")


def network_redraws(browser, folder: Path) -> dict:
    """Case -> (milliseconds of each redraw, what of them the bar is for, the bar): the network for a sentence."""
    from helpers import normal
    from test_live import HEAD, NINE, live, opened, page

    longer = HEAD | {"places": [*HEAD["places"], *HEAD["places"][:3]], "W": normal(12, 12).tolist()}
    cases = {
        "network, nine tokens": (NINE, HEAD),
        "network, twelve tokens": ("The old cat chases the small mouse . I am a student", longer),
    }
    bodies = [
        live("networks", {"sentences": [text], "head": head, "W": head["W"]})._repr_mimebundle_()["text/html"]
        for text, head in cases.values()
    ]
    path = folder / "networks.html"
    path.write_text(page("".join(bodies)), encoding="utf-8")
    with opened(browser, path) as tab:
        times = tab.evaluate("""() => [...document.querySelectorAll("dynattn-live")].map(figure =>
            Array.from({length: 100}, () => {
                const start = performance.now();
                figure.draw();
                figure.getBoundingClientRect();
                return performance.now() - start;
            }))""")
        rows = tab.locator("dynattn-live").evaluate_all(
            "all => all.map(figure => figure.shadowRoot.querySelectorAll('.numbers tbody tr').length)"
        )
    assert rows == [9, 24], "the figures show the weights of their sentences"
    return {name: (found, "median", 16) for name, found in zip(cases, times, strict=True)}


def gpt_redraws(browser, folder: Path) -> dict:
    """The same of a GPT with 3 layers and d_model 96 that reads 64 characters, of which the first or the last changes."""
    from test_live import live, opened, page

    letters = "".join(map(chr, range(97, 97 + 60)))
    layout, payload = export(GPT(60, 64, 96, 4, 3), letters)
    figure = live("gpt", layout | {"text": (letters * 2)[:64]}, payload=payload)
    path = folder / "gpt.html"
    path.write_text(page(figure._repr_mimebundle_()["text/html"]), encoding="utf-8")
    with opened(browser, path) as tab:
        whole, one = tab.evaluate("""() => {
            const figure = document.querySelector("dynattn-live"), input = figure.shadowRoot.querySelector("input");
            const text = input.value, timed = (value) => {
                input.value = value;
                const start = performance.now();
                figure.draw();
                figure.getBoundingClientRect();
                return performance.now() - start;
            };
            return [[0, 63], [63, 64]].map(([from, to]) => Array.from({length: 40}, (_, k) =>
                timed(text.slice(0, from) + "abc"[k % 3] + text.slice(from + 1, to))));
        }""")
    return {"GPT, the whole text": (whole, "least", 100), "GPT, one more character": (one, "least", 33)}


def report_live() -> None:
    # Here, so that the layers can be measured without a browser.
    import conftest
    import pytest

    launched = contextlib.contextmanager(conftest.browser.__wrapped__)  # the tests' own fixture
    print(f"\nLive figures, a redraw: milliseconds (share of a frame of {FRAME:.1f} ms)")
    try:
        with launched() as browser, tempfile.TemporaryDirectory() as folder:
            for redraws in (network_redraws, gpt_redraws):
                for name, (times, which, bar) in redraws(browser, Path(folder)).items():
                    middle, least = statistics.median(times), min(times)
                    figures = f"median {middle:6.2f} ({middle / FRAME:.2f}), least {least:6.2f} ({least / FRAME:.2f})"
                    print(f"  {name:30s} {figures}, bar {bar} for the {which}", flush=True)
    except pytest.skip.Exception as reason:
        print(f"  skipped: {reason}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Attention layers against torch's own, as ratios in one run; live figures against a frame."
    )
    parser.add_argument("--tokens", type=int, nargs="+", default=[128, 512, 1024])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument(
        "--rounds", type=int, default=21, help="passes of each variant (fewer for many tokens)"
    )
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--gpt-only", action="store_true", help="measure the small GPT alone")
    only.add_argument("--live-only", action="store_true", help="measure the live figures alone")
    options = parser.parse_args()
    if not options.live_only:
        report_layers(options)
    if not options.gpt_only:
        report_live()


if __name__ == "__main__":
    main()
