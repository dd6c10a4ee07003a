"""The cover is what chapter 2 shows when it runs."""

import cover
from conftest import EXECUTED, ROOT

CHAPTER = EXECUTED / "02-attention-matrix.ipynb"


def test_the_picture_is_chapter_2s():
    light, dark, alt = cover.cover(CHAPTER)
    assert "<svg" in light and "<svg" in dark and light != dark
    assert alt in (ROOT / "README.md").read_text(encoding="utf-8"), "run tools/cover.py"


def test_the_live_figure_of_the_first_page_is_chapter_2s():
    """All but the still picture, whose pixels another machine may round otherwise."""
    without_pixels = [
        text.split('src="data:')[0]
        for text in (cover.live(CHAPTER), (ROOT / "book/two-networks.html").read_text())
    ]
    assert without_pixels[0] == without_pixels[1], "run tools/cover.py"
