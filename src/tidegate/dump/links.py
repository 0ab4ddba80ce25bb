"""What refers to what in a dump: listener to route table to cluster, with the cells that the tables show."""

from collections.abc import Iterable, Iterator

import msgspec

from tidegate.dump import tables
from tidegate.dump.model import Cluster, FilterChain, Listener, Route, RouteConfiguration, WeightedClusters


class Target(msgspec.Struct, frozen=True):
    """A route table or a cluster that a listener or a route leads to."""

    kind: str
    """``route`` or ``cluster``."""
    name: str
    share: str = ""
    """``90/100`` where traffic is divided."""


class Row(msgspec.Struct, frozen=True):
    """One row of a table: the resource that it is of, its cells, and where it leads."""

    name: str
    cells: tuple[str, ...]
    targets: tuple[Target, ...] = ()
    otherwise: str = ""
    """What becomes of the traffic where nothing is named that it is led to."""


LISTENER_COLUMNS = ("NAME", "ADDRESSES", "PORT", "MATCH")
ROUTE_COLUMNS = tables.ROUTE_COLUMNS
CLUSTER_COLUMNS = ("NAME", *tables.CLUSTER_COLUMNS)


def listeners(found: Iterable[Listener]) -> Iterator[Row]:
    """A row for each filter chain, as ``proxy-config listener`` orders listeners."""
    for listener in tables.sort_listeners(found):
        ((addresses, port, _), *_rest) = tables.listener_type_rows([listener], tables.ListenerFilter())
        default = listener.default_filter_chain
        for chain in (*listener.filter_chains, *([default] if default else ())):
            match = tables.describe_match(chain.filter_chain_match)
            targets = chain_targets(chain)
            otherwise = "" if targets else tables.describe_chain(chain)
            yield Row(listener.name, (listener.name, addresses, port, match), targets, otherwise)


def chain_targets(chain: FilterChain) -> tuple[Target, ...]:
    """The route table or the clusters that a filter chain names; none where its filters end the connection."""
    for each in chain.filters:
        config = each.typed_config
        if config is None or not (each.is_http or each.is_tcp_proxy):
            continue
        if config.rds:
            return (Target("route", config.rds.route_config_name),)
        if config.route_config:
            routes = (r for host in config.route_config.virtual_hosts for r in host.routes)
            return tuple(dict.fromkeys(target for route in routes for target in route_targets(route)))
        return _clusters(config.cluster, config.weighted_clusters)
    return ()


def routes(found: Iterable[RouteConfiguration]) -> Iterator[Row]:
    """A row for each route, as ``proxy-config route`` orders and words them; here also those that pass through."""
    for config in tables.sort_routes(found):
        for host in config.virtual_hosts:
            head = (config.name, host.name, tables.describe_domains(host))
            if not host.routes:
                yield Row(config.name, (*head, "/*", ""), otherwise="answers 404")
            for route in host.routes:
                last = (tables.describe_route_match(route), tables.config_owner(route.metadata))
                yield Row(config.name, (*head, *last), route_targets(route), _answer(route))


def route_targets(route: Route) -> tuple[Target, ...]:
    """The clusters of a route; none for one that Envoy answers itself."""
    return _clusters(route.route.cluster, route.route.weighted_clusters) if route.route else ()


def _answer(route: Route) -> str:
    """What Envoy answers itself."""
    if route.direct_response:
        return f"answers {route.direct_response.get('status', '')}".strip()
    return "redirects" if route.redirect is not None else ""


def _clusters(name: str, weighted: WeightedClusters | None) -> tuple[Target, ...]:
    if weighted is None:
        return (Target("cluster", name),) if name else ()
    total = sum(each.weight for each in weighted.clusters)
    return tuple(Target("cluster", each.name, f"{each.weight}/{total}") for each in weighted.clusters)


def clusters(found: Iterable[Cluster]) -> Iterator[Row]:
    for cluster in tables.sort_clusters(found):
        for cells in tables.cluster_rows([cluster], tables.ClusterFilter()):
            yield Row(cluster.name, (cluster.name, *cells))
