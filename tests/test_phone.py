"""The book on a phone and a tablet: figures and code can be read, tables are cards, fingers find what they shall move."""

import re
import urllib.parse

import matplotlib.pyplot as plt
import pytest
from bs4 import BeautifulSoup
from conftest import PAGES, holding, visit, within
from helpers import normal
from test_pages import CHAPTERS
from theme import label_cells
from weight import move_pictures

from dynattn import figures

PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
SMALLEST = 9  # px


@pytest.fixture
def phone(browser, address):
    """Opens a page on a phone."""
    context = browser.new_context(**PHONE)

    def show(page):
        tab = context.new_page()
        tab.goto(f"{address}/{page}.html", wait_until="networkidle")
        return tab

    yield show
    context.close()


# ------------------------------------------------------------------------------------------------- figures


def letters(svg: str, width: float) -> float:
    """The size in pixels of the smallest text of a drawing that is shown so wide, at most."""
    points = float(re.search(r'<svg[^>]* width="([\d.]+)pt"', svg)[1])
    sizes = [100 * float(scale) for scale in re.findall(r"scale\(([\d.]+) -", svg)]
    return min(sizes, default=99) * min(4 / 3, width / points)


def drawn(figure) -> tuple[str, str]:
    """Its drawing for a page and that for a phone, or an empty text."""
    page = BeautifulSoup(figures.element(figure, caption="c", alt="a 1"), "html.parser")
    found = [page.img["src"], page.source["srcset"] if page.source else ""]
    assert not re.search(r"\s", found[1]), "a blank would end the address"
    return tuple(urllib.parse.unquote(url.removeprefix("data:image/svg+xml,")) for url in found)


def size(svg: str) -> list[float]:
    return [
        float(points) * 4 / 3
        for points in re.search(r'<svg[^>]* width="([\d.]+)pt" height="([\d.]+)pt"', svg).groups()
    ]


def panels(svg: str) -> list[tuple[float, float]]:
    """The upper left corner of the ground of each panel."""
    found = re.findall(
        r'<g id="axes_\d+">\s*<g id="patch_\d+">\s*<path d="M ([\d.]+) ([\d.]+) \nL ([\d.]+) [\d.]+ \nL [\d.]+ ([\d.]+)',
        svg,
    )
    return [(float(x), float(y)) for x, _, _, y in found]


def test_a_figure_that_can_be_read_on_a_phone_is_drawn_once():
    figure, axes = figures.subplots(width=4.0)
    axes.plot([0, 1])
    wide, narrow = drawn(figure)
    assert not narrow and letters(wide, 358) >= SMALLEST


@pytest.mark.parametrize("fault", [None, "small", "wide"])
def test_one_that_cannot_is_drawn_again_in_the_width_of_a_phone(fault):
    figure, axes = figures.subplots(width=7.5 if fault == "wide" else 4.0)
    axes.plot([0, 1])
    axes.set_xlabel("what it is about", fontsize=6 if fault == "small" else 10)
    wide, narrow = drawn(figure)
    assert bool(narrow) == bool(fault) == (letters(wide, 358) < SMALLEST)
    if fault:
        assert size(narrow)[0] == pytest.approx(358, abs=0.5)
        assert letters(narrow, 358) >= SMALLEST - 0.01


def test_panels_stand_below_each_other_and_have_their_own_numbers():
    figure, axes = figures.subplots(3, width=9.0, sharey=True)
    for one in axes:
        one.plot([10, 20], [0, 1])
    axes[0].set_ylabel("a name")
    wide, narrow = drawn(figure)
    assert len({x for x, _ in panels(wide)}) == 3
    assert len({round(x) for x, _ in panels(narrow)}) == 1
    heights = [y for _, y in panels(narrow)]
    assert heights == sorted(heights) and len(set(heights)) == 3
    for svg, times in ((wide, 1), (narrow, 3)):
        assert svg.count("<!-- a name -->") == svg.count("<!-- 0.6 -->") == times


@pytest.mark.parametrize("kind", ["empty", "placed by hand", "an empty legend", "a long word"])
def test_odd_figures_are_shown_too(kind):
    figure, axes = figures.subplots(width=9.0)
    if kind in ("empty", "placed by hand"):
        axes.remove()
    if kind == "placed by hand":
        axes = figure.add_axes([0.1, 0.1, 0.8, 0.8])
    if kind != "empty":
        axes.plot([0, 1])
    if kind == "an empty legend":
        axes.legend([], [])
    if kind == "a long word":
        axes.set_ylabel("w" * 90)
        axes.set_title("w" * 90)
        axes.set_yticks([0, 1], ["w" * 40, "a name"])
    assert drawn(figure)[0]


def test_many_small_panels_keep_pairs():
    figure, axes = figures.subplots(6, width=9.5, height=1.7)
    for k, one in enumerate(axes):
        figures.matrix(one, normal(4, 4, seed=k).softmax(-1), "A", title="a name", numbers=False)
    _, narrow = drawn(figure)
    assert len(panels(narrow)) == 6 and len({round(x) for x, _ in panels(narrow)}) == 2


def test_nothing_is_cut_off_or_written_over():
    figure, axes = figures.subplots(2, width=9.0, height=1.9)
    axes[0].barh(
        ["a name that is much longer than its place", "short", "another name that is long"], [1, 2, 3]
    )
    axes[1].plot(
        [1, 10, 100], [1, 2, 3], label="a series whose name would fill the line of a phone and some more"
    )
    axes[1].set_xticks([1, 20, 40, 60, 80, 100], ["one", "twenty", "forty", "sixty", "eighty", "one hundred"])
    axes[1].legend()
    for one in axes:
        one.set_title("a title that is longer than the width of a phone, which happens")
        one.set_xlabel("what is measured, in words that a phone has no room for")
    figures._stacked(figure)
    figure.draw_without_rendering()
    across, up = figure.get_size_inches() * figure.dpi
    ticks = [*axes[0].get_yticklabels(), *axes[1].get_xticklabels()]
    names = [part for one in axes for part in (one.title, one.xaxis.label)]
    texts = [text for text in [*ticks, *names, *figure.legends[0].get_texts()] if text.get_text()]
    boxes = [(text, text.get_window_extent()) for text in texts]
    assert [
        text.get_text()
        for text, box in boxes
        if box.x0 < -1 or box.x1 > across + 1 or box.y0 < -1 or box.y1 > up + 1
    ] == []
    upright = [(text, box) for text, box in boxes if not text.get_rotation() % 90]
    over = [
        (a.get_text(), b.get_text())
        for k, (a, one) in enumerate(upright)
        for b, two in upright[:k]
        if one.overlaps(two)
    ]
    assert over == []
    plt.close(figure)


def test_the_book_s_figures_can_be_read_on_a_phone(built):
    """Each one, as its page holds it."""
    small, narrow = [], 0
    for page in PAGES:
        soup = BeautifulSoup((built / f"{page}.html").read_text(encoding="utf-8"), "html.parser")
        for image in soup.select("img.dynattn-light"):
            source = image.parent.find("source")
            narrow += bool(source)
            file = built / page / ".." / (source["srcset"] if source else image["src"])
            pixels = letters(file.resolve().read_text(encoding="utf-8"), 358)
            if pixels < SMALLEST - 0.01:
                small.append(f"{page}: {pixels:.1f} px, {image['alt'][:60]}")
    assert small == []
    assert narrow, "some figures have a drawing of their own"


def test_a_page_shows_the_drawing_that_fits_it(phone, browser, address, built):
    """And asks for no other one but that for paper."""
    page = holding(built, ".dynattn-figure source")
    tab = phone(page)
    image = tab.locator(".dynattn-figure picture:has(source) img.dynattn-light").first
    image.scroll_into_view_if_needed()
    image.evaluate("image => image.decode()")
    assert image.evaluate("i => i.currentSrc == new URL(i.previousElementSibling.srcset, location)")
    box = image.bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= 390 and abs(box["width"] - 358) <= 1
    assert image.evaluate("i => Math.abs(i.naturalWidth / i.naturalHeight - i.width / i.height) < 0.01")
    tab, responses = visit(browser, address, page, width=820)
    image = tab.locator(".dynattn-figure picture:has(source) img.dynattn-light").first
    image.scroll_into_view_if_needed()
    image.evaluate("image => image.decode()")
    assert image.evaluate("i => i.currentSrc == i.src")
    asked = {response.url.split("/")[-1] for response in responses}
    soup = BeautifulSoup((built / f"{page}.html").read_text(encoding="utf-8"), "html.parser")
    for other in [image["src"] for image in soup.select("img.dynattn-dark")] + [
        s["srcset"] for s in soup.select("source")
    ]:
        assert other.split("/")[-1] not in asked
    tab.context.close()


def test_drawings_move_into_files(tmp_path):
    figure, axes = figures.subplots(width=7.5)
    axes.set_title("a < b & c")
    text = figures.element(figure, caption="c", alt="a")
    moved = move_pictures(text, tmp_path, "../_static")
    soup = BeautifulSoup(moved, "html.parser")
    ways = [image["src"] for image in soup.select("img")] + [
        source["srcset"] for source in soup.select("source")
    ]
    assert len(set(ways)) == 4 and all(way.startswith("../_static/") for way in ways)
    assert {way.split("/")[-1] for way in ways} == {file.name for file in tmp_path.iterdir()}
    assert all(b"<!-- a &lt; b &amp; c -->" in file.read_bytes() for file in tmp_path.iterdir())


# ------------------------------------------------------------------------------------------- code and tables


def test_code_wraps_with_a_mark(phone, built):
    tab = phone(holding(built, ".cell_input pre"))
    cut = "nodes => nodes.filter((n) => n.scrollWidth > n.clientWidth + 1).map((n) => n.textContent)"
    assert tab.locator("article .highlight pre:visible").evaluate_all(cut) == []
    starts = tab.locator("article .cell_input pre:visible").first.evaluate("""(pre) => {
        pre.textContent = "m".repeat(30) + " " + "m".repeat(30) + "\\nm";
        const range = document.createRange();
        range.selectNodeContents(pre);
        return [...range.getClientRects()].map((box) => Math.round(box.x));
    }""")
    first, wrapped, second = starts[0], starts[1], starts[-1]
    assert wrapped > first + 20 and second == first


TABLE = (
    "<table><thead><tr><th>layer</th><th>what is {0}</th><th>“{1}”</th></tr></thead>"
    "<tbody><tr><td>one</td><td>this</td><td>that</td></tr><tr><td>two</td><td>a</td><td>b</td></tr></tbody></table>"
)


def test_a_wide_table_tells_the_heads_in_its_cells():
    table = TABLE.format("learned, in words that are long", "computed & <em>kept</em>, which takes as many")
    soup = BeautifulSoup(label_cells(table), "html.parser")
    heads = [head.get_text() for head in soup.select("th")]
    assert [cell["data-label"] for cell in soup.select("td")] == heads * 2
    assert {tag["role"] for tag in soup.select("tr, td, th")} == {"row", "cell", "columnheader"}
    assert label_cells(label_cells(table)) == label_cells(table)
    for other in (TABLE.format("short", "so"), table.replace("<table>", '<table class="dynattn-numbers">')):
        assert label_cells(other) == other


def test_a_wide_table_is_a_card_for_each_row(phone, built):
    tab = phone(holding(built, ".book-cards"))
    table = tab.locator(".book-cards").first
    places = (
        table.locator("tbody tr")
        .first.locator("td, th")
        .evaluate_all(
            "cells => cells.map((cell) => [cell.getBoundingClientRect().x, getComputedStyle(cell, '::before').content])"
        )
    )
    assert len({x for x, _ in places}) == 1
    assert all(content.startswith('"') and content.endswith(': "') for _, content in places[1:])
    assert table.evaluate("table => table.scrollWidth <= table.parentElement.clientWidth")


@pytest.mark.parametrize("page", ["book/claims", "book/verdict"])
def test_a_claim_s_sentence_has_the_full_width(phone, page):
    tab = phone(page)
    lines = tab.locator(".dynattn-claim:visible > summary").evaluate_all(
        "all => all.map((one) => [one.closest('details').getBoundingClientRect().width, one.scrollWidth, one.textContent.length])"
    )
    assert lines and all(width >= 340 for width, _, _ in lines)
    assert all(inner >= 0.85 * width for width, inner, length in lines if length > 60)


# ----------------------------------------------------------------------------------------------- live figures


# What a finger may touch for each control: itself, or its label beside it.
TARGETS = """(page) => [...document.querySelectorAll("dynattn-live")].flatMap((figure) =>
    [...figure.shadowRoot.querySelectorAll("button, select, input, summary, .handle")].filter((node) => node.checkVisibility()).map((node) => {
        const places = [node, ...(/checkbox|radio/.test(node.type) ? node.labels : [])].map((one) => one.getBoundingClientRect());
        const [width, height] = [Math.max(...places.map((box) => box.right)) - Math.min(...places.map((box) => box.left)),
            Math.max(...places.map((box) => box.height))];
        return [`${page} ${figure.getAttribute("kind")}: ${node.outerHTML.slice(0, 100)}`, width, height];
    }))"""


def test_fingers_find_what_they_shall_move(phone, built):
    """44 px each way, at least."""
    pages = [
        page for page in PAGES if "<dynattn-live" in (built / f"{page}.html").read_text(encoding="utf-8")
    ]
    targets = []
    for page in pages:
        tab = phone(page)
        targets += tab.evaluate(TARGETS, page)
        tab.close()
    assert any("handle" in name for name, _, _ in targets)
    assert [target for target in targets if min(target[1:]) < 43.9] == []


@pytest.mark.parametrize("page", ["index", *CHAPTERS, "book/claims", "book/verdict"])
def test_no_page_scrolls_sideways(browser, address, page):
    tab, _ = visit(browser, address, page, width=820)
    assert within(tab, 820) + within(tab, 390) == []
    tab.context.close()
