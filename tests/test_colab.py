"""The contract with Colab: every notebook runs where there is no copy of the repository, after its own set-up cell.

`make book` has run the notebooks in such an environment (tools/colab.py), and what it ran is the book. Tested here: that
it is such an environment, that it was this one, the set-up cell where dynattn is missing, and the solutions of the
exercises, each after nothing but set-up, imports and its exercise.
"""

import json
import re
import subprocess

import colab
import pytest
import repo
import run
from conftest import CHAPTERS, ROOT, cells, each_chapter
from notebooks import worksheet

PACKAGE = "dynattn @ git+{repository}@{version}"
MADE = ROOT / "_build" / "colab"


@pytest.fixture(scope="session")
def environment(built):
    """The environment that `make book` has made; returns its Python."""
    return MADE / "bin" / "python"


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    return colab.build_wheel(ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture
def bare(tmp_path):
    """A new environment like Colab's, without dynattn; returns its Python."""
    return colab.empty(tmp_path / "environment")


def execute(python, code: str, folder, **variables: str):
    """Run code in an environment, in an empty folder that stays empty."""
    content = folder / "content"
    content.mkdir(exist_ok=True)
    done = subprocess.run(
        [python, "-c", code],
        cwd=content,
        env=colab.environment(folder) | variables,
        capture_output=True,
        text=True,
    )
    assert list(content.iterdir()) == [], "it leaves no files behind"
    return done


SET_UP = next(cell["source"] for cell in cells(CHAPTERS[0], "code") if cell["id"] == "setup")


def set_up(package: str, address: str = "https://host.example/o/n") -> str:
    """The set-up cell, pointed to another package instead of the repository's tag."""
    assert PACKAGE in SET_UP and repo.current(ROOT) in SET_UP
    return SET_UP.replace(PACKAGE, package).replace(repo.current(ROOT), address)


# --------------------------------------------------------------------------------------- the environment


def test_environment_is_like_colabs(environment, tmp_path):
    """The tools of the build and this repository are not there, and dynattn is a copy of its own."""
    code = "import importlib.util as u; print([m for m in ('numpy', 'torch', 'dynattn', 'pytest', 'sphinx', 'nbmake') if u.find_spec(m)])"
    ran = execute(environment, code + "; import dynattn; print(dynattn.__file__)", tmp_path)
    there, where = ran.stdout.splitlines()
    assert there == "['numpy', 'torch', 'dynattn']"
    assert where.startswith(str(MADE))


def test_what_colab_offers_is_known():
    """The list says whence it is and when it was made, and holds all that the book names."""
    head = colab.LIST.read_text(encoding="utf-8").splitlines()[:3]
    assert re.search(r"https://\S+/pip-freeze\.txt$", head[1]) and re.search(r"\b20\d\d-\d\d", head[2])
    assert set(colab.needed()) <= set(colab.offered())
    assert {"numpy", "torch", "matplotlib"} <= set(colab.needed())


def test_a_new_list_is_read_or_refused():
    names = "".join(f"{name}==1.{i}\n" for i, name in enumerate(colab.needed()))
    text = colab.listed(f"# a comment\n{names}en_core @ https://host/x.whl\nSome_Name==2\n", "2026-11-27")
    assert "some-name==2\n" in text and "en-core" not in text and "# of 2026-11-27.\n" in text
    with pytest.raises(SystemExit, match="no longer offers torch"):
        colab.listed(names.replace("torch==", "torches=="), "2026-11-27")


def test_what_colab_does_not_offer_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(colab, "offered", lambda: {})
    with pytest.raises(SystemExit, match=r"Colab does not offer numpy, .*colab\.txt"):
        colab.empty(tmp_path / "environment")


@each_chapter
def test_the_notebook_ran_in_this_environment(path, built):
    assert run.current((path, run.OUT / "0" / path.name, 0), MADE), "run `make book`"


# ------------------------------------------------------------------------------------- the set-up cell


def test_set_up_installs_what_is_missing_and_says_nothing(bare, wheel, tmp_path):
    cell = set_up(f"dynattn @ {wheel.as_uri()}")
    ran = execute(bare, cell + "\nprint(dynattn.__file__)", tmp_path)
    assert ran.returncode == 0, ran.stderr
    (where,) = ran.stdout.splitlines()
    assert where.startswith(str(tmp_path / "environment")) and ran.stderr == ""
    # Once more: nothing is to be done, so that not even pip is called.
    ran = execute(bare, f"import subprocess; subprocess.run = None\n{cell}", tmp_path)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


def test_set_up_installs_what_the_package_needs(bare, wheel, tmp_path):
    """Something that Colab no longer offers is asked for by name; here there is no index to have it from."""
    for found in (tmp_path / "environment").glob("lib/python*/site-packages/tqdm*"):
        found.unlink()
    ran = execute(bare, set_up(f"dynattn @ {wheel.as_uri()}"), tmp_path)
    assert ran.returncode and "No matching distribution found for tqdm" in ran.stderr


def test_set_up_says_what_to_do_without_an_address(bare, tmp_path):
    ran = execute(bare, set_up(PACKAGE, "https://host.invalid/o/n"), tmp_path)
    assert "This copy of the book has no public address yet" in ran.stderr.splitlines()[-1]


def test_set_up_repeats_pips_own_words(bare, tmp_path):
    ran = execute(bare, set_up(PACKAGE, "https://127.0.0.1:9/o/n"), tmp_path)
    assert "RuntimeError: pip could not install the book's package:\n" in ran.stderr
    assert "127.0.0.1:9/o/n" in ran.stderr.rpartition("RuntimeError")[2]


def test_set_up_without_pip(bare, tmp_path):
    for found in (tmp_path / "environment").glob("lib/python*/site-packages/pip*"):
        found.unlink()
    ran = execute(bare, set_up(PACKAGE), tmp_path)
    assert "No module named pip" in ran.stderr.splitlines()[-1]


def test_set_up_blames_nobody_else(bare, tmp_path):
    """dynattn is there, and something that it imports isn't: that is what the reader is told."""
    other = tmp_path / "other" / "dynattn"
    other.mkdir(parents=True)
    (other / "__init__.py").write_text("import tqdn")
    ran = execute(bare, set_up(PACKAGE), tmp_path, PYTHONPATH=str(other.parent))
    assert ran.stderr.splitlines()[-1] == "ModuleNotFoundError: No module named 'tqdn'"


# ------------------------------------------------------------------------------------------ worksheets

WORK = """
import json, sys
start, exercises = json.load(sys.stdin)
common = {"__name__": "__main__"}
for cell in start:
    exec(compile(cell, "start", "exec"), common)
for number, cells in exercises.items():
    own = dict(common)
    for cell in cells:
        exec(compile(cell, number, "exec"), own)
"""


@each_chapter
def test_solutions_run_from_worksheets(path, environment, tmp_path):
    start, exercises = worksheet(path)
    work = {number: (exercise.skeleton, exercise.solution) for number, exercise in exercises.items()}
    ran = subprocess.run(
        [environment, "-c", WORK], input=json.dumps([[cell["source"] for cell in start], work]), cwd=tmp_path,
        env=colab.environment(MADE), capture_output=True, text=True,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr[-2000:]
    said = [line for line in ran.stdout.splitlines() if line.startswith("Exercise ")]
    want = [
        f"Exercise {number}: {state}" for number in exercises for state in ("not attempted yet.", "right.")
    ]
    assert said == want != []
