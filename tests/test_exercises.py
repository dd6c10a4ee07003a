"""The checks of the exercises: right answers pass in any style, each wrong one (answers/) is told what is wrong."""

import math
import re

import pytest
import torch
from answers import chapter5, chapter6, chapter7, chapter8, chapter9, chapter10, chapter11, chapter12, part1
from conftest import CHAPTERS, cells

from dynattn import check
from dynattn.exercises import _JUDGES, CheckFailed

BANK = (part1, chapter5, chapter6, chapter7, chapter8, chapter9, chapter10, chapter11, chapter12)
RIGHT, WRONG = (
    {name: case for of in BANK for name, case in getattr(of, side).items()} for side in ("RIGHT", "WRONG")
)
SAME = {name for of in BANK for name in of.SAME}  # kinds of answers that are the same mistake


def said(capsys, number, answer) -> str:
    check(number, answer)
    return capsys.readouterr().out


@pytest.mark.parametrize("number, answer", RIGHT.values(), ids=RIGHT)
def test_right_answers_pass_in_any_style(number, answer, capsys):
    assert said(capsys, number, answer) == f"Exercise {number}: right.\n"


# -------------------------------------------------------------------------- wrong, each with its diagnosis


@pytest.mark.parametrize("number, answer, diagnosis", WRONG.values(), ids=WRONG)
def test_wrong_answers_are_told_what_is_wrong(number, answer, diagnosis):
    with pytest.raises(CheckFailed, match=re.escape(diagnosis)) as failed:
        check(number, answer)
    assert str(failed.value).startswith(f"exercise {number}: ")


def test_each_diagnosis_belongs_to_one_mistake():
    """Where the bank names a mistake, no other mistake of the same exercise gets the same message."""
    messages = {}
    for name, (number, answer, _) in WRONG.items():
        with pytest.raises(CheckFailed) as failed:
            check(number, answer)
        message = re.sub(r"[\d.e+-]+", "", str(failed.value))
        messages.setdefault((number, message), []).append(name)
    shared = [names for names in messages.values() if len(names) > 1]
    assert all(name in SAME for names in shared for name in names), shared


# ------------------------------------------------------------------------- what is not an answer, or breaks

NUMBERS = sorted(_JUDGES)
each_exercise = pytest.mark.parametrize("number", NUMBERS)


def returns(value):
    return lambda *arguments: value


@each_exercise
@pytest.mark.parametrize(
    "blank", [None, ..., returns(None), returns(...)], ids=["None", "...", "->None", "->..."]
)
def test_a_skeleton_is_not_attempted(number, blank, capsys):
    assert said(capsys, number, blank) == f"Exercise {number}: not attempted yet.\n"


@each_exercise
def test_not_implemented_is_not_attempted(number, capsys):
    def answer(*arguments):
        raise NotImplementedError

    assert said(capsys, number, answer) == f"Exercise {number}: not attempted yet.\n"


@each_exercise
def test_an_error_in_the_answer_is_reported_as_the_readers(number):
    def answer(*arguments):
        raise IndexError("list index out of range")

    with pytest.raises(CheckFailed, match="your code raised IndexError: list index out of range"):
        check(number, answer)


NONSENSE = [
    "text",
    object(),
    {},
    [],
    (),
    [[1], [1, 2]],
    torch.zeros(0),
    torch.tensor(1j),
    torch.full((3, 3), math.nan),
]
NUMBER_LIKE = [7, -1.5, True]  # exercise 1.4 asks for such a value


@pytest.mark.parametrize(
    ("number", "value"),
    [(n, value) for n in NUMBERS for value in NONSENSE + NUMBER_LIKE * (n != "1.4")],
    ids=lambda value: repr(value)[:20],
)
def test_nonsense_is_refused_with_a_diagnosis(number, value):
    for answer in (value, returns(value)):
        with pytest.raises(CheckFailed, match=f"^exercise {number}: ."):
            check(number, answer)


TENSOR_ARGUMENTS = [number for number in NUMBERS if number not in ("1.1", "1.4", "2.3", "4.1", "4.4")]


@pytest.mark.parametrize("number", [number for number in TENSOR_ARGUMENTS if float(number) < 3])
def test_changing_the_input_in_place_is_reported(number):
    right = {n: answer for n, answer in RIGHT.values()}[number]

    def answer(*arguments):
        result = right(*(a.clone() for a in arguments))
        arguments[0].add_(1)
        return result

    with pytest.raises(CheckFailed, match="in place"):
        check(number, answer)


def test_an_unknown_number_is_refused():
    with pytest.raises(KeyError, match="9.9"):
        check("9.9", ...)


@each_exercise
def test_there_is_an_exercise_in_the_chapter_of_its_number(number):
    chapters = [path for path in CHAPTERS if path.name.startswith(f"{int(number.split('.')[0]):02}-")]
    assert chapters, f"exercise {number} has no chapter"
    sources = [cell["source"] for path in chapters for cell in cells(path, "code")]
    assert sum(f'check("{number}",' in source for source in sources) == 1
