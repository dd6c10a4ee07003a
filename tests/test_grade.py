"""A folder of handed-in notebooks becomes a table, whatever the notebooks do."""

import csv
import json
from pathlib import Path

import pytest

from dynattn.grade import COLUMNS, _main, grade_notebook

RIGHT = {
    "1.1": "W = torch.eye(5).roll(2, dims=0)",
    "2.1": "def my_2_1(q, k, v): return (q @ k.T / q.shape[-1] ** 0.5).softmax(-1) @ v",
    "2.4": "def my_2_4(a): return torch.diag(a) - torch.outer(a, a)",
}
NAMES = {"1.1": "W", "2.1": "my_2_1", "2.4": "my_2_4"}
IMPORTS = (
    "import numpy as np\nimport torch\n\nimport dynattn\nfrom dynattn import check\n\nseed = dynattn.seed()"
)
NUMPY = """def my_2_1(q, k, v):
    logits = np.matmul(q, np.transpose(k)) / np.sqrt(np.shape(q)[1])
    weights = np.exp(logits - np.max(logits, axis=1, keepdims=True))
    return (weights / np.sum(weights, axis=1, keepdims=True)).astype(np.float64) @ v"""
FLOAT32 = "W = torch.tensor([[1.0, 2.0]])\ndef my_2_1(q, k, v): return (q.to(W) @ k.to(W).T / q.shape[-1] ** 0.5).softmax(-1) @ v"


def exercise(number, answer):
    return f'{answer}\n\n\ncheck("{number}", {NAMES[number]})'


def written(path, *cells):
    code = [{"cell_type": "code", "id": f"c{i}", "metadata": {}, "outputs": [], "execution_count": None, "source": cell}
            for i, cell in enumerate(cells)]  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"cells": code, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    return path


def handed_in(path, **answers):
    """A notebook with these answers in place of the right ones; None leaves the exercise out."""
    answers = RIGHT | {name[1:].replace("_", "."): answer for name, answer in answers.items()}
    cells = [exercise(number, answer) for number, answer in answers.items() if answer is not None]
    return written(path, IMPORTS, *cells)


STUDENTS = {
    "right": {},
    "empty": {
        "_1_1": "W = ...",
        "_2_1": "def my_2_1(q, k, v): ...",
        "_2_4": "def my_2_4(a): raise NotImplementedError",
    },
    "half": {
        "_2_1": "def my_2_1(q, k, v): return (q @ k.T).softmax(-1) @ v",
        "_2_4": "def my_2_4(a): return torch.diag(a)",
    },
    "no return": {"_2_1": "def my_2_1(q, k, v): (q @ k.T / q.shape[-1] ** 0.5).softmax(-1) @ v"},
    "numpy": {"_2_1": NUMPY},
    "float32": {"_2_1": FLOAT32},
    "syntax": {"_2_1": "def my_2_1(q, k, v: return v"},
    "raises": {"_2_1": "def my_2_1(q, k, v): return undefined"},
    "endless": {"_2_1": "def my_2_1(q, k, v):\n    while True: pass"},
    "endless in C": {"_2_1": "def my_2_1(q, k, v): return sum(iter(int, 1))"},
    "crash": {"_2_1": "import os\ndef my_2_1(q, k, v): os.abort()"},
    "leaves": {"_2_1": "import sys\ndef my_2_1(q, k, v): sys.exit(0)"},
    "forgotten": {"_2_4": None},
    "cheats": {"_2_1": "def check(number, answer): print('right')\ndef my_2_1(q, k, v): return 0 * v"},
    "changes the judge": {
        "_2_1": "import dynattn.exercises as e\ne._EXERCISES['2.1'] = lambda answer: None\ndef my_2_1(q, k, v): return v"
    },
    "asks the network": {
        "_2_1": "import urllib.request\ndef my_2_1(q, k, v): return urllib.request.urlopen('http://127.0.0.1:9')"
    },
}
WANT = {  # of 2.1, and then of 2.4
    "right": ("right", "right"),
    "empty": ("not attempted", "not attempted"),
    "half": ("wrong", "wrong"),
    "no return": ("wrong", "right"),
    "numpy": ("right", "right"),
    "float32": ("right", "right"),
    "syntax": ("broken", "right"),
    "raises": ("broken", "right"),
    "endless": ("broken", "right"),
    "endless in C": ("broken", "right"),
    "crash": ("broken", "right"),
    "leaves": ("broken", "right"),
    "forgotten": ("right", "missing"),
    "cheats": ("wrong", "right"),
    "changes the judge": ("broken", "right"),
    "asks the network": ("broken", "right"),
}


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    folder = tmp_path_factory.mktemp("handed-in")
    for student, answers in STUDENTS.items():
        handed_in(folder / f"{student}.ipynb", **answers)
    (folder / "no notebook.ipynb").write_text("this is no JSON")
    out = folder / "grades.csv"
    assert _main([str(folder), "--out", str(out), "--seconds", "3", "--memory", "0"]) == 0
    with out.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == list(COLUMNS)
    return {(row["student"], row["exercise"]): row for row in rows}


@pytest.mark.parametrize("student", STUDENTS)
def test_every_notebook_becomes_rows(table, student):
    assert (table[student, "2.1"]["status"], table[student, "2.4"]["status"]) == WANT[student], table[
        student, "2.1"
    ]
    assert table[student, "1.1"]["status"] == ("not attempted" if student == "empty" else "right")


def test_the_rows_say_why(table):
    said = {student: table[student, "2.1"]["diagnosis"] for student in STUDENTS}
    assert "no scale" in said["half"] and "SyntaxError" in said["syntax"] and "NameError" in said["raises"]
    assert (
        "3 seconds" in said["endless"]
        and "3 seconds" in said["endless in C"]
        and "ended Python" in said["crash"]
    )
    assert "returns nothing" in said["no return"]
    assert "changes the check" in said["changes the judge"] and "no network" in said["asks the network"]
    assert table["no notebook", ""]["diagnosis"] == "this is no notebook that can be read."
    styles = {student: table[student, "2.1"]["style"] for student in ("right", "float32", "numpy")}
    assert styles == {"right": "float64", "float32": "float32", "numpy": "NumPy"}


def test_a_path_from_the_folder_where_it_is_called(tmp_path, monkeypatch):
    handed_in(tmp_path / "sheets" / "a.ipynb")
    monkeypatch.chdir(tmp_path)
    found = grade_notebook(Path("sheets", "a.ipynb"), seconds=20)
    assert [result.status for result in found] == ["right"] * 3


def test_cells_in_another_order_and_helpers_in_their_own(tmp_path):
    path = written(
        tmp_path / "a.ipynb",
        exercise("2.4", "def my_2_4(a): return helper(a)"),
        "def helper(a): return torch.diag(a) - torch.outer(a, a)",
        "while True: pass  # a training, which is not run",
        "%matplotlib inline\n" + IMPORTS,
    )
    assert [result.status for result in grade_notebook(path, seconds=10)] == ["right"]


def test_two_exercises_in_one_cell(tmp_path):
    """The first of them doesn't end; and in a second notebook Python ends between two of them."""
    endless = "def my_2_1(q, k, v):\n    while True: pass"
    path = written(
        tmp_path / "a.ipynb", IMPORTS, exercise("2.1", endless) + "\n" + exercise("2.4", RIGHT["2.4"])
    )
    assert {result.number: result.status for result in grade_notebook(path, seconds=2)} == {
        "2.1": "broken",
        "2.4": "right",
    }
    first, last = (exercise(number, RIGHT[number]) for number in ("2.1", "2.4"))
    path = written(tmp_path / "b.ipynb", IMPORTS, first + "\nimport os\nos.abort()", last)
    assert {result.number: result.status for result in grade_notebook(path, seconds=9)} == {
        "2.1": "right",
        "2.4": "right",
    }


def test_variants_have_rows_of_their_own(tmp_path):
    """The book's answer is not the variant's; a variant that doesn't exist is no exercise."""
    book, variant = "torch.eye(5).roll(2, dims=0)", "torch.eye(7).roll(3, dims=0)"
    path = written(
        tmp_path / "a.ipynb",
        IMPORTS,
        f'check("1.1", {book})',
        f'check("1.1", {variant}, 1)',
        f'check("1.1", {book}, variant=2)',
        f'check("1.1", {book}, 99)',
    )
    assert {result.number: result.status for result in grade_notebook(path, seconds=9)} == {
        "1.1": "right",
        "1.1/1": "right",
        "1.1/2": "wrong",
    }


def test_memory_has_a_limit(tmp_path):
    path = handed_in(tmp_path / "a.ipynb", _2_1="def my_2_1(q, k, v): return torch.zeros(2**33)")
    found = {result.number: result for result in grade_notebook(path, seconds=20, memory=6)}
    assert found["2.1"].status == "broken" and found["2.4"].status == "right"


def test_a_folder_that_is_none(tmp_path, capsys):
    assert _main([str(tmp_path / "absent")]) == 2
    assert _main([str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("folder: got ") == 2
