"""Claims: a sentence of the book, the number measured for it, and the bound that the number must keep.

What a claim says stands in a registry, one file per chapter (``02.toml``); a notebook measures, and calls
``claim("2.1", measured)``. So a sentence can be mended without touching the notebook, and the pages of claims and of the
verdict say the same as the box in the chapter.
"""

import html
import json
import math
import os
import tomllib
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path

from IPython.display import display

from dynattn.seeding import seed

FOLDER = Path(__file__).parent

# The five sentences of the essay on which the verdict is given, each in the words of a claim's line.
SENTENCES = {
    "dynamic": "dynamic weights",
    "superposed": "networks superposed",
    "expressive": "overwhelming power",
    "language": "the language builds the network",
    "transformers": "the power of Transformers",
}
# What a claim is -> what its line says of it, and what its detail adds.
KINDS = {
    "for": ("for", "Speaks for this sentence of the essay that prompted the book."),
    "against": ("against", "Speaks against this sentence of the essay that prompted the book."),
    "identity": ("true by algebra", "It follows from the definitions, so that only the code could be wrong."),
    "measured": ("measured", "Takes no side."),
}


class ClaimFailed(AssertionError):
    """A claim of the book does not hold for this run."""


@dataclass(frozen=True)
class Claim:
    """An entry of the registry.

    ``headline`` is one plain sentence. ``detail`` says what exactly was measured, over what. ``kind`` is one of ``KINDS``;
    ``about`` names the sentence (of ``SENTENCES``) that a claim speaks for or against. ``at_least`` and ``at_most`` are
    numbers, or "call" where the bound is itself measured. ``value`` is how the number is set beside the headline.
    A claim that is not ``shown`` is checked and recorded without a box; one that is ``retired`` is gone, for this reason.
    """

    number: str
    headline: str
    kind: str
    detail: str = ""
    about: str | None = None
    at_least: float | str | None = None
    at_most: float | str | None = None
    value: str = "{:.3g}"
    shown: bool = True
    retired: str | None = None

    def __post_init__(self):
        def wrong(name, expected):
            return ValueError(
                f"claim {self.number}: got {name} = {getattr(self, name)!r}, expected {expected}"
            )

        if self.kind not in KINDS:
            raise wrong("kind", f"one of {', '.join(KINDS)}")
        if self.about is not None and (self.about not in SENTENCES or self.kind not in ("for", "against")):
            raise wrong("about", f"one of {', '.join(SENTENCES)}, for a claim that is for or against it")
        for name in ("at_least", "at_most"):
            bound = getattr(self, name)
            if isinstance(bound, bool) or not (
                bound in (None, "call") or (isinstance(bound, (int, float)) and math.isfinite(bound))
            ):
                raise wrong(name, 'a finite number or "call"')
        if self.at_least is None and self.at_most is None:
            raise wrong("at_most", "at least one bound")
        try:
            self.value.format(0.5)
        except (ValueError, IndexError, KeyError):
            raise wrong("value", "a format for one number") from None


@cache
def registry(chapter: int) -> dict[str, Claim]:
    """The claims of a chapter by their numbers, from its file.

    Raises:
        ValueError: there is no such chapter, or an entry of its file is not one (the message names it).
    """
    path = FOLDER / f"{chapter:02d}.toml"
    if not path.exists():
        raise ValueError(f"chapter: got {chapter}, expected one that has claims")
    known = {field.name for field in fields(Claim)} - {"number"}
    found = {}
    for number, entry in tomllib.loads(path.read_text(encoding="utf-8")).items():
        if not number.startswith(f"{chapter}.") or (odd := sorted(set(entry) - known)):
            got = number if not number.startswith(f"{chapter}.") else f"{', '.join(odd)} in {number}"
            raise ValueError(
                f"{path.name}: got {got}, expected claims {chapter}.1, ... with {', '.join(sorted(known))}"
            )
        if lacking := [name for name in ("headline", "kind") if name not in entry]:
            raise ValueError(f"claim {number}: got no {lacking[0]}, expected one")
        found[number] = Claim(number, **entry)
    return found


def claim(number: str, measured: float, *, at_least=None, at_most=None) -> None:
    """Check one claim, show it, and record it when the run is asked to.

    A claim holds when ``at_least <= measured <= at_most``, with the bounds of the registry. A bound should follow from
    what the claim means (chance, a closed-form floor, a different layer's result), not from one run.
    If the environment variable ``DYNATTN_CLAIMS`` names a folder, a record is written into it.

    Args:
        number: chapter and claim, such as "3.2".
        measured: the number measured, a finite float.
        at_least, at_most: the bounds that are themselves measured, and so marked "call" in the registry.

    Raises:
        ClaimFailed: the number is outside its bounds, or is not finite.
        TypeError: the number of the claim is not a str, or measured is no number.
        ValueError: the registry has no such claim, or has retired it; or a bound is missing, or not expected.
    """
    if not isinstance(number, str):
        raise TypeError(f"number: got {type(number).__name__}, expected a str such as '3.2'")
    chapter = number.split(".")[0]
    entry = registry(int(chapter)).get(number) if chapter.isdecimal() else None
    if entry is None or entry.retired:
        why = f", retired: {entry.retired}" if entry else ""
        raise ValueError(f"number: got {number!r}{why}, expected a claim of the registry")
    bounds = {}
    for name, given in (("at_least", at_least), ("at_most", at_most)):
        wanted = getattr(entry, name)
        if (given is not None) != (wanted == "call"):
            raise ValueError(
                f"{name}: got {given}, expected {'a number' if wanted == 'call' else 'None'} for {number}"
            )
        bounds[name] = float(given) if given is not None else wanted
    measured = float(measured.detach() if hasattr(measured, "detach") else measured)
    record = {"number": number, "measured": measured, **bounds, "seed": seed()}
    if folder := os.environ.get("DYNATTN_CLAIMS"):
        path = Path(folder)
        path.mkdir(parents=True, exist_ok=True)
        (path / f"{number}-{record['seed']}.json").write_text(json.dumps(record), encoding="utf-8")
    if not (math.isfinite(measured) and margin(record) >= 0):
        raise ClaimFailed(
            f"claim {number}: {entry.headline} Measured {show(measured)}, expected {said(record)}"
        )
    if entry.shown:
        display(_Box(entry, record))


def margin(record: dict) -> float:
    """By how much the measured number keeps its nearest bound; negative when it does not."""
    low, high, measured = record["at_least"], record["at_most"], record["measured"]
    return min(
        measured - (-math.inf if low is None else low), (math.inf if high is None else high) - measured
    )


def show(x: float) -> str:
    """A number with three significant digits."""
    return f"{x:.3g}" if abs(x) < 1000 else f"{x:,.0f}"


def said(record: dict) -> str:
    """The bounds in words."""
    low, high = record["at_least"], record["at_most"]
    if low is not None and high is not None:
        return f"between {show(low)} and {show(high)}"
    return f"at least {show(low)}" if low is not None else f"at most {show(high)}"


def kind(entry: Claim) -> str:
    """What a claim's line says first: what kind of claim it is, and about which sentence."""
    word = KINDS[entry.kind][0]
    if entry.kind in ("for", "against"):
        return f"{word} “{SENTENCES[entry.about]}”" if entry.about else f"{word} the thesis"
    return word


def line(entry: Claim, measured: float, lines: list[str], name: str) -> str:
    """A claim as HTML: one line that opens to more. ``lines`` are HTML, ``name`` is its id on the page."""
    detail = [html.escape(entry.detail)] if entry.detail else []
    paragraphs = "".join(f"<p>{text}</p>" for text in [*detail, *lines, KINDS[entry.kind][1]])
    # The style is for notebooks; the book has its own.
    return (
        f'<details class="dynattn-claim dynattn-{entry.kind}" id="{name}" '
        'style="border-left:3px solid;margin:0.6em 0;padding-left:0.8em;max-width:46em">'
        f'<summary style="cursor:pointer"><span class="dynattn-kind">{html.escape(kind(entry))}</span> · '
        f"<strong>{html.escape(entry.headline)}</strong> "
        f'<span class="dynattn-value">{html.escape(entry.value.format(measured))}</span></summary>'
        f'<div class="dynattn-detail">{paragraphs}</div></details>'
    )


class _Box:
    """How a claim looks in a notebook."""

    def __init__(self, entry: Claim, record: dict):
        self.entry, self.record = entry, record

    def _lines(self) -> list[str]:
        r = self.record
        return [
            f"Claim {r['number']}: measured {show(r['measured'])}, must stay {said(r)}; margin {show(margin(r))}, "
            f"seed {r['seed']}."
        ]

    def __repr__(self) -> str:
        return f"{kind(self.entry)}: {self.entry.headline} {self._lines()[0]}"

    def _repr_html_(self) -> str:
        name = f"claim-{self.entry.number.replace('.', '-')}"
        return line(self.entry, self.record["measured"], self._lines(), name)
