"""Which policies hold for a workload."""

from typing import Any

from tests.worlds import made, world
from tidegate.registry.model import labels_of
from tidegate.scope.policies import holding

KIND = "AuthorizationPolicy"


def policy(where: str, labels: dict[str, str] | None = None, *, day: int = 1, **spec: Any) -> Any:
    selector = {"selector": {"matchLabels": labels}} if labels else {}
    return made(KIND, where, day=day, **selector, **spec)


def names(*objects: Any, namespace: str = "shop", **labels: str) -> list[str]:
    found = holding(world(*objects), KIND, namespace, labels_of({k.replace("__", "/"): v for k, v in labels.items()}))
    return [f"{p.ref.namespace}/{p.ref.name}" for p in found]


def test_those_of_the_root_namespace_come_first_and_the_oldest_of_each() -> None:
    given = [policy("shop/new", day=3), policy("shop/old", day=2), policy("istio-system/all", day=9)]
    assert names(*given) == ["istio-system/all", "shop/old", "shop/new"]


def test_other_namespaces_do_not_count() -> None:
    assert names(policy("else/all")) == []


def test_a_workload_of_the_root_namespace_has_each_once() -> None:
    assert names(policy("istio-system/all"), namespace="istio-system") == ["istio-system/all"]


def test_all_labels_of_a_selector_are_needed() -> None:
    given = policy("shop/a", {"app": "pay", "version": "v1"})
    assert names(given, app="pay", version="v1", more="x") == ["shop/a"]
    assert names(given, app="pay") == []
    assert names(policy("istio-system/a", {"app": "pay"}), app="pay") == ["istio-system/a"]


GATEWAY = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "edge"}
LABELLED = {"gateway.networking.k8s.io__gateway-name": "edge"}


def test_what_is_attached_to_a_gateway_holds_for_its_pods() -> None:
    assert names(policy("shop/a", targetRefs=[GATEWAY]), **LABELLED) == ["shop/a"]
    assert names(policy("shop/a", targetRef=GATEWAY), **LABELLED) == ["shop/a"]
    assert names(policy("shop/a", targetRefs=[GATEWAY])) == []
    assert names(policy("istio-system/a", targetRefs=[GATEWAY]), **LABELLED) == []


def test_what_is_attached_to_a_service_holds_for_no_workload() -> None:
    assert names(policy("shop/a", targetRefs=[{"kind": "Service", "name": "edge"}]), **LABELLED) == []
