"""Small mends of the book's theme, as a Sphinx extension."""

import gzip
import hashlib
import math
import os
import re
from pathlib import Path

from dynattn import live

# In a notebook each live figure brings the script, in the book a page loads it once.
LIVE_SCRIPT = re.compile(r'<script class="dynattn-live">.*?</script>', re.DOTALL)
# What a figure computes with has a file of its own, which a page asks for only when the reader does.
PAYLOAD = re.compile(r'(<dynattn-live [^>]*) payload="([A-Za-z0-9+/=]+)"')

MENDS = [
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


def mend_pages(app, exception):
    if exception is None and app.builder.name == "html":
        static = Path(app.outdir) / "_static"
        (static / "dynattn-live.js").write_text(live.SCRIPT, encoding="utf-8")
        for page in Path(app.outdir).rglob("*.html"):
            text = mended = page.read_text(encoding="utf-8")
            for pattern, replacement in MENDS:
                mended = pattern.sub(replacement, mended)
            if "<dynattn-live" in mended:
                way = Path(os.path.relpath(static, page.parent)).as_posix()
                mended = move_payloads(LIVE_SCRIPT.sub("", mended), static, way).replace(
                    "</body>", f'<script src="{way}/dynattn-live.js"></script>\n</body>'
                )
            if mended != text:
                page.write_text(mended, encoding="utf-8")


def setup(app):
    app.connect("config-inited", set_options, priority=1)
    app.connect("build-finished", mend_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
