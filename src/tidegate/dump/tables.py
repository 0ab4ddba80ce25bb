"""The tables of ``proxy-config``: rows of cells from a typed dump. Columns and their wording are istioctl's."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from tidegate.dump.model import (
    Address,
    Cluster,
    ClusterStatuses,
    Ecds,
    FilterChain,
    FilterChainMatch,
    HostHealth,
    LbEndpoint,
    Listener,
    LoadAssignment,
    Metadata,
    Route,
    RouteConfiguration,
    VirtualHost,
)

Rows = list[tuple[str, ...]]

LISTENER_COLUMNS = ("ADDRESSES", "PORT", "MATCH", "DESTINATION")
LISTENER_TYPE_COLUMNS = ("ADDRESSES", "PORT", "TYPE")
CLUSTER_COLUMNS = ("SERVICE FQDN", "PORT", "SUBSET", "DIRECTION", "TYPE", "DESTINATION RULE")
ROUTE_COLUMNS = ("NAME", "VHOST NAME", "DOMAINS", "MATCH", "VIRTUAL SERVICE")
ROUTE_SUMMARY_COLUMNS = ("NAME", "VIRTUAL HOSTS")
ENDPOINT_COLUMNS = ("ENDPOINT", "STATUS", "OUTLIER CHECK", "CLUSTER")
ASSIGNMENT_COLUMNS = ("NAME", "STATUS", "LOCALITY", "CLUSTER")
ECDS_COLUMNS = ("ECDS NAME", "TYPE")

_APP_WORDS = {
    ("http/1.0", "http/1.1", "h2c", "istio-http/1.0", "istio-http/1.1", "istio-h2"): "App: HTTP TLS",
    ("istio", "istio-http/1.0", "istio-http/1.1", "istio-h2"): "App: Istio HTTP Plain",
    ("istio-peer-exchange", "istio"): "App: TCP TLS",
    ("http/1.0", "http/1.1", "h2c"): "App: HTTP",
}
_BLACK_HOLE = "BlackHoleCluster"
_PATH_PARTS = 8
"""Of an object's path in the API: /apis/GROUP/VERSION/namespaces/NAMESPACE/KIND/NAME."""


# Listeners


class ListenerFilter(msgspec.Struct, frozen=True):
    """Flags of ``proxy-config listener``; an empty one lets everything through."""

    address: str = ""
    port: int = 0
    type: str = ""

    def keeps(self, listener: Listener) -> bool:
        if self.address and self.address.lower() not in map(str.lower, _addresses(listener)):
            return False
        if self.port and listener.address.port != self.port:
            return False
        return not self.type or listener_type(listener).upper() == self.type.upper()


def _addresses(listener: Listener) -> list[str]:
    every = (listener.address, *(extra.address for extra in listener.additional_addresses))
    return [each.pipe.path if each.pipe else each.host for each in every]


def _chains(listener: Listener) -> list[FilterChain]:
    default = listener.default_filter_chain
    return [*listener.filter_chains, *([default] if default else [])]


def listener_type(listener: Listener) -> str:
    """HTTP, TCP, HTTP+TCP or UNKNOWN, from the filters; chains into the black hole do not count."""
    http = any(f.is_http for c in _chains(listener) for f in c.filters)
    tcp = any(_opaque_cluster(c) for c in _chains(listener))
    if http:
        return "HTTP+TCP" if tcp else "HTTP"
    return "TCP" if tcp else "UNKNOWN"


def _opaque_cluster(chain: FilterChain) -> bool:
    return any(f.is_tcp_proxy for f in chain.filters) and _tcp_cluster(chain) != _BLACK_HOLE


def _tcp_cluster(chain: FilterChain) -> str:
    for each in chain.filters:
        if each.is_tcp_proxy and each.typed_config:
            return each.typed_config.cluster
    return ""


def sort_listeners(listeners: Iterable[Listener]) -> list[Listener]:
    """By port, then address, then type."""
    return sorted(listeners, key=lambda each: (each.address.port, each.address.host, listener_type(each)))


def listener_rows(listeners: Iterable[Listener], keep: ListenerFilter) -> Rows:
    rows: Rows = []
    for listener in sort_listeners(each for each in listeners if keep.keeps(each)):
        found = [(describe_match(c.filter_chain_match), describe_chain(c)) for c in _chains(listener)]
        found.sort(key=lambda pair: pair[1], reverse=True)
        where = (",".join(_addresses(listener)), str(listener.address.port))
        rows += [(*where, match, destination) for match, destination in found]
    return rows


def listener_type_rows(listeners: Iterable[Listener], keep: ListenerFilter) -> Rows:
    kept = sort_listeners(each for each in listeners if keep.keeps(each))
    return [(",".join(_addresses(each)), str(each.address.port), listener_type(each)) for each in kept]


def describe_match(match: FilterChainMatch) -> str:
    """``SNI: a; Trans: tls; App: h2; Addr: 10.0.0.0/8:80``, or ALL."""
    parts = []
    if match.server_names:
        parts.append(f"SNI: {','.join(match.server_names)}")
    if match.transport_protocol:
        parts.append(f"Trans: {match.transport_protocol}")
    if match.application_protocols:
        words = _APP_WORDS.get(match.application_protocols)
        parts.append(words or f"App: {','.join(match.application_protocols)}")
    port = f":{match.destination_port}" if match.destination_port is not None else ""
    if match.prefix_ranges:
        parts.append("Addr: " + ",".join(f"{cidr}{port}" for cidr in match.prefix_ranges))
    elif port:
        parts.append(f"Addr: *{port}")
    return "; ".join(parts) or "ALL"


def describe_chain(chain: FilterChain) -> str:
    """Where a filter chain leads: a route table, a cluster, or nowhere."""
    for each in chain.filters:
        config = each.typed_config
        if config is None:
            continue
        if each.is_http:
            if config.route_config is not None:
                return describe_inline(config.route_config)
            return f"Route: {config.rds.route_config_name}" if config.rds else "HTTP"
        if each.is_tcp_proxy and config.cluster and config.cluster != _BLACK_HOLE:
            return describe_cluster(config.cluster)
        if each.is_tcp_proxy and config.weighted_clusters:
            return f"Cluster: {', '.join(c.name for c in config.weighted_clusters.clusters)}"
    return "Non-HTTP/Non-TCP"


def describe_cluster(name: str) -> str:
    return name if "Cluster" in name else f"Cluster: {name}"


def describe_inline(config: RouteConfiguration) -> str:
    cluster = _match_all_cluster(config)
    if cluster:
        return describe_cluster(cluster)
    hosts = []
    for host in config.virtual_hosts:
        named = [] if host.domains == ("*",) else ["/".join(host.domains)]
        hosts.append(" ".join((*named, ", ".join(describe_route_match(r) for r in host.routes))))
    return f"Inline Route: {'; '.join(hosts)}"


def _match_all_cluster(config: RouteConfiguration) -> str:
    if len(config.virtual_hosts) != 1 or config.virtual_hosts[0].domains != ("*",):
        return ""
    routes = config.virtual_hosts[0].routes
    if len(routes) != 1 or routes[0].match.prefix != "/" or routes[0].route is None:
        return ""
    return routes[0].route.cluster


# Clusters


class ClusterFilter(msgspec.Struct, frozen=True):
    """Flags of ``proxy-config cluster``; all are looked for in the whole name, as istioctl does."""

    fqdn: str = ""
    port: int = 0
    subset: str = ""
    direction: str = ""

    def keeps(self, cluster: Cluster) -> bool:
        wanted = (self.fqdn, self.subset, self.direction, f"|{self.port}|" if self.port else "")
        return all(each in cluster.name for each in wanted)


def split_cluster(name: str) -> tuple[str, str, str, str]:
    """Direction, port, subset and host of a name of four parts; any other name is the host alone."""
    parts = name.split("_.") if name.startswith("outbound_.") else name.split("|")
    if len(parts) >= 4:
        return parts[0], parts[1], parts[2], "|".join(parts[3:])
    return "", "", "", name


def sort_clusters(clusters: Iterable[Cluster]) -> list[Cluster]:
    def key(cluster: Cluster) -> tuple[str, str, int, str]:
        direction, port, subset, host = split_cluster(cluster.name)
        return (host, subset, int(port) if port.isdigit() else 0, direction)

    return sorted(clusters, key=key)


def cluster_rows(clusters: Iterable[Cluster], keep: ClusterFilter) -> Rows:
    rows: Rows = []
    for cluster in sort_clusters(c for c in clusters if keep.keeps(c)):
        direction, port, subset, host = split_cluster(cluster.name)
        named = (host, port or "-", subset or "-", direction or "-", cluster_type(cluster))
        rows.append((*named, config_owner(cluster.metadata)))
    return rows


def cluster_type(cluster: Cluster) -> str:
    return str(cluster.cluster_type.get("name", "")) if cluster.cluster_type else cluster.type


def config_owner(metadata: Metadata) -> str:
    """``name.namespace`` of the object that metadata names by its API path, "" for none."""
    path = str(metadata.istio.get("config", ""))
    parts = path.split("/")
    if not path.startswith("/apis/networking.istio.io/"):
        return "<unknown>" if "config" in metadata.istio else ""
    return f"{parts[-1]}.{parts[5]}" if len(parts) == _PATH_PARTS else ""


# Routes


def route_rows(routes: Iterable[RouteConfiguration], name: str) -> Rows:
    rows: Rows = []
    for config in sort_routes(r for r in routes if not name or r.name == name):
        for host in config.virtual_hosts:
            rows += _virtual_host_rows(config.name, host)
    return rows


def _virtual_host_rows(name: str, host: VirtualHost) -> Rows:
    domains = describe_domains(host)
    if not host.routes:
        return [(name, host.name, domains, "/*", "404")]
    return [
        (name, host.name, domains, describe_route_match(route), config_owner(route.metadata))
        for route in host.routes
        if not (route.route and route.route.cluster == "PassthroughCluster")
    ]


def route_summary_rows(routes: Iterable[RouteConfiguration], name: str) -> Rows:
    kept = sort_routes(r for r in routes if not name or r.name == name)
    return [(r.name, str(len(r.virtual_hosts))) for r in kept]


def sort_routes(routes: Iterable[RouteConfiguration]) -> list[RouteConfiguration]:
    """Names that are numbers first, ascending; then the others as they came, unnamed ones last."""

    def key(config: RouteConfiguration) -> tuple[int, int, str]:
        if config.name.isdigit():
            return (0, int(config.name), "")
        return (1, 0, config.name) if config.name else (2, 0, "")

    return sorted(routes, key=key)


def describe_domains(host: VirtualHost) -> str:
    """The first two names, without ports and without longer forms of names, and how many more there are."""
    if len(host.domains) == 1:
        return host.domains[0]
    bare = [each for each in host.domains if ":" not in each or (each.count(":") > 2 and each.endswith("]"))]
    shown = [each for each in bare if not _shorter(each) & set(bare)]
    text = ", ".join(shown[:2])
    return f"{text} + {len(shown) - 2} more..." if len(shown) > 2 else text


def _shorter(domain: str) -> set[str]:
    """The forms of a Kubernetes Service's name, or of one with the root's dot, that say the same in fewer labels."""
    plain = domain.removesuffix(".")
    return {plain, plain.removesuffix(".svc"), plain.partition(".svc.")[0]} - {domain}


def describe_route_match(route: Route) -> str:
    match = route.match
    if match.path_separated_prefix:
        return f"PathPrefix:{match.path_separated_prefix}"
    if match.path:
        return match.path
    if match.prefix:
        return f"{match.prefix}*"
    if match.safe_regex:
        return f"regex {match.safe_regex.get('regex', '')}"
    return ""


# Endpoints


class EndpointFilter(msgspec.Struct, frozen=True):
    """Flags of ``proxy-config endpoint``."""

    address: str = ""
    port: int = 0
    cluster: str = ""
    status: str = ""

    def keeps(self, addresses: Sequence[Address], cluster: str, status: str) -> bool:
        """``addresses`` of one endpoint; the first is the one that counts for the port. An address is asked for with
        its port, as the tables print it, or without."""
        places = {text.lower() for each in addresses for text in (each.host, str(each), endpoint_place(each))}
        return (
            (not self.address or self.address.lower() in places)
            and (not self.port or self.port == addresses[0].port)
            and (not self.cluster or self.cluster.lower() == cluster.lower())
            and (not self.status or self.status.lower() == status.lower())
        )


def endpoint_rows(statuses: ClusterStatuses, keep: EndpointFilter) -> Rows:
    """From the admin port's ``/clusters?format=json``: what Envoy holds true of each host right now."""
    rows: Rows = []
    for cluster in statuses.cluster_statuses:
        for host in cluster.host_statuses:
            status = health(host.health_status)
            if keep.keeps((host.address,), cluster.name, status):
                outlier = "FAILED" if host.health_status.failed_outlier_check else "OK"
                rows.append((str(host.address), status, outlier, cluster.name))
    return sorted(rows, key=lambda r: (by_host(r[3]), r[0]))


def health(status: HostHealth) -> str:
    """One word for a host's health flags; the worst that holds."""
    if status.failed_active_health_check or status.failed_outlier_check or status.eds_health_status == "UNHEALTHY":
        return "UNHEALTHY"
    if status.active_hc_timeout or status.eds_health_status == "TIMEOUT":
        return "TIMEOUT"
    if status.pending_dynamic_removal or status.eds_health_status == "DRAINING":
        return "DRAINING"
    if status.failed_active_degraded_check or status.eds_health_status == "DEGRADED":
        return "DEGRADED"
    return "UNKNOWN" if status.eds_health_status == "UNKNOWN" else "HEALTHY"


def assignment_rows(assignments: Iterable[LoadAssignment], keep: EndpointFilter) -> Rows:
    """From the endpoints section of a dump: what the proxy was told, not what it found."""
    rows: Rows = []
    for assignment in assignments:
        for group in assignment.endpoints:
            for each in group.lb_endpoints:
                if keeps_endpoint(keep, each, assignment.cluster_name):
                    name = ",".join(endpoint_place(address) for address in _places(each))
                    rows.append((name, each.health_status, str(group.locality), assignment.cluster_name))
    return sorted(rows, key=lambda r: by_host(r[3]))


def keeps_endpoint(keep: EndpointFilter, endpoint: LbEndpoint, cluster: str) -> bool:
    return keep.keeps(_places(endpoint), cluster, endpoint.health_status)


def _places(given: LbEndpoint) -> tuple[Address, ...]:
    return (given.endpoint.address, *(more.address for more in given.endpoint.additional_addresses))


def endpoint_place(address: Address) -> str:
    """Here a pipe is its path alone, and an IPv6 address has no brackets; both are of the admin port's wording."""
    if address.socket_address:
        return f"{address.host}:{address.port}"
    return address.pipe.path if address.pipe else str(address)


def by_host(name: str) -> tuple[str, str, int]:
    _, port, subset, host = split_cluster(name)
    return (host, subset, int(port) if port.isdigit() else 0)


# Extensions


def ecds_rows(ecds: Ecds) -> Rows:
    """By type, then name; an extension that has not come yet has no type."""
    found = [each.ecds_filter for each in ecds.ecds_filters]
    rows: Rows = [(each.name, each.typed_config.type.rpartition("/")[2]) for each in found]
    return sorted(rows, key=lambda row: (row[1], row[0]))


# Text


def render(columns: Sequence[str], rows: Iterable[Sequence[str]], padding: int = 5) -> str:
    """Left-aligned columns; the last one is not padded. Ends with a newline."""
    table = [tuple(columns), *(tuple(r) for r in rows)]
    widths = [max(len(row[i]) for row in table) + padding for i in range(len(columns) - 1)]
    lines = []
    for row in table:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        lines.append("".join((*cells, row[-1])))
    return "\n".join(lines) + "\n"


def kept_raw(raw: Iterable[dict[str, Any]], names: set[str], key: str = "name") -> list[dict[str, Any]]:
    return [each for each in raw if each.get(key, "") in names]
