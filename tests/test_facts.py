"""The lookup of facts: its task, the two trained layers behind the first page's figure, and what they say."""

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import refuses

from dynattn import facts
from dynattn.attention import SingleHeadAttention
from dynattn.static import TokenMixer

LAYERS = facts.load()
QUESTIONS = [(of, name) for of in facts.OFFERED for name, _ in facts.OFFERED[0]]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_a_question_asks_for_one_of_its_facts():
    x, y = facts.questions(500, generator(), facts=4)
    who, what, about = x.split([len(facts.NAMES), len(facts.DRINKS), len(facts.NAMES)], dim=-1)
    assert x.shape == (500, 5, facts.WIDTH) and y.shape == (500,)
    for part in (who, what):
        assert part[:, :-1].sum(-1).eq(1).all() and part[:, -1].eq(0).all()
        assert part.sum(1).max() == 1, "no name and no drink twice"
    assert about[:, -1].sum(-1).eq(1).all() and about[:, :-1].eq(0).all()
    asked = (who[:, :-1] * about[:, -1:]).sum(-1)  # 1 at the fact about the name in the question
    assert asked.sum(-1).eq(1).all() and torch.equal((what[:, :-1] * asked[..., None]).sum(1).argmax(-1), y)
    assert [asked.mean(0)[i].item() for i in range(4)] == pytest.approx([0.25] * 4, abs=0.06)


def test_a_question_about_two_wants_their_drinks_in_its_order():
    (question, told), answers, asked = facts.two_questions(500, generator(), facts=5)
    who, what = told.split([len(facts.NAMES), len(facts.DRINKS)], dim=-1)
    assert question.shape == (500, 1, 16) and told.shape == (500, 5, 16) and answers.shape == (500, 2, 8)
    assert who.sum(-1).eq(1).all() and what.sum(-1).eq(1).all() and who.sum(1).max() == 1, "no name twice"
    assert what.sum(1).max() > 1, "a drink may come twice"
    for i, names in enumerate(question[:, 0].split(8, dim=-1)):
        matches = (who * names[:, None]).sum(-1)  # 1 at the fact about the i-th name of the question
        assert matches.sum(-1).eq(1).all() and torch.equal(matches.argmax(-1), asked[:, i])
        assert torch.equal((what * matches[..., None]).sum(1), answers[:, i])
    assert (asked[:, 0] != asked[:, 1]).all()


def test_two_heads_answer_every_pair_and_one_head_gives_both_the_same():
    for of in facts.OFFERED:
        for asked in itertools.permutations([name for name, _ in of], 2):
            found = facts.read_two(LAYERS, of, asked)
            (row,), one = found["one"]
            rows, two = found["two"]
            assert [facts.DRINKS[i] for i in two.argmax(-1)] == [dict(of)[name] for name in asked]
            assert two.max(-1).min() > 0.9 and rows.max(-1).min() > 0.9, "each head reads one fact"
            assert {rows[0].argmax(), rows[1].argmax()} == {[n for n, _ in of].index(name) for name in asked}
            assert one[0].argmax() == one[1].argmax() and row.max() < 0.65, "one blend behind both answers"


def test_the_exported_layers_are_what_train_two_makes_and_one_head_keeps_half_of_the_error():
    inputs, answers, _ = facts.two_questions(2000, generator(12345), facts.FACTS)
    for kind, heads, low, high in (("one", 1, 0.47, 0.53), ("two", 2, 0, 0.02)):
        model = facts.TwoAnswers(heads, 16 // heads)
        with torch.no_grad():
            for part in "QKVO":
                getattr(model.heads, f"W_{part}").weight.copy_(torch.tensor(LAYERS[kind][f"W_{part}"]))
            assert low <= facts.squared_error(model(inputs), answers) <= high
    assert facts.squared_error(torch.full_like(answers, 1 / 8), answers) == pytest.approx(1)


def test_the_exported_layers_answer_new_questions_as_the_page_says():
    """Attention always, and the static layer as well as a guess among the three drinks that were named."""
    x, y = facts.questions(2000, generator(12345))
    W_Q, W_K, W_V, W, V = (torch.tensor(LAYERS[name]) for name in ("W_Q", "W_K", "W_V", "W", "V"))
    A = ((x[:, -1:] @ W_Q.T) @ (x @ W_K.T).mT / math.sqrt(len(W_Q))).softmax(-1)
    assert ((A @ (x @ W_V.T))[:, 0].argmax(-1) == y).all()
    static = W[-1] @ (x @ V.T)
    assert (static.argmax(-1) == y).float().mean() == pytest.approx(1 / 3, abs=0.04)
    assert F.cross_entropy(static, y).item() == pytest.approx(math.log(3), abs=0.02)


@pytest.mark.parametrize("of, asked", QUESTIONS)
def test_every_offered_question_is_answered(of, asked):
    found = facts.read(LAYERS, of, asked)
    assert facts.DRINKS[found["attention"].argmax()] == dict(of)[asked]
    assert found["A"].argmax() == [name for name, _ in of].index(asked)
    named = {drink for _, drink in of}
    assert {facts.DRINKS[i] for i in found["static"].argsort()[-3:]} == named
    assert found["static"].max() < 0.5, "the static layer is sure of nothing"
    for chances in (found["A"], found["attention"], found["static"]):
        assert chances.sum() == pytest.approx(1) and chances.min() >= 0


def test_another_name_moves_a_line_and_the_static_layer_does_not_move():
    for of in facts.OFFERED:
        read = [facts.read(LAYERS, of, name) for name, _ in of]
        for one, other in itertools.combinations(read, 2):
            assert np.abs(one["A"] - other["A"]).max() > 0.5
            assert (
                np.array_equal(one["W"], other["W"])
                and np.abs(one["static"] - other["static"]).max() < 1e-9 + 0.2
            )


def test_the_layers_are_those_that_were_pinned_and_how_they_were_made_is_documented(tmp_path, monkeypatch):
    assert "``python -m dynattn.facts``" in facts.__doc__
    assert 'if __name__ == "__main__":' in Path(facts.__file__).read_text(encoding="utf-8")
    (tmp_path / "facts.json").write_text(facts.FILE.read_text(encoding="utf-8").replace("tea", "gin"))
    monkeypatch.setattr(facts, "FILE", tmp_path / "facts.json")
    refuses(facts.load, ValueError, "facts.json")


def test_a_reader_reads_at_the_question():
    torch.manual_seed(0)
    x, _ = facts.questions(5, generator())
    head = SingleHeadAttention(facts.WIDTH, 8, 8)
    assert torch.equal(facts.Reader(head)(x), head(x)[:, -1])
    static = facts.Reader(TokenMixer(4))
    assert torch.equal(static(x), static.mixer(static.W_V(x))[:, -1])
    refuses(lambda: facts.Reader(torch.nn.Linear(3, 3)), TypeError, "mixer")
