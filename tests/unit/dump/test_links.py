"""What leads to what in a dump."""

from typing import Any

import msgspec
import pytest

from tidegate.dump import links
from tidegate.dump.links import Target
from tidegate.dump.model import Cluster, FilterChain, Listener, Route, RouteConfiguration, VirtualHost

HCM = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
TCP = "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
WEIGHTED = {"clusters": [{"name": "a", "weight": 3}, {"name": "b", "weight": 1}]}
SHARED = (Target("cluster", "a", "3/4"), Target("cluster", "b", "1/4"))


def chain(*filters: dict[str, Any]) -> dict[str, Any]:
    return {"filters": [{"name": "x", "typedConfig": each} for each in filters]}


def inline(*clusters: str) -> dict[str, Any]:
    hosts = [{"name": c, "routes": [{"route": {"cluster": c}}]} for c in clusters]
    return {"@type": HCM, "routeConfig": {"virtualHosts": hosts}}


@pytest.mark.parametrize(
    ("filters", "targets"),
    [
        ([{"@type": HCM, "rds": {"routeConfigName": "80"}}], (Target("route", "80"),)),
        ([inline("a", "b", "a")], (Target("cluster", "a"), Target("cluster", "b"))),
        ([{"@type": TCP, "cluster": "a"}], (Target("cluster", "a"),)),
        ([{"@type": TCP, "weightedClusters": WEIGHTED}], SHARED),
        ([{"@type": "type.googleapis.com/other.Filter", "cluster": "z"}, {"@type": TCP, "cluster": "a"}],
         (Target("cluster", "a"),)),
        ([{"@type": "type.googleapis.com/other.Filter"}], ()),
        ([], ()),
    ],
)  # fmt: skip
def test_where_a_filter_chain_leads(filters: list[dict[str, Any]], targets: tuple[Target, ...]) -> None:
    assert links.chain_targets(msgspec.convert(chain(*filters), FilterChain)) == targets


def test_a_chain_that_leads_nowhere_says_what_it_is() -> None:
    found = msgspec.convert({"name": "l", "filterChains": [chain()]}, Listener)
    (row,) = links.listeners([found])
    assert (row.targets, row.otherwise) == ((), "Non-HTTP/Non-TCP")


def test_the_default_chain_comes_last() -> None:
    tcp = {"@type": TCP, "cluster": "b"}
    given = {"name": "l", "filterChains": [chain(inline("a"))], "defaultFilterChain": chain(tcp)}
    assert [row.targets[0].name for row in links.listeners([msgspec.convert(given, Listener)])] == ["a", "b"]


@pytest.mark.parametrize(
    ("route", "targets", "otherwise"),
    [
        ({"route": {"cluster": "PassthroughCluster"}}, (Target("cluster", "PassthroughCluster"),), ""),
        ({"route": {"weightedClusters": WEIGHTED}}, SHARED, ""),
        ({"directResponse": {"status": 502}}, (), "answers 502"),
        ({"redirect": {}}, (), "redirects"),
        ({}, (), ""),
    ],
)
def test_what_becomes_of_a_route(route: dict[str, Any], targets: tuple[Target, ...], otherwise: str) -> None:
    given = {"name": "80", "virtualHosts": [{"name": "h", "domains": ["*"], "routes": [route]}]}
    (row,) = links.routes([msgspec.convert(given, RouteConfiguration)])
    assert (row.name, row.targets, row.otherwise) == ("80", targets, otherwise)
    assert links.route_targets(msgspec.convert(route, Route)) == targets


def test_a_virtual_host_without_routes_answers_404() -> None:
    given = RouteConfiguration(name="80", virtual_hosts=(VirtualHost(name="h", domains=("a",)),))
    (row,) = links.routes([given])
    assert (row.cells, row.otherwise) == (("80", "h", "a", "/*", ""), "answers 404")


def test_clusters_are_named_in_full() -> None:
    (row,) = links.clusters([Cluster(name="outbound|80|v1|a.example")])
    assert row.cells == ("outbound|80|v1|a.example", "a.example", "80", "v1", "outbound", "STATIC", "")
