"""Who won and who lost among the objects that speak of one host, and by which rule."""

from typing import Any

import pytest

from tests.worlds import Shop, entry, made, mesh, policy, routing, service, sidecar
from tidegate.envoy import decisions

A = "a.example"


def about(host: str, *objects: Any, **client: Any) -> set[tuple[str, str, str, tuple[str, ...], str]]:
    found = Shop(*objects, **client).view.decisions_about(host)
    return {(d.subject, d.rule, d.winner.name, tuple(r.name for r in d.losers), d.field) for d in found}


def test_an_uncontested_host_has_none() -> None:
    assert about(A, entry("shop/a", A), routing("shop/r", [A], A), policy("shop/d", A)) == set()


class TestServices:
    def test_a_definition_of_the_own_namespace(self) -> None:
        given = [entry("shop/mine", A, day=9), entry("other/theirs", A, day=1)]
        assert about(A, *given) == {(f"definition of {A}", decisions.OWN_NAMESPACE, "mine", ("theirs",), "")}

    def test_a_kubernetes_service_and_age(self) -> None:
        host = "orders.one.svc.cluster.local"
        given = [
            service("one/orders", day=9),
            entry("two/old", host, day=1),
            entry("two/x", A),
            entry("one/y", A, day=5),
        ]
        assert about(host, *given) == {(f"definition of {host}", decisions.KUBERNETES, "orders", ("old",), "")}
        assert about(A, *given) == {(f"definition of {A}", decisions.OLDEST, "x", ("y",), "")}

    @pytest.mark.parametrize(
        ("more", "winner", "field"),
        [({"exportTo": ["."]}, "e", "spec.exportTo"), ({}, "istio", "data.mesh.defaultServiceExportTo")],
    )
    def test_export_to_and_its_default_hide(self, more: dict[str, Any], winner: str, field: str) -> None:
        found = about(A, entry("other/e", A, **more), mesh("defaultServiceExportTo: ['.']"))
        assert found == {(f"host {A}", "exportTo hides it from namespace shop", winner, ("e",), field)}

    def test_a_sidecar_hides_what_it_does_not_import(self) -> None:
        found = about(A, entry("other/e", A), sidecar("shop/s", ["./*"]))
        assert found == {(f"host {A}", "the Sidecar does not import it", "s", ("e",), "spec.egress")}

    def test_a_port_of_its_own_is_closed_to_the_catch_all(self) -> None:
        own = {"hosts": ["./*"], "port": {"number": 80, "name": "p", "protocol": "HTTP"}}
        found = about(A, entry("other/e", A), sidecar("shop/s", own, ["*/*"]))
        assert found == {(f"port 80 of {A}", decisions.CLOSED, "s", ("e",), "spec.egress[0]")}


class TestVirtualServices:
    def test_by_age_and_by_host(self) -> None:
        rules = [
            routing("shop/old", [A], A, day=1),
            routing("shop/young", [A], A, day=2),
            routing("shop/wide", ["*.example"], A),
        ]
        assert about(A, entry("shop/a", A), *rules) == {
            (f"routes of {A}:80", decisions.OLDEST, "old", ("young",), ""),
            (f"routes of {A}:80", decisions.SPECIFIC, "old", ("wide",), ""),
        }

    def test_one_without_a_route_for_the_client_gives_way(self) -> None:
        http = [{"match": [{"sourceLabels": {"app": "x"}}], "route": [{"destination": {"host": A}}]}]
        rules = [made("VirtualService", "shop/old", hosts=[A], http=http), routing("shop/young", [A], A, day=2)]
        given = [entry("shop/a", A), *rules]
        assert about(A, *given) == {(f"routes of {A}:80", decisions.NO_ROUTE, "young", ("old",), "")}
        assert about(A, *given, labels={"app": "x"}) == {(f"routes of {A}:80", decisions.OLDEST, "old", ("young",), "")}
        assert about(A, *given[:2]) == {(f"routes of {A}:80", decisions.NO_ROUTE, "a", ("old",), "")}

    def test_export_to_and_a_sidecar_hide(self) -> None:
        given = [entry("shop/a", A), routing("other/r", [A], A, exportTo=["."])]
        expected = (f"routes of {A}", "exportTo hides it from namespace shop", "r", ("r",), "spec.exportTo")
        assert about(A, *given) == {expected}
        found = about(A, entry("shop/a", A), routing("other/r", [A], A), sidecar("shop/s", ["./*"]))
        assert found == {(f"routes of {A}", "the Sidecar does not import it", "s", ("r",), "spec.egress")}

    def test_of_tcp_and_tls_routes_that_are_never_reached(self) -> None:
        tcp = [{"route": [{"destination": {"host": A}}]}]
        tls = [{"match": [{"sniHosts": [A]}], "route": [{"destination": {"host": A}}]}]
        rules = [
            made("VirtualService", f"shop/{n}", day=d, hosts=[A], tcp=tcp, tls=tls)
            for n, d in (("old", 1), ("young", 2))
        ]
        found = about(A, entry("shop/a", A, (7000, "TCP"), (443, "TLS")), *rules)
        assert found == {(f"routes of {A}:{port}", decisions.OLDEST, "old", ("young",), "") for port in (443, 7000)}

    def test_a_listener_names_who_lost_its_address(self) -> None:
        given = [entry("shop/old", A, (7000, "TCP"), day=1), entry("shop/young", "b.example", (7000, "TCP"), day=2)]
        lost = [d for d in Shop(*given).view.decisions() if d.subject == "listener 0.0.0.0_7000" and d.losers]
        assert [(d.winner.name, d.losers[0].name, d.rule) for d in lost] == [
            ("old", "young", "identical match (every connection): oldest wins")
        ]


class TestDestinationRules:
    def test_by_namespace_by_host_and_by_age(self) -> None:
        rules = [
            policy("shop/mine", A),
            policy("shop/wide", "*.example"),
            policy("other/its", A),
            policy("istio-system/all", A),
        ]
        assert about(A, entry("other/a", A), *rules) == {
            (f"policy of {A}", decisions.SPECIFIC, "mine", ("wide",), ""),
            (f"policy of {A}", decisions.NAMESPACES, "mine", ("its", "all"), ""),
        }

    def test_workload_selectors(self) -> None:
        special = policy("shop/special", A, day=9, workloadSelector={"matchLabels": {"app": "web"}})
        given = [entry("shop/a", A), special, policy("shop/general", A)]
        selected = about(A, *given, labels={"app": "web"})
        assert selected == {(f"policy of {A}", decisions.SELECTED, "special", ("general",), "")}
        assert about(A, *given) == {(f"policy of {A}", decisions.NOT_SELECTED, "general", ("special",), "")}
        alone = (f"policy of {A}", decisions.NOT_SELECTED, "special", ("special",), "spec.workloadSelector")
        assert about(A, *given[:2]) == {alone}

    def test_export_to_hides(self) -> None:
        found = about(A, entry("other/a", A), policy("other/its", A, exportTo=["."]))
        expected = (f"policy of {A}", "exportTo hides it from namespace shop", "its", ("its",), "spec.exportTo")
        assert found == {expected}
