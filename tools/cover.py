"""Write the cover from a notebook as it ran: python tools/cover.py _build/run/0/02-scale-paths-masks.ipynb

The picture of README.md, book/two-networks.svg and book/two-networks-dark.svg, and its alternative text are what its
figure `draw-four` shows; the live figure of index.md, book/two-networks.html, is its own first one. A test holds both to the
notebook.
"""

import html
import json
import re
import sys
import urllib.parse
from pathlib import Path

ROOT = Path(__file__).parents[1]


def output(executed: Path, identity: str) -> str:
    """The HTML that a cell of the executed chapter shows."""
    cells = json.loads(executed.read_text(encoding="utf-8"))["cells"]
    (cell,) = [cell for cell in cells if cell["id"] == identity]
    return "".join(cell["outputs"][0]["data"]["text/html"])


def cover(executed: Path) -> tuple[str, str, str]:
    """The light picture, the dark picture, and the alternative text of the figure of four networks."""
    figure = output(executed, "draw-four")
    light, dark = (
        urllib.parse.unquote(svg) for svg in re.findall(r'src="data:image/svg\+xml,([^"]*)"', figure)
    )
    return light, dark, html.unescape(re.search(r'alt="([^"]*)"', figure)[1])


def live(executed: Path) -> str:
    """The notebook's first live figure, without its script, which the built page loads once."""
    return re.sub(r"<script.*", "", output(executed, "draw-live-networks"), flags=re.DOTALL) + "\n"


if __name__ == "__main__":
    light, dark, alt = cover(Path(sys.argv[1]))
    (ROOT / "book/two-networks.svg").write_text(light, encoding="utf-8")
    (ROOT / "book/two-networks-dark.svg").write_text(dark, encoding="utf-8")
    (ROOT / "book/two-networks.html").write_text(live(Path(sys.argv[1])), encoding="utf-8")
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    text = re.sub(r'alt="[^"]*"', lambda _: f'alt="{html.escape(alt)}"', text)
    (ROOT / "README.md").write_text(text, encoding="utf-8")
