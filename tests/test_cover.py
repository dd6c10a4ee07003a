"""The cover is what the package draws."""

import html

import cover
from conftest import ROOT


def test_the_picture_is_the_packages():
    light, dark, alt = cover.cover()
    assert "<svg" in light and "<svg" in dark and light != dark
    assert html.escape(alt) in (ROOT / "README.md").read_text(encoding="utf-8"), "run tools/cover.py"


def test_the_live_figure_of_the_first_page_is_the_packages():
    """All but the still picture, whose pixels another machine may round otherwise."""
    parts = [text.split('src="data:')[0] for text in (cover.live(), (ROOT / "book/lookup.html").read_text())]
    assert parts[0] == parts[1], "run tools/cover.py"
