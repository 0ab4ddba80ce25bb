"""Server-side apply: which manager owns which field, and what an apply changes.

Ownership is kept in ``metadata.managedFields`` as FieldsV1 (sig-api-machinery, "Server-Side Apply"). Lists that have a
merge key are owned element by element, all other lists as a whole. Fields written by other means than apply have no
recorded owner, so an apply takes them over without a conflict.
"""

import copy
from collections.abc import Mapping
from typing import Any

import msgspec

from tidegate.api.kinds import Kind
from tidegate.store import patches, status
from tidegate.store.model import Json

FieldSet = dict[str, Any]
"""FieldsV1: ``f:name`` for a member, ``k:{"key":value}`` for an element, "." for the thing itself."""

_UNOWNED = frozenset({"apiVersion", "kind", "status"})
_UNOWNED_META = frozenset({"name", "namespace", "uid", "resourceVersion", "creationTimestamp", "generation"})


class Application(msgspec.Struct, frozen=True):
    """One manager's apply."""

    manager: str
    api_version: str
    force: bool
    time: str
    subresource: str = ""


def fields_of(value: Any, keys: Mapping[str, str], name: str = "") -> FieldSet:
    """The fields that a value sets."""
    if isinstance(value, dict):
        return {f"f:{k}": fields_of(v, keys, k) for k, v in value.items()}
    key = keys.get(name)
    if key and _is_keyed(value, key):
        return {_element(item, key): {".": {}, **fields_of(item, keys)} for item in value}
    return {}


def _is_keyed(value: Any, key: str) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) and key in item for item in value)


def _element(item: Json, key: str) -> str:
    return "k:" + msgspec.json.encode({key: item[key]}).decode()


def apply(live: Json, applied: Json, kind: Kind, by: Application) -> Json:
    """``live`` after the apply, its managedFields included; 409 when another manager owns a field that would change.

    Fields that the manager applied before and does not apply now are removed, unless another manager owns them.
    """
    keys = patches.MERGE_KEYS.get(kind.kind, {})
    intent = _intent(applied, by.subresource)
    wanted = fields_of(intent, keys)
    entries = [e for e in live["metadata"].get("managedFields") or [] if e.get("operation") == "Apply"]
    mine = [e for e in entries if _is_mine(e, by)]
    others = [e for e in entries if not _is_mine(e, by)]
    merged = _merged(live, intent, keys)
    clashes = _clashes(live, merged, wanted, others)
    if clashes and not by.force:
        raise _conflict(kind, live["metadata"]["name"], clashes)
    for entry in mine:
        stale = _minus(entry["fieldsV1"], wanted)
        for other in others:
            stale = _minus(stale, other["fieldsV1"])
        merged = _removed(merged, stale)
    kept = [_without(other, wanted if by.force else {}, clashes) for other in others]
    fields = [e for e in kept if e["fieldsV1"]] + ([_entry(by, wanted)] if wanted else [])
    return {**merged, "metadata": {**merged["metadata"], "managedFields": fields}}


def _intent(applied: Json, subresource: str) -> Json:
    """What of the applied object its manager comes to own."""
    if subresource == "status":
        return {"status": applied.get("status") or {}}
    intent = {k: v for k, v in applied.items() if k not in _UNOWNED}
    meta = {k: v for k, v in (applied.get("metadata") or {}).items() if k not in _UNOWNED_META}
    meta.pop("managedFields", None)
    return {**intent, "metadata": meta}


def _is_mine(entry: Json, by: Application) -> bool:
    return bool(entry.get("manager") == by.manager and entry.get("subresource", "") == by.subresource)


def _entry(by: Application, fields: FieldSet) -> Json:
    entry: Json = {
        "manager": by.manager,
        "operation": "Apply",
        "apiVersion": by.api_version,
        "time": by.time,
        "fieldsType": "FieldsV1",
        "fieldsV1": fields,
    }
    if by.subresource:
        entry["subresource"] = by.subresource
    return entry


def _merged(live: Any, applied: Any, keys: Mapping[str, str], name: str = "") -> Any:
    if isinstance(applied, dict):
        result = dict(live) if isinstance(live, dict) else {}
        for member, value in applied.items():
            result[member] = _merged(result.get(member), value, keys, member)
        return result
    key = keys.get(name)
    if not key or not isinstance(live, list) or not _is_keyed(applied, key):
        return copy.deepcopy(applied)
    items = list(live)
    for item in applied:
        at = next((i for i, old in enumerate(items) if old.get(key) == item[key]), None)
        if at is None:
            items.append(copy.deepcopy(item))
        else:
            items[at] = _merged(items[at], item, keys)
    return items


def _get(value: Any, step: str) -> Any:
    """The child that a FieldsV1 step names; None where absent."""
    if step.startswith("f:"):
        return value.get(step[2:]) if isinstance(value, dict) else None
    wanted = msgspec.json.decode(step[2:])
    items = value if isinstance(value, list) else []
    return next((i for i in items if isinstance(i, dict) and wanted.items() <= i.items()), None)


def _clashes(live: Json, merged: Json, wanted: FieldSet, others: list[Json]) -> list[tuple[str, tuple[str, ...]]]:
    """(manager, path) of each leaf that changes though another manager owns it."""
    found = []
    for path in _leaves(wanted):
        if _follow(live, path) == _follow(merged, path):
            continue
        found += [(other["manager"], path) for other in others if _owns(other["fieldsV1"], path)]
    return found


def _leaves(fields: FieldSet, at: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    steps = {k: v for k, v in fields.items() if k != "."}
    if not steps:
        return [at]
    return [leaf for step, below in steps.items() for leaf in _leaves(below, (*at, step))]


def _follow(value: Any, path: tuple[str, ...]) -> Any:
    for step in path:
        value = _get(value, step)
    return value


def _owns(fields: FieldSet, path: tuple[str, ...]) -> bool:
    for step in path:
        if step not in fields:
            return False
        fields = fields[step]
    return True


def _minus(fields: FieldSet, other: FieldSet) -> FieldSet:
    """The leaves of ``fields`` that ``other`` does not have."""
    result = {}
    for step, below in fields.items():
        if step not in other:
            result[step] = below
        elif step != "." and below and (rest := _minus(below, other[step])):
            result[step] = rest
    return result


def _removed(value: Any, stale: FieldSet) -> Any:
    """``value`` without the stale leaves, and without containers that thereby became empty."""
    if isinstance(value, list):
        return _removed_elements(value, stale)
    if not isinstance(value, dict):
        return value
    result = dict(value)
    for step, below in stale.items():
        name = step[2:]
        if name not in result:
            continue
        rest = _removed(result[name], below) if below else None
        if rest in (None, {}, []):
            del result[name]
        else:
            result[name] = rest
    return result


def _removed_elements(items: list[Any], stale: FieldSet) -> list[Any]:
    result = []
    for item in items:
        step = next((s for s in stale if s.startswith("k:") and _get([item], s) is item), None)
        if step is None:
            result.append(item)
        elif "." not in stale[step]:
            result.append(_removed(item, stale[step]))
    return result


def _without(entry: Json, taken: FieldSet, clashes: list[tuple[str, tuple[str, ...]]]) -> Json:
    """Another manager's entry after a forced apply has taken the clashing fields over."""
    lost: FieldSet = {}
    for manager, path in clashes:
        if manager == entry["manager"] and taken:
            at = lost
            for step in path:
                at = at.setdefault(step, {})
    return {**entry, "fieldsV1": _minus(entry["fieldsV1"], lost)} if lost else entry


def _conflict(kind: Kind, name: str, clashes: list[tuple[str, tuple[str, ...]]]) -> Exception:
    causes = [
        {
            "reason": "FieldManagerConflict",
            "message": f'conflict with "{manager}"',
            "field": "." + ".".join(step[2:] for step in path),
        }
        for manager, path in clashes
    ]
    fields = ", ".join(f"{cause['field']} (owned by {clash[0]})" for cause, clash in zip(causes, clashes, strict=True))
    why = f"other managers own what the apply would change: {fields}. Give them up there, or apply with force"
    return status.conflict(kind, name, why, causes)
