"""The tasks against what their words say, and what they refuse."""

import math

import pytest
import torch
from helpers import close, normal, refuses

from dynattn.tasks import (
    content_or_place,
    languages,
    lookup,
    question,
    regressions,
    rings,
    routed,
    routing,
    switched,
    two_lookups,
)


def random(stream=0):
    return torch.Generator().manual_seed(stream)


# ------------------------------------------------------------------------------------------ chapter 8: regressions


def test_every_answer_follows_the_rule_of_its_own_examples():
    (examples, asked), answers = regressions(50, 6, 4, random())
    assert examples.shape == (50, 6, 5) and asked.shape == (50, 5) and answers.shape == (50,)
    assert (asked[:, -1] == 0).all()
    examples = examples.double()
    rule = torch.linalg.lstsq(examples[..., :4], examples[..., 4:]).solution[..., 0]
    close((rule * asked[:, :4]).sum(-1), answers.double(), 1e-3)
    assert (rule[1:] - rule[:-1]).norm(dim=-1).min() > 0.01  # another rule in each sentence


@pytest.mark.parametrize("scale", [1.0, 2.5])
def test_inputs_and_answers_have_the_variance_of_the_scale(scale):
    (examples, _), answers = regressions(20_000, 3, 5, random(1), scale)
    assert math.isclose(examples[..., :5].var().item(), scale**2, rel_tol=0.03)
    assert math.isclose(examples[..., 5].var().item(), scale**2, rel_tol=0.05)
    assert math.isclose(answers.var().item(), scale**2, rel_tol=0.05)


# -------------------------------------------------------------------------------------------- chapter 8: languages


def test_every_row_of_probabilities_is_equally_likely():
    _, tables = languages(50_000, 1, 3, random(2))
    assert tables.shape == (50_000, 3, 3) and (tables >= 0).all()
    close(tables.sum(-1), torch.ones(50_000, 3), 1e-6)
    # Evenly over the triangle of rows: each entry has mean 1/3, and exceeds t with probability (1 - t)^2.
    for t in (0.1, 0.5, 0.9):
        close((tables > t).float().mean(0), torch.full((3, 3), (1 - t) ** 2), 0.02)
    rows = tables - 1 / 3
    close((rows[:, 0, 0] * rows[:, 1, 0]).mean(), torch.tensor(0.0), 0.01)  # rows are independent


def test_letters_follow_each_other_as_the_table_says():
    texts, tables = languages(3, 30_000, 3, random(3))
    assert texts.shape == (3, 30_000) and texts.dtype == torch.long
    for text, table in zip(texts, tables):
        counts = torch.zeros(3, 3).index_put_((text[:-1], text[1:]), torch.ones(1), accumulate=True)
        close(counts / counts.sum(1, keepdim=True), table, 0.05)
    first = torch.bincount(languages(30_000, 1, 3, random(4))[0][:, 0], minlength=3) / 30_000
    close(first, torch.full((3,), 1 / 3), 0.02)


# ------------------------------------------------------------------------------------------------------------ both


def test_the_seed_decides():
    for draw in (lambda g: regressions(3, 4, 2, g)[0][0], lambda g: languages(3, 9, 3, g)[0]):
        assert torch.equal(draw(random(5)), draw(random(5)))
        assert not torch.equal(draw(random(5)), draw(random(6)))


def test_a_routing_is_applied_in_its_own_dtype():
    P = routing("reverse", 4)
    for dtype in (torch.float64, torch.float32):
        x, y = routed(P.to(dtype), 3, 2, random())
        assert x.dtype == y.dtype == dtype and torch.equal(y, x.flip(1))
        x, y = switched(P.to(dtype), torch.eye(4, dtype=dtype), 50, 2, random())
        assert x.dtype == y.dtype == dtype
        assert torch.equal(y, torch.where((x[:, 0].prod(-1) > 0)[:, None, None], x.flip(1), x))


VALUES, WANTS = normal(3, 4, 2), torch.arange(12).reshape(3, 4) % 4
P = routing("shift", 4)
BAD = (
    {
        f"{draw.__name__}, {name} {value}": (
            lambda draw=draw, sizes=sizes: draw(*sizes, random()),
            error,
            name,
        )
        for draw, names in ((regressions, ("samples", "n", "d")), (languages, ("samples", "n", "letters")))
        for place, name in enumerate(names)
        for value, error in ((0, ValueError), (2.0, TypeError))
        for sizes in [tuple(value if i == place else 3 for i in range(3))]
    }
    | {
        f"scale {scale}": (lambda scale=scale: regressions(2, 2, 2, random(), scale), ValueError, "scale")
        for scale in (0, -1.0, math.inf, math.nan, 1e39, 1e-39)
    }
    | {
        f"lookup: {place}": (lambda wants=wants: lookup(VALUES, wants, random()), kind, "wants")
        for place, wants, kind in (
            ("-1", WANTS - 1, ValueError),
            ("n", WANTS + 1, ValueError),
            ("shape", WANTS[:, :3], ValueError),
            ("float", WANTS.double(), TypeError),
            ("bool", WANTS > 1, TypeError),
            ("bytes", WANTS.to(torch.uint8), TypeError),
            ("list", WANTS.tolist(), TypeError),
        )
    }
    | {
        "lookup: one sentence": (lambda: lookup(VALUES[0], WANTS[0], random()), ValueError, "values"),
        "lookup: NaN": (lambda: lookup(VALUES * math.nan, WANTS, random()), ValueError, "values"),
        "lookup: d_name": (lambda: lookup(VALUES, WANTS, random(), 0), ValueError, "d_name"),
        "lookup: generator": (lambda: lookup(VALUES, WANTS, 0), TypeError, "generator"),
        "routing: kind": (lambda: routing("swap", 4), ValueError, "kind"),
        "routing: kind None": (lambda: routing(None, 4), TypeError, "kind"),
        "routed: P list": (lambda: routed(P.tolist(), 2, 2, random()), TypeError, "P"),
        "routed: P of integers": (lambda: routed(P.int(), 2, 2, random()), TypeError, "P"),
        "routed: P of three dimensions": (lambda: routed(P[None], 2, 2, random()), ValueError, "P"),
        "routed: P NaN": (lambda: routed(P * math.nan, 2, 2, random()), ValueError, "P"),
        "routed: overflow": (lambda: routed(P * 3e38, 50, 2, random()), ValueError, "P"),
        "routed: samples": (lambda: routed(P, -1, 2, random()), ValueError, "samples"),
        "routed: d": (lambda: routed(P, 2, 0, random()), ValueError, "d"),
        "routed: generator": (lambda: routed(P, 2, 2, None), TypeError, "generator"),
        "switched: d": (lambda: switched(P, P, 2, 1, random()), ValueError, "d"),
        "switched: Q": (lambda: switched(P, P[:, :3], 2, 2, random()), ValueError, "Q"),
        "switched: dtypes": (lambda: switched(P, P.double(), 2, 2, random()), TypeError, "Q"),
        "rings: count": (lambda: rings(2, random(), 0), ValueError, "count"),
        "rings: samples": (lambda: rings(0, random()), ValueError, "samples"),
        "question: n": (lambda: question(2, 0, 3, random()), ValueError, "n"),
        "question: classes": (lambda: question(2, 4, 0, random()), ValueError, "classes"),
        "two_lookups: samples": (lambda: two_lookups(True, random()), TypeError, "samples"),
        "two_lookups: generator": (lambda: two_lookups(2, torch.Generator), TypeError, "generator"),
        "content_or_place: p": (lambda: content_or_place("0.5", 2, 4, 3, random()), TypeError, "p"),
        "content_or_place: classes": (
            lambda: content_or_place(0.5, 2, 4, 0, random()),
            ValueError,
            "classes",
        ),
    }
)


@pytest.mark.parametrize("call, kind, name", BAD.values(), ids=BAD)
def test_bad_arguments_are_refused_by_name(call, kind, name):
    refuses(call, kind, name)
