"""Build the site from the executed notebooks, so that what is published is what passed: ``python tools/pages.py``.

It is built in ``_build/site`` and moved to ``_build/html`` when it is complete. An unchanged site is not built again.
"""

import hashlib
import json
import re
import shutil
import sys
from pathlib import Path

import progress
import run
from notebooks import ROOT, notebooks

BUILD = ROOT / "_build"
STAMP = BUILD / "site.json"
PARTS = ("index.md", "_config.yml", "_toc.yml", "book", "static", "tools", "dynattn")


def digest() -> str:
    """Of all that the site is made from."""
    found = hashlib.sha256()
    executed = [run.OUT / "0" / path.name for path in notebooks()]
    files = [file for part in PARTS for file in sorted([ROOT / part, *(ROOT / part).rglob("*")])] + executed
    for file in files:
        if (
            file.is_file()
            and "__pycache__" not in file.parts
            and (file.suffix != ".ipynb" or file in executed)
        ):
            found.update(f"{file.relative_to(ROOT)}\0".encode() + file.read_bytes() + b"\0")
    return found.hexdigest() + (ROOT / ".venv" / "book.json").read_text(encoding="utf-8")


def tell(line: str) -> str | None:
    """What the build is doing, from a line of its output."""
    found = re.match(
        r"(?:\x1b\[[\d;]*m)*(reading sources|writing output|copying images)\.\.\..*?\[ *(\d+%)\]", line
    )
    return f"{found[1]}, {found[2]}" if found else None


def figure(found: re.Match) -> str:
    """The figure of a chapter's cell, from its executed notebook, where a page has the mark of it."""
    name, cell = found.groups()
    notebook = json.loads((run.OUT / "0" / f"{name}.ipynb").read_text(encoding="utf-8"))
    (outputs,) = [entry["outputs"] for entry in notebook["cells"] if entry["id"] == cell]
    shown = ["".join(output.get("data", {}).get("text/html", "")) for output in outputs]
    (picture,) = [html for html in shown if "<figure" in html]
    picture = re.sub(r"<script.*?</script>", "", picture, flags=re.DOTALL)  # the site loads it once
    return f"```{{raw}} html\n{picture}\n```"


def build() -> None:
    now = digest()
    if STAMP.exists() and json.loads(STAMP.read_text()) == now and (BUILD / "html" / "index.html").exists():
        return
    STAMP.unlink(missing_ok=True)
    source = BUILD / "src"
    for leftover in (source, BUILD / "site"):
        shutil.rmtree(leftover, ignore_errors=True)
    for part in PARTS[:-1]:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, source / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            source.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / part, source)
    for path in notebooks():
        shutil.copy(run.OUT / "0" / path.name, source / path.relative_to(ROOT))
    verdict = source / "book" / "verdict.md"
    text = re.sub(r"<!-- figure (\S+) (\S+) -->", figure, verdict.read_text(encoding="utf-8"))
    verdict.write_text(text, encoding="utf-8")
    config = source / "_config.yml"
    text = config.read_text(encoding="utf-8")
    config.write_text(text.replace("execute_notebooks: force", 'execute_notebooks: "off"'), encoding="utf-8")
    program = Path(sys.executable).with_name("jupyter-book")
    command = [program, "build", "-n", "-W", "--keep-going", "--path-output", BUILD / "site", source]
    code, output = progress.run("build the site", command, tell)
    if code:
        told = [line for line in output.splitlines() if line.strip() and not tell(line)]
        sys.exit("\n".join(["building the site failed:", *told[-60:]]))
    shutil.rmtree(BUILD / "html", ignore_errors=True)
    (BUILD / "site" / "_build" / "html").rename(BUILD / "html")
    shutil.rmtree(BUILD / "site")
    STAMP.write_text(json.dumps(now), encoding="utf-8")


if __name__ == "__main__":
    progress.to_its_end(build, "the site is not built")
