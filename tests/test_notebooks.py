"""The form of the chapters: each rule that CONTRIBUTING.md gives for notebooks is a test here."""

import ast
import re
import unicodedata

import nbformat
import pytest
from conftest import CHAPTERS, EXECUTED, ROOT, cells, each_chapter
from notebooks import FOLDED, SOLUTION, exercise_minutes, load, minutes, worksheet
from pybtex.database import parse_file

from dynattn.claims import registry

CLOSING = ["Against", "In short", "Exercises", "Going deeper", "What to read next", "References"]
# Folded, or not shown, on the page, in Colab and in JupyterLab.
FOLD = {"cellView": "form", "jupyter": {"source_hidden": True}}


def is_chapter(path) -> bool:
    """A chapter, and not a notebook that goes deeper into one."""
    return path.parent.name == "book"


def draws(cell) -> bool:
    return (
        re.search(r"figures\.show\(|^Live\(|^facts\.(two_)?figure\(", cell["source"], re.MULTILINE)
        is not None
    )


def visible(cell) -> bool:
    return cell["cell_type"] == "code" and not FOLDED & set(cell["metadata"].get("tags", ()))


def prose(source: str) -> str:
    """Markdown without code, formulas, links' addresses and HTML tags."""
    source = re.sub(r"^```.*?^```", " ", source, flags=re.MULTILINE | re.DOTALL)
    source = re.sub(r"`[^`]*`", " ", source)
    source = re.sub(r"\$\$.*?\$\$|\$[^$]*\$", " ", source, flags=re.DOTALL)
    source = re.sub(r"\]\([^)]*\)", "]", source)
    return re.sub(r"</?\w+[^>]*>", " ", source)


def headings(path) -> list[tuple[int, str]]:
    text = "\n\n".join(cell["source"] for cell in cells(path, "markdown"))
    text = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    return [
        (len(marks), title.strip()) for marks, title in re.findall(r"^(#+) +(.*)$", text, flags=re.MULTILINE)
    ]


def exercises(path) -> list[str]:
    """The numbers that the exercise cells check."""
    found = [
        re.findall(r'^check\("([\d.]+)"', cell["source"], flags=re.MULTILINE) for cell in cells(path, "code")
    ]
    return [number for numbers in found for number in numbers]


def test_there_are_chapters():
    numbers = [path.name[:2] for path in CHAPTERS if is_chapter(path)]
    assert len(numbers) >= 4 and numbers == [f"{i:02}" for i in range(1, len(numbers) + 1)]
    for before, path in zip(CHAPTERS, CHAPTERS[1:], strict=False):
        if not is_chapter(path):
            assert path.parent == ROOT / "book" / "deeper" and path.name[:2] == before.name[:2]


@each_chapter
def test_file_is_clean(path):
    notebook = load(path)
    nbformat.validate(nbformat.read(path, as_version=4))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) >= (4, 5)
    assert notebook["metadata"] == {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for cell in notebook["cells"]:
        assert cell["source"].strip(), cell["id"]
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [] and cell["execution_count"] is None, cell["id"]
            assert draws(cell) == cell["id"].startswith("draw-"), cell["id"]


@each_chapter
def test_what_is_folded_is_folded_everywhere(path):
    """On the page by a tag, in Colab as a form with a title, in JupyterLab by its own word."""
    for cell in load(path)["cells"]:
        tags = cell["metadata"].get("tags", [])
        labels = cell["metadata"].get("mystnb", {})
        want = FOLD if cell["cell_type"] == "code" and tags else {}
        want = want | ({"tags": tags} if tags else {}) | ({"mystnb": labels} if labels else {})
        assert cell["metadata"] == want, cell["id"]
        assert tags in ([], ["hide-input"], ["remove-input"], ["remove-input", "hide-output"]), cell["id"]
        # A result that the reader opens has a label of its own, and so have the imports; the same closed and open.
        assert ("hide-output" in tags or cell["id"] == "imports") == bool(labels), cell["id"]
        if labels:
            assert set(labels) == {"code_prompt_show", "code_prompt_hide"} and len(set(labels.values())) == 1
        if cell["cell_type"] == "code":
            assert cell["source"].startswith("# @title ") == bool(tags), cell["id"]
            # A figure may be a result that the reader opens, but not a live one: what is hidden may measure zero.
            answer = "hide-output" in tags and "Live(" not in cell["source"]
            assert not draws(cell) or tags == ["hide-input"] or answer, cell["id"]


@each_chapter
def test_cell_ids_are_names(path):
    ids = [cell["id"] for cell in load(path)["cells"]]
    assert len(set(ids)) == len(ids)
    assert [i for i in ids if not re.fullmatch(r"[a-z][a-z0-9-]{0,63}", i)] == []


@each_chapter
def test_headings(path):
    found = headings(path)
    levels = [level for level, _ in found]
    assert levels[0] == 1 and levels.count(1) == 1
    assert [
        title for (level, title), before in zip(found[1:], levels, strict=False) if level > before + 1
    ] == []
    titles = [title for level, title in found if level == 2]
    assert len(set(titles)) == len(titles)
    if is_chapter(path):
        assert titles[-len(CLOSING) :] == CLOSING


@each_chapter
def test_a_chapter_opens_with_its_figure_and_closes_in_short(path):
    if not is_chapter(path):
        opening = cells(path, "markdown")[0]["source"]
        (chapter,) = [other for other in CHAPTERS if is_chapter(other) and other.name[:2] == path.name[:2]]
        assert f"*Going deeper into [chapter {int(path.name[:2])}](../{chapter.name}).*" in opening
        assert f"](deeper/{path.name}" in "".join(cell["source"] for cell in cells(chapter, "markdown"))
        return
    kinds = [(cell["cell_type"], cell["id"]) for cell in load(path)["cells"][:5]]
    assert kinds[:3] == [("markdown", "title"), ("code", "setup"), ("code", "imports")]
    assert kinds[3][1].startswith("draw-") and kinds[4][0] == "markdown", "a figure, then words"
    hook = load(path)["cells"][4]["source"]
    assert f"\n*{minutes(path)} minutes, exercises not included. You need: " in hook
    text = "\n\n".join(cell["source"] for cell in cells(path, "markdown"))
    short = re.search(r"^## In short\n+(.*?)\n+\*(Learned: .*)\*$", text, flags=re.MULTILINE)
    assert len(re.split(r"(?<=[.!?])\s+", prose(short[1]).strip())) == 3, "three sentences, and the ledger"
    assert "Computed: " in short[2]
    assert text.count("**Your guess first.**") <= 3
    exercises_minutes = sum(
        map(int, re.findall(r"^### [\d.]+ .*\(\w+, (\d+) minutes\)$", text, re.MULTILINE))
    )
    assert f"## Exercises\n\n*{exercises_minutes} minutes.*" in text


@each_chapter
def test_claims_are_few_and_plain(path):
    """Five lines in a chapter, one for each experiment of a deeper notebook; a claim's cell holds nothing but the number."""
    shown, section = {}, None
    for cell in load(path)["cells"]:
        if cell["cell_type"] == "markdown":
            section = (re.findall(r"^## (.*)$", cell["source"], re.MULTILINE) or [section])[-1]
            continue
        for number in re.findall(r'\bclaim\("([\d.]+)", ', cell["source"]):
            entry = registry(int(path.name[:2]))[number]
            assert len(entry.headline.split()) <= 20 and entry.headline.endswith("."), number
            assert not re.search(r"[()\[\]_$=]", entry.headline), number
            assert entry.detail and (entry.kind not in ("for", "against") or entry.about), number
            if entry.shown:
                shown.setdefault(section, []).append(number)
    if is_chapter(path):
        assert sum(map(len, shown.values())) <= 5, shown
    else:
        assert all(len(numbers) == 1 for numbers in shown.values()), shown


@each_chapter
def test_alternative_texts_are_short(path):
    for cell in cells(EXECUTED / path.name, "code"):
        for output in cell["outputs"]:
            for alt in re.findall(
                r'<img [^>]*?alt="([^"]*)"', "".join(output.get("data", {}).get("text/html", ""))
            ):
                assert len(alt.split()) <= 60, f"{cell['id']}: {len(alt.split())} words"


@each_chapter
def test_markdown_reads_everywhere(path):
    """No directives, roles or targets of MyST: Colab and GitHub show them as they stand."""
    for cell in cells(path, "markdown"):
        assert not re.search(r"^(`{3,}|:{3,}|~{3,})\{", cell["source"], flags=re.MULTILINE), cell["id"]
        assert not re.search(r"\{[a-z][\w:-]*\}`", cell["source"]), cell["id"]
        assert not re.search(r"^\([\w-]+\)=$", cell["source"], flags=re.MULTILINE), cell["id"]
        assert not re.search(r"!\[|<img|<script|<style|<iframe", cell["source"]), cell["id"]
        tags = set(re.findall(r"</?([a-z]+)[^>]*>", re.sub(r"`[^`]*`|\$[^$]*\$", "", cell["source"])))
        assert tags <= {"details", "summary"}, cell["id"]
        assert cell["source"].count("$$") % 2 == 0, cell["id"]


@each_chapter
def test_no_result_is_typed(path):
    """Measured numbers are printed by cells. Names such as "chapter 2" or "claim 1.4" are no results."""
    for cell in cells(path, "markdown"):
        text = re.sub(r"^#+ .*$", "", prose(cell["source"]), flags=re.MULTILINE)
        text = re.sub(
            r"\b([Cc]laims?|[Ee]xercises?|[Ss]ections?|PyTorch|Python|§) ?\d+\.\d+(( and |, | to )\d+\.\d+)*",
            " ",
            text,
        )
        assert re.findall(r"\d+[.]\d+|\d+ ?%|\d+ per cent", text) == [], cell["id"]


@each_chapter
def test_code_cells_are_short_and_plain(path):
    for cell in cells(path, "code"):
        lines = [line for line in cell["source"].splitlines() if line.strip()]
        most = 12 if visible(cell) else 36
        assert len(lines) <= most, f"{cell['id']}: {len(lines)} lines"
        if visible(cell):  # what the page's column holds
            assert [line for line in lines if len(line) > 79] == [], cell["id"]
        if cell["id"] == "setup":
            continue
        code = cell["source"]
        assert not re.search(r"^\s*[!%]", code, flags=re.MULTILINE), f"{cell['id']}: shell or magic"
        assert not re.search(
            r"https?://|\burllib|\brequests\b|torch\.hub|load_state_dict_from_url|download", code
        ), cell["id"]
        assert not re.search(r"""["'](/|~/|[A-Za-z]:\\)\w""", code), f"{cell['id']}: absolute path"
        assert not re.search(r"\b(pickle|torch\.load|eval|exec)\b(?!\()", code.replace(".eval()", "")), cell[
            "id"
        ]
        ast.parse(code)


@each_chapter
def test_first_cells(path):
    first, second = cells(path, "code")[:2]
    assert first["id"] == "setup"
    assert re.search(r"^seed = dynattn\.seed\(\)$", second["source"], flags=re.MULTILINE)


@each_chapter
def test_figures_have_caption_and_alternative_text(path):
    """Every figure is shown by figures.show, which demands both; the executed chapter holds no other image."""
    for cell in cells(path, "code"):
        assert not re.search(r"(?<!\bfigures)\.show\(", cell["source"]), (
            f"{cell['id']}: figures.show shows figures"
        )
        shown = len(re.findall(r"figures\.show\(|^Live\(", cell["source"], flags=re.MULTILINE))
        drawn = cell["source"].count("figures.subplots(")  # the package's own figures draw themselves
        assert drawn == shown, f"{cell['id']}: a figure is drawn and shown in the same cell"
    for cell in cells(EXECUTED / path.name, "code"):
        for output in cell["outputs"]:
            data = output.get("data", {})
            live = "<dynattn-live" in "".join(data.get("text/html", ""))  # beside it lies its still picture
            assert live or not [kind for kind in data if kind.startswith("image/")], cell["id"]


@each_chapter
def test_executed_output(path):
    """The executed copy is this chapter, ran to its end, and shows nothing of the machine that it ran on."""
    before, after = load(path)["cells"], load(EXECUTED / path.name)["cells"]
    assert [cell["source"] for cell in after] == [cell["source"] for cell in before], "run `make book`"
    for cell in after:
        if cell["cell_type"] == "code":
            assert cell["execution_count"], cell["id"]
            outputs = str(cell["outputs"])
            assert "'output_type': 'error'" not in outputs and "Warning" not in outputs, cell["id"]
            assert not re.search(r"0x[0-9a-f]{6,}|/(tmp|home|root|Users|usr|private)/", outputs), cell["id"]


@each_chapter
def test_exercises(path):
    """A few exercises; each has a heading, a skeleton that raises nothing, and a folded solution."""
    numbers = exercises(path)
    together = [
        number for other in CHAPTERS if other.name[:2] == path.name[:2] for number in exercises(other)
    ]
    assert sorted(together) == [f"{int(path.name[:2])}.{i}" for i in range(1, len(together) + 1)]
    assert numbers == sorted(numbers)
    assert 3 <= len(together) <= 5
    if is_chapter(path):
        assert 2 <= len(numbers) <= 3
    titles = [title.split()[0] for level, title in headings(path) if level == 3 and title[0].isdigit()]
    assert titles == numbers
    notebook, executed = load(path)["cells"], load(EXECUTED / path.name)["cells"]
    for number in numbers:
        at = next(
            i
            for i, cell in enumerate(notebook)
            if f'check("{number}"' in cell["source"] and cell["cell_type"] == "code"
        )
        assert "..." in notebook[at]["source"], number
        text = "".join("".join(output.get("text", "")) for output in executed[at]["outputs"])
        assert f"Exercise {number}: not attempted yet." in text
        solution = notebook[at + 1]["source"]
        assert solution.startswith("<details><summary>Solution</summary>\n\n"), number
        assert solution.endswith("\n\n</details>"), number
        assert solution.count("```python") == 1 and solution.count("```") == 2, number
        assert f'check("{number}"' in SOLUTION.search(solution)[1], number


def plain(name: str) -> str:
    """A name without TeX and accents."""
    name = re.sub(r"\\(L|l)\b", r"\1", name)
    name = re.sub(r"\\.|[{}]", "", name)
    return "".join(c for c in unicodedata.normalize("NFD", name) if not unicodedata.combining(c))


@pytest.fixture(scope="module")
def bibliography():
    """The addresses of every reference, each with the first author's name and the year."""
    found = {}
    for entry in parse_file(ROOT / "book" / "references.bib").entries.values():
        author = plain(
            " ".join(entry.persons["author"][0].prelast_names + entry.persons["author"][0].last_names)
        )
        addresses = [f"https://doi.org/{entry.fields['doi']}"] if "doi" in entry.fields else []
        addresses += [f"https://arxiv.org/abs/{entry.fields['eprint']}"] if "eprint" in entry.fields else []
        addresses += [entry.fields["url"]] if "url" in entry.fields else []
        addresses += re.findall(r"\\url\{([^}]*)\}", " ".join(entry.fields.values()))
        found |= {address.lower(): (author, entry.fields.get("year", "")) for address in addresses}
    return found


@each_chapter
def test_minutes_of_exercises_follow_the_rule(path):
    """That of how-to-use.md; and an exercises' section states their sum."""
    text = "\n\n".join(cell["source"] for cell in cells(path, "markdown"))
    stated = {
        number: (difficulty, int(count))
        for number, difficulty, count in re.findall(
            r"^### ([\d.]+) .* \((\w+), (\d+) minutes\)$", text, re.MULTILINE
        )
    }
    _, found = worksheet(path)
    assert stated.keys() == found.keys()
    for number, (difficulty, count) in stated.items():
        assert count == exercise_minutes(difficulty, found[number][1]), number
    if total := re.search(r"## Exercises\n\n\*(\d+) minutes\.\*", text):
        assert int(total[1]) == sum(count for _, count in stated.values())


@each_chapter
def test_citations_are_in_the_bibliography(path, bibliography):
    """Each link that leaves the book leads to a reference of the book, under its first author's name and year."""
    cited = 0
    for cell in cells(path, "markdown"):
        for text, address in re.findall(r"\[([^\]]*)\]\((https?://[^)\s]*)\)", cell["source"]):
            assert address.lower() in bibliography, f"{cell['id']}: {address} is not in references.bib"
            author, year = bibliography[address.lower()]
            assert author.lower() in plain(text).lower() and year in text, (
                f"{cell['id']}: {text!r}, expected {author} {year}"
            )
            cited += 1
        assert len(re.findall(r"https?://", cell["source"])) == len(
            re.findall(r"\]\(https?://", cell["source"])
        ), cell["id"]
    assert cited >= 2 or not is_chapter(path)


@each_chapter
def test_links_inside_the_book(path):
    for cell in cells(path, "markdown"):
        for target in re.findall(r"\]\((?!https?://)([^)#\s]+)", cell["source"]):
            assert (path.parent / target).exists(), f"{cell['id']}: {target}"
