"""Figures have a caption and an alternative text, a light and a dark form, and are the same each time."""

import re
import urllib.parse
import xml.etree.ElementTree as ElementTree

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from bs4 import BeautifulSoup
from helpers import normal
from matplotlib.colors import to_rgb

from dynattn import figures


@pytest.fixture
def shown(monkeypatch):
    """What a figure or table displays, instead of displaying it: a list of HTML texts."""
    texts = []

    def display(value, raw=False):
        texts.append(value["text/html"] if raw else value.data)

    monkeypatch.setattr(figures, "display", display)
    return texts


def draw(caption="A caption.", alt="What is seen.", seed=0):
    figure, axes = figures.subplots(2)
    figures.matrix(axes[0], normal(4, 4, seed=seed).softmax(-1), "A", rows="abcd", columns="abcd")
    figures.network(axes[1], normal(4, 4, seed=seed), "W", inputs="abcd")
    figures.show(figure, caption=caption, alt=alt)


def drawings(text):
    """The two SVG drawings of a figure, light and dark."""
    images = BeautifulSoup(text, "html.parser").find_all("img")
    assert [image["class"] for image in images] == [["dynattn-light"], ["dynattn-dark"]]
    prefix = "data:image/svg+xml,"
    assert all(image["src"].startswith(prefix) for image in images)
    return [urllib.parse.unquote(image["src"][len(prefix) :]) for image in images]


def test_a_figure_has_both_drawings_its_caption_and_its_alternative_text(shown):
    draw()
    (text,) = shown
    page = BeautifulSoup(text, "html.parser")
    assert page.figure.figcaption.get_text() == "A caption."
    assert [image["alt"] for image in page.find_all("img")] == ["What is seen."] * 2
    for svg in drawings(text):
        assert ElementTree.fromstring(svg.encode()).tag.endswith("svg")
    light, dark = page.find_all("img")
    assert "display:none" in dark["style"] and "display:none" not in light["style"]


@pytest.mark.parametrize("caption, alt", [("", "alt"), ("caption", ""), (" \n", "alt"), ("caption", "\t")])
def test_caption_and_alternative_text_are_required(caption, alt, shown):
    with pytest.raises(ValueError, match="^caption, alt: got .*expected"):
        draw(caption, alt)
    with pytest.raises(TypeError):
        figures.show(figures.subplots()[0])
    assert not shown
    plt.close("all")


def test_text_is_escaped(shown):
    hostile = """5 < 6 & "quoted" 'single' <script>alert(1)</script> é"""
    draw(hostile, hostile)
    page = BeautifulSoup(shown[0], "html.parser")
    assert not page.find_all("script")
    assert page.figcaption.get_text() == hostile
    assert all(image["alt"] == hostile for image in page.find_all("img"))


def test_a_plain_text_form_says_the_same(monkeypatch):
    kept = []
    monkeypatch.setattr(figures, "display", lambda value, raw=False: kept.append(value))
    draw("The caption.", "The alternative.")
    assert kept[0]["text/plain"] == "[Figure: The alternative.] The caption."


def test_the_dark_drawing_has_none_of_the_light_colours_and_differs_in_nothing_else(shown):
    draw()
    light, dark = drawings(shown[0])
    assert figures.INK in light and figures.PAPER in light and figures.LEARNED in light
    for colour, other in figures.ON_DARK.items():
        assert colour not in dark
        assert (colour in light) == (other in dark)
    hide = re.compile("|".join([*figures.ON_DARK, *figures.ON_DARK.values()]))
    assert hide.sub("", light) == hide.sub("", dark)


def test_the_light_and_the_dark_colours_do_not_meet():
    """A colour that stood for two things on one side would be confused on the other."""
    assert not set(figures.ON_DARK) & set(figures.ON_DARK.values())
    assert len(set(figures.ON_DARK.values())) == len(figures.ON_DARK)


def test_the_same_figure_is_the_same_text_and_another_is_not(shown):
    draw()
    draw()
    draw(seed=1)
    assert shown[0] == shown[1] != shown[2]


def test_no_id_of_a_drawing_reaches_the_page(shown):
    draw()
    assert " id=" in drawings(shown[0])[0], "the drawing itself has ids"
    assert not BeautifulSoup(shown[0], "html.parser").find_all(id=True)


def test_nothing_is_fetched_from_elsewhere(shown):
    draw()
    for svg in drawings(shown[0]):
        targets = re.findall(r'(?:href|src)="([^"]*)"', svg) + re.findall(r"url\(([^)]*)\)", svg)
        assert all(target.startswith(("#", "data:")) for target in targets), targets


def test_a_figure_is_shown_once(shown):
    draw()
    assert not plt.get_fignums()


@pytest.mark.parametrize("kind", ["A", "W"])
def test_numbers_in_cells_can_be_read_on_their_colour(kind):
    """Contrast of at least 4.5 to 1, as WCAG asks of text."""

    def luminance(colour):
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour[:3]]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    _, axes = figures.subplots()
    values = np.linspace(0 if kind == "A" else -1, 1, 41)
    figures.matrix(axes, values[None], kind, numbers=True)
    image = axes.images[0]
    for value, text in zip(values, axes.texts, strict=True):
        assert float(text.get_text()) == pytest.approx(value, abs=0.0051)
        shades = (luminance(image.cmap(image.norm(value))), luminance(to_rgb(text.get_color())))
        assert (max(shades) + 0.05) / (min(shades) + 0.05) >= 4.5, f"{text.get_text()} in {text.get_color()}"
    plt.close("all")


def test_a_network_draws_lines_as_wide_as_weights_and_dashes_the_negative():
    _, axes = figures.subplots()
    figures.network(axes, [[1.0, -0.5], [0.0, 0.25]], "W", inputs="ab", outputs="xy")
    lines = {
        tuple(-line.get_ydata()): line
        for line in axes.lines
        if line.get_linewidth() != 0 and line.get_marker() == "None"
    }
    widths = {places: line.get_linewidth() for places, line in lines.items()}
    assert widths[(1, 0)] == widths[(0, 0)] / 2 and widths[(1, 1)] == widths[(0, 0)] / 4
    assert (0, 1) not in lines
    assert lines[(1, 0)].get_linestyle() == "--" and lines[(0, 0)].get_linestyle() == "-"
    assert [text.get_text() for text in axes.texts] == ["a", "b", "x", "y"]
    plt.close("all")


@pytest.mark.parametrize(
    "call, name",
    [
        (lambda axes: figures.matrix(axes, torch.eye(2), "B"), "kind"),
        (lambda axes: figures.matrix(axes, torch.ones(2), "A"), "M"),
        (lambda axes: figures.matrix(axes, torch.ones(1, 2, 2), "W"), "M"),
        (lambda axes: figures.network(axes, torch.eye(2), "V", "ab"), "kind"),
        (lambda axes: figures.network(axes, torch.eye(2), "A", "abc"), "M"),
        (lambda axes: figures.network(axes, torch.ones(2, 3), "A", inputs="ab", outputs="abc"), "M"),
    ],
)
def test_what_cannot_be_drawn_is_refused(call, name):
    _, axes = figures.subplots()
    with pytest.raises(ValueError, match=f"^{name}: got .*expected"):
        call(axes)
    plt.close("all")


def test_learned_tensors_can_be_drawn():
    _, axes = figures.subplots()
    figures.matrix(axes, torch.nn.Parameter(torch.eye(3)), "W")
    plt.close("all")


def test_the_ledger_is_a_table_with_heads_and_escaped_names(shown):
    figures.ledger({"W_Q <query>": 1234567}, {"A": 25})
    table = BeautifulSoup(shown[0], "html.parser").table
    assert [th["scope"] for th in table.thead.find_all("th")] == ["col"] * 3
    rows = [[td.get_text() for td in tr.find_all("td")] for tr in table.tbody.find_all("tr")]
    assert rows == [
        ["learned W", "W_Q <query>", "1,234,567 stored once"],
        ["computed A", "A", "25 for each input"],
    ]


def test_a_table_has_names_and_digits(monkeypatch):
    shown = []
    monkeypatch.setattr(figures, "display", lambda data, raw: shown.append(data))
    figures.table([[0.5, -0.001], [2, 1e3]], ["a", "<b>"], ["x", "y"], corner="reads from →")
    figures.table(np.eye(2), "ab", "xy", decimals=0)
    html = shown[0]["text/html"]
    assert re.findall(r"<td>(.*?)</td>", html) == ["0.50", "0.00", "2.00", "1000.00"]
    assert re.findall(r'<th scope="row">(.*?)</th>', html) == ["a", "&lt;b&gt;"]
    assert '<th scope="col">reads from →</th>' in html
    assert shown[0]["text/plain"].splitlines() == [" x y", "a 0.50 0.00", "<b> 2.00 1000.00"]
    # Without a corner there is no header cell that says nothing.
    assert "<td></td>" in shown[1]["text/html"] and shown[1]["text/plain"].splitlines()[1] == "a 1 0"
