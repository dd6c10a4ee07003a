"""Claims: a sentence of the book, the number measured for it, and the bound that the number must keep.

``python -m dynattn.claims RECORDS PAGE TEMPLATE VERDICTS`` makes the book's page of claims, and that of verdicts from its
template, from the records of many seeds.
"""

import html
import json
import math
import os
import re
import sys
from collections import Counter
from itertools import groupby
from pathlib import Path

from IPython.display import display

from dynattn.seeding import seed

SIDES = {"supports": "supports the thesis", "limits": "limits the thesis", "identity": "an identity"}


class ClaimFailed(AssertionError):
    """A claim of the book does not hold for this run."""


def claim(
    number: str, statement: str, measured: float, *, at_least=None, at_most=None, thesis="supports"
) -> None:
    """Check one claim, show it with its margin, and record it when the run is asked to.

    A claim holds when ``at_least <= measured <= at_most``; one of the two bounds may be left out. The bound should
    follow from what the claim means (chance, a closed-form floor, another layer's result), not from one run.
    If the environment variable ``DYNATTN_CLAIMS`` names a folder, a record is written into it.

    Args:
        number: chapter and claim, such as "3.2".
        statement: one sentence, in plain words.
        measured: the number measured, a finite float.
        at_least, at_most: the bounds.
        thesis: "supports" or "limits", whether the claim speaks for the book's thesis or against it; or
            "identity", where it is true by algebra and only the code can be wrong.

    Raises:
        ClaimFailed: the number is outside its bounds, or is not finite.
        ValueError: no bound is given, or thesis is another word.
    """
    if at_least is None and at_most is None:
        raise ValueError("at_least, at_most: got neither, expected at least one bound")
    if thesis not in SIDES:
        raise ValueError(f"thesis: got {thesis!r}, expected one of {', '.join(SIDES)}")
    measured = float(measured.detach() if hasattr(measured, "detach") else measured)
    low = None if at_least is None else float(at_least)
    high = None if at_most is None else float(at_most)
    record = {
        "number": number,
        "statement": statement,
        "measured": measured,
        "at_least": low,
        "at_most": high,
        "thesis": thesis,
        "seed": seed(),
    }
    if folder := os.environ.get("DYNATTN_CLAIMS"):
        path = Path(folder)
        path.mkdir(parents=True, exist_ok=True)
        (path / f"{number}-{record['seed']}.json").write_text(json.dumps(record), encoding="utf-8")
    if not (math.isfinite(measured) and margin(record) >= 0):
        raise ClaimFailed(
            f"claim {number}: {statement}: measured {show(measured)}, expected {bounds(record)}"
        )
    display(_Box(record))


def margin(record: dict) -> float:
    """By how much the measured number keeps its nearest bound; negative when it does not."""
    low, high, measured = record["at_least"], record["at_most"], record["measured"]
    return min(
        measured - (-math.inf if low is None else low), (math.inf if high is None else high) - measured
    )


def show(x: float) -> str:
    """A number with three significant digits."""
    return f"{x:.3g}" if abs(x) < 1000 else f"{x:,.0f}"


def bounds(record: dict) -> str:
    low, high = record["at_least"], record["at_most"]
    if low is not None and high is not None:
        return f"between {show(low)} and {show(high)}"
    return f"at least {show(low)}" if low is not None else f"at most {show(high)}"


class _Box:
    """How a claim looks in a notebook; borders and text follow the page's own colours, light or dark."""

    def __init__(self, record: dict):
        self.record = record

    def __repr__(self) -> str:
        r = self.record
        return (
            f"Claim {r['number']} holds: {r['statement']} Measured {show(r['measured'])}, expected {bounds(r)}, "
            f"margin {show(margin(r))}, seed {r['seed']}; {SIDES[r['thesis']]}."
        )

    def _repr_html_(self) -> str:
        r = self.record
        return (
            '<div class="dynattn-claim" style="border:1px solid; border-left-width:6px; border-radius:4px; '
            'padding:0.5em 0.9em; margin:0.5em 0; max-width:46em">'
            f"<strong>Claim {r['number']} holds.</strong> {html.escape(r['statement'])}<br>"
            f"measured <strong>{show(r['measured'])}</strong> · expected {bounds(r)} · margin {show(margin(r))} "
            f"· seed {r['seed']} · {SIDES[r['thesis']]}</div>"
        )


def page(records: list[dict]) -> str:
    """The book's page of claims: each with its value at seed 0, the worst over all seeds, and which side it is on.

    Args:
        records: of every claim under the same seeds, seed 0 among them; as :func:`claim` writes them.

    Raises:
        ValueError: there are no records, seed 0 is missing, claims have different seeds, or a claim's sentence or
            side changes with the seed.
    """
    rows = _rows(records)
    seeds = len({r["seed"] for r in records})
    count = Counter(r["thesis"] for r in records if r["seed"] == 0)
    return (
        "# The claims of this book\n\n"
        f"{_MADE}\n\n"
        "Every claim is an assertion in its chapter; a chapter fails, and so does the book, when one of its claims "
        f"does not hold. For these tables all chapters ran under {seeds} seed{'s' * (seeds > 1)}. *Measured* is the value "
        "at seed 0, and after it stands the bound that every seed must keep. *Worst* is the value with the smallest margin "
        "to its bound over all seeds, and after it stands that margin.\n\n"
        "The thesis is that attention is a linear layer whose weights are computed from the input, and that this is "
        f"what attention adds. {count['supports']} claims *support* it and {count['limits']} *limit* it. "
        f"{count['identity']} are *identities*: true by algebra, so that the check is one of the code.\n"
        + "".join(
            f"\n## Chapter {chapter}\n\n" + _table([rows[number] for number in numbers]) + "\n"
            for chapter, numbers in groupby(rows, key=lambda number: number.split(".")[0])
        )
    )


def verdict(template: str, records: list[dict]) -> str:
    """The book's page of verdicts: the template, with each line ``{claims 5.1 5.3}`` replaced by these claims' rows.

    Raises:
        ValueError: as :func:`page`; or the template names a claim that has no record.
    """
    rows = _rows(records)

    def table(match):
        numbers = match[1].split()
        if missing := [number for number in numbers if number not in rows]:
            raise ValueError(f"template: got claims {', '.join(missing)}, expected some of the records'")
        return _table([rows[number] for number in numbers])

    title, _, text = template.partition("\n\n")
    return f"{title}\n\n{_MADE}\n\n" + re.sub(r"(?m)^\{claims ([\d. ]+)\}$", table, text)


_MADE = "<!-- Made by `make claims`; do not edit. -->"


def _table(rows: list[list[str]]) -> str:
    head = ["Claim", "What is claimed", "Measured, bound", "Worst, margin", "Kind"]
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows])


def _rows(records: list[dict]) -> dict[str, list[str]]:
    """For each claim, in the order of the numbers, its row in the table."""
    if not records:
        raise ValueError("records: got none, expected those of at least seed 0")
    numbers = sorted(
        {r["number"] for r in records}, key=lambda number: [int(part) for part in number.split(".")]
    )
    seeds = sorted({r["seed"] for r in records})
    rows = {}
    for number in numbers:
        of_claim = {r["seed"]: r for r in records if r["number"] == number}
        if sorted(of_claim) != seeds or 0 not in of_claim:
            raise ValueError(f"claim {number}: got seeds {sorted(of_claim)}, expected {seeds}, 0 among them")
        first = of_claim[0]
        if any(
            (r["statement"], r["thesis"]) != (first["statement"], first["thesis"]) for r in of_claim.values()
        ):
            raise ValueError(f"claim {number}: got different sentences for different seeds, expected one")
        worst = min(of_claim.values(), key=margin)
        rows[number] = [
            number,
            first["statement"],
            f"**{show(first['measured'])}**, {bounds(first)}",
            f"{show(worst['measured'])}, {show(margin(worst))}",
            first["thesis"],
        ]
    return rows


if __name__ == "__main__":
    folder, target, template, verdicts = map(Path, sys.argv[1:5])
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.rglob("*.json"))]
    target.write_text(page(found), encoding="utf-8")
    verdicts.write_text(verdict(template.read_text(encoding="utf-8"), found), encoding="utf-8")
