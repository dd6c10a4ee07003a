"""The questions of the course: each teaches whatever is chosen, and all of them hang together with the ideas and the judges."""

import json
import re
from collections import Counter

import pytest
import yaml
from conftest import CHAPTERS, ROOT, cells
from test_exercises import WRONG

from dynattn.exercises import _EXERCISES, _judge, grade, variants

COURSE = ROOT / "course"
FILES = {
    path.stem: yaml.safe_load(path.read_text(encoding="utf-8"))
    for path in sorted((COURSE / "items").glob("*.yml"))
}
ITEMS = [item for items in FILES.values() for item in items]
CHOICES = [(item, choice) for item in ITEMS for choice in item["choices"]]
CONCEPTS = yaml.safe_load((COURSE / "concepts.yml").read_text(encoding="utf-8"))
BELIEFS = [
    (name, belief) for concept in CONCEPTS.values() for name, belief in concept["misconceptions"].items()
]
RECORDS = json.loads((ROOT / "book" / "records.json").read_text(encoding="utf-8"))
NUMBER = re.compile(r"\{(\d+\.\d+):([^{}]+)\}")  # a claim, and the format of its number
each_item = pytest.mark.parametrize("item", ITEMS, ids=[item["id"] for item in ITEMS])
each_chapter = pytest.mark.parametrize("number", range(1, 13), ids="{:02d}".format)


def texts(item: dict) -> list[str]:
    return [item["question"], *(choice[part] for choice in item["choices"] for part in ("text", "feedback"))]


def right(item: dict) -> dict:
    (choice,) = [choice for choice in item["choices"] if choice.get("right")]
    return choice


# ------------------------------------------------------------------------------------------------------------ an item


@each_item
def test_an_item_has_what_it_needs_and_nothing_else(item):
    assert set(item) == {"id", "concept", "level", "minutes", "question", "choices"}
    assert item["level"] in ("recall", "understand", "apply") and item["minutes"] in (1, 2, 3)
    assert len(item["choices"]) in (3, 4)
    for choice in item["choices"]:
        assert {"text", "feedback"} <= set(choice) <= {"text", "feedback", "right", "misconception"}
        assert choice.get("right", True) is True, "wrong choices don't say so"
    assert "misconception" not in right(item)
    assert all(isinstance(text, str) and text == text.strip() for text in texts(item))


@each_item
def test_each_choice_has_feedback_of_its_own_that_teaches(item):
    said = [choice["feedback"] for choice in item["choices"]]
    assert len(set(said)) == len({choice["text"] for choice in item["choices"]}) == len(said)
    for feedback in said:
        assert len(feedback.split()) >= 8, f"too short to teach anything: {feedback}"
        assert not re.match(r"(wrong|false|incorrect|right|correct)[.!]", feedback, re.IGNORECASE), feedback


@each_item
def test_no_choice_is_told_by_its_length(item):
    lengths = [len(choice["text"]) for choice in item["choices"]]
    assert max(lengths) <= max(1.7 * min(lengths), min(lengths) + 20), dict(
        zip(lengths, (c["text"] for c in item["choices"]))
    )


@each_item
def test_the_numbers_of_an_item_are_measured_ones(item):
    for text in texts(item):
        for claim, form in NUMBER.findall(text):
            assert claim in RECORDS, f"there is no claim {claim}"
            format(RECORDS[claim]["measured"], form)
        rest = NUMBER.sub("", text)
        assert not re.search(r"\{\d+\.\d+|\d ?%", rest), f"a number that should be filled in: {rest}"


# ----------------------------------------------------------------------------------------------------------- all items


def test_ids_are_used_once_and_tell_the_file():
    assert [name for name, times in Counter(item["id"] for item in ITEMS).items() if times > 1] == []
    for file, items in FILES.items():
        for item in items:
            place, _, name = item["id"].partition("-")
            assert place == file or (file == "tests" and place in ("A", "B")), (file, item["id"])
            assert re.fullmatch(r"[a-z0-9-]+", name), item["id"]


@each_chapter
def test_a_chapter_has_six_items_and_half_of_them_ask_for_more_than_memory(number):
    items = FILES[f"{number:02d}"]
    assert len(items) >= 6
    assert 2 * sum(item["level"] != "recall" for item in items) >= len(items)


@pytest.mark.parametrize("file", FILES)
def test_the_right_choice_is_not_told_by_its_form(file):
    """Over a file: it is neither the longest in most items nor the shortest, and it stands in no place in most of them."""
    longest = shortest = 0
    places = Counter()
    for item in FILES[file]:
        lengths = sorted(len(choice["text"]) for choice in item["choices"])
        own = len(right(item)["text"])
        longest += own == lengths[-1] > lengths[-2]
        shortest += own == lengths[0] < lengths[1]
        places[item["choices"].index(right(item))] += 1
    assert max(longest, shortest, *places.values()) <= len(FILES[file]) / 2


def test_two_forms_of_a_test_ask_for_the_same_ideas_in_the_same_order():
    forms = {
        form: {item["id"][2:]: item for item in FILES["tests"] if item["id"][0] == form} for form in "AB"
    }
    assert list(forms["A"]) == list(forms["B"]) == [f"{number:02d}" for number in range(1, 13)]
    for number, one in forms["A"].items():
        other = forms["B"][number]
        assert (one["concept"], one["level"]) == (other["concept"], other["level"]), number
        assert one["question"] != other["question"], number
    assert "NOT YET VALIDATED" in (COURSE / "items" / "tests.yml").read_text(encoding="utf-8")


# ------------------------------------------------------------------------------------------ ideas, beliefs and judges


@each_item
def test_an_item_belongs_to_an_idea_and_its_wrong_choices_to_known_beliefs(item):
    assert item["concept"] in CONCEPTS
    known = dict(BELIEFS)
    assert [m for c in item["choices"] if (m := c.get("misconception", next(iter(known)))) not in known] == []


def test_every_idea_has_an_item_and_every_belief_an_item_or_a_judge():
    assert set(CONCEPTS) == {item["concept"] for item in ITEMS}
    assert [name for name, times in Counter(name for name, _ in BELIEFS).items() if times > 1] == []
    chosen = {choice.get("misconception") for _, choice in CHOICES}
    assert [name for name, belief in BELIEFS if not belief["found"] and name not in chosen] == []


def test_an_idea_says_where_it_is_taught_and_each_exercise_belongs_to_one():
    parts = {"name", "says", "chapters", "sections", "exercises", "misconceptions"}
    for name, concept in CONCEPTS.items():
        assert set(concept) == parts, name
        assert concept["chapters"] and set(concept["chapters"]) <= set(range(1, 13)), name
        assert concept["sections"] and concept["misconceptions"], name
        assert all(set(belief) == {"says", "found"} for belief in concept["misconceptions"].values()), name
    assert {number for concept in CONCEPTS.values() for number in concept["exercises"]} == set(_EXERCISES)


def headings(path) -> set[str]:
    """The ends of links to a notebook's headings, as MyST makes them."""
    found = re.findall(
        r"^#+ (.+)$", "\n".join(cell["source"] for cell in cells(path, "markdown")), re.MULTILINE
    )
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


def test_the_sections_of_an_idea_are_there():
    there = {f"{path.stem}#{heading}" for path in CHAPTERS for heading in headings(path)}
    assert [
        section for concept in CONCEPTS.values() for section in concept["sections"] if section not in there
    ] == []


def said(number: str):
    """What the judge of an exercise says of the mistakes that it lists, and of the wrong answers that the tests hold."""
    yield from (
        diagnosis for variant in range(variants(number)) for diagnosis in _judge(number, variant).mistakes
    )
    yield from (grade(number, answer).diagnosis for other, answer, _ in WRONG.values() if other == number)


FOUND = [(name, place) for name, belief in BELIEFS for place in belief["found"]]


@pytest.mark.parametrize("name, place", FOUND, ids=[f"{name}: {place[:30]}" for name, place in FOUND])
def test_a_judge_names_the_belief_that_is_said_to_be_found_there(name, place):
    number, _, words = place.partition(": ")
    assert number in _EXERCISES
    assert not words or any(words in diagnosis for diagnosis in said(number))


# ---------------------------------------------------------------------------------------------------- notes for teachers

ALWAYS = {
    "Minutes, as planned",
    "On the board",
    "From the notebook that goes deeper",
    "If you are short of time",
}


@each_chapter
def test_the_notes_of_a_chapter_follow_it(number):
    """Ninety minutes, headings that are the chapter's, each of its predictions, and an exercise of its own for the class."""
    notes = (COURSE / "notes" / f"{number:02d}.md").read_text(encoding="utf-8")
    (path,) = [
        path for path in CHAPTERS if path.parent.name == "book" and path.name.startswith(f"{number:02d}-")
    ]
    chapter = "\n".join(cell["source"] for cell in cells(path, "markdown"))
    assert sum(map(int, re.findall(r"^\| (\d+) \|", notes, re.MULTILINE))) == 90
    ours, *lasts = (
        re.findall(r"^## (.+)$", notes, re.MULTILINE),
        *re.findall(r"^## In class: exercise (.+)$", notes, re.MULTILINE),
    )
    assert len(lasts) == 1 and f"\n### {lasts[0]} " in chapter
    theirs = set(re.findall(r"^## (.+)$", chapter, re.MULTILINE))
    assert [
        heading for heading in ours if heading not in ALWAYS | theirs | {f"In class: exercise {lasts[0]}"}
    ] == []
    assert notes.count("**Prediction: ") >= chapter.count("> **Your guess first.**")
