"""Who listens where, and who loses a port to whom."""

from tests.unit.envoy.gateway.front import Front, gateway, own_service, server, simple
from tests.worlds import made
from tidegate.api.objects import Ref

HTTP = server(80, "HTTP", "a.example")
TCP = server(80, "TCP", "a.example")


def tcp_route(where: str, gateway_name: str) -> object:
    route = [{"route": [{"destination": {"host": "db.example", "port": {"number": 5432}}}]}]
    return made("VirtualService", where, hosts=["*"], gateways=[gateway_name], tcp=route)


class TestWhichGatewaysHold:
    def test_those_of_any_namespace_whose_selector_the_pod_meets(self) -> None:
        found = Front(gateway("far/one", HTTP), gateway("edge/two", server(81, "HTTP"), app="another"))
        assert found.listeners() == ["0.0.0.0_80"]

    def test_one_without_a_selector_holds_for_every_gateway(self) -> None:
        assert Front(made("Gateway", "far/any", servers=[HTTP])).listeners() == ["0.0.0.0_80"]

    def test_labels_that_the_proxy_does_not_have_select_nothing(self) -> None:
        assert Front(gateway("edge/one", HTTP, app="gw", tier="front")).listeners() == []


class TestPorts:
    def test_a_service_port_is_listened_for_on_its_target_port(self) -> None:
        assert Front(own_service(), gateway("edge/one", HTTP)).listeners() == ["0.0.0.0_8080"]

    def test_a_port_that_no_service_has_is_taken_as_it_is(self) -> None:
        assert Front(own_service(), gateway("edge/one", server(9000, "HTTP"))).listeners() == ["0.0.0.0_9000"]

    def test_a_service_may_keep_its_ports_out_of_it(self) -> None:
        name = "experimental.istio.io/disable-gateway-port-translation"
        labelled = own_service()
        untranslated = made(
            "Service", "edge/gw", labels={name: "true"}, clusterIP="10.96.1.1", selector={"app": "gw"},
            ports=[{"name": "http2", "port": 80, "targetPort": 8080, "protocol": "TCP"}],
        )  # fmt: skip
        assert labelled.ref == untranslated.ref
        assert Front(untranslated, gateway("edge/one", HTTP)).listeners() == ["0.0.0.0_80"]

    def test_an_unprivileged_gateway_does_not_try_low_ports(self) -> None:
        given = gateway("edge/one", HTTP, server(8081, "HTTP"))
        assert Front(given, unprivileged=True).listeners() == ["0.0.0.0_8081"]

    def test_a_bind_is_part_of_the_names(self) -> None:
        found = Front(
            gateway("edge/one", server(80, "HTTP", bind="127.0.0.1")), gateway("edge/two", server(80, "HTTP"))
        )
        assert found.listeners() == ["0.0.0.0_80", "127.0.0.1_80"]
        assert [v.name for v in found.route("http.80.127.0.0.1").virtual_hosts] == ["blackhole:80"]


class TestSharing:
    def test_plain_http_of_several_gateways_shares_a_port(self) -> None:
        found = Front(gateway("edge/one", HTTP), gateway("far/two", server(80, "HTTP2", "b.example")))
        assert found.listeners() == ["0.0.0.0_80"]
        assert found.decisions() == []

    def test_tls_is_shared_by_server_name(self) -> None:
        found = Front(gateway("edge/one", simple(443, "a.example")), gateway("far/two", simple(443, "b.example")))
        assert sorted(found.chains("0.0.0.0_443")) == ["a.example", "b.example"]

    def test_the_oldest_has_a_port_that_cannot_be_shared(self) -> None:
        found = Front(gateway("edge/young", HTTP, day=2), gateway("edge/old", TCP, day=1), tcp_route("edge/db", "old"))
        assert [tcp.name for tcp in found.listener("0.0.0.0_80").filter_chains[0].filters] == [
            "envoy.filters.network.tcp_proxy"
        ]
        (told,) = found.decisions()
        assert told.winner == Ref("Gateway", "edge", "old") and told.losers == (Ref("Gateway", "edge", "young"),)
        assert told.subject == "spec.servers[0] of edge/young" and "oldest wins" in told.rule

    def test_a_port_is_lost_even_to_a_server_that_has_nowhere_to_lead(self) -> None:
        found = Front(gateway("edge/young", HTTP, day=2), gateway("edge/old", TCP, day=1))
        assert found.listeners() == []
        assert found.decisions()[0].losers == (Ref("Gateway", "edge", "young"),)

    def test_one_server_name_has_one_server(self) -> None:
        found = Front(
            gateway("edge/young", simple(443, "a.example", "b.example", name="other"), day=2),
            gateway("edge/old", simple(443, "A.example"), day=1),
        )
        assert list(found.chains("0.0.0.0_443")) == ["a.example"]
        assert "server name" in found.decisions()[0].rule

    def test_what_comes_after_tls_takes_what_no_server_name_tells(self) -> None:
        found = Front(gateway("edge/one", simple(443, "a.example"), server(443, "HTTP", "b.example")))
        assert list(found.chains("0.0.0.0_443")) == ["a.example", ""]
        assert found.decisions() == []

    def test_tls_does_not_come_after_a_server_without(self) -> None:
        young = gateway("edge/young", simple(443, "c.example"), day=2)
        found = Front(gateway("edge/one", simple(443, "a.example"), server(443, "HTTP", "b.example")), young)
        assert list(found.chains("0.0.0.0_443")) == ["a.example", ""]
        assert found.decisions()[0].losers == (Ref("Gateway", "edge", "young"),)

    def test_servers_of_one_protocol_follow_each_other(self) -> None:
        passed = server(443, "TLS", "b.example", mode="PASSTHROUGH")
        match, there = [{"sniHosts": ["b.example"]}], [{"destination": {"host": "b.example"}}]
        rule = made(
            "VirtualService", "edge/b", hosts=["b.example"], gateways=["one"], tls=[{"match": match, "route": there}]
        )
        found = Front(
            gateway(
                "edge/one",
                simple(443, "a.example"),
                passed,
                {**simple(443, "c.example"), "port": {"number": 443, "name": "c", "protocol": "HTTPS"}},
            ),
            rule,
        )
        assert list(found.chains("0.0.0.0_443")) == ["a.example", "c.example", "b.example"]

    def test_redirected_hosts_are_one_servers_alone(self) -> None:
        redirected = server(80, "HTTP", "*", httpsRedirect=True)
        found = Front(gateway("edge/young", redirected, day=2), gateway("edge/old", redirected, day=1))
        assert found.decisions()[0].losers == (Ref("Gateway", "edge", "young"),)


def test_a_gateway_made_for_services_listens_where_each_of_them_says() -> None:
    annotation = {"internal.istio.io/gateway-service": "gw.edge.svc.cluster.local,more.edge.svc.cluster.local"}
    selected = made("Gateway", "edge/made", servers=[HTTP])
    selected.meta.annotations.update(annotation)
    more = made(
        "Service", "edge/more", clusterIP="10.96.1.2", selector={"app": "gw"},
        ports=[{"name": "http", "port": 80, "targetPort": 8090, "protocol": "TCP"}],
    )  # fmt: skip
    assert Front(own_service(), more, selected).listeners() == ["0.0.0.0_8080", "0.0.0.0_8090"]
    assert Front(selected).listeners() == []
