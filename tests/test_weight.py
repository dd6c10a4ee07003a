"""What the site's style sheet, its icons and its pictures are cut down to."""

import base64
import re
import struct

import pytest
import tinycss2
import weight
from bs4 import BeautifulSoup
from fontTools.ttLib import TTFont

from dynattn import figures

KNOWN = {"here", "main"}


def pruned(style: str) -> str:
    rules = tinycss2.parse_stylesheet(style, skip_comments=True, skip_whitespace=True)
    return "".join(weight.prune(rules, KNOWN).split())


@pytest.mark.parametrize(
    ("style", "kept"),
    [
        ("p {a: b}", "p{a:b}"),
        (".here, .gone {a: b}", ".here{a:b}"),
        (".here .gone, #gone, .here.gone {a: b}", ""),
        ("#main > a:hover::before {a: b}", "#main>a:hover::before{a:b}"),
        (".here:not(.gone) {a: b}", ".here:not(.gone){a:b}"),
        (":is(.gone, .here) p {a: b}", ":is(.gone,.here)p{a:b}"),
        ("[data-theme=dark] p {a: url(x.png)}", "[data-theme=dark]p{a:url(x.png)}"),
        ("@media print {.gone {a: b} .here {a: b}}", "@mediaprint{.here{a:b}}"),
        ("@media print {.gone {a: b}}", ""),
        ("@keyframes turn {from {a: b}}", "@keyframesturn{from{a:b}}"),
        ('@font-face {src: url("f.woff")}', '@font-face{src:url("f.woff")}'),
        ('.here:before {content: "\\f078"}', '.here:before{content:"\uf078"}'),
    ],
)
def test_rules_for_what_no_page_has_are_left_out(style, kept):
    assert pruned(style) == kept


def test_a_style_sheet_is_read_with_those_that_it_imports_and_keeps_its_addresses(tmp_path):
    (tmp_path / "styles").mkdir()
    (tmp_path / "basic.css").write_text("i {background: url(file.png)} b {background: url(data:x)}")
    sheet = tmp_path / "styles" / "theme.css"
    sheet.write_text('@import "../basic.css";p {background: url("../a/b.png#c")}')
    text = weight.read(sheet, tmp_path / "styles")
    assert text == (
        'i {background: url(../file.png)} b {background: url(data:x)}p {background: url("../a/b.png#c")}'
    )


def test_pictures_within_a_page_become_files_that_wait(tmp_path):
    svg = '<svg width="504pt" height="194.4pt" viewBox="0 0 504 194.4"/>'
    png = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", 600, 240)
    coded = base64.b64encode(png).decode()
    page = (
        f'<img class="dynattn-light" alt="a &lt; b" src="data:image/svg+xml,{svg.replace("<", "%3C").replace(chr(34), "%22")}">'
        f'<img alt="c" src="data:image/png;base64,{coded}"><img alt="d" src="d.png">'
    )
    moved = weight.move_pictures(page, tmp_path / "figures", "../figures")
    first, second, third = BeautifulSoup(moved, "html.parser").select("img")
    assert str(third) == '<img alt="d" src="d.png"/>'
    assert (first["class"], first["alt"], second["alt"]) == (["dynattn-light"], "a < b", "c")
    for image, body, size in ((first, svg.encode(), ("672", "259")), (second, png, ("600", "240"))):
        assert image["loading"] == "lazy" and (image["width"], image["height"]) == size
        assert (tmp_path / "figures" / image["src"].removeprefix("../figures/")).read_bytes() == body
    assert weight.move_pictures(moved, tmp_path / "figures", "../figures") == moved


def test_only_the_heads_scripts_wait():
    page = (
        '<head><link rel="preload" as="script" href="b.js"/><script src="x/_static/documentation_options.js?v=1"></script>'
        '<script>const a = 1</script><script src="b.js"></script></head><script src="live.js"></script>'
    )
    assert weight.wait(page, "const O = {}") == (
        "<head><script>const O = {}</script><script>const a = 1</script>"
        '<script defer src="b.js"></script></head><script src="live.js"></script>'
    )


def test_a_page_asks_for_one_style_sheet_and_for_icons_that_are_there(built):
    """And for the index of the search where something is searched for."""
    sheets = set()
    for page in sorted(built.glob("*.html")) + sorted(built.glob("book/**/*.html")):
        soup = BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser")
        (sheet,) = soup.select("link[rel=stylesheet]")
        sheets.add(sheet["href"].rpartition("/")[2])
        asks = any("searchindex" in script["src"] for script in soup.select("script[src]"))
        assert asks == (page.name == "search.html"), page
        assert 'src="data:' not in page.read_text(encoding="utf-8"), page
    (name,) = sheets
    style = (built / "_static" / "styles" / name).read_text(encoding="utf-8")
    font = TTFont(built / "_static" / "vendor" / "fontawesome" / "webfonts" / "fa-solid-900.woff")
    for icon in ("fa-bars", "fa-chevron-down", "fa-magnifying-glass", "fa-circle-half-stroke", "fa-xmark"):
        sign = weight.re.search(rf'\.{icon}\b[^{{}}]*{{[^}}]*"(.)"', style)
        assert sign and ord(sign[1]) in font.getBestCmap(), icon


def test_a_drawing_has_its_size_once(tmp_path):
    """The book's own say it where they were drawn; twice would be no HTML."""
    figure, axes = figures.subplots(width=7.5)
    axes.set_title("a")
    page = figures.element(figure, caption="c", alt="a 1")
    tags = re.findall(r"<(?:img|source)\b[^>]*>", weight.move_pictures(page, tmp_path, "figures"))
    assert len(tags) == 4 and all(tag.count(" width=") == tag.count(" height=") == 1 for tag in tags)
