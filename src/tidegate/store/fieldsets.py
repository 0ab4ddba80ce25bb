"""Sets of fields: which fields a value has, what a change touches, and their form in ``managedFields`` (FieldsV1).

How a list or map counts is told by its :class:`Layout`, as Kubernetes' types have it: a map is its members, unless
atomic; a list is one field, unless it is a set or has keys. All lists of custom resources are atomic.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from tidegate.store.model import Json

Path = tuple[str, ...]
"""Steps of FieldsV1: ``f:name`` for a member, ``k:{"key":value}`` for an element, ``v:value`` for one of a set."""

Fields = set[Path]


class Layout(msgspec.Struct, frozen=True):
    """The lists and maps of a kind that are not simply atomic lists and granular maps, by the name of their field."""

    keys: Mapping[str, tuple[str, ...]]
    """Lists of elements, and the members that tell these apart."""
    sets: frozenset[str] = frozenset({"finalizers"})
    atomic: frozenset[str] = frozenset()
    """Maps that are one field."""


_META_KEYS = {"ownerReferences": ("uid",)}
_DEFAULT_KEYS = {"protocol": "TCP"}
_CONDITIONS = {"conditions": ("type",)}
_PODS = {
    "containers": ("name",),
    "initContainers": ("name",),
    "ephemeralContainers": ("name",),
    "ports": ("containerPort", "protocol"),
    "env": ("name",),
    "volumeMounts": ("mountPath",),
    "volumeDevices": ("devicePath",),
    "volumes": ("name",),
    "imagePullSecrets": ("name",),
    "hostAliases": ("ip",),
    "topologySpreadConstraints": ("topologyKey", "whenUnsatisfiable"),
    "podIPs": ("ip",),
    "hostIPs": ("ip",),
    **_CONDITIONS,
}
_PODS_OWNER = Layout({**_META_KEYS, **_PODS}, atomic=frozenset({"nodeSelector", "fieldRef", "secretRef", "selector"}))
_LAYOUTS: dict[str, Layout] = {
    "Pod": Layout({**_META_KEYS, **_PODS}, atomic=frozenset({"nodeSelector", "fieldRef", "secretRef"})),
    "Deployment": _PODS_OWNER,
    "ReplicaSet": _PODS_OWNER,
    "Service": Layout({**_META_KEYS, "ports": ("port", "protocol"), **_CONDITIONS}, atomic=frozenset({"selector"})),
    "Namespace": Layout({**_META_KEYS, **_CONDITIONS}),
    "Node": Layout({**_META_KEYS, "addresses": ("type",), **_CONDITIONS}, frozenset({"finalizers", "podCIDRs"})),
    "ServiceAccount": Layout({**_META_KEYS, "secrets": ("name",)}),
    "Event": Layout(_META_KEYS, atomic=frozenset({"involvedObject", "regarding", "related"})),
}
_CUSTOM = Layout(_META_KEYS)


def layout_of(kind: str) -> Layout:
    return _LAYOUTS.get(kind, _CUSTOM)


def is_granular(value: Any, name: str, layout: Layout) -> bool:
    return isinstance(value, dict) and name not in layout.atomic


def element_steps(value: Any, name: str, layout: Layout) -> dict[str, Any] | None:
    """Elements of a keyed list or set by their step, in order; None for what is one field."""
    if not isinstance(value, list):
        return None
    if name in layout.sets and all(isinstance(item, str) for item in value):
        return {"v:" + _text(item): item for item in value}
    keys = layout.keys.get(name)
    if keys is None or not all(isinstance(i, dict) and keys[0] in i for i in value):
        return None
    steps = {_step(item, keys): item for item in value}
    return steps if len(steps) == len(value) else None


def _step(item: Json, keys: tuple[str, ...]) -> str:
    named = {key: item.get(key, _DEFAULT_KEYS.get(key)) for key in sorted(keys)}
    return "k:" + _text({key: value for key, value in named.items() if value is not None})


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def children(value: Any, name: str, layout: Layout) -> dict[str, tuple[Any, str]] | None:
    """Step to (value, its field's name) of what a value consists of; None when it is one field."""
    if is_granular(value, name, layout):
        return {f"f:{key}": (item, key) for key, item in value.items()}
    steps = element_steps(value, name, layout)
    return None if steps is None else {step: (item, "") for step, item in steps.items()}


def leaves(value: Any, layout: Layout, name: str = "", at: Path = ()) -> Fields:
    """What an apply of the value owns: its leaves, and each element of a keyed list."""
    inner = children(value, name, layout)
    if not inner:
        return {at}
    found: Fields = {at} if at and at[-1].startswith("k:") else set()
    for step, (item, below) in inner.items():
        found |= leaves(item, layout, below, (*at, step))
    return found


def everything(value: Any, layout: Layout, name: str = "", at: Path = ()) -> Fields:
    """The value itself and all within."""
    found: Fields = {at}
    for step, (item, below) in (children(value, name, layout) or {}).items():
        found |= everything(item, layout, below, (*at, step))
    return found


class Difference(msgspec.Struct):
    """What a change touched: ``written`` was added or got another value."""

    written: Fields
    removed: Fields


def difference(old: Any, new: Any, layout: Layout) -> Difference:
    found = Difference(set(), set())
    _compare(old, new, layout, "", (), found)
    return found


def _compare(old: Any, new: Any, layout: Layout, name: str, at: Path, found: Difference) -> None:
    before, after = children(old, name, layout), children(new, name, layout)
    if before is None or after is None:
        if old != new:
            found.removed |= everything(old, layout, name, at) - {at}
            found.written |= everything(new, layout, name, at)
        return
    for step, (item, below) in after.items():
        if step in before:
            _compare(before[step][0], item, layout, below, (*at, step), found)
        else:
            found.written |= everything(item, layout, below, (*at, step))
    for step, (item, below) in before.items():
        if step not in after:
            found.removed |= everything(item, layout, below, (*at, step))


def merged(live: Any, applied: Any, layout: Layout, name: str = "") -> Any:
    """``live`` with all that ``applied`` sets."""
    if is_granular(applied, name, layout):
        result = dict(live) if isinstance(live, dict) else {}
        for key, item in applied.items():
            result[key] = merged(result.get(key), item, layout, key)
        return result
    mine, theirs = element_steps(applied, name, layout), element_steps(live, name, layout)
    if mine is None or theirs is None:
        return applied
    order = _order(list(theirs), list(mine))
    return [merged(theirs.get(step), mine[step], layout) if step in mine else theirs[step] for step in order]


def _order(live: list[str], applied: list[str]) -> list[str]:
    """Applied elements in their order; each live one that is not applied stays behind those that it followed."""
    made: list[str] = []
    waiting = list(applied)
    for step in live:
        if step not in applied:
            made.append(step)
        elif step in waiting and step == next(s for s in waiting if s in live):
            at = waiting.index(step) + 1
            made += waiting[:at]
            del waiting[:at]
    return made + waiting


def without(value: Any, fields: Fields, layout: Layout, name: str = "") -> Any:
    """``value`` without some fields, and without containers that thereby became empty (None when it did itself)."""
    inner = children(value, name, layout)
    if not fields or inner is None:
        return value
    below: dict[str, Fields] = {}
    for step, *rest in fields:
        below.setdefault(step, set()).add(tuple(rest))
    kept = {}
    for step, (item, key) in inner.items():
        if () in below.get(step, ()):
            continue
        rest_of_it = without(item, below.get(step, set()), layout, key)
        if rest_of_it is not None:
            kept[step] = rest_of_it
    if not kept:
        return None
    return {step[2:]: item for step, item in kept.items()} if isinstance(value, dict) else list(kept.values())


def to_json(fields: Iterable[Path]) -> Json:
    """FieldsV1."""
    paths = set(fields)
    root: Json = {}
    for path in sorted(paths):
        node = root
        for step in path:
            node = node.setdefault(step, {})
    _mark(root, (), paths)
    return root


def _mark(node: Json, at: Path, paths: Fields) -> None:
    for step, below in node.items():
        _mark(below, (*at, step), paths)
    if at and node and at in paths:
        rest = dict(node)
        node.clear()
        node["."] = {}
        node.update(rest)


def from_json(tree: Any, at: Path = ()) -> Fields:
    """The paths of FieldsV1; what is no FieldsV1 has none."""
    if not isinstance(tree, dict):
        return set()
    if not tree:
        return {at} if at else set()
    found: Fields = set()
    for step, below in tree.items():
        found |= {at} if step == "." else from_json(below, (*at, step))
    return found
