"""The page of questions to check yourself, from ``course/items/NN.yml``: ``python tools/quiz.py``.

A choice is a fold which opens to its feedback; ``static/quiz.js`` makes of them a form that is answered and checked.
"""

import html
import json
from pathlib import Path

import yaml
from claims import MADE, RECORDS, filled
from notebooks import ROOT, load, notebooks
from slides import inline

PAGE = ROOT / "book" / "questions.md"
TEXT = """# Questions to check yourself

{made}

Each question has one right answer and takes about a minute. Choose before you look, because being asked helps you remember more than reading again does ([how to use this book](how-to-use.md)). Every answer, right or wrong, comes with its reason. Nothing is counted, kept or sent. The questions have not been tried on a class yet.
"""


def read(path: Path) -> list[dict]:
    """The questions of a file, with their numbers from the records."""
    records = json.loads(RECORDS.read_text(encoding="utf-8"))
    return yaml.safe_load(filled(path.read_text(encoding="utf-8"), records))


def items(chapter: str) -> list[dict]:
    """A chapter's questions; none where there is no file."""
    path = ROOT / "course" / "items" / f"{chapter}.yml"
    return read(path) if path.exists() else []


def question(item: dict) -> str:
    """A question as HTML on one line, so that Markdown leaves it alone."""
    choices = ""
    for choice in item["choices"]:
        right, verdict = (" data-right", "Right.") if choice.get("right") else ("", "Not this one.")
        choices += (
            f'<details{right} name="{item["id"]}"><summary>{inline(choice["text"])}</summary>'
            f"<p><strong>{verdict}</strong> {inline(choice['feedback'])}</p></details>"
        )
    legend = f"<legend>{inline(item['question'])}</legend>"
    name = html.escape(item["id"])
    text = f'<form class="book-quiz" id="question-{name}"><fieldset>{legend}{choices}</fieldset></form>'
    return " ".join(text.split())


def page() -> str:
    """The page: a section for each chapter."""
    text = TEXT.format(made=MADE)
    for path in notebooks():
        number = path.name[:2]
        if path.parent.name == "book" and (asked := items(number)):
            title = load(path)["cells"][0]["source"].removeprefix("# ").strip()
            text += f"\n## Chapter {int(number)}\n\n[{title}]({path.name})\n\n"
            text += "\n\n".join(map(question, asked)) + "\n"
    return text + '\n<script src="../_static/quiz.js"></script>\n'


if __name__ == "__main__":
    if not PAGE.exists() or PAGE.read_text(encoding="utf-8") != page():
        PAGE.write_text(page(), encoding="utf-8")
        print(f"{PAGE.relative_to(ROOT)} is rewritten")
