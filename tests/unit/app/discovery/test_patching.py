"""EnvoyFilters in the hub: who has them, in which order, and what an edit costs and tells."""

from typing import Any

import msgspec

from tests.unit.app.discovery.test_hub import Stage, names, node, told
from tests.unit.envoy.patches.given import MANAGER, envoy_filter, patch
from tests.worlds import entry, gone, mesh, pod, put, service, sidecar
from tidegate.app.discovery.hub import Hub, Shown
from tidegate.envoy import protos
from tidegate.envoy.patches.selection import EMPTY
from tidegate.envoy.resource import CLUSTER, ENDPOINT, EXTENSION, LISTENER, ROUTE

PASSTHROUGH = "PassthroughCluster"
LUA = "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua"


def naming(text: str, cluster: str = PASSTHROUGH, **match: Any) -> dict[str, Any]:
    """A patch by which a test knows a cluster."""
    return patch("CLUSTER", "MERGE", {"alt_stat_name": text}, cluster={"name": cluster}, **match)


def named(shown: Shown, cluster: str = PASSTHROUGH) -> str:
    found = shown.mailbox.view.get(CLUSTER, cluster)
    assert found is not None
    text = str(protos.Cluster.FromString(found.body).alt_stat_name)
    return "" if text.endswith(";") else text


def everything(shown: Shown) -> dict[tuple[str, str], bytes]:
    view = shown.mailbox.view
    urls = (CLUSTER, ENDPOINT, LISTENER, ROUTE, EXTENSION)
    return {(url, n): view.get(url, n).body for url in urls for n in view.names(url)}  # type: ignore[union-attr]


BASE = (
    pod("shop/web", "10.1.0.1", {"app": "web"}),
    pod("shop/db", "10.1.0.2", {"app": "db"}),
    pod("other/web", "10.1.0.3", {"app": "web"}),
    entry("shop/a", "a.example"),
)


class TestSelection:
    def test_namespace_labels_and_root_decide(self) -> None:
        stage = Stage(
            *BASE,
            envoy_filter("shop/web", naming("web"), workloadSelector={"labels": {"app": "web"}}),
            envoy_filter("other/all", naming("other")),
        )
        found = [named(stage.attach(*each)) for each in (("web",), ("db",), ("web", "other"))]
        assert found == ["web", "", "other"]
        stage.apply(envoy_filter("istio-system/root", naming("root"), workloadSelector={"labels": {"app": "db"}}))
        assert named(stage.attach("db")) == "root"

    def test_the_later_wins_by_priority_then_root_then_age(self) -> None:
        stage = Stage(*BASE, envoy_filter("shop/old", naming("old"), day=1))
        web = stage.attach("web")
        stage.apply(envoy_filter("shop/young", naming("young"), day=2))
        assert named(web) == "young"
        stage.apply(envoy_filter("istio-system/root", naming("root"), day=3))
        assert named(web) == "young", "the root namespace's come first, whatever their age"
        stage.apply(envoy_filter("istio-system/root", naming("root"), day=3, priority=1))
        assert named(web) == "root"

    def test_a_policy_for_a_gateway_is_not_for_others(self) -> None:
        target = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "front"}
        stage = Stage(*BASE, envoy_filter("shop/f", naming("x"), targetRefs=[target]))
        assert named(stage.attach("web")) == ""
        labels = {"gateway.networking.k8s.io/gateway-name": "front"}
        stage.apply(pod("shop/front", "10.1.0.4", labels))
        assert named(stage.attach("front")) == "x"

    def test_what_the_node_says_decides_where_it_is_asked_for(self) -> None:
        def shown(version: str, **metadata: str) -> str:
            hub = Hub()
            asked = {"proxyVersion": r"^1\.3", "metadata": {"ZONE": "a"}}
            hub.apply([put(each) for each in (*BASE, envoy_filter("shop/f", naming("x", proxy=asked)))])
            plain = node("web")
            return named(hub.attach(msgspec.structs.replace(plain, version=version, metadata=metadata)))

        assert shown("1.32.0", ZONE="a") == "x"
        assert shown("1.29.0", ZONE="a") == shown("", ZONE="a") == shown("1.32.0", ZONE="b") == ""


class TestChanges:
    async def test_an_edit_reaches_those_it_selects_and_no_others(self) -> None:
        stage = Stage(*BASE)
        web, other = stage.attach("web"), stage.attach("web", "other")
        stage.apply(envoy_filter("shop/f", naming("x")))
        update = await told(web)
        assert update is not None and update.delta is None
        assert await told(other) is None
        stage.apply(gone(envoy_filter("shop/f", naming("x"))))
        assert await told(web) is not None and named(web) == ""

    async def test_a_change_of_a_service_is_told_by_the_names_that_differ(self) -> None:
        stage = Stage(*BASE, envoy_filter("shop/f", naming("x", cluster="outbound|80||b.example")))
        web = stage.attach("web")
        stage.apply(entry("shop/b", "b.example"))
        found = await names(web)
        assert found is not None and found[CLUSTER] == {"outbound|80||b.example"}
        assert named(web, "outbound|80||b.example") == "x"

    def test_a_change_costs_what_changed(self) -> None:
        http = {"filterChain": {"filter": {"name": MANAGER}}}
        lua = {"name": "x", "typed_config": {"@type": LUA}}
        many = [entry(f"shop/e{n}", f"e{n}.example", (8000 + n, "HTTP")) for n in range(30)]
        stage = Stage(*BASE, *many, envoy_filter("shop/f", patch("HTTP_FILTER", "INSERT_FIRST", lua, listener=http)))
        stage.attach("web")
        built = stage.hub.patching.built
        stage.apply(entry("shop/new", "new.example", (9000, "HTTP")))
        assert 0 < stage.hub.patching.built - built <= 2

    def test_views_without_a_filter_pay_nothing(self) -> None:
        stage = Stage(*BASE)
        web = stage.attach("web")
        assert web.patches.found is EMPTY and stage.hub.patching.built == 0
        stage.apply(entry("shop/b", "b.example"))
        assert stage.hub.patching.built == 0

    def test_a_layer_of_which_no_proxy_is_left_is_forgotten(self) -> None:
        stage = Stage(*BASE, envoy_filter("shop/f", naming("x")))
        stage.hub.detach(stage.attach("web"))
        stage.attach("web", "other")
        assert not stage.hub.patching._layers

    def test_one_that_becomes_another_kind_keeps_its_patches(self) -> None:
        stage = Stage(*BASE, envoy_filter("shop/f", naming("x")))
        web = stage.attach("web")
        before = web.proxy.kind
        stage.apply(sidecar("shop/s", ["*/*"], workloadSelector={"labels": {"app": "web"}}))
        assert web.proxy.kind != before and named(web) == "x"
        stage.apply(entry("shop/b", "b.example"))
        assert named(web) == "x"

    def test_what_is_added_inbound_is_shown_once(self) -> None:
        added = [
            patch("LISTENER", "ADD", {"name": "extra"}, context="SIDECAR_INBOUND"),
            patch("CLUSTER", "ADD", {"name": "sink"}),
        ]
        view = Stage(*BASE, envoy_filter("shop/f", *added)).attach("web").mailbox.view
        assert list(view.names(LISTENER)).count("extra") == list(view.names(CLUSTER)).count("sink") == 1

    def test_extension_configurations_are_found_by_name(self) -> None:
        lua = {"name": "found", "typed_config": {"@type": LUA}}
        stage = Stage(*BASE, envoy_filter("shop/f", patch("EXTENSION_CONFIG", "ADD", lua)))
        found = stage.attach("web").mailbox.view.get(EXTENSION, "found")
        assert found is not None and found.name == "found"
        assert not stage.hub.problems()

    def test_step_by_step_is_as_all_at_once(self) -> None:
        removed = patch("CLUSTER", "REMOVE", cluster={"service": "a.example"})
        sink = patch("CLUSTER", "ADD", {"name": "sink"})
        lua = {"name": "found", "typed_config": {"@type": LUA}}
        own = patch("LISTENER", "MERGE", {"per_connection_buffer_limit_bytes": 9}, context="SIDECAR_INBOUND")
        objects = [
            envoy_filter("shop/f", removed, sink, patch("EXTENSION_CONFIG", "ADD", lua), own),
            service("shop/web", (80, "http"), selector={"app": "web"}),
            entry("shop/b", "b.example"),
            envoy_filter("istio-system/g", naming("late"), day=2),
            mesh("connectTimeout: 3s"),
            gone(entry("shop/b", "b.example")),
            envoy_filter("shop/f", removed, own),
        ]
        stage = Stage(*BASE)
        web = stage.attach("web")
        for each in objects:
            stage.apply(each)
        final = [objects[1], objects[3], objects[4], objects[6]]
        assert everything(web) == everything(Stage(*BASE, *final).attach("web"))
        assert (ENDPOINT, "outbound|80||a.example") not in everything(web)


class TestInapplicablePatches:
    def test_they_are_a_problem_of_the_object_and_a_decision(self) -> None:
        filter_ = envoy_filter("shop/f", naming("x"), naming("y", cluster="absent"))
        stage = Stage(*BASE, filter_)
        assert stage.hub.problems() == {}, "no proxy, no problem"
        web = stage.attach("web")
        ((ref, texts),) = stage.hub.problems().items()
        assert ref == filter_.ref and len(texts) == 1
        assert texts[0].startswith("spec.configPatches[1] does nothing for the proxies that it selects")
        (decision,) = [d for d in stage.hub.decisions(web.proxy.kind) if d.winner == filter_.ref]
        assert "spec.configPatches[1]" in decision.subject and "not applied" in decision.rule

    def test_one_that_helps_some_proxy_is_none(self) -> None:
        stage = Stage(
            *BASE,
            service("shop/web", (80, "http"), selector={"app": "web"}),
            envoy_filter("shop/f", naming("x", cluster="inbound|80||")),
        )
        stage.attach("db")
        assert stage.hub.problems()
        stage.attach("web")
        assert not stage.hub.problems()

    def test_one_that_asks_for_other_proxies_says_so(self) -> None:
        stage = Stage(*BASE, envoy_filter("shop/f", naming("x", proxy={"proxyVersion": "^1[.]2"})))
        stage.attach("web")
        ((text,),) = stage.hub.problems().values()
        assert "ISTIO_VERSION" in text

    def test_what_cannot_be_joined_says_why(self) -> None:
        router = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
        match = {"filterChain": {"filter": {"name": MANAGER, "subFilter": {"name": "envoy.filters.http.fault"}}}}
        change = patch("HTTP_FILTER", "MERGE", {"typed_config": {"@type": router}}, listener=match)
        stage = Stage(*BASE, envoy_filter("shop/f", change))
        stage.attach("web")
        ((text,),) = stage.hub.problems().values()
        assert "HTTPFault" in text and "Router" in text
