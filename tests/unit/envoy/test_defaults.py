"""The mesh configuration cut into slices, each with what its builders read and no more."""

from typing import Any

import msgspec
import pytest

from tests.worlds import DOMAIN, sidecar
from tidegate.api import meshconfig
from tidegate.api.fields import Duration
from tidegate.envoy.defaults import Slices, for_sidecar, keyed, slices


def cut(text: str = "") -> Slices:
    return slices(meshconfig.parse(text), DOMAIN)


def test_istios_defaults() -> None:
    found = cut()
    assert found.cluster.connect_timeout == Duration.of(seconds=10)
    assert found.cluster.dns_refresh_rate == Duration.of(seconds=60)
    assert (found.listener.outbound_port, found.listener.inbound_port) == (15001, 15006)
    assert found.listener.detection_timeout == Duration(0)
    assert found.listener.tracing
    assert found.catch_all.allow
    assert found.cluster.auto_mtls
    assert found.cluster.trust_domain == "cluster.local"
    assert not found.cluster.inbound_localhost


@pytest.mark.parametrize(
    ("text", "moved"),
    [
        ("connectTimeout: 3s", {"cluster", "listener"}),
        ("dnsRefreshRate: 3s", {"cluster", "listener"}),
        ("protocolDetectionTimeout: 3s", {"listener"}),
        ("accessLogFile: /dev/stdout", {"listener"}),
        ("enableTracing: false", {"listener"}),
        ("pathNormalization: {normalization: NONE}", {"listener"}),
        ("proxyListenPort: 16001", {"listener"}),
        ("defaultHttpRetryPolicy: {attempts: 5}", {"route"}),
        ("outboundTrafficPolicy: {mode: REGISTRY_ONLY}", {"catch_all"}),
        ("outboundTrafficPolicy: {mode: ALLOW_ANY}", set()),
        ("localityLbSetting: {enabled: false}", {"cluster", "listener"}),
        ("defaultServiceExportTo: ['.']", set()),
        ("rootNamespace: platform", set()),
    ],
)
def test_a_setting_moves_the_slices_that_read_it(text: str, moved: set[str]) -> None:
    """What does not move keeps its cached results. Inbound clusters are built from the listener's slice."""
    before, after = cut(), cut(text)
    names = Slices.__struct_fields__
    assert {name for name in names if getattr(before, name) != getattr(after, name)} == moved


def test_equal_settings_are_equal_keys() -> None:
    text = "localityLbSetting: {enabled: true, failover: [{from: a, to: b}]}"
    assert cut(text) == cut(text)
    assert hash(cut(text).cluster) == hash(cut(text).cluster)


def test_a_message_is_known_by_its_content() -> None:
    first, second = {"a": "1", "b": "2"}, {"b": "2", "a": "1"}
    assert keyed(first) == keyed(second)
    assert keyed(first) != keyed({"a": "1"})


class TestSidecarPolicy:
    @pytest.mark.parametrize("found", [None, sidecar("shop/s", ["./*"])])
    def test_without_one_the_meshs_own(self, found: Any) -> None:
        whole = cut("outboundTrafficPolicy: {mode: REGISTRY_ONLY}")
        assert for_sidecar(whole, found, "shop", DOMAIN) is whole

    def test_it_changes_the_catch_all_only(self) -> None:
        whole = cut()
        limited = sidecar("shop/s", ["./*"], outboundTrafficPolicy={"mode": "REGISTRY_ONLY"})
        found = for_sidecar(whole, limited, "shop", DOMAIN)
        assert found == msgspec.structs.replace(whole, catch_all=found.catch_all)
        assert (found.catch_all.allow, found.catch_all.cluster) == (False, "")

    @pytest.mark.parametrize(
        ("proxy", "cluster"),
        [
            ({"host": "gate", "port": {"number": 80}}, "outbound|80||gate.shop.svc.cluster.local"),
            ({"host": "gate.example", "port": {"number": 80}, "subset": "v1"}, "outbound|80|v1|gate.example"),
            ({"host": "gate.example"}, "outbound|0||gate.example"),
        ],
    )
    def test_an_egress_proxy_is_named_as_a_cluster(self, proxy: dict[str, Any], cluster: str) -> None:
        """Without a port it is 0: there is no listener's port to stand in."""
        found = sidecar("shop/s", ["./*"], outboundTrafficPolicy={"mode": "ALLOW_ANY", "egressProxy": proxy})
        assert for_sidecar(cut(), found, "shop", DOMAIN).catch_all.cluster == cluster
