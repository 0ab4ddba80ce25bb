"""What injection knows of a cluster."""

from typing import Any

import pytest

from tidegate.app.clusterfacts import ClusterFacts
from tidegate.inject.context import Place
from tidegate.inject.settings import settings
from tidegate.store.informer import Change
from tidegate.store.model import WatchType


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
