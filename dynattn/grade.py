"""Grade a folder of handed-in notebooks: ``python -m dynattn.grade FOLDER``.

Each notebook runs in a process of its own, with limits of time and memory and without the network, and ends as rows of a
table: whatever a notebook does, the others are graded. Of a notebook's cells only those run that an exercise may need: imports,
functions, classes, plain assignments, and the cells that call ``check``. What the student did to ``check`` makes no difference.
Nothing is proof against somebody who wants to cheat: the judges run where the answers run.
"""

import argparse
import ast
import csv
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from dynattn.exercises import _EXERCISES, Result, grade, variants

COLUMNS = ("student", "exercise", "status", "diagnosis", "style")
PREPARING = "the cells before the exercises"


# ------------------------------------------------------------------------------- in the notebook's own process


def _cells(path: Path) -> list[str]:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def _checked(statement):
    """(name, expression) of a statement ``check("2.1", expression)``, or None; a variant may come third, and is named 2.1/3."""
    call = getattr(statement, "value", None)
    if not (isinstance(statement, ast.Expr) and isinstance(call, ast.Call) and len(call.args) >= 2):
        return None
    function = getattr(call.func, "id", getattr(call.func, "attr", None))
    numbers = [call.args[0], *call.args[2:], *(k.value for k in call.keywords if k.arg == "variant")]
    if function != "check" or not all(isinstance(number, ast.Constant) for number in numbers):
        return None
    name = "/".join(str(number.value) for number in numbers).removesuffix("/0")
    return (name, call.args[1]) if _exists(name) else None


def _exists(name: str) -> bool:
    number, _, variant = name.partition("/")
    return number in _EXERCISES and (variant or "0") in map(str, range(variants(number)))


def _graded(name: str, answer) -> Result:
    number, _, variant = name.partition("/")
    return replace(grade(number, answer, int(variant or 0)), number=name)


def _plain(statement) -> bool:
    """Whether a statement outside of an exercise is run: it defines something, and computes nothing."""
    if isinstance(statement, (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef)):
        return True
    if not isinstance(statement, (ast.Assign, ast.AnnAssign)) or statement.value is None:
        return False
    calls = [part.func for part in ast.walk(statement.value) if isinstance(part, ast.Call)]
    return all(ast.unparse(call) == "dynattn.seed" for call in calls)


def _execute(statement, namespace):
    exec(compile(ast.Module([statement], []), "<notebook>", "exec"), namespace)


def _grade_cells(cells: list[str], skip: set[str], bare: bool, report) -> None:
    """Report each exercise of these cells; ``bare``: without the cells before them."""
    namespace, exercises = {"__name__": "__main__"}, []
    report(begin=PREPARING)
    for source in cells:
        try:
            statements = ast.parse(re.sub(r"(?m)^\s*[%!].*$", "", source)).body
        except SyntaxError as error:
            for number in re.findall(r'\bcheck\(\s*["\']([\d.]+)["\']', source):
                if _exists(number) and number not in skip:
                    report(done=Result(number, "broken", f"your code raised SyntaxError: {error}"))
            continue
        if any(map(_checked, statements)):
            exercises.append(statements)
        elif not bare:
            for statement in filter(_plain, statements):
                try:
                    _execute(statement, namespace)
                except Exception:  # an exercise that needs it will say so
                    pass
    for statements in exercises:
        numbers = [found[0] for found in map(_checked, statements) if found and found[0] not in skip]
        if not numbers:
            continue
        problem = None
        report(begin=numbers[0])
        for statement in statements:
            found = _checked(statement)
            try:
                if not found:
                    _execute(statement, namespace)
                    continue
                number, expression = found
                if number in skip:
                    continue
                report(begin=number)
                answer = eval(compile(ast.Expression(expression), "<notebook>", "eval"), namespace)
                result = _graded(number, answer)
                if result.status == "right" and _graded(number, object()).status == "right":
                    result = Result(number, "broken", "this notebook changes the check itself.")
            except Exception as error:
                problem = problem or error
                if not found:
                    continue
                result = Result(number, "broken", f"your code raised {type(problem).__name__}: {problem}")
            report(done=result)


def _refuse(*args, **options):
    raise OSError("there is no network while notebooks are graded")


def _one(options) -> None:
    """Grade one notebook, and write what is found into the report, a line of JSON each."""
    with open(options.report, "a", encoding="utf-8") as file:

        def report(**entry):
            done = entry.get("done")
            if done:
                entry["done"] = {name: getattr(done, name) for name in ("number", *COLUMNS[2:])}
            file.write(json.dumps(entry) + "\n")
            file.flush()

        cells = _cells(Path(options.folder))
        if options.memory:
            import resource

            limit = int(options.memory * 2**30)
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        socket.socket.connect = socket.create_connection = socket.getaddrinfo = _refuse
        _grade_cells(cells, set(filter(None, options.skip.split(","))), options.bare, report)
        report(end=True)


# --------------------------------------------------------------------------------------------------- around it


def grade_notebook(path: Path, seconds: float = 60, memory: float = 8) -> list[Result]:
    """The results of one notebook's exercises, in the order in which they were found; the last of several answers counts.

    Args:
        path: the notebook.
        seconds: what an exercise may take.
        memory: what the notebook may take, in GiB; 0: no limit (on macOS there is none).
    """
    found, skip, bare = {}, set(), False
    while True:
        started, ended = _run(path, skip, bare, seconds, memory, found)
        if ended is None:
            return list(found.values())
        if started == PREPARING and not bare:
            bare = True
            continue
        if started and _exists(started):
            found[started] = Result(started, "broken", ended)
        if skip.issuperset(found):  # to run it again would end in the same place
            return [*found.values(), Result("", "broken", ended)]
        skip.update(found)


def _run(path, skip, bare, seconds, memory, found):
    """Run the notebook once. Returns (what had begun, how it ended): the first is empty between exercises and None before
    anything, the second None if the notebook came to its end."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report"
        report.touch()
        command = [
            sys.executable,
            "-m",
            "dynattn.grade",
            "--one",
            str(path.absolute()),
            "--report",
            str(report),
        ]
        command += ["--skip", ",".join(skip), "--memory", str(memory)] + ["--bare"] * bare
        environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1", "MPLBACKEND": "agg"}
        silent = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        process = subprocess.Popen(command, env=environment, cwd=folder, start_new_session=True, **silent)
        size, since = 0, time.monotonic()
        try:
            while process.poll() is None:
                time.sleep(0.05)
                if report.stat().st_size != size:
                    size, since = report.stat().st_size, time.monotonic()
                if time.monotonic() - since > seconds + (20 if size == 0 else 0):  # it also has to start
                    break
            late = process.poll() is None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        begun, whole = None, False
        for line in report.read_text(encoding="utf-8").splitlines():
            entry = json.loads(line)
            begun, whole = entry.get("begin", begun), "end" in entry
            if "done" in entry:
                result = Result(**entry["done"])
                found[result.number] = result
                begun = "" if begun == result.number else begun
    if late:
        return begun, f"it had not ended after {seconds:g} seconds."
    if whole:
        return begun, None
    if begun is None:
        return begun, "this is no notebook that can be read."
    return begun, "it ended Python" + (f" (signal {-process.returncode})." if process.returncode < 0 else ".")


def grade_folder(folder: Path, seconds: float = 60, memory: float = 8, jobs: int = 1) -> list[dict[str, str]]:
    """A row for each student and exercise: every notebook in the folder and below is a student's.

    An exercise that some notebook holds, and this one doesn't, is "missing". ``jobs`` notebooks run at a time.
    """
    paths = sorted(path for path in folder.rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts)
    results = {}
    with ThreadPoolExecutor(jobs) as pool:
        for path, found in zip(paths, pool.map(lambda path: grade_notebook(path, seconds, memory), paths)):
            student = str(path.relative_to(folder).with_suffix(""))
            results[student] = found
            print(f"{len(results)} of {len(paths)}: {student}", file=sys.stderr, flush=True)
    expected = sorted({result.number for of in results.values() for result in of} - {""}, key=_order)
    rows = []
    for student, of in results.items():
        by_number = {result.number: result for result in of}
        rows += [
            dict(zip(COLUMNS, (student, result.number, result.status, result.diagnosis, result.style)))
            for result in (
                by_number.get(number, Result(number, "missing"))
                for number in [""] * ("" in by_number) + expected
            )
        ]
    return rows


def _order(number: str) -> tuple[int, ...]:
    return tuple(map(int, re.split("[./]", number)))


def _main(arguments=None) -> int:
    parser = argparse.ArgumentParser(prog="python -m dynattn.grade", description=__doc__.splitlines()[0])
    parser.add_argument("folder", help="the notebooks, one for each student, here or in folders below")
    parser.add_argument(
        "--out", default="grades.csv", help="the table that is written (default: %(default)s)"
    )
    parser.add_argument(
        "--seconds", type=float, default=60, help="what an exercise may take (default: %(default)s)"
    )
    parser.add_argument(
        "--memory", type=float, default=8, help="what a notebook may take, GiB (default: %(default)s)"
    )
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count(), help="notebooks at a time (default: %(default)s)"
    )
    for hidden, more in (
        ("--one", {"action": "store_true"}),
        ("--bare", {"action": "store_true"}),
        ("--report", {}),
        ("--skip", {"default": ""}),
    ):
        parser.add_argument(hidden, help=argparse.SUPPRESS, **more)
    options = parser.parse_args(arguments)
    if options.one:
        _one(options)
        return 0
    folder = Path(options.folder)
    if not folder.is_dir():
        print(f"folder: got {options.folder!r}, expected a folder of notebooks", file=sys.stderr)
        return 2
    rows = grade_folder(folder, options.seconds, options.memory, max(1, options.jobs))
    if not rows:
        print(f"folder: got {options.folder!r}, which holds no notebook with an exercise", file=sys.stderr)
        return 2
    with open(options.out, "w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, COLUMNS)
        table.writeheader()
        table.writerows(rows)
    students = {row["student"] for row in rows}
    right = Counter(row["exercise"] for row in rows if row["status"] == "right")
    print(f"{len(students)} notebooks, {len(rows)} rows: {options.out}")
    for number in sorted({row["exercise"] for row in rows} - {""}, key=_order):
        print(f"  {number}: {right[number]} of {len(students)} right")
    common = Counter((row["exercise"], row["diagnosis"]) for row in rows if row["diagnosis"])
    if common:
        print("The commonest diagnoses:")
    for (number, diagnosis), count in common.most_common(12):
        print(f"  {count:3} times  {number}  {diagnosis}")
    return 0


if __name__ == "__main__":
    sys.exit(_main())
