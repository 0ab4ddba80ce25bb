import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from tidegate.agent.http import Client, Request, Response, UpstreamHttpError, serve_connection
from tidegate.agent.status import Readiness, Status, read_stats

LIVE = (
    "cluster_manager.cds.update_success: 1\nlistener_manager.lds.update_success: 2\n"
    "server.state: 0\nlistener_manager.workers_started: 1\n"
)
Serve = Callable[[dict[str, Response]], Any]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Answers by path, on a port of its own; gives a client of it."""
    servers: list[asyncio.Server] = []

    async def start(answers: dict[str, Response]) -> Client:
        async def handler(request: Request) -> Response:
            return answers.get(request.path, Response(404))

        server = await asyncio.start_server(lambda r, w: serve_connection(handler, r, w), "127.0.0.1", 0)
        servers.append(server)
        return Client("127.0.0.1", server.sockets[0].getsockname()[1])

    yield start
    for server in servers:
        server.close()


def stats(text: str) -> dict[str, Response]:
    return {"/stats": Response(200, text.encode())}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (LIVE, ""),
        ("", "cds: nothing received, lds: nothing received"),
        (LIVE.replace("lds.update_success: 2", "lds.update_rejected: 1"), "lds: was rejected"),
        (LIVE.replace("server.state: 0", "server.state: 2"), "server.state is 2"),
        (LIVE.replace("workers_started: 1", "workers_started: 0"), "workers have not started"),
    ],
)
async def test_readiness_says_why_not(serve: Serve, text: str, told: str) -> None:
    problem = await Readiness(await serve(stats(text))).problem()
    assert (told in problem) if told else problem == ""


async def test_readiness_is_latched_until_another_envoy_runs(serve: Serve) -> None:
    answers = stats(LIVE)
    readiness = Readiness(await serve(answers))
    assert await readiness.problem() == ""
    answers["/stats"] = Response(200, b"")
    assert await readiness.problem() == ""
    readiness.reset()
    assert "nothing received" in await readiness.problem()
    answers["/stats"] = Response(200, LIVE.encode())
    readiness.draining = True
    assert "draining" in await readiness.problem()


async def report() -> dict[str, Any]:
    relay = {"connectedSince": 5.0, "counters": {"requests": 7}}
    return {"started": 1.0, "envoy": {"starts": 2}, "relay": relay}


async def body_of(response: Response) -> bytes:
    if isinstance(response.body, bytes):
        return response.body
    return b"".join([part async for part in response.body])


async def test_statistics_are_merged_and_stand_without_envoy(serve: Serve) -> None:
    admin = await serve({"/stats/prometheus": Response(200, b"envoy_up 1\n")})
    status = Status(admin, admin, Readiness(admin), report)
    text = await body_of(await status.public(Request("GET", "/metrics", "", "10.0.0.9")))
    assert b"tidegate_agent_xds_requests_total 7\n" in text and text.endswith(b"envoy_up 1\n")
    alone = Status(admin, Client("127.0.0.1", 1), Readiness(admin), report)
    text = await body_of(await alone.public(Request("GET", "/metrics", "", "10.0.0.9")))
    assert b"tidegate_agent_envoy_starts_total 2\n" in text and b"envoy_up" not in text


@pytest.mark.parametrize(
    ("method", "peer", "status"), [("POST", "10.0.0.9", 403), ("GET", "127.0.0.1", 405), ("POST", "127.0.0.1", 200)]
)
async def test_quit_and_drain_are_for_loopback(method: str, peer: str, status: int) -> None:
    nobody = Client("127.0.0.1", 1)
    told = Status(nobody, nobody, Readiness(nobody), report)
    asked: list[str] = []
    told.on_quit = lambda: asked.append("quit")
    response = await told.public(Request(method, "/quitquitquit", "", peer))
    assert response.status == status
    assert asked == (["quit"] if status == 200 else [])


async def test_admin_is_passed_on_read_only(serve: Serve) -> None:
    admin = await serve({"/config_dump": Response(200, b"{}", "application/json")})
    status = Status(admin, admin, Readiness(admin), report)
    answer = await status.local(Request("GET", "/envoy/config_dump", "resource=x", ""))
    assert (answer.status, answer.content_type, await body_of(answer)) == (200, "application/json", b"{}")
    assert (await status.local(Request("POST", "/envoy/quitquitquit", "", ""))).status == 405
    assert (await status.local(Request("GET", "/elsewhere", "", ""))).status == 404


async def test_an_answer_that_is_too_large_is_cut_with_an_error(serve: Serve) -> None:
    client = await serve({"/big": Response(200, b"x" * 1000)})
    with pytest.raises(UpstreamHttpError, match="larger than 100 bytes"):
        await client.get("/big", 100)


async def test_garbage_ends_the_connection_only(serve: Serve) -> None:
    client = await serve({"/": Response(200, b"fine")})
    reader, writer = await asyncio.open_connection(client.host, client.port)
    writer.write(b"\x16\x03\x01 garbage\r\n\r\n")
    assert await reader.read() == b""
    writer.close()
    assert await client.get("/", 100) == (200, b"fine")


def test_other_lines_of_stats_are_passed_over() -> None:
    assert read_stats("a.b: 1\nhistogram: P0(1,2)\ntext: none\n") == {"a.b": 1}
