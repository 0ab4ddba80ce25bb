"""The cells of proxy-config's tables, in istioctl's words."""

from typing import Any

import msgspec
import pytest

from tidegate.dump import tables
from tidegate.dump.model import (
    Address,
    Cluster,
    ClusterStatuses,
    FilterChain,
    FilterChainMatch,
    HostHealth,
    Listener,
    LoadAssignment,
    Route,
    RouteConfiguration,
    VirtualHost,
)

HCM = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
TCP = "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"


def read(kind: Any, **content: Any) -> Any:
    return msgspec.convert(content, kind)


def tcp(cluster: str) -> dict[str, Any]:
    return {"filters": [{"name": "tcp", "typedConfig": {"@type": TCP, "cluster": cluster}}]}


def http(**content: Any) -> dict[str, Any]:
    return {"filters": [{"name": "http", "typedConfig": {"@type": HCM, **content}}]}


def rds(name: str) -> dict[str, Any]:
    return http(rds={"routeConfigName": name})


class TestAddresses:
    @pytest.mark.parametrize(
        ("address", "text"),
        [
            ({"socketAddress": {"address": "10.0.0.1", "portValue": 80}}, "10.0.0.1:80"),
            ({"socketAddress": {"address": "fd00::1", "portValue": 80}}, "[fd00::1]:80"),
            ({"pipe": {"path": "/run/x"}}, "unix:///run/x"),
            ({"envoyInternalAddress": {"serverListenerName": "inner", "endpointId": "7"}}, "envoy://inner/7"),
        ],
    )
    def test_text(self, address: dict[str, Any], text: str) -> None:
        assert str(read(Address, **address)) == text


class TestListeners:
    @pytest.mark.parametrize(
        ("match", "text"),
        [
            ({}, "ALL"),
            ({"serverNames": ["a", "b"]}, "SNI: a,b"),
            ({"transportProtocol": "tls", "applicationProtocols": ["h2"]}, "Trans: tls; App: h2"),
            ({"applicationProtocols": ["http/1.1", "h2c"]}, "App: http/1.1,h2c"),
            ({"applicationProtocols": ["http/1.0", "http/1.1", "h2c"]}, "App: HTTP"),
            ({"destinationPort": 15001}, "Addr: *:15001"),
            (
                {"prefixRanges": [{"addressPrefix": "10.0.0.0", "prefixLen": 8}], "destinationPort": 80},
                "Addr: 10.0.0.0/8:80",
            ),
        ],
    )
    def test_match(self, match: dict[str, Any], text: str) -> None:
        assert tables.describe_match(read(FilterChainMatch, **match)) == text

    @pytest.mark.parametrize(
        ("chain", "text"),
        [
            (rds("80"), "Route: 80"),
            (tcp("outbound|80||a.example"), "Cluster: outbound|80||a.example"),
            (tcp("PassthroughCluster"), "PassthroughCluster"),
            (tcp("BlackHoleCluster"), "Non-HTTP/Non-TCP"),
            ({}, "Non-HTTP/Non-TCP"),
            (http(), "HTTP"),
            (
                http(
                    routeConfig={
                        "virtualHosts": [
                            {"domains": ["a", "b"], "routes": [{"match": {"prefix": "/x"}}, {"match": {"path": "/y"}}]}
                        ]
                    }
                ),
                "Inline Route: a/b /x*, /y",
            ),
            (
                http(
                    routeConfig={
                        "virtualHosts": [
                            {
                                "name": "inbound|http|80",
                                "domains": ["*"],
                                "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "inbound|80||"}}],
                            }
                        ]
                    }
                ),
                "Cluster: inbound|80||",
            ),
        ],
    )
    def test_destination(self, chain: dict[str, Any], text: str) -> None:
        assert tables.describe_chain(read(FilterChain, **chain)) == text

    @pytest.mark.parametrize(
        ("chains", "kind"),
        [
            ([rds("80")], "HTTP"),
            ([rds("80"), tcp("x")], "HTTP+TCP"),
            ([rds("80"), tcp("BlackHoleCluster")], "HTTP"),
            ([tcp("x")], "TCP"),
            ([tcp("BlackHoleCluster")], "UNKNOWN"),
            ([{}], "UNKNOWN"),
        ],
    )
    def test_type(self, chains: list[dict[str, Any]], kind: str) -> None:
        assert tables.listener_type(read(Listener, name="l", filterChains=chains)) == kind

    def test_rows_go_by_port_and_filters_keep_what_they_name(self) -> None:
        def at(address: str, port: int, chain: dict[str, Any]) -> Listener:
            where = {"socketAddress": {"address": address, "portValue": port}}
            found: Listener = read(Listener, name=f"{address}_{port}", address=where, filterChains=[chain])
            return found

        given = [at("10.0.0.1", 443, tcp("x")), at("0.0.0.0", 80, rds("80"))]
        rows = tables.listener_rows(given, tables.ListenerFilter())
        assert [row[:2] for row in rows] == [("0.0.0.0", "80"), ("10.0.0.1", "443")]
        for keep in (
            tables.ListenerFilter(port=443),
            tables.ListenerFilter(address="10.0.0.1"),
            tables.ListenerFilter(type="tcp"),
        ):
            assert [row[1] for row in tables.listener_rows(given, keep)] == ["443"]


class TestClusters:
    @pytest.mark.parametrize(
        ("keep", "kept"),
        [
            (tables.ClusterFilter(), ["BlackHoleCluster", "a.example", "a.example", "b.example"]),
            (tables.ClusterFilter(fqdn="a.example"), ["a.example", "a.example"]),
            (tables.ClusterFilter(subset="v1"), ["a.example"]),
            (tables.ClusterFilter(port=81), ["b.example"]),
            (tables.ClusterFilter(direction="inbound"), []),
            (tables.ClusterFilter(direction="out", fqdn="|80||a"), ["a.example"]),
        ],
    )
    def test_filters(self, keep: tables.ClusterFilter, kept: list[str]) -> None:
        names = ("outbound|81||b.example", "outbound|80|v1|a.example", "outbound|80||a.example", "BlackHoleCluster")
        given = [read(Cluster, name=name) for name in names]
        assert [row[0] for row in tables.cluster_rows(given, keep)] == kept

    def test_the_destination_rule_is_named_by_metadata(self) -> None:
        path = "/apis/networking.istio.io/v1/namespaces/shop/destination-rule/orders"
        given = read(Cluster, name="outbound|80||a.example", metadata={"filterMetadata": {"istio": {"config": path}}})
        (row,) = tables.cluster_rows([given], tables.ClusterFilter())
        assert row[-1] == "orders.shop"

    @pytest.mark.parametrize(
        ("held", "name"),
        [
            ({}, ""),
            ({"config": "/apis/gateway.networking.k8s.io/v1/namespaces/a/b/c"}, "<unknown>"),
            ({"config": "/apis/networking.istio.io/v1/x"}, ""),
        ],
    )
    def test_other_objects_are_not_named(self, held: dict[str, str], name: str) -> None:
        metadata = read(Cluster, name="a", metadata={"filterMetadata": {"istio": held}}).metadata
        assert tables.config_owner(metadata) == name


class TestRoutes:
    def test_tables_with_numbers_come_first(self) -> None:
        given = [read(RouteConfiguration, name=n) for n in ("", "inbound|80||", "9080", "80")]
        assert [r.name for r in tables.sort_routes(given)] == ["80", "9080", "inbound|80||", ""]

    def test_a_host_without_routes_answers_404(self) -> None:
        given = read(RouteConfiguration, name="80", virtualHosts=[{"name": "h", "domains": ["a"]}])
        assert tables.route_rows([given], "") == [("80", "h", "a", "/*", "404")]

    def test_of_many_domains_the_first_two_that_say_something(self) -> None:
        names = (
            "web.shop.svc.cluster.local",
            "web.shop.svc.cluster.local.",
            "web",
            "web.shop.svc",
            "web.shop",
            "10.0.0.1",
        )
        assert tables.describe_domains(read(VirtualHost, name="h", domains=names)) == "web, web.shop + 1 more..."
        ported = ("a.example", "a.example:80", "[fd00:1::1]", "[fd00:1::1]:80")
        assert tables.describe_domains(read(VirtualHost, name="h", domains=ported)) == "a.example, [fd00:1::1]"

    @pytest.mark.parametrize(
        ("match", "text"),
        [
            ({"prefix": "/"}, "/*"),
            ({"path": "/x"}, "/x"),
            ({"pathSeparatedPrefix": "/x"}, "PathPrefix:/x"),
            ({"safeRegex": {"regex": "/x.*"}}, "regex /x.*"),
        ],
    )
    def test_match(self, match: dict[str, Any], text: str) -> None:
        assert tables.describe_route_match(read(Route, match=match)) == text


class TestEndpoints:
    @pytest.mark.parametrize(
        ("flags", "word"),
        [
            ({}, "HEALTHY"),
            ({"failedOutlierCheck": True}, "UNHEALTHY"),
            ({"edsHealthStatus": "DRAINING"}, "DRAINING"),
            ({"edsHealthStatus": "DEGRADED"}, "DEGRADED"),
            ({"failedActiveHealthCheck": True, "edsHealthStatus": "DRAINING"}, "UNHEALTHY"),
        ],
    )
    def test_the_worst_that_holds(self, flags: dict[str, Any], word: str) -> None:
        rename = {"failedOutlierCheck", "failedActiveHealthCheck", "edsHealthStatus"}
        assert flags.keys() <= rename
        assert tables.health(read(HostHealth, **flags)) == word

    def test_rows_go_by_cluster_then_address(self) -> None:
        def host(address: str, **health: Any) -> dict[str, Any]:
            where = {"socketAddress": {"address": address, "portValue": 80}}
            return {"address": where, "healthStatus": health}

        statuses = [
            {"name": "outbound|80||b.example", "hostStatuses": [host("10.0.0.3")]},
            {
                "name": "outbound|80||a.example",
                "hostStatuses": [host("10.0.0.2", failedOutlierCheck=True), host("10.0.0.1")],
            },
        ]
        rows = tables.endpoint_rows(read(ClusterStatuses, clusterStatuses=statuses), tables.EndpointFilter())
        assert [(r[0], r[2]) for r in rows] == [
            ("10.0.0.1:80", "OK"),
            ("10.0.0.2:80", "FAILED"),
            ("10.0.0.3:80", "OK"),
        ]

    def test_what_a_proxy_was_told(self) -> None:
        address = {"socketAddress": {"address": "10.0.0.1", "portValue": 80}}
        group = {"locality": {"region": "eu", "zone": "eu-1"}, "lbEndpoints": [{"endpoint": {"address": address}}]}
        given = read(LoadAssignment, clusterName="outbound|80||a.example", endpoints=[group])
        (row,) = tables.assignment_rows([given], tables.EndpointFilter())
        assert row == ("10.0.0.1:80", "UNKNOWN", "eu/eu-1", "outbound|80||a.example")


def test_the_last_column_is_not_padded() -> None:
    text = tables.render(("A", "LONGER", "LAST"), [("aaaa", "b", "c")], padding=2)
    assert text == "A     LONGER  LAST\naaaa  b       c\n"
