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
MOST_TOKENS = 9
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
    """
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
    """
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
    """

    def __init__(self, mixer: nn.Module):
        super().__init__()
        self.words = nn.Embedding(len(VOCABULARY), 24)
        self.places = nn.Embedding(MOST_TOKENS, 24)
        self.mixer = mixer
        self.readout = nn.Linear(24, len(VOCABULARY), bias=False)

    def features(self, words: torch.Tensor) -> torch.Tensor:
        """Words (..., n), as places in ``VOCABULARY`` -> features (..., n, 24)."""
        return self.words(words) + self.places.weight[: words.shape[-1]]

    def forward(self, inputs) -> torch.Tensor:
        """(words, present), each (samples, n) -> a score (samples, n, words of the vocabulary) for each answer."""
        words, present = inputs
        x = self.features(words)
        if isinstance(self.mixer, TokenMixer):
            return self.readout(self.mixer(x))
        mask = present[:, None, :].expand(-1, words.shape[1], -1)
        return self.readout(self.mixer(x, mask=mask))


def loss(scores: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Cross-entropy over the tokens that are there."""
    return F.cross_entropy(scores.flatten(0, 1), targets.flatten(), ignore_index=-100)


def right(model: WordMixer, inputs, targets: torch.Tensor) -> float:
    """The share of tokens for which the model names the word to which they belong."""
    with torch.no_grad():
        answers = model(inputs).argmax(-1)
    return (answers == targets)[targets >= 0].double().mean().item()


def train_head(seed: int, tries: int = 3) -> WordMixer:
    """The head, trained on sentences of every length: the best of some tries, by the loss at the end.

    About one try in ten leaves a relation unlearned, such as that of a verb to a pronoun.
    """
    trained = []
    for attempt in range(tries):
        torch.manual_seed(seed + 1000 * attempt)
        model = WordMixer(SingleHeadAttention(24, 12))
        history = fit(model, lambda g: sentences(64, g), loss, steps=500, lr=0.02, seed=seed, label="words")
        trained.append((sum(history[-50:]), attempt, model))
    return min(trained)[2]


def train_static(seed: int, n: int = 5) -> WordMixer:
    """Static mixing on the same task, for sentences of n tokens only."""
    torch.manual_seed(seed)
    model = WordMixer(TokenMixer(n))
    fit(model, lambda g: sentences(64, g, n), loss, steps=500, lr=0.02, seed=seed, label="words, static")
    return model


def export(head: WordMixer, static: WordMixer) -> str:
    """What the live figures need, as JSON: the vocabulary, the learned matrices, and the static W."""
    matrices = {
        "words": head.words.weight,
        "places": head.places.weight,
        "W_Q": head.mixer.W_Q.weight,
        "W_K": head.mixer.W_K.weight,
        "W_V": head.mixer.W_V.weight,
        "readout": head.readout.weight,
        "W": static.mixer.W,
    }
    rounded = {name: [[round(x, 3) for x in row] for row in W.tolist()] for name, W in matrices.items()}
    return json.dumps({"vocabulary": VOCABULARY, **rounded}, separators=(",", ":"))


def load() -> dict:
    """The exported head: ``vocabulary``, and each matrix as a list of rows.

    Raises:
        ValueError: the file is not the one that this version of the package was made with.
    """
    text = FILE.read_text(encoding="utf-8")
    found = hashlib.sha256(text.encode()).hexdigest()
    if found != SHA256:
        raise ValueError(f"{FILE.name}: got SHA-256 {found}, expected {SHA256}")
    return json.loads(text)


def computed_weights(head: dict, tokens: list[str]) -> np.ndarray:
    """The weights A (n, n) that the exported head computes for a sentence.

    Raises:
        KeyError: a token is not in the vocabulary.
        ValueError: the sentence has more tokens than the head has learned places.
    """
    if len(tokens) > len(head["places"]):
        raise ValueError(f"tokens: got {len(tokens)}, expected at most {len(head['places'])}")
    index = {word.lower(): place for place, word in enumerate(head["vocabulary"])}
    X = np.array([head["words"][index[token.lower()]] for token in tokens]) + np.array(
        head["places"][: len(tokens)]
    )
    keys = X @ np.array(head["W_K"]).T
    return attention(X @ np.array(head["W_Q"]).T, keys, keys)[1]


if __name__ == "__main__":
    FILE.write_text(export(train_head(0), train_static(0)), encoding="utf-8")
    print(f'SHA256 = "{hashlib.sha256(FILE.read_bytes()).hexdigest()}"')
