"""Write the cover picture from chapter 2 as it ran: python tools/cover.py _build/run/0/02-attention-matrix.ipynb

The two files book/two-networks.svg and book/two-networks-dark.svg, and the alternative text in index.md and
README.md, are what the chapter's figure `draw-four` shows; a test holds the text to it.
"""

import html
import json
import re
import sys
import urllib.parse
from pathlib import Path

ROOT = Path(__file__).parents[1]


def cover(executed: Path) -> tuple[str, str, str]:
    """The light picture, the dark picture, and the alternative text of chapter 2's figure of four networks."""
    cells = json.loads(executed.read_text(encoding="utf-8"))["cells"]
    (cell,) = [cell for cell in cells if cell["id"] == "draw-four"]
    figure = "".join(cell["outputs"][0]["data"]["text/html"])
    light, dark = (
        urllib.parse.unquote(svg) for svg in re.findall(r'src="data:image/svg\+xml,([^"]*)"', figure)
    )
    return light, dark, html.unescape(re.search(r'alt="([^"]*)"', figure)[1])


if __name__ == "__main__":
    light, dark, alt = cover(Path(sys.argv[1]))
    (ROOT / "book/two-networks.svg").write_text(light, encoding="utf-8")
    (ROOT / "book/two-networks-dark.svg").write_text(dark, encoding="utf-8")
    for page, pattern in (("index.md", r"^:alt: .*$"), ("README.md", r'alt="[^"]*"')):
        path, new = ROOT / page, f":alt: {alt}" if page == "index.md" else f'alt="{html.escape(alt)}"'
        text = path.read_text(encoding="utf-8")
        path.write_text(re.sub(pattern, lambda _, new=new: new, text, flags=re.MULTILINE), encoding="utf-8")
