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
    who, what, question = x.split([len(facts.NAMES), len(facts.DRINKS), 1], dim=-1)
    assert x.shape == (500, 5, facts.WIDTH) and y.shape == (500,)
    assert torch.equal(question[..., 0], torch.tensor([0.0, 0, 0, 0, 1]).expand(500, 5))
    assert who.sum(-1).eq(1).all() and what[:, :-1].sum(-1).eq(1).all() and what[:, -1].eq(0).all()
    assert who[:, :-1].sum(1).max() == what[:, :-1].sum(1).max() == 1, "no name and no drink twice"
    asked = (who[:, :-1] * who[:, -1:]).sum(-1)  # 1 at the fact about the name in the question
    assert asked.sum(-1).eq(1).all() and torch.equal((what[:, :-1] * asked[..., None]).sum(1).argmax(-1), y)
    assert [asked.mean(0)[i].item() for i in range(4)] == pytest.approx([0.25] * 4, abs=0.06)


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
