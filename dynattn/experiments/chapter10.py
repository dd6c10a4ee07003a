"""Chapter 10: two small GPTs that read names in five languages, and swaps of what they compute between texts."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from dynattn import _checks as check
from dynattn.corpora import END, Characters, names, sequences, split
from dynattn.statistics import LEVEL, explained
from dynattn.training import fit
from dynattn.transformer import GPT

CODES = ("en", "es", "fi", "tr", "pl")
CONTEXT, PROBE, NAME = (
    40,
    8,
    6,
)  # characters: names of one language; a probe and its semicolon; the start of a new name
CASES = len(CODES) - 1  # for each name
TEXT, BATCH, CONTEXTS = 64, 16, 80  # of a training text; texts in a step; contexts of each language
STEPS, RATE = 800, 6e-3


@dataclass(frozen=True)
class Names:
    """What the chapter reads.

    ``pools`` and ``training``, each language -> names; the ``characters``; eight ``probes``, names of seven letters that are
    spelt alike in all five languages, the first four kept out of training; ``texts`` (12000, 64) to train on; ``contexts``
    (5, 80, 40), names that only one language has, the last of them complete; ``names``, held-out names that only one language
    has, and that begin as no name in training does; and ``cases``, each (4 * names, 54): context, probe, and the first six letters of a name. The context is in the name's language
    in "own" and "same", in one other language, each in turn, in "other" and "foreign", each time a different one; "elsewhere" is "same" of a
    different name and probe.
    """

    pools: dict[str, list[str]]
    training: dict[str, list[str]]
    characters: Characters
    probes: list[str]
    texts: torch.Tensor
    contexts: torch.Tensor
    names: list[str]
    cases: dict[str, torch.Tensor]


def material(seed: int) -> Names:
    """The names, contexts and cases of the chapter.

    Raises:
        TypeError, ValueError: seed is not an int of at least 0.
    """
    pools = {code: names(code) for code in CODES}
    shared = sorted(name for name in set.intersection(*map(set, pools.values())) if len(name) == PROBE - 1)
    order = torch.randperm(len(shared), generator=_generator(seed, 1)).tolist()
    probes = [shared[place] for place in order[:8]]
    training, held_out = split(pools, _generator(seed, 2))
    training = {code: [name for name in pool if name not in probes[:4]] for code, pool in training.items()}
    characters = Characters([END.join(pool) for pool in pools.values()])
    texts, _ = sequences(training, characters, 12_000, TEXT, _generator(seed, 4))
    elsewhere = {code: set().union(*(pools[other] for other in CODES if other != code)) for code in CODES}
    only = {code: [name for name in training[code] if name not in elsewhere[code]] for code in CODES}
    contexts = [
        _contexts(only[code], characters, _generator(seed, 20 + place)) for place, code in enumerate(CODES)
    ]
    contexts = torch.stack(contexts)
    starts = {name[:NAME] for pool in training.values() for name in pool}
    own = [
        (place, name)
        for place, code in enumerate(CODES)
        for name in held_out[code]
        if len(name) >= NAME and name not in elsewhere[code] and name[:NAME] not in starts
    ]
    cases = _cases(own * CASES, probes, contexts, characters, _generator(seed, 5))
    return Names(pools, training, characters, probes, texts, contexts, [name for _, name in own], cases)


def _generator(seed, stream):
    check.require_int("seed", seed, at_least=0, at_most=2**62)
    return torch.Generator().manual_seed(int(seed) + 1000 * stream)


def _contexts(pool, characters, generator):
    """Different texts of exactly CONTEXT characters (CONTEXTS, CONTEXT): names are drawn until the length fits, or again."""
    rows = {}
    while len(rows) < CONTEXTS:
        text = ""
        while len(text) < CONTEXT:
            text += pool[int(torch.randint(len(pool), (1,), generator=generator))] + END
        if len(text) == CONTEXT:
            rows[text] = characters.encode(text)
    return torch.stack(list(rows.values()))


def _cases(own, probes, contexts, characters, generator):
    rows = {"own": [], "same": [], "other": [], "foreign": []}
    for case, (a, name) in enumerate(own):
        b = (a + 1 + case * CASES // len(own)) % len(CODES)  # each of the other languages once for each name
        probe = probes[int(torch.randint(len(probes), (1,), generator=generator))]
        end = characters.encode(probe + END + name[:NAME])
        first, second = torch.randperm(CONTEXTS, generator=generator)[:2].tolist()
        for which, (language, row) in zip(rows, ((a, first), (a, second), (b, first), (b, second))):
            rows[which].append(torch.cat([contexts[language, row], end]))
    cases = {which: torch.stack(of) for which, of in rows.items()}
    cases["elsewhere"] = cases["same"][_partners(own, cases["same"])]
    return cases


def _partners(own, ids):
    """For each case one in the same language whose probe and whose name begin differently, a different one each time (cases,)."""
    found = []
    for case, (a, _) in enumerate(own):
        first = case + 1 + 7 * (case * CASES // len(own))
        found.append(
            next(
                other % len(own)
                for other in range(first, first + len(own))
                if own[other % len(own)][0] == a
                and (
                    ids[case, [CONTEXT, CONTEXT + PROBE]] != ids[other % len(own), [CONTEXT, CONTEXT + PROBE]]
                ).all()
            )
        )
    return torch.tensor(found)


def make(found: Names, seed: int, positions: str = "absolute") -> GPT:
    """A GPT of three layers of four heads, before training; torch's global generator is left as it was.

    Args:
        found: what :func:`material` returns.
        seed: of the parameters.
        positions: as in :class:`~dynattn.transformer.GPT`. Absolute ones start as waves of many lengths (Vaswani et al. 2017,
            section 3.5), which makes the training faster.

    Raises:
        TypeError, ValueError: found is not what :func:`material` returns, or seed is not an int of at least 0; or positions are
            of another kind.
    """
    check.require_kind("found", found, Names, "what material() returns")
    check.require_int("seed", seed, at_least=0, at_most=2**62)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(seed))
        model = GPT(len(found.characters), TEXT, 64, 4, 3, positions=positions)
    if model.places is None:
        return model
    angle = torch.arange(TEXT)[:, None] * 1000 ** (-torch.arange(32) / 32)
    with torch.no_grad():
        model.places.weight.copy_(torch.cat([angle.sin(), angle.cos()], dim=1) / 10)
    return model


def train(model: GPT, found: Names, seed: int, label: str = "GPT") -> list[float]:
    """Train a model on texts of names of one language each; in place. Returns the loss of each step.

    Raises:
        TypeError, ValueError: an argument of another kind, or the training went wrong.
    """
    check.require_kind("model", model, GPT, "a GPT")
    check.require_kind("found", found, Names, "what material() returns")
    texts = found.texts.to(next(model.parameters()).device)

    def batches(generator):
        ids = texts[torch.randint(len(texts), (BATCH,), generator=generator)]
        return ids[:, :-1], ids[:, 1:]

    def loss(logits, targets):
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())

    return fit(model, batches, loss, steps=STEPS, lr=RATE, seed=seed, label=label)


# ------------------------------------------------------------------------------------------------------ swaps


def inner(A: torch.Tensor, p: int) -> torch.Tensor:
    """The weights among the last p tokens, each row divided by its sum: A (..., n, n) -> (..., p, p).

    Raises:
        TypeError, ValueError: A is not (..., n, n), or p not an int from 1 to n.
    """
    check.require_tensor("A", A)
    if A.dim() < 2 or A.shape[-1] != A.shape[-2]:
        raise ValueError(f"A: got shape {check.shape_of(A)}, expected (..., n, n)")
    check.require_int("p", p, at_least=1, at_most=A.shape[-1])
    block = A[..., -p:, -p:]
    rows = block / block.sum(-1, keepdim=True)
    check.require_finite_result(rows, A=A)
    return rows


def queries(model: GPT, ids: torch.Tensor) -> list[torch.Tensor]:
    """The queries of each layer for ids (texts, n), all heads side by side: (texts, n, d_model) each."""
    check.require_kind("model", model, GPT, "a GPT")
    kept = []
    _with_queries(model, ids, lambda layer, own: kept.append(own))
    return kept


def _with_queries(model, ids, change, first=0):
    """The logits for ids, where the queries of each layer from ``first`` on are change(layer, own); None leaves them."""

    def hook_of(layer):
        return lambda W_Q, inputs, own: change(layer, own)

    layers = list(enumerate(model.blocks))[first:]
    hooks = [block.attention.W_Q.register_forward_hook(hook_of(layer)) for layer, block in layers]
    try:
        return model(ids)
    finally:
        for hook in hooks:
            hook.remove()


def _after_context(own, other):
    """The rows of ``other`` after the context, those of ``own`` before: (..., n, anything) both."""
    return torch.cat([own[..., :CONTEXT, :], other[..., CONTEXT:, :]], dim=-2)


def lend_rows(model: GPT, ids: torch.Tensor, lender: torch.Tensor) -> torch.Tensor:
    """The logits for ids (texts, n), where in all layers the rows of A after the context are those of lender (texts, n).

    Raises:
        TypeError, ValueError: model is no GPT, or ids and lender are not two sets of texts of the same shape, longer than the
            context of 40.
    """
    _require_lender(model, ids, lender)
    B = model.weights(lender)
    return model(ids, edit=lambda layer, A: _after_context(A, B[:, layer]))


def lend_queries(
    model: GPT, ids: torch.Tensor, lender: torch.Tensor, dose: float = 1, first: int = 0
) -> torch.Tensor:
    """The same with queries: after the context the lender's meet the keys of ids, and so write rows for the text that is read.

    Args:
        model, ids, lender: as in :func:`lend_rows`.
        dose: how far the queries move from those of ids (0) to those of the lender (1), and beyond.
        first: the first layer in which they are lent, from 0.

    Raises:
        TypeError, ValueError: as :func:`lend_rows`; or dose is not a number from 0 to 100, or first not an int from 0.
    """
    _require_lender(model, ids, lender, first)
    check.require_number("dose", dose, at_least=0, at_most=100)
    kept = queries(model, lender)
    return _with_queries(
        model, ids, lambda layer, own: _after_context(own, own.lerp(kept[layer], dose)), first
    )


def ask_nonsense(model: GPT, ids: torch.Tensor, lender: torch.Tensor, first: int = 0) -> torch.Tensor:
    """The logits for ids, where in each head the queries after the context point in random directions, as long as they were.

    Args:
        model, ids, lender: as in :func:`lend_rows`; nothing is lent.
        first: the first layer in which they do, from 0.

    Raises:
        TypeError, ValueError: as :func:`lend_rows`; or first is not an int from 0.
    """
    _require_lender(model, ids, lender, first)
    heads, own = model.blocks[0].attention.n_heads, queries(model, ids)[0]
    noise = torch.randn(own.shape, generator=torch.Generator().manual_seed(0)).to(own)
    noise = F.normalize(noise.unflatten(-1, (heads, -1)), dim=-1)

    def ask(layer, own):
        length = own.unflatten(-1, (heads, -1)).norm(dim=-1, keepdim=True)
        return _after_context(own, (noise * length).flatten(-2))

    return _with_queries(model, ids, ask, first)


def lend_inner(model: GPT, ids: torch.Tensor, lender: torch.Tensor, first: int = 0) -> torch.Tensor:
    """The same with the weights among the tokens after the context only; how much each row gives to the context stays.

    Args:
        model, ids, lender: as in :func:`lend_rows`.
        first: the first layer in which they are lent, from 0.

    Raises:
        TypeError, ValueError: as :func:`lend_rows`; or first is not an int from 0.
    """
    _require_lender(model, ids, lender, first)
    B = model.weights(lender)

    def edit(layer, A):
        if layer < first:
            return A
        p = A.shape[-1] - CONTEXT
        within = A.clone()
        within[..., CONTEXT:, CONTEXT:] = inner(B[:, layer], p) * A[..., CONTEXT:, CONTEXT:].sum(
            -1, keepdim=True
        )
        return within

    return model(ids, edit=edit)


def lend_all(model: GPT, ids: torch.Tensor, lender: torch.Tensor) -> torch.Tensor:
    """The logits for ids with all matrices of lender, chapter 2's transplant in every layer; raises as :func:`lend_rows`."""
    _require_lender(model, ids, lender)
    return model.mix(model.weights(lender), ids)


def read(model: GPT, ids: torch.Tensor, lender: torch.Tensor) -> torch.Tensor:
    """The logits for ids; nothing is lent. Raises as :func:`lend_rows`."""
    _require_lender(model, ids, lender)
    return model(ids)


def read_evenly(model: GPT, ids: torch.Tensor, lender: torch.Tensor) -> torch.Tensor:
    """The logits for ids, where the characters after the context read it evenly: in each row as much as before, and of each
    character as much as of every other. Nothing is lent; raises as :func:`lend_rows`."""
    _require_lender(model, ids, lender)

    def edit(layer, A):
        even = A.clone()
        even[..., CONTEXT:, :CONTEXT] = A[..., CONTEXT:, :CONTEXT].mean(-1, keepdim=True)
        return even

    return model(ids, edit=edit)


def read_nothing_before(model: GPT, ids: torch.Tensor, lender: torch.Tensor) -> torch.Tensor:
    """The logits for ids, where the characters after the context read one another only, each row divided by its sum.
    Nothing is lent; raises as :func:`lend_rows`."""
    _require_lender(model, ids, lender)

    def edit(layer, A):
        alone = A.clone()
        alone[..., CONTEXT:, :CONTEXT] = 0
        alone[..., CONTEXT:, CONTEXT:] = inner(A, A.shape[-1] - CONTEXT)
        return alone

    return model(ids, edit=edit)


def _require_lender(model, ids, lender, first=0):
    check.require_kind("model", model, GPT, "a GPT")
    for name, of in (("ids", ids), ("lender", lender)):
        check.require_indices(name, of, below=model.vocabulary, of=", the vocabulary")
    if (
        ids.shape != lender.shape
        or ids.dim() != 2
        or not CONTEXT < ids.shape[-1] <= model.context
        or not len(ids)
    ):
        raise ValueError(
            f"ids, lender: got shapes {check.shape_of(ids)} and {check.shape_of(lender)}, expected twice the same (texts, n), "
            f"n from {CONTEXT + 1} to {model.context}"
        )
    check.require_int("first", first, at_least=0)


@torch.no_grad()
def losses(
    models: list[GPT], lend: Callable, ids: torch.Tensor, lender: torch.Tensor | None = None
) -> torch.Tensor:
    """The loss at the letters of the last name, in nats per letter: one mean over its four cases for each model and name.

    Args:
        models: GPTs.
        lend: one of the functions above: lend(model, ids, lender) -> logits.
        ids, lender: cases (4 * names, 54); lender is ids if None.

    Returns:
        (models, names), on the CPU.

    Raises:
        TypeError, ValueError: models are no list of GPTs, lend is no function that returns their logits, or ids and lender do
            not fit.
    """
    check.require_callable("lend", lend, "a function of a model and two sets of texts")
    check.require_kind("models", models, (list, tuple), "a list of GPTs")
    if not models:
        raise ValueError("models: got none, expected at least one GPT")
    lender, found = ids if lender is None else lender, []
    for model in models:
        _require_lender(model, ids, lender)
        if len(ids) % CASES or ids.shape[1] <= CONTEXT + NAME:
            raise ValueError(
                f"ids: got shape {check.shape_of(ids)}, expected ({CASES} * names, n), n above {CONTEXT + NAME}"
            )
        device = next(model.parameters()).device
        parts = [lend(model, a.to(device), b.to(device)) for a, b in zip(ids.split(60), lender.split(60))]
        for logits, part in zip(parts, ids.split(60)):
            expected = (*part.shape, model.vocabulary)
            if not isinstance(logits, torch.Tensor) or logits.shape != expected:
                got = check.shape_of(logits) if isinstance(logits, torch.Tensor) else type(logits).__name__
                raise ValueError(f"lend: got {got}, expected logits {expected}")
        at_name, name = torch.cat(parts)[:, -NAME - 1 : -1].mT, ids[:, -NAME:].long().to(device)
        loss = F.cross_entropy(at_name, name, reduction="none")
        check.require_finite_result(loss, lend=torch.cat(parts))
        found.append(loss.mean(1).unflatten(0, (CASES, -1)).mean(0).cpu())
    return torch.stack(found)


def swap(models: list[GPT], found: Names, lend: Callable) -> dict[str, torch.Tensor]:
    """What a swap adds to the loss at the name, (models, names) each.

    The lender is never the text that is read. With the loss s of a lender and a text that is read, each with a context in the
    name's language (a) or in a different one (b): "fit" is s_aa less the loss when nothing is lent; "lender's language" is
    s_ba - s_aa, so that the text stays as it is; "language read" is s_ab - s_aa; "together" is s_bb - s_aa; "a different word" is
    the loss when the lender has a context in the name's language and ends with a different probe and name, less s_aa.

    Raises:
        TypeError, ValueError: found is not what :func:`material` returns, or lend no function.
    """
    check.require_kind("found", found, Names, "what material() returns")
    own, other, same, foreign = (found.cases[which] for which in ("own", "other", "same", "foreign"))
    fit = losses(models, lend, own, same)
    return {
        "fit": fit - losses(models, read, own),
        "lender's language": losses(models, lend, own, foreign) - fit,
        "language read": losses(models, lend, other, same) - fit,
        "together": losses(models, lend, other, foreign) - fit,
        "a different word": losses(models, lend, own, found.cases["elsewhere"]) - fit,
    }


# ------------------------------------------------------------------------------------------------- the trace


def with_probe(found: Names, contexts: torch.Tensor, probe: str) -> torch.Tensor:
    """contexts (texts, 40) with a probe and a semicolon behind each: (texts, 48).

    Raises:
        TypeError, ValueError: found is not what :func:`material` returns, contexts are not texts of its characters, or probe is
            not.
    """
    check.require_kind("found", found, Names, "what material() returns")
    _require_contexts(contexts, below=len(found.characters))
    check.require_kind("probe", probe, str, "a str")
    return torch.cat([contexts, found.characters.encode(probe + END).expand(len(contexts), -1)], dim=1)


def _require_contexts(contexts, below):
    check.require_indices("contexts", contexts, below=below, of=", the characters")
    if contexts.dim() != 2 or contexts.shape[1] != CONTEXT or not len(contexts):
        raise ValueError(f"contexts: got shape {check.shape_of(contexts)}, expected (texts, {CONTEXT})")


@torch.no_grad()
def traces(model: GPT, found: Names, contexts: torch.Tensor) -> torch.Tensor:
    """The weights among the characters of every probe after every context: contexts (texts, 40) -> (probes, texts, layers, heads, 8, 8).

    Raises:
        TypeError, ValueError: model is no GPT of these characters, found is not what :func:`material` returns, or contexts are not
            texts of it.
    """
    check.require_kind("model", model, GPT, "a GPT")
    check.require_kind("found", found, Names, "what material() returns")
    device = next(model.parameters()).device
    ids = torch.stack([with_probe(found, contexts, probe) for probe in found.probes])
    parts = ids.flatten(0, 1).split(50)  # so many at a time: that is quicker
    return torch.cat([inner(model.weights(part.to(device)), PROBE).cpu() for part in parts]).unflatten(
        0, ids.shape[:2]
    )


def scrambled(contexts: torch.Tensor, seed: int) -> torch.Tensor:
    """contexts (texts, 40), each with its characters in a random order, all but the last.

    Raises:
        TypeError, ValueError: contexts are not integers of that shape, or seed is not an int of at least 0.
    """
    _require_contexts(contexts, below=2**31)
    orders = torch.rand(len(contexts), CONTEXT - 1, generator=_generator(seed, 10)).argsort(1)
    return torch.cat([contexts[:, :-1].gather(1, orders), contexts[:, -1:]], dim=1)


def ways(seed: int, count: int = 200) -> torch.Tensor:
    """Ways to sort the 400 contexts into five groups, (1 + 2 * count, 5, 400), True where a context is in a group.

    The first is by language; then come ``count`` in which the languages are dealt out at random, and ``count`` by language in
    which half of each language's contexts, drawn at random, are left out. (The mean of a random half varies around that of the
    whole as that of the whole does around the truth; drawing contexts with repetition would put the same one twice into a
    language, which looks like agreement.)

    Raises:
        TypeError, ValueError: seed is not an int of at least 0, or count not one of at least 1.
    """
    check.require_int("count", count, at_least=1, at_most=10_000)
    language = torch.arange(len(CODES)).repeat_interleave(CONTEXTS)
    member = language == torch.arange(len(CODES))[:, None]
    draw = torch.rand(count, len(CODES), CONTEXTS, generator=_generator(seed, 7)).argsort(-1) < CONTEXTS // 2
    orders = torch.rand(count, len(language), generator=_generator(seed, 8)).argsort(-1)
    return torch.cat([member[None], member[:, orders].transpose(0, 1), member & draw.flatten(1)[:, None]])


def fractions(A: torch.Tensor, groups: torch.Tensor) -> torch.Tensor:
    """How much of a word's weights' variance the groups explain in layers 2 and 3, (..., probes, 2, ways).

    Args:
        A: what :func:`traces` returns, (..., probes, texts, layers, heads, 8, 8).
        groups: (ways, groups, texts).

    Raises:
        TypeError, ValueError: A is not of that form, or groups are not what :func:`~dynattn.statistics.explained` takes.
    """
    check.require_tensor("A", A)
    if A.dim() < 6 or A.shape[-4] < 2 or 0 in A.shape:
        raise ValueError(
            f"A: got shape {check.shape_of(A)}, expected (..., probes, texts, layers, heads, p, p), two layers or more"
        )
    deep = A[..., 1:, :, :, :].flatten(-3).transpose(-2, -3)  # (..., probes, 2, texts, numbers)
    found = torch.stack([explained(x, groups) for x in deep.flatten(0, -3)])
    return found.unflatten(0, deep.shape[:-2])


def over_words(found: torch.Tensor, seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The mean of fractions over the probes, and its interval over contexts, from the halves, and over probes.

    Args:
        found: (..., probes, layers, 1 + 2 * count), what :func:`fractions` returns for :func:`ways`.
        seed: of the drawing of probes.

    Returns:
        (mean, lower end, upper end), each (..., layers).

    Raises:
        TypeError, ValueError: found are not finite numbers of that shape, or seed is not an int of at least 0.
    """
    check.require_tensor("found", found)
    if found.dim() < 3 or found.shape[-1] < 3 or found.shape[-1] % 2 == 0 or 0 in found.shape:
        raise ValueError(
            f"found: got shape {check.shape_of(found)}, expected (..., probes, layers, 1 + 2 * count)"
        )
    check.require_finite_result(found.double().sum(), found=found)
    found = found.double()
    halves = found[..., (found.shape[-1] + 1) // 2 :].movedim(-3, -1)  # (..., layers, ways, probes)
    drawn = torch.randint(halves.shape[-1], (halves.shape[-2:]), generator=_generator(seed, 9))
    means = halves.gather(-1, drawn.expand(halves.shape)).mean(-1)
    ends = means.quantile(torch.tensor([(1 - LEVEL) / 2, (1 + LEVEL) / 2], dtype=means.dtype), dim=-1)
    return found[..., 0].mean(-2), ends[0], ends[1]


@torch.no_grad()
def entering(model: GPT, ids: torch.Tensor) -> torch.Tensor:
    """The features that enter each layer, before its norm: ids (texts, n) -> (texts, layers, n, d_model), on the CPU.

    Raises:
        TypeError, ValueError: model is no GPT, or ids are not texts of its vocabulary.
    """
    check.require_kind("model", model, GPT, "a GPT")
    kept = []
    hooks = [
        block.register_forward_pre_hook(lambda block, inputs: kept.append(inputs[0].cpu()))
        for block in model.blocks
    ]
    try:
        model(ids)
    finally:
        for hook in hooks:
            hook.remove()
    return torch.stack(kept, dim=1)


RIDGES = (0.01, 0.1, 1.0, 10.0)


def told(x: torch.Tensor, language: torch.Tensor) -> torch.Tensor:
    """Which texts of one half a linear classifier, fitted to the other half, gives to their language.

    Ridge regression on the language, each feature brought to mean 0 and variance 1; its strength is the one of ``RIDGES``
    that is best when one half of the fitted texts is told from the other half.

    Args:
        x: (texts, numbers), of which the even ones are told and the odd ones are fitted.
        language: (texts,), from 0 on.

    Returns:
        (texts / 2,) of 0 and 1.

    Raises:
        TypeError, ValueError: x are not finite numbers (texts, numbers), of 8 texts or more; or language is not a number for each
            text.
    """
    check.require_tensor("x", x)
    if x.dim() != 2 or len(x) < 8 or not x.shape[1]:
        raise ValueError(f"x: got shape {check.shape_of(x)}, expected (texts, numbers), 8 texts or more")
    check.require_finite(x=x)
    check.require_indices("language", language, below=len(x), shape=(len(x),))
    language = language.long()
    target, x = F.one_hot(language).double(), x.double()

    def answers(fitted, asked, ridge):
        centre, spread = x[fitted].mean(0), x[fitted].std(0)
        a, b = (
            ((x[rows] - centre) / spread.clamp(min=1e-6)).double() / x.shape[1] ** 0.5
            for rows in (fitted, asked)
        )
        kernel = a @ a.T + ridge * torch.eye(len(a), dtype=a.dtype)
        return (b @ (a.T @ torch.linalg.solve(kernel, target[fitted] - target[fitted].mean(0)))).argmax(-1)

    half = torch.arange(1, len(x), 2)
    right = {
        ridge: (answers(half[::2], half[1::2], ridge) == language[half[1::2]]).double().mean()
        for ridge in RIDGES
    }
    asked = torch.arange(0, len(x), 2)
    return (answers(half, asked, max(right, key=right.get)) == language[asked]).double()


def told_by_counts(ids: torch.Tensor, language: torch.Tensor, vocabulary: int) -> torch.Tensor:
    """The same from the characters of the texts, counted, by naive Bayes: ids (texts, n) -> (texts / 2,) of 0 and 1.

    Raises:
        TypeError, ValueError: ids are not texts of the vocabulary, or language is not a number for each text.
    """
    check.require_sizes(vocabulary=vocabulary)
    check.require_indices("ids", ids, below=vocabulary, of=", the vocabulary")
    if ids.dim() != 2 or len(ids) < 2:
        raise ValueError(f"ids: got shape {check.shape_of(ids)}, expected (texts, n), two texts or more")
    check.require_indices("language", language, below=len(ids), shape=(len(ids),))
    ids, language = ids.long(), language.long()
    counts = F.one_hot(ids, vocabulary).sum(1).double()
    odd = torch.arange(len(ids)) % 2 == 1
    totals = torch.stack(
        [counts[odd & (language == group)].sum(0) + 1 for group in range(int(language.max()) + 1)]
    )
    logits = counts[~odd] @ (totals / totals.sum(1, keepdim=True)).log().T
    return (logits.argmax(-1) == language[~odd]).double()
