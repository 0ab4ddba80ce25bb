"""The comparer of whole configurations with summaries of them."""

from copy import deepcopy
from typing import Any

import pytest

from conformance import generated
from conformance.cases import Case
from tidegate.app.offline.compile import Compiled

OBJECTS = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: a, namespace: shop}
spec:
  hosts: [a.example]
  ports: [{number: 80, name: http, protocol: HTTP}, {number: 443, name: tls, protocol: TLS}]
  resolution: STATIC
  endpoints: [{address: 10.8.0.1}]
"""
PROXY = {
    "type": "sidecar",
    "id": "app.shop",
    "ip_addresses": ["10.0.0.1"],
    "namespace": "shop",
    "dns_domain": "shop.svc.cluster.local",
}


@pytest.fixture(scope="module")
def compiled() -> Compiled:
    return Case({"name": "a", "config_yaml": OBJECTS, "proxy": PROXY}, {}).compiled()


@pytest.fixture
def summary(compiled: Compiled) -> dict[str, Any]:
    return deepcopy(generated.summarize(compiled, ["80"]))


def test_a_configuration_is_like_its_own_summary(compiled: Compiled, summary: dict[str, Any]) -> None:
    assert {each["name"] for each in summary["listeners"]} >= {"0.0.0.0_80", "0.0.0.0_443", "virtualOutbound"}
    assert generated.compare(summary, compiled) == ([], [])


def test_names_that_differ_are_told(compiled: Compiled, summary: dict[str, Any]) -> None:
    next(c for c in summary["clusters"] if c["name"] == "outbound|80||a.example")["name"] = "other"
    summary["routes"][0]["virtual_hosts"][0]["domains"].append("b.example")
    names, _ = generated.compare(summary, compiled)
    assert names[:2] == ["cluster other is missing", "cluster outbound|80||a.example is not expected"]
    assert "b.example" in names[2]


def test_chains_and_routes_that_differ_are_told(compiled: Compiled, summary: dict[str, Any]) -> None:
    listener = next(each for each in summary["listeners"] if each["name"] == "0.0.0.0_443")
    listener["filter_chains"][0]["tcp_cluster"] = "elsewhere"
    summary["routes"][0]["virtual_hosts"][0]["routes"][0]["cluster"] = "elsewhere"
    names, rest = generated.compare(summary, compiled)
    assert names == []
    assert len(rest) == 2
    assert all("expected elsewhere, got outbound|" in each for each in rest)


def test_what_only_istios_proxy_has_and_the_order_of_sets_do_not_count(
    compiled: Compiled, summary: dict[str, Any]
) -> None:
    for listener in summary["listeners"]:
        listener["filter_chains"].reverse()
        for chain in listener["filter_chains"]:
            chain["filters"].insert(0, "istio.metadata_exchange")
    assert generated.compare(summary, compiled) == ([], [])
