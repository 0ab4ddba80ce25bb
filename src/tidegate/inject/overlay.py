"""Kubernetes' strategic merge for pods: lists of containers, volumes and the like merge by key, not by place.

https://kubernetes.io/docs/tasks/manage-kubernetes-objects/update-api-object-kubectl-patch/
"""

from typing import Any

Json = dict[str, Any]

_KEYS = {
    "containers": "name",
    "initContainers": "name",
    "ephemeralContainers": "name",
    "env": "name",
    "volumes": "name",
    "imagePullSecrets": "name",
    "resourceClaims": "name",
    "volumeMounts": "mountPath",
    "volumeDevices": "devicePath",
    "ports": "containerPort",
    "hostAliases": "ip",
    "topologySpreadConstraints": "topologyKey",
}
"""The merge key of each list of a pod; other lists are replaced whole."""
_SETS = ("finalizers",)


def overlay(base: Json, patch: Json) -> Json:
    """``patch`` merged into ``base``; null removes. A list keeps the patch's order, and what only the base has keeps
    its place before those of its neighbours that both have."""
    out = dict(base)
    for name, value in patch.items():
        if value is None:
            out.pop(name, None)
        else:
            out[name] = _value(name, out.get(name), value)
    return out


def _value(name: str, old: Any, new: Any) -> Any:
    if isinstance(new, dict):
        return overlay(old if isinstance(old, dict) else {}, new)
    if isinstance(new, list):
        if name in _KEYS and all(isinstance(item, dict) for item in new):
            return _by_key(_KEYS[name], old if isinstance(old, list) else [], new)
        if name in _SETS and isinstance(old, list):
            return [*new, *(item for item in old if item not in new)]
    return new


def _by_key(key: str, old: list[Json], new: list[Json]) -> list[Json]:
    known = {item.get(key): item for item in old if isinstance(item, dict)}
    patches: dict[Any, Json] = {}
    for item in new:
        known_item = patches.get(item.get(key)) or known.get(item.get(key)) or {}
        patches[item.get(key)] = overlay(known_item, item)
    pending = [item for item in old if item.get(key) not in patches]
    place = {item.get(key): number for number, item in enumerate(old)}
    out: list[Json] = []
    for name, item in patches.items():
        while pending and name in place and place[pending[0].get(key)] < place[name]:
            out.append(pending.pop(0))
        out.append(item)
    return [*out, *pending]
