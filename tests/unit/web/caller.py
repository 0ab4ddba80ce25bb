"""Asks an ASGI application as a browser would, and keeps its cookies."""

import asyncio
from typing import Any
from urllib.parse import urlsplit

from tidegate.kit.errors import TidegateError
from tidegate.web.guard import Keys
from tidegate.web.pages import console
from tidegate.web.sources import Sources

PORT = 15080


class Answer:
    def __init__(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        self.status, self.text = status, body.decode()
        self.headers = {name.decode(): value.decode() for name, value in headers}


class Browser:
    """Sends the cookie that it was given last."""

    def __init__(self, app: Any, host: str = f"127.0.0.1:{PORT}") -> None:
        self._app, self.host, self.cookie = app, host, ""

    async def ask(self, url: str, method: str = "GET", *more: tuple[str, str]) -> Answer:
        parts = urlsplit(url)
        own = {"host": self.host, "cookie": self.cookie}
        headers = [*((name, value) for name, value in own.items() if value), *more]
        sent: list[dict[str, Any]] = []

        async def receive() -> Any:
            return await asyncio.Event().wait()  # the client neither says more nor goes away

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "method": method,
            "path": parts.path,
            "raw_path": parts.path.encode(),
            "root_path": "",
            "query_string": parts.query.encode(),
            "headers": [(name.encode(), value.encode()) for name, value in headers],
            "client": ("127.0.0.1", 40000),
            "server": ("127.0.0.1", PORT),
            "scheme": "http",
            "http_version": "1.1",
        }
        await self._app(scope, receive, send)
        body = b"".join(message.get("body", b"") for message in sent[1:])
        answer = Answer(sent[0]["status"], sent[0]["headers"], body)
        self.cookie = answer.headers.get("set-cookie", self.cookie).partition(";")[0]
        return answer

    async def page(self, url: str) -> str:
        answer = await self.ask(url)
        assert answer.status == 200, answer.text
        return answer.text


class Mesh:
    """What the console is told, by path; a missing answer is a server that does not answer."""

    def __init__(self) -> None:
        self.plane: dict[str, bytes] = {}
        self.envoys: dict[tuple[str, str], bytes] = {}
        self.names: list[str] = []
        self.asked: list[str] = []

    def sources(self) -> Sources:
        return Sources(lambda: self.names, self._plane, lambda name, path: self._answer(self.envoys, (name, path)))

    def _plane(self, path: str) -> bytes:
        self.asked.append(path)
        return self._answer(self.plane, path.partition("?")[0])

    def _answer(self, known: dict[Any, bytes], key: Any) -> bytes:
        if key not in known:
            raise TidegateError(f"nothing answers at {key}")
        return known[key]

    async def signed_in(self) -> Browser:
        keys = Keys(PORT)
        browser = Browser(console(self.sources(), keys))
        assert (await browser.ask(f"/?token={keys.token}")).status == 303
        return browser
