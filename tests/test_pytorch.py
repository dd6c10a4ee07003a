"""The page "PyTorch in thirty minutes": its code runs, each exercise asks for something, and it takes the time that it names."""

import re

import pytest
from conftest import ROOT

PAGE = (ROOT / "book" / "pytorch.md").read_text(encoding="utf-8")
LESSON, SELF_TEST = PAGE.split("## Six exercises")
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
EXERCISE = re.compile(
    r"^\*\*(\d)\. .*?^```python\n(.*?)^```$.*?^<details><summary>Solution</summary>\n\n```python\n(.*?)^```\n\n</details>$",
    re.MULTILINE | re.DOTALL,
)
EXERCISES = {number: (asked, solution) for number, asked, solution in EXERCISE.findall(SELF_TEST)}
UNANSWERED = re.compile(r"\A(?:def .*:\n    \.\.\.|\w+ = \.\.\.)\n")


@pytest.fixture(scope="module")
def names():
    """What a reader has defined when they come to the exercises."""
    found = {}
    for block in BLOCK.findall(LESSON):
        exec(block, found)
    return found


def test_every_block_belongs_to_the_lesson_or_to_an_exercise():
    assert list(EXERCISES) == list("123456")
    assert len(BLOCK.findall(SELF_TEST)) == 2 * len(EXERCISES)


@pytest.mark.parametrize("number", EXERCISES)
def test_an_exercise_stops_until_it_is_answered(names, number):
    asked, solution = EXERCISES[number]
    assert UNANSWERED.match(asked)
    with pytest.raises((AssertionError, AttributeError, TypeError)):
        exec(asked, dict(names))
    exec(UNANSWERED.sub(lambda _: solution, asked), dict(names))


def test_the_lesson_takes_the_time_that_the_page_says():
    """By the book's own rule: 130 words in a minute, and 15 seconds for a line of code."""
    words = len(re.findall(r"[^\W_][\w'’-]*", BLOCK.sub(" ", LESSON)))
    lines = sum(bool(line.strip()) for block in BLOCK.findall(LESSON) for line in block.splitlines())
    assert "Twenty minutes are for reading" in LESSON
    assert 17.5 <= words / 130 + lines / 4 <= 22.5, (words, lines)
