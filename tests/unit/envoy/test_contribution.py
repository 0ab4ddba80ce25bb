"""What one host brings to the configuration of one kind of proxy, by the objects around it."""

from typing import Any

import msgspec
import pytest

from tests import worlds
from tests.worlds import Shop, entry, gone, made, mesh, policy, put, routing, service, sidecar
from tidegate.api import decode
from tidegate.envoy import protos
from tidegate.envoy.cache import Builders
from tidegate.envoy.defaults import slices
from tidegate.envoy.outbound import Outbound
from tidegate.envoy.resource import ENDPOINT, LISTENER, ROUTE
from tidegate.kit.features import Features
from tidegate.scope.proxy import Interception

A, B = "a.example", "b.example"
NAMED_A, NAMED_B = "outbound|80||a.example", "outbound|80||b.example"


def hosts(*egress: Any, **spec: Any) -> Any:
    return sidecar("shop/s", *egress, **spec)


def listening(number: int, protocol: str, *imports: str, **more: Any) -> dict[str, Any]:
    return {"hosts": list(imports), "port": {"number": number, "name": "p", "protocol": protocol}, **more}


class TestWhatIsInScope:
    @pytest.mark.parametrize(
        ("imports", "clusters"),
        [
            (["./*"], {"outbound|80||a.example"}),
            (["other/*"], {"outbound|80||b.example"}),
            (["*/b.example"], {"outbound|80||b.example"}),
            (["*/*"], {"outbound|80||a.example", "outbound|80||b.example"}),
            (["~/*"], set()),
            (["*/*", "~other/b.example"], {"outbound|80||a.example"}),
        ],
    )
    def test_what_the_sidecar_imports(self, imports: list[str], clusters: set[str]) -> None:
        assert Shop(entry("shop/a", A), entry("other/b", B), hosts(imports)).clusters() == clusters

    def test_of_a_port_with_a_number_only_services_that_have_it(self) -> None:
        given = [entry("shop/a", A, (80, "HTTP"), (81, "HTTP")), entry("shop/b", B, (82, "HTTP"))]
        assert Shop(*given, hosts(listening(81, "HTTP", "./*"))).clusters() == {"outbound|81||a.example"}

    def test_of_an_http_proxy_port_all_their_ports(self) -> None:
        given = entry("shop/a", A, (80, "HTTP"), (81, "HTTP"))
        shop = Shop(given, hosts(listening(3128, "HTTP_PROXY", "./*", bind="127.0.0.1")))
        assert shop.clusters() == {"outbound|80||a.example", "outbound|81||a.example"}

    def test_export_to_keeps_a_host_from_other_namespaces(self) -> None:
        given = entry("other/b", B, exportTo=["."])
        assert Shop(given).clusters() == set()
        assert Shop(given, namespace="other").clusters() == {"outbound|80||b.example"}

    def test_of_one_name_in_two_namespaces_the_own(self) -> None:
        given = [
            entry("other/a", A, day=1, endpoints=[{"address": "10.8.0.7"}]),
            entry("shop/a", A, day=9, endpoints=[{"address": "10.8.0.9"}]),
        ]
        assert b"10.8.0.9" in Shop(*given).view.resources[ENDPOINT][NAMED_A].body
        metadata = Shop(*given).cluster(NAMED_A).metadata.filter_metadata["istio"]
        assert metadata["services"][0]["namespace"] == "shop"

    def test_udp_ports_bring_nothing(self) -> None:
        shop = Shop(service("shop/dns", (53, "udp-dns"), address="10.96.0.1"))
        assert (shop.clusters(), shop.listeners()) == (set(), set())


class TestDestinationsOfRoutes:
    """A destination that a route names is in scope, imported or not, with the ports that are named."""

    def given(self, to: str, *more: Any) -> Shop:
        return Shop(
            entry("shop/a", A),
            entry("other/b", B, (80, "HTTP"), (81, "HTTP")),
            routing("shop/r", [A], to),
            hosts(["./*"]),
            *more,
        )

    def test_all_ports_where_none_is_named(self) -> None:
        assert self.given(B).clusters() == {NAMED_A, "outbound|80||b.example", "outbound|81||b.example"}

    def test_the_named_port_alone(self) -> None:
        shop = self.given(f"{B}:81")
        assert shop.clusters() == {NAMED_A, "outbound|81||b.example"}
        assert shop.target("80", "a.example:80") == "outbound|81||b.example"

    def test_but_they_have_no_routes_and_no_listeners_of_their_own(self) -> None:
        shop = self.given(f"{B}:81")
        assert list(shop.domains("80")) == ["a.example:80", "allow_any"]
        assert shop.listeners() == {"0.0.0.0_80"}

    def test_of_several_definitions_the_clients_own_counts_even_if_hidden_else_a_visible_one(self) -> None:
        given = [entry("other/b", B, exportTo=["."]), entry("third/b", B, day=9), routing("other/r", [A], B)]

        def owner(*more: Any) -> str:
            shop = Shop(entry("shop/a", A), *given, hosts(["./a.example", "other/a.example"]), *more)
            return str(shop.cluster(NAMED_B).metadata.filter_metadata["istio"]["services"][0]["namespace"])

        assert owner() == "third"
        assert owner(entry("shop/b", B, day=20, exportTo=["~"])) == "shop"

    def test_of_a_service_without_the_named_port_nothing(self) -> None:
        assert self.given(f"{B}:99").clusters() == {NAMED_A}

    def test_a_route_for_clients_of_another_namespace_needs_nothing(self) -> None:
        match = [{"match": [{"sourceNamespace": "elsewhere"}], "route": [{"destination": {"host": B}}]}]
        given = [entry("shop/a", A), entry("other/b", B), hosts(["./*"])]
        assert Shop(*given, made("VirtualService", "shop/r", hosts=[A], http=match)).clusters() == {NAMED_A}

    def test_a_port_that_is_named_besides_those_imported(self) -> None:
        given = [entry("shop/a", A), entry("other/b", B, (80, "HTTP"), (81, "HTTP"), (82, "HTTP"))]
        limited = hosts(listening(80, "HTTP", "*/*"))
        shop = Shop(*given, routing("shop/r", [A], f"{B}:81"), limited)
        assert shop.clusters() == {NAMED_A, "outbound|80||b.example", "outbound|81||b.example"}
        assert list(shop.domains("80")) == ["a.example:80", "b.example:80", "allow_any"]

    def test_mirrors_and_tls_and_tcp_routes_count_too(self) -> None:
        http = [{"route": [{"destination": {"host": A}}], "mirror": {"host": "m.example"}}]
        tls = [{"match": [{"sniHosts": ["t.example"]}], "route": [{"destination": {"host": "u.example"}}]}]
        tcp = [{"route": [{"destination": {"host": "v.example"}}]}]
        shop = Shop(
            entry("shop/a", A),
            entry("shop/t", "t.example", (443, "TLS"), (7000, "TCP")),
            *(entry(f"other/{n}", f"{n}.example") for n in "muv"),
            made("VirtualService", "shop/r", hosts=[A], http=http),
            made("VirtualService", "shop/q", hosts=["t.example"], tls=tls, tcp=tcp),
            hosts(["./*"]),
        )
        assert {f"outbound|80||{n}.example" for n in "muv"} <= shop.clusters()

    def test_they_leave_when_the_route_does(self) -> None:
        shop = self.given(B)
        shop.advance(put(routing("shop/r", [A], A)))
        assert shop.clusters() == {NAMED_A}
        assert set(shop.view._wanted) == {A}

    def test_a_destination_that_does_not_exist_brings_nothing(self) -> None:
        assert self.given("nowhere.example").clusters() == {NAMED_A}


class TestRoutes:
    def test_the_most_specific_then_the_oldest_virtual_service_holds(self) -> None:
        wide = routing("shop/wide", ["*.example"], "wide.test", day=1)
        young = routing("shop/young", [A], "young.test", day=3)
        old = routing("shop/old", [A], "old.test", day=2)
        assert Shop(entry("shop/a", A), wide, young, old).target("80", "a.example:80") == "outbound|80||old.test"
        assert Shop(entry("shop/a", A), wide).target("80", "a.example:80") == "outbound|80||wide.test"

    def test_source_labels_make_kinds(self) -> None:
        http = [
            {"match": [{"sourceLabels": {"app": "web"}}], "route": [{"destination": {"host": B}}]},
            {"route": [{"destination": {"host": A}}]},
        ]
        given = [entry("shop/a", A), entry("shop/b", B), made("VirtualService", "shop/r", hosts=[A], http=http)]
        assert Shop(*given, labels={"app": "web"}).target("80", "a.example:80") == "outbound|80||b.example"
        assert Shop(*given, labels={"app": "x"}).target("80", "a.example:80") == NAMED_A

    def test_a_host_that_only_a_virtual_service_knows_is_served_on_port_80(self) -> None:
        shop = Shop(entry("shop/a", A, (80, "HTTP"), (8080, "HTTP")), routing("shop/r", ["new.example"], A))
        assert shop.domains("80")["new.example:80"] == ["new.example"]
        assert shop.target("80", "new.example:80") == NAMED_A
        assert "new.example:8080" not in shop.domains("8080")

    def test_and_so_is_a_registered_one_without_port_80(self) -> None:
        shop = Shop(entry("shop/a", A, (8080, "HTTP")), routing("shop/r", [A], A))
        assert shop.domains("80")["a.example:80"] == ["a.example"]

    def test_a_wildcard_stands_for_itself_only_where_it_covers_no_host(self) -> None:
        rule = routing("shop/r", ["*.example"], A)
        assert "*.example:80" in Shop(rule).domains("80")
        covered = Shop(rule, entry("shop/a", A))
        assert list(covered.domains("80")) == ["a.example:80", "allow_any"]

    def test_one_of_a_namespace_that_is_not_imported_does_not_hold(self) -> None:
        given = [entry("shop/a", A), routing("other/r", [A], B)]
        assert Shop(*given).target("80", "a.example:80") == "outbound|80||b.example"
        assert Shop(*given, hosts(["./*"])).target("80", "a.example:80") == NAMED_A

    def test_the_alias_of_a_host_is_one_of_its_names(self) -> None:
        """ExternalName: no cluster, no listener, no virtual host of its own, but domains at the host it stands for."""
        alias = service("shop/shortcut", type="ExternalName", externalName=A)
        shop = Shop(entry("shop/a", A), alias)
        assert "shortcut.shop.svc.cluster.local" in shop.domains("80")["a.example:80"]
        assert shop.clusters() == {NAMED_A}
        assert list(shop.domains("80")) == ["a.example:80", "allow_any"]

    def test_an_alias_that_is_not_imported_is_none(self) -> None:
        alias = service("other/shortcut", type="ExternalName", externalName=A)
        shop = Shop(entry("shop/a", A), alias, hosts(["./*"]))
        assert shop.domains("80")["a.example:80"] == ["a.example", "a.example."]

    def test_an_alias_of_an_unknown_host_brings_nothing(self) -> None:
        shop = Shop(service("shop/shortcut", type="ExternalName", externalName="nowhere.example"))
        assert (shop.clusters(), shop.listeners(), shop.names(ROUTE)) == (set(), set(), set())


class TestEgressListeners:
    def test_a_port_with_a_number_is_closed_to_the_catch_all(self) -> None:
        """Explicit-port listeners come first and take nothing from the catch-all for their address."""
        given = [entry("shop/a", A), entry("other/b", B), entry("other/t", "t.example", (80, "TCP"))]
        shop = Shop(*given, hosts(listening(80, "HTTP", "./*"), ["*/*"]))
        assert list(shop.domains("80")) == ["a.example:80", "allow_any"]
        assert "outbound|80||b.example" in shop.clusters()
        assert b"t.example" not in shop.view.resources[LISTENER]["0.0.0.0_80"].body

    def test_capture_mode_none_really_binds_on_loopback(self) -> None:
        shop = Shop(entry("shop/a", A), hosts(listening(80, "HTTP", "./*", captureMode="NONE")))
        assert shop.binds("127.0.0.1_80")
        assert shop.listeners() == {"127.0.0.1_80"}

    def test_a_bind_of_its_own(self) -> None:
        shop = Shop(entry("shop/a", A), hosts(listening(80, "HTTP", "./*", bind="127.0.0.3")))
        assert shop.listeners() == {"127.0.0.3_80"}
        assert not shop.binds("127.0.0.3_80")

    def test_a_bound_listener_is_bound_whatever_the_catch_all_has_there(self) -> None:
        bound = listening(80, "HTTP", "shop/*", bind="0.0.0.0", captureMode="NONE")
        older = entry("other/b", B, day=1)
        shop = Shop(older, entry("shop/a", A, day=9), hosts(bound, ["*/*"]))
        assert shop.binds("0.0.0.0_80")

    def test_without_interception_every_listener_is_bound(self) -> None:
        shop = Shop(entry("shop/a", A), interception=Interception.NONE)
        assert shop.names(LISTENER) == {"127.0.0.1_80"}
        assert shop.binds("127.0.0.1_80")

    def test_a_unix_socket_is_served_by_a_route_table_of_its_name(self) -> None:
        """Port 0: every domain with its port; those of port 80 without as well."""
        socket = "unix:///run/egress.sock"
        given = entry("shop/a", A, (80, "HTTP"), (8080, "HTTP"))
        shop = Shop(given, hosts(listening(0, "HTTP", "./*", bind=socket)))
        found = shop.domains(socket)
        assert found["a.example:80"] == ["a.example", "a.example.", "a.example:80", "a.example.:80"]
        assert found["a.example:8080"] == ["a.example:8080", "a.example.:8080"]

    def test_the_protocol_of_an_explicit_port_says_what_its_connections_are(self) -> None:
        given = entry("shop/a", A, (80, "HTTP"), addresses=["10.9.0.1"])
        shop = Shop(given, hosts(listening(80, "TCP", "./*")))
        assert shop.listeners() == {"10.9.0.1_80"}
        assert shop.names(ROUTE) == set()

    def test_one_that_takes_http_always_has_its_catch_all(self) -> None:
        shop = Shop(entry("shop/a", A, (7000, "TCP")), hosts(listening(7000, "HTTP", "./*")))
        assert list(shop.domains("7000")) == ["allow_any"]

    def test_a_socket_for_opaque_connections(self) -> None:
        socket = "unix:///run/egress.sock"
        shop = Shop(entry("shop/a", A, (7000, "TCP")), hosts(listening(0, "TCP", "./*", bind=socket)))
        (chain,) = shop.listener(f"{socket}_0").filter_chains
        assert chain.filters[0].name == "envoy.filters.network.tcp_proxy"

    def test_two_listeners_with_definitions_of_two_namespaces_share_no_ports(self) -> None:
        """The first listener's definition makes the clusters; the other's ports are not served from its endpoints."""
        mine = entry("shop/a", A, (80, "HTTP"))
        other = entry("other/a", A, (81, "HTTP"), endpoints=[{"address": "10.8.0.9"}])
        shop = Shop(mine, other, hosts(listening(80, "HTTP", "./*"), listening(81, "HTTP", "other/*")))
        assert shop.clusters() == {NAMED_A}

    def test_an_entry_that_selects_workloads_and_passes_through_listens_on_their_addresses(self) -> None:
        given = made(
            "ServiceEntry",
            "shop/a",
            hosts=[A],
            ports=[{"number": 7000, "name": "tcp", "protocol": "TCP"}],
            resolution="NONE",
            workloadSelector={"labels": {"app": "db"}},
        )
        workload = made("WorkloadEntry", "shop/w", address="10.7.0.1", labels={"app": "db"})
        assert Shop(given, workload).listeners() == {"10.7.0.1_7000"}


class TestHttpProxy:
    """A local HTTP proxy serves every HTTP port of what is imported."""

    def given(self, *more: Any, **client: Any) -> Shop:
        return Shop(entry("shop/a", A, (80, "HTTP"), (8080, "HTTP"), (443, "TLS")), *more, **client)

    def test_of_a_sidecars_own_port(self) -> None:
        shop = self.given(hosts(listening(3128, "HTTP_PROXY", "./*", bind="127.0.0.1", captureMode="NONE")))
        assert shop.listeners() == {"127.0.0.1_3128"}
        assert shop.binds("127.0.0.1_3128")
        assert shop.domains("3128") == {
            "a.example:80": ["a.example", "a.example.", "a.example:80", "a.example.:80"],
            "a.example:8080": ["a.example:8080", "a.example.:8080"],
            "allow_any": ["*"],
        }

    def test_on_the_wildcard_address_nothing_is_sniffed(self) -> None:
        found = self.given(hosts(listening(3128, "HTTP_PROXY", "./*"))).listener("0.0.0.0_3128")
        assert not found.listener_filters
        assert not found.HasField("default_filter_chain")

    @pytest.mark.parametrize("client", [{}, {"http_proxy_port": 15008}])
    def test_of_the_mesh_or_of_one_workload(self, client: dict[str, int]) -> None:
        shop = self.given(*([] if client else [mesh("proxyHttpPort: 15007")]), **client)
        name = f"127.0.0.1_{client.get('http_proxy_port', 15007)}"
        assert shop.binds(name)
        assert list(shop.domains("http_proxy")) == ["a.example:80", "a.example:8080", "allow_any"]
        assert shop.domains("http_proxy")["a.example:8080"] == ["a.example:8080", "a.example.:8080"]

    def test_without_any_host_it_has_its_catch_all(self) -> None:
        assert list(Shop(mesh("proxyHttpPort: 15007")).domains("http_proxy")) == ["allow_any"]

    def test_none_by_default(self) -> None:
        assert "http_proxy" not in self.given().names(ROUTE)


class TestUnregisteredHosts:
    """Hosts that a VirtualService names and no service of a route configuration has."""

    def test_they_stand_beside_a_registered_host_of_their_rule(self) -> None:
        rule = routing("shop/r", [A, "new.example"], A)
        shop = Shop(entry("shop/a", A, (8080, "HTTP"), (7000, "TCP")), rule)
        assert shop.domains("8080")["new.example:8080"] == ["new.example"]
        assert shop.target("8080", "new.example:8080") == "outbound|8080||a.example"
        assert "7000" not in shop.names(ROUTE)

    def test_and_leave_with_it(self) -> None:
        host = entry("shop/a", A, (8080, "HTTP"))
        shop = Shop(host, routing("shop/r", [A, "new.example"], A))
        shop.advance(gone(host))
        assert "8080" not in shop.names(ROUTE)
        assert list(shop.domains("80")) == ["a.example:80", "new.example:80", "allow_any"]
        shop.advance(put(host))
        assert "new.example:8080" in shop.domains("8080")

    def test_a_registered_host_whose_port_80_is_opaque_is_none(self) -> None:
        shop = Shop(entry("shop/a", A, (80, "TCP")), routing("shop/r", [A], A))
        assert "80" not in shop.names(ROUTE)

    def test_in_the_configuration_of_an_http_proxy_with_their_port(self) -> None:
        rule = routing("shop/r", [A, "new.example"], A)
        shop = Shop(entry("shop/a", A, (8080, "HTTP")), rule, mesh("proxyHttpPort: 15007"))
        assert shop.domains("http_proxy")["new.example:8080"] == ["new.example:8080"]

    def test_the_next_rule_holds_where_the_first_has_no_route_for_the_client(self) -> None:
        http = [{"match": [{"sourceLabels": {"app": "x"}}], "route": [{"destination": {"host": B}}]}]
        rules = [
            made("VirtualService", "shop/old", hosts=["new.example"], http=http),
            routing("shop/r", ["new.example"], A),
        ]
        assert Shop(*rules).target("80", "new.example:80") == NAMED_A
        assert Shop(*rules, labels={"app": "x"}).target("80", "new.example:80") == NAMED_B


class TestRulesWithoutARouteForTheClient:
    @pytest.mark.parametrize(
        "match", [{"sourceLabels": {"app": "x"}}, {"sourceNamespace": "other"}, {"gateways": ["shop/gw"]}, {"port": 99}]
    )
    def test_they_give_way_to_the_next_and_that_to_the_default(self, match: dict[str, Any]) -> None:
        http = [{"match": [match], "route": [{"destination": {"host": B}}]}]
        first = made("VirtualService", "shop/first", day=1, hosts=[A], gateways=["mesh", "shop/gw"], http=http)
        second = routing("shop/second", [A], "c.example", day=2)
        assert Shop(entry("shop/a", A), first, second).target("80", "a.example:80") == "outbound|80||c.example"
        assert Shop(entry("shop/a", A), first).target("80", "a.example:80") == NAMED_A

    def test_a_wildcard_does_not_stand_in_for_a_rule_that_names_the_host(self) -> None:
        http = [{"match": [{"sourceNamespace": "other"}], "route": [{"destination": {"host": B}}]}]
        exact, wide = made("VirtualService", "shop/e", hosts=[A], http=http), routing("shop/w", ["*.example"], B)
        assert Shop(entry("shop/a", A), exact, wide).target("80", "a.example:80") == NAMED_A


class TestPolicies:
    def test_the_rule_that_holds_shapes_the_cluster_and_its_subsets(self) -> None:
        subsets = [{"name": "v1", "labels": {"version": "v1"}}]
        shop = Shop(entry("other/a", A), policy("other/p", A, connections=7, subsets=subsets))
        assert shop.clusters() == {NAMED_A, "outbound|80|v1|a.example"}
        assert shop.connections(NAMED_A) == 7

    def test_the_clients_namespace_goes_first(self) -> None:
        rules = [policy("other/p", A, connections=7), policy("shop/p", A, connections=3)]
        assert Shop(entry("other/a", A), *rules).connections(NAMED_A) == 3
        assert Shop(entry("other/a", A), *rules, namespace="third").connections(NAMED_A) == 7

    def test_a_workload_selector_makes_kinds(self) -> None:
        rules = [
            policy("shop/p", A, connections=7),
            policy("shop/q", A, connections=3, day=9, workloadSelector={"matchLabels": {"app": "web"}}),
        ]
        assert Shop(entry("shop/a", A), *rules, labels={"app": "web"}).connections(NAMED_A) == 3
        assert Shop(entry("shop/a", A), *rules, labels={"app": "x"}).connections(NAMED_A) == 7

    def test_pass_through_has_no_endpoints(self) -> None:
        through = {"loadBalancer": {"simple": "PASSTHROUGH"}}
        shop = Shop(entry("shop/a", A), policy("shop/p", A, trafficPolicy=through))
        assert shop.assignments() == set()
        assert shop.cluster(NAMED_A).type == shop.cluster("PassthroughCluster").type


class TestHeadless:
    def slice(self, *addresses: str) -> Any:
        return decode.stored(
            {
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {
                    "name": "db-1",
                    "namespace": "shop",
                    "labels": {"kubernetes.io/service-name": "db"},
                },
                "addressType": "IPv4",
                "endpoints": [{"addresses": [a], "conditions": {"ready": True}} for a in addresses],
                "ports": [{"name": "mysql", "port": 3306}, {"name": "http", "port": 80}],
            }
        )

    def test_one_listener_for_each_endpoint_of_an_opaque_port(self) -> None:
        db = service("shop/db", (3306, "mysql"))
        shop = Shop(db, self.slice("10.1.0.1", "10.1.0.2"))
        assert shop.listeners() == {"10.1.0.1_3306", "10.1.0.2_3306"}

    def test_or_one_filter_chain_for_each_where_the_control_plane_says_so(self) -> None:
        given = worlds.world(service("shop/db", (3306, "mysql")), self.slice("10.1.0.1", "10.1.0.2"))
        given = msgspec.structs.replace(given, features=Features(headless_filter_chains=True))
        view = Outbound(worlds.kind(), given, slices(given.mesh, given.domain), Builders())
        found = protos.Listener.FromString(view.resources[LISTENER]["0.0.0.0_3306"].body)
        prefixes = [c.filter_chain_match.prefix_ranges[0].address_prefix for c in found.filter_chains]
        assert prefixes == ["10.1.0.1", "10.1.0.2"]
        assert found.default_filter_chain.name == "PassthroughFilterChain"

    def test_none_without_endpoints(self) -> None:
        assert Shop(service("shop/db", (3306, "mysql"))).listeners() == set()

    def test_http_shares_the_wildcard_with_names_of_its_pods(self) -> None:
        shop = Shop(service("shop/db", (80, "http")), self.slice("10.1.0.1"))
        assert shop.listeners() == {"0.0.0.0_80"}
        domains = shop.domains("80")["db.shop.svc.cluster.local:80"]
        assert {"*.db.shop.svc.cluster.local", "*.db"} <= set(domains)


class TestMeshDefaults:
    @pytest.mark.parametrize("kind", ["Service", "VirtualService", "DestinationRule"])
    def test_visibility(self, kind: str) -> None:
        objects = [
            entry("other/a", A, exportTo=["*"] if kind != "Service" else []),
            routing("other/r", [A], B, exportTo=["*"] if kind != "VirtualService" else []),
            policy("other/p", A, connections=7, exportTo=["*"] if kind != "DestinationRule" else []),
        ]
        shop = Shop(*objects, mesh(f"default{kind}ExportTo: ['.']"))
        if kind == "Service":
            assert shop.clusters() == set()
            return
        assert (shop.target("80", "a.example:80") == NAMED_A) is (kind == "VirtualService")
        assert shop.connections(NAMED_A) == (0 if kind == "DestinationRule" else 7)
