"""The pages of claims, of the verdict and for teachers, and the first page, from registry, records, notebooks and plans.

``python tools/claims.py`` writes the four pages; ``python tools/claims.py records SEEDS [NOTEBOOK ...]`` first brings the
records up to date from the runs of these notebooks (of all, if none is named) under so many seeds in ``_build/run``.
"""

import json
import re
import sys
from itertools import count, groupby
from pathlib import Path

import plan
import run
from notebooks import ROOT, load, notebooks

from dynattn.claims import FOLDER, Claim, line, margin, registry, said, show

RECORDS = ROOT / "book" / "records.json"
TEMPLATES = ROOT / "tools" / "templates"
MADE = "<!-- Made by `make claims` and `make book`; do not edit. -->"


def order(number: str) -> list[int]:
    return [int(part) for part in number.split(".")]


def claims() -> dict[str, Claim]:
    """All claims of the book that are not retired, by number, in order."""
    chapters = [int(path.stem) for path in FOLDER.glob("*.toml")]
    found = [entry for chapter in chapters for entry in registry(chapter).values()]
    return {
        entry.number: entry for entry in sorted(found, key=lambda e: order(e.number)) if not entry.retired
    }


def homes() -> dict[str, Path]:
    """Claim -> the notebook that measures it. One that two notebooks measure, or one measures twice, is an error."""
    found = {}
    for path in notebooks():
        for cell in load(path)["cells"]:
            if cell["cell_type"] == "code":
                for number in re.findall(r'\bclaim\(\s*"(\d+\.\d+)"', cell["source"]):
                    if number in found:
                        raise SystemExit(
                            f"claim {number} is measured in {found[number].name} and in {path.name}"
                        )
                    found[number] = path
    return found


def summary(records: list[dict]) -> dict:
    """What is kept of a claim's records, one of each seed from 0: numbers of three digits, and measured bounds."""
    seeds = sorted(record["seed"] for record in records)
    if seeds != list(range(len(records))) or not records:
        raise ValueError(f"records: got seeds {seeds}, expected 0, 1, ... once each")
    (first,) = [record for record in records if record["seed"] == 0]
    worst = min(records, key=margin)
    entry = registry(order(first["number"])[0])[first["number"]]
    kept = {"measured": first["measured"], "worst": worst["measured"], "margin": margin(worst)}
    kept |= {name: first[name] for name in ("at_least", "at_most") if getattr(entry, name) == "call"}
    return {name: float(f"{x:.3g}") for name, x in kept.items()} | {"seeds": len(records)}


def collect(seeds: int, names: list[str]) -> dict[str, dict]:
    """The kept records, renewed from the runs of these notebooks."""
    kept = json.loads(RECORDS.read_text(encoding="utf-8"))
    for path in run.chosen(names):
        jobs = [(path, run.OUT / str(seed) / path.name, seed) for seed in range(seeds)]
        if not all(run.current(job, run.ENVIRONMENT) for job in jobs):
            raise SystemExit(f"{path.stem} has not been run under {seeds} seeds as it is now")
        found = [
            json.loads(file.read_text())
            for _, target, _ in jobs
            for file in target.with_suffix("").glob("*.json")
        ]
        found.sort(key=lambda record: order(record["number"]))
        for number, records in groupby(found, key=lambda record: record["number"]):
            kept[number] = summary(list(records))
    present = claims()
    return {number: kept[number] for number in sorted(kept, key=order) if number in present}


def lines(entry: Claim, record: dict) -> list[str]:
    """What a claim's line opens to, as HTML."""
    bounds = {name: record.get(name, getattr(entry, name)) for name in ("at_least", "at_most")}
    return [
        f"Measured {show(record['measured'])}, must stay {said(bounds)}.",
        f"Worst of {record['seeds']} seeds: {show(record['worst'])}, margin {show(record['margin'])}.",
    ]


def block(
    numbers, entries: dict[str, Claim], records: dict[str, dict], where: dict[str, Path], suffix: str
) -> str:
    """Claims as lines that open, each with a link to the place where it is measured; without the package's style."""
    found = []
    for number in numbers:
        if number not in entries or number not in records:
            raise ValueError(f"claim {number}: got none, expected a claim of the registry with a record")
        entry, record, name = entries[number], records[number], f"claim-{number.replace('.', '-')}"
        way = where[number].relative_to(ROOT / "book").with_suffix(".html").as_posix()
        anchor = f"#{name}" if entry.shown else ""
        link = f'<a href="{way}{anchor}">Claim {number}, where it is measured</a>'
        text = line(entry, record["measured"], [*lines(entry, record), link], f"{name}-{suffix}")
        text = text.replace("<strong>", f"<strong>{number} ", 1)
        found.append(re.sub(r' style="[^"]*"', "", text))
    return "\n".join(found)


def page(records: dict[str, dict]) -> str:
    """The book's page of claims."""
    entries, where = claims(), homes()
    titles = {
        order(path.stem[:2])[0]: load(path)["cells"][0]["source"]
        for path in notebooks()
        if path.parent.name == "book"
    }
    kinds = [entry.kind for entry in entries.values()]
    text = (
        "# The claims of this book\n\n"
        f"{MADE}\n\n"
        "Every claim is an assertion in its chapter. A chapter fails, and so does the book, when one of its claims does not "
        "hold. Open a line to see what exactly was measured, the bound that every seed must keep, and the worst value that "
        "a seed has given. The numbers were measured when the records were made; a different processor may change "
        "their last digits, and more than that after a long training.\n\n"
        f"Of {len(entries)} claims, {kinds.count('for')} speak *for* a sentence of the essay that prompted this book, and "
        f"{kinds.count('against')} *against* one (those that say only *the thesis* do not name it yet). {kinds.count('identity')} are *true by algebra*, so that the check is one "
        f"of the code, and {kinds.count('measured')} are *measured* and take no side.\n"
    )
    for chapter, numbers in groupby(entries, key=lambda number: order(number)[0]):
        title = re.search(r"^# (.*)$", titles[chapter], re.MULTILINE)[1]
        text += f"\n## Chapter {chapter}: {title}\n\n{block(numbers, entries, records, where, 'row')}\n"
    return text


def verdict(template: str, records: dict[str, dict]) -> str:
    """The book's page of verdicts: the template, with each line ``{claims 5.1 5.3}`` replaced by these claims.

    A line ``{figure NOTEBOOK CELL}`` becomes a link to the chapter, and a mark where the built site shows its figure.
    """
    title, _, text = template.partition("\n\n")
    text = re.sub(
        r"(?m)^\{figure (\S+) (\S+)\}$",
        r"<!-- figure \1 \2 -->\n\n([The figure in its chapter](\1.ipynb).)",
        text,
    )
    entries, where, tables = claims(), homes(), count(1)
    return f"{title}\n\n{MADE}\n\n" + re.sub(
        r"(?m)^\{claims ([\d. ]+)\}$",
        lambda found: block(found[1].split(), entries, records, where, f"verdict-{next(tables)}"),
        text,
    )


def minutes(chapter: str) -> str:
    """How long a chapter takes to read, as the chapter itself says."""
    (path,) = [path for path in notebooks() if path.parent.name == "book" and path.name.startswith(chapter)]
    text = "\n".join(cell["source"] for cell in load(path)["cells"] if cell["cell_type"] == "markdown")
    return re.search(r"(\d+) minutes", text)[1]


def filled(text: str, records: dict[str, dict]) -> str:
    """A text with ``{3.27:.0%}`` replaced by what was measured for claim 3.27."""
    return re.sub(
        r"\{(\d+\.\d+):([^}]+)\}", lambda found: format(records[found[1]]["measured"], found[2]), text
    )


def first_page(template: str, records: dict[str, dict]) -> str:
    """The book's first page: the template with its numbers, and with ``{minutes 01}``."""
    title, _, text = template.partition("\n\n")
    text = filled(text, records)
    text = re.sub(r"\{minutes (\d\d)\}", lambda found: minutes(found[1]), text)
    return f"{title}\n\n{MADE}\n\n{text}"


def made() -> dict[Path, str]:
    """The four pages as they should be."""
    records = json.loads(RECORDS.read_text(encoding="utf-8"))
    names = ("index.md", "verdict.md", "for-teachers.md")
    first, last, teachers = ((TEMPLATES / name).read_text(encoding="utf-8") for name in names)
    title, _, text = teachers.partition("\n\n")
    return {
        ROOT / "index.md": first_page(first, records),
        ROOT / "book" / "claims.md": page(records),
        ROOT / "book" / "verdict.md": verdict(last, records),
        ROOT / "book" / "for-teachers.md": f"{title}\n\n{MADE}\n\n{plan.page(text)}",
    }


if __name__ == "__main__":
    if sys.argv[1:2] == ["records"]:
        rows = [
            f" {json.dumps(number)}: {json.dumps(record)}"
            for number, record in collect(int(sys.argv[2]), sys.argv[3:]).items()
        ]
        RECORDS.write_text("{\n" + ",\n".join(rows) + "\n}\n", encoding="utf-8")
    for path, text in made().items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print(f"{path.relative_to(ROOT)} is rewritten")
