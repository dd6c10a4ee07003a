"""Pages that come quickly over a slow line, as a Sphinx extension: what a page needs not at first, it asks for later,
and what it never needs is left out."""

import hashlib
import html
import os
import re
import struct
from base64 import b64decode
from pathlib import Path
from urllib.parse import unquote_to_bytes

import tinycss2
from fontTools import subset
from fontTools.ttLib import TTFont

SHEETS = re.compile(r'\s*<link\b(?=[^>]*\brel="stylesheet")[^>]*\bhref="([^"?]*)[^"]*"[^>]*>')
PICTURE = re.compile(r'<(img|source)\b([^>]*?) (src|srcset)="data:image/(svg\+xml|png)(;base64)?,([^"]*)"')
SCRIPT = re.compile(r'<script\b[^>]*\bsrc="([^"?]*)')
NAMES = re.compile(r'\b(?:class|id)="([^"]*)"')
OPTIONS = re.compile(r'<script src="[^"]*documentation_options\.js[^"]*"></script>')
PRELOAD = re.compile(r'\s*<link rel="preload" as="script"[^>]*>')
AWESOME = re.compile(r"url\(([^()]*fa-[\w-]*)\.woff2\)[^,;}]*,\s*url\([^()]*\.ttf\)[^;}]*")
WORD = re.compile(r"-?[A-Za-z_][\w-]*")


# ------------------------------------------------------------------------------------------ pictures


def size(picture: bytes, kind: str) -> tuple[int, int]:
    """Width and height of a picture in CSS pixels."""
    if kind == "png":
        return struct.unpack(">II", picture[16:24])
    points = re.search(rb'<svg[^>]* width="([\d.]+)pt" height="([\d.]+)pt"', picture).groups()
    return tuple(round(float(number) * 4 / 3) for number in points)


def move_pictures(text: str, folder: Path, way: str) -> str:
    """Write the pictures within a page into files below ``folder``, to which ``way`` leads; each is loaded when the
    reader comes near it, and of its drawings, light and dark, wide and for a phone, only the one that is shown."""

    def move(match):
        tag, attributes, source, kind, base64, data = match.groups()
        data = html.unescape(data)
        picture = b64decode(data) if base64 else unquote_to_bytes(data)
        name = f"{hashlib.sha256(picture).hexdigest()[:12]}.{kind.removesuffix('+xml')}"
        folder.mkdir(exist_ok=True)
        (folder / name).write_bytes(picture)
        if " width=" not in attributes:  # the book's own drawings have it from where they were drawn
            attributes += ' width="{}" height="{}"'.format(*size(picture, kind))
        lazy = ' loading="lazy"' if tag == "img" and "loading=" not in attributes else ""
        return f'<{tag}{attributes}{lazy} {source}="{way}/{name}"'

    return PICTURE.sub(move, text)


# ------------------------------------------------------------------------------------------ style sheets


def read(sheet: Path, folder: Path) -> str:
    """A style sheet with those that it imports, its addresses written as seen from ``folder``."""

    def import_(match):
        return read((sheet.parent / match[1]).resolve(), folder)

    def address(match):
        return f"url({match[1]}{Path(os.path.relpath(sheet.parent / match[2], folder)).as_posix()}"

    text = re.sub(r'url\((["\']?)(?!data:|[#/]|\w+:)([^)"\']+)', address, sheet.read_text(encoding="utf-8"))
    return re.sub(r'@import "([^"]+)";', import_, text)


def names(selector: list) -> set[str]:
    """The classes and ids that a page must have for a selector to match; those within ``:not()`` and the like aside."""
    classes = {
        token.value
        for dot, token in zip(selector, selector[1:])
        if dot.type == "literal" and dot.value == "." and token.type == "ident"
    }
    return classes | {token.value for token in selector if token.type == "hash"}


def selectors(prelude: list) -> list[list]:
    """The selectors between a rule's commas."""
    found = [[]]
    for token in prelude:
        if token.type == "literal" and token.value == ",":
            found.append([])
        else:
            found[-1].append(token)
    return found


def prune(rules: list, known: set[str]) -> str:
    """The rules that match something where only ``known`` classes and ids are."""
    kept = []
    for rule in rules:
        if rule.type == "qualified-rule":
            prelude = [one for one in selectors(rule.prelude) if names(one) <= known]
            if prelude:
                heads = ",".join(tinycss2.serialize(one).strip() for one in prelude)
                kept.append(f"{heads}{{{tinycss2.serialize(rule.content).strip()}}}")
        elif rule.type == "at-rule" and rule.lower_at_keyword in ("media", "supports"):
            within = tinycss2.parse_rule_list(rule.content, skip_comments=True, skip_whitespace=True)
            if text := prune(within, known):
                kept.append(f"@{rule.at_keyword}{tinycss2.serialize(rule.prelude)}{{{text}}}")
        elif rule.type == "at-rule":
            kept.append(rule.serialize())
        elif rule.type == "error":
            raise ValueError(f"style sheet: {rule.message}, line {rule.source_line}")
    return "\n".join(kept)


def draw_icons(style: str, folder: Path) -> str:
    """Put in place of the icons' fonts new ones, which have the icons that the style sheet names, and no others."""
    icons = {ord(sign) for sign in re.findall("[\ue000-\uf8ff]", style)}  # signs for private use

    def draw(match):
        font = TTFont(folder / f"{match[1]}.ttf")
        cut = subset.Subsetter(subset.Options(layout_features=[], notdef_outline=True))
        cut.populate(unicodes=icons)
        cut.subset(font)
        font.flavor = "woff"
        font.save(folder / f"{match[1]}.woff")
        return f'url({match[1]}.woff) format("woff")'

    return AWESOME.sub(draw, style)


def one_style_sheet(pages: dict[Path, str], place, static: Path) -> Path:
    """All style sheets as one, without the rules for what no page has and no script makes."""
    folder, sheets, scripts, known = static / "styles", {}, {}, set()
    for page, text in pages.items():
        sheets |= dict.fromkeys(place(page, name) for name in SHEETS.findall(text))
        scripts |= dict.fromkeys(place(page, name) for name in SCRIPT.findall(text))
        known |= {word for names in NAMES.findall(text) for word in names.split()}
    for script in scripts:
        if script.name != "searchindex.js":  # the words of the book
            known |= set(WORD.findall(script.read_text(encoding="utf-8")))
    text = "\n".join(read(sheet, folder) for sheet in sheets)
    rules = tinycss2.parse_stylesheet(text, skip_comments=True, skip_whitespace=True)
    style = draw_icons(prune(rules, known), folder)
    sheet = folder / f"site-{hashlib.sha256(style.encode()).hexdigest()[:12]}.css"
    sheet.write_text(f'@charset "utf-8";\n{style}', encoding="utf-8")
    return sheet


# ------------------------------------------------------------------------------------------ pages


def wait(text: str, options: str) -> str:
    """Let the scripts of the head wait until the page is read; the few lines that others need stand in the page."""
    text = OPTIONS.sub(lambda _: f"<script>{options}</script>", PRELOAD.sub("", text))
    head, end, body = text.partition("</head>")
    return head.replace("<script src=", "<script defer src=") + end + body


def lighten(app, exception):
    if exception is not None or app.builder.name != "html":
        return
    root = Path(app.outdir).resolve()
    static, prefix = root / "_static", app.config.notfound_urls_prefix

    def place(page: Path, address: str) -> Path:
        return root / address.removeprefix(prefix) if address[0] == "/" else (page.parent / address).resolve()

    def way(page: Path, file: Path) -> str:
        if page.name == "404.html":  # which is shown at any depth
            return prefix + file.relative_to(root).as_posix()
        return Path(os.path.relpath(file, page.parent)).as_posix()

    found = [page for page in sorted(root.rglob("*.html")) if static not in page.parents]
    pages = {page: page.read_text(encoding="utf-8") for page in found}
    sheet = one_style_sheet(pages, place, static)
    options = (static / "documentation_options.js").read_text(encoding="utf-8")
    for page, text in pages.items():
        link = f'</title>\n    <link rel="stylesheet" href="{way(page, sheet)}">'
        text = wait(SHEETS.sub("", text).replace("</title>", link, 1), options)
        page.write_text(
            move_pictures(text, static / "figures", way(page, static / "figures")), encoding="utf-8"
        )


def setup(app):
    app.connect("build-finished", lighten, priority=900)  # when all others are done with the pages
    return {"parallel_read_safe": True, "parallel_write_safe": True}
