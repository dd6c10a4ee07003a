"""What lets the book be found and shared, as a Sphinx extension: descriptions, addresses, a picture, a page for lost
readers. What needs the site's address is absent until `make repo` has set the repository's."""

import html
import json
from pathlib import Path
from urllib.parse import urlsplit
from xml.etree import ElementTree

import repo
import yaml
from markupsafe import Markup
from notebooks import load, minutes, notebooks, pages

LICENCE = "https://creativecommons.org/licenses/by/4.0/"  # of text and figures
PICTURE, WIDTH, HEIGHT = "_static/social.png", 1200, 630
LOST = """<h1>This page isn't here</h1>
<p>It may have been renamed. The <a href="{0}index.html">first page</a> leads to all chapters, and the
<a href="{0}search.html">search</a> finds words in them.</p>"""


def set_address(app, config):
    """Of the site: the one that the configuration states, or that of the repository's pages, or none."""
    config.html_baseurl = config.html_baseurl or repo.site(config.html_theme_options["repository_url"])
    config.notfound_urls_prefix = urlsplit(config.html_baseurl).path or "/"
    body = LOST.format(config.notfound_urls_prefix)
    config.notfound_context = {"title": "This page isn't here", "body": body}


def prepare(app):
    """Read what each page is about, and draw the picture, whose alternative text the pages need."""
    root = Path(app.srcdir)
    app.descriptions = yaml.safe_load((root / "book" / "descriptions.yml").read_text(encoding="utf-8"))
    if missing := set(pages(root)) ^ set(app.descriptions):
        raise ValueError(
            f"book/descriptions.yml: got {sorted(missing)} too much or too little, expected each page once"
        )
    if app.config.html_baseurl:
        file = Path(app.outdir) / PICTURE
        file.parent.mkdir(parents=True, exist_ok=True)
        app.seen = draw(root / "book" / "02-attention-matrix.ipynb", app.config.html_title, file)


def draw(notebook: Path, title: str, file: Path) -> str:
    """The drawing at the top of a chapter as a picture to be shared; returns its alternative text."""
    cells = {cell["id"]: cell["source"] for cell in load(notebook)["cells"]}
    space, drawn = {}, {}
    exec(cells["imports"], space)
    space["Live"] = lambda *_, still, alt, **__: drawn.update(still=still, alt=alt)
    exec(cells["draw-hook"], space)
    drawn["still"].set_size_inches(4 * WIDTH / HEIGHT, 4)
    drawn["still"].get_layout_engine().set(w_pad=0.3, h_pad=0.2)
    drawn["still"].suptitle(title, fontweight="bold")
    drawn["still"].savefig(file, dpi=HEIGHT / 4, metadata={"Software": None})
    return drawn["alt"]


def address(app, page: str) -> str:
    return app.config.html_baseurl + ("" if page == app.config.root_doc else f"{page}.html")


def resource(app, page: str, kind: str = "LearningResource", **more) -> dict:
    """A page in the words of schema.org."""
    found = {
        "@type": kind,
        "name": app.env.titles[page].astext(),
        "description": app.descriptions[page],
        "inLanguage": app.config.language,
        "author": {"@type": "Organization", "name": app.config.author},
        "license": LICENCE,
        "isAccessibleForFree": True,
        **more,
    }
    return found | ({"url": address(app, page)} if app.config.html_baseurl else {})


def course(app) -> dict:
    """The book as a course, whose parts are its chapters."""
    chapters = [path for path in notebooks(Path(app.srcdir)) if path.parent.name == "book"]
    parts = [
        resource(app, f"book/{path.stem}", position=number, timeRequired=f"PT{minutes(path)}M")
        for number, path in enumerate(chapters, 1)
    ]
    total = f"PT{sum(map(minutes, chapters))}M"
    return resource(app, app.config.root_doc, "Course", timeRequired=total, hasPart=parts)


def describe(app, pagename, templatename, context, doctree):
    """Write into a page's head what it is, for those who haven't opened it yet."""
    root, here = pagename == app.config.root_doc, app.config.html_baseurl
    context["pageurl"] = None
    if pagename not in app.descriptions:  # the index, the search, the page for lost readers
        tags = {"robots": "noindex"}
    else:
        tags = {
            "description": app.descriptions[pagename],
            "og:title": Markup(context["title"]).striptags(),
            "og:description": app.descriptions[pagename],
            "og:type": "website" if root else "article",
            "og:site_name": app.config.html_title,
        }
        if here:
            context["pageurl"] = address(app, pagename)
            tags |= {
                "og:url": context["pageurl"],
                "og:image": here + PICTURE,
                "og:image:width": WIDTH,
                "og:image:height": HEIGHT,
                "og:image:alt": app.seen,
                "twitter:card": "summary_large_image",
            }
    lines = [
        f'<meta {"property" if name.startswith("og:") else "name"}="{name}" content="{html.escape(str(content))}">'
        for name, content in tags.items()
    ]
    if root:
        data = json.dumps({"@context": "https://schema.org", **course(app)}, ensure_ascii=False)
        lines.append(f'<script type="application/ld+json">{data.replace("<", "&lt;")}</script>')
    context["metatags"] = "\n".join([context.get("metatags", ""), *lines])


def list_pages(app, exception):
    """For search engines, which don't ask without the site's address."""
    if exception is not None or app.builder.name != "html" or not app.config.html_baseurl:
        return
    listed = ElementTree.Element("urlset", xmlns="http://www.sitemaps.org/schemas/sitemap/0.9")
    for page in app.descriptions:
        ElementTree.SubElement(ElementTree.SubElement(listed, "url"), "loc").text = address(app, page)
    out = Path(app.outdir)
    ElementTree.ElementTree(listed).write(out / "sitemap.xml", encoding="utf-8", xml_declaration=True)
    (out / "robots.txt").write_text(
        f"User-agent: *\nAllow: /\n\nSitemap: {app.config.html_baseurl}sitemap.xml\n"
    )


def setup(app):
    app.connect("config-inited", set_address, priority=0)
    app.connect("builder-inited", prepare)
    app.connect("html-page-context", describe)
    app.connect("build-finished", list_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
