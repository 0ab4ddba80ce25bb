"""Which object holds for a host: the service, its DestinationRule, its VirtualServices."""

from typing import Any

import pytest

from tests.worlds import entry, kind, mesh, policy, routing, service, world
from tidegate.scope import choice
from tidegate.scope.egress import DEFAULT_EGRESS, egress_listeners

HOST = "a.example"


def services(*objects: Any, namespace: str = "shop", host: str = HOST) -> list[str]:
    return [s.namespace for s in choice.service_candidates(world(*objects), kind(namespace), host)]


def rule(*objects: Any, namespace: str = "shop", of: str = "owner", host: str = HOST, **proxy: Any) -> str:
    found = choice.destination_rule_for(world(*objects), kind(namespace, **proxy), host, of)
    return f"{found.ref.namespace}/{found.ref.name}" if found else ""


class TestServices:
    def test_the_own_namespace_first_then_the_oldest(self) -> None:
        elsewhere = [entry("one/e", HOST, day=3), entry("two/e", HOST, day=2)]
        assert services(*elsewhere) == ["two", "one"]
        assert services(*elsewhere, entry("shop/e", HOST, day=9)) == ["shop", "two", "one"]

    def test_a_kubernetes_service_before_an_older_entry_of_its_name(self) -> None:
        name = "orders.one.svc.cluster.local"
        found = services(entry("two/e", name, day=1), service("one/orders", day=9), host=name)
        assert found == ["one", "two"]

    def test_names_are_compared_without_letter_case(self) -> None:
        assert services(entry("one/e", HOST), host="A.Example") == ["one"]

    @pytest.mark.parametrize(
        ("export", "seen"), [(["."], False), (["*"], True), (["~"], False), (["shop"], True), (["else"], False)]
    )
    def test_export_to(self, export: list[str], seen: bool) -> None:
        assert services(entry("one/e", HOST, exportTo=export)) == (["one"] if seen else [])

    def test_the_meshs_default_for_services(self) -> None:
        closed = mesh("defaultServiceExportTo: ['.']")
        assert services(entry("one/e", HOST), closed) == []
        assert services(entry("one/e", HOST), closed, namespace="one") == ["one"]
        assert services(entry("one/e", HOST, exportTo=["*"]), closed) == ["one"]

    def test_a_hidden_definition_does_not_hide_the_next(self) -> None:
        assert services(entry("one/e", HOST, day=1, exportTo=["."]), entry("two/e", HOST, day=2)) == ["two"]

    def test_each_egress_listener_chooses_among_what_it_imports(self) -> None:
        from tests.worlds import sidecar

        given = world(entry("shop/e", HOST), entry("one/e", HOST))
        (listener,) = egress_listeners(sidecar("shop/s", ["one/*"]), "shop")
        found = choice.imported_service(given, kind(), listener, HOST)
        assert found is not None
        assert (found[0].namespace, found[1]) == ("one", ())


class TestDestinationRules:
    """The client's namespace, then the service's, then the root namespace."""

    def test_the_clients_namespace_even_unexported(self) -> None:
        rules = [policy("shop/mine", HOST, exportTo=["other"]), policy("owner/its", HOST)]
        assert rule(*rules) == "shop/mine"

    def test_then_the_services_namespace_where_exported(self) -> None:
        assert rule(policy("owner/its", HOST), policy("istio-system/all", HOST)) == "owner/its"
        hidden = policy("owner/its", HOST, exportTo=["."])
        assert rule(hidden, policy("istio-system/all", HOST)) == "istio-system/all"

    def test_then_the_root_namespace_where_exported(self) -> None:
        assert rule(policy("istio-system/all", HOST)) == "istio-system/all"
        assert rule(policy("istio-system/all", HOST, exportTo=["."])) == ""

    def test_never_from_a_third_namespace(self) -> None:
        assert rule(policy("third/x", HOST)) == ""

    def test_the_meshs_default_for_rules(self) -> None:
        closed = mesh("defaultDestinationRuleExportTo: ['.']")
        assert rule(policy("owner/its", HOST), closed) == ""
        assert rule(policy("owner/its", HOST), closed, namespace="owner") == "owner/its"

    def test_another_root_namespace(self) -> None:
        moved = mesh("rootNamespace: platform")
        assert rule(policy("istio-system/old", HOST), policy("platform/new", HOST), moved) == "platform/new"

    def test_a_proxy_of_the_root_namespace_begins_with_its_private_rules(self) -> None:
        private = policy("istio-system/private", HOST, exportTo=["."])
        its = policy("owner/its", HOST)
        assert rule(private, its, namespace="istio-system") == "istio-system/private"

    def test_but_its_exported_rules_come_last_there(self) -> None:
        public, its = policy("istio-system/all", HOST), policy("owner/its", HOST)
        assert rule(public, its, namespace="istio-system") == "owner/its"
        assert rule(public, namespace="istio-system") == "istio-system/all"

    def test_the_exact_host_before_wildcards_the_longer_before_the_shorter(self) -> None:
        exact, near, far = policy("shop/e", HOST), policy("shop/n", "*.example"), policy("shop/f", "*")
        assert rule(exact, near, far) == "shop/e"
        assert rule(near, far) == "shop/n"
        assert rule(far) == "shop/f"

    def test_a_workload_selector_before_an_older_rule_without(self) -> None:
        general = policy("shop/general", HOST, day=1)
        special = policy("shop/special", HOST, day=9, workloadSelector={"matchLabels": {"app": "web"}})
        assert rule(general, special, labels={"app": "web"}) == "shop/special"
        assert rule(general, special, labels={"app": "other"}) == "shop/general"

    def test_a_workload_selector_is_private_to_its_namespace(self) -> None:
        special = policy("owner/special", HOST, workloadSelector={"matchLabels": {"app": "web"}})
        assert rule(special, labels={"app": "web"}) == ""

    def test_where_the_nearest_rules_select_others_nothing_stands_in(self) -> None:
        """Istio looks for the most specific host first, and for selectors among its rules alone."""
        special = policy("shop/special", HOST, workloadSelector={"matchLabels": {"app": "web"}})
        behind = [policy("shop/wide", "*.example"), policy("owner/its", HOST), policy("istio-system/all", HOST)]
        assert rule(special, *behind, labels={"app": "web"}) == "shop/special"
        assert rule(special, *behind) == ""

    def test_a_nearer_rule_that_is_exported_elsewhere_hides_a_wider_one_of_its_namespace(self) -> None:
        near, wide = policy("owner/near", HOST, exportTo=["third"]), policy("owner/wide", "*.example")
        assert rule(near, wide) == ""
        assert rule(near, wide, policy("istio-system/all", HOST)) == "istio-system/all"
        assert rule(policy("owner/near", HOST, exportTo=["."]), wide) == "owner/wide"

    def test_inbound_takes_no_rule_with_a_selector(self) -> None:
        """workloadSelector counts for outbound only: the rule without one holds for a server's own clusters."""
        general = policy("shop/general", HOST, day=1)
        special = policy("shop/special", HOST, day=9, workloadSelector={"matchLabels": {"app": "web"}})
        proxy = kind(labels={"app": "web"})
        found = choice.destination_rule_for(world(general, special), proxy, HOST, "shop", selectors=False)
        assert found is not None
        assert found.ref.name == "general"


class TestVirtualServices:
    def names(self, *objects: Any, host: str = HOST, namespace: str = "shop") -> list[str]:
        found = choice.virtual_services(world(*objects), kind(namespace), DEFAULT_EGRESS[0], host)
        return [each.ref.name for each in found]

    def test_the_most_specific_host_then_the_oldest(self) -> None:
        given = [
            routing("shop/wide", ["*.example"], HOST, day=1),
            routing("shop/young", [HOST], HOST, day=3),
            routing("shop/old", [HOST], HOST, day=2),
        ]
        assert self.names(*given) == ["old", "young", "wide"]

    def test_one_bound_to_gateways_only_is_not_the_meshs(self) -> None:
        assert self.names(routing("shop/gw", [HOST], HOST, gateways=["shop/edge"])) == []
        assert self.names(routing("shop/gw", [HOST], HOST, gateways=["shop/edge", "mesh"])) == ["gw"]

    def test_export_to_and_the_meshs_default(self) -> None:
        closed = mesh("defaultVirtualServiceExportTo: ['.']")
        assert self.names(routing("one/r", [HOST], HOST, exportTo=["."])) == []
        assert self.names(routing("one/r", [HOST], HOST, exportTo=["shop"])) == ["r"]
        assert self.names(routing("one/r", [HOST], HOST), closed) == []
        assert self.names(routing("one/r", [HOST], HOST), closed, namespace="one") == ["r"]

    def test_a_rule_for_less_than_a_wildcard_service_does_not_hold_for_it(self) -> None:
        assert self.names(routing("shop/r", [HOST], HOST), host="*.example") == []
