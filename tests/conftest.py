"""What the tests share: the places of the book and its chapters as data."""

import json
import re
import shutil
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))  # the tests use the address and the cover as the tools know them

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


@pytest.fixture(scope="module")
def browser():
    """Chromium or Chrome, without a window."""
    from playwright.sync_api import sync_playwright  # here, so that the unit tests need not load it

    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    program = next(filter(None, map(shutil.which, names)), None)
    if not program:
        pytest.skip(f"no browser: none of {', '.join(names)} is installed")
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
                 "--disable-component-update", "--disable-sync"]  # fmt: skip
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=arguments)
        yield browser
        browser.close()


def violations(tab) -> list[str]:
    """What axe finds wrong in a page, with everything unfolded."""
    import axe_playwright_python

    tab.evaluate("""() => {
        const unfold = root => root.querySelectorAll("*").forEach(node => {
            if (node.matches("details")) node.open = true;
            if (node.shadowRoot) unfold(node.shadowRoot);
        });
        unfold(document);
    }""")
    tab.evaluate((Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8"))
    found = tab.evaluate(
        "axe.run(document, {resultTypes: ['violations'], rules: {'label-content-name-mismatch': {enabled: true}}})"
    )
    assert found["passes"], "axe ran"
    return [
        f"{rule['id']}: {node['html'][:160]} {node['any'][0]['message'] if node['any'] else ''}"
        for rule in found["violations"]
        for node in rule["nodes"][:3]
    ]
