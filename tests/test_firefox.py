"""Every page in Firefox, too: no error, no scrolling sideways on a small screen, figures drawn, formulas set.

Firefox speaks WebDriver BiDi by itself, so that no driver is needed: commands and answers are JSON over a WebSocket.
"""

import asyncio
import itertools
import json
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from conftest import PAGES
from tornado.websocket import websocket_connect

PROGRAM = next(filter(None, map(shutil.which, ("firefox", "firefox-esr"))), None)


class Firefox:
    """A window of its own, without a profile and without being seen."""

    PATIENCE = 60  # seconds

    def __init__(self, profile: Path):
        self.process = subprocess.Popen(
            [PROGRAM, "--headless", "--no-remote", "--profile", profile, "--remote-debugging-port", "0"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self.runner, self.numbers, self.heard = asyncio.Runner(), itertools.count(), []
        told = profile / "WebDriverBiDiServer.json"
        for _ in range(10 * self.PATIENCE):
            if told.exists() and (text := told.read_text(encoding="utf-8")):
                break
            time.sleep(0.1)
        self.socket = self.runner.run(self.connect(f"ws://127.0.0.1:{json.loads(text)['ws_port']}/session"))
        self.version = self.send("session.new", capabilities={})["capabilities"]["browserVersion"]
        self.tab = self.send("browsingContext.getTree")["contexts"][0]["context"]
        self.send(
            "session.subscribe", events=["log.entryAdded", "network.fetchError", "network.responseCompleted"]
        )

    async def connect(self, url):
        return await websocket_connect(url, max_message_size=2**26)

    def send(self, method: str, **parameters) -> dict:
        return self.runner.run(asyncio.wait_for(self.answer(method, parameters), self.PATIENCE))

    async def answer(self, method, parameters):
        number = next(self.numbers)
        await self.socket.write_message(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(await self.socket.read_message())
            if message.get("id") == number:
                assert message["type"] == "success", message
                return message["result"]
            self.heard.append(message)

    def visit(self, url: str, width: int) -> list[str]:
        """Open a page, and return the errors and warnings that it causes."""
        self.heard.clear()
        self.send("browsingContext.setViewport", context=self.tab, viewport={"width": width, "height": 700})
        self.send("browsingContext.navigate", context=self.tab, url=url, wait="complete")
        self.ask("""Promise.all([...document.images].filter((i) => i.checkVisibility()).map((i) => {
            i.loading = "eager"; // or it would wait for a reader to come near
            return i.decode().catch(() => 0);
        })).then(() => 0)""")
        said = [event["params"] for event in self.heard]
        return [
            entry.get("text") or entry["request"]["url"]
            for entry in said
            if entry.get("level") == "error"
            or "errorText" in entry
            or entry.get("response", {}).get("status", 0) >= 400
        ]

    def ask(self, expression: str):
        """The value of a JavaScript expression, or what it promises."""
        answer = self.send(
            "script.evaluate", expression=f"Promise.resolve({expression}).then((x) => JSON.stringify(x) ?? 'null')",
            target={"context": self.tab}, awaitPromise=True,
        )  # fmt: skip
        assert answer["type"] == "success", answer["exceptionDetails"]["text"]
        return json.loads(answer["result"]["value"])

    def close(self):
        try:
            self.send("browser.close")
            self.process.wait(20)
        finally:
            self.process.kill()
            self.runner.close()


@pytest.fixture(scope="module")
def firefox(tmp_path_factory):
    if not PROGRAM:
        pytest.skip("no Firefox is installed")
    window = Firefox(tmp_path_factory.mktemp("firefox"))
    yield window
    window.close()


# What a page lacks; drawings that are not shown need not be there.
LACKS = """[
    ...[...document.images].filter((i) => i.checkVisibility() && !i.naturalWidth).map((i) => `no picture: ${i.alt}`),
    ...[...document.querySelectorAll("dynattn-live")].filter((f) => !f.shadowRoot?.querySelector("svg, canvas, button"))
        .map((f) => `not drawn: ${f.getAttribute("kind")}`),
    ...[...document.querySelectorAll(".math")].filter((m) => !m.querySelector("math")).map((m) => `not set: ${m.textContent}`),
    ...[...document.querySelectorAll("merror")].map((m) => `wrong: ${m.textContent}`),
    ...[document.documentElement.scrollWidth].filter((w) => w > innerWidth).map((w) => `${w} px wide on a screen of ${innerWidth}`),
]"""


@pytest.mark.parametrize("page", PAGES)
def test_page_in_firefox(firefox, address, page):
    errors = firefox.visit(f"{address}/{page}.html", 320)
    assert errors + firefox.ask(LACKS) == []


FAULTS = {
    "nothing": "",
    "an error": "<script>undefined.x</script>",
    "a request that fails": "<img alt=missing src='ADDRESS/missing.png'>",
    "no picture": "<img alt=missing src='data:image/png;base64,AAAA'>",
    "a live figure that stays still": "<dynattn-live kind=none></dynattn-live>",
    "a formula that stays text": "<span class=math>\\\\(x\\\\)</span>",
    "a wide page": "<div style='width: 400px'>wide</div>",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_wrong_in_firefox_is_found(firefox, address, tmp_path, fault):
    page = tmp_path / "page.html"
    page.write_text(
        f"<!doctype html><title>t</title><p>right</p>{FAULTS[fault]}".replace("ADDRESS", address),
        encoding="utf-8",
    )
    errors = firefox.visit(page.as_uri(), 320)
    assert bool(errors + firefox.ask(LACKS)) == (fault != "nothing")
