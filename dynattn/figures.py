"""The book's figures: one style, one colour for learned W (blue) and one for computed A (vermillion).

Every figure is shown by :func:`show`, with a caption and an alternative text that states what is seen.
"""

import html
import io
import math
import re
import textwrap
import urllib.parse

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from IPython.display import HTML, display
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, Normalize, TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import ScalarFormatter

from dynattn._checks import (
    require_bool,
    require_choice,
    require_int,
    require_kind,
    require_number,
    require_sizes,
)

INK = "#1b1f24"
PAPER = "#ffffff"
LEARNED = "#0072b2"  # W, from the colour-blind safe palette of Okabe and Ito, as are the others
COMPUTED = "#d55e00"  # A
THIRD, FOURTH, FIFTH = "#009e73", "#8f5a83", "#7a7a7a"
SERIES = (LEARNED, COMPUTED, THIRD, FOURTH, FIFTH)
MARKERS = ("o", "s", "^", "D", "v")
# The same figure on a dark page: only these colours change.
ON_DARK = {
    INK: "#e8eaed",
    PAPER: "#121212",
    LEARNED: "#56b4e9",
    COMPUTED: "#f08a3c",
    FOURTH: "#cc79a7",
    FIFTH: "#a8a8a8",
}

# A phone of 390 pixels leaves a figure 358 of them. Where a text would be smaller than 9 there, the figure is drawn twice.
PHONE = 358 / 96  # inches
PHONE_MEDIA = "(max-width: 640px)"
SMALLEST = 9 * 72 / 96  # points

_MAPS = {
    "A": LinearSegmentedColormap.from_list("computed", ["#ffffff", "#f3b48a", COMPUTED, "#6b2f00"]),
    "W": LinearSegmentedColormap.from_list(
        "learned", ["#7a4a00", "#d9b777", "#ffffff", "#7db8dc", "#003d66"]
    ),
}
_COLOURS = {"A": COMPUTED, "W": LEARNED}
_STYLE = {
    "figure.dpi": 100,
    "font.size": 10.5,
    "font.family": "DejaVu Sans",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": matplotlib.cycler(color=SERIES),
    "axes.titlesize": 11,
    "lines.linewidth": 1.8,
    "legend.frameon": False,
    "svg.fonttype": "path",
    "svg.hashsalt": "dynattn",
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK),
    **dict.fromkeys(("figure.facecolor", "axes.facecolor", "savefig.facecolor"), PAPER),
}


def subplots(columns: int = 1, width: float = 7.0, height: float = 3.2, rows: int = 1, **options):
    """A figure and its axes; like ``plt.subplots(rows, columns)``, sizes in inches. Switches the book's style on.

    Raises:
        TypeError, ValueError: columns or rows is not an int of at least 1, width or height not a number above 0 (and at
            most 100).
    """
    require_sizes(columns=columns, rows=rows)
    require_number("width", width, above=0, at_most=100)
    require_number("height", height, above=0, at_most=100)
    plt.rcParams.update(_STYLE)
    return plt.subplots(rows, columns, figsize=(width, height), layout="constrained", **options)


def show(figure, *, caption: str, alt: str) -> None:
    """Show a figure once, with its caption and its alternative text, readable on a light and on a dark page.

    Arguments and errors as in :func:`element`.
    """
    text = element(figure, caption=caption, alt=alt)
    display({"text/html": text, "text/plain": f"[Figure: {alt}] {caption}"}, raw=True)


def element(figure, *, caption: str, alt: str) -> str:
    """A figure as HTML: its drawing for a light page and that for a dark one, and its caption.

    Args:
        figure: a matplotlib figure, drawn in the book's style; it is closed.
        caption: what the figure is about, one or two sentences.
        alt: what is to be seen in it, with the measured numbers, for readers who cannot see it.

    Raises:
        TypeError: figure is not a matplotlib figure, or a text not a str.
        ValueError: the caption or the alternative text is empty.
    """
    require_kind("figure", figure, Figure, "a matplotlib figure")
    require_kind("caption", caption, str, "a str")
    require_kind("alt", alt, str, "a str")
    if not caption.strip() or not alt.strip():
        raise ValueError("caption, alt: got an empty text, expected a caption and what is seen in the figure")
    wide = _drawing(figure)
    narrow = "" if _readable(figure) else _drawing(_stacked(figure))
    plt.close(figure)
    pictures = ""
    for mode, drawn, style in (("light", str, ""), ("dark", _dark, ";display:none")):
        loading = (
            ' loading="lazy"' if mode == "dark" else ""
        )  # not the light one, which is also that on paper
        rest = f'class="dynattn-{mode}"{loading} style="max-width:100%;height:auto{style}" alt="{html.escape(alt)}"'
        source = narrow and _image(f'source media="{PHONE_MEDIA}"', "srcset", drawn(narrow))
        pictures += f"<picture>{source}{_image(f'img {rest}', 'src', drawn(wide))}</picture>"
    return f'<figure class="dynattn-figure" style="margin:1em 0">{pictures}<figcaption>{html.escape(caption)}</figcaption></figure>'


def _drawing(figure) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def _dark(svg: str) -> str:
    return re.sub("|".join(ON_DARK), lambda found: ON_DARK[found[0]], svg)


def _image(tag: str, source: str, svg: str) -> str:
    """A tag with the drawing in it; the width and height hold its place free while it loads."""
    width, height = (
        round(float(points) * 4 / 3)
        for points in re.search(r'<svg[^>]* width="([\d.]+)pt" height="([\d.]+)pt"', svg).groups()
    )
    url = urllib.parse.quote(svg, safe="=:/,;()!*'@$+?-_.~{}[]|^")
    return f'<{tag} width="{width}" height="{height}" {source}="data:image/svg+xml,{url}">'


# ------------------------------------------------------------------------------- the same figure on a phone


def _readable(figure) -> bool:
    """Whether the smallest text is large enough where the whole figure is as wide as a phone, or no panels can be moved."""
    if not any(axes.get_subplotspec() for axes in figure.axes):
        return True
    sizes = [text.get_fontsize() for text in figure.findobj(Text) if text.get_text() and text.get_visible()]
    return min(sizes, default=99) * min(1, PHONE / figure.get_figwidth()) >= SMALLEST


def _stacked(figure):
    """The figure drawn anew for a phone: panels below each other, legends above them, long labels broken."""
    figure.draw_without_rendering()
    panels = {}  # the axes of each place, in reading order
    for axes in figure.axes:
        if spec := axes.get_subplotspec():
            panels.setdefault((spec.rowspan.start, spec.colspan.start), []).append(axes)
    panels = [panels[place] for place in sorted(panels)]
    before = {axes: axes.get_window_extent().size / figure.dpi for axes in figure.axes}
    across = max(axes.get_gridspec().ncols for (axes, *_) in panels)
    columns = min(len(panels), max(1, int(PHONE / (0.85 * figure.get_figwidth() / across))))
    rows = math.ceil(len(panels) / columns)
    enough = 2 + rows * max(before[axes][1] + 1 for (axes, *_) in panels)  # to measure in
    figure.set_size_inches(PHONE, enough)
    grid = figure.add_gridspec(rows, columns)
    for place, panel in enumerate(panels):
        row, column = divmod(place, columns)
        last = place == len(panels) - 1
        for axes in panel:
            axes.set_subplotspec(grid[row, column:] if last else grid[row, column])
            _own_labels(axes, panels[0][0], column == 0)
    _legend_above(figure)
    for text in figure.findobj(Text):
        text.set_fontsize(max(text.get_fontsize(), SMALLEST))
    room = PHONE / columns * figure.dpi
    for axes in figure.axes:
        _break(axes.yaxis.label, before[axes][1] * figure.dpi)
        _break_names(axes, 0.4 * room)
    figure.draw_without_rendering()
    for axes in figure.axes:
        middle = axes.get_window_extent().x0 + axes.get_window_extent().width / 2
        edge = (middle // room + 1) * room
        for text in (axes.title, axes.xaxis.label):
            _break(text, 2 * min(edge - middle, middle + room - edge) - 5)
        _part_ticks(axes)
    if figure._suptitle:
        _break(figure._suptitle, PHONE * figure.dpi)
    figure.draw_without_rendering()
    heights = [
        max(_height(axes, PHONE / columns, *before[axes]) for axes, *_ in panels[start : start + columns])
        for start in range(0, len(panels), columns)
    ]
    grid.set_height_ratios(heights)
    above = [*figure.legends, *filter(None, [figure._suptitle])]
    figure.set_figheight(
        sum(heights) + sum(one.get_window_extent().height / figure.dpi + 0.1 for one in above)
    )
    return figure


def _height(axes, room, old_width, old_height):
    """Of a panel with all its labels: as high as it was, or, if of equal aspect, as its width allows."""
    labels = (axes.get_tightbbox().size - axes.get_window_extent().size) / axes.figure.dpi
    lines = [1 + name.get_text().count("\n") for name in axes.get_yticklabels()]
    least = 0.17 * len(lines) * max(lines, default=0)
    free = axes.get_aspect() == "auto"
    wanted = old_height if free else old_height * min((room - labels[0] - 0.1) / old_width, 1.3)
    if not free and wanted < least:
        axes.set_aspect("auto")
    return max(wanted, least) + labels[1] + 0.1


def _own_labels(axes, first, at_left):
    """A panel that had left its numbers and its label to the one beside it gets them."""
    if at_left and axes is not first and first in axes.get_shared_y_axes().get_siblings(axes):
        axes.tick_params(labelleft=True)
        axes.set_ylabel(axes.get_ylabel() or first.get_ylabel())
    if axes is not first and axes.get_shared_x_axes().get_siblings(axes)[1:]:
        axes.tick_params(labelbottom=True)


def _legend_above(figure):
    """One legend above all panels, in as many columns as have room, in place of one inside or beside them."""
    legends = [*figure.legends, *filter(None, (axes.get_legend() for axes in figure.axes))]
    if len(legends) != 1 or not (labels := legends[0].get_texts()):
        return
    (old,) = legends
    drawn = {name: handle for axes in figure.axes for handle, name in zip(*axes.get_legend_handles_labels())}
    handles = [drawn.get(label.get_text(), handle) for label, handle in zip(labels, old.legend_handles)]
    for label in labels:
        _break(label, (PHONE - 0.7) * figure.dpi)
    widest = max(label.get_window_extent().width for label in labels) / figure.dpi + 0.7
    figure.legend(
        handles, [label.get_text() for label in labels], title=old.get_title().get_text() or None,
        loc="outside upper left", ncols=max(1, int(PHONE / widest)), alignment="left",
        fontsize=labels[0].get_fontsize(),
    )  # fmt: skip
    old.remove()


def _break(text, room):
    """Break a text into lines that are not longer than the room in pixels, if its words allow it."""

    def length():
        extent = text.get_window_extent()
        return extent.height if text.get_rotation() == 90 else extent.width

    long, lines = length(), text.get_text().split("\n")
    if long > max(room, 0):
        for letters in range(max(int(max(map(len, lines)) * room / long), 8), 7, -1):
            text.set_text("\n".join(textwrap.fill(line, letters, break_long_words=False) for line in lines))
            if length() <= room:
                break


def _break_names(axes, room):
    """Break the names at the left of an axis that are longer than the room."""
    names = [name for name in axes.get_yticklabels() if name.get_text()]
    if any(name.get_window_extent().width > room for name in names):
        for name in names:
            _break(name, room)
        axes.set_yticks(axes.get_yticks()[: len(names)], [name.get_text() for name in names])


def _part_ticks(axes):
    """Labels below an axis that run into each other are slanted, or fewer."""
    labels = [label for label in axes.get_xticklabels() if label.get_text() and label.get_visible()]
    boxes = sorted((label.get_window_extent() for label in labels), key=lambda box: box.x0)
    if any(left.x1 + 3 > right.x0 for left, right in zip(boxes, boxes[1:])) and not labels[0].get_rotation():
        if isinstance(axes.xaxis.get_major_formatter(), ScalarFormatter):
            axes.locator_params("x", nbins=4)
        else:
            axes.tick_params("x", rotation=45)


def matrix(
    axes, M, kind: str, rows=None, columns=None, title: str = "", numbers: bool | None = None, limit=None
) -> None:
    """Draw a weight matrix as a heat map: computed A from white to vermillion, learned W from brown over white to blue.

    Args:
        axes: where to draw.
        M: the matrix (n_out, n_in), array or tensor.
        kind: "A" or "W".
        rows, columns: labels of outputs (rows) and inputs (columns), such as the tokens.
        title: title of the panel.
        numbers: write the value into each cell; if None, where there are at most 8 x 8 cells.
        limit: the value of the darkest colour; 1 for A and the largest absolute value for W if None.

    Raises:
        TypeError: an argument of another kind.
        ValueError: kind is neither "A" nor "W", M is not a matrix of finite numbers, the labels don't fit it, or limit is
            not above 0.
    """
    require_kind("axes", axes, Axes, "the axes of a matplotlib figure")
    M = _array(M, kind)
    for name, labels, count in (("rows", rows, M.shape[0]), ("columns", columns, M.shape[1])):
        if labels is not None:
            _require_labels(name, labels, count)
    require_kind("title", title, str, "a str")
    if numbers is not None:
        require_bool("numbers", numbers)
    limit = _limit(limit, M, kind)
    norm = Normalize(0, limit) if kind == "A" else TwoSlopeNorm(0, -limit, limit)
    axes.imshow(M, cmap=_MAPS[kind], norm=norm, aspect="equal", interpolation="nearest")
    axes.set_title(title)
    words = columns is not None and max(len(str(label)) for label in columns) > 3
    axes.set_xticks(range(M.shape[1]) if columns is not None else [], columns)
    axes.tick_params("x", rotation=45 if words else 0)
    axes.set_yticks(range(M.shape[0]) if rows is not None else [], rows)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(True)
        spine.set_linewidth(0.8)
    if numbers if numbers is not None else max(M.shape) <= 8:
        for i, j in np.ndindex(M.shape):
            linear = [((c + 0.055) / 1.055) ** 2.4 for c in _MAPS[kind](norm(M[i, j]))[:3]]
            light = np.dot([0.2126, 0.7152, 0.0722], linear) > 0.178  # where black and white contrast alike
            text = f"{np.round(M[i, j], 2) + 0:.2f}"
            colour = "#000000" if light else "#fefefe"
            axes.text(j, i, text, ha="center", va="center", fontsize=8, color=colour)


def network(axes, M, kind: str, inputs, outputs=None, title: str = "", limit=None) -> None:
    """Draw a weight matrix as a network: inputs on the left, outputs on the right, lines as wide as the weights are large.

    A negative weight is a dashed line. Arguments as in :func:`matrix`; ``inputs`` and ``outputs`` are the tokens.

    Raises:
        TypeError: an argument of another kind.
        ValueError: kind is neither "A" nor "W", M is not a matrix of finite numbers, the tokens don't fit it, or limit is
            not above 0.
    """
    require_kind("axes", axes, Axes, "the axes of a matplotlib figure")
    M = _array(M, kind)
    _require_labels("inputs", inputs)
    outputs = inputs if outputs is None else outputs
    _require_labels("outputs", outputs)
    require_kind("title", title, str, "a str")
    if M.shape != (len(outputs), len(inputs)):
        raise ValueError(f"M: got shape {M.shape}, expected {(len(outputs), len(inputs))}: outputs by inputs")
    limit = _limit(limit, M, kind)
    for i, j in np.ndindex(M.shape):
        size = abs(M[i, j]) / limit
        if size > 0.02:
            line = "-" if M[i, j] > 0 else (0, (2.5, 1.5))
            axes.plot([0, 1], [-j, -i], color=_COLOURS[kind], linewidth=5 * size, alpha=0.25 + 0.7 * min(size, 1), linestyle=line,
                      solid_capstyle="round")  # fmt: skip
    for x, tokens in ((0, inputs), (1, outputs)):
        axes.plot([x] * len(tokens), -np.arange(len(tokens)), "o", color=INK, markersize=7)
        for i, token in enumerate(tokens):
            axes.text(x + (0.07 if x else -0.07), -i, token, ha="left" if x else "right", va="center")
    axes.set_title(title)
    axes.set_xlim(-0.55, 1.55)
    axes.set_ylim(-max(len(inputs), len(outputs)) + 0.5, 0.5)
    axes.axis("off")


def table(M, rows, columns, corner: str = "", decimals: int = 2) -> None:
    """Show a matrix of numbers as a table with the names of its rows and columns.

    Args:
        M: the matrix (rows, columns), array or tensor.
        rows, columns: their names, such as the tokens.
        corner: what stands above the names of the rows.
        decimals: how many digits after the point.

    Raises:
        TypeError: an argument of another kind.
        ValueError: M is not a matrix of finite numbers, or the names don't fit it; decimals is below 0 or above 9.
    """
    M = _array(M, "A")
    _require_labels("rows", rows, M.shape[0])
    _require_labels("columns", columns, M.shape[1])
    require_kind("corner", corner, str, "a str")
    require_int("decimals", decimals, at_least=0, at_most=9)
    first = f'<th scope="col">{html.escape(corner)}</th>' if corner else "<td></td>"
    cells = [[f"{np.round(x, decimals) + 0:.{decimals}f}" for x in row] for row in M]
    head = first + "".join(f'<th scope="col">{html.escape(str(name))}</th>' for name in columns)
    body = "".join(
        f'<tr><th scope="row">{html.escape(str(name))}</th>{"".join(f"<td>{cell}</td>" for cell in row)}</tr>'
        for name, row in zip(rows, cells)
    )
    plain = "\n".join(
        " ".join(map(str, row)) for row in [("", *columns), *((name, *row) for name, row in zip(rows, cells))]
    )
    text = f'<table class="dataframe dynattn-numbers"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    display({"text/html": text, "text/plain": plain}, raw=True)


def ledger(learned: dict[str, int], computed: dict[str, int]) -> None:
    """Show the ledger of a chapter: which numbers are learned parameters W, and which are computed weights A.

    Args:
        learned: name of a learned matrix -> how many numbers are stored, once, for all inputs.
        computed: name of a computed matrix -> how many numbers are computed anew for each input.

    Raises:
        TypeError, ValueError: learned or computed is not a dict from names to ints of at least 0.
    """
    for name, counts in (("learned", learned), ("computed", computed)):
        require_kind(name, counts, dict, "a dict: name -> how many numbers")
        for matrix_name, count in counts.items():
            require_kind(name, matrix_name, str, "names that are a str")
            require_int(name, count, at_least=0)
    rows = [("learned W", name, f"{count:,} stored once") for name, count in learned.items()]
    rows += [("computed A", name, f"{count:,} for each input") for name, count in computed.items()]
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    head = '<thead><tr><th scope="col">kind</th><th scope="col">matrix</th><th scope="col">how many numbers</th></tr></thead>'
    display(HTML(f'<table class="dataframe dynattn-ledger">{head}<tbody>{body}</tbody></table>'))


def _array(M, kind: str) -> np.ndarray:
    require_choice("kind", kind, _MAPS)  # computed, learned
    try:
        M = np.asarray(M.detach().double().cpu() if hasattr(M, "detach") else M, dtype=float)
    except (TypeError, ValueError):
        raise TypeError(f"M: got {type(M).__name__}, expected a matrix of numbers (n_out, n_in)") from None
    if M.ndim != 2 or M.size == 0:
        raise ValueError(f"M: got shape {M.shape}, expected a matrix (n_out, n_in)")
    if not np.abs(M).max() <= 1e100:  # or NaN
        raise ValueError(
            "M: got a number that is not finite, or beyond 1e100, expected numbers that can be drawn"
        )
    return M


def _limit(limit, M, kind):
    """The value of the darkest colour, or of the widest line."""
    if limit is None:
        return 1.0 if kind == "A" else max(np.abs(M).max(), 1e-9)
    require_number("limit", limit, above=0, at_most=1e100)
    return limit


def _require_labels(name, labels, count=None):
    try:
        found = len(labels)
    except TypeError:
        raise TypeError(f"{name}: got {type(labels).__name__}, expected a label for each token") from None
    if count is not None and found != count:
        raise ValueError(f"{name}: got {found} labels, expected {count}")
