"""From a cluster's name to the endpoints that may be chosen and how they are spoken to."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from tidegate.dump.config.cluster import Aggregate, Cluster, DnsCluster, HttpOptions, LoadAssignment
from tidegate.dump.config.parts import type_of
from tidegate.dump.model import Metadata
from tidegate.explain.balance import Balance, Host, balance, by_zone
from tidegate.explain.hosts import port_of, without_port
from tidegate.explain.matchers import as_ip
from tidegate.explain.trace import End, Endpoint, FarSide, Mirror, Rejection, Tunnel, UpstreamTls
from tidegate.explain.upstream import Socket, socket_for
from tidegate.explain.walk import Walk

_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_TYPES = {
    "envoy.extensions.clusters.aggregate.v3.ClusterConfig": "AGGREGATE",
    "envoy.extensions.clusters.dynamic_forward_proxy.v3.ClusterConfig": "DYNAMIC_FORWARD_PROXY",
    "envoy.extensions.clusters.dns.v3.DnsCluster": "STRICT_DNS",
}
_TYPE_NAMES = {
    "envoy.cluster.static": "STATIC",
    "envoy.cluster.eds": "EDS",
    "envoy.cluster.strict_dns": "STRICT_DNS",
    "envoy.cluster.logical_dns": "LOGICAL_DNS",
    "envoy.cluster.original_dst": "ORIGINAL_DST",
    "envoy.clusters.aggregate": "AGGREGATE",
    "envoy.clusters.dynamic_forward_proxy": "DYNAMIC_FORWARD_PROXY",
}
_RESOLVED = frozenset({"STATIC", "EDS", "STRICT_DNS", "LOGICAL_DNS"})
_STATUS = {"SERVICE_UNAVAILABLE": 503, "NOT_FOUND": 404, "INTERNAL_SERVER_ERROR": 500}
_ORIGINAL_DST_HEADER = "x-envoy-original-dst-host"
_MOST_AGGREGATED = 32


ANY_HOST = Metadata()


@dataclass(frozen=True)
class Want:
    """What is to be sent where."""

    cluster: str
    http: bool = False
    version: str = ""
    """The version of the request as it came: 1.0, 1.1 or 2."""
    authority: str = ""
    path: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    criteria: Metadata = ANY_HOST
    not_found: str = "SERVICE_UNAVAILABLE"
    auto_host_rewrite: bool = False
    dynamic_host: str = ""
    """host:port that a dynamic forward proxy is to resolve."""
    tunnel: Tunnel | None = None
    timeout: str = ""
    retries: int = 0
    retry_on: str = ""
    mirrors: tuple[Mirror, ...] = ()
    hashed_by: tuple[str, ...] = ()

    @property
    def common(self) -> dict[str, Any]:
        """Fields of every end that this leads to."""
        return {
            "timeout": self.timeout,
            "retries": self.retries,
            "retry_on": self.retry_on,
            "mirrors": self.mirrors,
            "hashed_by": self.hashed_by,
        }


@dataclass(frozen=True)
class Group:
    """Endpoints that are spoken to in one way."""

    socket: Socket
    endpoints: tuple[Endpoint, ...]
    internal: str = ""
    """The listener inside this proxy that the endpoints stand for."""
    authority: str = ""


@dataclass(frozen=True)
class Inside:
    """An endpoint that is a listener of this same proxy: the connection goes through it too."""

    walk: Walk
    listener: str
    want: Want


Result = End | Inside


def forward(walk: Walk, want: Want) -> Iterator[Result]:
    """The ends of what is sent to a cluster."""
    cluster = walk.config.cluster(want.cluster)
    if cluster is None:
        yield _missing(walk, want)
        return
    kind = cluster_type(walk, cluster)
    istio = cluster.metadata.istio
    facts = {"type": kind, "lbPolicy": cluster.lb_policy}
    walk = walk.step("cluster", "Cluster", cluster.name, why=f"cluster of type {kind}", istio=istio, facts=facts)
    if kind == "AGGREGATE":
        yield from _aggregate(walk, cluster, want)
    else:
        yield from _to_hosts(walk, cluster, kind, want)


def _missing(walk: Walk, want: Want) -> End:
    shown = want.cluster or "(none)"
    seen = walk.step("cluster", "Cluster", want.cluster, why="the proxy has no such cluster")
    if "clusters" not in walk.config.present:
        walk.unsure(f"Cluster {shown}", "the input lists no clusters")
        return seen.end("unknown", f"cluster {shown} is not in the input", cluster=want.cluster, **want.common)
    if walk.on_demand:
        walk.unsure(f"Cluster {shown}", "the proxy asks for missing clusters on demand")
        return seen.end("unknown", f"cluster {shown} is asked for on demand", cluster=want.cluster, **want.common)
    status = _STATUS.get(want.not_found, 503) if want.http else None
    why = f"cluster {shown} is named but the proxy does not have it"
    return seen.end("no_cluster", why, cluster=want.cluster, http_status=status, response_flags=("NC",), **want.common)


def cluster_type(walk: Walk, cluster: Cluster) -> str:
    """STATIC, EDS, STRICT_DNS, LOGICAL_DNS, ORIGINAL_DST, AGGREGATE, DYNAMIC_FORWARD_PROXY, or an extension's name."""
    if cluster.cluster_type is None:
        return cluster.type
    custom = cluster.cluster_type
    full = type_of(custom.typed_config)
    kind = _TYPES.get(full) or _TYPE_NAMES.get(custom.name) or full or custom.name
    if full.endswith(".DnsCluster"):
        settings = walk.notes.read(DnsCluster, custom.typed_config, f"Cluster {cluster.name} clusterType")
        return "LOGICAL_DNS" if settings.all_addresses_in_single_endpoint else "STRICT_DNS"
    if kind not in _TYPES.values() and kind not in _TYPE_NAMES.values():
        walk.unsure(f"Cluster {cluster.name}", f"cluster type {kind} is not known here")
    return kind


def _aggregate(walk: Walk, cluster: Cluster, want: Want) -> Iterator[Result]:
    """The first cluster of the list that has an endpoint to give."""
    custom = cluster.cluster_type
    raw = custom.typed_config if custom else {}
    names = walk.notes.read(Aggregate, raw, f"Cluster {cluster.name} clusterType").clusters[:_MOST_AGGREGATED]
    if walk.hops >= walk.profile.most_hops or not walk.notes.detour():
        yield walk.end("unknown", "clusters lead to one another without end", cluster=cluster.name)
        return
    inner, last, rejected = walk.with_(hops=walk.hops + 1), list[Result](), list[Rejection]()
    for name in names:
        ends = list(forward(inner, replace(want, cluster=name)))
        last = last or ends
        if any(not (isinstance(each, End) and each.kind in ("no_cluster", "no_endpoints")) for each in ends):
            yield from ends
            return
        rejected.append(Rejection(name, "has no endpoint to give"))
    yield from last or [_nobody(walk, cluster.name, "AGGREGATE", (), want)]


def _to_hosts(walk: Walk, cluster: Cluster, kind: str, want: Want) -> Iterator[Result]:
    if kind == "ORIGINAL_DST":
        groups = _original(walk, cluster, want)
    elif kind == "DYNAMIC_FORWARD_PROXY":
        groups = _dynamic(walk, cluster, want)
    else:
        assignment = walk.config.load_assignment(cluster)
        if assignment is None and kind not in ("STATIC", "STRICT_DNS", "LOGICAL_DNS") and _untold(walk, kind):
            walk.unsure(f"Cluster {cluster.name}", "the input has no endpoints: take the dump with include_eds")
            groups = [Group(socket_for(walk, cluster, Metadata(), Metadata()), ())]
        else:
            _tell_zones(walk, cluster, assignment)
            chosen = balance(cluster, assignment, want.criteria)
            if not chosen.shares:
                yield _nobody(walk, cluster.name, kind, chosen.all_hosts, want)
                return
            groups = _grouped(walk, cluster, chosen, want)
    if not groups:
        yield _nobody(walk, cluster.name, kind, (), want)
    for each in groups:
        yield from _reached(walk, cluster, kind, each, want)


def _tell_zones(walk: Walk, cluster: Cluster, assignment: LoadAssignment | None) -> None:
    """Zone-aware routing counts only where Envoy is told who its peers are."""
    peers = walk.config.peers()
    if peers is not None and peers.endpoints and by_zone(cluster, assignment):
        why = "zone-aware routing decides in the first priority, by the proxy's zone and its peers': shares may differ"
        walk.unsure(f"Cluster {cluster.name}", why)


def _untold(walk: Walk, kind: str) -> bool:
    return "endpoints" not in walk.config.present or kind not in _RESOLVED


def _nobody(walk: Walk, name: str, kind: str, hosts: tuple[Host, ...], want: Want) -> End:
    listed = tuple(_endpoint(each, 0.0) for each in hosts)
    why = "none of its endpoints is healthy" if listed else "it has no endpoint"
    seen = walk.step("endpoint", "ClusterLoadAssignment", name, why=why)
    return seen.end(
        "no_endpoints",
        f"cluster {name} has nobody to send to: {why}",
        cluster=name,
        cluster_type=kind,
        endpoints=listed,
        http_status=503 if want.http else None,
        response_flags=("UH",),
        **want.common,
    )


def _grouped(walk: Walk, cluster: Cluster, chosen: Balance, want: Want) -> list[Group]:
    """Endpoints by the way they are spoken to: transport socket, listener inside the proxy, automatic Host."""
    groups: dict[Any, list[Endpoint]] = {}
    made: dict[Any, Group] = {}
    for host, share in chosen.shares:
        socket = socket_for(walk, cluster, host.metadata, host.group.metadata)
        inner = host.endpoint.address.envoy_internal_address
        name = inner.server_listener_name if inner else ""
        authority = _own_name(host) if want.auto_host_rewrite else ""
        if socket.host_sni and host.endpoint.hostname:
            socket = socket._replace(tls=msgspec.structs.replace(socket.tls, sni=host.endpoint.hostname))
        key = (socket, name, authority)
        made.setdefault(key, Group(socket, (), name, authority))
        groups.setdefault(key, []).append(_endpoint(host, share))
    return [replace(made[key], endpoints=tuple(listed)) for key, listed in groups.items()]


def _own_name(host: Host) -> str:
    address = host.endpoint.address.host
    return host.endpoint.hostname or ("" if as_ip(address) else address)


def _endpoint(host: Host, share: float) -> Endpoint:
    return Endpoint(
        address=str(host.endpoint.address),
        priority=host.group.priority,
        weight=host.weight,
        locality=str(host.group.locality),
        health=host.health,
        share=share,
        metadata=host.metadata.filter_metadata,
        hostname=host.endpoint.hostname,
    )


def _shown(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _original(walk: Walk, cluster: Cluster, want: Want) -> list[Group]:
    """The dialled address itself, unless a header may say another; none where nothing was redirected."""
    settings = cluster.original_dst_lb_config
    target = (walk.ip, walk.port) if walk.restored else None
    if settings is not None and settings.metadata_key is not None:
        walk.unsure(f"Cluster {cluster.name}", "metadata may name another address than the one that was dialled")
    if settings is not None and settings.use_http_header and want.http:
        asked = (settings.http_header_name or _ORIGINAL_DST_HEADER).lower()
        given = next((value for name, value in want.headers if name.lower() == asked), "")
        port = port_of(given)
        if port is not None and as_ip(without_port(given).strip("[]")):
            target = (without_port(given).strip("[]"), port)
    if target is None:
        return []
    host, port = target
    if settings is not None and settings.upstream_port_override:
        port = settings.upstream_port_override
    socket = socket_for(walk, cluster, Metadata(), Metadata())
    return [Group(socket, (Endpoint(_shown(host, port), share=1.0),))]


def _dynamic(walk: Walk, cluster: Cluster, want: Want) -> list[Group]:
    """The host that the request or the server name asks for, to be resolved by the proxy."""
    socket = socket_for(walk, cluster, Metadata(), Metadata())
    host = walk.state.get("envoy.upstream.dynamic_host") or without_port(want.dynamic_host)
    if not host:
        return []
    default = 443 if socket.tls.mode in ("tls", "mutual") else 80
    stated = walk.state.get("envoy.upstream.dynamic_port", "")
    port = int(stated) if stated.isdigit() else port_of(want.dynamic_host) or default
    return [Group(socket, (Endpoint(_shown(host.strip("[]"), port), share=1.0),))]


def _reached(walk: Walk, cluster: Cluster, kind: str, group: Group, want: Want) -> Iterator[Result]:
    share = sum(each.share for each in group.endpoints) if group.endpoints else 1.0
    walk = walk.split(share)
    authority = group.authority or want.authority
    options = _options(walk, cluster)
    tls = _named(walk, group.socket.tls, options, authority, want)
    walk = walk.step(
        "endpoint",
        "ClusterLoadAssignment",
        cluster.name,
        why=_where_to(group, kind),
        facts={"count": len(group.endpoints)},
    )
    walk = walk.step("upstream_tls", "TransportSocket", tls.match, why=f"upstream TLS: {tls.mode}")
    if group.internal:
        yield Inside(walk, group.internal, want)
        return
    far = FarSide(
        protocol=_protocol(cluster, options, want),
        authority=authority if want.http else "",
        path=want.path,
        headers=want.headers if want.http else (),
        source=_source(walk, cluster, group.endpoints[0].address if group.endpoints else ""),
        client_tls=walk.payload == "tls",
        proxy_protocol=group.socket.proxy_protocol,
        tunnel=want.tunnel,
    )
    yield walk.end(
        "forwarded",
        f"goes to {_where_to(group, kind)} of cluster {cluster.name}",
        cluster=cluster.name,
        cluster_type=kind,
        endpoints=group.endpoints,
        upstream_tls=tls,
        far_side=far,
        **want.common,
    )


def _where_to(group: Group, kind: str) -> str:
    if kind == "ORIGINAL_DST":
        return f"the dialled address {group.endpoints[0].address}" if group.endpoints else "the dialled address"
    if not group.endpoints:
        return "endpoints that are not in the input"
    first = group.endpoints[0].address
    more = len(group.endpoints) - 1
    return f"{first} and {more} more" if more else first


def _options(walk: Walk, cluster: Cluster) -> HttpOptions:
    for raw in cluster.typed_extension_protocol_options.values():
        if type_of(raw) == _HTTP_OPTIONS:
            where = f"Cluster {cluster.name} typedExtensionProtocolOptions"
            return walk.notes.read(HttpOptions, raw, where)
    return HttpOptions()


def _named(walk: Walk, tls: UpstreamTls, options: HttpOptions, authority: str, want: Want) -> UpstreamTls:
    """The server name that is really sent: one set by a filter or taken from the Host wins over a written one."""
    if tls.mode not in ("tls", "mutual"):
        return tls
    automatic = options.upstream_http_protocol_options
    asked = automatic.override_auto_sni_header.lower()
    from_host = next((value for name, value in want.headers if asked and name.lower() == asked), "")
    from_host = from_host or without_port(authority)
    sni = tls.sni
    if want.http and automatic.auto_sni and from_host and not as_ip(from_host.strip("[]")):
        sni = from_host
    stated = walk.state.get("envoy.network.upstream_server_name")
    sans = (from_host,) if want.http and automatic.auto_san_validation and from_host else tls.sans
    return UpstreamTls(tls.mode, stated or sni, sans, tls.certificates, tls.roots, tls.alpn, tls.match)


def _protocol(cluster: Cluster, options: HttpOptions, want: Want) -> str:
    if not want.http:
        return "tcp"
    explicit = options.explicit_http_config
    if explicit is not None:
        if explicit.http3_protocol_options is not None:
            return "h3"
        return "h2" if explicit.http2_protocol_options is not None else "http/1.1"
    if options.auto_config is not None:
        return "auto"
    as_downstream = options.use_downstream_protocol_config is not None and want.version == "2"
    return "h2" if as_downstream or cluster.http2_protocol_options is not None else "http/1.1"


def _source(walk: Walk, cluster: Cluster, endpoint: str) -> str:
    """The client's own address before a bound one; of several bound ones, the first of the endpoint's family."""
    bind = cluster.upstream_bind_config
    if walk.keeps_source and walk.connection.source_ip:
        return walk.connection.source_ip
    if bind is None or bind.source_address is None:
        return ""
    others = [each.address.address for each in bind.extra_source_addresses if each.address is not None]
    bound, six = [bind.source_address.address, *others], endpoint.startswith("[")
    return next((each for each in bound if (":" in each) == six), bound[0])
