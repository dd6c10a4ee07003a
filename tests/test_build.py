"""The tools behind `make`: each failure is told by its own cause, and whatever happens, the next call makes it right."""

import importlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import colab
import install
import nbformat
import notebooks
import pages
import progress
import pytest
import release
import repo
import run
from conftest import CHAPTERS, ROOT

# --------------------------------------------------------------------------- what keeps .venv from being made


def stops(call) -> str:
    with pytest.raises(install.Stop) as stopped:
        call()
    return str(stopped.value)


@pytest.mark.parametrize(
    "version, said", [((3, 10), "is too old"), ((3, 15), "has no build of the pinned torch yet")]
)
def test_a_python_that_does_not_fit_is_named(version, said, tmp_path):
    message = stops(lambda: install.check(str(tmp_path), version))
    assert f"is {version[0]}.{version[1]}, which {said}" in message and "3.11 to 3.14" in message


def test_python_versions_are_the_same_everywhere():
    wanted = "{}.{} to {}.{}".format(*install.OLDEST, *install.NEWEST)
    for name in ("README.md", "Makefile", "CONTRIBUTING.md"):
        assert f"Python {wanted}" in (ROOT / name).read_text(encoding="utf-8"), name
    assert f'requires-python = ">={wanted[:4]}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert all(
        platform in (ROOT / "README.md").read_text()
        for platform in ("glibc 2.28", "macOS 14", "Apple silicon")
    )


@pytest.mark.parametrize("module", ["venv", "ensurepip"])
def test_a_python_without_environments_is_told(module, tmp_path):
    message = stops(lambda: install.check(str(tmp_path), (3, 12), has=lambda name: name != module))
    assert f"without its module {module}" in message and "python3.12-venv" in message


def test_a_folder_with_a_colon_is_told(tmp_path):
    assert "with a ':' in its path" in stops(lambda: install.check(f"{tmp_path}/a:b"))


def test_a_folder_that_cannot_be_written_to_is_told(tmp_path):
    """Also for root, to whom permissions mean nothing: here the folder's place is taken by a file."""
    (tmp_path / "file").touch()
    assert "cannot be written to: Not a directory" in stops(lambda: install.check(str(tmp_path / "file")))


FAILURES = {
    "The package index could not be reached": """
        WARNING: Retrying (Retry(total=4, connect=None)) after connection broken by 'NewConnectionError('<HTTPSConnection>:
        Failed to establish a new connection: [Errno -3] Temporary failure in name resolution')': /simple/alabaster/
        ERROR: Could not find a version that satisfies the requirement alabaster==0.7.16 (from versions: none)
        ERROR: No matching distribution found for alabaster==0.7.16""",
    "The disk is full.": """
        WARNING: Retrying (Retry(total=4, connect=None)) after connection broken by 'ReadTimeoutError("Read timed out")'
        ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device""",
    "A file is not the one that the book names by its hash.": """
        ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.""",
    "The pinned torch exists for Linux": """
        ERROR: Could not find a version that satisfies the requirement torch==2.13.0 (from versions: 2.0.0, 2.2.2)
        ERROR: No matching distribution found for torch==2.13.0""",
    "its certificate was not accepted": """
        WARNING: Retrying (Retry(total=0)) after connection broken by 'SSLError(SSLCertVerificationError(1,
        '[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed'))': /simple/alabaster/
        ERROR: Could not find a version that satisfies the requirement alabaster==0.7.16 (from versions: none)
        ERROR: No matching distribution found for alabaster==0.7.16""",
    "The folder cannot be written to.": """
        ERROR: Could not install packages due to an OSError: [Errno 30] Read-only file system: '/x/.venv/lib'""",
}


@pytest.mark.parametrize("cause, output", FAILURES.items(), ids=FAILURES)
def test_pips_failures_are_told_with_their_cause(cause, output):
    told = install.explain(textwrap.dedent(output))
    assert textwrap.dedent(output).strip().splitlines()[-1] in told  # its own words, first
    assert cause in told.splitlines()[-1]
    assert [other for other in FAILURES if other in told] == [cause]


def test_a_failure_of_unknown_cause_gets_none():
    """A connection that broke once and a package that nobody has: only pip's words."""
    told = install.explain(
        "WARNING: Retrying (Retry(total=4)) after connection broken by 'ReadTimeoutError'\n"
        "ERROR: Could not find a version that satisfies the requirement alabaster==9 (from versions: 0.7.16)\n"
        "ERROR: No matching distribution found for alabaster==9"
    )
    assert told.splitlines()[-1] == "ERROR: No matching distribution found for alabaster==9"
    assert install.explain("a\n" * 9 + "Segmentation fault") == "a\na\na\na\nSegmentation fault"


# -------------------------------------------------------------------------------- which .venv is the right one

# Where pip is a fake, the real one need not be unpacked into each environment, which takes seconds.
SITE = "import venv; venv.EnvBuilder._setup_pip = lambda *_: None"
PIP = """
import os, sys, time
print("Collecting everything", flush=True)
what = os.environ["PIP_DOES"]
if what == "waits" and "requirements.txt" in sys.argv:
    open(os.environ["PIP_SAYS"], "w").close()
    time.sleep(60)
if what == "fails":
    sys.exit("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device")
"""


@pytest.fixture
def book(tmp_path):
    """A folder with what tools/install.py needs, and a pip that installs nothing; a function makes its environment."""
    root = tmp_path / "a book"
    (root / "tools").mkdir(parents=True)
    for name in ("install.py", "progress.py"):
        shutil.copy(ROOT / "tools" / name, root / "tools")
    for name in (*install.REQUIREMENTS, *install.PACKAGE):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).touch()
    fake = tmp_path / "pip" / "pip"
    fake.mkdir(parents=True)
    (fake / "__init__.py").touch()
    (fake.parent / "sitecustomize.py").write_text(SITE)
    (fake / "__main__.py").write_text(PIP)

    def make(root=root, does="nothing", arguments=(), start=subprocess.run):
        variables = os.environ | {
            "PYTHONPATH": str(fake.parent),
            "PIP_DOES": does,
            "PIP_SAYS": str(tmp_path / "said"),
        }
        return start(
            [sys.executable, root / "tools" / "install.py", *arguments],
            env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    make.root = root
    return make


def test_an_environment_is_made_once_and_anew_when_it_must_be(book, tmp_path):
    done = book()
    assert done.returncode == 0 and "(there is none yet)" in done.stdout and "step 4 of 4" in done.stdout
    assert book().stdout == ""
    # A copy never runs the original's package, and a moved folder is no trouble.
    shutil.copytree(book.root, tmp_path / "copy", symlinks=True)
    (stale := tmp_path / "copy" / ".venv" / "lib" / "leftover").touch()
    assert f"it was made in another folder, {book.root.resolve()}" in book(tmp_path / "copy").stdout
    assert not stale.exists() and book(tmp_path / "copy").stdout == "" and book().stdout == ""
    (book.root / "pyproject.toml").write_text("# new\n")
    said = book().stdout
    assert "step 4 of 4" in said and "step 1" not in said and book().stdout == ""
    (book.root / "requirements.txt").write_text("# new\n")
    assert "the requirements have changed" in book().stdout
    (book.root / ".venv" / "bin" / "python").unlink()
    assert "its Python does not run any more" in book().stdout
    assert book(arguments=["--chosen"]).stdout == ""
    stamp = book.root / ".venv" / "book.json"
    stamp.write_text(json.dumps(json.loads(stamp.read_text()) | {"python": "3.11.0"}))
    assert book().stdout == "", "any Python may call"
    assert "it was made with Python 3.11.0, this is" in book(arguments=["--chosen"]).stdout


def test_a_failed_installation_is_told_and_made_anew(book):
    done = book(does="fails")
    assert done.returncode == 1 and "Step 2, the packages of requirements.txt, failed:" in done.stdout
    assert done.stdout.splitlines()[-1] == "The disk is full."
    assert "its installation was interrupted" in book().stdout


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_installation_is_made_anew(how, book, tmp_path):
    process = book(does="waits", start=subprocess.Popen)
    while not (tmp_path / "said").exists():
        time.sleep(0.05)
    process.send_signal(how)
    said, _ = process.communicate(timeout=20)
    if how == signal.SIGINT:
        assert process.returncode == 130 and said.splitlines()[-1].startswith("interrupted")
    assert "its installation was interrupted" in book().stdout


def test_an_environment_of_somebody_else_is_left_alone(book):
    other = book.root / ".venv" / "pyvenv.cfg"
    other.parent.mkdir()
    other.touch()
    done = book()
    assert done.returncode == 1 and "was not made by `make`" in done.stdout and other.exists()


def test_an_old_python_can_read_what_tells_it_that_it_is_old():
    """No syntax that Python 3.6 does not know, in what it reads before it is told."""
    import ast

    for name in ("install.py", "progress.py"):
        ast.parse((ROOT / "tools" / name).read_text(encoding="utf-8"), feature_version=(3, 6))


# ----------------------------------------------------------------------------------------- running notebooks


def notebook(path: Path, *sources: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    made.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(made, path)
    return path


@pytest.fixture
def environment(built):
    return run.ENVIRONMENT


def printed(path: Path) -> str:
    return "".join(
        o.get("text", "") for cell in nbformat.read(path, 4).cells for o in cell.get("outputs", ())
    )


def test_a_notebook_runs_in_its_own_environment_whatever_the_caller_has(environment, tmp_path, monkeypatch):
    """Kernels of the same names, variables and packages that lie elsewhere change nothing."""
    for name in ("python3", colab.KERNEL):
        for folder in (tmp_path / "home/.local/share/jupyter", tmp_path / "path"):
            place = folder / "kernels" / name
            place.mkdir(parents=True)
            (place / "kernel.json").write_text(
                json.dumps({"argv": ["false"], "display_name": "x", "language": "python"})
            )
    (tmp_path / "dynattn.py").write_text("raise RuntimeError('another package')")
    for name, value in {
        "HOME": tmp_path / "home", "JUPYTER_PATH": tmp_path / "path", "PYTHONPATH": tmp_path, "DYNATTN_SEED": 9,
    }.items():  # fmt: skip
        monkeypatch.setenv(name, str(value))
    path = notebook(
        tmp_path / "book" / "a.ipynb",
        "import sys, dynattn\nprint(sys.prefix, dynattn.__file__, dynattn.seed())",
    )
    target = tmp_path / "out" / "a.ipynb"
    run.run(path, target, 3, environment, [])
    prefix, file, seed = printed(target).split()
    assert Path(prefix) == environment and Path(file).is_relative_to(environment) and seed == "3"
    assert nbformat.read(target, 4).metadata.kernelspec.name == "python3", "the notebook stays what it is"
    job = (path, target, 3)
    assert run.current(job, environment)
    notebook(path, "1 + 1")
    assert not run.current(job, environment), "an edited notebook runs again"


def test_what_claims_say_concerns_their_own_chapter_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "ROOT", tmp_path)
    said = tmp_path / "dynattn" / "claims" / "03.toml"
    said.parent.mkdir(parents=True)
    said.write_text("before")
    (tmp_path / "made.json").write_text(json.dumps({"package": "p", "claims": "of all chapters"}))
    jobs = []
    for name in ("03-a", "04-b"):
        path, target = notebook(tmp_path / f"{name}.ipynb", "1"), tmp_path / "out" / f"{name}.ipynb"
        notebook(target, "1")
        target.with_suffix(".json").write_text(json.dumps(run.stamp(path, tmp_path)))
        jobs.append((path, target, 0))
    assert all(run.current(job, tmp_path) for job in jobs)
    said.write_text("after")
    (tmp_path / "made.json").write_text(json.dumps({"package": "p", "claims": "others"}))
    assert [run.current(job, tmp_path) for job in jobs] == [False, True]


def test_the_package_is_its_code_and_what_its_claims_say(tmp_path):
    for name in ("pyproject.toml", "dynattn/a.py", "dynattn/claims/01.toml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    before = colab.package(tmp_path)
    (tmp_path / "dynattn/claims/01.toml").write_text("a headline")
    after = colab.package(tmp_path)
    assert after["package"] == before["package"] and after["claims"] != before["claims"]
    (tmp_path / "dynattn/a.py").write_text("1")
    assert colab.package(tmp_path)["package"] != before["package"]


def test_notebooks_are_chosen_by_the_start_of_their_names():
    assert [path.name[:2] for path in run.chosen(["02", "05-how"])] == ["02", "02", "05"]
    assert run.chosen([]) == CHAPTERS
    with pytest.raises(SystemExit, match="^notebooks: got 99, expected a notebook's name or its start"):
        run.chosen(["02", "99"])


def test_what_fails_is_shown_and_not_kept(environment, tmp_path, capsys):
    bad = notebook(tmp_path / "bad.ipynb", "x = 1", "x / 0")
    littering = notebook(tmp_path / "littering.ipynb", "open('leftover', 'w').close()")
    good = notebook(tmp_path / "good.ipynb", "print('fine')")
    jobs = [(path, tmp_path / "out" / path.name, 0) for path in (bad, littering, good)]
    assert sorted(run.run_all(jobs, environment)) == ["bad", "littering"]
    said = capsys.readouterr().out
    assert (
        "ZeroDivisionError" in said
        and "x / 0" in said
        and "leaves files behind" in said
        and "leftover" in said
    )
    for line in ("  bad: started\n", "  bad: FAILED; ", "  good: passed in ", "; 0 left\n"):
        assert line in said
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["good", "good.ipynb", "good.json"]


INTERRUPTED = """
import signal, sys
from pathlib import Path
sys.path.insert(0, {tools!r})
import run
signal.signal(signal.SIGTERM, signal.default_int_handler)
try:
    run.run_all([(Path({source!r}), Path({target!r}), 0)], run.ENVIRONMENT)
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_ends_the_notebook_and_keeps_nothing(how, environment, tmp_path):
    said = tmp_path / "said"
    code = (
        f"import os, pathlib, time\npathlib.Path({str(said)!r}).write_text(str(os.getpid()))\ntime.sleep(60)"
    )
    source, target = notebook(tmp_path / "slow.ipynb", code), tmp_path / "out" / "slow.ipynb"
    script = INTERRUPTED.format(tools=str(ROOT / "tools"), source=str(source), target=str(target))
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    while not (said.exists() and said.read_text()):
        time.sleep(0.05)
    kernel = int(said.read_text())
    os.killpg(process.pid, how)  # as a terminal does, which interrupts all that runs in it
    told, _ = process.communicate(timeout=30)
    assert process.returncode == 130 and not target.exists()
    assert "FAILED" not in told and "Traceback" not in told
    for _ in range(200):
        try:
            os.kill(kernel, 0)
        except ProcessLookupError:
            break
        if (
            Path(f"/proc/{kernel}/stat").exists()
            and Path(f"/proc/{kernel}/stat").read_text().split()[2] == "Z"
        ):
            break
        time.sleep(0.1)
    else:
        pytest.fail("the kernel goes on")


def test_the_list_of_notebooks_is_the_contents(tmp_path):
    shutil.copy(ROOT / "_toc.yml", tmp_path)
    for path in CHAPTERS:
        notebook(tmp_path / path.relative_to(ROOT), "1")
    assert [path.name for path in notebooks.notebooks(tmp_path)] == [path.name for path in CHAPTERS]
    notebook(tmp_path / "book" / "deeper" / "99-more.ipynb", "1")
    with pytest.raises(SystemExit, match="does not list book/deeper/99-more.ipynb"):
        notebooks.notebooks(tmp_path)
    toc, last = (tmp_path / "_toc.yml").read_text(), CHAPTERS[-1].stem
    entry = f"          - file: book/deeper/{last}\n"
    (tmp_path / "_toc.yml").write_text(toc.replace(entry, entry + entry.replace(last, "99-more")))
    assert [path.stem for path in notebooks.notebooks(tmp_path)][-2:] == [last, "99-more"]
    (tmp_path / "book" / "deeper" / "99-more.ipynb").rename(tmp_path / "book" / f"{last}.ipynb")
    (tmp_path / "_toc.yml").write_text(toc.replace(entry, entry + entry.replace("deeper/", "")))
    with pytest.raises(SystemExit, match=f"two notebooks with the file name {last}"):
        notebooks.notebooks(tmp_path)


# --------------------------------------------------------------------------------------------- what is told


def test_long_work_is_told_while_it_goes_on(monkeypatch, capsys):
    monkeypatch.setattr(progress, "EVERY", 0.1)
    code = "import time; print('first', flush=True); time.sleep(.5); print('last')"
    result = progress.run("some work", [sys.executable, "-c", code], tell=str.upper)
    said = capsys.readouterr().out.splitlines()
    assert result == (0, "first\nlast\n") and said[0] == "some work"
    assert len(said) > 2 and all(re.fullmatch(r"  \d s(: FIRST)?", line) for line in said[1:])
    assert any(line.endswith(": FIRST") for line in said)


def test_what_the_build_of_the_pages_says_is_understood():
    line = "\x1b[01mreading sources... \x1b[39;49;00m[ 45%] \x1b[35mbook/05-how-many-networks\x1b[39;49;00m"
    assert pages.tell(line) == "reading sources, 45%"
    assert pages.tell("WARNING: something") is None


def test_tests_are_counted_and_failures_told_at_once(tmp_path):
    shutil.copy(ROOT / "tests" / "conftest.py", tmp_path)
    text = (
        (tmp_path / "conftest.py")
        .read_text()
        .replace("Path(__file__).resolve().parents[1]", f"Path({str(ROOT)!r})")
    )
    (tmp_path / "conftest.py").write_text(text.replace("EVERY = 5", "EVERY = 0.3"))
    (tmp_path / "test_some.py").write_text(
        "import time\ndef test_a(): time.sleep(1.5)\ndef test_b(): assert 1 == 2\ndef test_c(): pass\n"
    )
    command = [sys.executable, "-m", "pytest", "-n", "1", "-ra", "-p", "no:cacheprovider", tmp_path]
    said = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True).stdout
    assert "\n  0 of 3 tests done, 3 left, " in said and "; now test_some.py::test_a\n" in said
    assert said.index("  FAILED test_some.py::test_b: assert 1 == 2\n") < said.index("= FAILURES =")
    assert "\nFAILED test_some.py::test_b - assert 1 == 2" in said and "1 failed, 2 passed in" in said


# ------------------------------------------------------------------------------------------------ releases


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A repository of its own with what is in this one, an address, and a `make test` that passes or not."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()  # fmt: skip
    root = tmp_path / "clone"
    for name in listed:
        if (ROOT / name).is_file():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, root / name)
    (root / "Makefile").write_text("test:\n\t@test ! -e fail\n")
    repo.write(root, "https://github.com/o/n")
    changes = root / "CHANGELOG.md"
    changes.write_text(changes.read_text().replace("\n## ", "\n## Unreleased\n\nMore.\n\n## ", 1))
    for name, value in {"NAME": "A", "EMAIL": "a@host.example"}.items():
        monkeypatch.setenv(f"GIT_AUTHOR_{name}", value)
        monkeypatch.setenv(f"GIT_COMMITTER_{name}", value)
    monkeypatch.setattr(release, "ROOT", root)
    release.git("init", "--initial-branch", release.BRANCH)
    release.git("add", "--all")
    release.git("commit", "--message", "All")
    return root


def refuses(call, said: str):
    with pytest.raises(SystemExit, match=said):
        call()


def test_a_release_is_one_step(clone, capsys):
    release.release("9.8.7")
    assert release.current() == "9.8.7" and release.git("tag", "--list") == "v9.8.7"
    assert (
        release.git("status", "--porcelain") == ""
        and release.git("log", "-1", "--format=%s") == "Version 9.8.7"
    )
    assert "\nversion: 9.8.7\n" in (clone / "CITATION.cff").read_text()
    assert "\n## 9.8.7\n\nMore.\n" in (clone / "CHANGELOG.md").read_text()
    for path in notebooks.notebooks(clone):
        assert '\\"v9.8.7\\"' in path.read_text() and json.loads(path.read_text())
    assert "git push --atomic origin main v9.8.7" in capsys.readouterr().out
    release.check()
    assert "The package is that of v9.8.7" in capsys.readouterr().out


def test_a_release_that_fails_changes_nothing(clone):
    (clone / "fail").touch()
    release.git("add", "--all")
    release.git("commit", "--message", "Fail")
    before = release.git("rev-parse", "HEAD")
    refuses(lambda: release.release("9.8.7"), "The tests failed")
    assert release.git("status", "--porcelain") == "" and release.git("tag", "--list") == ""
    assert release.git("rev-parse", "HEAD") == before and release.current() != "9.8.7"


def test_what_cannot_be_released_is_refused(clone):
    refuses(lambda: release.release("9.8"), "^VERSION: got '9.8', expected three numbers")
    (clone / "new").touch()
    refuses(lambda: release.release("9.8.7"), "not committed")
    (clone / "new").unlink()
    release.git("tag", "v9.8.7")
    refuses(lambda: release.release("9.8.7"), "v9.8.7 is there already")
    release.git("checkout", "-b", "other")
    refuses(lambda: release.release("9.8.8"), "This is the branch other")
    release.git("checkout", release.BRANCH)
    changes = clone / "CHANGELOG.md"
    changes.write_text(changes.read_text().replace("## Unreleased", "## Then"))
    release.git("commit", "--all", "--message", "Changes")
    refuses(lambda: release.release("9.8.8"), "has no section '## Unreleased'")
    repo.write(clone, "https://host.invalid/o/n")
    refuses(lambda: release.release("9.8.8"), "make repo URL=")


def test_a_tree_whose_tag_is_missing_is_refused(clone):
    refuses(release.check, f"tag v{release.current()}, which does not exist: make release")


@pytest.mark.parametrize("passes", [True, False])
def test_a_tree_that_needs_what_the_tag_lacks_is_refused(clone, monkeypatch, passes):
    """The notebooks run with the tag's package, which run.py is given in a folder."""
    release.git("tag", f"v{release.current()}")
    new = "def new():\n    return 1\n"
    with (clone / "dynattn" / "static.py").open("a") as file:
        file.write(f"\n\n{new}")
    seen, real = [], subprocess.run

    def called(command, **options):
        if "--package" not in command:
            return real(command, **options)
        seen.append((Path(command[-1]) / "dynattn" / "static.py").read_text())
        return subprocess.CompletedProcess(command, 0 if passes else 1)

    monkeypatch.setattr(subprocess, "run", called)
    if passes:
        release.check()
    else:
        refuses(release.check, "The chapters need what v.* lacks")
    assert len(seen) == 1 and new not in seen[0]


def test_without_an_address_nothing_is_offered(clone, capsys):
    repo.write(clone, "https://host.invalid/o/n")
    release.check()
    assert "no chapter is offered" in capsys.readouterr().out


def test_modules_of_the_tools_hide_none_of_pythons():
    """`tools` comes first on the path of a tool."""
    for path in (ROOT / "tools").glob("*.py"):
        assert path.stem not in sys.stdlib_module_names, path.name
        assert importlib.util.find_spec(path.stem).origin == str(path)
