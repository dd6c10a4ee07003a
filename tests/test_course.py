"""The course kit: whole, valid, and without a solution in what students get. What the graders say of it: course/graders.py."""

import json
import re
import zipfile
from xml.etree import ElementTree as tree

import course_graders
import course_moodle
import nbformat
import pytest
import quiz
import repo
import yaml
from conftest import CHAPTERS, ROOT, SITE, cells
from notebooks import worksheet
from packaging.requirements import Requirement
from pypdfium2 import PdfDocument

import course
from dynattn.grade import grade_notebook

EXERCISES = {path: worksheet(path)[1] for path in CHAPTERS}
MATH = '<span class="math inline">'
NOTE = "# Notes\n\nThe one point.\n\n## Against\n\nWhat to answer.\n\n## On the board\n\nFive arrows.\n"
ITEM = """
- id: "02-frozen"
  concept: frozen
  level: understand
  minutes: 1
  question: "Freeze $A_{ij} < 1$, as in *chapter 2*: {3.27:.0%}?"
  choices:
    - {text: "yes & no", feedback: "It is $QK^T$."}
    - {text: "no", right: true, feedback: "So it is."}
- id: "A-01"
  concept: frozen
  level: recall
  minutes: 1
  question: "Once more?"
  choices:
    - {text: "yes", right: true, feedback: "So it is."}
    - {text: "no", feedback: "It isn't."}
"""


@pytest.fixture(scope="module")
def kit(tmp_path_factory, built):
    """The kit, made from the book with a note and two questions, and without the graders' own environments."""
    folder = tmp_path_factory.mktemp("course")
    for name, text in (("notes/02.md", NOTE), ("items/02.yml", ITEM)):
        (folder / "content" / name).parent.mkdir(parents=True)
        (folder / "content" / name).write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(course, "OUT", folder / "kit")
        patch.setattr(course, "CONTENT", folder / "content")
        for tool in (course.slides, course.figurepack):
            patch.setattr(tool, "write", lambda folder: None)  # they have tests of their own
        patch.setattr(course_graders, "ENVIRONMENTS", folder / "none")
        course.write()
    return folder / "kit"


def read(path):
    return nbformat.read(path, as_version=4)


def condensed(code: str) -> str:
    """Code without its comments and white space."""
    return re.sub(r"\s+", "", re.sub(r"#.*", "", code))


def body(exercise) -> str:
    """What a solution has between the last line that the skeleton has, too, and the check."""
    start, check = exercise.skeleton.split("...")[0], exercise.skeleton.splitlines()[-1]
    code = condensed(exercise.solution).removesuffix(condensed(check))
    return code.rpartition(condensed(start))[2]


def leaks(text: str) -> list[str]:
    """The exercises whose solution is in a text."""
    text = condensed(text)
    return [number for of in EXERCISES.values() for number, exercise in of.items() if body(exercise) in text]


def test_every_exercise_is_found():
    for path, exercises in EXERCISES.items():
        code = "\n".join(cell["source"] for cell in cells(path, "code"))
        assert list(exercises) == re.findall(r'(?m)^check\("([\d.]+)"', code)
    assert min(len(body(exercise)) for of in EXERCISES.values() for exercise in of.values()) > 15


def test_all_notebooks_are_there_and_valid(kit):
    places = {str(path.relative_to(ROOT / "book")) for path in CHAPTERS}
    flat = {path.name for path in CHAPTERS}
    for folder, names in (("student", places), ("instructor", places), ("worksheets", flat), ("otter", flat)):
        assert {str(path.relative_to(kit / folder)) for path in (kit / folder).rglob("*.ipynb")} == names
    assert {path.name for path in (kit / "nbgrader" / "source").rglob("*.ipynb")} == flat
    for path in kit.rglob("*.ipynb"):
        nbformat.validate(read(path))


@pytest.mark.parametrize("folder", ["student", "worksheets"])
def test_students_get_no_solution(kit, folder):
    for path in (kit / folder).rglob("*.ipynb"):
        notebook = read(path)
        assert leaks("\n".join(cell.source for cell in notebook.cells)) == [], path.name
        assert not [
            cell for cell in notebook.cells if cell.get("outputs") or "<summary>Solution" in cell.source
        ]


def test_solutions_are_found_where_they_are(kit):
    """The same search finds every solution in the notebooks for instructors, each as a cell that has run."""
    for path, exercises in EXERCISES.items():
        whole = read(kit / "instructor" / path.relative_to(ROOT / "book")).cells
        assert set(exercises) <= set(leaks("\n".join(cell.source for cell in whole)))
        for number, exercise in exercises.items():
            (cell,) = [cell for cell in whole if cell.id == course.cell_id("solution", number)]
            assert cell.source == exercise.solution.strip()
            assert cell.outputs[0].text == f"Exercise {number}: right.\n"


def test_notes_stand_below_the_title_and_below_their_sections(kit):
    noted = [path.name for path in (kit / "instructor").rglob("*.ipynb") if "For teachers" in str(read(path))]
    assert noted == ["02-attention-matrix.ipynb"]
    whole = read(kit / "instructor" / noted[0]).cells
    assert whole[1].source == "# Notes\n\nThe one point.\n\n## On the board\n\nFive arrows."
    (at,) = [at for at, cell in enumerate(whole) if cell.source == "**For teachers.** What to answer."]
    assert whole[at - 1].source.startswith("## Against\n")


def test_the_classroom_holds_all_and_leaks_nothing(kit):
    with zipfile.ZipFile(kit / "classroom.zip") as room:
        assert room.testzip() is None
        files = {name.removeprefix("classroom/"): room.read(name) for name in room.namelist()}
    sheets = {name: text for name, text in files.items() if name.startswith("worksheets/")}
    assert sheets == {f"worksheets/{path.name}": path.read_bytes() for path in (kit / "worksheets").iterdir()}
    site = {f"site/{path.relative_to(SITE)}" for path in SITE.rglob("*") if path.is_file()}
    (wheel,) = [name for name in files if name.endswith(".whl")]
    assert set(files) == site | set(sheets) | {wheel, "README.md", "requirements.txt"}
    first, *pins = (
        files["requirements.txt"].decode().split()[:1] + files["requirements.txt"].decode().splitlines()[1:]
    )
    assert first == f"./{wheel}"
    assert {"torch", "numpy", "jupyterlab"} <= {Requirement(pin).name for pin in pins}
    assert leaks(files["site/searchindex.js"].decode()) == []


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_a_worksheet_asks_what_its_notebook_asks(kit, path):
    sheet = read(kit / "worksheets" / path.name).cells
    assert [cell.id for cell in sheet[:3]] == ["worksheet", "setup", "imports"]
    asked = [(cell.source, after.source) for cell, after in zip(sheet[3::2], sheet[4::2])]
    assert [skeleton for _, skeleton in asked] == [e.skeleton for e in EXERCISES[path].values()]
    assert [text.partition("\n")[0] for text, _ in asked] == [
        e.text.partition("\n")[0] for e in EXERCISES[path].values()
    ]
    assert sheet[2].source.endswith("\nseed = dynattn.seed()"), "what follows may train for minutes"


def test_worksheets_are_graded(kit, tmp_path):
    sheet = kit / "worksheets" / "02-attention-matrix.ipynb"
    assert {result.status for result in grade_notebook(sheet, seconds=30)} == {"not attempted"}
    answered, exercises = read(sheet), EXERCISES[CHAPTERS[2]]
    for cell in answered.cells:
        for number, exercise in exercises.items():
            if cell.id == course.cell_id("exercise", number):
                cell.source = exercise.solution
    nbformat.write(answered, tmp_path / "student.ipynb")
    results = grade_notebook(tmp_path / "student.ipynb", seconds=30)
    assert {result.number: result.status for result in results} == dict.fromkeys(exercises, "right")


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_a_variant_asks_for_something_else_and_is_solved_nowhere(path):
    asked = {number: course.chosen(number, 1) for number in EXERCISES[path]}
    exercises = {number: (exercise, asked[number]) for number, exercise in EXERCISES[path].items()}
    sheet = nbformat.v4.new_notebook(cells=course.sheet(path, 1, ""))
    for number, exercise in EXERCISES[path].items():
        text, skeleton = course.asked(number, exercise, 1)
        assert {text, skeleton} <= {cell.source for cell in sheet.cells}
        assert text.partition("\n")[0] == exercise.text.partition("\n")[0]
        assert (text != exercise.text) == (", variant=1)" in skeleton) == bool(asked[number]), number
    master, source = nbformat.from_dict(sheet), nbformat.from_dict(sheet)
    course_graders.otter_master(master, exercises, path)
    course_graders.nbgrader_source(source, exercises)
    for notebook in (master, source):
        text = "\n".join(cell.source for cell in notebook.cells)
        assert leaks(text) == [number for number in asked if not asked[number]]
        assert re.findall(r'require\("(.*)"\)', text) == [
            f"{n}/1" if other else n for n, other in asked.items()
        ]


def test_notes_tests_and_projects_are_there(kit, tmp_path):
    assert [path.name for path in (kit / "notes").iterdir()] == ["02.html"]
    readme = (kit / "README.html").read_text()
    for name in set(re.findall(r'href="([^"]*)"', readme)) - {
        f"{of}/first-lesson.html" for of in ("notes", "slides")
    }:
        assert (kit / name).exists()  # this kit has other notes, and no slides
    assert {"classroom.zip", "variants/", "tests/"} <= set(re.findall(r'href="([^"]*)"', readme))
    assert "<h2>On the board</h2>" in (kit / "notes" / "02.html").read_text()
    assert "<p>(a) yes<br" in (kit / "tests" / "test-A.html").read_text()
    for path in (ROOT / "course" / "projects").glob("*.md"):
        cells = course.project(path, read(CHAPTERS[0]).cells[1])
        course.written(tmp_path / f"{path.stem}.ipynb", cells, read(CHAPTERS[0]))
        text, code = path.read_text(encoding="utf-8"), "\n".join(cell.source for cell in cells[::2])
        assert [cell.cell_type for cell in cells] == ["markdown", "code", "code", "markdown"]
        assert cells[1].source.startswith("# @title Set-up") and cells[2].source in text
        assert "```" not in code and "## How it is judged" in cells[3].source


@pytest.mark.parametrize("form", ["A", "B"])
def test_a_test_on_paper(form, browser):
    """No formula is left as it is typed, and each question stands with its choices."""
    items = quiz.read(ROOT / "course" / "items" / "tests.yml")
    tab = browser.new_page()
    texts = []
    for markdown in course.printed(items, form):
        tab.set_content(course.sheet_of_paper(markdown))
        sheets = [
            page.get_textpage().get_text_bounded() for page in PdfDocument(tab.pdf(prefer_css_page_size=True))
        ]
        assert not re.search(r"\$|\*\*|\\\\", "".join(sheets))
        texts.append(sheets)
    tab.close()
    test, key = texts
    assert test[0].startswith(f"Test {form}") and key[0].startswith(f"Key to test {form}")
    assert sum(len(re.findall(r"(?m)^\d+\. (?s:.*?)^\(d\)", sheet)) for sheet in test) == 12


def test_variants_are_there_for_all_that_have_some(kit):
    for path, exercises in EXERCISES.items():
        for other in range(1, 5):
            sheet = kit / "variants" / str(other) / path.name
            assert sheet.exists() == any(course.variants(number) > other for number in exercises)
            if sheet.exists():
                text = "\n".join(cell.source for cell in read(sheet).cells)
                changed = re.findall(r'check\("([\d.]+)", \w+, variant=\d+\)', text)
                assert changed == [number for number in exercises if course.variants(number) > 1]
                assert leaks(text) == [] and f"*Variant {other}:" in text


def test_links_lead_somewhere(kit, monkeypatch):
    for path in kit.rglob("*.ipynb"):
        for cell in read(path).cells:
            for _, target, _ in course.LINK.findall(cell.source if cell.cell_type == "markdown" else ""):
                assert (path.parent / target).exists(), f"{path}: {target}"
        assert "colab.research" not in read(path).cells[0].source
    monkeypatch.setattr(repo, "current", lambda root: "https://github.com/some-one/book")
    verdict = course.led("[the verdict](../verdict.md#a) of [x](y.ipynb)", CHAPTERS[1], beside=True)
    assert (
        verdict
        == "[the verdict](https://github.com/some-one/book/blob/main/book/verdict.md#a) of [x](y.ipynb)"
    )


def test_a_published_worksheet_opens_in_colab():
    head = course.sheet(CHAPTERS[0], 0, "https://github.com/some-one/course/blob/worksheets")[0].source
    assert (
        f"https://colab.research.google.com/github/some-one/course/blob/worksheets/{CHAPTERS[0].name})"
        in head
    )


def test_assignments_for_otter_have_no_name_and_whole_blocks(kit):
    for path, exercises in EXERCISES.items():
        raw = [cell.source for cell in read(kit / "otter" / path.name).cells if cell.cell_type == "raw"]
        config = yaml.safe_load(raw[0].replace("# ASSIGNMENT CONFIG", ""))
        assert "name" not in config and all(
            (kit / "otter" / name).exists() for name in config["autograder_files"]
        )
        for block in ("QUESTION", "SOLUTION", "TESTS"):
            for end in ("BEGIN", "END"):
                assert sum(text.startswith(f"# {end} {block}") for text in raw[1:]) == len(exercises)


def test_assignments_for_nbgrader_know_their_cells(kit):
    for path, exercises in EXERCISES.items():
        folder = kit / "nbgrader" / "source" / path.stem
        marks = [
            cell.metadata.nbgrader for cell in read(folder / path.name).cells if "nbgrader" in cell.metadata
        ]
        assert len({mark.grade_id for mark in marks}) == len(marks)
        assert [mark.grade_id for mark in marks if mark.grade] == [
            course_graders.question(n) for n in exercises
        ]
        assert (
            sum(mark.solution for mark in marks) == len(exercises)
            and (folder / course_graders.JUDGE).exists()
        )


def test_graders_ask_for_what_is_right(kit, tmp_path, monkeypatch):
    """Not attempted isn't right; nor is what overwrites the check; nor what isn't there."""
    names = {}
    exec(course_graders.JUDGED, names)
    overwritten = "import __main__\n__main__.grade = lambda number, *_: __main__.Result(number, 'right')\ncheck('1.3', 3)"
    sources = [
        "import torch\nfrom dynattn import check",
        "check('1.1', torch.eye(5).roll(2, 0))",
        "check('2.1', ...)",
        overwritten,
    ]
    nbformat.write(
        nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in sources]), tmp_path / "a.ipynb"
    )
    monkeypatch.chdir(tmp_path)
    names["require"]("1.1")
    for number, said in (("2.1", "not attempted"), ("1.3", "changes the check"), ("1.2", "no check of this")):
        with pytest.raises(AssertionError, match=said):
            names["require"](number)


def test_questions_for_moodle(kit):
    root = tree.parse(kit / "moodle.xml").getroot()
    kinds = [question.get("type") for question in root]
    assert kinds == ["category", "multichoice"] * 2
    categories = [question.findtext("category/text") for question in root[::2]]
    assert categories == ["$course$/top/Attention/Chapter 2", "$course$/top/Attention/Test, form A"]
    record = json.loads((ROOT / "book" / "records.json").read_text())["3.27"]["measured"]
    text = root[1].findtext("questiontext/text")
    assert text == rf"<p>Freeze {MATH}\(A_{{ij}} &lt; 1\)</span>, as in <em>chapter 2</em>: {record:.0%}?</p>"
    assert root[1].findtext("answer/feedback/text") == rf"<p>It is {MATH}\(QK^T\)</span>.</p>"
    assert root[1].findtext("answer/text") == "<p>yes &amp; no</p>"
    check_questions(root)


def test_the_books_own_questions_for_moodle():
    files = sorted((ROOT / "course" / "items").glob("*.yml"))
    if not files:
        pytest.skip("there are no questions yet")
    items = [item for file in files for item in quiz.read(file)]
    root = tree.fromstring(course_moodle.quiz(items))
    check_questions(root)
    assert len(root.findall("question[@type='multichoice']")) == len(items)
    assert not re.search(r"\$[^$<]+\$|\{\d+\.\d+:", re.sub(r"\$course\$", "", "".join(root.itertext())))


def check_questions(root):
    for question in root.findall("question[@type='multichoice']"):
        answers = question.findall("answer")
        assert [answer.get("fraction") for answer in answers].count("100") == 1
        assert len(answers) >= 2 and all(answer.findtext("feedback/text") for answer in answers)


@pytest.mark.parametrize("form", ["A", "B"])
def test_a_test_is_printed_with_its_key(form):
    items = quiz.read(ROOT / "course" / "items" / "tests.yml")
    text, key = course.printed(items, form)
    key = re.findall(r"(?m)^\*\*(\d+ [a-d])\.\*\* \S", key)
    assert [line.split()[0] for line in key] == [str(number) for number in range(1, 13)]
    assert len(re.findall(r"(?m)^\*\*\d+\.\*\*", text)) == 12 and not re.search(r"\{\d+\.\d+:", text)
    answers = {
        f"{item['id']}": choice["text"] for item in items for choice in item["choices"] if choice.get("right")
    }
    number, letter = key[4].split()
    block = text.split(f"**{number}.**")[1]
    assert f"({letter}) {answers[f'{form}-05']}"[:40] in block.split("**6.**")[0]
