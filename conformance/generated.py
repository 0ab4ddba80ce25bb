"""Compares a whole configuration with a summary of the expected one, as the cases have it under ``generated``.

A summary tells names, matches, filters, clusters and routes of listeners, clusters and route configurations, not every
field. :func:`summarize` makes the same of what we generate; :func:`compare` names the places that differ, those of
names apart from those of filter chains and routes.
"""

from collections.abc import Callable, Iterable, Iterator
from ipaddress import ip_network
from typing import Any

from google.protobuf import json_format

from tidegate.app.offline.compile import Compiled
from tidegate.envoy import protos
from tidegate.envoy.resource import CLUSTER, LISTENER, ROUTE

Json = dict[str, Any]

_OURS_ONLY = frozenset({"envoy.filters.http.set_filter_state", "envoy.filters.network.set_filter_state"})
"""Filters in the place of those that only Istio's build of Envoy has."""

_DYNAMIC_FORWARD_PROXY = "envoy.clusters.dynamic_forward_proxy"
_PATHS = ("prefix", "path", "pathSeparatedPrefix", "regex")
_ABSENT = "(absent)"


def compare(expected: Json, compiled: Compiled) -> tuple[list[str], list[str]]:
    """Places in which names differ (listeners, clusters, route configurations, virtual hosts and their domains), and
    those in which the rest does (filter chains, routes, types of clusters)."""
    asked = [route["name"] for route in expected["routes"]]
    wanted, given = _reduced(expected), _reduced(summarize(compiled, asked))
    if not wanted["listener"]:  # a set-up in which clusters alone could be generated
        given["listener"] = {}
    names = [each for sort in wanted for each in _names(sort, wanted[sort], given[sort])]
    for each in sorted(wanted["route"].keys() & given["route"].keys()):
        names += _diff(f"route {each}", *(_domains(side["route"][each]) for side in (wanted, given)))
    details: list[str] = []
    for sort in wanted:
        for each in sorted(wanted[sort].keys() & given[sort].keys()):
            details += _diff(f"{sort} {each}", wanted[sort][each], given[sort][each])
    return names, details


def _domains(config: Json) -> Json:
    return {name: host["domains"] for name, host in config["virtual_hosts"].items()}


def _names(sort: str, wanted: Json, given: Json) -> Iterator[str]:
    yield from (f"{sort} {name} is missing" for name in sorted(wanted.keys() - given.keys()))
    yield from (f"{sort} {name} is not expected" for name in sorted(given.keys() - wanted.keys()))


def _diff(at: str, wanted: Any, given: Any) -> Iterator[str]:
    if isinstance(wanted, dict) and isinstance(given, dict):
        for key in sorted(wanted.keys() | given.keys()):
            yield from _diff(f"{at} {key}", wanted.get(key, _ABSENT), given.get(key, _ABSENT))
    elif isinstance(wanted, list) and isinstance(given, list) and len(wanted) == len(given):
        for index, pair in enumerate(zip(wanted, given, strict=True)):
            yield from _diff(f"{at}[{index}]", *pair)
    elif wanted != given:
        yield f"{at}: expected {wanted}, got {given}"


# Both sides in one form


def _reduced(summary: Json) -> dict[str, Json]:
    """By sort and name, without what only one of the two proxies has."""
    return {
        "listener": {each["name"]: _listener(each) for each in summary["listeners"]},
        "cluster": {each["name"]: _cluster(each) for each in summary["clusters"]},
        "route": {each["name"]: _route_config(each) for each in sorted(summary["routes"], key=_size)},
    }


def _size(route_config: Json) -> int:
    """Of several of one name, which a case may list, the largest counts."""
    return len(route_config.get("virtual_hosts") or ())


def _listener(raw: Json) -> Json:
    kept = {key: raw[key] for key in ("address", "port", "additional_addresses") if raw.get(key)}
    kept["bound"] = raw.get("bind_to_port") is not False
    kept["listener_filters"] = sorted(raw.get("listener_filters") or [])
    kept["chains"] = _keyed(map(_chain, raw.get("filter_chains") or []), _match_text)
    if raw.get("default_filter_chain"):
        kept["default"] = _chain(raw["default_filter_chain"])
    return kept


def _match_text(chain: Json) -> str:
    return f"{chain['name']} {chain['match']}".strip()


def _keyed(items: Iterable[Json], name: Callable[[Json], str]) -> Json:
    """Items by name; of several with one name all are kept, numbered."""
    found: Json = {}
    for each in items:
        key = base = name(each)
        count = 1
        while key in found:
            count += 1
            key = f"{base} #{count}"
        found[key] = each
    return found


def _chain(raw: Json) -> Json:
    match = {key: sorted(value, key=str) if isinstance(value, list) else value for key, value in _items(raw, "match")}
    if "prefixRanges" in match:
        match["prefixRanges"] = sorted({_network(each) for each in match["prefixRanges"]})
    kept: Json = {"name": raw.get("name") or "", "match": match, "filters": _filters(raw.get("filters"))}
    kept["http_filters"] = _filters(raw.get("http_filters"))
    for key in ("rds", "tcp_cluster", "tcp_weighted"):
        if raw.get(key):
            kept[key] = raw[key]
    if raw.get("inline_routes"):
        kept["inline_routes"] = _route_config(raw["inline_routes"])
    if raw.get("tls"):
        kept["tls"] = {key: raw["tls"].get(key) for key in ("require_client_certificate", "sds_secrets")}
    return kept


def _network(prefix: Json) -> str:
    """Bits beyond the prefix mean nothing."""
    return str(ip_network(f"{prefix['addressPrefix']}/{prefix.get('prefixLen', 0)}", strict=False))


def _items(raw: Json, key: str) -> Iterable[tuple[str, Any]]:
    found: Json = raw.get(key) or {}
    return sorted(found.items())


def _filters(names: Iterable[str] | None) -> list[str]:
    return [n for n in names or () if not n.startswith("istio.") and n not in _OURS_ONLY]


def _cluster(raw: Json) -> Json:
    kept = {key: raw[key] for key in ("type", "lb_policy") if raw.get(key)}
    kept["transport_socket_matches"] = sorted(raw.get("transport_socket_matches") or [])
    kept["endpoints"] = sorted(str(sorted(each.items())) for each in raw.get("endpoints") or [])
    return kept


def _route_config(raw: Json) -> Json:
    return {"virtual_hosts": {each["name"]: _virtual_host(each) for each in raw.get("virtual_hosts") or []}}


def _virtual_host(raw: Json) -> Json:
    return {
        "domains": sorted(raw["domains"]),
        "require_tls": raw.get("require_tls") or "",
        "routes": [_route(each) for each in raw.get("routes") or []],
    }


def _route(raw: Json) -> Json:
    kept = {key: raw[key] for key in ("cluster", "direct_response_status", "weighted_clusters") if raw.get(key)}
    kept["name"] = raw.get("name") or ""
    kept["match"] = {key: value for key, value in _items(raw, "match") if key in _PATHS}
    return kept


# A summary of what we generate


def summarize(compiled: Compiled, routes: Iterable[str]) -> Json:
    """As the cases have it, of all listeners and clusters and of the route configurations named."""
    listeners = [protos.Listener.FromString(r.body) for r in compiled.resources(LISTENER).values()]
    clusters = [protos.Cluster.FromString(r.body) for r in compiled.resources(CLUSTER).values()]
    configs = [protos.RouteConfiguration.FromString(r.body) for r in compiled.resources(ROUTE, iter(routes)).values()]
    return {
        "listeners": [_of_listener(each) for each in listeners],
        "clusters": [_of_cluster(each) for each in clusters],
        "routes": [_of_route_config(each) for each in configs],
    }


def _of_listener(message: Any) -> Json:
    where = message.address.socket_address
    found: Json = {
        "name": message.name,
        "address": where.address,
        "port": where.port_value,
        "listener_filters": [f.name for f in message.listener_filters],
        "filter_chains": [_of_chain(c) for c in message.filter_chains],
        "additional_addresses": [a.address.socket_address.address for a in message.additional_addresses],
    }
    if message.HasField("bind_to_port"):
        found["bind_to_port"] = message.bind_to_port.value
    if message.HasField("default_filter_chain"):
        found["default_filter_chain"] = _of_chain(message.default_filter_chain)
    return found


def _of_chain(message: Any) -> Json:
    found: Json = {"name": message.name, "filters": [f.name for f in message.filters]}
    if message.HasField("filter_chain_match"):
        found["match"] = json_format.MessageToDict(message.filter_chain_match)
    for each in message.filters:
        _add_filter(found, each.typed_config)
    if message.HasField("transport_socket"):
        found["tls"] = _of_tls(message.transport_socket.typed_config)
    return found


def _add_filter(found: Json, config: Any) -> None:
    manager, proxy = protos.HttpConnectionManager(), protos.TcpProxy()
    if config.Unpack(manager):
        found["http_filters"] = [f.name for f in manager.http_filters]
        if manager.HasField("rds"):
            found["rds"] = manager.rds.route_config_name
        else:
            found["inline_routes"] = _of_route_config(manager.route_config)
    elif config.Unpack(proxy):
        found["tcp_cluster"] = proxy.cluster
        found["tcp_weighted"] = [{"name": c.name, "weight": c.weight} for c in proxy.weighted_clusters.clusters]


def _of_tls(config: Any) -> Json:
    context = protos.DownstreamTlsContext()
    if not config.Unpack(context):
        return {}
    return {
        "require_client_certificate": context.require_client_certificate.value,
        "sds_secrets": [s.name for s in context.common_tls_context.tls_certificate_sds_secret_configs],
    }


def _of_cluster(message: Any) -> Json:
    dynamic = message.cluster_type.name == _DYNAMIC_FORWARD_PROXY
    return {
        "name": message.name,
        "type": _DYNAMIC_FORWARD_PROXY if dynamic else protos.Cluster.DiscoveryType.Name(message.type),
        "lb_policy": protos.Cluster.LbPolicy.Name(message.lb_policy),
        "transport_socket_matches": [m.name for m in message.transport_socket_matches],
        "endpoints": [_of_endpoint(e) for place in message.load_assignment.endpoints for e in place.lb_endpoints],
    }


def _of_endpoint(member: Any) -> Json:
    address = member.endpoint.address
    if address.WhichOneof("address") == "pipe":
        return {"pipe": {"path": address.pipe.path}}
    return {"address": address.socket_address.address, "port": address.socket_address.port_value}


def _of_route_config(message: Any) -> Json:
    return {"name": message.name, "virtual_hosts": [_of_virtual_host(h) for h in message.virtual_hosts]}


def _of_virtual_host(message: Any) -> Json:
    tls = protos.VirtualHost.TlsRequirementType.Name(message.require_tls)
    return {
        "name": message.name,
        "domains": list(message.domains),
        "require_tls": "" if tls == "NONE" else tls,
        "routes": [_of_route(r) for r in message.routes],
    }


def _of_route(message: Any) -> Json:
    match = json_format.MessageToDict(message.match)
    if "safeRegex" in match:
        match["regex"] = match["safeRegex"].get("regex")
    found: Json = {"name": message.name, "match": match}
    if message.route.cluster:
        found["cluster"] = message.route.cluster
    if message.route.weighted_clusters.clusters:
        weighted = message.route.weighted_clusters.clusters
        found["weighted_clusters"] = [{"name": c.name, "weight": c.weight.value} for c in weighted]
    if message.direct_response.status:
        found["direct_response_status"] = message.direct_response.status
    return found
