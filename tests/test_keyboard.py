"""For the keyboard and the ear, for the reader's own colours and spacing, and without scripts: nothing is lost."""

import re
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from claims import claims, homes
from conftest import PAGES, holding, visit, within
from theme import MENDS

from dynattn.claims import Claim


@pytest.fixture(scope="module")
def soups(built):
    return {
        page: BeautifulSoup((built / f"{page}.html").read_text(encoding="utf-8"), "html.parser")
        for page in PAGES
    }


# ------------------------------------------------------------------------------------------------ what is said


def test_alternative_texts_are_short(soups):
    """At most 60 words; long numbers go into a table beside the figure."""
    texts = [
        (page, image["alt"])
        for page, soup in soups.items()
        for image in soup.select("article img:not(.dynattn-dark)")
    ]
    assert texts
    assert [(page, text[:80]) for page, text in texts if len(text.split()) > 60] == []


def test_what_a_live_figure_says_of_its_drawings_is_short(browser, address, soups):
    long = []
    for page, soup in soups.items():
        if soup.select("dynattn-live"):
            tab, _ = visit(browser, address, page)
            names = tab.evaluate("""[...document.querySelectorAll("dynattn-live")].flatMap((figure) =>
                [...figure.shadowRoot.querySelectorAll("[role=img]")].map((image) => image.getAttribute("aria-label") ?? ""))""")
            long += [(page, name[:80]) for name in names if not 1 <= len(name.split()) <= 60]
            tab.context.close()
    assert long == []


def test_formulas_are_spoken(browser, address, built):
    """Each one is mathematics to a screen reader, with what stands in it."""
    tab, _ = visit(browser, address, holding(built, "article div.math", "article span.math"))
    formulas = tab.locator("article .math > math")
    assert formulas.count() == tab.locator("article .math").count() > 1
    said = formulas.first.aria_snapshot()
    assert said.startswith("- math") and re.search(r'"[^"]+"|: \S', said)
    session = tab.context.new_cdp_session(tab)
    session.send("Accessibility.enable")
    nodes = session.send("Accessibility.getFullAXTree")["nodes"]
    roles = [node["role"]["value"] for node in nodes if not node["ignored"]]
    assert roles.count("MathMLMath") == tab.locator("article .math > math:visible").count()
    tab.context.close()


# ---------------------------------------------------------------------------------------------------- claims


def goal(page: str, link) -> tuple[str, str]:
    """The page and the id that a link leads to."""
    way, _, anchor = link["href"].partition("#")
    folder = Path("/") / page
    return (
        (folder.parent / way).resolve().as_posix().strip("/").removesuffix(".html") if way else page
    ), anchor


def check_claim(entry: Claim, home: str, soups) -> list[str]:
    """What is missing of a claim's addresses and of the ways between them."""
    name, wrong = f"claim-{entry.number.replace('.', '-')}", []
    row = soups["book/claims"].find(id=f"{name}-row")
    verdict = soups["book/verdict"].find_all(id=re.compile(f"^{name}-verdict-"))
    box = soups[home].find(id=name)
    measured = (home, name if entry.shown else "")
    if not row or measured not in [goal("book/claims", link) for link in row.select("a")]:
        wrong.append(f"{name}: the page of claims doesn't lead to it")
    for line in verdict:
        if measured not in [goal("book/verdict", link) for link in line.select("a")]:
            wrong.append(f"{name}: the verdict doesn't lead to it")
    if bool(box) != bool(entry.shown):
        wrong.append(f"{name}: its notebook has {'a' if box else 'no'} box")
    if box:
        ways = [goal(home, link) for link in box.select("a")]
        wrong += [
            f"{name}: its box doesn't lead to {there}"
            for there in [("book/claims", f"{name}-row"), *[("book/verdict", line["id"]) for line in verdict]]
            if there not in ways
        ]
    return wrong


def test_every_claim_has_an_address_and_ways_there_and_back(soups):
    entries, where = claims(), homes()
    pages = {
        number: f"book/{path.stem}" if path.parent.name == "book" else f"book/deeper/{path.stem}"
        for number, path in where.items()
    }
    assert {entry.shown for entry in entries.values()} == {True, False}
    assert sum((check_claim(entry, pages[number], soups) for number, entry in entries.items()), []) == []
    shown = next(entry for entry in entries.values() if entry.shown)
    empty = dict.fromkeys(soups, BeautifulSoup("", "html.parser"))
    assert len(check_claim(shown, pages[shown.number], empty)) == 2


# ------------------------------------------------------------------------------ as the reader's system wants it


@pytest.fixture(scope="module")
def rich(built):
    """A page with nearly all that a page can have."""
    return holding(
        built,
        "article .math",
        "dynattn-live",
        ".dynattn-figure",
        ".dynattn-claim",
        "article table",
        ".cell_input",
    )


# The colours of all texts that are seen, and of the ground that each stands on.
COLOURS = """() => {
    const ground = (node) => {
        for (; node; node = node.parentElement) {
            const colour = getComputedStyle(node).backgroundColor;
            if (!/, 0\\)$|transparent/.test(colour)) return colour;
        }
        return "none";
    };
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), found = new Set();
    while (walker.nextNode()) {
        const node = walker.currentNode.parentElement;
        if (!walker.currentNode.data.trim() || !node.checkVisibility() || node.closest("script, style")) continue;
        found.add(`${getComputedStyle(node).color} on ${ground(node)}`);
    }
    return [...found];
}"""


def contrast(pair: str) -> float:
    """Of "rgb(...) on rgb(...)", by WCAG."""
    lights = []
    for colour in pair.split(" on "):
        parts = [float(x) / 255 for x in re.findall(r"[\d.]+", colour)[:3]]
        linear = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts]
        lights.append(sum(a * b for a, b in zip([0.2126, 0.7152, 0.0722], linear)) + 0.05)
    return max(lights) / min(lights)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_without_scripts_a_page_has_colours_and_pictures(browser, address, rich, scheme):
    """Also where the system is dark: no black text on dark grey."""
    context = browser.new_context(java_script_enabled=False, color_scheme=scheme)
    tab = context.new_page()
    tab.goto(f"{address}/{rich}.html")
    page = tab.locator("html")
    assert page.get_attribute("data-theme") in ("light", "dark")
    pale = [pair for pair in tab.evaluate(COLOURS) if "none" in pair or contrast(pair) < 4.5]
    assert pale == []
    shown = tab.locator("article img:visible")
    assert shown.evaluate_all("all => all.every((one) => one.naturalWidth)")
    assert shown.count() == tab.locator(".dynattn-figure, dynattn-live").count()
    assert tab.locator("dynattn-live table:visible").count() == tab.locator("dynattn-live").count()
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    context.close()


def test_a_page_without_colours_would_be_found():
    assert (
        contrast("rgb(0, 0, 0) on rgb(18, 18, 18)") < 4.5 < contrast("rgb(34, 34, 34) on rgb(255, 255, 255)")
    )
    before = '<html lang="en" data-content_root="./" data-theme="auto">'
    for pattern, replacement in MENDS:
        before = pattern.sub(replacement, before)
    assert 'data-theme="light"' in before


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_in_the_readers_own_colours_no_picture_lies_under_a_text(browser, address, rich, scheme):
    context = browser.new_context(forced_colors="active", color_scheme=scheme)
    tab = context.new_page()
    tab.goto(f"{address}/{rich}.html", wait_until="networkidle")
    assert tab.evaluate("matchMedia('(forced-colors: active)').matches")
    under = "all => all.filter((one) => one.checkVisibility() && getComputedStyle(one).backgroundImage != 'none').map((one) => one.className)"
    assert tab.locator("article *").evaluate_all(under) == []
    assert [pair for pair in tab.evaluate(COLOURS) if contrast(pair) < 4.5] == []
    context.close()


def test_nothing_moves_for_those_who_want_no_motion(browser, address, rich):
    context = browser.new_context(reduced_motion="reduce")
    tab = context.new_page()
    tab.goto(f"{address}/{rich}.html", wait_until="networkidle")
    tab.evaluate("document.querySelectorAll('article details').forEach((fold) => { fold.open = true })")
    assert tab.evaluate("document.getAnimations().filter((one) => one.playState == 'running').length") == 0
    assert tab.evaluate("getComputedStyle(document.documentElement).scrollBehavior") == "auto"
    context.close()


# WCAG 1.4.12.
SPACED = """* { line-height: 1.5 !important; letter-spacing: 0.12em !important; word-spacing: 0.16em !important }
p { margin-bottom: 2em !important }"""
CUT = """[...document.querySelectorAll("article :is(p, li, td, th, summary, h1, h2, h3, figcaption, pre, button, a), header button")]
    .filter((one) => one.checkVisibility() && one.scrollWidth > one.clientWidth + 1 && one.clientWidth
        && getComputedStyle(one).overflowX != "visible" && getComputedStyle(one).overflowX != "auto")
    .map((one) => one.outerHTML.slice(0, 120))"""


@pytest.mark.parametrize("width", [390, 640, 1280])
def test_text_may_be_spaced_and_enlarged(browser, address, rich, width):
    """A page of 1,280 px at 200 % is one of 640; nothing is cut off, nor does the page scroll sideways."""
    tab, _ = visit(browser, address, rich, width=width)
    tab.evaluate("document.querySelectorAll('article details').forEach((fold) => { fold.open = true })")
    tab.add_style_tag(content=SPACED)
    tab.evaluate(
        """css => document.querySelectorAll("dynattn-live").forEach((figure) => {
        figure.shadowRoot.append(Object.assign(document.createElement("style"), { textContent: css }));
    })""",
        SPACED,
    )
    assert tab.evaluate(CUT) == []
    assert within(tab, width) == []
    tab.context.close()
