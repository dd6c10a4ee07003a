"""Slides for each chapter, from its executed notebook: the structure of a chapter, not its text cut into pieces.

A slide holds one thing: a figure, at most some forty words, a number, or at most twelve lines of code. What the chapter
says about it becomes the speaker's notes. ``course/slides/NN.yml`` may choose: cell -> skip, heading, say, and ask, a
question that is a slide before it. ``course/slides/first-lesson.yml`` makes a deck from several chapters' slides.
"""

import html
import re
import shutil
import urllib.parse
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path

import yaml
from bs4 import BeautifulSoup
from figurepack import Picture, executed, picture, shown
from formulas import mathml
from jinja2 import Environment, FileSystemLoader
from markdown_it import MarkdownIt
from mdit_py_plugins.dollarmath import dollarmath_plugin
from notebooks import FOLDED, ROOT, SOLUTION, notebooks
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from dynattn.claims import registry

COURSE = ROOT / "course"
TEMPLATES = ROOT / "tools" / "templates"
WORDS, LINES = 40, 12  # the most that a slide holds
GUESS = re.compile(r"^> \*\*Your guess first\.\*\* (.*(?:\n>.*)*)", re.MULTILINE)
ASKED = "Your guess first"
PREDICTION = re.compile(r"^\*\*Prediction: .*(?:\n.+)*\n?", re.MULTILINE)
ENDS = ("Going deeper", "What to read next", "References")


@dataclass(frozen=True)
class Box:
    """What a claim's box in a chapter says: its sentence, its number, its kind in words, and what was measured."""

    headline: str
    number: str
    kind: str
    label: str
    detail: str


@dataclass
class Slide:
    kind: str
    heading: str
    body: str = ""
    kicker: str = ""
    box: Box | None = None
    notes: list[str] = field(default_factory=list)
    cell: str = ""  # of the notebook, from which it is made


def formula(tex: str, tag: str) -> str:
    """A formula as the book's pages have it, in a span or a div."""
    return f'<{tag} class="math">{mathml(tex, tag == "div")}</{tag}>'


MARKDOWN = MarkdownIt("js-default", {"typographer": True}).use(dollarmath_plugin)  # no raw HTML, but tables
MARKDOWN.disable("replacements")  # quotes are set, but (c) stays what it is
MARKDOWN.add_render_rule("math_inline", lambda _, tokens, i, *rest: formula(tokens[i].content, "span"))
MARKDOWN.add_render_rule("math_block", lambda _, tokens, i, *rest: formula(tokens[i].content, "div"))


def inline(text: str) -> str:
    return MARKDOWN.renderInline(text)


def unlinked(text: str) -> str:
    return re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", text)


def sentences(text: str) -> list[str]:
    """The sentences of a text's prose, without links, what stands in brackets as sentences of its own, and minutes."""
    blocks = re.split(r"\n\s*\n", re.sub(r"\$\$.*?\$\$", "\n\n", text, flags=re.DOTALL))
    prose = " ".join(block for block in blocks if not re.match(r"[|>#<]|[-*\d.]+ |\*\d+ minutes", block))
    prose = re.sub(r" ?\([A-Z][^()]*[.?!]\)", "", " ".join(unlinked(prose).split()))
    return [sentence for sentence in re.split(r"(?<=[.!?]) (?=\S)", prose) if sentence]


def count(text: str) -> int:
    return len(re.findall(r"\$[^$]*\$|[^\W_]\S*", text))


def pieces(text: str) -> list[str]:
    """A text's prose in pieces of whole sentences that fit on a slide."""
    found = [""]
    for sentence in sentences(text):
        if found[-1] and count(f"{found[-1]} {sentence}") > WORDS:
            found.append("")
        found[-1] = f"{found[-1]} {sentence}".strip()
    return [re.sub(":$", ".", piece) for piece in found]  # what would follow is a slide of its own


def words(text: str) -> str:
    return f"<p>{inline(text)}</p>"


def drawing(found: Picture, name: str) -> str:
    """A figure; below a live one, in place of its caption, which says what to do with it, the way to it."""
    caption = (
        f'<a href="live/{name}.html">Open the live figure</a>' if found.live else html.escape(found.caption)
    )
    caption = f"<figcaption>{caption}</figcaption>"
    source = f"data:image/svg+xml,{urllib.parse.quote(found.light)}"
    return f'<figure><img alt="{html.escape(found.alt)}" src="{source}">{caption}</figure>'


def boxes(cell: dict) -> list[Box]:
    """The claims that a cell shows."""
    found = []
    for box in BeautifulSoup("".join(shown(cell, "text/html")), "html.parser").select(".dynattn-claim"):
        number = box["id"].removeprefix("claim-").replace("-", ".")
        entry = registry(int(number.split(".")[0]))[number]
        value, label = (box.select_one(f".dynattn-{name}").get_text() for name in ("value", "kind"))
        found.append(Box(entry.headline, value, entry.kind, label, entry.detail))
    return found


class Deck:
    """The slides of one chapter, and its live figures, each as HTML, by their names."""

    def __init__(self, path: Path):
        self.live = {}
        self.slides, self.section, self.asked, self.number = [], "", False, path.name[:2]
        chosen = COURSE / "slides" / f"{self.number}.yml"
        self.choices = yaml.safe_load(chosen.read_text(encoding="utf-8")) if chosen.exists() else {}
        cells = executed(path)["cells"]
        if unknown := sorted(set(self.choices) - {cell["id"] for cell in cells}):
            raise ValueError(f"{chosen.name}: got {', '.join(unknown)}, expected cells of {path.stem}")
        for cell in cells:
            if self.section in ENDS:
                break
            read = self.text if cell["cell_type"] == "markdown" else self.code
            self.cell, choice = cell["id"], self.choices.get(cell["id"]) or {}
            if "ask" in choice:
                self.add("question", choice["ask"])
                self.slides[-1].cell = ""  # what the cell shows comes next
            read(cell, choice)
        self.add_notes(COURSE / "notes" / f"{self.number}.md")

    def add(self, kind: str, heading: str, body: str = "", *notes: str, box: Box | None = None) -> None:
        kicker = "" if self.section == heading else self.section
        notes = [*notes, box.detail if box else ""]
        self.slides.append(Slide(kind, heading, body, kicker, box, notes, self.cell))

    def text(self, cell: dict, choice: dict) -> None:
        first, *parts = re.split(r"(?m)^#{1,3} (.*)$", cell["source"])
        if not parts and "say" in choice:
            self.add("question", choice["say"])
        if self.slides:
            self.prose(first, choice)
        for heading, text in zip(parts[::2], parts[1::2]):
            if re.match(r"\d", heading):  # an exercise: its title alone
                self.slides[-1].body += f"<li>{inline(heading)}</li>"
                continue
            self.section = heading
            if heading in ENDS:
                return
            if heading == "Exercises":
                self.add("list", heading, "", text)
            elif heading == "In short":
                said, ledger = re.split(r"(?m)^(?=\*Learned)", text)
                listed = "".join(
                    f"<li>{inline(sentence)}</li>" for sentence in sentences(choice.get("say", said))
                )
                self.add("ledger", heading, f"<ul>{listed}<li>{inline(ledger.strip())}</li></ul>")
            else:
                kind = "words" if self.slides else "title"
                said = choice.get("say") or pieces(text)[0]
                if not choice.get("skip") and (said or kind == "title"):
                    self.add(kind, choice.get("heading", heading), words(said))
                self.prose(text, choice)

    def prose(self, text: str, choice: dict) -> None:
        """What the chapter says becomes the notes of the slide before; formulas, tables and guesses are slides."""
        if SOLUTION.search(text):
            return  # of a sheet that may be another variant's
        text = re.sub(r"<details><summary>(.*?)</summary>", r"**\1**", text).replace("</details>", "")
        for part in re.split(r"(?m)(\$\$[^$]*\$\$|(?:^\|.*\n?)+)", text):
            heading = choice.get("heading", self.section)
            if not part.startswith(("$$", "|")):
                self.guess(part)
            elif not choice.get("displays", True):
                self.slides[-1].notes.append(part)
            elif part.startswith("|"):
                self.add("table", heading, MARKDOWN.render(part))
            else:
                self.add("formula", heading, formula(part.strip("$").strip().rstrip(".,").strip(), "div"))

    def guess(self, text: str) -> None:
        before, *guesses = GUESS.split(text)
        self.slides[-1].notes.append(before)
        for question, after in zip(guesses[::2], guesses[1::2]):
            self.add("question", re.sub(r"\n> ?", " ", question), "", after)
            self.slides[-1].kicker, self.asked = ASKED, True

    def code(self, cell: dict, choice: dict) -> None:
        tags, source = set(cell["metadata"].get("tags", ())), cell["source"].strip()
        if cell["id"] in ("setup", "imports") or choice.get("skip") or self.section == "Exercises":
            return
        said = "\n\n".join(shown(cell, "text/markdown"))
        box, *others = boxes(cell) or [None]
        heading = choice.get("heading", box.headline if box else self.section)
        tables = [table for table in shown(cell, "text/html") if "<table" in table and "<figure" not in table]
        if found := picture(cell):
            if found.live:
                (page,) = [page for page in shown(cell, "text/html") if "<dynattn-live" in page]
                self.live[self.named()] = page
            self.figure(found, heading, said, box)
        elif not FOLDED & tags:
            lines = [line for line in source.splitlines() if not re.match(r"figures\.|claim\(", line)]
            listing = highlight("\n".join(lines), PythonLexer(), HtmlFormatter(nowrap=True))
            table = tables[0] if tables and len(lines) + tables[0].count("<tr") <= LINES else ""
            self.add("code", heading, f"<pre><code>{listing}</code></pre>{table}", said, box=box)
        elif tables:
            self.add("table", heading, tables[0], said, box=box)
        elif self.asked or "say" in choice:
            self.add("words", heading, words(choice.get("say") or pieces(said)[0]), said, box=box)
        elif box:
            self.add("claim", heading, "", said, box=box)
        else:
            self.slides[-1].notes.append(said)
        for box in others:
            self.add("claim", box.headline, box=box)
        self.asked = False

    def named(self) -> str:
        """The name of the present cell's figure."""
        return f"{self.number}-{self.cell}"

    def figure(self, found: Picture, heading: str, said: str, box: Box | None) -> None:
        """A figure's slide; it takes the place of the words with which its section, or the chapter, begins."""
        last, drawn = self.slides[-1], drawing(found, self.named())
        if last.kind == "title":
            last.body, last.cell = drawn, self.cell
        elif last.kind == "words" and last.heading == self.section == heading and not self.asked:
            last.kind, last.body, last.cell = "figure", drawn, self.cell
        else:
            self.add("figure", heading, drawn, box=box)
        self.slides[-1].notes.append(said)
        if found.live:
            self.slides[-1].notes.append(f"In the book this figure is live. {found.caption}")

    def add_notes(self, path: Path) -> None:
        """An instructor's notes: a prediction goes with its question, a part with its section, all else with the title."""
        if not path.exists():
            return
        start, *parts = re.split(r"(?m)^(#{1,4} .*)$", path.read_text(encoding="utf-8"))
        first = {slide.kicker or slide.heading: slide for slide in reversed(self.slides)}
        asked = [slide for slide in self.slides if slide.kicker == ASKED]
        predictions = PREDICTION.findall("".join(parts))
        if len(predictions) != len(asked):
            raise ValueError(
                f"{path.name}: got {len(predictions)} predictions, expected one for each of {len(asked)} guesses"
            )
        for slide, prediction in zip(asked, predictions):
            slide.notes.insert(0, prediction.strip())
        for heading, text in [("", start), *zip(parts[::2], parts[1::2])]:
            slide = first.get(heading.lstrip("# "), self.slides[0])
            text = PREDICTION.sub("", text)
            slide.notes.append(f"**{heading.lstrip('# ')}**\n\n{text}" if heading else text)


def lesson(path: Path, chapters: dict[str, list[Slide]]) -> list[Slide]:
    """A deck from the decks of several chapters: for each part of the lesson what is asked, and slides, such as 02#matrix.

    Args:
        path: a file of the parts; the notes of its name in ``course/notes/`` have a part of the same heading for each.
        chapters: the slides of the chapters by their numbers.
    """
    decks = reversed([(number, slide) for number, slides in chapters.items() for slide in slides])
    found = {f"{number}#{slide.cell}": slide for number, slide in decks}  # of a cell's slides the first
    text = (COURSE / "notes" / f"{path.stem}.md").read_text(encoding="utf-8")
    notes = dict(re.findall(r"(?ms)^## ([^\n]*)\n(.*?)(?=^## |\Z)", text))
    slides = []
    for part, entries in yaml.safe_load(path.read_text(encoding="utf-8")).items():
        if part not in notes:
            raise ValueError(f"{path.name}: got {part!r}, expected a heading of {path.stem}.md")
        first = len(slides)
        for entry in entries:
            if "ask" in entry:
                table = MARKDOWN.render(entry.get("table", ""))
                kind = "table" if table else "question"
                slides.append(Slide(kind, entry["ask"], table, kicker=part.partition(": ")[2]))
            elif slide := found.get(entry["slide"]):
                # A title's notes are of its whole chapter, and what a claim speaks for is a matter of the whole book.
                kind, said = ("figure", []) if slide.kind == "title" else (slide.kind, [*slide.notes])
                heading = entry.get("heading", slide.heading)
                box = slide.box if kind == "claim" else None
                slides.append(replace(slide, kind=kind, heading=heading, box=box, notes=said))
            else:
                raise ValueError(f"{path.name}: got {entry['slide']}, expected a slide, such as 02#matrix")
        for slide in slides[first:]:
            if slide is slides[first] or slide.kind == "question" or not slide.notes:
                slide.notes.insert(0, f"**{part}**\n\n{notes[part].strip()}")
    return slides


@cache
def templates() -> Environment:
    found = Environment(loader=FileSystemLoader(TEMPLATES), trim_blocks=True, lstrip_blocks=True)
    found.filters |= {"inline": inline, "notes": lambda notes: MARKDOWN.render(unlinked("\n\n".join(notes)))}
    return found


def write(folder: Path) -> dict[str, list[Slide]]:
    """Write the decks into a folder, which is made anew and needs nothing else; return the slides of each file."""
    shutil.rmtree(folder, ignore_errors=True)
    with as_file(files("sphinx_revealjs") / "_static" / "revealjs") as reveal:
        for part in (
            "LICENSE",
            "dist/reveal.js",
            "dist/reveal.css",
            "dist/reset.css",
            "plugin/notes/notes.js",
        ):
            (folder / "reveal" / part).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(reveal / part, folder / "reveal" / part)
    for part in (ROOT / "static" / "book.css", ROOT / "static" / "math.woff2", TEMPLATES / "slides.css"):
        shutil.copy(part, folder)
    decks = {path.with_suffix(".html").name: Deck(path) for path in notebooks() if path.parent.name == "book"}
    (folder / "live").mkdir()
    for deck in decks.values():
        for name, page in deck.live.items():
            text = templates().get_template("sheet.html").render(title="A live figure", body=page)
            (folder / "live" / f"{name}.html").write_text(text, encoding="utf-8")
    decks = {name: deck.slides for name, deck in decks.items()}
    lessons = COURSE / "slides" / "first-lesson.yml"
    decks = {
        "first-lesson.html": lesson(lessons, {name[:2]: slides for name, slides in decks.items()})
    } | decks
    for name, slides in decks.items():
        number = name.partition("-")[0]
        text = (
            templates()
            .get_template("slides.html")
            .render(slides=slides, chapter=int(number) if number.isdigit() else None)
        )
        (folder / name).write_text(text, encoding="utf-8")
    text = templates().get_template("slides-index.html").render(decks=decks)
    (folder / "index.html").write_text(text, encoding="utf-8")
    return decks
