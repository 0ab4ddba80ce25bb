"""Simulated connections: ``explain`` on our configuration says what istiod's own simulation says.

That simulation looks at the path of a request and never at its headers, and knows mutual TLS by the name of a secret:
the questions are asked, and the answers read, in that profile.
"""

import json
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from conformance import cases, difference
from conformance.cases import Case
from conformance.suite import Json, Outcome, judged
from tidegate.app.offline.compile import Compiled
from tidegate.dump.read import parse
from tidegate.explain.config import EnvoyConfig, read_config
from tidegate.explain.connection import Connection, HttpRequest, TlsHello
from tidegate.explain.interpret import Profile, interpret
from tidegate.explain.trace import End, Step, Trace

PROFILE = Profile(match_headers=False)
FIELDS = ("listener", "filter_chain", "route_config", "virtual_host", "route", "cluster")

_STAGES = {
    "listener": "listener",
    "filter_chain": "filter_chain",
    "virtual_host": "virtual_host",
    "route": "route",
    "cluster": "cluster",
}
_SAME_WORDS = frozenset({"no_listener", "no_filter_chain", "no_route", "no_virtual_host", "protocol_error"})
_VERSIONS: dict[str, Any] = {"http": "1.1", "http2": "2"}


def calls(folder: Path) -> Iterator[Outcome]:
    """One outcome for each call of each case."""
    for case in cases.load_all(folder):
        if not case.raw["calls"]:
            continue
        try:
            config: EnvoyConfig | None = read_config(_as_simulated(case.compiled().config_dump()))
            broken = ""
        except Exception:
            config, broken = None, traceback.format_exc(limit=-8)
        yield from _of_case(case, config, broken)


def _as_simulated(dump: Json) -> Json:
    """As istiod's simulation takes a configuration: it asks for no secrets, of which the cases give none, and the
    capturing listeners take connections of either family."""
    configs = [each for each in dump["configs"] if not each["@type"].endswith(".SecretsConfigDump")]
    for part in configs:
        for entry in part.get("dynamicListeners", ()):
            listener = entry["activeState"]["listener"]
            address = listener.get("address", {}).get("socketAddress", {})
            if listener.get("useOriginalDst") and address.get("address") == "0.0.0.0":
                both = {"address": {"socketAddress": {**address, "address": "::"}}}
                listener["additionalAddresses"] = [*listener.get("additionalAddresses", ()), both]
    return {**dump, "configs": configs}


def _of_case(case: Case, config: EnvoyConfig | None, broken: str) -> Iterator[Outcome]:
    for number, each in enumerate(case.raw["calls"]):
        name = f"{case.name} [{number}] {each['name']}"
        if config is None:
            yield Outcome(name, broken)
        else:
            yield from judged([each], lambda _, name=name: name, lambda c: call(config, c, case.proxy_type))


def call(config: EnvoyConfig, given: Json, proxy_type: str) -> str:
    """The difference between the verdict that a call expects and ours."""
    asked = connection(given["call"], proxy_type)
    trace = interpret(config, asked, PROFILE)
    found = observed(trace, given["call"])
    expected = dict(given["expect"])
    wanted: Json = {**dict.fromkeys(FIELDS, ""), **expected} if given["strict"] else expected
    wanted.setdefault("error", "")
    wanted = {key: _undomained(value) for key, value in wanted.items()}
    made: Json = {key: _undomained(found.get(key, "")) for key in wanted}
    context = given.get("expect_tls_context")
    if context:
        wanted["tls"] = context
        made["tls"] = tls_context(trace)
    differing = difference.of(wanted, made)
    return f"{given['call']}\nistiod met {given['observed']}\nours met   {found}\n{differing}" if differing else ""


def _undomained(name: str) -> str:
    """The suite's objects lie in no cluster domain: a short name becomes name.namespace there, and no more."""
    return name.removesuffix(".svc.cluster.local")


def connection(given: Json, proxy_type: str) -> Connection:
    """The connection of a call."""
    inbound, sidecar = given["call_mode"] == "inbound", proxy_type == "sidecar"
    hello = None
    if given["tls"] != "plaintext" or given.get("sni"):  # the simulation sees a server name even without TLS
        alpn = (given["alpn"],) if given.get("alpn") else ()
        hello = TlsHello(sni=given.get("sni", ""), alpn=alpn, mutual=given["tls"] == "mtls")
    version = _VERSIONS.get(given.get("protocol", ""))
    request = None
    if version is not None:
        headers = tuple((k, v) for k, values in (given.get("headers") or {}).items() for v in values)
        request = HttpRequest(
            version=version, authority=given.get("host_header", ""), path=given["path"], headers=headers
        )
    return Connection(
        direction="inbound" if inbound else "outbound" if sidecar else "gateway",
        ip=given["address"],
        port=given["port"],
        tls=hello,
        http=request,
        plain_bytes=request is None,
    )


def observed(trace: Trace, given: Json) -> Json:
    """What was met on the way, and the error, in the suite's words."""
    found: Json = {}
    for step in trace.steps:
        if step.stage in _STAGES and step.name:
            found[_STAGES[step.stage]] = step.name
        if step.stage == "virtual_host" and step.facts.get("routeConfiguration"):
            found["route_config"] = step.facts["routeConfiguration"]
    error = _ambiguous(trace) or _tls_error(trace, given) or _error(trace.end)
    return {**found, "error": error} if error else found


def _ambiguous(trace: Trace) -> str:
    chains = [step for step in trace.steps if step.stage == "filter_chain"]
    return "multiple_filter_chain" if any(step.facts.get("ambiguous") for step in chains) else ""


def _tls_error(trace: Trace, given: Json) -> str:
    """A chain that ends TLS demands mutual TLS when its first certificate has the name, and nothing else does."""
    context = _context(trace)
    if context is None:
        return ""
    if given["tls"] == "plaintext":
        return "tls_error"
    named = (context.facts.get("certificates") or [""])[0] == given.get("mtls_secret_config_name", "default")
    mutual = named and bool(context.facts.get("requireClientCertificate"))
    return "mtls_error" if mutual != (given["tls"] == "mtls") else ""


def _context(trace: Trace) -> Step | None:
    return next((step for step in trace.steps if step.stage == "downstream_tls"), None)


def tls_context(trace: Trace) -> Json:
    """The first certificate secret of the chain that was met, and whether it asks for the client's."""
    context = _context(trace)
    facts = context.facts if context is not None else {}
    return {
        "transport_socket_sds_secret": (facts.get("certificates") or [""])[0],
        "require_client_certificate": bool(facts.get("requireClientCertificate")),
    }


def _error(end: End) -> str:
    if end.kind == "redirect" and end.http_status == 301 and end.location.startswith("https:"):
        return "tls_redirect"
    return end.kind if end.kind in _SAME_WORDS else ""


def tables(folder: Path) -> Iterator[Outcome]:
    """One outcome for each case that names clusters of a route configuration's hosts, or all inbound clusters."""
    found = (c for c in cases.load_all(folder) if "expect_route_hosts" in c.raw or "expect_inbound_clusters" in c.raw)
    return judged(found, lambda c: c.name, _tables)


def _tables(case: Case) -> str:
    compiled = case.compiled()
    parts = []
    if hosts := case.raw.get("expect_route_hosts"):
        made = _hosts(compiled, hosts["route_config"])
        wanted = hosts["hosts"] or {}
        parts.append(difference.of(wanted, {name: made.get(name) for name in wanted}))
    if inbound := case.raw.get("expect_inbound_clusters"):
        parts.append(difference.of(inbound, _inbound(compiled)))
    return "\n".join(part for part in parts if part)


def _hosts(compiled: Compiled, route_config: str) -> Json:
    """Every domain of a route configuration with the clusters of its routes."""
    for raw in parse_dump(compiled).raw_routes():
        if raw.get("name") == route_config:
            return {
                domain: [name for route in host.get("routes", ()) for name in _clusters(route.get("route") or {})]
                for host in raw.get("virtualHosts", ())
                for domain in host.get("domains", ())
            }
    return {}


def _clusters(action: Json) -> list[str]:
    weighted = (action.get("weightedClusters") or {}).get("clusters") or ()
    return [action["cluster"]] if "cluster" in action else [each["name"] for each in weighted]


def _inbound(compiled: Compiled) -> Json:
    endpoints: Json = {}
    services: dict[str, list[str]] = {}
    for raw in parse_dump(compiled).raw_clusters():
        if not raw["name"].startswith("inbound|"):
            continue
        groups = (raw.get("loadAssignment") or {}).get("endpoints") or ()
        addresses = [_address(each) for group in groups for each in group.get("lbEndpoints", ())]
        endpoints[raw["name"]] = addresses or None
        named = (raw.get("metadata") or {}).get("filterMetadata", {}).get("istio", {}).get("services") or ()
        services[raw["name"]] = sorted(each["host"] for each in named)
    told = {name: hosts for name, hosts in services.items() if hosts}
    return {"endpoints": endpoints or None, "telemetry_services": told or None}


def _address(member: Json) -> str:
    socket = member["endpoint"]["address"]["socketAddress"]
    return f"{socket['address']}:{socket['portValue']}"


def parse_dump(compiled: Compiled) -> Any:
    return parse(json.dumps(compiled.config_dump()).encode())
