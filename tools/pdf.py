"""Print the whole book into one file, ``_build/book.pdf``: ``python tools/pdf.py``, after the site is built.

The articles of all pages are gathered in one page, which Chromium prints at once: so links inside the book lead to pages
of the file, its headings make the outline, the numbers of the pages count through, and screen readers find its structure.
"""

import shutil
import sys
from html import escape
from urllib.parse import urldefrag, urljoin

import pages
import progress
import yaml
from bs4 import BeautifulSoup
from notebooks import ROOT

SITE = ROOT / "_build" / "html"
PDF = ROOT / "_build" / "book.pdf"
PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
             "--disable-component-update", "--disable-sync"]  # fmt: skip
# The size of the paper where a page leaves it open; its margins are the style sheet's.
PAPER = {"format": "A4", "tagged": True, "outline": True}


# What the site's own style sheet knows nothing of.
STYLE = """
@page :first { @bottom-center { content: none } }
.book-cover { padding-top: 7cm; text-align: center; }
.book-cover p:first-child { font-size: 26pt; font-weight: 600; line-height: 1.25; }
.book-cover + .book-page, .book-part, .book-page + .book-page { break-before: page; }
.book-part { break-after: avoid; color: var(--pst-color-text-muted); }
"""


def program() -> str | None:
    """Chromium or Chrome."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


def contents():
    """Of each page its name, its level in the outline, and the part that begins with it; one page is no part."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    yield toc["root"], 1, None
    for part in toc["parts"]:
        caption = part["caption"] if len(part["chapters"]) > 1 else None
        level = 2 if caption else 1
        for chapter in part["chapters"]:
            yield chapter["file"], level, caption
            caption = None
            for section in chapter.get("sections", ()):
                yield section["file"], level + 1, None


def article(name: str, level: int, names: set[str]) -> BeautifulSoup:
    """A page's article. Its ids begin with the page's name, and so do links to a page that is printed, too."""
    soup = BeautifulSoup((SITE / f"{name}.html").read_text(encoding="utf-8"), "html.parser")
    found = soup.select_one("article.bd-article")
    for tag in found.select("[id]"):
        tag["id"] = f"{name}/{tag['id']}"
    for link in found.select("a[href]"):
        target, place = urldefrag(urljoin(f"file:///{name}.html", link["href"]))
        page = target.removeprefix("file:///").removesuffix(".html")
        if page in names:
            link["href"] = f"#{page}/{place}".rstrip("/")
        elif target.startswith("file:"):
            del link["href"]
    for image in found.select("img"):
        image.attrs.pop("loading", None)  # nobody comes near it before it is printed
        image["src"] = urljoin((SITE / f"{name}.html").as_uri(), image["src"])
    for source in found.select("source"):  # drawings for phones
        source.decompose()
    for heading in found.select("h1, h2, h3, h4"):
        heading["role"], heading["aria-level"] = "heading", level + int(heading.name[1]) - 1
    found.name = "div"
    found.attrs = {"class": "book-page", "id": name}
    return found


def gather(wanted=None) -> str:
    """The whole book as one page of HTML, or a few pages of it."""
    book = [entry for entry in contents() if not wanted or entry[0] in wanted]
    names = {name for name, _, _ in book}
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    shell = BeautifulSoup((SITE / "index.html").read_text(encoding="utf-8"), "html.parser")
    for script in shell.select("script[src$='dynattn-live.js']"):  # pictures stand for the live figures
        script.decompose()
    shell.title.string = cited["title"]
    lines = [cited["title"], *(author["name"] for author in cited["authors"]), f"Version {cited['version']}"]
    parts = [f"<style>{STYLE}</style>"]
    parts += ['<div class="book-cover">', *(f"<p>{escape(line)}</p>" for line in lines), "</div>"]
    for done, (name, level, part) in enumerate(book, 1):
        if part:
            parts.append(f'<p class="book-part" role="heading" aria-level="1">{escape(part)}</p>')
        parts.append(str(article(name, level, names)))
        progress.say(f"{done} of {len(book)} pages gathered")
    place = shell.select_one("article.bd-article")
    place.string = "PAGES"
    return str(shell).replace(">PAGES<", f">{''.join(parts)}<")


def write(browser, target, wanted=None) -> None:
    """Print the book with a browser of playwright."""
    tab = browser.new_page()
    tab.set_default_timeout(600_000)
    book = gather(wanted)
    progress.say("setting the formulas")
    tab.goto((SITE / "genindex.html").as_uri())  # in whose place style and scripts are found
    tab.set_content(book)
    tab.evaluate("async () => { await document.fonts.ready }")
    progress.say("printing")
    tab.pdf(path=target, **PAPER)
    tab.close()


def print_all() -> None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        write(playwright.chromium.launch(executable_path=program(), args=ARGUMENTS), PDF.with_suffix(".part"))
    PDF.with_suffix(".part").rename(PDF)


def main() -> None:
    if not program():
        sys.exit(f"the book is printed by a browser: none of {', '.join(PROGRAMS)} is installed")
    if PDF.exists() and PDF.stat().st_mtime > pages.STAMP.stat().st_mtime:
        return
    code, output = progress.run("print the book", [sys.executable, __file__, "print"], str)
    if code:
        sys.exit(f"printing the book failed:\n{output}")


if __name__ == "__main__":
    progress.to_its_end(print_all if sys.argv[1:] == ["print"] else main, "the book is not printed")
