"""Write the cover from the package: ``python tools/cover.py``.

The picture of README.md, ``book/lookup.svg`` and ``book/lookup-dark.svg``, with its alternative text, and the live figure of
the first page, ``book/lookup.html``. A test holds them to what the package draws.
"""

import html
import re
import urllib.parse
from pathlib import Path

from dynattn import facts, figures

ROOT = Path(__file__).parents[1]


def cover() -> tuple[str, str, str]:
    """The light picture, the dark picture, and the alternative text: two questions to the same two layers."""
    layers = facts.load()
    figure, axes = figures.subplots(2, rows=2, width=8.0, height=4.4)
    said = []
    for row, asked in zip(axes, ("Ben", "Cleo"), strict=True):
        facts.drawing(layers, facts.OFFERED[0], asked, row)
        found = facts.read(layers, facts.OFFERED[0], asked)
        best = facts.OFFERED[0][found["A"][:-1].argmax()]
        said.append(f"asked about {asked}, it reads {found['A'].max():.2f} from '{best[0]} drinks {best[1]}'")
    axes[0, 0].set_title("attention: weights computed")
    axes[0, 1].set_title("a static layer: weights learned")
    alt = f"Left, attention: {'; '.join(said)}. Right, a static layer, which reads from all three facts alike and guesses."
    picture = figures.element(figure, caption="The same two layers, asked twice.", alt=alt)
    light, dark = (
        urllib.parse.unquote(svg) for svg in re.findall(r'src="data:image/svg\+xml,([^"]*)"', picture)
    )
    return light, dark, alt


def live() -> str:
    """The live figure of the first page, without its script, which the built page loads once."""
    return facts.figure().element() + "\n"


if __name__ == "__main__":
    light, dark, alt = cover()
    (ROOT / "book/lookup.svg").write_text(light, encoding="utf-8")
    (ROOT / "book/lookup-dark.svg").write_text(dark, encoding="utf-8")
    (ROOT / "book/lookup.html").write_text(live(), encoding="utf-8")
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    text = re.sub(r'alt="[^"]*"', lambda _: f'alt="{html.escape(alt)}"', text)
    (ROOT / "README.md").write_text(text, encoding="utf-8")
