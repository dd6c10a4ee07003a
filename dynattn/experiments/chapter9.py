"""Chapter 9: a small GPT that writes names in sixteen languages, its rivals, and its twins with other matrices."""

import argparse
import json
import multiprocessing
import os
import platform
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from dynattn import _checks as check
from dynattn.attention import MultiHeadAttention
from dynattn.corpora import END, LANGUAGES, Characters, names, sequences, split
from dynattn.counting import NGram
from dynattn.training import fit
from dynattn.transformer import GPT, surprise

CONTEXT, BATCH, N_HEADS = 64, 8, 4
# The GPT of the chapter, and the smaller models that are compared. Learning rates of 2, 4 and 6 thousandths for the first and
# of 3, 5 and 8 for the others were compared on held-out names; none was clearly better for any of them.
LARGE = {"d_model": 96, "n_layers": 3, "steps": 1300, "rate": 4e-3}
SMALL = {"d_model": 64, "n_layers": 2, "steps": 650, "rate": 5e-3}
# How a model's matrices come about, and how it knows of places.
KINDS = {
    "no mixing": "absolute",
    "static": "absolute",
    "computed": "absolute",
    "computed, rotary": "rotary",
    "both": "absolute",
}
ORDERS, DISCOUNTS = (4, 5, 6, 7), (0.75, 0.9)


@dataclass(frozen=True)
class Names:
    """Names in sixteen languages: ``training`` and ``held_out``, each language -> names; the ``characters``; and texts of 65
    characters of held-out names, ``test`` (300, 65) with their ``languages`` (300,), and of learned ones, ``learned`` (300, 65)."""

    training: dict[str, list[str]]
    held_out: dict[str, list[str]]
    characters: Characters
    test: torch.Tensor
    languages: torch.Tensor
    learned: torch.Tensor


def material(seed: int) -> Names:
    """The names of the chapter; a tenth of all different ones is held out.

    Raises:
        TypeError, ValueError: seed is not an int of at least 0.
    """
    pools = {language: names(language) for language in LANGUAGES}
    training, held_out = split(pools, _generator(seed, 10))
    characters = Characters([name for pool in pools.values() for name in pool])
    test, languages = sequences(held_out, characters, 300, CONTEXT + 1, _generator(seed, 11))
    learned, _ = sequences(training, characters, 300, CONTEXT + 1, _generator(seed, 12))
    return Names(training, held_out, characters, test, languages, learned)


def _generator(seed, stream):
    check.require_int("seed", seed, at_least=0, at_most=2**62)
    return torch.Generator().manual_seed(int(seed) + 1000 * stream)


def table(
    pools: dict[str, list[str]], characters: Characters, order: int, discount: float, seed: int
) -> NGram:
    """A table of counts of all names, in random order, with ``END`` before, between and after them.

    Args:
        pools: language -> names.
        characters: the vocabulary.
        order, discount: as in :class:`~dynattn.counting.NGram`.
        seed: of the order.

    Raises:
        TypeError, ValueError: an argument of another kind or out of its range.
    """
    check.require_kind("pools", pools, dict, "a dict: language -> list of names")
    check.require_kind("characters", characters, Characters, "the vocabulary, of Characters")
    generator, every = _generator(seed, 15), []
    for pool in pools.values():
        check.require_kind("pools", pool, list, "a dict: language -> list of names")
        for name in pool:
            check.require_kind("pools", name, str, "a dict: language -> list of names")
        every += [pool[i] for i in torch.randperm(len(pool), generator=generator).tolist()]
    text = END + END.join(every) + END
    return NGram(characters.encode(text), len(characters), order, discount)


def best_table(found: Names, seed: int) -> tuple[NGram, dict[int, float]]:
    """The table of counts with the best order and discount, chosen on a tenth of the training names and made anew from all.

    Returns:
        (table, loss): the table, and the loss on the names put aside of the best discount, by order.

    Raises:
        TypeError, ValueError: found is not what :func:`material` returns, or seed is not an int of at least 0.
    """
    check.require_kind("found", found, Names, "what material() returns")
    most, aside = split(found.training, _generator(seed, 13))
    rows, _ = sequences(aside, found.characters, 200, CONTEXT + 1, _generator(seed, 14))
    tried = {
        (order, discount): table(most, found.characters, order, discount, seed).surprise(rows).mean().item()
        for order in ORDERS
        for discount in DISCOUNTS
    }
    order, discount = min(tried, key=tried.get)
    loss = {k: min(value for (of, _), value in tried.items() if of == k) for k in ORDERS}
    return table(found.training, found.characters, order, discount, seed), loss


class Twin(MultiHeadAttention):
    """Attention whose logits are learned numbers, one for each head and distance; computed ones are added, or there are none.

    Args:
        like: the attention whose sizes and parameters it starts from.
        computed: whether logits are computed as well.

    Raises:
        TypeError: like is no :class:`~dynattn.attention.MultiHeadAttention`, or computed no bool.
    """

    def __init__(self, like: MultiHeadAttention, computed: bool):
        check.require_kind("like", like, MultiHeadAttention, "a MultiHeadAttention")
        check.require_bool("computed", computed)
        super().__init__(like.d_model, like.n_heads, causal=True)
        self.load_state_dict(like.state_dict())  # the same start
        self.W_distance = nn.Parameter(torch.zeros(like.n_heads, CONTEXT))
        self.computed = computed
        if not computed:
            del self.W_Q, self.W_K

    def weights(self, x: torch.Tensor) -> torch.Tensor:
        """x (..., n, d_model), n at most 64 -> A, (n_heads, n, n) if nothing is computed and (..., n_heads, n, n) else."""
        logits = self._by_distance(x)
        if self.computed:
            return super().weights(x, mask=logits[(None,) * (x.dim() - 2)])
        place = torch.arange(x.shape[-2], device=x.device)
        return logits.masked_fill(place[:, None] < place, -torch.inf).softmax(-1)

    def forward(self, x, mask=None):
        """x (..., n, d_model), n at most 64 -> the same shape; raises as :class:`~dynattn.attention.MultiHeadAttention`."""
        if self.computed:
            return super().forward(x, mask=self._by_distance(x)[(None,) * (x.dim() - 2)])
        return self.mix(self.weights(x), x)

    def _by_distance(self, x):
        """The learned logits (n_heads, n, n)."""
        check.require_tokens("x", x, width=self.d_model, like=self.W_distance)
        if not 1 <= x.shape[-2] <= CONTEXT:
            raise ValueError(
                f"x: got shape {check.shape_of(x)}, expected (..., n, {self.d_model}), n from 1 to {CONTEXT}"
            )
        place = torch.arange(x.shape[-2], device=x.device)
        # 30, of 10, 30 and 100: so that they learn as fast as the rest
        return 30 * self.W_distance[:, (place[:, None] - place).clamp(min=0)]


class OwnToken(MultiHeadAttention):
    """Every token reads itself alone: nothing is mixed.

    Args:
        like: as in :class:`Twin`.
    """

    def __init__(self, like: MultiHeadAttention):
        check.require_kind("like", like, MultiHeadAttention, "a MultiHeadAttention")
        super().__init__(like.d_model, like.n_heads, causal=True)
        self.load_state_dict(like.state_dict())
        del self.W_Q, self.W_K

    def weights(self, x: torch.Tensor) -> torch.Tensor:
        """x (..., n, d_model) -> A (n_heads, n, n), the identity for each head."""
        check.require_tokens("x", x, width=self.d_model, like=self.W_V.weight)
        return torch.eye(x.shape[-2], dtype=x.dtype, device=x.device).expand(self.n_heads, -1, -1)

    def forward(self, x, mask=None):
        """x (..., n, d_model) -> the same shape."""
        check.require_tokens("x", x, width=self.d_model, like=self.W_V.weight)
        y = self.W_O(self.W_V(x))
        check.require_finite_result(y, x=x)
        return y


def make(kind: str, characters: int, d_model: int, n_layers: int, seed: int) -> GPT:
    """A GPT whose matrices come about in one of the ways of ``KINDS``; what they share starts alike.

    Args:
        kind: an entry of ``KINDS``.
        characters: the number of characters.
        d_model, n_layers: its sizes; it has 4 heads.
        seed: of the parameters; torch's global generator is left as it was.

    Raises:
        TypeError, ValueError: another kind, a size that is not an int of at least 1 or no multiple of 4, or seed not one of at
            least 0.
    """
    check.require_choice("kind", kind, tuple(KINDS))
    check.require_sizes(characters=characters, d_model=d_model, n_layers=n_layers)
    check.require_divisor("d_model", N_HEADS, d_model=d_model)
    check.require_int("seed", seed, at_least=0, at_most=2**62)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(seed))
        model = GPT(characters, CONTEXT, d_model, N_HEADS, n_layers)
        if KINDS[kind] != "absolute":
            own = {name: value for name, value in model.state_dict().items() if name != "places.weight"}
            model = GPT(characters, CONTEXT, d_model, N_HEADS, n_layers, positions=KINDS[kind])
            model.load_state_dict(own)
    for block in model.blocks:
        if kind == "no mixing":
            block.attention = OwnToken(block.attention)
        elif kind in ("static", "both"):
            block.attention = Twin(block.attention, computed=kind == "both")
    return model


def train(model: GPT, found: Names, seed: int, steps: int, rate: float, label: str = "GPT") -> list[float]:
    """Train a model on texts of 65 characters, 8 at a time, each of names of one language; in place.

    Args:
        model: the GPT.
        found: what :func:`material` returns.
        seed: of the batches.
        steps, rate, label: as in :func:`~dynattn.training.fit`.

    Returns:
        The loss of each step.

    Raises:
        TypeError, ValueError: an argument of another kind, or the training went wrong.
    """
    check.require_kind("model", model, GPT, "a GPT")
    check.require_kind("found", found, Names, "what material() returns")
    device = next(model.parameters()).device

    def batches(generator):
        ids, _ = sequences(found.training, found.characters, BATCH, CONTEXT + 1, generator)
        return ids[:, :-1].to(device), ids[:, 1:].to(device)

    def loss(logits, targets):
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())

    return fit(model, batches, loss, steps=steps, lr=rate, seed=seed, label=label)


# ------------------------------------------------------------------------------------------------ longer trainings

RECORDS = Path(__file__).with_suffix(".json")


def longer() -> dict:
    """The records of longer trainings from several starts, which ``python -m dynattn.experiments.chapter9`` makes.

    Returns:
        "made" (the day), "machine", "torch" (its version), and "runs": for each one "kind", "steps", "seed" and "loss", the mean
        loss on held-out names in nats per character. The seed is that of the names kept out, of the start and of the batches.
        The kind "counts" is the best table, which takes no steps.
    """
    return json.loads(RECORDS.read_text(encoding="utf-8"))


def _run(job):
    kind, steps, seed = job
    torch.set_num_threads(1)
    found = material(seed)
    if kind == "counts":
        loss = best_table(found, seed)[0].surprise(found.test)
    else:
        model = make(kind, len(found.characters), SMALL["d_model"], SMALL["n_layers"], seed)
        train(model, found, seed, steps, SMALL["rate"], label=kind)
        loss = surprise(model, found.test)
    return {"kind": kind, "steps": steps, "seed": seed, "loss": round(loss.mean().item(), 4)}


def _main():
    parser = argparse.ArgumentParser(
        description="Train the small models of chapter 9 for longer, and keep what they lose."
    )
    parser.add_argument("--steps", type=int, nargs="+", default=[650, 2600, 5200])
    parser.add_argument("--seeds", type=int, default=10, help="starts, from seed 0 on")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="models that are trained at a time")
    options = parser.parse_args()
    seeds, orders = range(options.seeds), ["counts", *KINDS]
    jobs = [(kind, steps, seed) for steps in sorted(options.steps)[::-1] for seed in seeds for kind in KINDS]
    jobs += [("counts", 0, seed) for seed in seeds]
    runs = []
    with multiprocessing.get_context("spawn").Pool(options.jobs) as pool:
        for run in pool.imap_unordered(_run, jobs):
            runs.append(run)
            print(
                f"{len(runs)} of {len(jobs)}: {run['kind']}, {run['steps']} steps, seed {run['seed']}: {run['loss']:.3f}",
                flush=True,
            )
    runs.sort(key=lambda run: (run["steps"], run["seed"], orders.index(run["kind"])))
    machine = f"{platform.system()}, {platform.machine()}, one core per model"
    records = {
        "made": date.today().isoformat(),
        "machine": machine,
        "torch": torch.__version__.partition("+")[0],
        "runs": runs,
    }
    RECORDS.write_text(json.dumps(records, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    _main()
