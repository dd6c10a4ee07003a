"""Live figures: the reader's hand on one quantity, in the built book, in JupyterLab and in Colab, without a kernel.

Each is one custom element, ``<dynattn-live>``, drawn by ``live.js`` beside this file, which depends on nothing and
loads nothing. Readers without scripts, PDF and previews get a still picture and a table of numbers instead.
"""

import base64
import html
import io
import json
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from dynattn._checks import all_finite, require_choice, require_kind, require_tensor, shape_of

SCRIPT = (Path(__file__).parent / "live.js").read_text(encoding="utf-8")
KINDS = (
    "lookup",
    "pairs",
    "networks",
    "arrows",
    "drag",
    "transplant",
    "training",
    "heads",
    "orders",
    "sign",
    "bank",
    "dial",
    "reader",
    "gpt",
    "switch",
)


class Live:
    """A live figure, shown by being the last value of a cell or by ``display``.

    Args:
        kind: which figure; an entry of ``kinds`` in live.js.
        data: what that figure needs, as lists, numbers and strings.
        caption: what the figure is about and what to try, one or two sentences.
        alt: what the still picture shows, with its numbers.
        still: a matplotlib figure, the picture for readers without scripts; it is closed.
        table: (column heads, rows) of the numbers in the still picture.
        payload: bytes that the figure computes with, such as a model's parameters. A notebook's output holds them;
            the built book keeps them in a file that is loaded when the reader asks for it.

    Raises:
        TypeError: an argument of another kind, or one in data that JSON does not know.
        ValueError: an unknown kind, an empty caption or alternative text, a number in data that is not finite, or a
            payload that is missing, or given to a kind that has no use for it.
    """

    def __init__(
        self,
        kind: str,
        data: dict,
        *,
        caption: str,
        alt: str,
        still,
        table: tuple[list, list],
        payload: bytes | None = None,
    ):
        require_choice("kind", kind, KINDS)
        require_kind("data", data, dict, "a dict")
        require_kind("caption", caption, str, "a str")
        require_kind("alt", alt, str, "a str")
        require_kind("still", still, Figure, "a matplotlib figure")
        require_kind("payload", payload, (bytes, type(None)), "bytes or None")
        _require_table(table)
        if not caption.strip() or not alt.strip():
            raise ValueError("caption, alt: got an empty text, expected a caption and what the picture shows")
        if (kind == "gpt") != bool(payload):
            raise ValueError(
                f"payload: got {payload and 'one'}, expected bytes for 'gpt' and None for other kinds"
            )
        try:
            self.data = json.dumps(data, allow_nan=False, separators=(",", ":"), ensure_ascii=False)
        except ValueError:
            raise ValueError("data: got a number that is not finite, expected finite numbers") from None
        except (TypeError, RecursionError) as error:
            raise TypeError(
                f"data: got something that JSON does not know ({error}), expected lists, numbers, strings"
            ) from None
        self.payload = payload and base64.b64encode(payload).decode()
        self.kind, self.caption, self.alt, self.table = kind, caption, alt, table
        picture, self.drawing = io.BytesIO(), io.StringIO()
        still.savefig(picture, format="png", dpi=80, metadata={"Software": None})
        still.savefig(self.drawing, format="svg", metadata={"Date": None, "Creator": None})
        plt.close(still)
        self.picture = base64.b64encode(picture.getvalue()).decode()

    def __repr__(self) -> str:
        return f"[Live figure: {self.alt}] {self.caption}"

    def element(self) -> str:
        """The figure as HTML, without the script that brings it to life."""
        columns, rows = self.table

        def row(cells, tag):
            return "<tr>" + "".join(f"<{tag}>{html.escape(str(cell))}</{tag}>" for cell in cells) + "</tr>"

        table = (
            f'<table class="dataframe"><thead>{row(columns, "th")}</thead>'
            f"<tbody>{''.join(row(cells, 'td') for cells in rows)}</tbody></table>"
        )
        still = f'<img style="max-width:100%" alt="{html.escape(self.alt)}" src="data:image/png;base64,{self.picture}">'
        payload = f' payload="{self.payload}"' if self.payload else ""
        return (
            f'<figure class="dynattn-live" style="margin:1em 0"><dynattn-live data-lm-suppress-shortcuts="true" '
            f'kind="{self.kind}"{payload} data="{html.escape(self.data)}">{still}{table}</dynattn-live>'
            f"<figcaption>{html.escape(self.caption)}</figcaption></figure>"
        )

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict:
        # Colab shows each output in a frame of its own, so each brings the script; the built book loads it once.
        return {
            "text/html": self.element() + f'<script class="dynattn-live">{SCRIPT}</script>',
            "image/png": self.picture,
            "image/svg+xml": self.drawing.getvalue(),  # for slides and the figure pack, at any size
            "text/plain": repr(self),
        }


def rounded(matrices: dict) -> dict[str, list[list[float]]]:
    """Learned matrices, tensors by name, as lists of rows to three decimals: what a figure's file holds of them.

    Raises:
        TypeError, ValueError: matrices is not a dict of tensors with two dimensions and finite numbers.
    """
    require_kind("matrices", matrices, dict, "a dict of tensors")
    for name, W in matrices.items():
        require_tensor("matrices", W)
        if W.dim() != 2 or not all_finite(W):
            raise ValueError(
                f"matrices: got {name} of shape {shape_of(W)}, expected a matrix of finite numbers"
            )
    return {name: [[round(x, 3) for x in row] for row in W.tolist()] for name, W in matrices.items()}


def _require_table(table):
    if not isinstance(table, (tuple, list)) or len(table) != 2:
        raise TypeError(f"table: got {type(table).__name__}, expected (column heads, rows)")
    columns, rows = table
    for cells in (columns, rows, *rows) if isinstance(rows, (tuple, list)) else (columns, rows):
        require_kind("table", cells, (tuple, list), "(column heads, rows), each a list")
    if wrong := [row for row in rows if len(row) != len(columns)]:
        raise ValueError(
            f"table: got a row of {len(wrong[0])} cells, expected {len(columns)}, as column heads"
        )
