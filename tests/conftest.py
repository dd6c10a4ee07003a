"""What the tests share: the places of the book and its chapters as data."""

import json
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))  # the tests use the address as tools/repo.py knows it

CHAPTERS = sorted((ROOT / "book").glob("[0-9]*.ipynb"))
EXECUTED = ROOT / "_build" / "run" / "0"
SITE = ROOT / "_build" / "html"

SOLUTION = re.compile(r"\A<details>.*?^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def load(path: Path) -> dict:
    """A notebook, with each cell's source as one string."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        cell["source"] = "".join(cell["source"])
    return notebook


def cells(path: Path, kind: str) -> list[dict]:
    return [cell for cell in load(path)["cells"] if cell["cell_type"] == kind]


def each_chapter(test):
    """Run a test once for each chapter."""
    return pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)(test)


@pytest.fixture(scope="session")
def built():
    """The built book, which `make book` (and so `make test`) leaves in _build."""
    if not (SITE / "index.html").exists():
        pytest.fail("the book has not been built: run `make book` first")
    return SITE
