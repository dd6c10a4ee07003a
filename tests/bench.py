"""Measure the attention layers against torch's own: ``make bench``, or ``python tests/bench.py --help``.

Forward and backward pass of self-attention, float32. All variants hold the same parameters and run
interleaved, in an order drawn anew each round, so that a busy machine slows all of them alike; a figure is
the median, over the rounds, of the ratio to the reference of the same round. Memory is the most that torch
holds at one moment of a pass, beyond the parameters and the input. Time is the processor's for one thread, which
others on the machine hardly disturb, and the wall clock's for more: believe those on an idle machine only.
"""

import argparse
import contextlib
import os
import random
import statistics
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn
from torch.profiler import ProfilerActivity, profile

from dynattn.attention import MultiHeadAttention, SingleHeadAttention

BATCH, D_MODEL, N_HEADS = 8, 256, 8


class Bare(nn.Module):
    """The reference: projections, ``F.scaled_dot_product_attention`` and nothing else."""

    def __init__(self, layer, n_heads: int, causal: bool):
        super().__init__()
        self.layer, self.n_heads, self.causal = layer, n_heads, causal

    def forward(self, x):
        batch, n, d_model = x.shape
        q, k, v = (
            W(x).view(batch, n, self.n_heads, -1).transpose(1, 2)
            for W in (self.layer.W_Q, self.layer.W_K, self.layer.W_V)
        )
        y = (
            F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
            .transpose(1, 2)
            .reshape(batch, n, -1)
        )
        return self.layer.W_O(y) if hasattr(self.layer, "W_O") else y


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
        "bare SDPA": (Bare(ours, N_HEADS, causal), "bare SDPA"),
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
        found["bare SDPA, one head"] = (Bare(single, 1, False), "bare SDPA, one head")
        found["SingleHeadAttention"] = (single, "bare SDPA, one head")
    return found


def step(f, x) -> float:
    """Seconds of one forward and backward pass."""
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    x = x.detach().requires_grad_()
    start = clock()
    f(x).sum().backward()
    return clock() - start


@contextlib.contextmanager
def silent():
    """The profiler reports its start and end on the process's own standard error."""
    kept = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def peak(f, x) -> int:
    """The most bytes held at one moment of a pass, from the allocator's own record."""
    with silent(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        step(f, x)
    held = most = 0
    for event in sorted(record.profiler.kineto_results.events(), key=lambda event: event.start_ns()):
        if event.name() == "[memory]":
            held += event.nbytes()
            most = max(most, held)
    return most


def measure(n: int, causal: bool, threads: int, rounds: int) -> tuple[dict, dict]:
    """Name -> (time ratio, its quartiles, memory ratio, milliseconds); kind -> that to torch's layer."""
    torch.set_num_threads(threads)
    found = variants(n, causal)
    x = torch.randn(BATCH, n, D_MODEL)
    for f, _ in found.values():
        step(f, x)
    memory = {name: peak(f, x) for name, (f, _) in found.items()}
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


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Attention layers against torch's own, as ratios in one run."
    )
    parser.add_argument("--tokens", type=int, nargs="+", default=[128, 512, 1024])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument(
        "--rounds", type=int, default=21, help="passes of each variant (fewer for many tokens)"
    )
    options = parser.parse_args()
    print(
        f"torch {torch.__version__}, batch {BATCH}, d_model {D_MODEL}, {N_HEADS} heads, forward and backward"
    )
    worst = {}

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
                sys.stdout.flush()
    print("\nThe bars, and the worst median above:")
    for name, bar in (
        ("against torch", "1.00"),
        ("against torch, A returned", "1.00"),
        ("MultiHeadAttention: time", "1.10 of bare SDPA"),
        ("MultiHeadAttention: memory", "1.10 of bare SDPA"),
        ("SingleHeadAttention: time", "1.10 of bare SDPA"),
        ("SingleHeadAttention: memory", "1.10 of bare SDPA"),
    ):
        if name in worst:
            print(f"  {name:30s} {worst[name]:.2f}, bar {bar}")


if __name__ == "__main__":
    main()
