"""The course kit, from the notebooks and the folder course/: ``python tools/course.py [--variant N] [--published URL]``.

Into ``_build/course``: the notebooks for students, without solutions, and for instructors, with their results, notes, and
solutions that have run; a worksheet for each, with its exercises only; assignments for two graders; the questions for
Moodle; and ``classroom.zip``, for a room without internet. Nothing of it is committed.
"""

import argparse
import contextlib
import io
import re
import shutil
import zipfile
from pathlib import Path
from urllib.parse import urlsplit

import colab
import course_graders
import course_moodle
import figurepack
import nbformat
import pdf
import progress
import quiz
import repo
import run
import slides
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from notebooks import ROOT, Exercise, load, notebooks, worksheet
from packaging.requirements import Requirement

from dynattn.exercises import text, variants

OUT = ROOT / "_build" / "course"
SITE = ROOT / "_build" / "html"
CONTENT = ROOT / "course"
LINK = re.compile(r"\[([^\]]*)\]\((?!https?:|#)([^)#\s]+)(#[^)\s]*)?\)")

ROOM = """\
# A room without internet

In this folder are the book, a worksheet for each of its notebooks, and the package with which they run.

**Before the lesson**, on a computer with internet, of the same kind and with the same Python as those in the room (3.11 to 3.14):

    python -m pip download --dest packages -r requirements.txt

Copy this folder, with `packages` in it, to every computer. (On Linux, PyPI's PyTorch brings several gigabytes for GPUs along.
To leave them out, add `--extra-index-url https://download.pytorch.org/whl/cpu`.)

**In the room**, on every computer, in this folder:

    python -m venv room
    room/bin/python -m pip install --no-index --find-links packages -r requirements.txt
    room/bin/jupyter lab worksheets

On Windows it is `room\\Scripts\\` in place of `room/bin/`. To **read**, open `site/index.html` in any browser: nothing has to be
installed, the live figures work, and nothing is loaded from elsewhere.

The site is the whole book, so the solutions of its own exercises are folded on its pages. The worksheets hold none.
**After the lesson**, put the worksheets that were handed in into one folder, a file for each student, and grade them:

    room/bin/python -m dynattn.grade FOLDER
"""


# ------------------------------------------------------------------------------------------------ exercises


def title(path: Path) -> str:
    return re.search(r"^# (.*)$", load(path)["cells"][0]["source"], re.MULTILINE)[1]


def chosen(number: str, variant: int) -> int:
    """The variant of an exercise, or the last one that it has; that is the book's own, 0, where it has no other."""
    return min(variant, variants(number) - 1)


def asked(number: str, exercise: Exercise, variant: int) -> tuple[str, str]:
    """The text and the skeleton of a variant of an exercise."""
    variant = chosen(number, variant)
    if not variant:
        return exercise.text, exercise.skeleton
    heading = exercise.text.partition("\n")[0]
    skeleton = re.sub(
        r'^(check\("[\d.]+", \w+)\)$', rf"\1, variant={variant})", exercise.skeleton, flags=re.M
    )
    return f"{heading}\n\n{text(number, variant)}", skeleton


# ----------------------------------------------------------------------------------------------- three editions


def cell_id(kind: str, number: str) -> str:
    return f"{kind}-{number.replace('.', '-')}"


def led(markdown: str, path: Path, beside: bool) -> str:
    """Markdown of a notebook whose links lead somewhere from elsewhere, too: into the repository, or, where that has no
    address yet, nowhere. ``beside``: the other notebooks lie beside this one."""
    address = repo.current(ROOT)

    def other(found):
        name, target, anchor = found.groups(default="")
        if beside and target.endswith(".ipynb"):
            return found[0]
        place = (path.parent / target).resolve().relative_to(ROOT)
        return name if ".invalid" in address else f"[{name}]({address}/blob/main/{place}{anchor})"

    return LINK.sub(other, markdown)


def written(target: Path, cells: list, like: dict) -> None:
    """Write a notebook with these cells and the metadata of another one; it is valid, or this raises."""
    notebook = new_notebook(cells=cells, metadata=like["metadata"])
    nbformat.validate(notebook)
    target.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, target)


def cells_of(path: Path, source: Path) -> list:
    """The cells of a notebook of the book, as they stand or as they were executed, with links that lead somewhere."""
    cells = nbformat.read(source, as_version=4).cells
    for cell in cells:
        if cell.cell_type == "markdown":
            cell.source = led(cell.source, path, beside=True)
    return cells


def student(path: Path) -> list:
    """The notebook without its solutions."""
    return [cell for cell in cells_of(path, path) if not cell.source.startswith("<details><summary>Solution")]


def sheet(path: Path, variant: int, published: str) -> list:
    """The worksheet: what the exercises of a notebook ask for, and what they need to run."""
    start, exercises = worksheet(path)
    minutes = sum(int(re.search(r"(\d+) minutes\)", exercise.text)[1]) for exercise in exercises.values())
    head = (
        f"# Worksheet: {title(path)}\n\nThe exercises of {'' if path.parent.name == 'book' else 'the notebook that goes deeper into '}"
        f"chapter {int(path.name[:2])}; about {minutes} minutes. Run the two cells below. Then put your answer in the place of each `...` and "
        "run its cell: `check` says which mistake it sees. Keep the lines with `check`, and hand in this file."
    )
    if any(chosen(number, variant) for number in exercises):
        head += f"\n\n*Variant {variant}: some exercises ask for something else than the book's.*"
    if urlsplit(published).hostname == "github.com":
        head += f"\n\n[Open in Colab](https://colab.research.google.com/github{urlsplit(published).path}/{path.name})"
    cells = [new_markdown_cell(head, id="worksheet")]
    cells += [new_code_cell(cell["source"], id=cell["id"], metadata=cell["metadata"]) for cell in start]
    for number, exercise in exercises.items():
        statement, skeleton = asked(number, exercise, variant)
        cells += [
            new_markdown_cell(led(statement, path, beside=False), id=cell_id("text", number)),
            new_code_cell(
                skeleton, id=cell_id("exercise", number), metadata={"tags": [course_graders.ANSWER]}
            ),
        ]
    return cells


def instructor(path: Path) -> list:
    """The executed notebook with the notes of its chapter, and with its solutions as cells that have run."""
    executed = run.OUT / "0" / path.name
    if not executed.exists():
        raise SystemExit(f"{path.stem} has not been run: make book")
    start, exercises = worksheet(path)
    said = ran(start, exercises)
    folded = {exercise.folded: number for number, exercise in exercises.items()}
    cells = []
    for cell, as_it_is in zip(cells_of(path, executed), load(path)["cells"]):
        number = folded.get(as_it_is["source"])
        if number is None:
            cells.append(cell)
            continue
        before, code, after = re.split(r"^```(?:python)?$", cell.source, flags=re.MULTILINE)
        before = "**Solution.** " + before.removeprefix("<details><summary>Solution</summary>").strip()
        output = new_output("stream", name="stdout", text=said[number])
        cells.append(new_markdown_cell(before.strip(), id=cell_id("before", number)))
        cells.append(new_code_cell(code.strip(), id=cell_id("solution", number), outputs=[output]))
        if after := after.replace("</details>", "").strip():
            cells.append(new_markdown_cell(after, id=cell_id("after", number)))
    notes = CONTENT / "notes" / f"{path.name[:2]}.md"
    if path.parent.name == "book" and notes.exists():
        note(cells, notes.read_text(encoding="utf-8"))
    return cells


def note(cells: list, notes: str) -> None:
    """Add the notes on a section of the chapter below its heading, and all others below the title."""
    others = ""
    for part in re.split(r"^(?=## )", notes, flags=re.MULTILINE):
        heading, _, said = part.partition("\n")
        places = [at for at, cell in enumerate(cells) if heading in cell.source.splitlines()]
        if heading.startswith("## ") and places:
            said = new_markdown_cell(f"**For teachers.** {said.strip()}", id=f"notes-{len(cells)}")
            cells.insert(places[0] + 1, said)
        else:
            others += part
    cells.insert(1, new_markdown_cell(others.strip(), id="notes"))


def ran(start: list[dict], exercises: dict[str, Exercise]) -> dict[str, str]:
    """What each solution prints when it is run after the set-up and the imports alone."""
    names, said = {"__name__": "__main__"}, {}
    for cell in start:
        exec(compile(cell["source"], cell["id"], "exec"), names)
    for number, exercise in exercises.items():
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(compile(exercise.solution, number, "exec"), dict(names))
        said[number] = printed.getvalue()
    return said


# -------------------------------------------------------------------------------------------------- all of it


def requirements(wheel: Path) -> str:
    """What a room needs to run the worksheets: the package, what that needs in the versions of the book, and Jupyter."""
    needed = colab.closure(set(colab.needed()) - set(colab.ALSO))
    pins = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    pins = [pin for pin in pins if pin and pin[0] != "#" and colab.plain(Requirement(pin).name) in needed]
    return "\n".join([f"./{wheel.name}", *pins, "jupyterlab", ""])


def classroom(wheel: Path) -> None:
    """Everything for a room without internet, in one file."""
    if not (SITE / "index.html").exists():
        raise SystemExit("the book has not been built: make book")
    part = OUT / "classroom.part"
    with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as room:
        room.writestr("classroom/README.md", ROOM)
        room.writestr("classroom/requirements.txt", requirements(wheel))
        room.write(wheel, f"classroom/{wheel.name}")
        for folder, name in ((SITE, "site"), (OUT / "worksheets", "worksheets")):
            for file in sorted(path for path in folder.rglob("*") if path.is_file()):
                room.write(file, f"classroom/{name}/{file.relative_to(folder)}")
    part.replace(OUT / "classroom.zip")


def printed(items: list[dict], form: str) -> tuple[str, str]:
    """A form of the test as Markdown: its questions, and its key."""
    asked = [item for item in items if item["id"].startswith(f"{form}-")]
    text, key = f"# Test {form}\n\nName:\n\nOne answer to each question is right.\n", []
    for number, item in enumerate(asked, 1):
        letters = list(zip("abcd", item["choices"]))
        choices = "\\\n".join(f"({letter}) {choice['text'].strip()}" for letter, choice in letters)
        text += f"\n**{number}.** {item['question'].strip()}\n\n{choices}\n"
        key += [
            f"**{number} {letter}.** {choice['feedback']}"
            for letter, choice in letters
            if choice.get("right")
        ]
    return text, f"# Key to test {form}\n\nThe test is not yet validated.\n\n" + "\n\n".join(key) + "\n"


def sheet_of_paper(markdown: str) -> str:
    """Markdown as a page that needs nothing else, to be read in a browser and printed from it."""
    heading = markdown.partition("\n")[0].lstrip("# ")
    body = slides.MARKDOWN.render(markdown)
    return slides.templates().get_template("sheet.html").render(title=heading, body=body)


def contents() -> str:
    """What is in the kit, as the page for teachers says it, with links to all that is there."""
    page = (ROOT / "book" / "for-teachers.md").read_text(encoding="utf-8")
    text = re.search(r"(?ms)^## The kit\n+(.*?)^## ", page)[1]
    linked = re.sub(
        r"`([\w.-]+)(/?)`",
        lambda name: f"[{name[0]}]({name[1]}{name[2]})" if (OUT / name[1]).exists() else name[0],
        text,
    )
    begin = "For a first lesson begin with its [script](notes/first-lesson.html) and its [slides](slides/first-lesson.html)."
    return f"# The course kit\n\n{begin}\n\n{linked}"


def project(path: Path, setup: dict) -> list:
    """A project as a notebook: its text, and the first step as a cell that runs; ``setup``: a chapter's set-up cell."""
    before, code, after = re.split(r"(?m)^```(?:python)?$", path.read_text(encoding="utf-8"))
    return [
        new_markdown_cell(before.strip(), id="project"),
        new_code_cell(setup["source"], id="setup", metadata=setup["metadata"]),
        new_code_cell(code.strip(), id="first-step"),
        new_markdown_cell(after.strip(), id="what-to-do"),
    ]


def write(variant: int = 0, published: str = "") -> None:
    """Write the kit, with the worksheets and assignments of a variant."""
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    address = repo.current(ROOT)
    published = published or ("" if variant or ".invalid" in address else f"{address}/blob/worksheets")
    progress.say("make the notebooks for students, the worksheets, and the notebooks for instructors")
    wheel = colab.build_wheel(ROOT, OUT)
    for path in notebooks():
        place, like = path.relative_to(ROOT / "book"), load(path)
        written(OUT / "student" / place, student(path), like)
        written(OUT / "worksheets" / path.name, sheet(path, variant, published), like)
        written(OUT / "instructor" / place, instructor(path), like)
        numbers = worksheet(path)[1]
        for other in range(1, max(map(variants, numbers), default=1)):
            written(OUT / "variants" / str(other) / path.name, sheet(path, other, ""), like)
    progress.say("make the assignments")
    sheets = {path: {number: (exercise, chosen(number, variant)) for number, exercise in worksheet(path)[1].items()}
              for path in notebooks()}  # fmt: skip
    if variant:
        kept = [number for of in sheets.values() for number, (_, other) in of.items() if not other]
        progress.say(f"  as in the book, since they have no variants: {', '.join(kept)}")
    course_graders.write(OUT, OUT / "worksheets", sheets, wheel)
    files = sorted((CONTENT / "items").glob("*.yml"))
    items = [item for file in files for item in quiz.read(file)]
    (OUT / "moodle.xml").write_text(course_moodle.quiz(items), encoding="utf-8")
    papers = {
        f"notes/{path.stem}": path.read_text(encoding="utf-8") for path in (CONTENT / "notes").glob("*.md")
    }
    for form in sorted({item["id"][0] for item in items if re.match("[A-Z]-", item["id"])}):
        papers[f"tests/test-{form}"], papers[f"tests/key-{form}"] = printed(items, form)
    for name, markdown in papers.items():
        (OUT / name).parent.mkdir(exist_ok=True)
        (OUT / f"{name}.html").write_text(sheet_of_paper(markdown), encoding="utf-8")
    first = notebooks()[0]
    setup = worksheet(first)[0][0]
    for path in (CONTENT / "projects").glob("*.md"):
        written(OUT / "projects" / f"{path.stem}.ipynb", project(path, setup), load(first))
    for folder, tool in (("slides", slides), ("figures", figurepack)):
        progress.say(f"make the {folder}")
        tool.write(OUT / folder)
    if pdf.PDF.exists():
        shutil.copy(pdf.PDF, OUT)
    else:
        progress.say("  without the book as PDF: `make pdf` first, to have it")
    progress.say("make classroom.zip")
    classroom(wheel)
    (OUT / "README.html").write_text(sheet_of_paper(contents()), encoding="utf-8")
    progress.say(f"The course kit is in {OUT}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--variant", type=int, default=0, help="of the exercises that have some; 0: as in the book"
    )
    parser.add_argument(
        "--published", default="", metavar="https://github.com/OWNER/NAME/blob/BRANCH",
        help="where the worksheets will lie, so that their links to Colab lead there",
    )  # fmt: skip
    options = parser.parse_args()
    if options.variant < 0:
        parser.error(f"variant: got {options.variant}, expected 0, 1, 2, ...")
    progress.to_its_end(lambda: write(options.variant, options.published), "the kit is not complete")
