"""Three graders say the same: `make course-test`. It takes minutes and two more environments, so `make test` leaves it out.

Ten hand-ins for each of two worksheets are graded by ``python -m dynattn.grade``, by otter-grader and by nbgrader.
"""

import csv
import json
import os
import subprocess
import sys

import course_graders
import nbformat
import pytest
from conftest import CHAPTERS
from notebooks import worksheet

import course

STUDENTS = (
    "right",
    "half",
    "empty",
    "numpy",
    "float32",
    "syntax",
    "endless",
    "renamed",
    "cheats",
    "two mistakes",
)

# What a student hands in where it isn't the book's solution: by worksheet, student and exercise; None: untouched.
ANSWERS = {
    "02-attention-matrix": {
        "half": {"2.2": None, "2.3": None},
        "empty": {"2.1": None, "2.2": None, "2.3": None},
        "numpy": {
            "2.1": """def my_attend(q, k, v):
    logits = np.matmul(q, np.transpose(k)) / np.sqrt(np.shape(k)[1])
    weights = np.exp(logits - np.max(logits, axis=1, keepdims=True))
    return (weights / np.sum(weights, axis=1, keepdims=True)).astype(np.float64) @ v""",
            "2.3": """def my_points(n):
    angle = 2 * np.pi * np.arange(n) / n
    keys = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return 2 * n**2 * np.roll(keys, 1, axis=0), keys""",
        },
        "float32": {
            "2.1": """one = torch.ones(1, dtype=torch.float32)


def my_attend(q, k, v):
    return (q.to(one) @ k.to(one).T / q.shape[1] ** 0.5).softmax(1) @ v""",
        },
        "syntax": {"2.1": "def my_attend(q, k, v: return v"},
        "endless": {"2.1": "def my_attend(q, k, v):\n    while True: pass"},
        "renamed": {"2.1": "def attend(q, k, v):\n    return (q @ k.T / q.shape[1] ** 0.5).softmax(1) @ v\n\n\ncheck('2.1', attend)"},
        "cheats": {"2.1": "def check(number, answer): print('Exercise 2.1: right.')\n\n\ndef my_attend(q, k, v): return 0 * v"},
        "two mistakes": {"2.1": "def my_attend(q, k, v):\n    return (q @ k.T).softmax(0) @ v"},
    },
    "10-does-language-choose": {
        "half": {"10.3": None},
        "empty": {"10.2": None, "10.3": None},
        "numpy": {
            "10.2": """import numpy as np


def my_share(x, group):
    x, group = np.array(x), np.array(group)
    within = sum(np.square(x[group == g] - x[group == g].mean(axis=0)).sum() for g in np.unique(group))
    return 1 - within / np.square(x - x.mean(axis=0)).sum()""",
            "10.3": """import numpy as np


def my_p(measured, shuffled):
    return (1 + np.sum(np.array(shuffled) >= np.array(measured))) / (1 + np.size(np.array(shuffled)))""",
        },
        "float32": {
            "10.2": """one = torch.ones(1, dtype=torch.float32)


def my_share(x, group):
    x = x.to(one)
    within = sum((x[group == g] - x[group == g].mean(0)).square().sum() for g in group.unique())
    return 1 - within / (x - x.mean(0)).square().sum()""",
        },
        "syntax": {"10.2": "def my_share(x, group) return x"},
        "endless": {"10.2": "def my_share(x, group):\n    while True: pass"},
        "renamed": {"10.3": "def p(measured, shuffled):\n    return (1 + sum(shuffled >= measured)) / (1 + len(shuffled))\n\n\ncheck('10.3', p)"},
        "cheats": {"10.2": "def check(number, answer): print('Exercise 10.2: right.')\n\n\ndef my_share(x, group): return 0.5"},
        "two mistakes": {"10.3": "def my_p(measured, shuffled):\n    return (shuffled > measured).double().sum() / (1 + len(shuffled))"},
    },
}  # fmt: skip
NOT_RIGHT = ("half", "empty", "syntax", "endless", "cheats", "two mistakes")  # in what ANSWERS says of them


def handed_in(notebook, name: str, student: str, exercises: dict):
    """A copy of a notebook with a student's answers."""
    notebook = nbformat.from_dict(notebook)
    for number, exercise in exercises.items():
        answer = ANSWERS[name].get(student, {}).get(number, exercise.solution)
        if answer is not None and "check(" not in answer.replace("def check(", ""):
            answer += "\n\n\n" + exercise.skeleton.splitlines()[-1]
        for cell in notebook.cells:
            if answer is not None and cell.id == course.cell_id("exercise", number):
                cell.source = answer
    return notebook


def call(command, folder, **variables):
    environment = os.environ | {"PATH": f"{os.path.dirname(command[0])}:{os.environ['PATH']}"} | variables
    made = subprocess.run([*map(str, command)], cwd=folder, env=environment, capture_output=True, text=True)
    assert made.returncode == 0, made.stdout[-3000:] + made.stderr[-3000:]


def by_dynattn(folder, name, exercises):
    """Whether the answer of each student to each exercise is right, by ``python -m dynattn.grade``."""
    (folder / "sheets").mkdir()
    sheet = nbformat.read(course.OUT / "worksheets" / f"{name}.ipynb", as_version=4)
    for student in STUDENTS:
        notebook = handed_in(sheet, name, student, exercises)
        if student == "half":  # whose editor forgets the cells' tags
            for cell in notebook.cells:
                cell.metadata = {}
        nbformat.write(notebook, folder / "sheets" / f"{student}.ipynb")
    call([sys.executable, "-m", "dynattn.grade", "sheets", "--out", "dynattn.csv"], folder)
    with (folder / "dynattn.csv").open(encoding="utf-8", newline="") as file:
        return {(row["student"], row["exercise"]): row["status"] == "right" for row in csv.DictReader(file)}


def by_otter(folder, name, exercises):
    """The same by otter-grader, of the same files."""
    program = course_graders.environment(course_graders.OTTER) / "bin" / "otter"
    autograder, found = course.OUT / "otter" / f"{name}-autograder.zip", {}
    for student in STUDENTS:
        out = folder / "otter" / student
        out.mkdir(parents=True)
        call([program, "run", "-a", autograder, "-o", out, folder / "sheets" / f"{student}.ipynb"], folder)
        tests = json.loads((out / "results.json").read_text())["tests"]
        scores = {test["name"].partition(" ")[0]: test["score"] for test in tests if "score" in test}
        found |= {(student, number): scores[course_graders.question(number)] == 1 for number in exercises}
    return found


GRADES = """
import json, sys
from nbgrader.api import Gradebook
with Gradebook("sqlite:///gradebook.db") as book:
    print(json.dumps([[submission.student.id, grade.name, grade.score]
                      for submission in book.assignment_submissions(sys.argv[1])
                      for notebook in submission.notebooks for grade in notebook.grades]))
"""


def by_nbgrader(folder, name, exercises):
    """The same by nbgrader, of the answers in the notebook that it has released."""
    programs = course_graders.environment(course_graders.NBGRADER) / "bin"
    room = folder / "nbgrader"
    (room / "source").mkdir(parents=True)
    (room / "nbgrader_config.py").write_text((course.OUT / "nbgrader" / "nbgrader_config.py").read_text())
    (room / "source" / name).symlink_to(course.OUT / "nbgrader" / "source" / name)
    call([programs / "nbgrader", "generate_assignment", name], room)
    released = nbformat.read(room / "release" / name / f"{name}.ipynb", as_version=4)
    assert not [
        e for e in exercises.values() if e.solution.strip() in str([c.source for c in released.cells])
    ]
    for student in STUDENTS:
        place = room / "submitted" / student.replace(" ", "_") / name
        place.mkdir(parents=True)
        nbformat.write(handed_in(released, name, student, exercises), place / f"{name}.ipynb")
    call([programs / "nbgrader", "autograde", name, "--Execute.timeout=90"], room)
    made = subprocess.run(
        [programs / "python", "-c", GRADES, name], cwd=room, capture_output=True, text=True, check=True
    )
    scores = {(student.replace("_", " "), cell): score for student, cell, score in json.loads(made.stdout)}
    return {
        (student, number): scores[student, course_graders.question(number)] == 1
        for student in STUDENTS
        for number in exercises
    }


@pytest.mark.parametrize("name", ANSWERS)
def test_three_graders_agree(name, tmp_path):
    (path,) = [path for path in CHAPTERS if path.stem == name]
    exercises = worksheet(path)[1]
    want = {
        (student, number): not (student in NOT_RIGHT and number in ANSWERS[name][student])
        for student in STUDENTS
        for number in exercises
    }
    tables = {
        grader.__name__: grader(tmp_path, name, exercises) for grader in (by_dynattn, by_otter, by_nbgrader)
    }
    for table in tables.values():
        assert {key: table[key] for key in want if table[key] != want[key]} == {}, tables
