"""Chapters 9 to 11: real text that is at hand without a download, and sentences written for this book."""

from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch

from dynattn._checks import (
    require_choice,
    require_generator,
    require_indices,
    require_kind,
    require_number,
    require_sizes,
    shape_of,
)

END = ";"  # stands before, between and after names

# Written in Latin letters, which makes the letters themselves say less about the language.
LANGUAGES = {
    "en": "English", "de": "German", "fr": "French", "es": "Spanish", "it": "Italian", "fi": "Finnish",
    "tr": "Turkish", "pl": "Polish", "sw": "Swahili", "id": "Indonesian", "cy": "Welsh", "hu": "Hungarian",
    "pt": "Portuguese", "nl": "Dutch", "sv": "Swedish", "ro": "Romanian",
}  # fmt: skip


def names(language: str) -> list[str]:
    """The names of languages, countries and regions in one language, in lower case, sorted.

    Args:
        language: a code of ``LANGUAGES``, such as ``"de"``.

    Returns:
        Some 780 to 950 different names, as a list of the caller's own.

    Raises:
        TypeError, ValueError: language is not one of these codes.

    Source: the Unicode Common Locale Data Repository (CLDR). They are kept in ``names.tsv`` beside this file, so that
    they are the same everywhere; its first line names the release, and CLDR's licence is ``names-LICENSE.txt``.
    """
    require_choice("language", language, LANGUAGES)
    return list(_all_names()[language])


@cache
def _all_names() -> dict[str, list[str]]:
    pools = {language: [] for language in LANGUAGES}
    text = (Path(__file__).parent / "names.tsv").read_text(encoding="utf-8")
    for line in text.splitlines()[1:]:  # the first says where they come from
        language, name = line.split("\t")
        pools[language].append(name)
    return pools


def split(pools: dict[str, list[str]], generator: torch.Generator, share: float = 0.1):
    """Keep some names out of training: the same names in every language, so that none is known from another.

    Args:
        pools: language -> names.
        generator: draws which.
        share: of all different names, which part is held out, between 0 and 1.

    Returns:
        (training, held_out), each language -> names.

    Raises:
        TypeError: pools is not a dict of lists of strings, or share not a number.
        ValueError: a share that is not between 0 and 1, or that leaves a language without names on a side; or a
            language has none from the start.
    """
    _require_pools(pools)
    require_generator("generator", generator)
    require_number("share", share, above=0, below=1)
    everything = sorted({name for pool in pools.values() for name in pool})
    order = torch.randperm(len(everything), generator=generator).tolist()
    held = {everything[place] for place in order[: round(share * len(everything))]}
    training = {language: [name for name in pool if name not in held] for language, pool in pools.items()}
    held_out = {language: [name for name in pool if name in held] for language, pool in pools.items()}
    for part in (training, held_out):
        for language, pool in part.items():
            if not pool:
                raise ValueError(
                    f"share: got {share}, expected one that leaves {language!r} names on both sides"
                )
    return training, held_out


def _require_pools(pools):
    require_kind("pools", pools, dict, "a dict: language -> list of names")
    if not pools:
        raise ValueError("pools: got no language, expected at least one")
    for language, pool in pools.items():
        if not isinstance(pool, (list, tuple)) or not all(
            issubclass(kind, str) for kind in set(map(type, pool))
        ):
            raise TypeError(f"pools: got {type(pool).__name__} for {language!r}, expected a list of strings")
        if not pool:
            raise ValueError(f"pools: got no names for {language!r}, expected at least one")


class Characters:
    """A vocabulary of characters: text to integers and back.

    Args:
        texts: the texts whose characters it knows, and ``END``.

    Raises:
        TypeError: texts are not strings.
    """

    def __init__(self, texts):
        try:
            texts = list(texts)
        except TypeError:
            texts = [texts]  # refused below
        for text in texts:
            require_kind("texts", text, str, "several texts, each a str")
        self.characters = "".join(sorted({END}.union(*texts)))
        self._place = {character: place for place, character in enumerate(self.characters)}

    def __len__(self) -> int:
        return len(self.characters)

    def encode(self, text: str) -> torch.Tensor:
        """Text of n characters -> integers (n,). Raises TypeError if it is no str, ValueError for an unknown character."""
        require_kind("text", text, str, "a str")
        unknown = sorted(set(text) - set(self._place))
        if unknown:
            raise ValueError(f"text: got {''.join(unknown)!r}, expected characters of {self.characters!r}")
        return torch.tensor([self._place[character] for character in text], dtype=torch.long)

    def decode(self, ids: torch.Tensor) -> str:
        """Integers (n,) -> text. Raises TypeError or ValueError for what is not a row of integers of the vocabulary."""
        require_indices("ids", ids, below=len(self), of=", the vocabulary")
        if ids.dim() != 1:
            raise ValueError(f"ids: got shape {shape_of(ids)}, expected one text (n,)")
        return "".join(self.characters[place] for place in ids.tolist())


def sequences(pools: dict[str, list[str]], characters: Characters, samples: int, n: int, generator):
    """Random texts of n characters: names of ONE language each, in random order, with ``END`` before and between.

    Args:
        pools: language -> names.
        characters: the vocabulary.
        samples, n: number of texts, and of characters in each.
        generator: of the random draws.

    Returns:
        (ids, languages): ids (samples, n), and for each text the place of its language in ``pools`` (samples,).

    Raises:
        TypeError: pools is not a dict of lists of strings, characters no :class:`Characters`, or a size not an int.
        ValueError: a language without names, a size below 1, or a name with a character that is not in the vocabulary.
    """
    _require_pools(pools)
    require_kind("characters", characters, Characters, "the vocabulary, of Characters")
    require_sizes(samples=samples, n=n)
    require_generator("generator", generator)
    languages = torch.randint(len(pools), (samples,), generator=generator)
    every = list(pools.values())
    rows = []
    for language in languages.tolist():
        pool, text = every[language], END
        while len(text) < n:
            text += pool[int(torch.randint(len(pool), (1,), generator=generator))] + END
        rows.append(characters.encode(text[:n]))
    return torch.stack(rows), languages


class Pair(NamedTuple):
    """A sentence, the same said in other words, and for some the same words saying something else."""

    genre: str
    sentence: str
    paraphrase: str
    trap: str | None


def paraphrases() -> list[Pair]:
    """Sentences in eight genres with a paraphrase each, written for this book.

    Each text has 16 tokens in all-MiniLM-L6-v2, the two that mark start and end included: nothing can be told
    from the length. The trap has exactly the words of the sentence, with the roles swapped.
    """
    text = (Path(__file__).parent / "paraphrases.tsv").read_text(encoding="utf-8")
    rows = [line.split("\t") for line in text.splitlines()]
    return [Pair(genre, sentence, paraphrase, trap or None) for genre, sentence, paraphrase, trap in rows]
