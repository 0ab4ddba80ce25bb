"""Pods from ReplicaSets, as Kubernetes' controller makes them. Pure.

https://kubernetes.io/docs/concepts/workloads/controllers/replicaset/
"""

from collections.abc import Iterable, Sequence
from typing import Any

from tidegate.controllers.plan import Action
from tidegate.store.model import Json

BURST = 500
"""Pods that are created or deleted at one go."""


def plan(replica_set: Json, pods: Iterable[Json]) -> list[Action]:
    """Writes that give the ReplicaSet as many Pods as it asks for, and its status. ``pods`` are those that it owns."""
    if "deletionTimestamp" in replica_set["metadata"]:
        return []
    active = [pod for pod in pods if is_active(pod)]
    missing = int(replica_set["spec"].get("replicas") or 0) - len(active)
    actions = [Action("create", _pod(replica_set), _reason(missing)) for _ in range(min(missing, BURST))]
    if missing < 0:
        spare = sorted(active, key=_worth)[: min(-missing, BURST)]
        actions = [Action("delete", pod, _reason(missing)) for pod in spare]
    return actions + _status(replica_set, active)


def _reason(missing: int) -> str:
    return f"its ReplicaSet has {abs(missing)} too {'few' if missing > 0 else 'many'}"


def is_active(pod: Json) -> bool:
    """Whether the Pod counts: it is not being deleted, and has not ended for good."""
    phase = (pod.get("status") or {}).get("phase")
    return "deletionTimestamp" not in pod["metadata"] and phase not in ("Succeeded", "Failed")


def is_ready(pod: Json) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(each.get("type") == "Ready" and each.get("status") == "True" for each in conditions)


def _worth(pod: Json) -> tuple[bool, bool, list[int]]:
    """Sort key: what is missed least comes first: without a node, not ready, youngest."""
    created = str(pod["metadata"].get("creationTimestamp", ""))
    return bool(pod["spec"].get("nodeName")), is_ready(pod), [-ord(letter) for letter in created]


def _pod(replica_set: Json) -> Json:
    meta, template = replica_set["metadata"], replica_set["spec"].get("template") or {}
    given = template.get("metadata") or {}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "generateName": f"{meta['name']}-",
            "namespace": meta.get("namespace", ""),
            "labels": dict(given.get("labels") or {}),
            "annotations": dict(given.get("annotations") or {}),
            "finalizers": list(given.get("finalizers") or ()),
            "ownerReferences": [owner_reference(replica_set)],
        },
        "spec": template.get("spec") or {},
    }


def owner_reference(owner: Json) -> Json:
    """metav1.OwnerReference of a controller."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def _status(replica_set: Json, active: Sequence[Json]) -> list[Action]:
    labels = ((replica_set["spec"].get("template") or {}).get("metadata") or {}).get("labels") or {}
    ready = sum(1 for pod in active if is_ready(pod))
    found: dict[str, Any] = {
        "replicas": len(active),
        "fullyLabeledReplicas": sum(1 for pod in active if _has(pod, labels)),
        "readyReplicas": ready,
        "availableReplicas": ready,
        "observedGeneration": replica_set["metadata"].get("generation", 0),
    }
    status = {name: value for name, value in found.items() if value or name == "replicas"}
    if status == replica_set.get("status"):
        return []
    return [Action("status", {**replica_set, "status": status}, f"{len(active)} Pods, {ready} ready")]


def _has(pod: Json, labels: Json) -> bool:
    return labels.items() <= (pod["metadata"].get("labels") or {}).items()
