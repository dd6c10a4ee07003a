"""Nothing of the first edition is lost without a word: each claim, exercise and figure has a home, or a reason why it went.

``first_edition.tsv`` lists them. A home is a notebook (with the cell of a figure, where that is no longer its own); for what
went, the line says "gone: " and why. Claims keep their numbers.
"""

import csv
import functools
import re
from collections import Counter

import pytest
from conftest import ROOT
from notebooks import load

from dynattn.claims import registry

cells_of = functools.cache(lambda path: load(ROOT / path)["cells"])

with (ROOT / "tests" / "first_edition.tsv").open(encoding="utf-8", newline="") as file:
    ROWS = list(csv.reader(file, delimiter="\t"))[1:]


def test_the_table_is_complete():
    """As many as the first edition had, none twice."""
    assert Counter(kind for kind, *_ in ROWS) == {"claim": 248, "exercise": 55, "figure": 88}
    assert len({(kind, name) for kind, name, _ in ROWS}) == len(ROWS)
    claims = Counter(name.split(".")[0] for kind, name, _ in ROWS if kind == "claim")
    assert claims == dict(
        zip(map(str, range(1, 13)), (7, 13, 24, 17, 25, 18, 35, 24, 20, 16, 25, 24), strict=True)
    )


@pytest.mark.parametrize("kind, name, home", ROWS, ids=[f"{kind} {name}" for kind, name, _ in ROWS])
def test_it_is_where_the_table_says(kind, name, home):
    if home.startswith("gone: "):
        assert len(home) > 20, "and why"
        if kind == "claim":
            assert registry(int(name.split(".")[0]))[name].retired
        return
    path, _, place = home.partition("#")
    cells = cells_of(path)
    if kind == "figure":
        place = place or name.split("/")[1]
        assert [cell["id"] for cell in cells if cell["id"] == place], "its cell"
        assert place.startswith("draw-")
    else:
        call = {"claim": "claim", "exercise": "check"}[kind]
        assert any(re.search(rf'\b{call}\("{re.escape(name)}"', cell["source"]) for cell in cells)
