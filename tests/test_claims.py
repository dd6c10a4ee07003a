"""Claims hold or fail by their bounds alone, are recorded when asked to, and make the page of claims."""

import json
import math
import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest

import dynattn
from dynattn import claim
from dynattn.claims import ClaimFailed, margin, page, verdict


@pytest.fixture
def shown(monkeypatch):
    """What a claim displays, instead of displaying it."""
    boxes = []
    monkeypatch.setattr("dynattn.claims.display", boxes.append)
    return boxes


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    monkeypatch.delenv("DYNATTN_SEED", raising=False)
    monkeypatch.delenv("DYNATTN_CLAIMS", raising=False)


@pytest.mark.parametrize(
    "measured, bounds",
    [
        (0.5, dict(at_least=0.4)),
        (0.5, dict(at_most=0.6)),
        (0.5, dict(at_least=0.4, at_most=0.6)),
        (0.5, dict(at_least=0.5, at_most=0.5)),
        (-3, dict(at_most=-2)),
    ],
)
def test_a_claim_within_its_bounds_is_shown(measured, bounds, shown):
    claim("1.1", "It holds.", measured, **bounds)
    (box,) = shown
    for text in (repr(box), box._repr_html_()):
        assert (
            "Claim 1.1 holds" in text
            and "It holds." in text
            and f"{measured:.3g}" in text
            and "seed 0" in text
        )


@pytest.mark.parametrize(
    "measured, bounds",
    [
        (0.3, dict(at_least=0.4)),
        (0.7, dict(at_most=0.6)),
        (0.3, dict(at_least=0.4, at_most=0.6)),
        (0.7, dict(at_least=0.4, at_most=0.6)),
        (math.nextafter(0.5, 0), dict(at_least=0.5)),
        (math.nan, dict(at_least=0)),
        (math.nan, dict(at_most=0)),
        (math.inf, dict(at_least=0)),
        (-math.inf, dict(at_most=0)),
        (0.5, dict(at_least=math.nan)),
    ],
)
def test_a_claim_outside_its_bounds_fails_and_shows_nothing(measured, bounds, shown):
    with pytest.raises(ClaimFailed, match="claim 1.1: It fails"):
        claim("1.1", "It fails", measured, **bounds)
    assert not shown
    assert issubclass(ClaimFailed, AssertionError)


@pytest.mark.parametrize(
    "arguments, name",
    [
        (dict(), "at_least, at_most"),
        (dict(at_least=0, thesis="proves"), "thesis"),
    ],
)
def test_a_claim_without_bound_or_side_is_refused(arguments, name, shown):
    with pytest.raises(ValueError, match=f"^{name}: .*expected"):
        claim("1.1", "?", 1, **arguments)
    assert not shown


def test_tensors_of_one_number_count_as_numbers(shown):
    torch = pytest.importorskip("torch")
    claim("1.1", "It holds.", torch.tensor(0.5), at_least=torch.tensor(0.25))
    assert shown[0].record["measured"] == 0.5


def test_the_statement_cannot_break_the_page(shown):
    claim("1.1", 'a < b & "c" <script>', 1, at_least=0)
    found = []

    class Tags(HTMLParser):
        def handle_starttag(self, tag, attributes):
            found.append(tag)

    Tags().feed(shown[0]._repr_html_())
    assert "script" not in found


@pytest.mark.parametrize("seed", ["0", "7"])
def test_a_record_is_written_for_each_seed_also_of_a_claim_that_fails(seed, tmp_path, monkeypatch, shown):
    monkeypatch.setenv("DYNATTN_CLAIMS", str(tmp_path / "new" / "folder"))
    monkeypatch.setenv("DYNATTN_SEED", seed)
    claim("2.1", "Holds", 0.5, at_least=0.25, thesis="limits")
    with pytest.raises(ClaimFailed):
        claim("2.2", "Fails", 0.5, at_most=0.25)
    records = {path.name: json.loads(path.read_text()) for path in (tmp_path / "new" / "folder").iterdir()}
    assert sorted(records) == [f"2.1-{seed}.json", f"2.2-{seed}.json"]
    assert records[f"2.1-{seed}.json"] == {
        "number": "2.1",
        "statement": "Holds",
        "measured": 0.5,
        "at_least": 0.25,
        "at_most": None,
        "thesis": "limits",
        "seed": int(seed),
    }


def test_without_a_folder_nothing_is_written(tmp_path, monkeypatch, shown):
    monkeypatch.chdir(tmp_path)
    claim("1.1", "It holds.", 1, at_least=0)
    assert not list(tmp_path.iterdir())


# ------------------------------------------------------------------------------------------------ the page


def record(number="1.1", seed=0, measured=0.5, **changes):
    common = dict(statement=f"Statement {number}", at_least=0.25, at_most=None, thesis="supports")
    return {"number": number, "seed": seed, "measured": measured, **common, **changes}


def test_the_margin_is_the_distance_to_the_nearest_bound():
    assert margin(record()) == 0.25
    assert margin(record(at_most=0.6)) == pytest.approx(0.1)
    assert margin(record(at_least=None, at_most=0.4)) == pytest.approx(-0.1)


def test_the_page_gives_the_value_at_seed_0_and_the_worst_over_all():
    rows = [
        line
        for line in page([record(), record(seed=1, measured=0.3), record(seed=2, measured=0.9)]).splitlines()
    ]
    (row,) = [line for line in rows if line.startswith("| 1.1 ")]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells == ["1.1", "Statement 1.1", "**0.5**, at least 0.25", "0.3, 0.05", "supports"]


def test_the_worst_is_by_margin_not_by_size():
    records = [record(at_least=None, at_most=0.6), record(seed=1, measured=0.1, at_least=None, at_most=0.6)]
    assert "| **0.5**, at most 0.6 | 0.5, 0.1 |" in page(records)


def test_claims_are_ordered_as_numbers():
    text = page([record("10.1"), record("2.10"), record("2.9")])
    assert text.index("| 2.9 ") < text.index("| 2.10 ") < text.index("| 10.1 ")
    assert re.findall("## (.*)", text) == ["Chapter 2", "Chapter 10"]


@pytest.mark.parametrize(
    "records, message",
    [
        ([], "got none"),
        ([record(seed=1)], "0 among them"),
        ([record(), record("1.2"), record("1.2", seed=1)], "claim 1.1: got seeds"),
        ([record(), record(seed=1, statement="Another")], "different sentences"),
        ([record(), record(seed=1, thesis="limits")], "different sentences"),
    ],
)
def test_incomplete_or_contradictory_records_make_no_page(records, message):
    with pytest.raises(ValueError, match=message):
        page(records)


def test_the_command_makes_the_page_from_a_folder(tmp_path):
    for number, seed in (("1.1", 0), ("1.1", 1)):
        (tmp_path / f"{number}-{seed}.json").write_text(json.dumps(record(number, seed)))
    pages = [tmp_path / name for name in ("claims.md", "template.md", "verdict.md")]
    pages[1].write_text(TEMPLATE)
    subprocess.run([sys.executable, "-m", "dynattn.claims", tmp_path, *pages], check=True)
    assert pages[0].read_text() == page([record(), record(seed=1)])
    assert pages[2].read_text() == verdict(TEMPLATE, [record(), record(seed=1)])


TEMPLATE = "# Verdict\n\nA sentence, {claims 1.1} in it.\n\n{claims 1.1}\n\nMore.\n"


def test_the_verdicts_show_the_claims_that_they_name():
    text = verdict(TEMPLATE, [record(), record("1.2")])
    (row,) = [line for line in page([record()]).splitlines() if line.startswith("| 1.1 ")]
    assert text.startswith("# Verdict\n\n<!-- Made by") and text.endswith("|\n\nMore.\n")
    assert text.count(row) == 1 and "1.2" not in text and "sentence, {claims 1.1} in it." in text


def test_a_verdict_on_a_claim_without_record_is_refused():
    with pytest.raises(ValueError, match="^template: got claims 2.1, 2.2, expected"):
        verdict("# T\n\n{claims 2.1 1.1 2.2}\n", [record()])


# ------------------------------------------------------------------------------------------------ the seed


@pytest.mark.parametrize("value, want", [(None, 0), ("0", 0), ("12", 12)])
def test_the_seed_comes_from_the_environment(value, want, monkeypatch):
    if value is not None:
        monkeypatch.setenv("DYNATTN_SEED", value)
    assert dynattn.seed() == want


@pytest.mark.parametrize("value", ["", "-1", "1.5", "one", " 1", "²"])
def test_a_seed_that_is_no_number_is_refused(value, monkeypatch):
    monkeypatch.setenv("DYNATTN_SEED", value)
    with pytest.raises(ValueError, match="^DYNATTN_SEED: got .*expected a non-negative integer"):
        dynattn.seed()
