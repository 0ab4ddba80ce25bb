"""The hub: who is shown what, and who is told of a change."""

from typing import Any

import pytest

from tests.worlds import entry, gone, mesh, pod, policy, put, routing, service, sidecar
from tidegate.api import decode
from tidegate.api.objects import Ref
from tidegate.app.discovery.hub import Hub, Shown
from tidegate.app.discovery.proxies import Node
from tidegate.envoy.resource import CLUSTER, ENDPOINT, LISTENER, ROUTE
from tidegate.snapshot.world import Event
from tidegate.xds.source import Update

REGISTRY_ONLY = mesh("outboundTrafficPolicy: {mode: REGISTRY_ONLY}")


def node(name: str, namespace: str = "shop", address: str = "10.1.0.9") -> Node:
    return Node(name=f"{name}.{namespace}", namespace=namespace, pod=name, service_account="default", address=address)


def ports(number: int = 8080) -> list[dict[str, Any]]:
    return [{"name": "app", "ports": [{"containerPort": number}]}]


class Stage:
    """A hub with proxies, and what each was told since it was last asked."""

    def __init__(self, *objects: Any) -> None:
        self.hub = Hub()
        self.hub.apply([put(each) for each in objects])

    def attach(self, name: str, namespace: str = "shop", address: str = "10.1.0.9") -> Shown:
        return self.hub.attach(node(name, namespace, address))

    def apply(self, *objects: Any) -> None:
        self.hub.apply([each if isinstance(each, Event) else put(each) for each in objects])


async def told(shown: Shown) -> Update | None:
    """What waits in the mailbox; None when the proxy was left alone."""
    if shown.mailbox._waiting is None:
        return None
    return await shown.mailbox.next()


async def names(shown: Shown) -> dict[str, set[str]] | None:
    update = await told(shown)
    if update is None:
        return None
    assert update.delta is not None
    assert update.view is shown.mailbox.view
    return {url: set(found) for url, found in update.delta.items()}


class TestKinds:
    def test_equal_proxies_share_every_outbound_resource(self) -> None:
        stage = Stage(entry("shop/e", "a.example"), pod("shop/a", "10.1.0.1"), pod("shop/b", "10.1.0.2"))
        one = stage.attach("a")
        built = sum(stage.hub.builders.built.values())
        two = stage.attach("b")
        assert one.proxy.kind == two.proxy.kind
        cluster = "outbound|80||a.example"
        assert one.mailbox.view.get(CLUSTER, cluster) is two.mailbox.view.get(CLUSTER, cluster)
        assert sum(stage.hub.builders.built.values()) == built

    def test_a_kind_of_which_none_is_left_is_forgotten(self) -> None:
        stage = Stage(pod("shop/a", "10.1.0.1"), pod("shop/b", "10.1.0.2"))
        one, two = stage.attach("a"), stage.attach("b")
        stage.hub.detach(one)
        assert (stage.hub.attached(), len(stage.hub._kinds)) == ([two], 1)
        stage.hub.detach(two)
        left = (stage.hub._kinds, stage.hub._shown, stage.hub._of_pod)
        assert [dict(each) for each in left] == [{}, {}, {}]

    def test_asking_for_decisions_of_an_unused_kind_keeps_nothing(self) -> None:
        stage = Stage()
        shown = stage.attach("a")
        stage.hub.detach(shown)
        assert list(stage.hub.decisions(shown.proxy.kind)) == []
        assert stage.hub._kinds == {}

    async def test_a_label_that_a_selector_tests_moves_the_proxy(self) -> None:
        limited = sidecar("shop/s", ["other/*"], workloadSelector={"labels": {"app": "web"}})
        stage = Stage(entry("shop/e", "a.example"), pod("shop/a", "10.1.0.1", {"app": "x"}), limited)
        shown = stage.attach("a")
        before = shown.proxy.kind
        stage.apply(pod("shop/a", "10.1.0.1", {"app": "web"}))
        update = await told(shown)
        assert update is not None
        assert update.delta is None
        assert shown.proxy.kind != before
        assert update.view.get(CLUSTER, "outbound|80||a.example") is None
        assert list(stage.hub._kinds) == [shown.proxy.kind]

    async def test_a_label_that_nothing_tests_does_not(self) -> None:
        stage = Stage(entry("shop/e", "a.example"), pod("shop/a", "10.1.0.1", {"app": "x"}))
        shown = stage.attach("a")
        built = sum(stage.hub.builders.built.values())
        stage.apply(pod("shop/a", "10.1.0.1", {"app": "web"}))
        assert await told(shown) is None
        assert sum(stage.hub.builders.built.values()) == built

    async def test_a_selector_that_comes_and_goes_parts_and_joins_proxies(self) -> None:
        stage = Stage(
            entry("shop/e", "a.example"),
            pod("shop/a", "10.1.0.1", {"app": "a"}),
            pod("shop/b", "10.1.0.2", {"app": "b"}),
        )
        one, two = stage.attach("a"), stage.attach("b")
        special = policy("shop/p", "a.example", connections=7, workloadSelector={"matchLabels": {"app": "a"}})
        stage.apply(special)
        assert one.proxy.kind != two.proxy.kind
        views = [s.mailbox.view.get(CLUSTER, "outbound|80||a.example") for s in (one, two)]
        assert views[0] is not None
        assert views[1] is not None
        assert views[0].version != views[1].version
        stage.apply(gone(special))
        assert one.proxy.kind == two.proxy.kind
        assert len(stage.hub._kinds) == 1

    @pytest.mark.parametrize(
        "selecting",
        [
            sidecar("shop/s", ["./*"], workloadSelector={"labels": {"app": "a"}}),
            policy("shop/p", "a.example", connections=7, workloadSelector={"matchLabels": {"app": "a"}}),
        ],
    )
    async def test_a_selector_parts_no_proxies_of_other_namespaces(self, selecting: Any) -> None:
        given = [
            pod(f"{space}/{n}", f"10.1.{i}.1", {"app": n}) for i, space in enumerate(("shop", "other")) for n in "ab"
        ]
        stage = Stage(entry("shop/e", "a.example"), *given)
        for space in ("shop", "other"):
            for name in "ab":
                stage.attach(name, space)
        assert len(stage.hub._kinds) == 2
        stage.apply(selecting)
        assert sorted(kind.namespace for kind in stage.hub._kinds) == ["other", "shop", "shop"]
        stage.apply(gone(selecting))
        assert sorted(kind.namespace for kind in stage.hub._kinds) == ["other", "shop"]
        assert (stage.hub._mentions, dict(stage.hub._mentioned)) == ({}, {})

    async def test_source_labels_part_the_proxies_of_all(self) -> None:
        http = [{"match": [{"sourceLabels": {"app": "a"}}], "route": [{"destination": {"host": "b.example"}}]}]
        given = [pod("other/a", "10.1.0.1", {"app": "a"}), pod("other/b", "10.1.0.2", {"app": "b"})]
        stage = Stage(entry("shop/e", "a.example"), *given)
        one, two = stage.attach("a", "other"), stage.attach("b", "other")
        stage.apply(routing("shop/r", ["a.example"], "", http=http))
        assert one.proxy.kind != two.proxy.kind

    async def test_a_pod_that_is_known_only_after_its_proxy(self) -> None:
        """The store's watch may tell of a Pod after its sidecar has come."""
        limited = sidecar("shop/s", ["other/*"], workloadSelector={"labels": {"app": "web"}})
        stage = Stage(entry("shop/e", "a.example"), limited)
        shown = stage.attach("a", address="10.1.0.1")
        assert shown.mailbox.view.get(CLUSTER, "outbound|80||a.example") is not None
        stage.apply(pod("shop/a", "10.1.0.1", {"app": "web"}))
        assert shown.mailbox.view.get(CLUSTER, "outbound|80||a.example") is None
        assert await told(shown) is not None

    async def test_another_address_shows_other_listeners(self) -> None:
        """The own address's listener of a headless service is hidden, whichever it is now."""
        headless = service("shop/db", (3306, "mysql-x"), selector={"app": "db"})
        slice_ = endpoint_slice("shop/db-1", "db", {"a": "10.1.0.1"}, port=3306, name="mysql-x")
        stage = Stage(headless, slice_, pod("shop/a", "10.1.0.1", {"app": "db"}))
        shown = stage.attach("a")
        assert shown.mailbox.view.get(LISTENER, "10.1.0.1_3306") is None
        stage.apply(pod("shop/a", "10.1.0.2", {"app": "db"}))
        assert await told(shown) is not None
        assert shown.mailbox.view.get(LISTENER, "10.1.0.1_3306") is not None

    async def test_the_nodes_name_counts_once_a_service_is_node_local(self) -> None:
        stage = Stage(pod("shop/a", "10.1.0.1", nodeName="n1"), pod("shop/b", "10.1.0.2", nodeName="n2"))
        one, two = stage.attach("a"), stage.attach("b")
        local = service("shop/agent", address="10.96.0.1", internalTrafficPolicy="Local")
        stage.apply(local)
        assert {one.proxy.kind.node_name, two.proxy.kind.node_name} == {"n1", "n2"}
        stage.apply(gone(local))
        assert one.proxy.kind == two.proxy.kind


def endpoint_slice(where: str, of: str, pods: dict[str, str], port: int = 8080, name: str = "http") -> Any:
    namespace, _, own = where.partition("/")
    found = [
        {"addresses": [address], "conditions": {"ready": True}, "targetRef": {"kind": "Pod", "name": pod_name}}
        for pod_name, address in pods.items()
    ]
    for each in found:
        each["targetRef"]["namespace"] = namespace  # type: ignore[index, call-overload]
    raw = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": own, "namespace": namespace, "labels": {"kubernetes.io/service-name": of}},
        "addressType": "IPv4",
        "endpoints": found,
        "ports": [{"name": name, "port": port, "protocol": "TCP"}],
    }
    return decode.stored(raw)


class TestWhoIsTold:
    async def test_nobody_of_what_nobody_sees(self) -> None:
        stage = Stage(pod("shop/a", "10.1.0.1"), pod("other/b", "10.1.0.2"))
        mine, other = stage.attach("a"), stage.attach("b", "other")
        stage.apply(entry("other/e", "a.example", exportTo=["."]))
        assert await told(mine) is None
        found = await names(other)
        assert found is not None
        assert found[CLUSTER] == {"outbound|80||a.example"}

    async def test_nobody_of_an_object_that_changes_nothing(self) -> None:
        stage = Stage(entry("shop/e", "a.example"), pod("shop/a", "10.1.0.1"))
        mine = stage.attach("a")
        stage.apply(routing("shop/v", ["a.example"], "a.example", gateways=["shop/edge"]))
        stage.apply(policy("shop/p", "nobody.example", connections=3))
        assert await told(mine) is None

    async def test_an_endpoint_is_told_by_its_name_alone(self) -> None:
        stage = Stage(entry("shop/e", "a.example"), entry("shop/f", "b.example"), pod("shop/a", "10.1.0.1"))
        mine = stage.attach("a")
        stage.apply(entry("shop/e", "a.example", endpoints=[{"address": "10.8.0.2"}]))
        assert await names(mine) == {ENDPOINT: {"outbound|80||a.example"}}

    async def test_a_mesh_switch_tells_what_it_must(self) -> None:
        """REGISTRY_ONLY changes the catch-all: route tables and listeners that have one, no cluster, no endpoint."""
        stage = Stage(
            entry("shop/e", "a.example"), entry("shop/t", "t.example", (443, "TLS")), pod("shop/a", "10.1.0.1")
        )
        mine = stage.attach("a")
        stage.apply(REGISTRY_ONLY)
        assert await names(mine) == {
            ROUTE: {"80"},
            LISTENER: {"virtualOutbound", "0.0.0.0_80", "0.0.0.0_443"},
        }
        stage.apply(mesh(""))
        back = await names(mine)
        assert back is not None
        assert set(back) == {ROUTE, LISTENER}

    async def test_a_mesh_configuration_that_cannot_be_read_changes_nothing(self) -> None:
        stage = Stage(REGISTRY_ONLY, entry("shop/e", "a.example"), pod("shop/a", "10.1.0.1"))
        mine = stage.attach("a")
        stage.apply(mesh("outboundTrafficPolicy: {mode: OPEN_SESAME}"))
        assert await told(mine) is None
        stage.apply(mesh("{"))
        assert await told(mine) is None
        assert b"block_all" in mine.mailbox.view.get(ROUTE, "80").body  # type: ignore[union-attr]
        assert Ref("ConfigMap", "istio-system", "istio") in dict(stage.hub.world.problems())

    async def test_the_meshs_default_visibility_counts_at_once(self) -> None:
        stage = Stage(entry("other/e", "a.example"), pod("shop/a", "10.1.0.1"))
        mine = stage.attach("a")
        stage.apply(mesh("defaultServiceExportTo: ['.']"))
        found = await names(mine)
        assert found is not None
        assert found[CLUSTER] == {"outbound|80||a.example"}
        assert mine.mailbox.view.get(CLUSTER, "outbound|80||a.example") is None

    async def test_a_sidecar_of_one_namespace_leaves_the_others_alone(self) -> None:
        stage = Stage(entry("shop/e", "a.example"), pod("shop/a", "10.1.0.1"), pod("other/b", "10.1.0.2"))
        mine, other = stage.attach("a"), stage.attach("b", "other")
        stage.apply(sidecar("shop/s", ["other/*"]))
        assert await told(other) is None
        found = await names(mine)
        assert found is not None
        assert found[CLUSTER] == {"outbound|80||a.example"}

    async def test_a_sidecar_of_the_root_namespace_reaches_all(self) -> None:
        stage = Stage(entry("shop/e", "a.example"), pod("shop/a", "10.1.0.1"), pod("other/b", "10.1.0.2"))
        shown = [stage.attach("a"), stage.attach("b", "other")]
        stage.apply(sidecar("istio-system/s", ["~/*"]))
        assert all([await told(each) for each in shown])

    async def test_changes_that_wait_are_one_update(self) -> None:
        stage = Stage(pod("shop/a", "10.1.0.1"))
        mine = stage.attach("a")
        stage.apply(entry("shop/e", "a.example"))
        stage.apply(entry("shop/f", "b.example"))
        found = await names(mine)
        assert found is not None
        assert found[CLUSTER] == {"outbound|80||a.example", "outbound|80||b.example"}
        assert await told(mine) is None


class TestWhatCannotBeBuilt:
    """A port beyond 65535 and beyond Envoy's integers passes no API server; here it has got past it."""

    BAD = service("shop/bad", (2**40, "tcp"), address="10.96.0.9", selector={"app": "web"})

    async def test_it_is_left_out_and_others_live(self, caplog: pytest.LogCaptureFixture) -> None:
        stage = Stage(entry("shop/a", "a.example"), pod("shop/a", "10.1.0.1", {"app": "web"}))
        mine = stage.attach("a")
        stage.apply(self.BAD, entry("shop/b", "b.example"))
        found = await names(mine)
        assert found is not None
        assert "outbound|80||b.example" in found[CLUSTER]
        assert "left out" in caplog.text
        stage.apply(gone(self.BAD), gone(entry("shop/a", "a.example")))
        assert mine.mailbox.view.get(CLUSTER, "outbound|80||a.example") is None
        assert mine.mailbox.view.get(CLUSTER, "outbound|80||b.example") is not None

    async def test_the_inbound_side_stays_as_it_was(self, caplog: pytest.LogCaptureFixture) -> None:
        stage = Stage(SERVED, pod("shop/a", "10.1.0.1", {"app": "web"}, containers=ports()))
        mine = stage.attach("a")
        before = mine.mailbox.view.get(CLUSTER, "inbound|80||")
        stage.apply(self.BAD)
        assert mine.mailbox.view.get(CLUSTER, "inbound|80||") is before
        assert "inbound side of a.shop" in caplog.text


SERVED = service("shop/web", (80, "http"), address="10.96.0.1", selector={"app": "web"})


class TestInbound:
    def stage(self, *objects: Any) -> tuple[Stage, Shown, Shown]:
        web = pod("shop/a", "10.1.0.1", {"app": "web"}, containers=ports())
        stage = Stage(web, pod("other/b", "10.1.0.2", {"app": "web"}, containers=ports()), *objects)
        return stage, stage.attach("a"), stage.attach("b", "other")

    async def test_a_service_that_selects_the_pod(self) -> None:
        stage, mine, _ = self.stage()
        assert mine.mailbox.view.get(CLUSTER, "inbound|80||") is None
        stage.apply(SERVED)
        found = await names(mine)
        assert found is not None
        assert "inbound|80||" in found[CLUSTER]
        assert "virtualInbound" in found[LISTENER]
        assert mine.mailbox.view.get(CLUSTER, "inbound|80||") is not None
        stage.apply(gone(SERVED))
        assert mine.mailbox.view.get(CLUSTER, "inbound|80||") is None

    async def test_is_no_matter_to_pods_of_other_namespaces(self) -> None:
        stage, _, other = self.stage()
        stage.apply(SERVED)
        found = await names(other)
        assert found is not None
        assert "virtualInbound" not in found[LISTENER]

    async def test_an_entry_of_another_namespace_opens_no_port(self) -> None:
        """Endpoints of another namespace's ServiceEntry do not count, whatever address they name."""
        stage, mine, _ = self.stage()
        stage.apply(entry("other/e", "a.example", (9000, "HTTP"), endpoints=[{"address": "10.1.0.1"}]))
        found = await names(mine)
        assert found is not None
        assert "virtualInbound" not in found.get(LISTENER, ())
        assert mine.mailbox.view.get(CLUSTER, "inbound|9000||") is None

    async def test_but_one_of_its_own_does(self) -> None:
        stage, mine, _ = self.stage()
        stage.apply(entry("shop/e", "a.example", (9000, "HTTP"), endpoints=[{"address": "10.1.0.1"}]))
        assert mine.mailbox.view.get(CLUSTER, "inbound|9000||") is not None
        assert await told(mine) is not None

    async def test_a_pod_that_comes_to_be_selected(self) -> None:
        stage, mine, other = self.stage(SERVED)
        stage.apply(pod("shop/a", "10.1.0.1", {"app": "else"}, containers=ports()))
        found = await names(mine)
        assert found is not None
        assert found[LISTENER] == {"virtualInbound"}
        assert found[CLUSTER] == {"inbound|80||"}
        assert await told(other) is None

    @pytest.mark.parametrize("selector", [{}, {"workloadSelector": {"matchLabels": {"app": "web"}}}])
    async def test_a_destination_rule_s_pool(self, selector: dict[str, Any]) -> None:
        """connectionPool counts for inbound clusters, but not that of a rule with a workloadSelector."""
        stage, mine, other = self.stage(SERVED)
        before = mine.mailbox.view.get(CLUSTER, "inbound|80||")
        stage.apply(policy("shop/p", "web.shop.svc.cluster.local", connections=7, **selector))
        after = mine.mailbox.view.get(CLUSTER, "inbound|80||")
        assert before is not None
        assert after is not None
        assert (before.version == after.version) is bool(selector)
        assert await told(mine) is not None
        assert other.mailbox.view.get(CLUSTER, "inbound|80||") is None

    async def test_a_pool_by_a_rule_without_a_selector_beside_one_with(self) -> None:
        stage, mine, _ = self.stage(SERVED)
        before = mine.mailbox.view.get(CLUSTER, "inbound|80||")
        host = "web.shop.svc.cluster.local"
        special = policy("shop/special", host, connections=9, workloadSelector={"matchLabels": {"app": "web"}})
        stage.apply(policy("shop/general", host, connections=7), special)
        after = mine.mailbox.view.get(CLUSTER, "inbound|80||")
        assert before is not None
        assert after is not None
        assert before.version != after.version

    async def test_a_sidecars_ingress(self) -> None:
        stage, mine, other = self.stage(SERVED)
        port = {"number": 9443, "name": "http", "protocol": "HTTP"}
        limited = sidecar("shop/s", ingress=[{"port": port, "defaultEndpoint": "127.0.0.1:8080"}])
        stage.apply(limited)
        found = await names(mine)
        assert found is not None
        assert {"inbound|80||", "inbound|9443||"} <= found[CLUSTER]
        assert await told(other) is None
