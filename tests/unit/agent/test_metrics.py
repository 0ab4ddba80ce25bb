"""A scrape of the agent: three sources, one exposition."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as text_format

from tidegate.agent.exposition import OPEN_METRICS, TEXT, Part, Translator, negotiated, rendered, whole_lines
from tidegate.agent.http import Client, Request, Response, UpstreamHttpError, serve_connection
from tidegate.agent.metrics import Metrics
from tidegate.agent.scrape import Applications, Target, seconds_of, targets
from tidegate.kit.errors import TidegateError
from tidegate.kit.injected import SCRAPES

ENVOY = (
    "# TYPE envoy_cluster_upstream_rq_total counter\n"
    'envoy_cluster_upstream_rq_total{cluster_name="a b}"} 5\n\n'
    "# TYPE envoy_cluster_upstream_cx_connect counter\nenvoy_cluster_upstream_cx_connect{} 2\n"
    "# TYPE envoy_server_live gauge\nenvoy_server_live{} 1\n"
    "# TYPE envoy_time_ms histogram\n"
    'envoy_time_ms_bucket{le="1"} 3\nenvoy_time_ms_bucket{le="+Inf"} 4\n'
    "envoy_time_ms_sum{} 9\nenvoy_time_ms_count{} 4\n"
)
TEXT_APP = "# HELP sold_total What was sold.\n# TYPE sold_total counter\nsold_total 7 1700000000500"
OPEN_APP = '# TYPE kept counter\nkept_total 9.0 # {trace_id="abc"} 1.0\n# EOF\n'
REPORT: dict[str, Any] = {
    "started": 1.5,
    "startup": 0.75,
    "envoy": {"starts": 2},
    "relay": {"connectedSince": 5.0, "counters": {"requests": 7, "upstream_failures": 1}},
    "dns": {"counters": {"queries": 3}},
}
ALLOWED = {"accept": "application/openmetrics-text;version=1.0.0,text/plain"}
Serve = Callable[..., Any]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """One answer on a port of its own, and what was asked."""
    servers: list[asyncio.Server] = []

    async def start(answer: Response | float) -> tuple[int, list[Request]]:
        seen: list[Request] = []

        async def handler(request: Request) -> Response:
            seen.append(request)
            if isinstance(answer, float):
                await asyncio.sleep(answer)
                return Response()
            return answer

        server = await asyncio.start_server(lambda r, w: serve_connection(handler, r, w), "127.0.0.1", 0)
        servers.append(server)
        return server.sockets[0].getsockname()[1], seen

    yield start
    for server in servers:
        server.close()


def metrics(envoy: int, *ports: int) -> Metrics:
    made = Metrics(Client("127.0.0.1", envoy))
    made.applications = Applications(tuple(Target(port) for port in ports), "127.0.0.1")
    return made


async def scraped(made: Metrics, **headers: str) -> tuple[str, str]:
    answer = await made.answer(Request("GET", "/stats/prometheus", "", "10.0.0.9", headers), REPORT)
    assert not isinstance(answer.body, bytes) and answer.status == 200
    return answer.content_type, b"".join([part async for part in answer.body]).decode()


def text(body: str, kind: str = "text/plain; version=0.0.4") -> Response:
    return Response(200, body.encode(), kind)


async def test_three_sources_in_the_text_format(serve: Serve) -> None:
    (envoy, _), (app, asked) = await serve(text(ENVOY)), await serve(text(TEXT_APP))
    kind, body = await scraped(metrics(envoy, app), **ALLOWED)
    assert kind == TEXT and body.endswith("sold_total 7 1700000000500\n") and ENVOY in body
    names = {family.name for family in text_format(body)}
    assert {"istio_agent_scrapes", "istio_build", "istio_agent_startup_duration_seconds", "sold"} <= names
    assert "istio_agent_xds_proxy_requests 7\n" in body and "istio_agent_istiod_connection_failures 1\n" in body
    assert "istio_agent_dns_requests_total 3\n" in body and "tidegate_agent_envoy_starts_total 2\n" in body
    assert asked[0].path == "/metrics"
    assert asked[0].headers["accept"].startswith("application/openmetrics-text")


async def test_an_application_that_tells_open_metrics_makes_all_of_it_open_metrics(serve: Serve) -> None:
    envoy, _ = await serve(text(ENVOY))
    (app, _), (other, _) = await serve(text(OPEN_APP, OPEN_METRICS)), await serve(text(TEXT_APP))
    kind, body = await scraped(metrics(envoy, app, other), **ALLOWED)
    assert kind == OPEN_METRICS and body.endswith("# EOF\n") and body.count("# EOF") == 1
    families = {family.name: family for family in open_metrics(body)}
    assert families["kept"].samples[0].exemplar is not None
    assert float(families["sold"].samples[0].timestamp) == 1700000000.5
    assert families["sold"].documentation == "What was sold."
    assert families["envoy_cluster_upstream_rq"].samples[0].labels == {"cluster_name": "a b}"}
    assert families["envoy_cluster_upstream_cx_connect"].type == "unknown"
    assert families["envoy_time_ms"].type == "histogram"


async def test_an_asker_of_text_gets_text(serve: Serve) -> None:
    (envoy, _), (app, asked) = await serve(text(ENVOY)), await serve(text(TEXT_APP))
    await scraped(metrics(envoy, app), accept="application/vnd.google.protobuf,text/plain;q=0.1")
    assert asked[0].headers["accept"] == "text/plain;version=0.0.4"


@pytest.mark.parametrize(
    "answer",
    [
        Response(500, b"broken 1\n"),
        Response(200, b"broken 1\n", "application/vnd.google.protobuf"),
        Response(200, b"broken 1\n" * 4_000_000),
        60.0,
    ],
    ids=["status", "kind", "size", "time"],
)
async def test_an_application_that_fails_breaks_nothing_and_is_counted(serve: Serve, answer: Response | float) -> None:
    (envoy, _), (app, _), (good, _) = await serve(text(ENVOY)), await serve(answer), await serve(text(TEXT_APP))
    made = metrics(envoy, app, good, 1)
    kind, body = await scraped(made, **{"x-prometheus-scrape-timeout-seconds": "1.0"})
    assert kind == TEXT and "broken" not in body and ENVOY in body and "sold_total 7" in body
    assert 'istio_agent_scrape_failures_total{type="application"} 2\n' in body
    assert 'istio_agent_scrape_failures_total{type="envoy"} 0\n' in body


async def test_without_envoy_the_rest_stands(serve: Serve) -> None:
    app, _ = await serve(text(TEXT_APP))
    made = metrics(1, app)
    _, body = await scraped(made)
    assert 'istio_agent_scrape_failures_total{type="envoy"} 1\n' in body and "sold_total 7" in body
    _, body = await scraped(made)
    assert "istio_agent_scrapes_total 2\n" in body


async def test_an_envoy_that_breaks_off_leaves_whole_lines(serve: Serve) -> None:
    async def broken() -> AsyncGenerator[bytes, None]:
        yield b"envoy_a 1\nenvoy_b 2\nenvoy_"
        raise RuntimeError("the end")

    (envoy, _), (app, _) = await serve(Response(200, broken())), await serve(text(TEXT_APP))
    made = metrics(envoy, app)
    _, body = await scraped(made)
    assert "envoy_b 2\n# HELP sold_total" in body
    assert made.failures["envoy"] == 1


async def test_whole_lines_of_any_chunks() -> None:
    async def chunks() -> AsyncGenerator[bytes, None]:
        for each in (b"a", b"b\nc", b"", b"d\n\ne", b"f"):
            yield each

    assert b"|".join([each async for each in whole_lines(chunks())]) == b"ab\n|cd\n\n|ef\n"


@pytest.mark.parametrize(
    ("given", "made"),
    [
        (b"a 1\n", b"a 1\n"),
        (b"a 1 2000\n", b"a 1 2.000\n"),
        (b'a{b="}"} 1 1500\n', b'a{b="}"} 1 1.500\n'),
        (b"# a comment\na 1", b"a 1\n"),
        (b"# HELP a_total x\n# TYPE a_total counter\na_total 1\n", b"# HELP a x\n# TYPE a counter\na_total 1\n"),
        (b"# TYPE a untyped\na 1\n", b"# TYPE a unknown\na 1\n"),
        (b"# HELP a x\n# HELP b y\nb 1\n# HELP c\n", b"# HELP a x\n# HELP b y\nb 1\n# HELP c \n"),
        (b"\r\n\n", b""),
        (b"a 1 word\n", b"a 1 word\n"),
    ],
)
def test_from_text_to_open_metrics(given: bytes, made: bytes) -> None:
    translator = Translator()
    assert translator.lines(given) + translator.rest() == made


def test_a_part_ends_where_the_next_begins() -> None:
    assert b"".join(rendered(Part(b"a 1"), open_metrics=False)) == b"a 1\n"
    assert b"".join(rendered(Part(b"a 1\n# EOF\n", True), open_metrics=True)) == b"a 1\n"
    assert b"".join(rendered(Part(b""), open_metrics=False)) == b""


def test_what_is_asked_for() -> None:
    assert negotiated("") == negotiated("*/*") == "text/plain;version=0.0.4"
    assert negotiated("Application/OpenMetrics-Text").startswith("application/openmetrics-text;version=1.0.0")


@pytest.mark.parametrize(("given", "seconds"), [("2", 1.8), ("x", 9.0), ("-1", 10.0), ("1e9", 54.0), ("nan", 10.0)])
def test_the_askers_time(given: str, seconds: float) -> None:
    asked = Request("GET", "/", "", "", {"x-prometheus-scrape-timeout-seconds": given})
    assert seconds_of(asked) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("told", "found"),
    [
        (None, ()),
        ({"scrape": "false", "port": "9"}, ()),
        ({"scrape": "true"}, (Target(80),)),
        ({"scrape": "", "port": "9100", "path": ""}, (Target(9100),)),
        ({"scrape": "true", "port": "9100", "path": "stats"}, (Target(9100, "/stats"),)),
        (
            {"scrape": "true", "targets": [{"port": "9100", "path": "/a"}, {"port": "9200"}]},
            (Target(9100, "/a"), Target(9200)),
        ),
    ],
)
def test_what_injection_told(told: Any, found: tuple[Target, ...]) -> None:
    assert targets({} if told is None else {SCRAPES: json.dumps(told)}, 15020) == found


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("words", "expected scrape, port and path"),
        ('{"scrape": "true", "port": "http"}', "port 'http': expected a number"),
        ('{"scrape": "true", "port": "70000"}', "expected a number"),
        ('{"scrape": "true", "port": "15090"}', "is the proxy's own"),
        ('{"scrape": "true", "port": "16020"}', "is the proxy's own"),
    ],
)
def test_what_cannot_be_asked_is_told(text: str, reason: str) -> None:
    with pytest.raises(TidegateError, match=reason):
        targets({SCRAPES: text}, 16020)


async def test_an_encoding_that_nobody_asked_for(serve: Serve) -> None:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 1\r\n\r\nx")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        client = Client("127.0.0.1", server.sockets[0].getsockname()[1])
        with pytest.raises(UpstreamHttpError, match="'gzip', which was not asked for"):
            await client.stream("/", 10)
