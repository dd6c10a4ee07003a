"""Formulas as MathML, set when the site is built: readers need neither a script nor wait for one."""

from docutils import nodes
from math_core import LatexToMathML

CONVERTER = LatexToMathML(fancy_error=False)


def mathml(tex: str, block: bool) -> str:
    """A formula as MathML Core, which browsers set themselves."""
    return CONVERTER.convert_with_local_state(tex, displaystyle=block)


def inline(page, node):
    page.body.append(page.starttag(node, "span", "", CLASS="math") + mathml(node.astext(), False) + "</span>")
    raise nodes.SkipNode


def block(page, node):
    page.body.append(page.starttag(node, "div", "", CLASS="math") + mathml(node.astext(), True) + "</div>\n")
    raise nodes.SkipNode


def setup(app):
    app.add_html_math_renderer("mathml", inline_renderers=(inline, None), block_renderers=(block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
