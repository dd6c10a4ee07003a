"""The questions of course/items as a question bank for Moodle."""

from html import escape
from xml.etree import ElementTree as tree

from markdown_it import MarkdownIt
from mdit_py_plugins.dollarmath import dollarmath_plugin


def formula(content: str, options: dict) -> str:
    """As Moodle's own filters for formulas take it."""
    return (r"\[{}\]" if options["display_mode"] else r"\({}\)").format(escape(content))


MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable("table")
MARKDOWN.use(dollarmath_plugin, double_inline=True, renderer=formula)


def add(parent, name: str, text: str | None = None, **attributes):
    """A new element; its text, if it has one, in an element of its own, as Moodle wants it."""
    element = tree.SubElement(parent, name, attributes)
    if text is not None:
        tree.SubElement(element, "text").text = text
    return element


def category(item: dict) -> str:
    part = item["id"].partition("-")[0]
    return f"Chapter {int(part)}" if part.isdecimal() else f"Test, form {part}"


def quiz(items: list[dict]) -> str:
    """Moodle XML: each question in the category of its chapter or form, tagged by concept and level."""

    def html(markdown: str) -> str:
        return MARKDOWN.render(markdown).strip()

    root = tree.Element("quiz")
    for name in dict.fromkeys(map(category, items)):
        add(add(root, "question", type="category"), "category", f"$course$/top/Attention/{name}")
        for item in (item for item in items if category(item) == name):
            question = add(root, "question", type="multichoice")
            add(question, "name", item["id"])
            add(question, "questiontext", html(item["question"]), format="html")
            for setting, value in (
                ("defaultgrade", "1"),
                ("single", "true"),
                ("shuffleanswers", "true"),
                ("answernumbering", "abc"),
            ):
                add(question, setting).text = value
            for choice in item["choices"]:
                fraction = "100" if choice.get("right") else "0"
                answer = add(question, "answer", html(choice["text"]), fraction=fraction, format="html")
                add(answer, "feedback", html(choice["feedback"]), format="html")
            tags = add(question, "tags")
            for tag in (item["concept"], item["level"]):
                add(tags, "tag", tag)
    tree.indent(root)
    return tree.tostring(root, encoding="unicode", xml_declaration=True)
