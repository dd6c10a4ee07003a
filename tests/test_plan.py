"""The plans for teaching: their minutes add up, all that they name is there, and the projects begin with code that runs."""

import ast
import re

import numpy as np
import plan
import pytest
from conftest import CHAPTERS, ROOT
from notebooks import load

PLAN = plan.plan()
PROJECTS = sorted((ROOT / "course" / "projects").glob("*.md"))
NOTES = sorted((ROOT / "course" / "notes").glob("[01]*.md"))
COURSES = ("eight_weeks", "twelve_weeks")
each_project = pytest.mark.parametrize("path", PROJECTS, ids=lambda path: path.stem)


@pytest.mark.parametrize("name", ["session", "day"])
def test_the_parts_of_a_lesson_take_the_time_that_it_promises(name):
    assert sum(map(plan.needs, PLAN[name]["parts"])) == PLAN[name]["minutes"]


def test_the_script_of_the_first_lesson_keeps_to_its_plan():
    text = (ROOT / "course" / "notes" / "first-lesson.md").read_text(encoding="utf-8")
    times = [tuple(map(int, found)) for found in re.findall(r"^## (\d+) to (\d+): ", text, re.MULTILINE)]
    assert [ends - begins for begins, ends in times] == [part["minutes"] for part in PLAN["session"]["parts"]]
    assert [begins for begins, _ in times] == [0, *(ends for _, ends in times[:-1])]


def test_the_numbers_on_the_board_of_the_first_lesson_are_right():
    text = (ROOT / "course" / "notes" / "first-lesson.md").read_text(encoding="utf-8").replace("−", "-")
    slides = (ROOT / "course" / "slides" / "first-lesson.yml").read_text(encoding="utf-8").replace("−", "-")
    (cell,) = [cell for cell in load(CHAPTERS[2])["cells"] if cell["id"] == "draw-hook"]
    points = ast.literal_eval(re.search(r"points = (\{.*?\n\})", cell["source"], re.DOTALL)[1])
    X = np.array([points[word] for word in ("I", "am", "a", "student", ".")])
    logits = X @ X[0] / np.sqrt(2)
    for numbers, form in ((logits, "{:.2f}"), (np.exp(logits), "{:.1f}"), ([np.exp(logits).sum()], "{:.1f}")):
        assert ", ".join(map(form.format, numbers)) in text
    for word in ("Cats", "chase", "small", "mice", "."):
        assert f"| {word} | {points[word][0]} | {points[word][1]} |" in slides


@pytest.mark.parametrize("name", COURSES)
def test_a_course_keeps_to_its_weeks(name):
    weeks = PLAN[name]["weeks"]
    assert len(weeks) == {"eight_weeks": 8, "twelve_weeks": 12}[name]
    chapters = [week["chapter"] for week in weeks]
    assert chapters == sorted(set(chapters)) and set(chapters) <= set(PLAN["chapters"])
    assert all(plan.at_home(week) <= PLAN["home"] for week in weeks)
    assert set(PLAN[name]["project"]) <= set(range(1, len(weeks) + 1))


@pytest.mark.parametrize("path", NOTES, ids=lambda path: path.stem)
def test_a_lecture_fills_its_ninety_minutes_and_gives_each_exercise_its_own(path):
    rows = re.findall(r"^\| (\d+) \| (.*) \|$", path.read_text(encoding="utf-8"), re.MULTILINE)
    assert {sum(int(minutes) for minutes, _ in rows)} == {PLAN[name]["lecture"] for name in COURSES}
    for minutes, what in rows:
        for number in re.findall(r"^exercise ([\d.]+), in pairs", what):
            assert int(minutes) >= plan.exercises()[number].minutes, what


def test_everything_that_a_plan_names_is_there():
    for number, chapter in PLAN["chapters"].items():
        assert plan.place(number)[0].parent.name == "book"
        assert {plan.exercises()[name].path.name[:2] for name in chapter["hand_in"]} == {number}
        for title in chapter["deeper"]:
            plan.place(f"deeper/{number}#{title}")
    for name in ("session", "day"):
        for part in PLAN[name]["parts"]:
            assert set(part) <= {"minutes", "do", "where", "exercises"} and ("minutes" in part) != (
                "exercises" in part
            )
            for where in part.get("where", ()):
                plan.place(where)


@pytest.mark.parametrize("where", ["13", "deeper/00", "02#No such section", "2"])
def test_a_place_that_is_not_there_is_refused(where):
    with pytest.raises(ValueError, match=f"^where: got '{where}', expected"):
        plan.place(where)


def test_reading_a_section_takes_less_than_its_notebook_and_exercises_take_what_their_headings_say():
    path, title = plan.place("deeper/07#Can a softmax count?")
    assert 5 <= plan.minutes(path, title) < plan.minutes(path)
    assert plan.exercises()["7.4"][1:3] == ("open", 30)
    week = {"chapter": "07", "also": [{"minutes": 11, "do": "something"}]}
    assert plan.at_home(week) == plan.at_home({"chapter": "07"}) + 11


def test_clock_times_follow_from_the_minutes():
    rows = re.findall(r"^\| (\d+):(\d+)–(\d+):(\d+) \|", plan.lesson("day"), re.MULTILINE)
    times = [(60 * int(a) + int(b), 60 * int(c) + int(d)) for a, b, c, d in rows]
    assert [ends - begins for begins, ends in times] == [plan.needs(part) for part in PLAN["day"]["parts"]]
    assert [ends for _, ends in times][:-1] == [begins for begins, _ in times][1:]


@each_project
def test_a_project_says_what_it_takes_and_how_it_is_judged(path):
    text = path.read_text(encoding="utf-8")
    assert f"**Hours:** {PLAN['project']}." in text
    rubric = re.findall(r"^\| (?:\*\*(\w+)\*\*|) ?\|(.*)\|$", text, re.MULTILINE)
    assert [name for name, _ in rubric] == ["", "Claim", "Control", "Interval", "Honesty"]
    levels = [[cell.strip() for cell in cells.split("|")] for _, cells in rubric]
    assert levels[0] == ["Convincing", "Sound", "Begun", "Missing"]
    assert all(len(cells) == 4 == len(set(cells)) and all(cells) for cells in levels)


@each_project
def test_the_first_step_of_a_project_runs(path, capsys):
    (code,) = re.findall(
        r"^```python\n(.*?)^```$", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    exec(code, {})
    printed = capsys.readouterr().out
    said = {  # what the project says of it
        "cut": r"nats a word piece more: -0\.\d+",
        "dial": r"(?s)fixed 0\.[0-8].*computed 0\.9",
        "trace": r"layer 1: -?0\.00\d of the variance",
    }
    assert re.search(said[path.stem], printed), printed
    if path.stem == "trace":
        shares = [tuple(map(float, re.findall(r"-?\d\.\d{3}", line))) for line in printed.splitlines()]
        assert shares[1][0] > shares[1][1] and shares[2][0] > shares[2][1]
