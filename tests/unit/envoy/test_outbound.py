"""The outbound resources of one kind of proxy: what they say of the world, and how they follow it."""

from typing import Any

import pytest

from tests.worlds import DOMAIN, Shop, entry, gone, made, mesh, policy, put, routing, service, sidecar
from tidegate.envoy.defaults import slices
from tidegate.envoy.outbound import TYPES
from tidegate.envoy.resource import CLUSTER, ENDPOINT, LISTENER, ROUTE

A, B = "a.example", "b.example"
NAMED_A = "outbound|80||a.example"
REGISTRY_ONLY = "outboundTrafficPolicy: {mode: REGISTRY_ONLY}"


def catch_all(shop: Shop, table: str = "80") -> tuple[str, str]:
    """Name of the last virtual host, and the cluster or status that it answers with."""
    last = shop.route(table).virtual_hosts[-1]
    route = last.routes[0]
    return last.name, route.route.cluster or str(route.direct_response.status)


class TestManyServicesOnOnePort:
    """S000-6: services that share a port have one listener, one route configuration, a virtual host each."""

    CLUSTER_IPS = {
        "merchant-center.open": "10.233.60.59",
        "cashier-busi-svc.pay": "10.233.17.123",
        "center-job.manager": "10.233.34.158",
    }

    def shop(self, namespace: str = "default") -> Shop:
        given = [
            service(f"{name.split('.')[1]}/{name.split('.')[0]}", (8001, "http-api"), address=address)
            for name, address in self.CLUSTER_IPS.items()
        ]
        several = [(n, f"http-{n}") for n in (8000, 8001, 8443, 8444)]
        return Shop(*given, service("open/several", *several, address="10.233.49.245"), namespace=namespace)

    def test_one_listener_and_one_route_configuration(self) -> None:
        shop = self.shop()
        assert "0.0.0.0_8001" in shop.listeners()
        assert len(shop.domains("8001")) == 5

    def test_domains_have_names_and_address_but_no_ports(self) -> None:
        found = self.shop().domains("8001")["merchant-center.open.svc.cluster.local:8001"]
        assert found == [
            "merchant-center.open.svc.cluster.local",
            "merchant-center.open.svc.cluster.local.",
            "merchant-center.open",
            "merchant-center.open.svc",
            "10.233.60.59",
        ]

    def test_a_client_of_the_same_namespace_has_the_short_name_too(self) -> None:
        found = self.shop("open").domains("8001")["merchant-center.open.svc.cluster.local:8001"]
        assert "merchant-center" in found
        assert (
            "cashier-busi-svc" not in self.shop("open").domains("8001")["cashier-busi-svc.pay.svc.cluster.local:8001"]
        )

    def test_virtual_hosts_stand_by_name_the_catch_all_last(self) -> None:
        names = list(self.shop().domains("8001"))
        assert names == [*sorted(names[:-1]), "allow_any"]

    def test_the_route_leads_to_the_services_cluster(self) -> None:
        host = "merchant-center.open.svc.cluster.local"
        assert self.shop().target("8001", f"{host}:8001") == f"outbound|8001||{host}"


class TestDomainConflicts:
    def test_two_hosts_with_one_address(self) -> None:
        """C004-30: both have a virtual host, the address goes to the older alone."""
        shop = Shop(
            entry("shop/b", B, day=1, addresses=["10.9.0.1"]), entry("shop/a", A, day=2, addresses=["10.9.0.1"])
        )
        assert shop.domains("80")["b.example:80"] == ["b.example", "b.example.", "10.9.0.1"]
        assert shop.domains("80")["a.example:80"] == ["a.example", "a.example."]

    def test_the_loser_gets_it_when_the_winner_goes(self) -> None:
        older = entry("shop/b", B, day=1, addresses=["10.9.0.1"])
        shop = Shop(older, entry("shop/a", A, day=2, addresses=["10.9.0.1"]))
        told = shop.advance(gone(older))
        assert ROUTE in told
        assert shop.domains("80")["a.example:80"] == ["a.example", "a.example.", "10.9.0.1"]

    def test_a_name_of_ones_own_goes_before_anothers_short_form(self) -> None:
        """``web.other`` is a short form of one and the very name of the other, however young."""
        inside = service("other/web", address="10.96.0.1", day=1)
        shop = Shop(inside, entry("shop/e", "web.other", day=9))
        assert shop.domains("80")["web.other:80"][0] == "web.other"
        assert "web.other" not in shop.domains("80")["web.other.svc.cluster.local:80"]

    def test_a_virtual_services_host_goes_before_an_older_one_without(self) -> None:
        given = [entry("shop/b", B, day=1, addresses=["10.9.0.1"]), entry("shop/a", A, day=2, addresses=["10.9.0.1"])]
        shop = Shop(*given, routing("shop/r", [A], A, day=9))
        assert "10.9.0.1" in shop.domains("80")["a.example:80"]

    def test_who_lost_is_told(self) -> None:
        shop = Shop(
            entry("shop/b", B, day=1, addresses=["10.9.0.1"]), entry("shop/a", A, day=2, addresses=["10.9.0.1"])
        )
        (found,) = [d for d in shop.view.decisions() if "domain 10.9.0.1" in d.subject]
        assert (found.winner.name, [each.name for each in found.losers]) == ("b", ["a"])


class TestCatchAll:
    def test_allow_any_by_default(self) -> None:
        assert catch_all(Shop(entry("shop/a", A))) == ("allow_any", "PassthroughCluster")

    def test_registry_only_by_the_mesh(self) -> None:
        assert catch_all(Shop(entry("shop/a", A), mesh(REGISTRY_ONLY))) == ("block_all", "502")

    @pytest.mark.parametrize(
        ("policy", "expected"),
        [
            ({"mode": "REGISTRY_ONLY"}, ("block_all", "502")),
            ({"mode": "ALLOW_ANY"}, ("allow_any", "PassthroughCluster")),
            (None, ("block_all", "502")),
        ],
    )
    def test_a_sidecars_policy_goes_before_the_meshs(self, policy: Any, expected: tuple[str, str]) -> None:
        spec = {"outboundTrafficPolicy": policy} if policy else {}
        mode = REGISTRY_ONLY if policy is None or policy["mode"] == "ALLOW_ANY" else ""
        assert catch_all(Shop(entry("shop/a", A), mesh(mode), sidecar("shop/s", ["*/*"], **spec))) == expected

    def test_an_egress_proxy_takes_the_place_of_the_passthrough(self) -> None:
        proxy = {"mode": "ALLOW_ANY", "egressProxy": {"host": "gate", "port": {"number": 8080}, "subset": "v1"}}
        shop = Shop(entry("shop/a", A), sidecar("shop/s", ["*/*"], outboundTrafficPolicy=proxy))
        cluster = "outbound|8080|v1|gate.shop.svc.cluster.local"
        assert catch_all(shop) == ("allow_any", cluster)
        assert cluster.encode() in shop.view.resources[LISTENER]["virtualOutbound"].body

    def test_a_seed_case_with_a_selector_reaches_the_selected_alone(self) -> None:
        """S004-3: REGISTRY_ONLY for app=client; egress for port 80 of its own namespace only."""
        listener = {"hosts": ["./*"], "port": {"name": "frontend", "number": 80, "protocol": "HTTP"}}
        limited = sidecar(
            "app/client",
            listener,
            workloadSelector={"labels": {"app": "client"}},
            outboundTrafficPolicy={"mode": "REGISTRY_ONLY"},
        )
        given = [entry("app/a", A), entry("app/t", "t.example", (9000, "TCP")), entry("other/b", B), limited]
        selected = Shop(*given, namespace="app", labels={"app": "client"})
        assert catch_all(selected) == ("block_all", "502")
        assert selected.clusters() == {NAMED_A}
        others = Shop(*given, namespace="app", labels={"app": "other"})
        assert catch_all(others) == ("allow_any", "PassthroughCluster")
        assert len(others.clusters()) == 3


def test_the_chain_of_an_https_entry_names_its_host() -> None:
    """S003-5: an HTTPS port without address is told apart by SNI; other names fall to the default chain."""
    shop = Shop(entry("shop/site", "www.site-a.example", (443, "HTTPS"), resolution="DNS"))
    found = shop.listener("0.0.0.0_443")
    assert [list(chain.filter_chain_match.server_names) for chain in found.filter_chains] == [["www.site-a.example"]]
    assert found.default_filter_chain.name == "PassthroughFilterChain"


class TestAdvancing:
    def test_a_host_that_comes_and_goes_is_told_by_name(self) -> None:
        shop, found = Shop(), entry("shop/a", A, (80, "HTTP"), (7000, "TCP"))
        names = {
            CLUSTER: {NAMED_A, "outbound|7000||a.example"},
            ENDPOINT: {NAMED_A, "outbound|7000||a.example"},
            LISTENER: {"0.0.0.0_80", "0.0.0.0_7000"},
            ROUTE: {"80"},
        }
        assert shop.advance(put(found)) == names
        assert shop.advance(gone(found)) == names
        assert shop.clusters() | shop.listeners() | shop.names(ROUTE) | shop.assignments() == set()

    def test_what_changes_nothing_is_not_told(self) -> None:
        shop = Shop(entry("shop/a", A))
        assert shop.advance(put(policy("shop/p", "none.example", connections=3))) == {}
        assert shop.advance(put(sidecar("other/s", ["./*"]))) == {}
        assert shop.advance(put(routing("shop/r", [A], A, gateways=["shop/edge"]))) == {}

    def test_a_service_that_takes_a_wildcard_in_ends_it(self) -> None:
        shop = Shop(routing("shop/r", ["*.example"], B))
        assert list(shop.domains("80")) == ["*.example:80", "allow_any"]
        found = entry("shop/a", A)
        shop.advance(put(found))
        assert list(shop.domains("80")) == ["a.example:80", "allow_any"]
        shop.advance(gone(found))
        assert list(shop.domains("80")) == ["*.example:80", "allow_any"]

    def test_an_alias_is_told_where_it_is_a_domain(self) -> None:
        shop = Shop(entry("shop/a", A))
        alias = service("shop/shortcut", type="ExternalName", externalName=A)
        assert shop.advance(put(alias)) == {ROUTE: {"80"}}
        assert "shortcut" in shop.domains("80")["a.example:80"]
        moved = service("shop/shortcut", type="ExternalName", externalName=B)
        assert shop.advance(put(moved)) == {ROUTE: {"80"}}
        assert dict(shop.view._aliases) == {B: {f"shortcut.shop.svc.{DOMAIN}"}}

    def test_a_rule_of_a_routes_destination_is_followed(self) -> None:
        """consistentHash of a destination is part of the route that leads there."""
        hashed = {"loadBalancer": {"consistentHash": {"httpHeaderName": "x-user"}}}
        shop = Shop(entry("shop/a", A), entry("shop/b", B), routing("shop/r", [A], B))
        assert ROUTE in shop.advance(put(policy("shop/p", B, trafficPolicy=hashed)))
        host = next(h for h in shop.route("80").virtual_hosts if h.name == "a.example:80")
        assert host.routes[0].route.hash_policy[0].header.header_name == "x-user"

    def test_two_ports_of_a_host_on_one_socket_come_and_go_apart(self) -> None:
        socket = "unix:///run/egress.sock"
        listener = {"hosts": ["./*"], "port": {"number": 0, "name": "p", "protocol": "HTTP"}, "bind": socket}
        given = entry("shop/a", A, (80, "HTTP"), (8080, "HTTP"))
        shop = Shop(given, made("Sidecar", "shop/s", egress=[listener]))
        assert list(shop.domains(socket)) == ["a.example:80", "a.example:8080", "allow_any"]
        shop.advance(put(entry("shop/a", A, (8080, "HTTP"))))
        assert list(shop.domains(socket)) == ["a.example:8080", "allow_any"]

    @pytest.mark.parametrize(
        "changed",
        ["rootNamespace: platform", "defaultServiceExportTo: ['.']", "defaultDestinationRuleExportTo: ['.']"],
    )
    def test_mesh_settings_that_decide_what_is_seen_count_at_once(self, changed: str) -> None:
        given = [entry("other/a", A), policy("other/p", A, connections=3), sidecar("platform/s", ["~/*"])]
        shop = Shop(*given)
        assert CLUSTER in shop.advance(put(mesh(changed)))
        fresh = Shop(*given, mesh(changed))
        assert [shop.names(url) for url in TYPES] == [fresh.names(url) for url in TYPES]

    def test_nothing_is_kept_of_what_has_gone(self) -> None:
        shop = Shop()
        held = [
            entry("shop/a", A, (80, "HTTP"), (7000, ""), addresses=["10.9.0.1"]),
            routing("shop/r", [A, "only.example"], B),
            policy("shop/p", A, connections=3),
            service("shop/shortcut", type="ExternalName", externalName=A),
        ]
        shop.advance(*(put(each) for each in held))
        for each in held:
            shop.advance(gone(each))
        view = shop.view
        indexes = (
            view._contributions,
            view._wanted,
            view._users,
            view._aliases,
            view._clusters,
            view._assignments,
            view._sniffed,
            view._routes,
            view._listeners,
        )
        assert [dict(each) for each in indexes] == [{}] * len(indexes)

    def test_a_rebuild_calls_no_builder_for_what_is_unchanged(self) -> None:
        shop = Shop(*(entry(f"shop/e{n}", f"h{n}.example") for n in range(20)))
        before = dict(shop.builders.built)
        shop.advance(put(mesh(REGISTRY_ONLY)))
        after = dict(shop.builders.built)
        moved = {name for name in after if after[name] != before.get(name)}
        assert moved == {"listeners.assemble"}
        assert slices(shop.world.mesh, DOMAIN).catch_all.allow is False
