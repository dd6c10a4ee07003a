"""The plans of course/plan.yml, as the tables of the page for teachers; ``tools/claims.py`` writes the page.

Minutes of exercises are those that the notebooks state, and minutes of reading follow from the notebooks by the book's own
rule, so that neither is typed in a plan.
"""

import re
from pathlib import Path
from typing import NamedTuple

import yaml
from notebooks import ROOT, THINKING, load, minutes, notebooks

from dynattn.exercises import variants

PLAN = ROOT / "course" / "plan.yml"


class Task(NamedTuple):
    number: str
    difficulty: str
    minutes: int
    path: Path


def plan() -> dict:
    return yaml.safe_load(PLAN.read_text(encoding="utf-8"))


def exercises() -> dict[str, Task]:
    """All exercises of the book, by number, as their headings have them."""
    heading = re.compile(r"^### ([\d.]+) .* \((\w+), (\d+) minutes\)$", re.MULTILINE)
    found = [
        Task(number, difficulty, int(time), path)
        for path in notebooks()
        for cell in load(path)["cells"]
        if cell["cell_type"] == "markdown"
        for number, difficulty, time in heading.findall(cell["source"])
    ]
    found.sort(key=lambda task: [int(part) for part in task.number.split(".")])
    return {task.number: task for task in found}


def place(where: str) -> tuple[Path, str | None]:
    """The notebook of "02" or "deeper/02", and the heading behind a "#", which must be one of its sections."""
    name, _, heading = where.partition("#")
    folder = ROOT / "book" / Path(name).parent
    found = [path for path in notebooks() if path.parent == folder and path.name[:2] == Path(name).name]
    if len(found) != 1:
        raise ValueError(f"where: got {where!r}, expected the number of a notebook of the book")
    if heading and heading not in sections(found[0]):
        raise ValueError(f"where: got {where!r}, expected a section of {found[0].name}")
    return found[0], heading or None


def sections(path: Path) -> list[str]:
    text = "\n".join(cell["source"] for cell in load(path)["cells"] if cell["cell_type"] == "markdown")
    return re.findall(r"^## (.*)$", text, re.MULTILINE)


def link(where: str) -> str:
    """A place as a link, seen from the page for teachers."""
    path, heading = place(where)
    target = path.relative_to(ROOT / "book").as_posix()
    if heading is None:
        return f"[chapter\N{NO-BREAK SPACE}{int(path.name[:2])}]({target})"
    anchor = re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
    return f"[{int(path.name[:2])}: {heading}]({target}#{anchor})"


def needs(part: dict) -> int:
    """The minutes of a part of a lesson."""
    return part.get("minutes") or sum(exercises()[number].minutes for number in part["exercises"])


def at_home(week: dict) -> int:
    """The minutes of a week at home: to read the chapter and what goes deeper, the exercises, and what else there is to do."""
    chapter = plan()["chapters"][week["chapter"]]
    reading = [
        place(week["chapter"]),
        *(place(f"deeper/{week['chapter']}#{title}") for title in chapter["deeper"]),
    ]
    return (
        sum(minutes(*place) for place in reading)
        + sum(exercises()[number].minutes for number in chapter["hand_in"])
        + sum(part["minutes"] for part in week.get("also", ()))
    )


def table(head: str, rows: list[tuple]) -> str:
    columns = head.split(" | ")
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def lesson(name: str) -> str:
    """The parts of one lesson, from minute to minute, or from hour to hour where the plan says when it starts."""
    entry, rows = plan()[name], []
    hour, minute = map(int, entry.get("starts", "0:0").split(":"))
    now = 60 * hour + minute
    for part in entry["parts"]:
        ends = now + needs(part)
        when = [f"{at // 60}:{at % 60:02}" if "starts" in entry else f"{at}" for at in (now, ends)]
        numbers = part.get("exercises", ())
        do = part.get("do") or f"Exercise{'s' * (len(numbers) > 1)} {' and '.join(numbers)}, in pairs"
        rows.append(("–".join(when), do, "<br>".join(map(link, part.get("where", ())))))
        now = ends
    return table("When | What | Where" if "starts" in entry else "Minutes | What | Where", rows)


def handed_in(numbers: list[str]) -> str:
    """Exercises, those last that are on the worksheet of a notebook that goes deeper."""
    deeper = [number for number in numbers if exercises()[number].path.parent.name == "deeper"]
    text = ", ".join(number for number in numbers if number not in deeper)
    return f"{text}; deeper: {', '.join(deeper)}" if deeper else text


def by_chapter() -> str:
    """What each chapter takes, in the lecture and at home."""
    rows = [
        (
            link(number),
            chapter["lecture"],
            "<br>".join(link(f"deeper/{number}#{title}") for title in chapter["deeper"]),
            handed_in(chapter["hand_in"]),
            at_home({"chapter": number}),
        )
        for number, chapter in plan()["chapters"].items()
    ]
    return table("Chapter | In the lecture | To read, going deeper | Hand in | Minutes at home", rows)


def weeks(name: str) -> str:
    entry = plan()[name]
    rows = []
    for number, week in enumerate(entry["weeks"], 1):
        also = [f"{part['do']} ({part['minutes']})" for part in week.get("also", ())]
        also += ["the project"] * (number in entry["project"])
        rows.append((number, link(week["chapter"]), "; ".join(also), at_home(week)))
    return table("Week | Chapter | Besides | Minutes at home, without the project", rows)


def difficulties() -> str:
    found = exercises().values()
    rows = [
        (level, ", ".join(f"{entry.number}" for entry in found if entry.difficulty == level))
        for level in THINKING
    ]
    rows.append(("with variants", ", ".join(number for number in exercises() if variants(number) > 1)))
    return table("Difficulty | Exercises", rows)


MADE = {
    "session": lambda: lesson("session"),
    "day": lambda: lesson("day"),
    "chapters": by_chapter,
    "eight weeks": lambda: weeks("eight_weeks"),
    "twelve weeks": lambda: weeks("twelve_weeks"),
    "difficulties": difficulties,
}


def page(template: str) -> str:
    """The page for teachers: the template, with each line ``{plan: session}`` replaced by this table."""
    return re.sub(r"(?m)^\{plan: ([\w ]+)\}$", lambda found: MADE[found[1]](), template)
