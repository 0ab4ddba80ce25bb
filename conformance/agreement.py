"""``explain`` on istiod's configuration and on ours: the same verdict for connections drawn from what the proxy sees.

Connections go to every service at every port, in the port's protocol and in others, by each path that a route names;
inward to every port that the workload serves; and at gateways to every server.
"""

import json
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from conformance import difference
from conformance.recorded.scenario import Scenario
from conformance.suite import Json, Outcome
from tidegate.app.offline.compile import Compiled
from tidegate.app.offline.proxyspec import ProxySpec
from tidegate.dump.read import parse
from tidegate.explain.config import EnvoyConfig, read_config
from tidegate.explain.connection import Connection, HttpRequest, TlsHello
from tidegate.explain.interpret import interpret
from tidegate.registry.addresses import is_ip
from tidegate.registry.model import Protocol, Service

ELSEWHERE = "203.0.113.9"
"""An address that no service has (RFC 5737)."""
_MESH = TlsHello(sni="outbound_.80_._.any.example", alpn=("istio-http/1.1",), mutual=True)
_MOST_PATHS = 12


def judge(folder: Path) -> Iterator[Outcome]:
    """One outcome for each connection of each proxy of each scenario."""
    for each in sorted(f.parent for f in folder.glob("*/proxies.json")):
        scenario = Scenario(each)
        for spec in scenario.proxies():
            yield from _of_proxy(scenario, spec)


def _of_proxy(scenario: Scenario, spec: ProxySpec) -> Iterator[Outcome]:
    name = f"{scenario.folder.name} {spec.name}"
    try:
        compiled = scenario.compiled(spec)
        ours, theirs = read_config(compiled.config_dump()), read_config(scenario.expected(spec))
        asked = dict.fromkeys(connections(compiled, spec))
    except Exception:
        yield Outcome(name, traceback.format_exc(limit=-8))
        return
    for number, connection in enumerate(asked):
        start = time.perf_counter()
        differing = difference.of(*(verdict(config, connection) for config in (theirs, ours)))
        told = f"{connection}\n{differing}" if differing else ""
        yield Outcome(f"{name} [{number}]", told, time.perf_counter() - start)


def verdict(config: EnvoyConfig, connection: Connection) -> list[Json]:
    """How the connection ends, as far as the one who opens it, and the far side, could notice."""
    trace = interpret(config, connection)
    return [
        {
            "end": end.kind,
            "probability": round(end.probability, 4),
            "cluster": end.cluster,
            "status": end.http_status,
            "endpoints": sorted({each.address for each in end.endpoints}),
            "tls": end.upstream_tls.mode if end.upstream_tls else "",
        }
        for end in trace.ends
    ]


def connections(compiled: Compiled, spec: ProxySpec) -> Iterator[Connection]:
    """Everything that is asked about one proxy."""
    if spec.type == "router":
        yield from _to_gateway(compiled)
        return
    for service in compiled.world.services.values():
        yield from _outward(compiled, service)
    workload = compiled.world.workloads.get(compiled.proxy.workload) if compiled.proxy.workload else None
    for target in compiled.world.targets(workload) if workload is not None else ():
        yield from _inward(compiled.proxy.addresses[0], target.endpoint_port, target.service.host)


def _outward(compiled: Compiled, service: Service) -> Iterator[Connection]:
    listed = [a for a in service.addresses if is_ip(a)]
    listed += [e.address for e in compiled.world.endpoints.get(service.key, ()) if is_ip(e.address)][:1]
    for port in service.ports:
        if port.protocol is not Protocol.UDP:
            for ip in (*listed[:2], ELSEWHERE):
                yield from _spoken(Connection(ip=ip, port=port.number), _host(service.host), _paths(compiled))


def _host(host: str) -> str:
    """A name that a wildcard covers."""
    return host.replace("*", "any", 1)


def _paths(compiled: Compiled) -> tuple[str, ...]:
    """Paths that routes name, and one that none does."""
    matches = [
        match.uri
        for rule in compiled.world.virtual_services.values()
        for http in rule.spec.http
        for match in http.match
        if match.uri is not None
    ]
    named = [text for uri in matches if (text := uri.exact or uri.prefix)]
    return tuple(dict.fromkeys(("/", *named[:_MOST_PATHS], "/nobody-names-this")))


def _spoken(base: Connection, host: str, paths: tuple[str, ...]) -> Iterator[Connection]:
    """One place in every protocol."""
    for path in paths:
        yield _with(base, http=HttpRequest(authority=host, path=path))
    yield _with(base, http=HttpRequest(version="2", authority=host))
    yield _with(base, tls=TlsHello(sni=host, alpn=("h2", "http/1.1")), http=HttpRequest(authority=host))
    yield _with(base, tls=TlsHello(), plain_bytes=True)
    yield _with(base, plain_bytes=True)
    yield _with(base, server_first=True)


def _with(base: Connection, **more: Any) -> Connection:
    return Connection(direction=base.direction, ip=base.ip, port=base.port, **more)


def _inward(ip: str, port: int, host: str) -> Iterator[Connection]:
    base = Connection(direction="inbound", ip=ip, port=port)
    yield from _spoken(base, host, ("/", "/nobody-names-this"))
    yield _with(base, tls=_MESH, http=HttpRequest(authority=host))


def _to_gateway(compiled: Compiled) -> Iterator[Connection]:
    ip = compiled.proxy.addresses[0]
    read = parse(json.dumps(compiled.config_dump()).encode())
    ports = {port for raw in read.raw_listeners() if (port := _port(raw))}
    gateways = [each for of_space in compiled.world.policies("Gateway").values() for each in of_space]
    hosts = {host.rpartition("/")[2] for each in gateways for server in each.spec.servers for host in server.hosts}
    for port in sorted(ports):
        for host in sorted(hosts):
            yield from _spoken(Connection(direction="gateway", ip=ip, port=port), _host(host), _paths(compiled))


def _port(raw: Json) -> int:
    return int(((raw.get("address") or {}).get("socketAddress") or {}).get("portValue") or 0)
