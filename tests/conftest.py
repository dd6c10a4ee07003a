"""What the tests share: the places of the book, its notebooks as data, a browser, and a count of what is done."""

import functools
import os
import shutil
import subprocess
import sys
import threading
import time
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from bs4 import BeautifulSoup

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))  # the tests know the book as its tools do

import pdf  # noqa: E402
import repo  # noqa: E402
from notebooks import load, notebooks, pages  # noqa: E402

CHAPTERS = notebooks()
PAGES = pages()
EXECUTED = ROOT / "_build" / "run" / "0"
SITE = ROOT / "_build" / "html"
NEW = "https://github.com/some-one/a.book"  # an address for a copy of the repository


class Count:
    """In place of a dot a test: every few seconds how many are done and left, and each failure at once."""

    EVERY = 5

    def __init__(self, terminal):
        self.terminal, self.started = terminal, time.monotonic()
        self.total, self.done, self.failed, self.running = 0, 0, 0, {}
        self.finished = threading.Event()
        threading.Thread(target=self.tell, daemon=True).start()

    def tell(self):
        while not self.finished.wait(self.EVERY):
            seconds = f"{time.monotonic() - self.started:.0f} s"
            if not self.total:
                self.terminal.write_line(f"  collecting the tests, {seconds}", flush=True)
                continue
            slow = [
                name for name, since in list(self.running.items()) if time.monotonic() - since > self.EVERY
            ]
            failed = f", {self.failed} failed" if self.failed else ""
            now = f"; now {', '.join(slow)}" if slow else ""
            counts = f"{self.done} of {self.total} tests done{failed}, {self.total - self.done} left"
            self.terminal.write_line(f"  {counts}, {seconds}{now}", flush=True)

    def pytest_xdist_node_collection_finished(self, ids):
        self.total = len(ids)

    def pytest_runtest_logstart(self, nodeid):
        self.running[nodeid.removeprefix("tests/")] = time.monotonic()

    def pytest_runtest_logfinish(self, nodeid):
        self.running.pop(nodeid.removeprefix("tests/"), None)
        self.done += 1

    def pytest_runtest_logreport(self, report):
        if report.failed:
            self.failed += 1
            crash = getattr(report.longrepr, "reprcrash", None)
            said = crash.message.splitlines()[0] if crash and crash.message else report.when
            self.terminal.write_line(f"  FAILED {report.nodeid}: {said}", red=True, flush=True)

    @pytest.hookimpl(wrapper=True)
    def pytest_report_teststatus(self):
        category, _, word = yield
        return category, "", "" if category in ("", "passed") else word

    def pytest_sessionfinish(self):
        self.finished.set()


@pytest.hookimpl(trylast=True)
def pytest_configure(config):
    """`make test` runs the tests in several processes; the one that collects their results counts."""
    distributed = config.pluginmanager.hasplugin("dsession")
    if distributed and config.option.verbose == 0 and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Count(config.pluginmanager.get_plugin("terminalreporter")))


def cells(path: Path, kind: str) -> list[dict]:
    return [cell for cell in load(path)["cells"] if cell["cell_type"] == kind]


def each_chapter(test):
    """Run a test once for each notebook."""
    return pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)(test)


@pytest.fixture(scope="session")
def built():
    """The built book, which `make book` (and so `make test`) leaves in _build."""
    if not (SITE / "index.html").exists():
        pytest.fail("the book has not been built: run `make book` first")
    return SITE


def copy(folder: Path) -> None:
    """Write what is in the repository into a folder."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    for name in listed:
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)


@pytest.fixture(scope="session")
def published(tmp_path_factory):
    """The site as it is once the repository's address, here NEW, is written; its notebooks are not run."""
    tree = tmp_path_factory.mktemp("published")
    copy(tree)
    repo.write(tree, NEW)
    config = (tree / "_config.yml").read_text()
    (tree / "_config.yml").write_text(config.replace("execute_notebooks: force", 'execute_notebooks: "off"'))
    command = Path(sys.executable).with_name("jupyter-book")
    built = subprocess.run(
        [command, "build", "-n", "-W", "--keep-going", tree], capture_output=True, text=True
    )
    assert built.returncode == 0, built.stderr
    return tree / "_build" / "html"


@pytest.fixture(scope="module")
def browser():
    """Chromium or Chrome, without a window."""
    from playwright.sync_api import sync_playwright  # here, so that the unit tests need not load it

    if not pdf.program():
        pytest.skip(f"no browser: none of {', '.join(pdf.PROGRAMS)} is installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=pdf.program(), args=pdf.ARGUMENTS)
        yield browser
        browser.close()


class Silent(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def address(built):
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Silent, directory=built)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def visit(browser, address, page, scheme="light", width=1280):
    """Open a page as on a first visit; return it with all that it asked for, and fail on any error."""
    tab = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 900}).new_page()
    responses, errors = [], []
    tab.on("response", lambda response: responses.append(response))
    tab.on("requestfailed", lambda request: errors.append(f"failed: {request.url}"))
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.on(
        "console",
        lambda message: errors.append(message.text) if message.type in ("error", "warning") else None,
    )
    tab.goto(f"{address}/{page}.html", wait_until="networkidle")
    assert errors == []
    assert responses and all(response.ok for response in responses), [r.url for r in responses if not r.ok]
    here = [response for response in responses if response.url.startswith((address, "data:", "blob:"))]
    assert len(here) == len(responses), [response.url for response in responses if response not in here]
    return tab, responses


def within(tab, width: int) -> list[str]:
    """Whether the page scrolls sideways on a small screen."""
    before = tab.viewport_size
    tab.set_viewport_size({"width": width, "height": 700})
    tab.wait_for_timeout(300)
    found = tab.evaluate("document.documentElement.scrollWidth")
    tab.set_viewport_size(before)
    tab.wait_for_timeout(400)  # the sidebar slides back
    return [f"{found} px wide on a screen of {width} px"] if found > width else []


def holding(built, *selectors: str) -> str:
    """The first page that has all of these."""
    for page in PAGES:
        soup = BeautifulSoup((built / f"{page}.html").read_text(encoding="utf-8"), "html.parser")
        if all(soup.select(selector) for selector in selectors):
            return page
    raise AssertionError(f"no page has {selectors}")


# One text of each look, and all pictures. axe takes nearly all of its time for contrasts, of which each follows from
# colours, size and weight, and for a link from those of the text around it.
LOOKS = """() => {
    const looks = {}, grounds = new Map();
    const ground = (node) => {
        if (!node) return "";
        if (!grounds.has(node)) {
            const {backgroundColor: colour, backgroundImage: image, opacity} = getComputedStyle(node);
            const opaque = !/rgba|transparent/.test(colour) && image == "none" && opacity == 1;
            const under = opaque ? "" : ground(node.parentElement ?? node.getRootNode().host);
            grounds.set(node, `${colour} ${image} ${opacity} ${under}`);
        }
        return grounds.get(node);
    };
    const look = (root) => root.querySelectorAll("*").forEach((node) => {
        if (node.shadowRoot) look(node.shadowRoot);
        if (![...node.childNodes].some((child) => child.nodeType == 3 && child.data.trim())) return;
        if (!node.checkVisibility()) return;
        const style = ({color, fontSize, fontWeight, textShadow, textDecoration}) =>
            `${color} ${fontSize} ${fontWeight} ${textShadow} ${textDecoration}`;
        const link = node.closest("a");
        const around = link ? style(getComputedStyle(link)) + style(getComputedStyle(link.parentElement)) : "";
        looks[`${style(getComputedStyle(node))} ${ground(node)} ${around}`] ??= link ?? node;
    });
    look(document.body);
    return [...Object.values(looks), ...document.querySelectorAll("img, svg, [role=img]")];
}"""
# What depends on the colours of a page, or on which of two drawings it shows.
BY_LOOK = ("color-contrast", "link-in-text-block")
BY_COLOUR = (*BY_LOOK, "image-alt", "image-redundant-alt", "role-img-alt", "svg-img-alt")


def violations(tab, colours_only: bool = False) -> list[str]:
    """What axe finds wrong in a page, with everything unfolded; or only what the colours of a page may change.

    Contrast is looked at once for each look of a text; with the environment variable THOROUGH, for every text.
    """
    import axe_playwright_python

    tab.evaluate("""() => {
        const unfold = root => root.querySelectorAll("*").forEach(node => {
            if (node.matches("details")) node.open = true;
            if (node.shadowRoot) unfold(node.shadowRoot);
        });
        unfold(document);
    }""")
    tab.evaluate((Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8"))
    thorough = bool(os.environ.get("THOROUGH"))
    off = {} if thorough else {rule: {"enabled": False} for rule in BY_LOOK}
    every = {"resultTypes": ["violations"], "rules": {"label-content-name-mismatch": {"enabled": True}} | off}
    found = [] if colours_only else [tab.evaluate("options => axe.run(document, options)", every)]
    if colours_only or not thorough:
        colours = {"resultTypes": ["violations"], "runOnly": list(BY_COLOUR if colours_only else BY_LOOK)}
        context = "document" if thorough else f"{{include: ({LOOKS})()}}"
        found.append(tab.evaluate(f"options => axe.run({context}, options)", colours))
    assert all(result["passes"] for result in found), "axe ran"
    return [
        f"{rule['id']}: {node['html'][:160]} {node['any'][0]['message'] if node['any'] else ''}"
        for result in found
        for rule in result["violations"]
        for node in rule["nodes"][:3]
    ]
