"""From a token's identity, a node's metadata and the world to what the core knows of a proxy."""

import json
from typing import Any

import msgspec
import pytest

from tests.worlds import made, pod, world
from tidegate.api.fields import Duration
from tidegate.api.objects import Ref
from tidegate.app.discovery.proxies import Node, make_kind, make_proxy, read_metadata
from tidegate.scope.proxy import Interception, Proxy

KNOWN = (
    "interception",
    "http10",
    "dns_capture",
    "idle_timeout",
    "cluster_id",
    "topology",
    "unprivileged",
)
NODE = Node(name="web.shop", namespace="shop", pod="web", service_account="default", address="10.1.0.9")


def proxy(*objects: Any, node: Node = NODE, keys: frozenset[str] = frozenset(), node_local: bool = False) -> Proxy:
    given = world(*objects)
    return make_proxy(given, node, lambda n, w: make_kind(given, n, w, keys, node_local))


class TestMetadata:
    def test_nothing_said(self) -> None:
        found = read_metadata({})
        assert {name: found[name] for name in KNOWN} == {
            "interception": Interception.REDIRECT,
            "http10": False,
            "dns_capture": False,
            "idle_timeout": None,
            "cluster_id": "Kubernetes",
            "topology": None,
            "unprivileged": False,
        }

    def test_what_a_proxy_says_of_how_it_runs(self) -> None:
        said = {
            "INTERCEPTION_MODE": "TPROXY",
            "HTTP10": "1",
            "DNS_CAPTURE": True,
            "IDLE_TIMEOUT": "90s",
            "CLUSTER_ID": "east",
        }
        found = read_metadata(said)
        assert {name: found[name] for name in KNOWN} == {
            "interception": Interception.TPROXY,
            "http10": True,
            "dns_capture": True,
            "idle_timeout": Duration.of(seconds=90),
            "cluster_id": "east",
            "topology": None,
            "unprivileged": False,
        }

    @pytest.mark.parametrize(("value", "port"), [("15007", 15007), (15007, 15007), ("no", 0), ("-1", 0), ("99999", 0)])
    def test_a_local_http_proxy_of_its_own(self, value: Any, port: int) -> None:
        found = read_metadata({"HTTP_PROXY_PORT": value})
        assert found["http_proxy_port"] == port
        assert proxy(node=msgspec.structs.replace(NODE, http_proxy_port=port)).kind.http_proxy_port == port

    @pytest.mark.parametrize("form", [dict, lambda config: json.dumps(config)])
    def test_what_stands_before_a_gateway(self, form: Any) -> None:
        config = {"gatewayTopology": {"numTrustedProxies": 2, "forwardClientCertDetails": "APPEND_FORWARD"}}
        found = read_metadata({"PROXY_CONFIG": form(config), "UNPRIVILEGED_POD": "true"})
        assert found["unprivileged"] and found["topology"].num_trusted_proxies == 2
        broken = form({"gatewayTopology": {"numTrustedProxies": "many"}})
        assert read_metadata({"PROXY_CONFIG": broken})["topology"] is None
        assert read_metadata({"PROXY_CONFIG": "{"})["topology"] is None

    @pytest.mark.parametrize("value", ["sometimes", 7, None, [], {"a": 1}])
    def test_a_word_that_cannot_be_read_counts_as_absent(self, value: Any) -> None:
        keys = ("INTERCEPTION_MODE", "HTTP10", "DNS_CAPTURE", "IDLE_TIMEOUT")
        found, nothing = read_metadata(dict.fromkeys(keys, value)), read_metadata({})
        assert all(found[name] == nothing[name] for name in KNOWN if name != "cluster_id")


class TestProxy:
    def test_before_its_pod_is_known_it_is_where_it_says(self) -> None:
        found = proxy()
        assert (found.addresses, found.labels, found.workload) == (("10.1.0.9",), (), None)
        assert (found.kind.namespace, found.kind.dns_domain) == ("shop", "shop.svc.cluster.local")

    def test_its_pod_tells_address_and_labels(self) -> None:
        found = proxy(pod("shop/web", "10.1.0.1", {"app": "web"}))
        assert (found.addresses, found.labels) == (("10.1.0.1",), (("app", "web"),))
        assert found.workload == Ref("Pod", "shop", "web")

    def test_a_pod_of_the_same_name_elsewhere_is_another(self) -> None:
        assert proxy(pod("other/web", "10.1.0.1")).workload is None

    def test_a_pod_of_another_service_account_is_not_its_own(self) -> None:
        """Whose token is bound to no Pod could say any name."""
        found = proxy(pod("shop/web", "10.1.0.1", {"app": "web"}, serviceAccountName="bookkeeper"))
        assert (found.workload, found.labels, found.addresses) == (None, (), ("10.1.0.9",))

    def test_only_labels_that_can_matter_make_the_kind(self) -> None:
        mine = pod("shop/web", "10.1.0.1", {"app": "web", "build": "7"})
        assert proxy(mine).kind.labels == ()
        assert proxy(mine, keys=frozenset({"app", "zone"})).kind.labels == (("app", "web"),)

    def test_pods_that_differ_in_other_labels_are_of_one_kind(self) -> None:
        two = [pod("shop/web", "10.1.0.1", {"build": "7"}), pod("shop/two", "10.1.0.2", {"build": "8"})]
        other = Node(name="two.shop", namespace="shop", pod="two", service_account="default", address="10.1.0.2")
        assert proxy(*two).kind == proxy(*two, node=other).kind

    def test_its_node_tells_the_locality(self) -> None:
        labels = {"topology.kubernetes.io/region": "eu", "topology.kubernetes.io/zone": "eu-1"}
        given = [made("Node", "n1", labels=labels), pod("shop/web", "10.1.0.1", nodeName="n1")]
        assert proxy(*given).kind.locality == "eu/eu-1"

    def test_the_nodes_name_counts_only_where_something_is_node_local(self) -> None:
        given = pod("shop/web", "10.1.0.1", nodeName="n1")
        assert proxy(given).kind.node_name == ""
        assert proxy(given, node_local=True).kind.node_name == "n1"

    @pytest.mark.parametrize(("address", "families"), [("10.1.0.9", (True, False)), ("fd00::9", (False, True))])
    def test_ip_families(self, address: str, families: tuple[bool, bool]) -> None:
        node = Node(name="web.shop", namespace="shop", pod="web", service_account="default", address=address)
        found = proxy(node=node).kind
        assert (found.ipv4, found.ipv6) == families
        assert found.wildcard == ("0.0.0.0" if families[0] else "::")
