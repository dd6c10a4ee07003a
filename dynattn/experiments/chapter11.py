"""Chapter 11: a published sentence encoder with its computed weights kept, averaged, borrowed or taken away."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from tqdm import tqdm

from dynattn import _checks as check
from dynattn.corpora import Pair, paraphrases
from dynattn.pretrained import minilm, sentence_vectors, tokenize
from dynattn.transformer import GPT, Encoder, surprise


@dataclass(frozen=True)
class Texts:
    """The book's sentences, their paraphrases and traps, as the encoder reads them; n pairs, t texts.

    ``texts``: the sentences, then the paraphrases, then the traps. ``ids`` (t, 16). ``pair_of`` (t,): of which pair a text is.
    ``trapped``: the pairs that have a trap. ``genre`` (t,), numbers of ``genres``. ``half`` (n,): 0 or 1, half of each genre, so
    that a mean for a text can be made from the other half.
    """

    encoder: Encoder
    tokenizer: Tokenizer
    pairs: list[Pair]
    texts: list[str]
    ids: torch.Tensor
    pair_of: torch.Tensor
    trapped: torch.Tensor
    genres: list[str]
    genre: torch.Tensor
    half: torch.Tensor


def texts(seed: int) -> Texts:
    """The encoder and the texts of the book; the seed draws the halves.

    Raises:
        TypeError, ValueError: seed is not an int of at least 0; OSError: as :func:`~dynattn.pretrained.minilm`.
    """
    check.require_int("seed", seed, at_least=0, at_most=2**62)
    encoder, tokenizer = minilm()
    pairs = paraphrases()
    trapped = torch.tensor([i for i, pair in enumerate(pairs) if pair.trap])
    every = (
        [pair.sentence for pair in pairs]
        + [pair.paraphrase for pair in pairs]
        + [pairs[i].trap for i in trapped]
    )
    n, genres = len(pairs), sorted({pair.genre for pair in pairs})
    pair_of = torch.cat([torch.arange(n), torch.arange(n), trapped])
    genre = torch.tensor([genres.index(pair.genre) for pair in pairs])[pair_of]
    half, generator = torch.zeros(n, dtype=torch.long), torch.Generator().manual_seed(int(seed))
    for k in range(len(genres)):
        members = (genre[:n] == k).nonzero()[:, 0]
        half[members[torch.randperm(len(members), generator=generator)[: len(members) // 2]]] = 1
    ids = tokenize(tokenizer, every)[0]
    return Texts(encoder, tokenizer, pairs, every, ids, pair_of, trapped, genres, genre, half)


def vectors(material: Texts, edit: Callable | None = None, which: torch.Tensor | None = None) -> torch.Tensor:
    """The sentence vectors of texts, of length 1.

    Args:
        material: the texts.
        edit: called as ``edit(layer, A, which)``, with the computed weights A (texts, heads, 16, 16) of these texts; the layer
            uses what it returns. None: its own.
        which: numbers of texts; all if None.

    Returns:
        (texts, 384).

    Raises:
        TypeError, ValueError: an argument of another kind.
    """
    check.require_kind("material", material, Texts, "what texts() returns")
    if edit is not None:
        check.require_callable("edit", edit, "a function of a layer's number, its A and the texts' numbers")
    if which is None:
        which = torch.arange(len(material.ids))
    check.require_indices("which", which, below=len(material.ids))
    if which.dim() != 1 or not len(which):
        raise ValueError(
            f"which: got shape {check.shape_of(which)}, expected numbers of texts (m,), at least one"
        )
    found = []
    for some in tqdm(which.split(96), leave=False):
        change = edit and (lambda layer, A, some=some: edit(layer, A, some))
        ids = material.ids[some]
        found.append(sentence_vectors(material.encoder, ids, torch.ones_like(ids, dtype=torch.bool), change))
    return torch.cat(found)


def computed(material: Texts) -> tuple[torch.Tensor, torch.Tensor]:
    """The model as it is: sentence vectors (t, 384), and every computed weight (t, 6, 12, 16, 16).

    Raises:
        TypeError: material is not what :func:`texts` returns.
    """
    check.require_kind("material", material, Texts, "what texts() returns")
    blocks, n = material.encoder.blocks, material.ids.shape[1]
    kept = torch.empty(len(material.ids), len(blocks), blocks[0].attention.n_heads, n, n)

    def keep(layer, A, which):
        kept[which, layer] = A
        return A

    return vectors(material, keep), kept


def mean_of_other_half(material: Texts, values: torch.Tensor) -> torch.Tensor:
    """For each text the mean of the values of sentences and paraphrases of the half that it is not in, (t, ...).

    Args:
        material: the texts.
        values: (t, ...), one entry a text.

    Raises:
        TypeError, ValueError: values are no tensor with one entry a text.
    """
    return halves(material, values)[1 - material.half[material.pair_of]]


def halves(material: Texts, values: torch.Tensor) -> torch.Tensor:
    """The mean of the values of sentences and paraphrases in each half, (2, ...); arguments as :func:`mean_of_other_half`."""
    check.require_kind("material", material, Texts, "what texts() returns")
    check.require_tensor("values", values)
    if not values.dim() or len(values) != len(material.ids):
        raise ValueError(f"values: got shape {check.shape_of(values)}, expected ({len(material.ids)}, ...)")
    check.require_finite(values=values)
    plain, of = torch.arange(len(values)) < 2 * len(material.pairs), material.half[material.pair_of]
    return torch.stack([values[plain & (of == k)].mean(0) for k in (0, 1)])


def bags(material: Texts) -> dict[str, torch.Tensor]:
    """Rivals that mix nothing, (t, 384) each: the mean of the word features that the file stores, less the mean over the other half.

    In the second, rare words count more, each by the logarithm of one over the share of texts of the other half that have it.

    Raises:
        TypeError: material is not what :func:`texts` returns.
    """
    check.require_kind("material", material, Texts, "what texts() returns")
    ids, encoder = material.ids, material.encoder
    words = encoder.tokens(ids)[:, 1:-1]
    has = torch.zeros(len(ids), encoder.vocabulary).scatter(1, ids, 1.0)
    shares = halves(material, has) + 1 / len(material.pairs)  # a word that the half doesn't have
    rarity = -shares[1 - material.half[material.pair_of]].gather(1, ids[:, 1:-1]).log()
    found = {
        "bag of word features": words.mean(1),
        "bag, rare words count more": (rarity[..., None] * words).mean(1),
    }
    found = {name: F.normalize(v, dim=-1) for name, v in found.items()}
    return {name: F.normalize(v - mean_of_other_half(material, v), dim=-1) for name, v in found.items()}


def counts(material: Texts) -> torch.Tensor:
    """What can be known from the words as words: which word pieces a text has, weighed by their rarity, of length 1: (t, vocabulary).

    Raises:
        TypeError: material is not what :func:`texts` returns.
    """
    check.require_kind("material", material, Texts, "what texts() returns")
    ids = material.ids[:, 1:-1]
    has = torch.zeros(len(ids), material.encoder.vocabulary)
    has.scatter_add_(1, ids, torch.ones_like(ids, dtype=torch.float))
    shares = mean_of_other_half(material, (has > 0).float()) + 1 / len(material.pairs)
    return F.normalize(has * -shares.clamp(max=1).log(), dim=-1)


def right_first(vectors: torch.Tensor, n: int) -> torch.Tensor:
    """For each of n sentences 1 if its own paraphrase is the nearest of all n, else 0.

    Args:
        vectors: (2 n or more, width): the sentences, then the paraphrases.
        n: the number of pairs.

    Raises:
        TypeError, ValueError: vectors are no such finite numbers, or n is not an int.
    """
    return (_likeness(vectors, n).argmax(1) == torch.arange(int(n))).double()


def lead(vectors: torch.Tensor, n: int) -> torch.Tensor:
    """For each of n sentences the cosine to its own paraphrase, less the largest to another one; as :func:`right_first`."""
    likeness = _likeness(vectors, n)
    others = likeness.masked_fill(torch.eye(int(n), dtype=torch.bool), -torch.inf).amax(1)
    return (likeness.diagonal() - others).double()


def _likeness(vectors, n):
    check.require_tokens("vectors", vectors)
    check.require_int("n", n, at_least=2)
    if vectors.dim() != 2 or len(vectors) < 2 * n:
        raise ValueError(f"vectors: got shape {check.shape_of(vectors)}, expected ({2 * n} or more, width)")
    check.require_finite(vectors=vectors)
    v = F.normalize(vectors, dim=-1)
    return v[:n] @ v[n : 2 * n].T


# ------------------------------------------------------------------------------- the causal model of the plays


def stretches(ids: torch.Tensor, samples: int, n: int) -> torch.Tensor:
    """Stretches of n tokens of a text, evenly spread over it, that don't overlap: (samples, n).

    Args:
        ids: the text as tokens (m,), m at least samples * n.
        samples, n: how many, and how long.

    Raises:
        TypeError, ValueError: an argument of another kind, or a text that is too short.
    """
    check.require_sizes(samples=samples, n=n)
    check.require_indices("ids", ids, below=2**31)
    if ids.dim() != 1 or len(ids) < samples * n:
        raise ValueError(f"ids: got shape {check.shape_of(ids)}, expected (m,), m at least {samples * n}")
    starts = torch.arange(samples) * (len(ids) // samples)
    return ids[starts[:, None] + torch.arange(n)]


def replaced(model: GPT, ids: torch.Tensor) -> dict[str, torch.Tensor]:
    """The surprise at each token but the first, (texts, n - 1), with weights that are computed, frozen, borrowed, uniform, absent.

    *Frozen*: the mean over the texts of the other half, where every second text is in one half. *Borrowed*: those of the next
    text but one. *Uniform*: every token reads alike from itself and all before it. *Absent*: only from itself.

    Args:
        model: the GPT.
        ids: texts (texts, n), at least 4.

    Raises:
        TypeError, ValueError: as :func:`~dynattn.transformer.surprise`; fewer texts.
    """
    kept, n = computed_by(model, ids), ids.shape[1] - 1
    means, lender = _means(kept), torch.arange(len(ids)).roll(-2)
    reads = torch.ones(n, n).tril()
    uniform, absent = reads / reads.sum(1, keepdim=True), torch.eye(n)
    other = {
        "frozen": lambda which, layer: means[which % 2, layer],
        "borrowed": lambda which, layer: kept[lender[which], layer],
        "uniform": lambda which, layer: uniform,
        "absent": lambda which, layer: absent,
    }
    heads = torch.ones(kept.shape[1:3], dtype=torch.bool)
    return {"computed": surprise(model, ids)} | {
        name: _surprise_with(model, ids, weights, heads) for name, weights in other.items()
    }


def frozen(model: GPT, ids: torch.Tensor, heads: torch.Tensor) -> torch.Tensor:
    """The surprise at each token but the first, with some heads frozen as in :func:`replaced`, (sets, texts, n - 1).

    Args:
        model, ids: as there.
        heads: which heads, in each of several sets: booleans (sets, layers, heads).

    Raises:
        TypeError, ValueError: as there; heads that are not such booleans.
    """
    kept = computed_by(model, ids)
    check.require_kind("heads", heads, torch.Tensor, "a torch.Tensor of booleans")
    if heads.dtype != torch.bool or heads.dim() != 3 or not len(heads) or heads.shape[1:] != kept.shape[1:3]:
        expected = "booleans (sets, {}, {})".format(*kept.shape[1:3])
        raise ValueError(f"heads: got {heads.dtype} of shape {check.shape_of(heads)}, expected {expected}")
    means = _means(kept)
    return torch.stack(
        [_surprise_with(model, ids, lambda which, layer: means[which % 2, layer], chosen) for chosen in heads]
    )


def _means(kept):  # for texts of the one half and of the other
    return torch.stack([kept[1::2].mean(0), kept[0::2].mean(0)])


def _surprise_with(model, ids, weights, heads):
    parts = []
    for which in torch.arange(len(ids)).split(16):

        def edit(layer, A, which=which):
            return torch.where(heads[layer][:, None, None], weights(which, layer), A)

        parts.append(surprise(model, ids[which], edit))
    return torch.cat(parts)


def computed_by(model: GPT, ids: torch.Tensor) -> torch.Tensor:
    """All weights that the model computes in texts before their last token, (texts, layers, heads, n - 1, n - 1).

    Raises:
        TypeError, ValueError: model is no GPT, or ids are not at least four texts (texts, n) that it can read.
    """
    check.require_kind("model", model, GPT, "a GPT")
    check.require_indices("ids", ids, below=model.vocabulary)
    if ids.dim() != 2 or len(ids) < 4 or not 2 <= ids.shape[1] <= model.context + 1:
        raise ValueError(
            f"ids: got shape {check.shape_of(ids)}, expected (texts, n), at least 4, n at most {model.context + 1}"
        )
    with torch.no_grad():
        return torch.cat([model.weights(some[:, :-1]) for some in ids.split(16)])


def copies(A: torch.Tensor, distances: torch.Tensor) -> torch.Tensor:
    """How much each head reads from the token that came after the present one when it was there before, (layers, heads).

    Args:
        A: weights (texts, layers, heads, n, n).
        distances: of each text, after how many tokens it repeats itself (texts,).

    Returns:
        The mean over the tokens of the second reading.

    Raises:
        TypeError, ValueError: A are no such weights, or distances not integers from 1 to n - 1.

    Source: Olsson et al. 2022, where this is called prefix matching.
    """
    check.require_tensor("A", A)
    if A.dim() != 5 or A.shape[-1] != A.shape[-2] or not A.numel():
        raise ValueError(f"A: got shape {check.shape_of(A)}, expected (texts, layers, heads, n, n)")
    check.require_finite(A=A)
    n = A.shape[-1]
    check.require_indices("distances", distances, below=n, shape=(len(A),))
    if not distances.min() >= 1:
        raise ValueError("distances: got 0, expected at least 1")
    # Token i of the second reading, and the token i - d + 1 that came after its earlier self.
    found = [of.diagonal(1 - int(d), -2, -1)[..., 1 : int(d) + 1] for of, d in zip(A, distances)]
    again = sum(part.shape[-1] for part in found)
    return torch.stack([part.sum(-1) for part in found]).sum(0) / again
