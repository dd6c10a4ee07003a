"""The book's notebooks: their one list, made from _toc.yml, and what is read from each."""

import ast
import json
import re
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
SOLUTION = re.compile(r"\A<details>.*?^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def pages(root: Path = ROOT) -> list[str]:
    """The names of all pages in the order of the book, as _toc.yml has them."""

    def names(entries):
        for entry in entries:
            yield entry["file"]
            yield from names(entry.get("sections", ()))

    contents = yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8"))
    return [contents["root"], *(name for part in contents["parts"] for name in names(part["chapters"]))]


def notebooks(root: Path = ROOT) -> list[Path]:
    """The notebooks among the pages. One that isn't listed, or two of one file name, are an error."""
    listed = [path for name in pages(root) if (path := root / f"{name}.ipynb").exists()]
    if missing := sorted(set(root.glob("book/**/[!.]*.ipynb")) - set(listed)):
        raise SystemExit(
            f"_toc.yml does not list {', '.join(str(path.relative_to(root)) for path in missing)}"
        )
    names = [path.stem for path in listed]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise SystemExit(f"_toc.yml lists two notebooks with the file name {', '.join(twice)}")
    return listed


def load(path: Path) -> dict:
    """A notebook, with each cell's source as one string."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        cell["source"] = "".join(cell["source"])
    return notebook


FOLDED = {"hide-input", "remove-input"}


def minutes(path: Path) -> int:
    """How long a notebook takes to read without its exercises, by the rule that the book states, to five minutes.

    130 words in a minute, 15 seconds for a line of code that is shown, and a minute for a figure and for a guess.
    """
    seconds = 0.0
    for cell in load(path)["cells"]:
        text = cell["source"]
        if re.search(r"^## Exercises$", text, re.MULTILINE):
            break
        if cell["cell_type"] == "markdown":
            text = re.sub(r"\]\([^)]*\)|\$[^$]*\$", " ", text)
            seconds += len(re.findall(r"[^\W_][\w'’-]*", text)) * 60 / 130 + 60 * text.count(
                "**Your guess first.**"
            )
        elif cell["id"].startswith("draw-"):
            seconds += 60
        elif not FOLDED & set(cell["metadata"].get("tags", ())):
            seconds += 15 * sum(bool(line.strip()) for line in text.splitlines())
    return max(5, round(seconds / 300) * 5)


THINKING = {"easy": 5, "medium": 10, "hard": 15, "open": 20}


def exercise_minutes(difficulty: str, solution: str) -> int:
    """How long an exercise takes, by the rule that the book states: for thinking by its difficulty, and for writing its solution.

    Nothing for up to 4 operations, 5 minutes for up to 16, and 10 for more: operators, calls, indices, loops and branches.
    """
    kinds = (ast.BinOp, ast.Call, ast.Subscript, ast.Compare, ast.IfExp, ast.comprehension, ast.For, ast.If)
    *body, check = ast.parse(solution).body
    operations = sum(isinstance(node, kinds) for part in body for node in ast.walk(part))
    return THINKING[difficulty] + 5 * ((operations > 4) + (operations > 16))


def worksheet(path: Path) -> tuple[list[str], dict[str, tuple[str, str]]]:
    """The code that every exercise of a notebook needs, set-up and imports; and by number its skeleton and solution."""
    cells = load(path)["cells"]
    start = [cell["source"] for cell in cells if cell["cell_type"] == "code"][:2]
    exercises = {}
    for cell, after in zip(cells, cells[1:], strict=False):
        if cell["cell_type"] == "code" and (
            number := re.search(r'^check\("([\d.]+)"', cell["source"], re.MULTILINE)
        ):
            exercises[number[1]] = (cell["source"], SOLUTION.search(after["source"])[1])
    return start, exercises
