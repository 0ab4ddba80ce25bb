"""Sidecar resources: which one holds for a workload, and what its egress listeners import."""

from typing import Any

import pytest

from tests.worlds import sidecar, world
from tidegate.registry.model import Labels, Protocol
from tidegate.scope import choice
from tidegate.scope.egress import DEFAULT_EGRESS, Import, egress_listeners, parse_import

APP: Labels = (("app", "web"), ("tier", "front"))


def chosen(*candidates: Any, namespace: str = "shop", labels: Labels = APP) -> str:
    found = choice.sidecar(world(*candidates), namespace, labels)
    return f"{found.ref.namespace}/{found.ref.name}" if found else ""


def selecting(where: str, day: int = 1, **labels: str) -> Any:
    return sidecar(where, ["./*"], day=day, workloadSelector={"labels": labels})


def plain(where: str, day: int = 1) -> Any:
    return sidecar(where, ["./*"], day=day)


class TestWhichSidecar:
    """By workloadSelector in the own namespace, else that namespace's own default, else the root namespace's."""

    def test_none_when_there_is_none(self) -> None:
        assert chosen(plain("other/a"), selecting("shop/b", app="cart")) == ""

    def test_a_matching_selector_before_an_older_one_without(self) -> None:
        assert chosen(plain("shop/old"), selecting("shop/new", 9, app="web")) == "shop/new"

    def test_all_labels_of_the_selector_must_hold(self) -> None:
        both = selecting("shop/both", app="web", tier="back")
        assert chosen(both, plain("shop/plain", 9)) == "shop/plain"

    def test_of_several_matching_the_oldest(self) -> None:
        assert chosen(selecting("shop/b", 2, app="web"), selecting("shop/a", 3, tier="front")) == "shop/b"

    def test_equal_ages_go_by_name(self) -> None:
        assert chosen(plain("shop/b"), plain("shop/a")) == "shop/a"

    def test_the_namespace_before_the_root_namespace(self) -> None:
        assert chosen(plain("istio-system/mesh"), plain("shop/plain", 9)) == "shop/plain"

    def test_the_root_namespace_stands_in(self) -> None:
        assert chosen(plain("istio-system/mesh"), plain("other/a")) == "istio-system/mesh"

    def test_a_selector_of_the_root_namespace_reaches_no_other(self) -> None:
        assert chosen(selecting("istio-system/mesh", app="web")) == ""
        assert chosen(selecting("istio-system/mesh", app="web"), namespace="istio-system") == "istio-system/mesh"

    def test_a_seed_case_the_selector_limits_it_to_the_selected(self) -> None:
        """S004-3: a Sidecar with workloadSelector app=client holds for those Pods, not for the namespace."""
        client = selecting("app/client", app="client")
        assert chosen(client, namespace="app", labels=(("app", "client"),)) == "app/client"
        assert chosen(client, namespace="app", labels=(("app", "other"),)) == ""


class TestImports:
    @pytest.mark.parametrize(
        ("text", "namespace", "host", "exclude"),
        [
            ("./*", "shop", "*", False),
            ("*/reviews.example", "*", "reviews.example", False),
            ("other/*", "other", "*", False),
            ("~/*", "*", "*", True),
            ("~other/a.example", "other", "a.example", True),
            ("~./a.example", "shop", "a.example", True),
        ],
    )
    def test_forms(self, text: str, namespace: str, host: str, exclude: bool) -> None:
        assert parse_import(text, "shop") == Import(namespace, host, exclude)

    @pytest.mark.parametrize(
        ("hosts", "imported"),
        [
            (["./*"], {"shop/a.example"}),
            (["*/*"], {"shop/a.example", "other/a.example", "other/b.sub.example"}),
            (["*/a.example"], {"shop/a.example", "other/a.example"}),
            (["other/*"], {"other/a.example", "other/b.sub.example"}),
            (["*/*.sub.example"], {"other/b.sub.example"}),
            (["~/*"], set()),
            (["*/*", "~/*"], set()),
            (["*/*", "~other/*"], {"shop/a.example"}),
            (["*/*", "~*/a.example"], {"other/b.sub.example"}),
            (["*/*", "~/a.example"], {"other/b.sub.example"}),
        ],
    )
    def test_what_is_imported(self, hosts: list[str], imported: set[str]) -> None:
        (listener,) = egress_listeners(sidecar("shop/s", hosts), "shop")
        known = ["shop/a.example", "other/a.example", "other/b.sub.example"]
        assert {each for each in known if listener.imported(*each.split("/"))} == imported

    def test_an_import_of_less_than_a_wildcard_service_does_not_hold_it(self) -> None:
        (listener,) = egress_listeners(sidecar("shop/s", ["*/a.example"]), "shop")
        assert not listener.imported("shop", "*.example")

    @pytest.mark.parametrize(
        ("hosts", "rule", "imported"),
        [
            (["*/a.example"], "*.example", True),
            (["*/*.example"], "a.example", True),
            (["*/b.example"], "a.example", False),
            (["./*"], "a.example", False),
            (["~/*"], "a.example", False),
        ],
    )
    def test_virtual_services_match_both_ways(self, hosts: list[str], rule: str, imported: bool) -> None:
        """A VirtualService for ``*.com`` holds for an import of ``a.com``."""
        (listener,) = egress_listeners(sidecar("shop/s", hosts), "shop")
        assert listener.imports_virtual_service("other", (rule,)) is imported

    @pytest.mark.parametrize("exclusion", ["~/*", "~other/*", "~other/a.example", "~/*.example"])
    def test_an_excluded_virtual_service_is_not_imported(self, exclusion: str) -> None:
        (listener,) = egress_listeners(sidecar("shop/s", ["*/*", exclusion]), "shop")
        assert not listener.imports_virtual_service("other", ("a.example",))

    def test_an_exclusion_of_one_host_leaves_a_wildcard_rule(self) -> None:
        (listener,) = egress_listeners(sidecar("shop/s", ["*/*", "~other/a.example"]), "shop")
        assert listener.imports_virtual_service("other", ("*.example",))


class TestListeners:
    def test_no_sidecar_and_a_sidecar_without_egress_import_everything(self) -> None:
        assert egress_listeners(None, "shop") is DEFAULT_EGRESS
        assert egress_listeners(sidecar("shop/s", outboundTrafficPolicy={"mode": "REGISTRY_ONLY"}), "shop") == (
            DEFAULT_EGRESS
        )
        assert DEFAULT_EGRESS[0].imported("any", "a.example")

    def test_a_port_with_a_number_comes_before_the_catch_all(self) -> None:
        first = {"hosts": ["./*"], "port": {"number": 80, "name": "http", "protocol": "HTTP"}}
        found = egress_listeners(sidecar("shop/s", first, ["*/*"]), "shop")
        assert [(e.port, e.protocol, e.index) for e in found] == [(80, Protocol.HTTP, 0), (None, Protocol.AUTO, 1)]

    @pytest.mark.parametrize(
        ("mode", "capture"), [("NONE", False), ("IPTABLES", True), ("DEFAULT", True), (None, True)]
    )
    def test_capture_mode_none_binds_the_port(self, mode: str | None, capture: bool) -> None:
        port = {"number": 3306, "name": "db", "protocol": "MYSQL"}
        spec = {"hosts": ["./*"], "port": port, "bind": "127.0.0.1", **({"captureMode": mode} if mode else {})}
        (found,) = egress_listeners(sidecar("shop/s", spec), "shop")
        assert (found.capture, found.bind, found.protocol) == (capture, "127.0.0.1", Protocol.MYSQL)
