"""The book's figures as files, for slides, papers and other people's courses, from the executed notebooks.

Each is an SVG for a light page and one for a dark page; ``figures.csv`` has their captions and alternative texts.
"""

import csv
import html
import re
import shutil
import urllib.parse
from dataclasses import dataclass
from pathlib import Path

import run
from notebooks import load, notebooks

from dynattn.figures import _dark

LICENCE = "CC BY 4.0"


@dataclass(frozen=True)
class Picture:
    """A figure of the book; of a live figure, its still picture."""

    light: str
    dark: str
    caption: str
    alt: str
    live: bool


def executed(path: Path) -> dict:
    """A notebook of the book as it was run."""
    return load(run.OUT / "0" / path.name)


def shown(cell: dict, kind: str) -> list[str]:
    """What a cell has put out in this form."""
    found = [output.get("data", {}).get(kind) for output in cell.get("outputs", ())]
    return ["".join(data) for data in found if data]


def picture(cell: dict) -> Picture | None:
    """The figure that a cell shows, if it shows one."""
    for element in shown(cell, "text/html"):
        if "<figure" in element:
            caption = html.unescape(re.search(r"<figcaption>(.*?)</figcaption>", element)[1])
            alt = html.unescape(re.search(r'<img[^>]* alt="([^"]*)"', element)[1])
            sources = re.findall(r'src="data:image/svg\+xml,([^"]*)"', element)
            if sources:
                return Picture(*map(urllib.parse.unquote, sources), caption, alt, False)
            if not (drawn := shown(cell, "image/svg+xml")):
                raise ValueError(f"{cell['id']}: got no drawing, expected a live figure's still as SVG")
            return Picture(drawn[0], _dark(drawn[0]), caption, alt, True)
    return None


def write(folder: Path) -> int:
    """Write the pack into a folder, which is made anew; return how many figures it holds."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    rows = []
    for path in notebooks():
        for cell in executed(path)["cells"]:
            if found := picture(cell):
                name = f"{path.stem}-{cell['id'].removeprefix('draw-')}"
                for file, drawing in ((f"{name}.svg", found.light), (f"{name}-dark.svg", found.dark)):
                    (folder / file).write_text(drawing, encoding="utf-8")
                caption = f"In the book this figure is live. {found.caption}" if found.live else found.caption
                rows.append([path.stem, f"{name}.svg", f"{name}-dark.svg", caption, found.alt, LICENCE])
    with (folder / "figures.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["chapter", "file", "file on dark", "caption", "alternative text", "licence"])
        table.writerows(rows)
    return len(rows)
