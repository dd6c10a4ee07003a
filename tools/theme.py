"""Small mends of the book's theme, as a Sphinx extension."""

import gzip
import hashlib
import html
import itertools
import json
import math
import os
import re
from pathlib import Path

from dynattn import live
from dynattn.claims import show

# In a notebook each live figure brings the script, in the book a page loads it once.
LIVE_SCRIPT = re.compile(r'<script class="dynattn-live">.*?</script>', re.DOTALL)
# A claim's box, up to where its details end, and the line that an earlier build has added there.
CLAIM = re.compile(r'(<details\b[^>]*\bid="claim-(\d+)-(\d+)"[^>]*>.*?)(?=</div>\s*</details>)', re.DOTALL)
WORST = re.compile(r'<p class="dynattn-worst">.*?</p>')
# What a figure computes with has a file of its own, which a page asks for only when the reader does.
PAYLOAD = re.compile(r'(<dynattn-live [^>]*) payload="([A-Za-z0-9+/=]+)"')
TABLE = re.compile(r"<table\b.*?</table>", re.DOTALL)
CELL = re.compile(r"<t[hd]\b[^>]*>(.*?)</t[hd]>", re.DOTALL)
ROLES = {"table": "table", "thead": "rowgroup", "tbody": "rowgroup", "tr": "row", "td": "cell"}

MENDS = [
    # Without scripts nothing would choose the colours, and a page would have none.
    (re.compile(r'(<html\b[^>]*) data-theme="auto"'), r'\1 data-theme="light"'),
    # The label of folded code hides the text "Show code cell source" that the reader sees.
    (re.compile(r'<summary aria-label="Toggle hidden content">'), "<summary>"),
    # Half a megabyte of script that draws the icons, which the style sheet's own font has drawn already.
    (re.compile(r"<script[^>]*/fontawesome[^>]*\.js[^>]*></script>"), ""),
    (re.compile(r'<link rel="preload" as="font"[^>]*>'), ""),
    # The label "Search" hides the text "Search Ctrl+K" that the button shows.
    (
        re.compile(r'(<button class="[^"]*search-button-field[^"]*") title="Search" aria-label="Search"'),
        r"\1",
    ),
    # The arrow that shows the pages below one in the sidebar has no name.
    (
        re.compile(
            r'(<a class="[^"]*reference internal" href="[^"]*">([^<]*)</a><details[^>]*>)<summary>(?=<span class="toctree-toggle")'
        ),
        r'\1<summary aria-label="Pages below \2">',
    ),
    # The label "Code", which folded cells have if they say nothing else, would hide what a folded result is.
    (
        re.compile(
            r'(<details class="[^"]*(?:below-input|above-output)">\s*<summary>\s*<p class="collapsed[^>]*>)Code'
            r'(</p>\s*<p class="expanded[^>]*>)Code'
        ),
        r"\1See what happens\2What happens",
    ),
    # The role that Sphinx gives to a reference is deprecated, and not allowed here.
    (re.compile(r'role="doc-biblioentry"'), 'role="listitem"'),
]


def set_options(app, config):
    """No button leads to the repository while `make repo` has not set its address; Colab opens GitHub's only."""
    options = config.html_theme_options
    options["navbar_persistent"] = []  # no bar above the page for a third search button
    url = options["repository_url"]
    if not url.startswith("https://github.com/"):
        options.pop("launch_buttons", None)
    if ".invalid/" in url:
        for name in ("repository_url", "use_repository_button", "use_issues_button"):
            options.pop(name, None)


def move_payloads(text: str, static: Path, way: str) -> str:
    """Write each payload of a page into a script below ``static``, to which ``way`` leads from the page."""

    def move(match):
        name = f"dynattn-{hashlib.sha256(match[2].encode()).hexdigest()[:12]}.js"
        script = f'(globalThis.dynattnPayloads ??= {{}})["{name}"] = "{match[2]}";\n'.encode()
        (static / name).write_bytes(script)
        size = math.ceil(len(gzip.compress(script, mtime=0)) / 1e5) / 10
        return f'{match[1]} payload-file="{way}/{name}" payload-size="{size} MB"'

    return PAYLOAD.sub(move, text)


def label_cells(text: str) -> str:
    """Tables that are wider than a phone become cards there: each cell tells its column's head.

    A matrix of numbers stays one, and scrolls. The roles are those that a browser takes away from a table that is shown
    as blocks.
    """

    def label(match):
        table = match[0]
        rows = [
            [re.sub(r"<[^>]*>", "", cell).strip() for cell in CELL.findall(row)]
            for row in table.split("<tr")[1:]
        ]
        if "<thead" not in table or len(rows[0]) < 3 or "dynattn-numbers" in table or "book-cards" in table:
            return table
        longest = [max(map(len, column)) for column in zip(*rows)]
        if sum(7 * letters + 18 for letters in longest) <= 358:  # pixels, about
            return table
        head, end, body = table.partition("</thead>")
        names = itertools.cycle(html.escape(html.unescape(name)) for name in rows[0])
        body = re.sub(r"<t[hd]\b", lambda found: f'{found[0]} data-label="{next(names)}"', body)
        table = (
            re.sub(r"<th\b", '<th role="columnheader"', head)
            + end
            + re.sub(r"<th\b", '<th role="rowheader"', body)
        )
        table = re.sub(
            r"<(table|thead|tbody|tr|td)\b", lambda found: f'{found[0]} role="{ROLES[found[1]]}"', table
        )
        if not re.match(r'<table [^>]*class="', table):
            table = table.replace("<table", '<table class=""', 1)
        return table.replace('class="', 'class="book-cards ', 1)

    return TABLE.sub(label, text)


def add_worst(text: str, records: dict, way: str, verdicts: dict | None = None) -> str:
    """Add to each claim's details the worst number of all seeds, and the ways to the other places where it stands.

    Args:
        text: a page.
        records: of each claim, by number.
        way: to the page of claims.
        verdicts: of a claim in the verdict, the way there; by number with a hyphen.
    """

    def add(match):
        number = f"{match[2]}-{match[3]}"
        record = records.get(number.replace("-", "."), {})
        if "worst" not in record or "seeds" not in record:
            return match[0]
        link = f'<a href="{way}#claim-{number}-row">All claims</a>'
        if verdicts and number in verdicts:
            link += f', <a href="{verdicts[number]}">in the verdict</a>'
        line = f"Worst of {record['seeds']} seeds: {show(record['worst'])}. {link}"
        return f'{match[1]}<p class="dynattn-worst">{line}</p>'

    return CLAIM.sub(add, WORST.sub("", text))


def lead_past_deeper_pages(app, pagename, templatename, context, doctree):
    """A chapter's links to the previous and the next page lead to chapters; from the pages below it, on and back."""
    order = app.env.collect_relations()  # of each page, the one above it, the previous and the next
    if pagename not in order or order[pagename][0] != app.config.root_doc:
        return
    for place, name in ((1, "prev"), (2, "next")):
        other = order[pagename][place]
        while other and order[other][0] not in (None, app.config.root_doc):
            other = order[other][place]
        if other and context.get(name):
            title = app.builder.render_partial(app.env.titles[other])["title"]
            context[name] = {"link": app.builder.get_relative_uri(pagename, other), "title": title}
        else:
            context[name] = None


def mend_pages(app, exception):
    if exception is None and app.builder.name == "html":
        static = Path(app.outdir) / "_static"
        verdict = Path(app.outdir) / "book" / "verdict.html"
        used = (
            re.findall(r'id="(claim-(\d+-\d+)-verdict-\d+)"', verdict.read_text(encoding="utf-8"))
            if verdict.exists()
            else []
        )
        claims, found = Path(app.outdir) / "book" / "claims.html", Path(app.srcdir) / "book" / "records.json"
        records = json.loads(found.read_text(encoding="utf-8")) if found.exists() else {}
        (static / "dynattn-live.js").write_text(live.SCRIPT, encoding="utf-8")
        for page in Path(app.outdir).rglob("*.html"):
            text = mended = page.read_text(encoding="utf-8")
            for pattern, replacement in MENDS:
                mended = pattern.sub(replacement, mended)
            mended = label_cells(mended)
            if "dynattn-claim" in mended:
                way = Path(os.path.relpath(claims, page.parent)).as_posix()
                there = Path(os.path.relpath(verdict, page.parent)).as_posix()
                verdicts = {number: f"{there}#{anchor}" for anchor, number in used}
                mended = add_worst(mended, records, way, verdicts)
            if "<dynattn-live" in mended:
                way = Path(os.path.relpath(static, page.parent)).as_posix()
                mended = move_payloads(LIVE_SCRIPT.sub("", mended), static, way)
                # Before the first one, so that none takes the place of its picture before the reader's eyes.
                mended = mended.replace(
                    '<figure class="dynattn-live"',
                    f'<script src="{way}/dynattn-live.js"></script><figure class="dynattn-live"',
                    1,
                )
            if mended != text:
                page.write_text(mended, encoding="utf-8")


def setup(app):
    app.connect("config-inited", set_options, priority=1)
    app.connect("html-page-context", lead_past_deeper_pages)
    app.connect("build-finished", mend_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
