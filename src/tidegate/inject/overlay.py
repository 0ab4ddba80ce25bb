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
_DIRECTIVE, _KEPT, _TAKEN = "$patch", "$retainKeys", "$deleteFromPrimitiveList/"
"""A patch's directives: how it is meant. ``$setElementOrder`` is not needed: a list keeps the patch's own order."""


def overlay(base: Json, patch: Json) -> Json:
    """``patch`` merged into ``base``; null removes. A list keeps the patch's order, and what only the base has keeps
    its place before those of its neighbours that both have."""
    if patch.get(_DIRECTIVE) == "replace":
        return {name: value for name, value in patch.items() if name != _DIRECTIVE}
    out = dict(base)
    for name, value in patch.items():
        if name.startswith("$"):
            _direct(out, name, value)
        elif value is None or (isinstance(value, dict) and value.get(_DIRECTIVE) == "delete"):
            out.pop(name, None)
        else:
            out[name] = _value(name, out.get(name), value)
    kept = patch.get(_KEPT)
    return {name: value for name, value in out.items() if name in kept} if isinstance(kept, list) else out


def _direct(out: Json, name: str, value: Any) -> None:
    """What a directive other than of the whole mapping does to it."""
    if name.startswith(_TAKEN):
        listed = name.removeprefix(_TAKEN)
        out[listed] = [each for each in out.get(listed) or () if each not in value]


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
    if any(item.get(_DIRECTIVE) == "replace" and key not in item for item in new):
        old = []
    gone = [item.get(key) for item in new if item.get(_DIRECTIVE) == "delete"]
    old = [item for item in old if item.get(key) not in gone]
    new = [item for item in new if key in item and item.get(_DIRECTIVE) != "delete"]
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
