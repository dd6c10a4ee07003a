"""The repository's address stands in few places, and `make repo` writes all of them."""

import re
from importlib.metadata import version

import pytest
import repo
from conftest import CHAPTERS, NEW, ROOT, cells, copy

import dynattn


@pytest.fixture
def tree(tmp_path):
    copy(tmp_path)
    return tmp_path


def contents(tree):
    return {path.relative_to(tree): path.read_bytes() for path in tree.rglob("*") if path.is_file()}


def test_writing_the_address_changes_it_everywhere_and_nothing_else(tree):
    old, before = repo.current(tree), contents(tree)
    changed = repo.write(tree, NEW)
    after = contents(tree)
    assert [path for path, text in after.items() if old.encode() in text] == [], (
        "nothing else knows the address"
    )
    assert {path.relative_to(tree) for path in changed} == {
        path for path in before if before[path] != after[path]
    }
    for path in before:
        assert after[path] == before[path].replace(old.encode(), NEW.encode())
    assert {CHAPTER.relative_to(ROOT) for CHAPTER in CHAPTERS} <= {path.relative_to(tree) for path in changed}
    assert repo.write(tree, NEW) == []
    repo.write(tree, old)
    assert contents(tree) == before


def test_chapters_have_a_button_for_colab_once_the_address_is_written(published):
    for path in CHAPTERS:
        place = path.relative_to(ROOT)
        page = (published / place.with_suffix(".html")).read_text()
        assert f'href="https://colab.research.google.com/github/some-one/a.book/blob/main/{place}"' in page
        assert f'href="{NEW}"' in page


@pytest.mark.parametrize(
    "bad",
    ["", "github.com/o/n", "http://github.com/o/n", "https://github.com/o", "https://github.com/o/n/", "https://h/o/n.git",
     "https://h/o/n/tree", "https://h/o/a b", 'https://h/o/n"'],
)  # fmt: skip
def test_a_bad_address_is_refused(tree, bad):
    before = contents(tree)
    with pytest.raises(SystemExit, match="expected https://HOST/OWNER/NAME"):
        repo.write(tree, bad)
    assert contents(tree) == before


def test_set_up_cells_are_identical_and_name_this_version():
    (source,) = {cells(path, "code")[0]["source"] for path in CHAPTERS}
    address, tag = re.search(r'repository, version = "([^"]*)", "([^"]*)"', source).groups()
    assert address == repo.current(ROOT)
    assert tag == f"v{dynattn.__version__}" == f"v{version('dynattn')}"
    assert "--no-deps" not in source, "what the package needs is installed, too, where it is missing"


def test_one_version():
    assert f"\nversion: {dynattn.__version__}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"\n## {dynattn.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_the_readme_says_what_each_file_of_the_package_is_for():
    rows = [line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith("| `")]
    listed = {
        name.rstrip("/") for row in rows for name in re.findall(r"`(dynattn/[\w./]+)`", row.split("|")[1])
    }
    found = {
        path
        for path in (ROOT / "dynattn").iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert listed == {str(path.relative_to(ROOT)) for path in found} - {"dynattn/__init__.py"}
