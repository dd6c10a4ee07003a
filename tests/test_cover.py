"""The cover is what the notebook that goes deeper into chapter 2 shows when it runs."""

import cover
from conftest import EXECUTED, ROOT

NOTEBOOK = EXECUTED / "02-scale-paths-masks.ipynb"


def test_the_picture_is_the_notebooks():
    light, dark, alt = cover.cover(NOTEBOOK)
    assert "<svg" in light and "<svg" in dark and light != dark
    assert alt in (ROOT / "README.md").read_text(encoding="utf-8"), "run tools/cover.py"


def test_the_live_figure_of_the_first_page_is_the_notebooks():
    """All but the still picture, whose pixels another machine may round otherwise."""
    without_pixels = [
        text.split('src="data:')[0]
        for text in (cover.live(NOTEBOOK), (ROOT / "book/two-networks.html").read_text())
    ]
    assert without_pixels[0] == without_pixels[1], "run tools/cover.py"
