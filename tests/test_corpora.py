"""Real text: names in many languages from CLDR, and the sentences written for the book."""

import re
from collections import Counter
from pathlib import Path

import pytest
import torch
from helpers import refuses

from dynattn import corpora, pretrained

PACKAGE = Path(corpora.__file__).parent


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def pools():
    return {language: corpora.names(language) for language in corpora.LANGUAGES}


def test_names_are_those_of_the_language(pools):
    assert "deutsch" in pools["de"] and "german" in pools["en"] and "saksa" in pools["fi"]
    for language, pool in pools.items():
        assert len(pool) > 700, language
        assert pool == sorted(set(pool)) and all(
            name == name.lower() and corpora.END not in name for name in pool
        )
    assert pools["de"] != pools["en"]


def test_names_refuse_what_is_no_language_of_the_book():
    for wrong in (None, 3, ["de"], str):
        refuses(lambda wrong=wrong: corpora.names(wrong), TypeError, "language")
    for wrong in ("xx", "not a code", "", "root", "da", "DE", "en_GB"):
        message = refuses(lambda wrong=wrong: corpora.names(wrong), ValueError, "language")
        assert repr(wrong) in message and all(repr(code) in message for code in corpora.LANGUAGES)


def test_names_of_one_caller_are_not_those_of_the_next():
    corpora.names("de").clear()
    assert "deutsch" in corpora.names("de")


def release_of_names():
    """CLDR's and babel's, as the first line of the shipped names has them."""
    first, _, _ = (PACKAGE / "names.tsv").read_text(encoding="utf-8").partition("\n")
    return re.match(r"# From CLDR (\d+(?:\.\d+)*) by way of babel (\d+\.\d+\.\d+)\b", first).groups()


def test_shipped_names_say_where_they_are_from_and_have_their_licence():
    assert all(release_of_names())
    licence = (PACKAGE / "names-LICENSE.txt").read_text(encoding="utf-8")
    assert "UNICODE LICENSE V3" in licence and "Copyright" in licence and "Data Files" in licence


def test_shipped_names_are_what_the_tool_makes():
    babel = pytest.importorskip("babel")
    cldr, release = release_of_names()
    if babel.__version__ != release:
        pytest.skip(f"the names are from babel {release}, and {babel.__version__} is installed")
    import names  # tools/names.py

    assert names.get_cldr_version() == cldr
    assert (PACKAGE / "names.tsv").read_bytes() == names.text().encode()
    assert all(corpora.names(language) == names.names(language) for language in corpora.LANGUAGES)
    assert (PACKAGE / "names-LICENSE.txt").read_bytes() == names.LICENCE.read_bytes()


def test_split_keeps_names_out_of_every_language(pools):
    training, held_out = corpora.split(pools, generator(), share=0.2)
    known = {name for pool in training.values() for name in pool}
    kept = {name for pool in held_out.values() for name in pool}
    assert not known & kept
    assert abs(len(kept) / len(known | kept) - 0.2) < 1e-3
    for language, pool in pools.items():
        assert sorted(training[language] + held_out[language]) == pool
    again, _ = corpora.split(pools, generator(), share=0.2)
    other, _ = corpora.split(pools, generator(1), share=0.2)
    assert again == training != other
    for wrong in (0, 1, -0.1, 2, 1e-9):
        refuses(lambda wrong=wrong: corpora.split(pools, generator(), share=wrong), ValueError, "share")
    refuses(lambda: corpora.split(pools, generator(), share="0.1"), TypeError, "share")
    refuses(lambda: corpora.split(pools, 0), TypeError, "generator")
    for wrong in (None, [["a"]], {"de": "text"}, {"de": [1]}, {"de": None}):
        refuses(lambda wrong=wrong: corpora.split(wrong, generator()), TypeError, "pools")
    for wrong in ({}, {"de": []}):
        refuses(lambda wrong=wrong: corpora.split(wrong, generator()), ValueError, "pools")


def test_characters_there_and_back():
    characters = corpora.Characters(["abc", "cä"])
    assert characters.characters == ";abcä" and len(characters) == 5
    ids = characters.encode("bä;a")
    assert ids.tolist() == [2, 4, 0, 1] and ids.dtype == torch.int64
    assert characters.decode(ids) == "bä;a"
    assert characters.encode("").shape == (0,) and characters.encode("").dtype == torch.int64
    assert "'x'" in refuses(lambda: characters.encode("axb"), ValueError, "text")
    refuses(lambda: characters.encode(["a"]), TypeError, "text")
    for wrong in ([0, 1], ids.double(), ids > 1, ids.numpy(), None):
        refuses(lambda wrong=wrong: characters.decode(wrong), TypeError, "ids")
    for wrong in (ids - 1, ids + 1, ids[None], ids[0]):
        refuses(lambda wrong=wrong: characters.decode(wrong), ValueError, "ids")
    assert characters.decode(ids[:0]) == ""
    for wrong in (None, 3, [1], b"ab", [["ab"]], torch.tensor(1)):
        refuses(lambda wrong=wrong: corpora.Characters(wrong), TypeError, "texts")


def test_sequences_hold_names_of_one_language():
    pools = {"one": ["ab", "b", "abab"], "two": ["x", "yx"]}
    characters = corpora.Characters(name for pool in pools.values() for name in pool)
    ids, languages = corpora.sequences(pools, characters, 400, 24, generator())
    assert ids.shape == (400, 24) and languages.shape == (400,)
    seen = Counter()
    for row, language in zip(ids, languages):
        first, *names, last = characters.decode(row).split(corpora.END)
        pool = list(pools.values())[language]
        assert first == "" and set(names) <= set(pool) and any(name.startswith(last) for name in [*pool, ""])
        seen.update(names)
    assert 150 < languages.sum() < 250
    assert max(seen[name] for name in pools["one"]) < 1.3 * min(seen[name] for name in pools["one"])
    again, _ = corpora.sequences(pools, characters, 400, 24, generator())
    assert torch.equal(ids, again)
    refuses(lambda: corpora.sequences({"one": []}, characters, 4, 8, generator()), ValueError, "pools")
    refuses(lambda: corpora.sequences({}, characters, 4, 8, generator()), ValueError, "pools")
    refuses(lambda: corpora.sequences(pools, "abc;", 4, 8, generator()), TypeError, "characters")
    refuses(lambda: corpora.sequences(pools, characters, 0, 8, generator()), ValueError, "samples")
    refuses(lambda: corpora.sequences(pools, characters, 4, -3, generator()), ValueError, "n")
    refuses(lambda: corpora.sequences(pools, characters, 4, 8.0, generator()), TypeError, "n")
    refuses(lambda: corpora.sequences(pools, characters, 4, 8, 0), TypeError, "generator")


def test_paraphrases_are_what_the_chapter_says():
    pairs = corpora.paraphrases()
    genres = Counter(pair.genre for pair in pairs)
    assert len(pairs) >= 200 and len(genres) >= 5 and len(set(genres.values())) == 1
    assert len({Counter(pair.genre for pair in pairs if pair.trap)[genre] for genre in genres}) == 1
    texts = [text for pair in pairs for text in pair[1:] if text]
    assert len(set(texts)) == len(texts)
    assert all(
        text.isascii() and text.endswith(".") and text.count(".") == 1 and text == text.strip()
        for text in texts
    )
    _, tokenizer = pretrained.minilm()
    ids, present = pretrained.tokenize(tokenizer, texts)
    assert ids.shape == (len(texts), 16) and present.all(), "every text has the same length"
    pieces = dict(zip(texts, ids.sort().values.tolist()))
    traps = [pair for pair in pairs if pair.trap]
    assert len(traps) >= 50
    assert all(pieces[pair.trap] == pieces[pair.sentence] != pieces[pair.paraphrase] for pair in traps)
