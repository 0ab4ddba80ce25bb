"""The agent asks the application in the kubelet's stead."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from tidegate.agent.appprobes import LOCALHOST, AppProbes, address_of, parse
from tidegate.kit.errors import TidegateError
from tidegate.kit.injected import PROBES


def probes(told: object) -> AppProbes:
    return AppProbes(parse({PROBES: json.dumps(told)}), "127.0.0.1")


@asynccontextmanager
async def http_server(answer: Callable[[str], str]) -> AsyncIterator[tuple[int, list[str]]]:
    seen: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        seen.append(head + str(writer.get_extra_info("peername")[0]))
        writer.write(answer(head).encode())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], seen


def reply(status: str) -> str:
    return f"HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n"


@pytest.mark.parametrize(
    ("said", "expected"), [("200 OK", 200), ("302 Found", 200), ("500 Oops", 500), ("404 No", 404)]
)
def test_an_http_probe_has_the_applications_status(said: str, expected: int) -> None:
    async def run() -> int:
        async with http_server(lambda _head: reply(said)) as (port, _):
            told = {"/app-health/web/readyz": {"httpGet": {"port": port, "path": "/ok"}}}
            return (await probes(told).answer("/app-health/web/readyz")).status

    assert asyncio.run(run()) == expected


def test_headers_path_and_source_are_those_of_a_probe() -> None:
    async def run() -> str:
        async with http_server(lambda _head: reply("200 OK")) as (port, seen):
            headers = [{"name": "Host", "value": "web.example"}, {"name": "X-Probe", "value": "yes"}]
            get = {"port": port, "path": "/ready?deep=1", "httpHeaders": headers}
            await probes({"/app-health/web/livez": {"httpGet": get}}).answer("/app-health/web/livez")
            return seen[0]

    said = asyncio.run(run())
    assert said.startswith("GET /ready?deep=1 HTTP/1.1\r\n")
    assert "host: web.example\r\n" in said.lower()
    assert "x-probe: yes\r\n" in said.lower()
    assert said.endswith("127.0.0.6"), "the packet rules let only this source pass to the application"


def test_a_tcp_probe_only_connects() -> None:
    async def run() -> tuple[int, int]:
        async with http_server(lambda _head: "") as (port, _):
            open_port = await probes({"/app-health/web/livez": {"tcpSocket": {"port": port}}}).answer(
                "/app-health/web/livez"
            )
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            closed = {"tcpSocket": {"port": taken.getsockname()[1]}}
            refused = await probes({"/app-health/web/livez": closed}).answer("/app-health/web/livez")
        return open_port.status, refused.status

    assert asyncio.run(run()) == (200, 503)


@pytest.mark.parametrize(("answer", "expected"), [(b"\x08\x01", 200), (b"\x08\x02", 503), (b"", 503)])
def test_a_grpc_probe_asks_the_health_service(answer: bytes, expected: int) -> None:
    async def run() -> tuple[int, list[bytes]]:
        asked: list[bytes] = []

        async def check(request: bytes, _context: object) -> bytes:
            asked.append(request)
            return answer

        server = grpc.aio.server()
        handler = grpc.unary_unary_rpc_method_handler(check)
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": handler}),)
        )
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        told = {"/app-health/web/readyz": {"grpc": {"port": port, "service": "shop"}, "timeoutSeconds": 10}}
        status = (await probes(told).answer("/app-health/web/readyz")).status
        await server.stop(None)
        return status, asked

    assert asyncio.run(run()) == (expected, [b"\x0a\x04shop"])


def test_a_grpc_probe_comes_from_the_address_that_the_rules_let_pass() -> None:
    async def run() -> list[str]:
        peers: list[str] = []

        async def check(_: bytes, context: Any) -> bytes:
            peers.append(context.peer())
            return b"\x08\x01"

        server = grpc.aio.server()
        handler = grpc.unary_unary_rpc_method_handler(check)
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": handler}),)
        )
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        told = {"/app-health/web/readyz": {"grpc": {"port": port}, "timeoutSeconds": 10}}
        assert (await probes(told).answer("/app-health/web/readyz")).status == 200
        await server.stop(None)
        return peers

    assert [peer.rpartition(":")[0] for peer in asyncio.run(run())] == ["ipv4:127.0.0.6"]


def test_a_grpc_probe_of_nobody_fails_in_words() -> None:
    answer = asyncio.run(probes({"/app-health/a/livez": {"grpc": {"port": 1}}}).answer("/app-health/a/livez"))
    assert (answer.status, answer.body) == (503, b"the application's health check failed: UNAVAILABLE\n")


def test_without_rules_for_ipv6_a_probe_comes_from_any_of_its_addresses() -> None:
    """Rules bring ::6 along; where it is not there, nothing leads the probe away."""

    async def run() -> tuple[int, list[str]]:
        peers: list[str] = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            peers.append(str(writer.get_extra_info("peername")[0]))
            writer.close()
            seen.set()

        seen = asyncio.Event()
        try:
            server = await asyncio.start_server(serve, "::1", 0)
        except OSError as error:
            pytest.skip(f"no IPv6 here: {error}")
        async with server:
            told = {PROBES: json.dumps({"/app-health/a/livez": {"tcpSocket": {"port": port_of(server)}}})}
            status = (await AppProbes(parse(told), "::1").answer("/app-health/a/livez")).status
            await asyncio.wait_for(seen.wait(), 10)
        return status, peers

    assert asyncio.run(run()) == (200, ["::1"])


def port_of(server: asyncio.Server) -> int:
    return int(server.sockets[0].getsockname()[1])


def test_an_unknown_probe_is_not_found() -> None:
    assert asyncio.run(probes({}).answer("/app-health/web/livez")).status == 404


def test_what_is_no_probe_is_refused() -> None:
    with pytest.raises(TidegateError, match=PROBES):
        parse({PROBES: '{"/app-health/web/livez": {"httpGet": {"port": [80]}}}'})


def test_a_port_that_the_container_has_not_is_named() -> None:
    answer = asyncio.run(
        probes({"/app-health/web/livez": {"httpGet": {"port": "htpp"}}}).answer("/app-health/web/livez")
    )
    assert (answer.status, answer.body) == (503, b"the container has no port named 'htpp'\n")


def test_where_inbound_traffic_goes_to_loopback_probes_do() -> None:
    assert address_of({LOCALHOST: "true"}, "10.0.0.1") == "127.0.0.1"
    assert address_of({LOCALHOST: "true"}, "fd00::1") == "::1"
    assert address_of({}, "10.0.0.1") == "10.0.0.1"
