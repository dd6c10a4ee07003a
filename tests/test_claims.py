"""Claims hold or fail by the bounds of their registry, are recorded when asked to, and make the page of claims."""

import json
import math
import re
from html.parser import HTMLParser

import claims as pages
import pytest
from conftest import ROOT
from helpers import refuses
from notebooks import notebooks

import dynattn
from dynattn import claim, claims
from dynattn.claims import Claim, ClaimFailed, margin


@pytest.fixture
def shown(monkeypatch):
    """What a claim displays, instead of displaying it."""
    boxes = []
    monkeypatch.setattr(claims, "display", boxes.append)
    return boxes


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    monkeypatch.delenv("DYNATTN_SEED", raising=False)
    monkeypatch.delenv("DYNATTN_CLAIMS", raising=False)


def entry(number="1.1", **changes):
    return Claim(number, **{"headline": "It holds.", "kind": "measured", "at_least": 0.25} | changes)


@pytest.fixture
def registered(monkeypatch):
    """A registry that holds one claim, 1.1, with the given fields."""

    def register(**changes):
        found = {"1.1": entry(**changes)}
        monkeypatch.setattr(claims, "registry", lambda chapter: found if chapter == 1 else {})

    register()
    return register


BOUNDS = ("at_least", "at_most")


@pytest.mark.parametrize(
    "measured, bounds",
    [
        (0.5, (0.4, None)),
        (0.5, (None, 0.6)),
        (0.5, (0.4, 0.6)),
        (0.5, (0.5, 0.5)),
        (-3, (None, -2)),
    ],
)
@pytest.mark.parametrize("called", [False, True], ids=["registry", "call"])
def test_a_claim_within_its_bounds_is_shown(measured, bounds, called, shown, registered):
    given = dict(zip(BOUNDS, bounds, strict=True))
    if called:
        registered(**{name: bound and "call" for name, bound in given.items()})
        claim("1.1", measured, **given)
    else:
        registered(**given)
        claim("1.1", measured)
    (box,) = shown
    for text in (repr(box), box._repr_html_()):
        assert "It holds." in text and f"{measured:.3g}" in text and "seed 0" in text and "Claim 1.1" in text


@pytest.mark.parametrize(
    "measured, bounds",
    [
        (0.3, (0.4, None)),
        (0.7, (None, 0.6)),
        (0.3, (0.4, 0.6)),
        (0.7, (0.4, 0.6)),
        (math.nextafter(0.5, 0), (0.5, None)),
        (math.nan, (0.0, None)),
        (math.nan, (None, 0.0)),
        (math.inf, (0.0, None)),
        (-math.inf, (None, 0.0)),
    ],
)
def test_a_claim_outside_its_bounds_fails_and_shows_nothing(measured, bounds, shown, registered):
    registered(**dict(zip(BOUNDS, bounds, strict=True)))
    with pytest.raises(ClaimFailed, match="claim 1.1: It holds"):
        claim("1.1", measured)
    assert not shown
    assert issubclass(ClaimFailed, AssertionError)


def test_a_measured_bound_that_is_no_number_fails(shown, registered):
    registered(at_least="call")
    with pytest.raises(ClaimFailed):
        claim("1.1", 0.5, at_least=math.nan)


def test_what_does_not_fit_the_registry_is_refused(shown, registered):
    refuses(lambda: claim("1.2", 1), ValueError, "number")
    refuses(lambda: claim("one", 1), ValueError, "number")
    refuses(lambda: claim(1.1, 1), TypeError, "number")
    refuses(lambda: claim("1.1", 1, at_least=0), ValueError, "at_least")
    refuses(lambda: claim("1.1", 1, at_most=2), ValueError, "at_most")
    registered(at_least="call")
    refuses(lambda: claim("1.1", 1), ValueError, "at_least")
    registered(retired="it was about the old edition")
    assert "it was about the old edition" in refuses(lambda: claim("1.1", 1), ValueError, "number")
    assert not shown


@pytest.mark.parametrize(
    "changes, name",
    [
        ({"kind": "supports"}, "kind"),
        ({"about": "dynamic"}, "about"),
        ({"kind": "for", "about": "everything"}, "about"),
        ({"at_least": None}, "at_most"),
        ({"at_most": math.nan}, "at_most"),
        ({"at_least": True}, "at_least"),
        ({"at_least": "0.5"}, "at_least"),
        ({"value": "{} of {}"}, "value"),
        ({"value": "{gap}"}, "value"),
        ({"value": "{:q}"}, "value"),
    ],
)
def test_an_entry_that_says_nothing_is_refused(changes, name):
    with pytest.raises(ValueError, match=rf"^claim 1\.1: got {name} = .*, expected "):
        entry(**changes)


@pytest.mark.parametrize(
    "text, message",
    [
        ('["2.1"]\nheadline = "A."\nkind = "measured"\nat_least = 0', "got 2.1, expected claims 1.1"),
        ('["1.1"]\nheadline = "A."\nkind = "measured"\nbound = 0', "got bound in 1.1"),
        ('["1.1"]\nkind = "measured"\nat_least = 0', "claim 1.1: got no headline"),
        ('["1.1"]\nheadline = "A."\nat_least = 0', "claim 1.1: got no kind"),
    ],
)
def test_a_file_of_the_registry_is_checked(text, message, tmp_path, monkeypatch):
    (tmp_path / "01.toml").write_text(text)
    monkeypatch.setattr(claims, "FOLDER", tmp_path)
    with pytest.raises(ValueError, match=message):
        claims.registry.__wrapped__(1)


def test_a_chapter_without_claims_is_refused():
    refuses(lambda: claims.registry(99), ValueError, "chapter")


def test_an_identity_may_be_checked_in_silence(shown, registered, tmp_path, monkeypatch):
    monkeypatch.setenv("DYNATTN_CLAIMS", str(tmp_path))
    registered(shown=False)
    claim("1.1", 0.5)
    assert not shown and (tmp_path / "1.1-0.json").exists()
    with pytest.raises(ClaimFailed):
        claim("1.1", 0.2)


def test_a_line_says_its_kind_its_sentence_and_its_number(shown, registered):
    registered(kind="against", about="expressive", detail="Of ten.", value="{:.0%} of them")
    claim("1.1", 0.5)
    html = shown[0]._repr_html_()
    assert html.startswith('<details class="dynattn-claim dynattn-against" id="claim-1-1"')
    summary, detail = html.split("</summary>")
    assert "against “overwhelming power”" in summary and "50% of them" in summary and "Of ten." in detail


def test_tensors_of_one_number_count_as_numbers(shown, registered):
    torch = pytest.importorskip("torch")
    registered(at_least="call")
    claim("1.1", torch.tensor(0.5), at_least=torch.tensor(0.25))
    assert shown[0].record["measured"] == 0.5


def test_a_sentence_cannot_break_the_page(shown, registered):
    registered(headline='a < b & "c" <script>', detail="<script>", value="<script>{:g}")
    claim("1.1", 1)
    found = []

    class Tags(HTMLParser):
        def handle_starttag(self, tag, attributes):
            found.append(tag)

    Tags().feed(shown[0]._repr_html_())
    assert "script" not in found


@pytest.mark.parametrize("seed", ["0", "7"])
def test_a_record_is_written_for_each_seed_also_of_a_claim_that_fails(
    seed, tmp_path, monkeypatch, shown, registered
):
    folder = tmp_path / "new" / "folder"
    monkeypatch.setenv("DYNATTN_CLAIMS", str(folder))
    monkeypatch.setenv("DYNATTN_SEED", seed)
    claim("1.1", 0.5)
    want = {"number": "1.1", "measured": 0.5, "at_least": 0.25, "at_most": None, "seed": int(seed)}
    assert json.loads((folder / f"1.1-{seed}.json").read_text()) == want
    with pytest.raises(ClaimFailed):
        claim("1.1", 0.125)
    assert json.loads((folder / f"1.1-{seed}.json").read_text()) == want | {"measured": 0.125}


def test_without_a_folder_nothing_is_written(tmp_path, monkeypatch, shown, registered):
    monkeypatch.chdir(tmp_path)
    claim("1.1", 1)
    assert not list(tmp_path.iterdir())


# ------------------------------------------------------------------------------------- the records and the pages


def record(seed=0, measured=0.5, at_least=0.25, at_most=None, number="2.3"):
    return {"number": number, "seed": seed, "measured": measured, "at_least": at_least, "at_most": at_most}


def test_the_margin_is_the_distance_to_the_nearest_bound():
    assert margin(record()) == 0.25
    assert margin(record(at_most=0.6)) == pytest.approx(0.1)
    assert margin(record(at_least=None, at_most=0.4)) == pytest.approx(-0.1)


def test_of_many_seeds_the_first_and_the_worst_are_kept():
    found = pages.summary([record(seed=1, measured=0.3), record(), record(seed=2, measured=0.91234)])
    assert found == {"measured": 0.5, "worst": 0.3, "margin": 0.05, "seeds": 3}
    below = [record(at_least=None, at_most=0.6), record(1, 0.1, None, 0.6)]
    assert pages.summary(below)["worst"] == 0.5, "by margin, not by size"
    called = pages.summary([record(number="5.14", at_least=None, at_most=0.823456)])
    assert called["at_most"] == 0.823


@pytest.mark.parametrize("seeds", [[], [1], [0, 0], [0, 2]])
def test_seeds_that_lack_make_no_record(seeds):
    with pytest.raises(ValueError, match=r"^records: got seeds .*, expected 0, 1, \.\.\. once each"):
        pages.summary([record(seed) for seed in seeds])


def test_every_claim_is_measured_once_and_has_a_record():
    entries, kept = pages.claims(), json.loads(pages.RECORDS.read_text(encoding="utf-8"))
    assert list(entries) == sorted(entries, key=pages.order)
    assert sorted(entries) == sorted(pages.homes()) == sorted(kept)
    for number, path in pages.homes().items():
        assert path.name.startswith(f"{pages.order(number)[0]:02d}-"), number
    for number, found in kept.items():
        assert found["margin"] >= 0, number
        called = {name for name in BOUNDS if getattr(entries[number], name) == "call"}
        assert set(found) == {"measured", "worst", "margin", "seeds"} | called, number


def test_the_pages_are_what_registry_and_records_make():
    """`make book` writes them."""
    for path, text in pages.made().items():
        assert path.read_text(encoding="utf-8") == text, path.name


def test_the_page_shows_every_claim_with_a_way_to_its_place():
    text = (ROOT / "book" / "claims.md").read_text(encoding="utf-8")
    for number, entry in pages.claims().items():
        name = number.replace(".", "-")
        (found,) = re.findall(rf'<details [^>]*id="claim-{name}-row">.*', text)
        assert "style=" not in found and f"Claim {number}, where it is measured" in found
        assert (f'#claim-{name}"' in found) == entry.shown


def test_the_verdicts_show_the_claims_that_they_name():
    kept = json.loads(pages.RECORDS.read_text(encoding="utf-8"))
    text = pages.verdict("# Verdict\n\nA sentence, {claims 1.1} in it.\n\n{claims 1.1 2.3}\n\nMore.\n", kept)
    assert text.startswith("# Verdict\n\n<!-- Made by") and text.endswith("</details>\n\nMore.\n")
    assert re.findall(r'id="claim-(\S+)-verdict-1"', text) == ["1-1", "2-3"]
    assert "sentence, {claims 1.1} in it." in text
    with pytest.raises(ValueError, match="^claim 2.99: got none, expected"):
        pages.verdict("# T\n\n{claims 2.99}\n", kept)


def test_a_claim_in_two_places_is_an_error(tmp_path, monkeypatch):
    first = notebooks()[0]
    monkeypatch.setattr(pages, "notebooks", lambda: [first, first])
    with pytest.raises(SystemExit, match="is measured in"):
        pages.homes()


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
