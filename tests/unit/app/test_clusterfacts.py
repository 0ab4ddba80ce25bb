"""What injection knows of a cluster."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from tidegate.app import clusterfacts
from tidegate.app.clusterfacts import ClusterFacts
from tidegate.inject.context import Place
from tidegate.inject.settings import settings
from tidegate.store.informer import Change
from tidegate.store.model import Listing, StoreError, WatchEvent, WatchType


def change(kind: str, meta: dict[str, Any], *, gone: bool = False, **more: Any) -> Change:
    return Change(WatchType.DELETED if gone else WatchType.MODIFIED, kind, {"metadata": meta, **more})


def service(address: str, *, gone: bool = False) -> Change:
    return change("Service", {"name": "db", "namespace": "shop"}, gone=gone, spec={"clusterIP": address})


def node(name: str, version: str, *, gone: bool = False) -> Change:
    return change("Node", {"name": name}, gone=gone, status={"nodeInfo": {"kubeletVersion": version}})


def known(*changes: Change, detects: bool = True) -> ClusterFacts:
    facts = ClusterFacts(detects=detects)
    for each in changes:
        facts.take(each)
    return facts


def test_services_come_change_and_go() -> None:
    assert known(service("10.96.0.9")).services == {"db.shop": "10.96.0.9"}
    assert known(service("10.96.0.9"), service("10.96.0.8")).services == {"db.shop": "10.96.0.8"}
    assert known(service("10.96.0.9"), service("None")).services == {}
    assert known(service("10.96.0.9"), service("", gone=True)).services == {}


def test_a_namespaces_annotations_are_known_where_a_pod_goes() -> None:
    facts = known(change("Namespace", {"name": "shop", "annotations": {"a": "b"}}))
    placed = facts.placed(Place(cluster="east"), "shop")
    assert (placed.cluster, placed.namespace_annotations) == ("east", {"a": "b"})
    facts.take(change("Namespace", {"name": "shop"}, gone=True))
    assert facts.placed(Place(), "shop").namespace_annotations == {}


@pytest.mark.parametrize(
    ("versions", "bound", "native"),
    [
        ([], "", True),
        (["v1.33.0", "v1.35.1+k3s1"], "", True),
        (["v1.33.0", "v1.32.9"], "", False),
        (["v1.33.0", "v1.32.9"], "n0", True),
        (["v1.33.0", "v1.32.9"], "n1", False),
        (["v1.33.0", "v1.32.9"], "unknown", False),
        (["unknown"], "", False),
    ],
)
def test_sidecars_are_native_where_the_kubelets_run_these(versions: list[str], bound: str, native: bool) -> None:
    facts = known(*(node(f"n{number}", version) for number, version in enumerate(versions)))
    assert facts.suited(settings(), {"spec": {"nodeName": bound}}).native is native


def test_a_node_that_is_gone_decides_nothing() -> None:
    facts = known(node("old", "v1.20.0"), node("old", "", gone=True), node("new", "v1.34.0"))
    assert facts.suited(settings(), {}).native


def test_an_option_decides_before_the_kubelets() -> None:
    facts = known(node("old", "v1.20.0"), detects=False)
    assert facts.suited(settings(), {}).native
    assert not facts.suited(settings(native=False), {}).native


# ProxyConfigs


def config(name: str, concurrency: Any = 1, *, gone: bool = False) -> Change:
    return change("ProxyConfig", {"name": name, "namespace": "shop"}, gone=gone, spec={"concurrency": concurrency})


def names(facts: ClusterFacts) -> list[str]:
    return [each.ref.name for each in facts.placed(Place(), "shop").proxy_configs]


def test_proxy_configs_come_change_and_go() -> None:
    facts = known(config("a"), config("b"), config("a", 4))
    assert {each.ref.name: each.spec.concurrency for each in facts.placed(Place(), "x").proxy_configs} == {
        "a": 4,
        "b": 1,
    }
    facts.take(config("a", gone=True))
    assert names(facts) == ["b"]


def test_one_that_cannot_be_read_is_left_out_and_told(caplog: pytest.LogCaptureFixture) -> None:
    assert names(known(config("a"), config("a", "many"))) == []
    assert "spec.concurrency" in caplog.text


class Cluster:
    """An API server that answers lists of ProxyConfigs with one failure after the other, then with one object."""

    def __init__(self, *codes: int) -> None:
        self.codes = list(codes)
        self.asked = 0

    async def list(self, kind: str, namespace: str = "", *, label_selector: str = "") -> Listing:
        assert (kind, namespace, label_selector) == ("ProxyConfig", "", "")
        self.asked += 1
        if self.codes:
            raise StoreError(self.codes.pop(0), "NotFound", "not served")
        meta = {"name": "late", "namespace": "shop", "uid": "1", "resourceVersion": "2"}
        return Listing(({"metadata": meta, "spec": {"concurrency": 1}},), "2")

    async def watch(self, kind: str, resource_version: str, namespace: str = "") -> AsyncIterator[WatchEvent]:
        await asyncio.Event().wait()
        yield WatchEvent(WatchType.BOOKMARK, {})  # never reached: it makes this a generator


def follow_until(facts: ClusterFacts, cluster: Cluster, done: Callable[[], bool]) -> None:
    async def run() -> None:
        following = asyncio.create_task(facts.follow_configs(cluster))  # type: ignore[arg-type]
        async with asyncio.timeout(10):
            while not done():  # noqa: ASYNC110
                await asyncio.sleep(0)
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)

    asyncio.run(run())


@pytest.mark.parametrize("code", [403, 404])
def test_a_cluster_without_the_kind_holds_nothing_up(code: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    facts, cluster = ClusterFacts(), Cluster(code)
    facts.synced = True
    follow_until(facts, cluster, lambda: facts.ready)
    assert (names(facts), cluster.asked) == ([], 1)
    assert "pods are injected without" in caplog.text


def test_a_kind_that_comes_later_is_followed(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr(clusterfacts, "_ASKED_AGAIN", 1e-6)
    facts = ClusterFacts()
    follow_until(facts, Cluster(404, 404, 404), lambda: bool(names(facts)))
    assert names(facts) == ["late"]
    assert caplog.text.count("pods are injected without") == 1


def test_a_server_that_is_away_is_not_one_without_the_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusterfacts, "_TRIED_AGAIN", 1e-6)
    facts, cluster = ClusterFacts(), Cluster(0, 500)
    seen: list[tuple[int, bool]] = []

    def done() -> bool:
        seen.append((cluster.asked, facts.configs_known))
        return facts.configs_known

    follow_until(facts, cluster, done)
    assert not any(known for asked, known in seen if asked < 3)
    assert names(facts) == ["late"]
