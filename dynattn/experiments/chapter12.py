"""Chapter 12: what attention costs, counted in multiplications, in bytes and in seconds, and ways that cost less."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from dynattn import _checks as check


def tokens(count: int, n: int, seed: int, d: int = 64, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """count random matrices (count, n, d), such as Q, K and V.

    Raises:
        TypeError, ValueError: a size that is not an int of at least 1, seed not one of at least 0, or dtype of another kind.
    """
    check.require_sizes(count=count, n=n, d=d)
    check.require_int("seed", seed, at_least=0, at_most=2**62)
    if not isinstance(dtype, torch.dtype) or dtype not in (torch.float32, torch.float64):
        raise ValueError(f"dtype: got {dtype!r}, expected torch.float32 or torch.float64")
    return torch.randn(count, n, d, generator=torch.Generator().manual_seed(int(seed)), dtype=dtype)


def multiplications(f: Callable[[], object]) -> int:
    """How many multiplications of two numbers f() does in matrix products; softmaxes are not counted."""
    check.require_callable("f", f, "a function without arguments")
    with FlopCounterMode(display=False) as counter:
        f()
    return counter.get_total_flops() // 2  # PyTorch counts each multiplication with the addition after it


def peak(f: Callable[[], object]) -> int:
    """The most bytes that PyTorch holds at one moment while f() runs, beyond those that it held before.

    Read from PyTorch's own record of what it takes and gives back: so it hardly differs from machine to machine.
    """
    check.require_callable("f", f, "a function without arguments")
    own_stderr = os.dup(2)
    try:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 2)  # the profiler announces itself there
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
            f()
    finally:
        os.dup2(own_stderr, 2)
        os.close(own_stderr)
    held = most = 0
    for event in sorted(record.profiler.kineto_results.events(), key=lambda event: event.start_ns()):
        if event.name() == "[memory]":
            held += event.nbytes()
            most = max(most, held)
    return most


def seconds(ways: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """The fastest of some rounds of each way, which run in turn: other work of the machine can only slow them down.

    Args:
        ways: name -> a function without arguments.
        rounds: how often each runs, after once to warm up.

    Raises:
        TypeError, ValueError: ways are no dict of functions, or rounds is not an int of at least 1.
    """
    check.require_sizes(rounds=rounds)
    check.require_kind("ways", ways, dict, "a dict: name -> function without arguments")
    best = {}
    for way in ways.values():
        check.require_callable("ways", way, "a dict: name -> function without arguments")
    for way in ways.values():
        way()  # once to warm up
    for _ in range(rounds):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            best[name] = min(best.get(name, float("inf")), time.perf_counter() - start)
    return best


def chunked(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, size: int = 128, causal: bool = False
) -> torch.Tensor:
    """``attention(q, k, v)`` with at most (n, size) computed weights in being at any moment.

    Args:
        q, k, v: (n, d_head), (n_k, d_head), (n_k, d_v); n_k = n if causal.
        size: keys at a time.
        causal: whether token i may look only at tokens 0..i.

    Returns:
        (n, d_v).

    Raises:
        TypeError, ValueError: an argument of another kind or shape.

    Source: Rabe and Staats 2021; the running softmax is that of Milakov and Gimelshein 2018.
    """
    check.require_qkv(q, k, v, None, None)
    for name, x in (("q", q), ("k", k), ("v", v)):
        if x.ndim != 2 or not isinstance(x, torch.Tensor):
            raise ValueError(f"{name}: got shape {check.shape_of(x)}, expected a tensor of (n, d)")
    check.require_sizes(size=size)
    check.require_bool("causal", causal)
    if causal and len(q) != len(k):
        raise ValueError(f"q, k: got {len(q)} queries and {len(k)} keys, expected as many when causal")
    q, place = q / q.shape[-1] ** 0.5, torch.arange(len(k), device=k.device)
    largest = q.new_full((len(q), 1), torch.finfo(q.dtype).min)  # as low as a number can be
    total, output = torch.zeros_like(largest), q.new_zeros(len(q), v.shape[-1])
    for seen in place.split(int(size)):
        logits = q @ k[seen].T
        if causal:
            logits = logits.masked_fill(seen > place[: len(q), None], -torch.inf)
        new = torch.maximum(largest, logits.amax(-1, keepdim=True))
        keep, A = (largest - new).exp(), (logits - new).exp()  # A: this chunk's columns, not yet divided
        total = keep * total + A.sum(-1, keepdim=True)
        output, largest = keep * output + A @ v[seen], new
    output = output / total
    check.require_finite_result(output, q=q, k=k, v=v)
    return output


@dataclass(frozen=True)
class Sizes:
    """The published sizes of a model: heads are d_head wide, an MLP has ``matrices`` of d by hidden."""

    name: str
    layers: int
    d_model: int
    n_heads: int
    n_kv_heads: int
    d_head: int
    hidden: int
    matrices: int
    vocabulary: int
    tied: bool
    context: int

    @property
    def block(self) -> int:
        """The learned numbers of a block, without biases and norms; each is multiplied once for each token."""
        attention = 2 * (self.n_heads + self.n_kv_heads) * self.d_head * self.d_model
        return attention + self.matrices * self.d_model * self.hidden

    @property
    def stored(self) -> int:
        """The learned numbers of the model, without biases, norms and positions."""
        return self.layers * self.block + (1 if self.tied else 2) * self.vocabulary * self.d_model

    @property
    def learned_work(self) -> int:
        """Multiplications by learned numbers for one token, the readout included."""
        return self.layers * self.block + self.vocabulary * self.d_model

    def computed_work(self, n: int) -> float:
        """Multiplications that write computed weights and use them, for one of n tokens on average, masked ones left out."""
        return self.layers * 2 * self.n_heads * self.d_head * (n + 1) / 2

    def kept(self, n: int) -> int:
        """The numbers in the keys and values of n tokens."""
        return self.layers * 2 * self.n_kv_heads * self.d_head * n


# Brown et al. 2020, table 2.1 (its vocabulary is GPT-2's); Grattafiori et al. 2024, table 3, with the vocabulary and the
# longest context of the published configuration.
GPT3 = Sizes("GPT-3", 96, 12288, 96, 96, 128, 4 * 12288, 2, 50257, True, 2048)
LLAMA_8B = Sizes("Llama 3.1 8B", 32, 4096, 32, 8, 128, 14336, 3, 128256, False, 131072)
LLAMA_405B = Sizes("Llama 3.1 405B", 126, 16384, 128, 8, 128, 53248, 3, 128256, False, 131072)
