"""Addresses of two IP families: what a proxy that has both listens on and calls, with and without dual stack."""

import msgspec
import pytest

from tests.worlds import Shop, entry, made, pod, put, service
from tidegate.api.objects import Ref
from tidegate.app.discovery.proxies import Node, make_kind
from tidegate.kit.features import Features
from tidegate.snapshot.state import Snapshot

BOTH = ("fd00::1", "10.1.0.1")


@pytest.mark.parametrize("switched", [False, True])
def test_the_switch_of_the_control_plane_decides(switched: bool) -> None:
    known, _ = Snapshot.empty(features=Features(dual_stack=switched)).apply([put(pod("shop/a", BOTH[0]))])
    workload = msgspec.structs.replace(known.workloads[Ref("Pod", "shop", "a")], addresses=BOTH)
    node = Node(name="a.shop", namespace="shop", pod="a", service_account="default", address=BOTH[0])
    found = make_kind(known, node, workload, frozenset(), node_local=False)
    assert (found.ipv4, found.ipv6, found.both_families) == (True, True, switched)


def others(shop: Shop, name: str) -> list[str]:
    return [a.address.socket_address.address for a in shop.listener(name).additional_addresses]


class TestListeners:
    GIVEN = (
        entry("shop/web", "web.example"),
        entry("shop/raw", "raw.example", (7000, "TCP")),
        entry("shop/net", "net.example", (7001, "TCP"), addresses=["10.9.0.0/16"]),
    )

    def test_with_dual_stack_all_take_both(self) -> None:
        shop = Shop(*self.GIVEN, ipv6=True)
        for name in ("0.0.0.0_80", "0.0.0.0_7000", "0.0.0.0_7001", "virtualOutbound"):
            assert others(shop, name) == ["::"], name

    def test_without_it_what_is_captured_is_ipv4_and_so_are_opaque_ports_without_address(self) -> None:
        shop = Shop(*self.GIVEN, ipv6=True, dual_stack=False)
        assert others(shop, "virtualOutbound") == others(shop, "0.0.0.0_7000") == []
        assert others(shop, "0.0.0.0_80") == others(shop, "0.0.0.0_7001") == ["::"]

    def test_a_proxy_of_ipv6_alone_binds_there(self) -> None:
        shop = Shop(*self.GIVEN, ipv4=False, ipv6=True)
        assert shop.listeners() == {"::_80", "::_7000", "::_7001"}
        assert others(shop, "::_80") == []

    def test_a_service_with_addresses_of_both_has_one_listener(self) -> None:
        given = service("shop/db", (5432, "tcp-db"), address="10.96.0.5", clusterIPs=["10.96.0.5", "fd00:96::5"])
        assert others(Shop(given, ipv6=True), "10.96.0.5_5432") == ["fd00:96::5"]
        assert Shop(given).listeners() == {"10.96.0.5_5432"}
        assert Shop(given, ipv4=False, ipv6=True).listeners() == {"fd00:96::5_5432"}


@pytest.mark.parametrize(
    ("client", "family"),
    [
        ({"ipv6": True}, "ALL"),
        ({"ipv6": True, "dual_stack": False}, "V4_ONLY"),
        ({"ipv4": False, "ipv6": True}, "V6_ONLY"),
    ],
)
def test_names_are_resolved_to_addresses_that_can_be_called(client: dict[str, bool], family: str) -> None:
    cluster = Shop(entry("shop/a", "a.example", resolution="DNS"), **client).cluster("outbound|80||a.example")
    assert cluster.DnsLookupFamily.Name(cluster.dns_lookup_family) == family


def test_without_interception_the_loopback_of_the_family_is_bound() -> None:
    own = made("Sidecar", "shop/s", egress=[{"hosts": ["*/*"], "captureMode": "NONE"}])
    given = entry("shop/a", "a.example")
    assert Shop(given, own).listeners() == {"127.0.0.1_80"}
    assert Shop(given, own, ipv4=False, ipv6=True).listeners() == {"::1_80"}
