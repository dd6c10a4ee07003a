"""The book can be found and shared: what its pages say to those who haven't opened them, with an address and without."""

import json
import re
import subprocess
import sys
from xml.etree import ElementTree

import found
import pytest
import repo
import yaml
from bs4 import BeautifulSoup
from conftest import ROOT
from notebooks import minutes, notebooks, pages
from PIL import Image

PAGES = pages()
CHAPTERS = [path for path in notebooks() if path.parent.name == "book"]
DESCRIPTIONS = yaml.safe_load((ROOT / "book" / "descriptions.yml").read_text(encoding="utf-8"))
HERE = "https://some-one.github.io/a.book/"


def head(site, page: str) -> dict[str, str]:
    """What a page says of itself, each thing once."""
    soup = BeautifulSoup((site / f"{page}.html").read_text(encoding="utf-8"), "html.parser")
    tags = [(tag.get("property") or tag["name"], tag["content"]) for tag in soup.head.select("meta[content]")]
    tags = [(name, content) for name, content in tags if name != "viewport"]
    assert len({name for name, _ in tags}) == len(tags), tags
    canonical = [("canonical", tag["href"]) for tag in soup.select("link[rel=canonical]")]
    return dict(tags + canonical, title=soup.title.get_text())


@pytest.mark.parametrize(
    ("repository", "site"),
    [
        ("https://github.com/some-one/a.book", HERE),
        ("https://github.com/Some-One/A.book", "https://some-one.github.io/A.book/"),
        ("https://github.com/some-one/some-one.github.io", "https://some-one.github.io/"),
        ("https://book.invalid/some-one/a.book", ""),
        ("https://gitlab.com/some-one/a.book", ""),
        ("", ""),
    ],
)
def test_the_sites_address_follows_from_the_repositorys(repository, site):
    assert repo.site(repository) == site


def test_each_page_has_a_description_of_its_own():
    assert set(DESCRIPTIONS) == set(PAGES) and len(set(DESCRIPTIONS.values())) == len(PAGES)
    for page, text in DESCRIPTIONS.items():
        assert 50 <= len(text) <= 155 and text == " ".join(text.split()), (page, len(text))
        assert re.fullmatch(r"[A-Z][^\d<>]*[.?]", text), f"{page}: {text}"


@pytest.mark.parametrize("page", PAGES)
def test_a_page_says_what_it_is(built, page):
    says = head(built, page)
    assert says["description"] == says["og:description"] == DESCRIPTIONS[page]
    name = says["og:site_name"]
    assert name == "Attention, the layer that writes its own weights"
    title = says["og:title"] if page == "index" else f"{says['og:title']} — {name}"
    assert says["title"] == title and "<" not in title
    assert says["og:type"] == ("website" if page == "index" else "article")


def test_without_an_address_nothing_pretends_to_have_one(built):
    if repo.site(repo.current(ROOT)):
        pytest.skip("the repository has an address")
    for page in PAGES:
        assert not {"canonical", "og:url", "og:image", "twitter:card"} & set(head(built, page)), page
    assert not any((built / name).exists() for name in ("sitemap.xml", "robots.txt", found.PICTURE))
    assert '"url"' not in json.dumps(course(built))


def course(site) -> dict:
    soup = BeautifulSoup((site / "index.html").read_text(encoding="utf-8"), "html.parser")
    (script,) = soup.select("script[type='application/ld+json']")
    return json.loads(script.string)


def test_the_book_is_a_course_of_its_chapters(built):
    data = course(built)
    assert (data["@context"], data["@type"], data["inLanguage"]) == ("https://schema.org", "Course", "en")
    assert data["license"] in (ROOT / "LICENSE-TEXT").read_text(encoding="utf-8")
    author = data["author"]["name"]
    assert f"- name: {author}".lower() in (ROOT / "CITATION.cff").read_text(encoding="utf-8").lower()
    times = [f"PT{minutes(path)}M" for path in CHAPTERS]
    assert [part["timeRequired"] for part in data["hasPart"]] == times
    assert data["timeRequired"] == f"PT{sum(map(minutes, CHAPTERS))}M"
    for number, (path, part) in enumerate(zip(CHAPTERS, data["hasPart"], strict=True), 1):
        assert part["position"] == number and part["@type"] == "LearningResource"
        assert part["description"] == DESCRIPTIONS[f"book/{path.stem}"]
        assert head(built, f"book/{path.stem}")["og:title"] == f"{number}. {part['name']}"


def test_the_picture_is_the_drawing_of_chapter_2(tmp_path):
    notebook = ROOT / "book" / "02-attention-matrix.ipynb"
    program = (
        "import sys; sys.path.insert(0, 'tools'); import found; from pathlib import Path; "
        f"print(found.draw(Path({str(notebook)!r}), 'A title', Path({str(tmp_path / 'a.png')!r})))"
    )
    # In a process of its own, since the chapter's cells set torch's and matplotlib's defaults.
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert re.search(r"arrows for the five words.*\d\.\d\d from itself", done.stdout)
    with Image.open(tmp_path / "a.png") as picture:
        assert (picture.format, picture.size) == ("PNG", (1200, 630))
        assert len(picture.convert("RGB").getcolors(1 << 20)) > 100
    assert (tmp_path / "a.png").stat().st_size < 150_000


def test_a_lost_reader_finds_the_way_from_any_depth(built):
    assert_leads_on(built, repo.site(repo.current(ROOT)))


def assert_leads_on(site, address: str) -> None:
    """All that the page for lost readers refers to is there, by addresses that don't depend on where it is shown."""
    prefix = "/" + address.partition("//")[2].partition("/")[2]
    text = (site / "404.html").read_text(encoding="utf-8")
    soup = BeautifulSoup(text, "html.parser")
    places = [
        tag.get("href") or tag.get("src") or tag.get("action") for tag in soup.select("[href], [src], form")
    ]
    local = [place for place in places if not place.startswith(("#", "https://"))]
    assert len(local) > 20
    for place in local:
        assert place.startswith(prefix), place
        assert (site / re.split("[?#]", place.removeprefix(prefix))[0]).is_file(), place
    assert soup.select_one(f'article a[href="{prefix}index.html"], main a[href="{prefix}index.html"]')
    assert head(site, "404")["robots"] == "noindex"


def test_with_an_address_all_can_be_found(published):
    for page in PAGES:
        says = head(published, page)
        place = HERE if page == "index" else f"{HERE}{page}.html"
        assert says["canonical"] == says["og:url"] == place
        assert says["og:image"] == HERE + found.PICTURE and says["twitter:card"] == "summary_large_image"
        assert (says["og:image:width"], says["og:image:height"]) == ("1200", "630")
        assert re.search(r"arrows for the five words.*\d\.\d\d from itself", says["og:image:alt"])
    with Image.open(published / found.PICTURE) as picture:
        assert picture.size == (1200, 630)
    listed = [
        node.text for node in ElementTree.parse(published / "sitemap.xml").iter() if node.tag.endswith("loc")
    ]
    assert sorted(listed) == sorted(HERE if page == "index" else f"{HERE}{page}.html" for page in PAGES)
    assert f"\nSitemap: {HERE}sitemap.xml\n" in (published / "robots.txt").read_text()
    assert course(published)["url"] == HERE
    assert [part["url"] for part in course(published)["hasPart"]] == [
        f"{HERE}book/{path.stem}.html" for path in CHAPTERS
    ]
    assert_leads_on(published, HERE)
    for page in ("search", "genindex"):
        assert head(published, page)["robots"] == "noindex" and "canonical" not in head(published, page)
