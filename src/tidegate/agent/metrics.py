"""What a scrape of the agent gets: the agent's own statistics, Envoy's and the application's, as one exposition.

What fails is left out and counted; the rest stands.
"""

import contextlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from typing import Any, Literal

from tidegate import __version__
from tidegate.agent.exposition import END, OPEN_METRICS, TEXT, Part, Translator, rendered, whole_lines
from tidegate.agent.http import Client, Request, Response, UpstreamHttpError
from tidegate.agent.scrape import Applications

log = logging.getLogger(__name__)

MAX_STATS = 64 * 1024 * 1024
Source = Literal["envoy", "application", "agent"]


class Metrics:
    """Answers scrapes."""

    def __init__(self, envoy: Client) -> None:
        self._envoy = envoy
        self.applications = Applications((), "")
        """Whose statistics injection has led here."""
        self.scrapes = 0
        self.failures: dict[Source, int] = {"envoy": 0, "application": 0, "agent": 0}

    async def answer(self, request: Request, report: dict[str, Any]) -> Response:
        """The whole of it; OpenMetrics if an application has told OpenMetrics, for that ends what it ends."""
        self.scrapes += 1
        parts, failed = await self.applications.ask(request)
        self.failures["application"] += failed
        open_metrics = any(part.open_metrics for part in parts)
        envoy = await self._of_envoy()
        own = Part(self._own(report))
        return Response(200, self._joined(own, envoy, parts, open_metrics), OPEN_METRICS if open_metrics else TEXT)

    async def _of_envoy(self) -> AsyncGenerator[bytes, None] | None:
        try:
            status, _, chunks = await self._envoy.stream("/stats/prometheus", MAX_STATS)
            if status == 200:
                return chunks
            await chunks.aclose()
            error = f"{self._envoy} answers {status}"
        except UpstreamHttpError as raised:
            error = str(raised)
        self._envoy_failed(error)
        return None

    def _envoy_failed(self, why: str) -> None:
        self.failures["envoy"] += 1
        log.info("Envoy's statistics are left out: %s", why)

    async def _joined(
        self, own: Part, envoy: AsyncGenerator[bytes, None] | None, parts: list[Part], open_metrics: bool
    ) -> AsyncGenerator[bytes, None]:
        for piece in rendered(own, open_metrics=open_metrics):
            yield piece
        if envoy is not None:
            async for piece in self._streamed(envoy, open_metrics):
                yield piece
        for part in parts:
            for piece in rendered(part, open_metrics=open_metrics):
                yield piece
        if open_metrics:
            yield END

    async def _streamed(self, envoy: AsyncGenerator[bytes, None], open_metrics: bool) -> AsyncIterator[bytes]:
        """Envoy's, as they come: those of a large mesh are not held in memory."""
        translator = Translator()
        async with contextlib.aclosing(envoy) as chunks:
            try:
                async for lines in whole_lines(chunks):
                    yield translator.lines(lines) if open_metrics else lines
            except UpstreamHttpError as error:
                self._envoy_failed(f"they break off: {error}")
        if rest := translator.rest():
            yield rest

    def _own(self, report: dict[str, Any]) -> bytes:
        try:
            return b"".join((*exposition(report), *self._scrape_lines()))
        except (KeyError, TypeError):
            self.failures["agent"] += 1
            log.exception("the agent's own statistics are left out")
            return b""

    def _scrape_lines(self) -> Iterator[bytes]:
        yield _line("istio_agent_scrapes_total", "counter", self.scrapes)
        failures = "".join(f'{_FAILURES}{{type="{source}"}} {n}\n' for source, n in self.failures.items())
        yield f"# TYPE {_FAILURES} counter\n{failures}".encode()


_FAILURES = "istio_agent_scrape_failures_total"
_RELAYED = {
    "upstream_failures": "istio_agent_istiod_connection_failures",
    "requests": "istio_agent_xds_proxy_requests",
    "responses": "istio_agent_xds_proxy_responses",
}
_ASKED = {
    "queries": "istio_agent_dns_requests_total",
    "forwarded": "istio_agent_dns_upstream_requests_total",
    "failures": "istio_agent_dns_upstream_failures_total",
}
"""Counters under the names that Istio's dashboards ask for."""


def exposition(report: dict[str, Any]) -> Iterator[bytes]:
    """The agent's own numbers in Prometheus' text format, from what ``GET /status`` tells."""
    relay, envoy = report["relay"], report["envoy"]
    yield f'# TYPE istio_build gauge\nistio_build{{component="agent",tag="{__version__}"}} 1\n'.encode()
    yield _line("tidegate_agent_start_time_seconds", "gauge", report["started"])
    yield _line("tidegate_agent_envoy_starts_total", "counter", envoy["starts"])
    yield _line("tidegate_agent_upstream_connected", "gauge", int(relay["connectedSince"] is not None))
    if report.get("startup") is not None:
        yield _line("istio_agent_startup_duration_seconds", "gauge", report["startup"])
    yield from _counted(relay["counters"], "tidegate_agent_xds", _RELAYED)
    yield from _counted(report.get("dns", {}).get("counters", {}), "tidegate_agent_dns", _ASKED)


def _counted(counters: dict[str, int], prefix: str, as_istio: dict[str, str]) -> Iterator[bytes]:
    for name, value in counters.items():
        yield _line(f"{prefix}_{name}_total", "counter", value)
        if name in as_istio:
            yield _line(as_istio[name], "counter", value)


def _line(name: str, kind: str, value: float) -> bytes:
    return f"# TYPE {name} {kind}\n{name} {value}\n".encode()
