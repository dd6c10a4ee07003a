"""Release a version: ``make release VERSION=1.2.3`` writes it everywhere, tests, commits and tags, or changes nothing.

Colab opens the chapters of the main branch, and their set-up cell installs the package of the tag that it names. So
``python tools/release.py check``, which the deployment runs, refuses a tree whose tag is missing, or whose chapters fail
with the tag's package.
"""

import io
import re
import subprocess
import sys
import tarfile
import tempfile

import repo
from notebooks import ROOT, notebooks

BRANCH = "main"
CHANGES = "CHANGELOG.md"


def git(*arguments: str) -> str:
    """What git says; where it refuses, its own words end the program."""
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"git {arguments[0]}: {done.stderr.strip()}")
    return done.stdout.strip()


def current() -> str:
    """The version of the package in this tree."""
    source = (ROOT / "dynattn" / "__init__.py").read_text(encoding="utf-8")
    return re.search(r'^__version__ = "(.*)"$', source, re.MULTILINE)[1]


def write(new: str) -> None:
    """Write the version everywhere it stands."""
    old = current()
    places = {
        ROOT / "dynattn" / "__init__.py": (f'__version__ = "{old}"', f'__version__ = "{new}"'),
        ROOT / "CITATION.cff": (f"\nversion: {old}\n", f"\nversion: {new}\n"),
        ROOT / CHANGES: ("\n## Unreleased\n", f"\n## {new}\n"),
    }
    places |= {path: (rf"\"v{old}\"", rf"\"v{new}\"") for path in notebooks(ROOT)}
    for path, (before, after) in places.items():
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace(before, after), encoding="utf-8")


def unfit(new: str) -> str | None:
    """Why this version cannot be released from this tree."""
    if not re.fullmatch(r"\d+\.\d+\.\d+", new):
        return f"VERSION: got {new!r}, expected three numbers such as 1.2.3"
    if ".invalid" in repo.current(ROOT):
        return "The repository has no address yet, so that no set-up cell could install the tag: make repo URL=... first"
    if git("status", "--porcelain"):
        return "There are changes that are not committed: commit them, or put them aside, first"
    if (branch := git("rev-parse", "--abbrev-ref", "HEAD")) != BRANCH:
        return f"This is the branch {branch}, but Colab opens the chapters of {BRANCH}"
    if git("tag", "--list", f"v{new}"):
        return f"The tag v{new} is there already"
    if not re.search(
        rf"(?m)^## (Unreleased|{re.escape(new)})$", (ROOT / CHANGES).read_text(encoding="utf-8")
    ):
        return f"{CHANGES} has no section '## Unreleased' that says what this version brings"
    return None


def release(new: str) -> None:
    if reason := unfit(new):
        sys.exit(reason)
    done = False
    try:
        write(new)
        if subprocess.run(["make", "test"], cwd=ROOT).returncode:
            sys.exit("The tests failed: nothing is committed or tagged")
        if git("status", "--porcelain"):
            git("commit", "--all", "--message", f"Version {new}")
        git("tag", "--annotate", f"v{new}", "--message", f"Version {new}")
        done = True
    finally:
        if not done:
            git("checkout", "--", ".")  # the tree was clean before
    print(f"v{new} is committed and tagged. To publish it: git push --atomic origin {BRANCH} v{new}")


def check() -> None:
    """Whether the chapters of this tree run with the package that their set-up cell installs."""
    tag = f"v{current()}"
    if ".invalid" in repo.current(ROOT):
        print("The repository has no address yet: no chapter is offered to Colab")
        return
    if not git("tag", "--list", tag):
        sys.exit(
            f"The set-up cells install the tag {tag}, which does not exist: make release VERSION={tag[1:]}"
        )
    if (
        subprocess.run(
            ["git", "diff", "--quiet", tag, "--", "dynattn", "pyproject.toml"], cwd=ROOT
        ).returncode
        == 0
    ):
        print(f"The package is that of {tag}")
        return
    print(f"The package differs from that of {tag}: do the chapters run with the tag's?", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        archive = subprocess.run(["git", "archive", tag], cwd=ROOT, check=True, capture_output=True).stdout
        tarfile.open(fileobj=io.BytesIO(archive)).extractall(folder, filter="data")
        if subprocess.run([sys.executable, ROOT / "tools" / "run.py", "--package", folder]).returncode:
            sys.exit(
                f"The chapters need what {tag} lacks. Before they are published: make release VERSION=..."
            )


if __name__ == "__main__":
    if sys.argv[1:] == ["check"]:
        check()
    else:
        release(sys.argv[1] if len(sys.argv) > 1 else "")
