"""A real Chromium, without a window, asked over its debugging protocol (Chrome DevTools Protocol)."""

import asyncio
import base64
import contextlib
import itertools
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.lab.labs import PATIENCE, until

CHROMIUM = shutil.which("chromium")
NEEDS_BROWSER = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
    "--window-size=1440,1000",
)


class Page:
    """One tab. Each call waits for its answer."""

    def __init__(self, runner: asyncio.Runner, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._runner, self._socket, self._numbers = runner, socket, itertools.count(1)
        self.requested: list[str] = []
        """Every URL that the tab asked for."""
        self.complaints: list[str] = []
        """What the browser logged and what scripts threw: a refused script or style among them."""
        for domain in ("Page", "Runtime", "Network", "Log"):
            self._do(f"{domain}.enable")

    def open(self, url: str) -> None:
        self._do("Page.navigate", url=url)
        until(lambda: self.run("document.readyState"), lambda state: state == "complete")

    def run(self, script: str) -> Any:
        """The value of a script in the page."""
        answer = self._do("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def text(self, selector: str = "main") -> str:
        """The text as it is shown; "" where nothing matches."""
        return str(self.run(f"document.querySelector({selector!r})?.innerText ?? ''"))

    def dark(self) -> None:
        features = [{"name": "prefers-color-scheme", "value": "dark"}]
        self._do("Emulation.setEmulatedMedia", features=features)

    def screenshot(self, file: Path) -> None:
        file.write_bytes(base64.b64decode(self._do("Page.captureScreenshot", format="png")["data"]))

    def _do(self, method: str, **params: Any) -> dict[str, Any]:
        return self._runner.run(asyncio.wait_for(self._ask(method, params), PATIENCE))

    async def _ask(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        number = next(self._numbers)
        await self._socket.send_json({"id": number, "method": method, "params": params})
        while True:
            message = await self._socket.receive_json()
            if message.get("id") == number:
                assert "error" not in message, message["error"]
                result: dict[str, Any] = message["result"]
                return result
            self._note(message)

    def _note(self, message: dict[str, Any]) -> None:
        found = message.get("params", {})
        if message.get("method") == "Network.requestWillBeSent":
            self.requested.append(found["request"]["url"])
        elif message.get("method") == "Log.entryAdded":
            self.complaints.append(found["entry"]["text"])
        elif message.get("method") == "Runtime.exceptionThrown":
            self.complaints.append(found["exceptionDetails"]["text"])


@contextlib.contextmanager
def browser(folder: Path) -> Iterator[Page]:
    """A browser with a new profile in ``folder``, with one empty tab; it has ended afterwards."""
    assert CHROMIUM is not None
    profile = folder / "profile"
    log = (folder / "chromium.log").open("wb")
    process = subprocess.Popen(
        [CHROMIUM, *_FLAGS, f"--user-data-dir={profile}", "about:blank"], stdout=log, stderr=subprocess.STDOUT
    )
    try:
        with asyncio.Runner() as runner:
            session, socket = runner.run(_attach(_port(profile / "DevToolsActivePort")))
            try:
                yield Page(runner, socket)
            finally:
                runner.run(_detach(session, socket))
    finally:
        process.terminate()
        process.wait(PATIENCE)
        log.close()


def _port(file: Path) -> int:
    """The port that the browser chose; its first line, written when it listens."""
    return int(until(lambda: file.read_text().split() if file.exists() else [])[0])


async def _attach(port: int) -> tuple[aiohttp.ClientSession, aiohttp.ClientWebSocketResponse]:
    session = aiohttp.ClientSession()
    deadline = asyncio.get_running_loop().time() + PATIENCE
    while True:
        async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
            tabs = [each for each in await answer.json() if each["type"] == "page"]
        if tabs or asyncio.get_running_loop().time() > deadline:
            break
        await asyncio.sleep(0.05)
    return session, await session.ws_connect(tabs[0]["webSocketDebuggerUrl"], max_msg_size=0)


async def _detach(session: aiohttp.ClientSession, socket: aiohttp.ClientWebSocketResponse) -> None:
    await socket.close()
    await session.close()
