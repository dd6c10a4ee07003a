"""Small mends of the book's theme, as a Sphinx extension."""

import os
import re
from pathlib import Path

from dynattn import live

# In a notebook each live figure brings the script, in the book a page loads it once.
LIVE_SCRIPT = re.compile(r'<script class="dynattn-live">.*?</script>', re.DOTALL)

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


def mend_pages(app, exception):
    if exception is None and app.builder.name == "html":
        static = Path(app.outdir) / "_static"
        (static / "dynattn-live.js").write_text(live.SCRIPT, encoding="utf-8")
        for page in Path(app.outdir).rglob("*.html"):
            text = mended = page.read_text(encoding="utf-8")
            for pattern, replacement in MENDS:
                mended = pattern.sub(replacement, mended)
            if "<dynattn-live" in mended:
                source = Path(os.path.relpath(static, page.parent), "dynattn-live.js").as_posix()
                mended = LIVE_SCRIPT.sub("", mended).replace(
                    "</body>", f'<script src="{source}"></script>\n</body>'
                )
            if mended != text:
                page.write_text(mended, encoding="utf-8")


def setup(app):
    app.connect("config-inited", set_options, priority=1)
    app.connect("build-finished", mend_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
