"""The built pages: complete, linked, reachable for everyone, and readable without any other host."""

import functools
import gzip
import re
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from bs4 import BeautifulSoup
from conftest import SITE, violations
from notebooks import pages

PAGES = pages()
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
        for tag in soup.select("[src], [srcset], [poster], [data], link[href], object[data]"):
            for name in ("src", "srcset", "poster", "data", "href"):
                assert not other.match(tag.get(name, "")), f"{path.relative_to(built)}: {tag}"
        styles = "".join(tag.get_text() for tag in soup.select("style")) + "".join(
            tag["style"] for tag in soup.select("[style]")
        )
        assert not re.search(r"(url\(|@import)\s*['\"]?(https?:)?//", styles), path.relative_to(built)
        scripts = "".join(tag.get_text() for tag in soup.select("script:not([src])"))
        assert "://" not in scripts, path.relative_to(built)
    for path in built.rglob("*.css"):
        assert not re.search(r"(url\(|@import)\s*['\"]?(https?:)?//", path.read_text(encoding="utf-8")), (
            path.relative_to(built)
        )


# ------------------------------------------------------------------------------------- in a browser


class Silent(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def address(built):
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Silent, directory=built)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def visit(browser, address, page, scheme="light", width=1280):
    """Open a page as on a first visit; return it with all that it asked for, and fail on any error."""
    tab = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 900}).new_page()
    responses, errors = [], []
    tab.on("response", lambda response: responses.append(response))
    tab.on("requestfailed", lambda request: errors.append(f"failed: {request.url}"))
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.on(
        "console",
        lambda message: errors.append(message.text) if message.type in ("error", "warning") else None,
    )
    tab.goto(f"{address}/{page}.html", wait_until="networkidle")
    if tab.locator(".math").count():
        tab.wait_for_selector("mjx-container", state="attached")
    assert errors == []
    assert responses and all(response.ok for response in responses), [r.url for r in responses if not r.ok]
    here = [response for response in responses if response.url.startswith((address, "data:", "blob:"))]
    assert len(here) == len(responses), [response.url for response in responses if response not in here]
    return tab, responses


def within(tab, width: int) -> list[str]:
    """Whether the page scrolls sideways on a small screen."""
    before = tab.viewport_size
    tab.set_viewport_size({"width": width, "height": 700})
    tab.wait_for_timeout(300)
    found = tab.evaluate("document.documentElement.scrollWidth")
    tab.set_viewport_size(before)
    return [f"{found} px wide on a screen of {width} px"] if found > width else []


@each_page
def test_page_in_a_browser(browser, address, page):
    """One visit: no error, no other host, mathematics set, one megabyte at most, no scrolling sideways on a small
    screen, and nothing that axe finds wrong, in light and in dark."""
    tab, responses = visit(browser, address, page)
    assert tab.locator("mjx-merror, [data-mjx-error]").count() == 0
    if tab.locator(".math").count():
        assert tab.locator("mjx-container").count() >= tab.locator(".math").count()
    sizes = {}
    for response in responses:
        if not response.url.startswith("data:"):
            body = response.body()
            sizes[response.url] = min(len(body), len(gzip.compress(body)))
    assert sum(sizes.values()) <= 1_000_000, sorted(sizes.items(), key=lambda item: -item[1])[:8]
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
    loaded = tab.locator(".dynattn-figure img").evaluate_all(
        "images => images.map(i => i.complete && i.naturalWidth > 0)"
    )
    assert set(loaded) == {True}
    tab.emulate_media(media=media, color_scheme=scheme)
    for name in ("light", "dark"):
        images = tab.locator(f".dynattn-figure img.dynattn-{name}")
        assert images.count()
        visible = images.evaluate_all(
            "images => images.map(image => getComputedStyle(image).display != 'none')"
        )
        assert set(visible) == {name == shown}
    tab.context.close()
