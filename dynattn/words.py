"""Chapter 3: a head over the words of small English sentences, for the live figures to run in the reader's page.

``python -m dynattn.words`` trains the head and the static layer beside it, and writes ``dynattn/live/words.json``.
"""

import hashlib
import json
import random
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from dynattn import live
from dynattn._checks import (
    all_finite,
    require_digest,
    require_finite_result,
    require_generator,
    require_indices,
    require_int,
    require_kind,
    require_sizes,
    require_tensor,
    shape_of,
)
from dynattn.attention import SingleHeadAttention, attention
from dynattn.static import TokenMixer
from dynattn.training import fit

_PRONOUNS = {"I": "am", "you": "are", "we": "are", "they": "are"}
_SINGULAR = ("student", "teacher", "doctor", "cat", "dog", "mouse", "bird", "child")
_PLURAL = ("students", "teachers", "doctors", "cats", "dogs", "mice", "birds", "children")
_VERBS = ("chase", "see", "love", "know", "hear")
_ADJECTIVES = ("small", "old", "happy", "clever")

VOCABULARY = (
    *_PRONOUNS,
    "am",
    "are",
    *_SINGULAR,
    *_PLURAL,
    *_VERBS,
    *(verb + "s" for verb in _VERBS),
    *_ADJECTIVES,
    "a",
    "the",
    ".",
)
# What the live figures offer: the exported head names the right word for every token of them.
OFFERED = (
    "I am a student.",
    "Cats chase small mice.",
    "They are happy doctors.",
    "You see the birds.",
    "The cats chase a dog.",
    "The clever cat hears a bird.",
)
MOST_TOKENS = 9  # that the head can read
LENGTHS = (4, 8)  # of the shortest and of the longest sentence
FILE = Path(__file__).parent / "live" / "words.json"
SHA256 = "9152a887212a83004e3c32b30b9fab43a084a97d84a0ea799c4ebe74b9ff8297"


def _noun_group(rng: random.Random, plural: bool) -> list[str]:
    article = rng.choice([[], ["the"]]) if plural else [rng.choice(["a", "the"])]
    adjective = rng.choice([[], [rng.choice(_ADJECTIVES)]])
    return [*article, *adjective, rng.choice(_PLURAL if plural else _SINGULAR)]


def sentence(rng: random.Random) -> tuple[list[str], list[int]]:
    """A random sentence, and for each token the place of the token that it belongs to.

    Articles and adjectives belong to their noun, nouns to their verb, the verb to its subject, the full stop to the
    verb, and a pronoun to the noun at the end: "I" to "student" in "I am a student."

    Raises:
        TypeError: rng is not a random.Random.
    """
    require_kind("rng", rng, random.Random, "a random.Random")
    pronoun = rng.choice([*_PRONOUNS, None, None, None, None])
    plural = pronoun != "I" if pronoun else rng.random() < 0.5
    subject = [pronoun] if pronoun else _noun_group(rng, plural)
    if pronoun and rng.random() < 0.6:
        verb, rest = _PRONOUNS[pronoun], _noun_group(rng, plural)
    else:
        verb = rng.choice(_VERBS) + ("" if plural or pronoun else "s")
        rest = _noun_group(rng, rng.random() < 0.5)
    tokens = [*subject, verb, *rest, "."]
    at_verb, at_end = len(subject), len(tokens) - 2
    links = [at_verb - 1] * at_verb + [at_verb - 1] + [at_end] * len(rest) + [at_verb]
    links[at_verb - 1] = at_end if pronoun else at_verb
    links[at_end] = at_verb
    return tokens, links


def sentences(samples: int, generator: torch.Generator, length: int | None = None):
    """A batch of random sentences, all of one length if asked to.

    Returns:
        ((words, present), targets): words (samples, n) as places in ``VOCABULARY``, 0 where a sentence has ended;
        present (samples, n), True where there is a token; targets (samples, n): the word to which each token
        belongs, -100 where there is none.

    Raises:
        TypeError, ValueError: samples is not an int of at least 1, or length not one of a sentence, 4 to 8 tokens.
    """
    require_sizes(samples=samples)
    require_generator("generator", generator)
    if length is not None:
        require_int("length", length, *LENGTHS)
    rng = random.Random(int(torch.randint(2**31, (1,), generator=generator)))
    drawn = []
    while len(drawn) < samples:
        tokens, links = sentence(rng)
        if length in (None, len(tokens)):
            drawn.append((tokens, links))
    n = length or MOST_TOKENS
    words, targets = torch.zeros(samples, n, dtype=torch.long), torch.full((samples, n), -100)
    for row, (tokens, links) in enumerate(drawn):
        index = torch.tensor([VOCABULARY.index(token) for token in tokens])
        words[row, : len(tokens)], targets[row, : len(tokens)] = index, index[torch.tensor(links)]
    return (words, targets >= 0), targets


class WordMixer(nn.Module):
    """Learned features for each word and each place, a layer that mixes the tokens, and a learned reading of the result.

    Args:
        mixer: :class:`~dynattn.attention.SingleHeadAttention` (24 features in and out), or a
            :class:`~dynattn.static.TokenMixer` for sentences of its own number of tokens.

    Raises:
        TypeError, ValueError: another kind of mixer, or one of other widths; words that are not integers of the
            vocabulary, or more of them than it has places.
    """

    def __init__(self, mixer: nn.Module):
        super().__init__()
        kinds = SingleHeadAttention, TokenMixer
        require_kind("mixer", mixer, kinds, "SingleHeadAttention or TokenMixer")
        if isinstance(mixer, SingleHeadAttention) and (mixer.d_model, mixer.W_V.out_features) != (24, 24):
            widths = f"{mixer.d_model} features in and {mixer.W_V.out_features} out"
            raise ValueError(f"mixer: got {widths}, expected 24 in and out")
        self.words = nn.Embedding(len(VOCABULARY), 24)
        self.places = nn.Embedding(MOST_TOKENS, 24)
        self.mixer = mixer
        self.readout = nn.Linear(24, len(VOCABULARY), bias=False)

    def features(self, words: torch.Tensor) -> torch.Tensor:
        """Words (..., n), as places in ``VOCABULARY`` -> features (..., n, 24)."""
        require_indices("words", words, below=len(VOCABULARY), of=", the vocabulary")
        if words.dim() < 1 or not 1 <= words.shape[-1] <= MOST_TOKENS:
            raise ValueError(
                f"words: got shape {shape_of(words)}, expected (..., n), n at most {MOST_TOKENS}"
            )
        return self.words(words) + self.places.weight[: words.shape[-1]]

    def forward(self, inputs) -> torch.Tensor:
        """(words, present), each (samples, n) -> a score (samples, n, words of the vocabulary) for each answer."""
        words, present = _sentences_of(inputs)
        x = self.features(words)
        if isinstance(self.mixer, TokenMixer):
            return self.readout(self.mixer(x))
        mask = present[:, None, :].expand(-1, words.shape[1], -1)
        return self.readout(self.mixer(x, mask=mask))


def _sentences_of(inputs):
    if not isinstance(inputs, (tuple, list)) or len(inputs) != 2:
        raise TypeError(f"inputs: got {type(inputs).__name__}, expected a pair (words, present)")
    words, present = inputs
    require_indices("words", words, below=len(VOCABULARY), of=", the vocabulary")
    require_kind("present", present, torch.Tensor, "a torch.Tensor of torch.bool")
    if present.dtype != torch.bool:
        raise TypeError(f"present: got dtype {present.dtype}, expected torch.bool")
    if words.dim() != 2 or 0 in words.shape:
        raise ValueError(f"words: got shape {shape_of(words)}, expected (samples, n)")
    if present.shape != words.shape:
        raise ValueError(f"present: got shape {shape_of(present)}, expected {shape_of(words)}, as words")
    if not present.any(-1).all():
        raise ValueError("present: got a sentence without tokens, expected at least one in each")
    return words, present


def _require_targets(targets, shape):
    """Places of the vocabulary, or -100, and at least one of the former."""
    require_kind("targets", targets, torch.Tensor, "a torch.Tensor")
    if targets.dtype != torch.int64:
        raise TypeError(f"targets: got dtype {targets.dtype}, expected torch.int64")
    if targets.shape != shape:
        raise ValueError(f"targets: got shape {shape_of(targets)}, expected {tuple(shape)}")
    if not (targets >= 0).any():
        raise ValueError("targets: got none of a token, expected at least one")
    require_indices("targets", targets.where(targets != -100, 0), below=len(VOCABULARY), of=", or -100")


def loss(scores: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Cross-entropy over the tokens that are there.

    Raises:
        TypeError, ValueError: scores are not floating-point (samples, n, words of the vocabulary), or targets not as
            :func:`sentences` gives them.
    """
    require_tensor("scores", scores)
    if scores.dim() != 3 or scores.shape[-1] != len(VOCABULARY):
        raise ValueError(f"scores: got shape {shape_of(scores)}, expected (samples, n, {len(VOCABULARY)})")
    _require_targets(targets, scores.shape[:2])
    value = F.cross_entropy(scores.flatten(0, 1), targets.flatten(), ignore_index=-100)
    require_finite_result(value, scores=scores)
    return value


def right(model: WordMixer, inputs, targets: torch.Tensor) -> float:
    """The share of tokens for which the model names the word to which they belong.

    Raises:
        TypeError, ValueError: model is no :class:`WordMixer`; inputs or targets are not as :func:`sentences` gives them.
    """
    require_kind("model", model, WordMixer, "a WordMixer")
    _require_targets(targets, _sentences_of(inputs)[0].shape)
    with torch.no_grad():
        answers = model(inputs).argmax(-1)
    return (answers == targets)[targets >= 0].double().mean().item()


def train_head(seed: int, tries: int = 3) -> WordMixer:
    """The head, trained on sentences of every length: the best of some tries, by the loss at the end.

    About one try in ten leaves a relation unlearned, such as that of a verb to a pronoun.

    Raises:
        TypeError, ValueError: seed is not an int, or tries not one of at least 1.
    """
    require_sizes(tries=tries)
    require_int("seed", seed, at_least=-(2**62), at_most=2**62)
    trained = []
    for attempt in range(tries):
        torch.manual_seed(seed + 1000 * attempt)
        model = WordMixer(SingleHeadAttention(24, 12))
        history = fit(model, lambda g: sentences(64, g), loss, steps=500, lr=0.02, seed=seed, label="words")
        trained.append((sum(history[-50:]), attempt, model))
    return min(trained)[2]


def train_static(seed: int, n: int = 5) -> WordMixer:
    """Static mixing on the same task, for sentences of n tokens only.

    Raises:
        TypeError, ValueError: seed is not an int, or n not one of a sentence, 4 to 8.
    """
    require_int("seed", seed, at_least=-(2**62), at_most=2**62)
    require_int("n", n, *LENGTHS)
    torch.manual_seed(seed)
    model = WordMixer(TokenMixer(n))
    fit(model, lambda g: sentences(64, g, n), loss, steps=500, lr=0.02, seed=seed, label="words, static")
    return model


def export(head: WordMixer, static: WordMixer) -> str:
    """What the live figures need, as JSON: the vocabulary, the learned matrices, and the static W.

    Raises:
        TypeError, ValueError: head or static is no :class:`WordMixer` with attention or static mixing, or holds a number
            that is not finite.
    """
    for name, model, kind in (("head", head, SingleHeadAttention), ("static", static, TokenMixer)):
        require_kind(name, model, WordMixer, f"a WordMixer of {kind.__name__}")
        require_kind(name, model.mixer, kind, f"a WordMixer of {kind.__name__}")
        if not all(map(all_finite, model.parameters())):
            raise ValueError(f"{name}: got a parameter that is not finite, expected finite numbers")
    matrices = {
        "words": head.words.weight,
        "places": head.places.weight,
        "W_Q": head.mixer.W_Q.weight,
        "W_K": head.mixer.W_K.weight,
        "W_V": head.mixer.W_V.weight,
        "readout": head.readout.weight,
        "W": static.mixer.W,
    }
    return json.dumps({"vocabulary": VOCABULARY, **live.rounded(matrices)}, separators=(",", ":"))


def load() -> dict:
    """The exported head: ``vocabulary``, and each matrix as a list of rows.

    Raises:
        ValueError: the file is not the one that this version of the package was made with.
    """
    data = FILE.read_bytes()
    require_digest(FILE.name, data, SHA256)
    return json.loads(data)


def computed_weights(head: dict, tokens: list[str]) -> np.ndarray:
    """The weights A (n, n) that the exported head computes for a sentence.

    Raises:
        TypeError: head is not what :func:`load` returns, or tokens is not a list of strings.
        KeyError: a token is not in the vocabulary.
        ValueError: the sentence has no token, or more than the head has learned places.
    """
    vocabulary, (words, places, W_Q, W_K) = _parts(head)
    require_kind("tokens", tokens, (list, tuple), "a list of strings")
    for token in tokens:
        require_kind("tokens", token, str, "a list of strings")
    if not 1 <= len(tokens) <= len(places):
        raise ValueError(f"tokens: got {len(tokens)}, expected from 1 to {len(places)}")
    index = {word.lower(): place for place, word in enumerate(vocabulary)}
    if unknown := [token for token in tokens if token.lower() not in index]:
        raise KeyError(f"tokens: got {unknown[0]!r}, expected words of the vocabulary")
    X = words[[index[token.lower()] for token in tokens]] + places[: len(tokens)]
    keys = X @ W_K.T
    return attention(X @ W_Q.T, keys, keys)[1]


def _parts(head):
    """The vocabulary and the matrices of an exported head."""
    require_kind("head", head, dict, "what load() returns")
    try:
        vocabulary = list(head["vocabulary"])
        words, places, W_Q, W_K = (
            np.array(head[name], dtype=float) for name in ("words", "places", "W_Q", "W_K")
        )
        keys = (words @ W_K.T, places @ W_K.T)
    except (KeyError, TypeError, ValueError):
        raise ValueError("head: got other entries, expected those that load() returns") from None
    if not all(isinstance(word, str) for word in vocabulary):
        raise TypeError("head: got a vocabulary that is not of strings, expected what load() returns")
    fits = len(vocabulary) == len(words) and all(part.ndim == 2 for part in (words, places, W_Q, W_K))
    if not fits or W_Q.shape != W_K.shape or not all(np.isfinite(part).all() for part in (*keys, W_Q)):
        raise ValueError("head: got entries that do not fit, expected those that load() returns")
    return vocabulary, (words, places, W_Q, W_K)


if __name__ == "__main__":
    FILE.write_text(export(train_head(0), train_static(0)), encoding="utf-8")
    print(f'SHA256 = "{hashlib.sha256(FILE.read_bytes()).hexdigest()}"')
