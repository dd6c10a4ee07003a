"""Assignments for otter-grader and nbgrader, and the environments in which these run: ``python tools/course_graders.py``.

Neither grader judges. Each asks ``dynattn.grade`` about the notebook that was handed in, so that all three say the same: an
answer is right or isn't, whatever the notebook does to ``check``, and an endless loop costs that exercise alone.
"""

import json
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from textwrap import indent

import nbformat
import progress
from nbformat.v4 import new_code_cell, new_raw_cell
from notebooks import ROOT

ENVIRONMENTS = ROOT / "_build" / "graders"
OTTER, NBGRADER = "otter-grader==7.0.0", "nbgrader==0.9.6"
ANSWER = (
    "otter_ignore"  # otter doesn't run the cells with this tag: dynattn.grade does, each within its limits
)
JUDGE = "judged.py"
JUDGED = '''\
"""What the graders ask: is an exercise of the notebook in this folder right?"""

from functools import cache
from pathlib import Path

from dynattn.grade import grade_notebook


@cache
def judged(path, changed):
    return {result.number: result for result in grade_notebook(path)}


def require(name):
    """Raise an error, with the diagnosis, unless the answer to the exercise is right in the notebook as it is saved.

    ``name``: its number, such as 2.1, or 2.1/3 for variant 3; an answer to another variant doesn't count.
    """
    (path,) = Path().glob("*.ipynb")
    result = judged(path.absolute(), path.stat().st_mtime).get(name)
    assert result, "the notebook has no check of this exercise"
    assert result.status == "right", f"{result.status}: {result.diagnosis}"
'''
CONFIG = """\
# For nbgrader: https://nbgrader.readthedocs.io
c = get_config()
c.CourseDirectory.course_id = "attention"
c.ClearSolutions.code_stub = {"python": ""}  # students get the skeleton that stands before the solution
c.Execute.timeout = 300  # seconds for a cell: several answers may each take the minute that an answer may take
"""
ASSIGN = """\
import json, sys
from otter.assign import main
for master in json.load(sys.stdin):
    main(f"{master}.ipynb", f"dist/{master}", no_run_tests=True)
"""


def environment(requirement: str) -> Path:
    """The environment of a grader. What it lacks, torch above all, it takes from .venv, which it comes before."""
    folder = ENVIRONMENTS / requirement.partition("==")[0]
    made = folder / "made.json"
    want = json.dumps([requirement, str(folder), sys.version, sys.prefix])
    if made.exists() and made.read_text() == want:
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, symlinks=True, with_pip=True)
    pip = [folder / "bin" / "pip", "install", "--disable-pip-version-check", requirement]
    code, output = progress.run(f"install {requirement}", pip)
    if code:
        raise SystemExit(f"failed: install {requirement}\n{output}")
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "book.pth").write_text(f"{sysconfig.get_path('purelib')}\n{ROOT}\n")
    made.write_text(want)
    return folder


def question(number: str) -> str:
    return f"q{number.replace('.', '_')}"


def required(number: str, variant: int) -> str:
    """The call that asks for an exercise's answer."""
    name = f"{number}/{variant}" if variant else number
    return f'from judged import require\n\nrequire("{name}")'


def solved(exercise, variant: int, mark: str) -> str:
    """The skeleton, and below it the book's solution between a grader's marks; a variant's solution stands nowhere."""
    solution = "" if variant else exercise.solution.strip() + "\n"
    return f"\n\n{mark.format('BEGIN')}\n{solution}{mark.format('END').removesuffix(' NO PROMPT')}"


def otter_master(notebook, exercises: dict, wheel: Path) -> None:
    """Turn a worksheet into a master for `otter assign`, which has no name, so that the plain worksheet is graded, too."""
    config = (
        "# ASSIGNMENT CONFIG\ninit_cell: false\nexport_cell: false\ntests: {files: true, ok_format: false}\n"
        f"requirements: ['dynattn @ file:///autograder/source/files/{wheel.name}']\n"
        f"autograder_files: [{wheel.name}, {JUDGE}]\n"
        "generate: {show_stdout: false, show_all_public: true}"
    )
    cells = [new_raw_cell(config)]
    for cell in notebook.cells:
        kind, _, number = cell.id.partition("-")
        number = number.replace("-", ".")
        if kind == "text":
            cells.append(new_raw_cell(f"# BEGIN QUESTION\nname: {question(number)}\npoints: 1"))
        if kind == "exercise":
            cell.source += solved(*exercises[number], "# {} SOLUTION NO PROMPT")
            test = "def test():\n" + indent(required(number, exercises[number][1]), "    ")
            cells += [new_raw_cell("# BEGIN SOLUTION"), cell, new_raw_cell("# END SOLUTION")]
            cells += [new_raw_cell("# BEGIN TESTS"), new_code_cell(test), new_raw_cell("# END TESTS")]
            cells.append(new_raw_cell("# END QUESTION"))
        else:
            cells.append(cell)
    notebook.cells = cells


def nbgrader_source(notebook, exercises: dict) -> None:
    """Turn a worksheet into the source of an assignment for nbgrader."""
    cells = []
    for cell in notebook.cells:
        cells.append(cell)
        kind, _, number = cell.id.partition("-")
        number = number.replace("-", ".")
        if kind == "exercise":
            cell.source += solved(*exercises[number], "### {} SOLUTION")
            cell.metadata = marked(f"answer-{question(number)}", solution=True)
            test = required(number, exercises[number][1]) + "  # of the notebook as it is saved"
            cells.append(new_code_cell(test, metadata=marked(question(number), grade=True, points=1)))
        elif kind in ("setup", "imports"):
            cell.metadata = marked(kind)
    notebook.cells = cells


def marked(name: str, solution=False, grade=False, **more) -> dict:
    """nbgrader's metadata of a cell."""
    kind = {"grade": grade, "solution": solution, "locked": not solution, "task": False}
    return {"nbgrader": {"grade_id": name, "schema_version": 3, "cell_type": "code", **kind, **more}}


def write(folder: Path, worksheets: Path, exercises: dict, wheel: Path) -> None:
    """Write an assignment for each worksheet and grader; with otter's environment there, its autograders, too.

    Args:
        folder: where they go.
        worksheets: where the worksheets are.
        exercises: for each notebook of the book, by number, its exercises, each with the variant that is asked for.
        wheel: the book's package.
    """
    otter, source = folder / "otter", folder / "nbgrader" / "source"
    otter.mkdir(parents=True)
    shutil.copy(wheel, otter)
    (otter / JUDGE).write_text(JUDGED, encoding="utf-8")
    for path, of in exercises.items():
        master, assignment = (nbformat.read(worksheets / path.name, as_version=4) for _ in range(2))
        otter_master(master, of, wheel)
        nbformat.write(master, otter / path.name)
        nbgrader_source(assignment, of)
        (source / path.stem).mkdir(parents=True)
        nbformat.write(assignment, source / path.stem / path.name)
        (source / path.stem / JUDGE).write_text(JUDGED, encoding="utf-8")
    (folder / "nbgrader" / "nbgrader_config.py").write_text(CONFIG, encoding="utf-8")
    python = ENVIRONMENTS / OTTER.partition("==")[0] / "bin" / "python"
    if not python.exists():
        progress.say("  without otter's autograder.zip: `make graders` first, to have them")
        return
    names = json.dumps([path.stem for path in exercises])
    made = subprocess.run([python, "-c", ASSIGN], input=names, cwd=otter, capture_output=True, text=True)
    if made.returncode:
        raise SystemExit(f"otter assign failed:\n{made.stdout}\n{made.stderr}")
    for path in exercises:
        (zipped,) = (otter / "dist" / path.stem / "autograder").glob("*.zip")
        zipped.rename(otter / f"{path.stem}-autograder.zip")
    shutil.rmtree(otter / "dist")


if __name__ == "__main__":
    for requirement in (OTTER, NBGRADER):
        progress.say(f"{requirement} is in {environment(requirement)}")
