"""The book on paper: each page as Chromium prints it, and the whole of it as one file, both read back."""

import ctypes
import itertools
import os
import re

import pdf
import pypdfium2
import pypdfium2.raw as pdfium
import pytest
from bs4 import BeautifulSoup
from conftest import SITE
from notebooks import pages

PAGES = pages()
FOOT = 50  # points: below it is the number of the page
WIDTH = 642  # pixels, of what A4 leaves between the margins of the style sheet
LABELS = ["h1", "h2", "h3", "h4", "summary", "dt"]  # what keeps with what follows
BLOCKS = ["p", "pre", "li", "dd", "td", "th", "div", "section", "figure", "figcaption", "details"]


def squeeze(text: str) -> str:
    """Without white space and icons, since lines may be broken anywhere; a hyphen at the end of a line is a hyphen."""
    return re.sub(r"[\s\ue000-\uf8ff]+", "", text.replace("\x02", "-").replace("\ufffe", "-"))


class Sheet:
    """A page of paper: its text, the last line of it, its number, and what is said of its pictures."""

    def __init__(self, page):
        text, (width, height) = page.get_textpage(), page.get_size()
        self.text = squeeze(text.get_text_bounded(left=0, bottom=FOOT, right=width, top=height))
        foot = text.get_text_bounded(left=0, bottom=0, right=width, top=FOOT)
        self.number = foot.partition("\r")[0].strip()  # the box of a tall formula may reach down here
        lines = [text.get_rect(i) for i in range(text.count_rects())]
        bottom, top = min(((line[1], line[3]) for line in lines if line[1] > FOOT), default=(0, 0))
        self.last = squeeze(text.get_text_bounded(left=0, bottom=bottom, right=width, top=top))
        self.pictures = []
        tree = pdfium.FPDF_StructTree_GetForPage(page)
        for i in range(pdfium.FPDF_StructTree_CountChildren(tree)):
            self.look(pdfium.FPDF_StructTree_GetChildAtIndex(tree, i))
        pdfium.FPDF_StructTree_Close(tree)

    def look(self, element):
        length = pdfium.FPDF_StructElement_GetAltText(element, None, 0)
        if length > 2:
            said = ctypes.create_string_buffer(length)
            pdfium.FPDF_StructElement_GetAltText(element, said, length)
            self.pictures.append(squeeze(said.raw.decode("utf-16-le").rstrip("\0")))
        for i in range(pdfium.FPDF_StructElement_CountChildren(element)):
            if child := pdfium.FPDF_StructElement_GetChildAtIndex(element, i):
                self.look(child)


def sheets(file) -> list[Sheet]:
    with pypdfium2.PdfDocument(file) as document:
        return [Sheet(page) for page in document]


def holds(paper: list[Sheet], text: str) -> bool:
    """Whether a text is on paper in one piece, or in two, of which one ends a sheet and the other begins the next."""
    return any(text in sheet.text for sheet in paper) or any(
        text[:cut] in before.text and text[cut:] in after.text
        for before, after in itertools.pairwise(paper)
        for cut in range(1, len(text))
    )


def faults(soup: BeautifulSoup, paper: list[Sheet]) -> list[str]:
    """What is missing on paper of a page, and what is torn."""
    article, found = soup.find("article", class_="bd-article"), []
    for code in article.find_all("pre"):
        code.string = code.get_text().replace("\n", "\0")  # a line is a text
    figures = [
        (squeeze(image["alt"]), squeeze(image.find_parent("figure").figcaption.get_text()))
        for image in article.select(".dynattn-figure .dynattn-light, dynattn-live > img")
    ]
    for alt, caption in figures:
        if not any(alt in sheet.pictures and caption in sheet.text for sheet in paper):
            found.append(f"no picture with its caption: {caption}")
    for tag in article.select("dynattn-live, .math, .headerlink, .expanded, script, style"):
        tag.replace_with("\0")
    labels = {squeeze(tag.get_text()) for tag in article.find_all(LABELS)}
    for tag in article.find_all([*LABELS, *BLOCKS]):
        tag.insert_before("\0")
        tag.insert_after("\0")
    texts = article.get_text().split("\0")
    found += [f"not on paper: {text}" for text in texts if not holds(paper, squeeze(text))]
    found += [f"the last on its sheet: {sheet.last}" for sheet in paper if sheet.last in labels]
    return found


# Chromium makes a page smaller that is too wide, and cuts off what is still too wide then.
WIDE = """() => [...document.querySelectorAll("article *:not(math *)")].filter((node) => {
    const {display, overflowX} = getComputedStyle(node);
    const cut = overflowX != "visible" && node.scrollWidth > node.clientWidth + 1 && !node.matches(".math");
    return display != "inline" && (cut || node.getBoundingClientRect().right > innerWidth + 1);
}).map((node) => `too wide: ${node.outerHTML.slice(0, 120)}`)"""


def on_paper(browser, page: str, more: str = "", change: str = "") -> list[str]:
    """Print a page as a reader does and look for faults; ``more`` is put at the end of its article before."""
    soup = BeautifulSoup((SITE / f"{page}.html").read_text(encoding="utf-8"), "html.parser")
    soup.select_one("article.bd-article").append(BeautifulSoup(more, "html.parser"))
    tab = browser.new_page()
    tab.goto((SITE / f"{page}.html").as_uri())
    tab.locator("article.bd-article").evaluate(
        "(article, html) => article.insertAdjacentHTML('beforeend', html)", more
    )
    tab.evaluate(change)
    tab.emulate_media(media="print")
    tab.set_viewport_size({"width": WIDTH, "height": 900})
    wide = tab.evaluate(WIDE)
    tab.emulate_media(media="null")
    printed = tab.pdf(**pdf.PAPER)
    tab.close()
    return wide + faults(soup, sheets(printed))


@pytest.mark.parametrize("page", PAGES)
def test_page_on_paper(browser, built, page):
    """Nothing is cut, nothing is missing, folded or not, no heading stands alone, and figures keep their captions."""
    assert on_paper(browser, page) == []


FAULTS = {
    "too wide: <table": "<table style='width: 1000px'><tr><td>wide</td></tr></table>",
    "too wide: <pre": f"<pre style='overflow: hidden !important; white-space: pre'>{'long ' * 40}</pre>",
    "not on paper: what is folded": "<details><summary>See</summary><p hidden>what is folded</p>.</details>",
    "not on paper: y = A @ x": "<pre hidden>y = A @ x</pre>",
    "the last on its sheet: Aheading": "<h2 style='break-after: page'>A heading</h2><p>text</p>",
    "the last on its sheet: Alabel": "<details><summary style='break-after: page'>A label</summary>code</details>",
    "no picture with its caption: Torn": (
        "<figure class=dynattn-figure style='break-inside: auto'><img class=dynattn-light alt=torn width=9 height=9 "
        "src=_static/favicon.svg><figcaption style='break-before: page'>Torn</figcaption></figure>"
    ),
}


def test_what_is_wrong_on_paper_is_found(browser, built):
    """Each kind of it, on a page that also loses the picture of its live figure."""
    change = "document.querySelectorAll('.book-still').forEach((still) => { still.style.display = 'none' })"
    found = on_paper(browser, PAGES[0], "".join(FAULTS.values()), f"() => {{ {change} }}")
    expected = [*FAULTS, "no picture with its caption: Twolayers"]
    assert [said for said in expected if not any(fault.startswith(said) for fault in found)] == []


def links(document):
    """Of each link in a file the page to which it leads, counted from 0, or its address."""
    for page in document:
        start, link = ctypes.c_int(0), pdfium.FPDF_LINK()
        while pdfium.FPDFLink_Enumerate(page, start, link):
            if place := pdfium.FPDFLink_GetDest(document, link):
                yield pdfium.FPDFDest_GetDestPageIndex(document, place)
            else:
                address, action = ctypes.create_string_buffer(500), pdfium.FPDFLink_GetAction(link)
                pdfium.FPDFAction_GetURIPath(document, action, address, len(address))
                yield address.value.decode()


def test_the_book_in_one_file(browser, built, tmp_path):
    """A chapter, its deeper notebook and two pages around them; all pages with the environment variable THOROUGH."""
    chosen = PAGES if os.environ.get("THOROUGH") else [PAGES[0], *PAGES[3:5], PAGES[-1]]
    pdf.write(browser, tmp_path / "book.pdf", chosen)
    paper = sheets(tmp_path / "book.pdf")
    soups = {
        name: BeautifulSoup((SITE / f"{name}.html").read_text(encoding="utf-8"), "html.parser")
        for name in chosen
    }
    expected = []
    for name, level, part in pdf.contents():
        if name in chosen:
            expected += [(0, squeeze(part))] if part else []
            headings = soups[name].select("article :is(h1, h2, h3, h4)")
            texts = [squeeze(tag.get_text().removesuffix("#")) for tag in headings]
            expected += [
                (level + int(tag.name[1]) - 2, text) for tag, text in zip(headings, texts, strict=True)
            ]
    with pypdfium2.PdfDocument(tmp_path / "book.pdf") as document:
        outline = [(entry.level, squeeze(entry.get_title())) for entry in document.get_toc()]
        starts = [entry.get_dest().get_index() for entry in document.get_toc()]
        title, led = document.get_metadata_value("Title"), list(links(document))
    assert outline == expected
    assert starts == sorted(starts)
    for (_, title_), at in zip(outline, starts):
        if title_ in {
            squeeze(soup.select_one("article h1").get_text().removesuffix("#")) for soup in soups.values()
        }:
            assert paper[at].text.startswith(title_) or title_ in paper[at].text[:60], (
                "a page begins on a sheet of its own"
            )
    assert squeeze(title) in paper[0].text
    assert [sheet.number for sheet in paper] == ["", *map(str, range(2, len(paper) + 1))]
    assert any(isinstance(target, int) for target in led)
    assert [target for target in led if not isinstance(target, int) and not re.match("https?:", target)] == []
    assert -1 not in led
    for name, soup in soups.items():
        assert faults(soup, paper) == [], name


def test_printing_says_what_it_lacks_and_is_not_repeated(monkeypatch, tmp_path):
    stamp, printed, calls = tmp_path / "site.json", tmp_path / "book.pdf", []
    monkeypatch.setattr(pdf, "PDF", printed)
    monkeypatch.setattr(pdf.pages, "STAMP", stamp)
    monkeypatch.setattr(pdf.progress, "run", lambda title, *_: calls.append(title) or (0, ""))
    monkeypatch.setattr(pdf, "program", lambda: None)
    with pytest.raises(SystemExit, match="none of chromium, .* is installed"):
        pdf.main()
    monkeypatch.setattr(pdf, "program", lambda: "chromium")
    for path, time in ((stamp, 1), (printed, 2)):
        path.touch()
        os.utime(path, (time, time))
    pdf.main()
    assert calls == []
    os.utime(stamp, (3, 3))
    pdf.main()
    assert calls == ["print the book"]
