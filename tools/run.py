"""Run the book's notebooks, two at a time, and keep what passed: ``python tools/run.py [--seeds N]``.

A notebook runs under each seed from 0 to N - 1, by nbmake, in the environment of ``colab.py``, and on a copy in an empty
folder elsewhere. What passed is in ``_build/run/SEED/``: ``NAME.ipynb`` with its outputs, ``NAME/`` with the records of
its claims, and ``NAME.json``, written last, which tells from what they were made. Nothing runs twice for the same.
"""

import argparse
import concurrent.futures
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import colab
import progress
from notebooks import ROOT, notebooks

OUT = ROOT / "_build" / "run"
ENVIRONMENT = ROOT / "_build" / "colab"
AT_ONCE = 2  # one thread each: a notebook never needs more than one core


class Failed(Exception):
    """A notebook that did not pass, with what nbmake says of it."""


def chosen(names: list[str]) -> list[Path]:
    """The notebooks whose names begin like these; all if there are none."""
    for name in names:
        if not any(path.stem.startswith(name) for path in notebooks()):
            raise SystemExit(f"notebooks: got {name}, expected a notebook's name or its start, such as 02")
    return [path for path in notebooks() if path.stem.startswith(tuple(names or [""]))]


def stamp(notebook: Path, environment: Path) -> dict:
    """From what a result is made: the environment with its package, the notebook, and what its chapter's claims say."""
    made = json.loads((environment / "made.json").read_text(encoding="utf-8"))
    said = ROOT / "dynattn" / "claims" / f"{notebook.name[:2]}.toml"
    parts = {"notebook": notebook.read_bytes(), "claims": said.read_bytes() if said.exists() else b""}
    return made | {name: hashlib.sha256(part).hexdigest() for name, part in parts.items()}


def current(job: tuple[Path, Path, int], environment: Path) -> bool:
    """Whether the result is there, and made from what it would be made from now."""
    source, target, _ = job
    try:
        record = json.loads(target.with_suffix(".json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return stamp(source, environment).items() <= record.items() and target.exists()


def run(source: Path, target: Path, seed: int, environment: Path, processes: list) -> float:
    """Run one notebook, keep the result if it passes, and return the seconds it took."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder, "work")
        work.mkdir()
        notebook, claims = work / source.name, Path(folder, "claims")
        shutil.copyfile(source, notebook)
        made_from = stamp(notebook, environment)
        claims.mkdir()
        command = [
            sys.executable, "-m", "pytest", "--quiet", "--no-header", "-p", "no:cacheprovider", "--rootdir", work,
            "--nbmake", "--overwrite", "--nbmake-timeout=600", f"--nbmake-kernel={colab.KERNEL}", notebook,
        ]  # fmt: skip
        variables = colab.environment(environment) | {
            "DYNATTN_SEED": str(seed), "DYNATTN_CLAIMS": str(claims), "PYTHONDONTWRITEBYTECODE": "1",
        }  # fmt: skip
        process = subprocess.Popen(
            command, cwd=work, env=variables, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, start_new_session=True,  # an interruption is for run_all alone
        )  # fmt: skip
        processes.append(process)
        output, _ = process.communicate()
        if process.returncode:
            raise Failed(output)
        if left := sorted(
            path.name for path in work.iterdir() if path != notebook and path.name != "__pycache__"
        ):
            raise Failed(f"It leaves files behind in the folder where it runs: {', '.join(left)}")
        target.parent.mkdir(parents=True, exist_ok=True)
        record = target.with_suffix(".json")
        record.unlink(missing_ok=True)
        shutil.rmtree(target.with_suffix(""), ignore_errors=True)
        shutil.copytree(claims, target.with_suffix(""))
        shutil.copy(notebook, target)
        seconds = time.monotonic() - started
        part = record.with_suffix(".part")
        part.write_text(json.dumps(made_from | {"seconds": round(seconds, 1)}), encoding="utf-8")
        part.replace(record)
        return seconds


def run_all(jobs: list[tuple[Path, Path, int]], environment: Path) -> list[str]:
    """Run the jobs, each (notebook, where its result goes, seed); return the names of those that failed."""
    left, running, failed, processes = len(jobs), {}, [], []
    lock, stopped = threading.Lock(), threading.Event()

    def one(job):
        nonlocal left
        name = job[0].stem + (f", seed {job[2]}" if job[2] else "")
        running[name] = time.monotonic()
        progress.say(f"  {name}: started")
        try:
            said = f"  {name}: passed in {run(*job, environment, processes):.0f} s"
        except Failed as problem:
            if stopped.is_set():
                return
            failed.append(name)
            said = f"{problem}\n  {name}: FAILED"
        with lock:
            left -= 1
            del running[name]
            progress.say(f"{said}; {left} left")

    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        waiting = {pool.submit(one, job) for job in jobs}
        try:
            while waiting:
                done, waiting = concurrent.futures.wait(waiting, progress.EVERY, "FIRST_COMPLETED")
                for future in done:
                    future.result()
                if not done:
                    times = [
                        f"{name} {time.monotonic() - since:.0f} s" for name, since in list(running.items())
                    ]
                    progress.say(f"  running: {', '.join(times)}; {left} left")
        except BaseException:  # an interruption: end what runs, and the kernels end with it
            stopped.set()
            pool.shutdown(wait=False, cancel_futures=True)
            for process in processes:
                process.terminate()
            raise
    return failed


def main() -> None:
    parser = argparse.ArgumentParser(description="Run the book's notebooks that have changed.")
    parser.add_argument(
        "notebooks", nargs="*", help="only these, by their names or the start of them; all if none"
    )
    parser.add_argument("--seeds", type=int, default=1, help="run under the seeds 0 to N - 1")
    parser.add_argument("--package", type=Path, help="run with the package of another tree, such as a tag's")
    parser.add_argument("--python", type=Path, help="run in an environment that is there, by its Python")
    options = parser.parse_args()
    environment, out = ENVIRONMENT, OUT
    if options.python or options.package:
        out = ROOT / "_build" / "elsewhere"
        shutil.rmtree(out, ignore_errors=True)
        environment = out / "environment"
    if options.python:
        environment.mkdir(parents=True)
        colab.kernel(environment, options.python.absolute())
        (environment / "made.json").write_text(json.dumps({"environment": str(options.python)}))
    else:
        colab.ready(environment, options.package or ROOT)
    jobs = [
        (path, out / str(seed) / path.name, seed)
        for seed in range(options.seeds)
        for path in chosen(options.notebooks)
    ]
    jobs = [job for job in jobs if not current(job, environment)]
    if jobs:
        progress.say(f"run {len(jobs)} notebook{'s' * (len(jobs) > 1)}, {AT_ONCE} at a time")
    if failed := run_all(jobs, environment):
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    progress.to_its_end(main, "what has passed is kept")
