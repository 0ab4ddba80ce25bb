"""Log levels are the one thing of Envoy's admin port that the agent's socket changes."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tidegate.agent.http import Client, Request, Response, serve_connection
from tidegate.agent.status import Readiness, Status

ANSWER = b"active loggers:\n  http: debug\n"


class Admin:
    """Stands for Envoy's admin port and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    async def handle(self, request: Request) -> Response:
        self.asked.append((request.method, request.target))
        known = "nosuch" not in request.query
        return Response(200, ANSWER) if known else Response(400, b"error: unknown logger name\n")


async def report() -> dict[str, Any]:
    return {}


@pytest.fixture
async def admin() -> AsyncIterator[tuple[Admin, Status]]:
    envoy = Admin()
    server = await asyncio.start_server(lambda r, w: serve_connection(envoy.handle, r, w), "127.0.0.1", 0)
    client = Client("127.0.0.1", server.sockets[0].getsockname()[1])
    yield envoy, Status(client, client, Readiness(client), report)
    server.close()


@pytest.mark.parametrize("query", ["", "level=debug", "paths=http:debug,router:trace"])
async def test_levels_are_read_and_set(admin: tuple[Admin, Status], query: str) -> None:
    envoy, status = admin
    answer = await status.local(Request("POST", "/logging", query, ""))
    assert (answer.status, answer.body) == (200, ANSWER)
    assert envoy.asked == [("POST", f"/logging?{query}" if query else "/logging")]


async def test_what_envoy_refuses_is_told(admin: tuple[Admin, Status]) -> None:
    answer = await admin[1].local(Request("POST", "/logging", "paths=nosuch:debug", ""))
    assert (answer.status, answer.body) == (400, b"error: unknown logger name\n")


@pytest.mark.parametrize(
    ("method", "path", "query", "status"),
    [
        ("GET", "/logging", "", 405),
        ("DELETE", "/logging", "level=debug", 405),
        ("POST", "/logging", "level=loud", 400),
        ("POST", "/logging", "level=debug&x=y", 400),
        ("POST", "/logging", "paths=http:debug#", 400),
        ("POST", "/logging/", "level=debug", 405),
        ("POST", "/envoy/logging", "level=debug", 405),
        ("POST", "/envoy/quitquitquit", "", 405),
    ],
)
async def test_nothing_else_gets_through(
    admin: tuple[Admin, Status], method: str, path: str, query: str, status: int
) -> None:
    envoy, served = admin
    assert (await served.local(Request(method, path, query, ""))).status == status
    assert envoy.asked == []


async def test_a_target_that_is_no_address_ends_the_connection_only(admin: tuple[Admin, Status]) -> None:
    server = await asyncio.start_server(lambda r, w: serve_connection(admin[1].local, r, w), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET //[ HTTP/1.1\r\nhost: x\r\n\r\n")
    assert await reader.read() == b""
    writer.close()
    assert (await Client("127.0.0.1", port).post("/logging"))[0] == 200
    server.close()
