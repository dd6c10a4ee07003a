"""The built pages: complete, linked, reachable for everyone, and readable without any other host."""

import gzip
import itertools
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import repo
from bs4 import BeautifulSoup
from conftest import PAGES, ROOT, SITE, holding, violations, visit, within
from notebooks import notebooks
from theme import MENDS, add_worst

ROOT_PATH = urlsplit(repo.site(repo.current(ROOT))).path or "/"
CHAPTERS = [f"book/{path.stem}" for path in notebooks() if path.parent.name == "book"]
each_page = pytest.mark.parametrize("page", PAGES)


@pytest.fixture(scope="module")
def soups(built):
    """Every HTML file of the site, parsed."""
    return {
        path: BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")
        for path in sorted(built.rglob("*.html"))
    }


@each_page
def test_page_is_there(built, page):
    text = (built / f"{page}.html").read_text(encoding="utf-8")
    assert "Traceback (most recent call last)" not in text
    assert 'http-equiv="refresh"' not in text
    soup = BeautifulSoup(text, "html.parser")
    title = soup.select_one("article h1, .bd-article h1")
    assert title and title.get_text(strip=True)
    assert soup.title.get_text(strip=True)


def test_internal_links_lead_somewhere(built, soups):
    anchors = {path: {tag["id"] for tag in soup.select("[id]")} for path, soup in soups.items()}
    broken = []
    for path, soup in soups.items():
        for link in soup.select("a[href]"):
            parts = urlsplit(link["href"])
            if parts.scheme or parts.netloc or link["href"] == "#":
                continue
            if path.name == "404.html" and parts.path:  # which is shown at any depth
                target = built / unquote(parts.path).removeprefix(ROOT_PATH)
            else:
                target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.is_file() or (
                parts.fragment and unquote(parts.fragment) not in anchors.get(target, ())
            ):
                broken.append(f"{path.relative_to(built)}: {link['href']}")
    assert broken == []


def test_no_id_is_used_twice(built, soups):
    for path, soup in soups.items():
        ids = [tag["id"] for tag in soup.select("[id]")]
        assert sorted({i for i in ids if ids.count(i) > 1}) == [], path.relative_to(built)


def test_images_say_what_is_seen(built, soups):
    figures = 0
    for path, soup in soups.items():
        for image in soup.select("img"):
            alt = image.get("alt", "").strip()
            assert alt and not re.search(r"\.(png|svg|jpe?g|gif)$|^[0-9a-f]{16,}", alt), (
                f"{path.relative_to(built)}: {alt!r}"
            )
        for image in soup.select(".dynattn-figure img"):
            assert re.search(r"\d", image["alt"]), (
                f"{path.relative_to(built)}: {image['alt']!r} holds no number"
            )
            figures += 1
    assert figures, "the book has figures"


def test_nothing_is_loaded_from_another_host(built, soups):
    """Only links that a reader follows may point elsewhere."""
    other = re.compile(r"^\s*(https?:)?//", re.IGNORECASE)
    for path, soup in soups.items():
        for tag in soup.select(
            "[src], [srcset], [poster], [data], link[href]:not([rel=canonical]), object[data]"
        ):
            for name in ("src", "srcset", "poster", "data", "href"):
                assert not other.match(tag.get(name, "")), f"{path.relative_to(built)}: {tag}"
        styles = "".join(tag.get_text() for tag in soup.select("style")) + "".join(
            tag["style"] for tag in soup.select("[style]")
        )
        assert not re.search(r"(url\(|@import)\s*['\"]?(https?:)?//", styles), path.relative_to(built)
        scripts = "".join(
            tag.get_text() for tag in soup.select("script:not([src], [type='application/ld+json'])")
        )
        assert "://" not in scripts, path.relative_to(built)
    for path in built.rglob("*.css"):
        assert not re.search(r"(url\(|@import)\s*['\"]?(https?:)?//", path.read_text(encoding="utf-8")), (
            path.relative_to(built)
        )


def test_chapters_alone_have_numbers(built, soups):
    """From 1 on, through all parts, and in the sidebar as on the page."""
    numbers = {page: f"{number}." for number, page in enumerate(CHAPTERS, 1)}
    for page in PAGES:
        soup = soups[built / f"{page}.html"]
        found = [tag.get_text(strip=True) for tag in soup.select("article .section-number")]
        assert found == ([numbers[page]] if page in numbers else []), page
        entries = [link.get_text() for link in soup.select(".bd-links a.reference")]
        assert [entry.split()[0] for entry in entries if re.match(r"\d", entry)] == list(numbers.values()), (
            page
        )


def test_a_chapter_leads_to_the_next_chapter(built, soups):
    for before, after in itertools.pairwise(CHAPTERS):
        names = [f"{Path(page).name}.html" for page in (before, after)]
        assert soups[built / f"{before}.html"].select_one("a.right-next")["href"] == names[1]
        assert soups[built / f"{after}.html"].select_one("a.left-prev")["href"] == names[0]


BOX = (
    '<details class="dynattn-claim dynattn-{0}" id="claim-2-1"><summary><span class="dynattn-kind">{0}</span> '
    '<strong>A sentence.</strong> <span class="dynattn-value">35 %</span></summary>'
    '<div class="dynattn-detail"><p>What was measured.</p></div></details>'
)


def test_a_claim_gets_the_worst_number_of_all_seeds():
    box, records = BOX.format("for"), {"2.1": {"worst": 3e-16, "seeds": 10}}
    added = add_worst(box, records, "../claims.html")
    detail = BeautifulSoup(added, "html.parser").select_one("details > .dynattn-detail")
    assert detail.get_text() == "What was measured.Worst of 10 seeds: 3e-16. All claims"
    assert detail.a["href"] == "../claims.html#claim-2-1-row"
    assert add_worst(added, records, "../claims.html") == added
    assert add_worst(box, {"2.11": records["2.1"], "2.1": {"seeds": 10}}, "claims.html") == box
    assert add_worst(added, {}, "claims.html") == box
    row = box.replace("claim-2-1", "claim-2-1-row")
    assert add_worst(row, records, "claims.html") == row


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            '<a class="reference internal" href="a.html">2. One</a><details><summary>'
            '<span class="toctree-toggle" role="presentation">',
            '<summary aria-label="Pages below 2. One">',
        ),
        (
            '<details class="admonition hide below-input">\n<summary aria-label="Toggle hidden content">\n'
            '<p class="collapsed admonition-title">Code</p>\n<p class="expanded admonition-title">Code</p>',
            '<summary>\n<p class="collapsed admonition-title">See what happens</p>',
        ),
    ],
    ids=["pages below one", "result"],
)
def test_what_folds_has_a_name(before, after):
    for pattern, replacement in MENDS:
        before = pattern.sub(replacement, before)
    assert after in before


# ------------------------------------------------------------------------------------- in a browser


@each_page
def test_page_in_a_browser(browser, address, page):
    """One visit: no error, no other host, mathematics set, 600 KB at most with all pictures, no scrolling sideways on a
    small screen, and nothing that axe finds wrong, in light and in dark."""
    tab, responses = visit(browser, address, page)
    assert tab.locator(".math:not(:has(> math)), merror").count() == 0
    tab.evaluate("for (const image of document.images) image.loading = 'eager'")
    tab.wait_for_load_state("networkidle")
    sizes = {}
    for response in responses:
        if not response.url.startswith("data:"):
            body = response.body()
            sizes[response.url] = min(len(body), len(gzip.compress(body)))
    assert sum(sizes.values()) <= 600_000, sorted(sizes.items(), key=lambda item: -item[1])[:8]
    assert within(tab, 320) == []
    assert violations(tab) == []
    tab.add_style_tag(
        content="* { transition: none !important }"
    )  # colours are then at once what they will be
    tab.emulate_media(color_scheme="dark")
    tab.wait_for_function("document.documentElement.dataset.theme == 'dark'")
    assert violations(tab, colours_only=True) == []
    tab.context.close()


FAULTS = {
    "pale text": ("<p style='color: #bbb'>pale</p>", "color-contrast"),
    "pale only in the dark": ("<p class='night'>pale</p>", "color-contrast"),
    "dark ground under one word of many": (
        "<p><span style='background: #333'>ground</span></p>",
        "color-contrast",
    ),
    "thin through its parent": ("<div style='opacity: .4'><p>thin</p></div>", "color-contrast"),
    "pale and small like others that are large": ("<p style='color: #888'>small</p>", "color-contrast"),
    "a link like the words around it": (
        "<p>word <a href='#' style='color: #222; text-decoration: none'>link</a> word and more of them</p>",
        "link-in-text-block",
    ),
    "a picture without words": ("<img src='data:image/gif;base64,R0lGODlhAQABAAAAACw='>", "image-alt"),
    "a button without a name": ("<button></button>", "button-name"),
}
NIGHT = ".night { color: #111 } @media (prefers-color-scheme: dark) { .night { color: #444 } body { background: #222; color: #eee } }"


@pytest.mark.parametrize("fault, rule", FAULTS.values(), ids=FAULTS)
def test_what_is_wrong_is_found_among_much_that_is_right(browser, fault, rule):
    """The test of the tests above, which look at one text of each look, and in the dark at colours alone."""
    rest = "".join(f"<p>text {i}</p><p style='color: #888; font-size: 32px'>large</p>" for i in range(50))
    tab = browser.new_context(color_scheme="light").new_page()
    tab.set_content(
        f"<html lang=en><title>t</title><style>{NIGHT}</style><main><h1>h</h1>{rest}{fault}{rest}</main></html>"
    )
    found = {line.partition(":")[0] for line in violations(tab)}
    tab.emulate_media(color_scheme="dark")
    found |= {line.partition(":")[0] for line in violations(tab, colours_only=True)} - (
        {"color-contrast"} - {rule}
    )
    assert found == {rule}
    tab.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_page_opens_in_the_readers_colours(browser, address, scheme):
    tab, _ = visit(browser, address, PAGES[0], scheme)
    assert tab.evaluate("document.documentElement.dataset.theme") == scheme
    tab.context.close()


def test_a_network_is_loaded_when_the_reader_asks_for_it(browser, address, soups):
    """Its parameters are in a file that only its page refers to, 1.5 MB at most even without compression."""
    pages = {path: figures for path, soup in soups.items() if (figures := soup.select("[payload-file]"))}
    assert pages, "the book has a figure that loads a network"
    for path, figures in pages.items():
        assert not any("payload" in figure.attrs for figure in figures)
        tab, responses = visit(browser, address, path.relative_to(SITE).with_suffix("").as_posix())
        for figure in figures:
            name = Path(figure["payload-file"]).name
            assert [other for other in soups if name in other.read_text(encoding="utf-8")] == [path]
            assert not any(response.url.endswith(name) for response in responses)
            button = tab.get_by_role("button", name=f"Load the network, {figure['payload-size']}").first
            with tab.expect_response(lambda response, name=name: response.url.endswith(name)) as answer:
                button.click()
            tab.locator(f"[payload-file$='{name}']").get_by_label("Text").wait_for()
            body = answer.value.body()
            assert len(body) <= 1_500_000
            assert len(gzip.compress(body)) <= float(figure["payload-size"].removesuffix(" MB")) * 1e6
        assert violations(tab) == []
        assert within(tab, 320) == []
        tab.context.close()


@pytest.mark.parametrize(
    ("scheme", "media", "shown"),
    [("light", "screen", "light"), ("dark", "screen", "dark"), ("dark", "print", "light")],
)
def test_one_drawing_of_each_figure_is_shown(browser, address, scheme, media, shown):
    page = next(
        page for page in PAGES if "dynattn-figure" in (SITE / f"{page}.html").read_text(encoding="utf-8")
    )
    tab, _ = visit(browser, address, page, scheme)
    tab.emulate_media(media=media, color_scheme=scheme)
    for name in ("light", "dark"):
        images = tab.locator(f".dynattn-figure img.dynattn-{name}")
        assert images.count()
        visible = images.evaluate_all(
            "images => images.map(image => getComputedStyle(image).display != 'none')"
        )
        assert set(visible) == {name == shown}
    for image in tab.locator(f".dynattn-figure img.dynattn-{shown}:visible").all():
        image.scroll_into_view_if_needed()
        tab.wait_for_function("image => image.complete && image.naturalWidth", arg=image.element_handle())
    tab.context.close()


def test_pictures_come_when_the_reader_comes_near_them(browser, address, built):
    """None is part of the page, and of a light and a dark drawing one comes; on paper all are there at once."""
    page = holding(built, ".dynattn-figure", "dynattn-live")
    tab, responses = visit(browser, address, page)
    there = "images => images.map((image) => image.complete && image.naturalWidth > 0)"
    images = tab.locator("article img")
    assert not any(
        source.startswith("data:") for source in images.evaluate_all("all => all.map((i) => i.src)")
    )
    assert not all(images.evaluate_all(there))
    assert all(images.evaluate_all("all => all.map((image) => image.width && image.hasAttribute('height'))"))
    dark = tab.locator("article .dynattn-dark")
    for light in tab.locator("article .dynattn-light:visible").all():
        light.scroll_into_view_if_needed()
    assert dark.count() and not any(dark.evaluate_all(there))
    tab.pdf()
    assert all(tab.locator("article .dynattn-light, .book-still").evaluate_all(there))
    tab.context.close()


@pytest.mark.parametrize("width", [1250, 1600])
def test_lines_have_a_readable_length(browser, address, width):
    """65 to 75 characters of text, and 79 of code without scrolling."""
    tab, _ = visit(browser, address, CHAPTERS[1], width=width)
    characters = tab.locator(".bd-article section > p").evaluate_all("""paragraphs => {
        const long = paragraphs.filter((p) => p.textContent.length > 150 && !p.querySelector(".math, code"));
        return long.map((p) => {
            const pen = document.createElement("canvas").getContext("2d");
            pen.font = getComputedStyle(p).font;
            return p.clientWidth / pen.measureText(p.textContent).width * p.textContent.length;
        });
    }""")
    assert len(characters) >= 3
    assert 65 <= sorted(characters)[len(characters) // 2] <= 75
    code = tab.locator(".cell_input pre:visible").first
    for length, fits in ((79, True), (120, False)):
        code.evaluate("(pre, length) => { pre.textContent = 'm'.repeat(length) }", length)
        assert code.evaluate("pre => pre.scrollWidth <= pre.clientWidth") == fits
    tab.context.close()


def test_one_button_opens_and_closes_all_folds(browser, address, built):
    tab, _ = visit(browser, address, holding(built, "article details", ".cell"))
    # Not those within live figures, which have a life of their own.
    is_open = "[...document.querySelectorAll('article details')].map((fold) => fold.open)"
    assert not any(tab.evaluate(is_open))
    tab.get_by_role("button", name="Open all").press("Enter")
    assert all(tab.evaluate(is_open))
    tab.evaluate("[...document.querySelectorAll('article details')].at(-1).open = false")
    tab.get_by_role("button", name="Open all").click()
    assert all(tab.evaluate(is_open))
    tab.get_by_role("button", name="Close all").click()
    assert not any(tab.evaluate(is_open))
    tab.context.close()
    tab, _ = visit(browser, address, "book/references")
    assert tab.locator("article details, .book-folds").count() == 0
    tab.context.close()


def test_without_scripts_folds_open_and_no_button_is_there_that_does_nothing(browser, address, built):
    context = browser.new_context(java_script_enabled=False)
    tab = context.new_page()
    tab.goto(f"{address}/{holding(built, 'article details', '.cell')}.html")
    assert tab.locator(".book-folds").count() == 0
    tab.locator("article details > summary").first.click()
    assert tab.locator("article details[open]").count() == 1
    context.close()


def test_a_link_opens_what_it_leads_to(browser, address, built):
    tab, _ = visit(browser, address, holding(built, "article details[id]"))
    fold = tab.locator("article details[id]").last
    assert not fold.evaluate("fold => fold.open")
    tab.evaluate("name => { location.hash = name }", fold.get_attribute("id"))
    fold.locator(".dynattn-detail").wait_for()
    tab.context.close()


def test_on_paper_everything_is_there(browser, address, built):
    """By the style sheet alone: opened, wrapped, and live figures as pictures; the theme's bars are gone."""
    tab, _ = visit(browser, address, holding(built, "dynattn-live", ".cell details"), width=700)
    tab.emulate_media(media="print")
    hidden = "nodes => nodes.filter((n) => !n.checkVisibility() || !n.offsetHeight).map((n) => n.outerHTML.slice(0, 200))"
    folded = (
        "() => [...document.querySelectorAll('article details > :not(summary)')]"  # not those in live figures
    )
    assert tab.evaluate(f"({folded})().length")
    assert tab.evaluate(f"({hidden})(({folded})())") == []
    cut = "nodes => nodes.filter((n) => n.scrollWidth > n.clientWidth + 1).map((n) => n.textContent)"
    assert tab.locator("article pre").evaluate_all(cut) == []
    assert tab.locator("h1:visible").count() == 1
    for gone in (".bd-sidebar-primary", ".bd-header-article", ".prev-next-footer", "dynattn-live"):
        assert not tab.locator(gone).first.is_visible(), gone
    assert tab.locator(".book-still").count() == tab.locator("dynattn-live").count()
    assert tab.locator(".book-still").evaluate_all(hidden) == []
    tab.context.close()


def test_formulas_are_no_stops_of_the_tab_key(browser, address, built):
    """But one that is wider than its place can be scrolled with the keyboard."""
    tab, _ = visit(browser, address, holding(built, "article section > div.math", "article span.math"))
    stops = tab.locator("article .math[tabindex]")
    assert all(stops.evaluate_all("all => all.map((one) => one.scrollWidth > one.clientWidth)"))
    formula = tab.locator("article div.math:visible").first
    formula.evaluate("formula => { formula.style.width = '3rem' }")
    tab.wait_for_function("formula => formula.tabIndex == 0", arg=formula.element_handle())
    tab.context.close()


def test_formulas_are_set_in_the_font_that_comes_with_the_book(browser, address, soups):
    """In it alone, so that every sign of every formula is in it, and looks the same for every reader."""
    formulas = sorted({str(formula) for soup in soups.values() for formula in soup.select("math")})
    assert formulas
    tab, _ = visit(browser, address, "book/notation")
    tab.locator("article section").first.evaluate(
        "(section, html) => { section.innerHTML = html }", " ".join(formulas)
    )
    tab.evaluate("document.fonts.ready")
    tools = tab.context.new_cdp_session(tab)
    for call in ("DOM.enable", "CSS.enable"):
        tools.send(call)
    root = tools.send("DOM.getDocument")["root"]["nodeId"]
    places = tools.send("DOM.querySelectorAll", {"nodeId": root, "selector": "article math"})["nodeIds"]
    assert len(places) == len(formulas)
    for formula, place in zip(formulas, places):
        fonts = tools.send("CSS.getPlatformFontsForNode", {"nodeId": place})["fonts"]
        assert {font["familyName"] for font in fonts} <= {"STIX Two Math"}, formula
    tab.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_kinds_of_claims_differ_in_colour_and_none_has_that_of_weights(browser, address, scheme):
    kinds = ("for", "against", "identity", "measured")
    tab, _ = visit(browser, address, "book/references", scheme)
    boxes = "".join(BOX.format(kind).replace("claim-2-1", f"claim-{kind}") for kind in kinds)
    tab.locator("article section").first.evaluate("(section, html) => { section.innerHTML += html }", boxes)
    colours = tab.locator(".dynattn-kind").evaluate_all(
        "all => all.map((one) => getComputedStyle(one).color)"
    )
    assert len(set(colours)) == len(kinds)
    assert not set(colours) & {
        "rgb(213, 94, 0)",
        "rgb(255, 153, 85)",
        "rgb(0, 114, 178)",
        "rgb(86, 180, 233)",
    }
    assert violations(tab) == []
    tab.context.close()
