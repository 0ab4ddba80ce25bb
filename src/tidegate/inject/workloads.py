"""Where pods are in objects of any kind, and which workload a pod belongs to."""

import re
from collections.abc import Iterator
from typing import Any

import msgspec

Json = dict[str, Any]

_TEMPLATES = {
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
    "Deployment": ("spec", "template"),
    "StatefulSet": ("spec", "template"),
    "DaemonSet": ("spec", "template"),
    "ReplicaSet": ("spec", "template"),
    "ReplicationController": ("spec", "template"),
    "Job": ("spec", "template"),
    "DeploymentConfig": ("spec", "template"),
    "Rollout": ("spec", "template"),
}
_CRON_JOB = re.compile(r"^(.+)-\d{8,10}$")


class Workload(msgspec.Struct, frozen=True):
    """What a pod belongs to."""

    api_version: str
    kind: str
    name: str
    namespace: str = ""

    def __str__(self) -> str:
        name = f"{self.namespace}/{self.name}" if self.namespace else self.name
        return f"{self.kind} {name}"


class PodAt(msgspec.Struct, frozen=True):
    """A pod, or the template of one, within an object."""

    pod: Json
    """``metadata`` and ``spec``."""
    workload: Workload
    path: tuple[str, ...]
    """Where it stands in its object."""


def pod_of(obj: Json) -> PodAt | None:
    """The pod that an object brings; None for an object that brings none."""
    kind, meta = obj.get("kind"), _mapping(obj.get("metadata"))
    path = () if kind == "Pod" else _TEMPLATES.get(str(kind))
    if path is None:
        return None
    found: Any = obj
    for name in path:
        found = _mapping(found).get(name)
    if not isinstance(found, dict) or "spec" not in found:
        return None
    namespace = str(meta.get("namespace") or "")
    own = Workload(str(obj.get("apiVersion") or ""), str(kind), str(meta.get("name") or ""), namespace)
    return PodAt(found, owner_of(obj, namespace) if kind == "Pod" else own, path)


def replaced(obj: Json, path: tuple[str, ...], pod: Json) -> Json:
    """The object with another pod at the place."""
    if not path:
        return {**obj, **pod}
    return {**obj, path[0]: replaced(obj[path[0]], path[1:], pod)}


def is_list(obj: Json) -> bool:
    """Whether an object is a List, of all kinds or of one."""
    return str(obj.get("kind")).endswith("List") and isinstance(obj.get("items"), list)


def items(obj: Any) -> Iterator[Json]:
    """An object, or the objects of a List."""
    if isinstance(obj, dict):
        if is_list(obj):
            for item in obj["items"]:
                yield from items(item)
        else:
            yield obj


def owner_of(pod: Json, namespace: str) -> Workload:
    """The workload of a pod by its controller: a ReplicaSet's Deployment, a Job's CronJob, else the controller."""
    meta = _mapping(pod.get("metadata"))
    given = meta.get("ownerReferences")
    owners = [each for each in given if isinstance(each, dict)] if isinstance(given, list) else []
    controller = next((each for each in owners if each.get("controller")), owners[0] if len(owners) == 1 else None)
    if controller is None:
        name = meta.get("name") or str(meta.get("generateName") or "").rstrip("-")
        return Workload("v1", "Pod", str(name), namespace)
    found = Workload(
        str(controller.get("apiVersion") or ""),
        str(controller.get("kind") or ""),
        str(controller.get("name") or ""),
        namespace,
    )
    return _above(found, _mapping(meta.get("labels")))


def _above(owner: Workload, labels: Json) -> Workload:
    replace = msgspec.structs.replace
    suffix = f"-{labels.get('pod-template-hash')}"
    if owner.kind == "ReplicaSet" and owner.name.endswith(suffix):
        above = "Rollout" if labels.get("rollouts-pod-template-hash") else "Deployment"
        return replace(owner, kind=above, name=owner.name.removesuffix(suffix))
    if owner.kind == "ReplicaSet" and (rollout := labels.get("rollouts-pod-template-hash")):
        return Workload("v1alpha1", "Rollout", owner.name.removesuffix(f"-{rollout}"), owner.namespace)
    if owner.kind == "ReplicationController" and labels.get("deploymentconfig"):
        return replace(owner, kind="DeploymentConfig", name=str(labels["deploymentconfig"]))
    if owner.kind == "Job" and (match := _CRON_JOB.match(owner.name)):
        return replace(owner, kind="CronJob", name=match[1])
    return owner


def _mapping(value: Any) -> Json:
    return value if isinstance(value, dict) else {}
