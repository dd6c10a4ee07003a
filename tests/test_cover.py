"""The cover picture and its text are what chapter 2 shows when it runs."""

import sys

from conftest import EXECUTED, ROOT

sys.path.insert(0, str(ROOT / "tools"))
import cover


def test_the_cover_is_chapter_2s_figure():
    light, dark, alt = cover.cover(EXECUTED / "02-attention-matrix.ipynb")
    assert "<svg" in light and "<svg" in dark and light != dark
    for page in ("index.md", "README.md"):
        assert alt in (ROOT / page).read_text(encoding="utf-8"), f"{page}: run tools/cover.py"
