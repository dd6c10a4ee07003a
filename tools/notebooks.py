"""The book's notebooks: their one list, made from _toc.yml, and what is read from each."""

import ast
import json
import re
from pathlib import Path
from typing import NamedTuple

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


def minutes(path: Path, section: str | None = None) -> int:
    """How long a notebook, or one section of it, takes to read without exercises, by the book's rule, to five minutes.

    130 words in a minute, 15 seconds for a line of code that is shown, and a minute for a figure and for a guess.
    """
    seconds, heading = 0.0, None
    for cell in load(path)["cells"]:
        text = cell["source"]
        if cell["cell_type"] == "markdown" and (found := re.search(r"^## (.*)$", text, re.MULTILINE)):
            heading = found[1]
        if heading == "Exercises":
            break
        if section not in (None, heading):
            continue
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


class Exercise(NamedTuple):
    """An exercise of a notebook."""

    skeleton: str  # what the reader completes, and its check
    solution: str  # the right code, and its check
    text: str  # what is asked for, with its heading
    folded: str  # the whole cell with the solution


def worksheet(path: Path) -> tuple[list[dict], dict[str, Exercise]]:
    """The cells that every exercise of a notebook needs, set-up and imports; and its exercises by number."""
    cells = load(path)["cells"]
    exercises = {}
    for before, cell, after in zip(cells, cells[1:], cells[2:]):
        found = re.search(r'^check\("([\d.]+)"', cell["source"], re.MULTILINE)
        if cell["cell_type"] == "code" and found:
            text = re.search(rf"^### {re.escape(found[1])} .*", before["source"], re.MULTILINE | re.DOTALL)[0]
            solution = SOLUTION.search(after["source"])[1]
            exercises[found[1]] = Exercise(cell["source"], solution, text, after["source"])
    setup, imports = [cell for cell in cells if cell["cell_type"] == "code"][:2]
    imports["source"] = imported(
        imports["source"], "\n".join(exercise.solution for exercise in exercises.values())
    )
    return [setup, imports], exercises


def imported(source: str, code: str) -> str:
    """The imports and the seed of a notebook's second cell; of the book's own package only what the code names.

    What else the cell holds prepares the notebook's experiments, and may train; and some of the package is the answer.
    """
    named = {node.id for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Name)}
    kept = ["# @title Imports"]
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.ImportFrom) and statement.module.startswith("dynattn"):
            statement.names = [name for name in statement.names if (name.asname or name.name) in named]
        if getattr(statement, "names", None) or ast.unparse(statement) == "seed = dynattn.seed()":
            kept.append(ast.unparse(statement))
    return "\n".join(kept)
