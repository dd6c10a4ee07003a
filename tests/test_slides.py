"""The slides and the figure pack: everything of a chapter is there, one thing at a time, and a folder is all it takes."""

import csv
import re
import xml.etree.ElementTree as ET

import figurepack
import pytest
import slides
import yaml
from bs4 import BeautifulSoup
from conftest import CHAPTERS, EXECUTED, ROOT, violations
from figurepack import executed, picture, shown

BOOK = [path for path in CHAPTERS if path.parent.name == "book"]
each_deck = pytest.mark.parametrize("path", BOOK, ids=lambda path: path.stem)


@pytest.fixture(scope="module", autouse=True)
def ran():
    if missing := [path.stem for path in CHAPTERS if not (EXECUTED / path.name).exists()]:
        pytest.fail(f"{', '.join(missing)}: not run, run `make book` first")


@pytest.fixture(scope="module")
def decks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("slides")
    return folder, slides.write(folder)


def plain(html: str) -> str:
    return BeautifulSoup(html, "html.parser").get_text()


@each_deck
def test_a_slide_holds_one_thing(decks, path):
    for slide in decks[1][f"{path.stem}.html"]:
        soup = BeautifulSoup(slide.body, "html.parser")
        if slide.kind in ("words", "question"):
            assert slides.count(plain(slide.body) or slide.heading) <= 1.2 * slides.WORDS, slide.body
            assert slide.kind == "question" or plain(slide.body).strip(), slide.heading
        if code := soup.select_one("pre"):
            assert len(code.get_text().splitlines()) <= slides.LINES, code
        assert len(soup.select("figure, pre, p, ul")) <= 1, slide.heading


@each_deck
def test_a_deck_has_what_its_chapter_has(decks, path):
    """Every figure with its alternative text, every claim that is shown, every guess and its answer, the closing."""
    deck, cells = decks[1][f"{path.stem}.html"], executed(path)["cells"]
    skipped = {name for name, choice in slides.Deck(path).choices.items() if choice.get("skip")}
    html = "".join(slide.body for slide in deck)
    alts = [image["alt"] for image in BeautifulSoup(html, "html.parser").select("img")]
    told = [slide.box.headline for slide in deck if slide.box]
    for cell in cells:
        if found := picture(cell):
            assert found.alt in alts and found.alt.strip(), cell["id"]
        if cell["id"] not in skipped:
            boxes = BeautifulSoup("".join(shown(cell, "text/html")), "html.parser")
            for headline in boxes.select(".dynattn-claim strong"):
                assert headline.get_text() in told
    guesses = [i for i, slide in enumerate(deck) if slide.kicker == slides.ASKED]
    assert len(guesses) == sum(cell["source"].count("**Your guess first.**") for cell in cells)
    for i in guesses:
        assert deck[i + 1].kind in ("words", "figure", "table", "code", "claim") and deck[i + 1].body
    assert deck[0].kind == "title" and "<img" in deck[0].body and deck[-1].kind == "list"
    assert [slide.heading for slide in deck if slide.kind == "ledger"] == ["In short"]
    assert {"Against", "In short", "Exercises"} <= {slide.kicker or slide.heading for slide in deck}


def test_live_figures_have_pages_that_need_nothing(decks, browser):
    folder, written = decks
    bodies = "".join(slide.body for deck in written.values() for slide in deck)
    linked = set(re.findall(r'href="(live/[^"]*)"', bodies))
    assert linked == {f"live/{path.name}" for path in (folder / "live").iterdir()} and len(linked) >= 12
    tab = browser.new_page(viewport={"width": 1280, "height": 720})
    asked, errors = [], []
    tab.on("request", lambda request: asked.append(request.url))
    tab.on("pageerror", lambda error: errors.append(str(error)))
    for name in sorted(linked):
        tab.goto((folder / name).as_uri())
        tab.locator("dynattn-live svg").first.wait_for()
    tab.close()
    assert errors == [] and all(url.startswith((folder.as_uri(), "data:", "blob:")) for url in asked)


@each_deck
def test_each_section_has_notes_for_the_speaker(decks, path):
    deck = decks[1][f"{path.stem}.html"]
    sections = {
        slide.kicker or slide.heading for slide in deck if slide.kind != "table"
    }  # it speaks for itself
    sections -= {"In short", slides.ASKED}
    for section in sections:
        notes = [note for slide in deck if section in (slide.kicker, slide.heading) for note in slide.notes]
        assert "".join(notes).strip(), section


def test_an_instructors_notes_go_with_their_sections_and_questions(tmp_path, monkeypatch):
    monkeypatch.setattr(slides, "COURSE", tmp_path)
    (tmp_path / "notes").mkdir()
    notes = tmp_path / "notes" / "02.md"
    notes.write_text(
        "# All\n\nFirst.\n\n## How does a word decide what to read?\n\n**Prediction: twice as long?** One.\n\n"
        "## Is attention linear?\n\nSecond.\n\n**Prediction: which?** Two.\n\nThird.\n"
    )
    deck = slides.Deck(BOOK[1]).slides
    assert "First." in "".join(deck[0].notes)
    for text in ("Second.", "Third."):
        (slide,) = [slide for slide in deck if text in "".join(slide.notes)]
        assert slide.heading == "Is attention linear?" and "Prediction" not in "".join(slide.notes)
    asked = [slide for slide in deck if "Prediction" in "".join(slide.notes)]
    assert [slide.notes[0] for slide in asked] == [
        "**Prediction: twice as long?** One.",
        "**Prediction: which?** Two.",
    ]
    assert {slide.kicker for slide in asked} == {slides.ASKED}
    notes.write_text(notes.read_text().replace("**Prediction: which?**", ""))
    with pytest.raises(ValueError, match=r"02\.md: got 1 predictions, expected one for each of 2 guesses"):
        slides.Deck(BOOK[1])


def test_a_lesson_is_made_of_slides_and_questions(tmp_path, monkeypatch):
    """Each question comes before what answers it, each part begins with its notes, and what isn't there is named."""
    monkeypatch.setattr(slides, "COURSE", tmp_path)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "first.md").write_text(
        "# First\n\n## 0 to 5: One\n\nSay this.\n\n## 5 to 9: Two\n\nSay that.\n"
    )
    chapters = {"02": slides.Deck(BOOK[1]).slides}
    plan = tmp_path / "first.yml"
    plan.write_text(
        '"0 to 5: One":\n  - ask: "Which?"\n  - {slide: "02#draw-hook", heading: "This"}\n"5 to 9: Two":\n  - slide: "02#three-roles"\n'
    )
    deck = slides.lesson(plan, chapters)
    assert [(slide.kind, slide.heading) for slide in deck[:2]] == [("question", "Which?"), ("figure", "This")]
    assert (
        "Say this." in deck[0].notes[0]
        and "Say this." in deck[1].notes[0]
        and "Say that." in deck[2].notes[0]
    )
    assert deck[2].kind == "words" and "Say that." not in "".join(chapters["02"][0].notes)
    for old, new, said in (
        ("02#draw-hook", "02#nowhere", r"first\.yml: got 02#nowhere, expected a slide, such as 02#matrix"),
        ("5 to 9: Two", "5 to 9: Three", r"first\.yml: got '5 to 9: Three', expected a heading of first\.md"),
    ):
        (tmp_path / "other.yml").write_text(plan.read_text().replace(old, new))
        (tmp_path / "notes" / "other.md").write_text((tmp_path / "notes" / "first.md").read_text())
        with pytest.raises(ValueError, match=said.replace("first", "other")):
            slides.lesson(tmp_path / "other.yml", chapters)


def test_a_choice_names_a_cell_of_its_chapter_and_types_no_result(tmp_path, monkeypatch):
    for path in sorted((ROOT / "course" / "slides").glob("[01]*.yml")):
        for name, choice in yaml.safe_load(path.read_text(encoding="utf-8")).items():
            assert set(choice) <= {"skip", "heading", "say", "displays", "ask"}, f"{path.name}: {name}"
            assert not re.search(r"\d\s*%|\d\.\d", " ".join(map(str, choice.values()))), (
                f"{path.name}: {name}"
            )
    monkeypatch.setattr(slides, "COURSE", tmp_path)
    (tmp_path / "slides").mkdir()
    (tmp_path / "slides" / "02.yml").write_text("nowhere: {skip: true}")
    with pytest.raises(ValueError, match=r"02\.yml: got nowhere, expected cells of 02-attention-matrix"):
        slides.Deck(BOOK[1])


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("One. Two.\n\n| a |\n|---|\n\n> Three.\n\n*30 minutes, exercises not included.*", ["One. Two."]),
        ("See [there](a.ipynb). (Or not. Who knows?) What follows:", ["See there. What follows."]),
        ("Long " * 30 + "end. " + "Long " * 30 + "end.", [("Long " * 30 + "end.")] * 2),
        ("$$x$$", [""]),
    ],
)
def test_words_for_a_slide_are_whole_sentences(text, found):
    assert slides.pieces(text) == found


# What is cut off, or would stand on the number of the slide, or is too small to see.
OUTSIDE = """() => {
    const found = [];
    Reveal.getSlides().forEach((section, i) => {
        Reveal.slide(i);
        const slide = section.querySelector(".slide"), place = slide.getBoundingClientRect();
        const tell = (what) => found.push(`${i + 1} ${slide.innerText.slice(0, 40)}: ${what}`);
        if (slide.scrollHeight > slide.clientHeight || slide.scrollWidth > slide.clientWidth) tell("overflows");
        for (const node of slide.querySelectorAll("*")) {
            const {bottom, right, width} = node.getBoundingClientRect();
            if (width && (bottom > place.bottom - 30 || right > place.right - 30)) tell(node.outerHTML.slice(0, 60));
        }
        for (const image of slide.querySelectorAll("img")) {
            const {width, height} = image.getBoundingClientRect();
            if (!image.naturalWidth || Math.min(width, height) < 220 || !image.alt) tell("no figure to see");
        }
        for (const text of slide.querySelectorAll("header, figcaption, li, .slide > p"))
            if (/[$]|[*][*]|\\\\/.test(text.innerText)) tell("Markdown is left");
    });
    return found;
}"""


def test_every_deck_fits_its_slides_and_needs_only_its_folder(decks, browser):
    folder, written = decks
    tab = browser.new_page(viewport={"width": 1280, "height": 720})
    asked, errors = [], []
    tab.on("request", lambda request: asked.append(request.url))
    tab.on(
        "requestfailed",  # unless the next deck was opened before it came
        lambda request: errors.append(request.url) if request.failure != "net::ERR_ABORTED" else None,
    )
    tab.on("pageerror", lambda error: errors.append(str(error)))
    for name, deck in written.items():
        tab.goto((folder / name).as_uri())
        tab.wait_for_function("window.Reveal && Reveal.isReady()")
        assert tab.evaluate("Reveal.getTotalSlides()") == len(deck)
        assert tab.evaluate(OUTSIDE) == [], name
    tab.evaluate("Reveal.slide(0)")
    tab.keyboard.press("ArrowRight")
    assert tab.evaluate("Reveal.getIndices().h") == 1
    assert tab.locator(".slide-number").inner_text().split() == ["2", "/", str(len(deck))]
    tab.locator(".slides > .present .slide").evaluate(
        "slide => { slide.innerHTML += '<p>word</p>'.repeat(40) }"
    )
    assert tab.evaluate(OUTSIDE) != []  # the test of the test
    tab.goto((folder / name).as_uri() + "?print-pdf")
    tab.wait_for_function("window.Reveal && Reveal.isReady()")
    tab.wait_for_function("count => document.querySelectorAll('.pdf-page').length == count", arg=len(deck))
    tab.goto((folder / "index.html").as_uri())
    assert tab.locator("main a").evaluate_all(
        "links => links.map((link) => link.getAttribute('href'))"
    ) == list(written)
    assert errors == [] and all(url.startswith((folder.as_uri(), "data:")) for url in asked)
    tab.close()


def test_a_slide_is_right_for_axe(decks, browser):
    folder, written = decks
    tab = browser.new_page(viewport={"width": 1280, "height": 720})
    name, deck = list(written.items())[1]
    for kind in ("title", "figure"):
        i = next(i for i, slide in enumerate(deck) if slide.kind == kind and (slide.box or kind == "title"))
        tab.goto(f"{(folder / name).as_uri()}#/{i}")
        tab.wait_for_function("i => window.Reveal && Reveal.isReady() && Reveal.getIndices().h == i", arg=i)
        assert violations(tab) == []
    tab.close()


def test_the_pack_has_every_figure_twice_with_its_words(tmp_path):
    count = figurepack.write(tmp_path / "pack")
    with (tmp_path / "pack" / "figures.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    cells = [cell for path in CHAPTERS for cell in executed(path)["cells"]]
    assert len(rows) == count == sum("<figure" in "".join(shown(cell, "text/html")) for cell in cells)
    files = [row[name] for row in rows for name in ("file", "file on dark")]
    assert sorted([*files, "figures.csv"]) == sorted(path.name for path in (tmp_path / "pack").iterdir())
    for row in rows:
        light, dark = (ET.parse(tmp_path / "pack" / row[name]) for name in ("file", "file on dark"))
        assert light.getroot().tag.endswith("svg") and dark.getroot().tag.endswith("svg")
        assert (tmp_path / "pack" / row["file"]).read_text() != (
            tmp_path / "pack" / row["file on dark"]
        ).read_text()
        assert all(row.values()) and row["licence"] == "CC BY 4.0"
