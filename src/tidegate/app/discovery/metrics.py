"""The control plane's metrics, under the names that Istio's dashboards ask for."""

import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest

from tidegate import __version__
from tidegate.xds.acceptance import Refusal
from tidegate.xds.server import Connection
from tidegate.xds.session import Send
from tidegate.xds.types import short

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_PUSH_SECONDS = (0.01, 0.1, 0.5, 1, 3, 5, 10, 20, 30)
_SEND_SECONDS = (0.01, 0.1, 1, 3, 5, 10, 20, 30)
_BYTES = (1, 1e4, 1e6, 4e6, 1e7, 4e7)


class Metrics:
    """A :class:`tidegate.xds.server.ServerObserver`, and what the composition root counts. Has its own registry, so
    that several control planes can live in one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._largest = 0
        self._started = time.monotonic()
        self._make_gauges()
        self._make_counters()
        self._make_times()

    def _make_gauges(self) -> None:
        gauge = self._gauge
        gauge("pilot_info", "Version of the control plane", "version").labels(__version__).set(1)
        gauge("istiod_uptime_seconds", "Seconds since start").set_function(lambda: time.monotonic() - self._started)
        self._xds = gauge("pilot_xds", "Connected proxies by version", "version")
        self._services = gauge("pilot_services", "Services known")
        self._virtual_services = gauge("pilot_virt_services", "VirtualServices known")
        self._recv_max = gauge("pilot_xds_recv_max", "Bytes of the largest discovery request")

    def _make_counters(self) -> None:
        self._pushes = self._counter("pilot_xds_pushes", "Discovery responses sent", "type")
        self._rejects = self._counter("pilot_total_xds_rejects", "Discovery responses that proxies refused", "type")
        self._expired = self._counter("pilot_xds_expired_nonce", "Answers to a response that was not the last", "type")
        self._inbound = self._counter("pilot_inbound_updates", "Changes received", "type")
        self._triggers = self._counter("pilot_push_triggers", "Pushes by what caused them", "type")

    def _make_times(self) -> None:
        self._push_time = self._histogram("pilot_xds_push_time", "Seconds to send a response", _PUSH_SECONDS, "type")
        self._send_time = self._histogram("pilot_xds_send_time", "Seconds to send a response", _SEND_SECONDS)
        self._convergence = self._histogram(
            "pilot_proxy_convergence_time", "Seconds from a change to the end of its push to a proxy", _PUSH_SECONDS
        )
        self._sizes = self._histogram("pilot_xds_config_size_bytes", "Bytes of a response", _BYTES, "type")

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, labels, registry=self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(name, text, labels, buckets=buckets, registry=self.registry)

    # what the composition root tells

    def services(self, services: int, virtual_services: int) -> None:
        """How many objects the current world has."""
        self._services.set(services)
        self._virtual_services.set(virtual_services)

    def inbound_update(self, kind: str, count: int = 1) -> None:
        """Changes taken from the store; kind: config, eds, svc or svcdelete."""
        self._inbound.labels(kind).inc(count)

    def push_trigger(self, reason: str) -> None:
        """One push to the proxies; reason: config, service, endpoint, proxy or global."""
        self._triggers.labels(reason).inc()

    # what the discovery server tells

    def connected(self, connection: Connection) -> None:
        self._xds.labels(_version(connection)).inc()

    def disconnected(self, connection: Connection) -> None:
        self._xds.labels(_version(connection)).dec()

    def sent(self, connection: Connection, send: Send, seconds: float) -> None:
        self._pushes.labels(short(send.type_url)).inc()
        self._push_time.labels(short(send.type_url)).observe(seconds)
        self._send_time.observe(seconds)
        self._sizes.labels(short(send.type_url)).observe(len(send.data))

    def converged(self, seconds: float) -> None:
        self._convergence.observe(seconds)

    def refused(self, connection: Connection, type_url: str, refusals: list[Refusal], error: str) -> None:
        self._rejects.labels(short(type_url)).inc()

    def expired_nonce(self, type_url: str) -> None:
        self._expired.labels(short(type_url)).inc()

    def received(self, size: int) -> None:
        if size > self._largest:
            self._largest = size
            self._recv_max.set(size)

    def text(self) -> bytes:
        """Prometheus' text format. Counters keep Istio's names, without the ``_total`` that the client adds."""
        lines = generate_latest(self.registry).decode().splitlines(keepends=True)
        return "".join(_istio_name(line) for line in lines if "_created" not in line.partition("{")[0]).encode()


def _istio_name(line: str) -> str:
    """Istio's counters have no ``_total`` suffix; those whose name has ``_total_`` within are not touched."""
    if line.startswith("#"):
        mark, kind, name, rest = line.split(" ", 3)
        return f"{mark} {kind} {name.removesuffix('_total')} {rest}"
    at = min(index for index in (line.find("{"), line.find(" ")) if index >= 0)
    return line[:at].removesuffix("_total") + line[at:]


def _version(connection: Connection) -> str:
    """The proxy's version as it tells it; bounded, for it becomes a label."""
    return str(connection.node.metadata.get("ISTIO_VERSION", "unknown"))[:32]
