"""Who owns which field: ``metadata.managedFields``, and server-side apply, which acts on it.

sig-api-machinery, "Server-Side Apply". Every writer owns what it wrote: an apply owns what it applied (operation
Apply), any other write what it changed (operation Update).
"""

from collections.abc import Iterable
from typing import Any

import msgspec

from tidegate.api.kinds import Kind
from tidegate.store import fieldsets, status
from tidegate.store.fieldsets import Fields, Layout
from tidegate.store.model import Json

_UNOWNED = frozenset({"apiVersion", "kind"})
_UNOWNED_META = frozenset(
    {
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
        "selfLink",
        "managedFields",
    }
)
_TEXTS = ("manager", "operation", "apiVersion", "subresource", "time")
_MOST_UPDATERS = 10
_ANCIENT = "ancient-changes"
_UNKNOWN = "before-first-apply"


class Writer(msgspec.Struct, frozen=True):
    """Who writes, how and when."""

    manager: str
    api_version: str
    time: str
    subresource: str = ""
    force: bool = False


class _Entry(msgspec.Struct):
    """One manager's fields. Entries of the same ``identity`` are one."""

    manager: str
    operation: str
    api_version: str
    subresource: str
    time: str
    fields: Fields
    stored: Json | None = None
    """The entry as it was read."""

    @property
    def identity(self) -> tuple[str, str, str, str]:
        version = self.api_version if self.operation == "Update" else ""
        return (self.manager, self.operation, self.subresource, version)

    def order(self) -> tuple[str, str, str, str, str]:
        return (self.operation, self.time, self.manager, self.api_version, self.subresource)


def updated(new: Json, old: Json | None, kind: Kind, by: Writer) -> Json:
    """``new`` with the managedFields that it has once ``by`` has written it over ``old`` (None: created it).

    Managed fields that ``new`` itself brings replace those of ``old`` first, as clients do to migrate ownership.
    """
    before = old or {"metadata": {}}
    known = _entries(before["metadata"].get("managedFields"))
    sent = (new if old else before)["metadata"].get("managedFields")
    entries = known if sent == before["metadata"].get("managedFields") else _entries(sent)
    layout = fieldsets.layout_of(kind.kind)
    part = _owned_part(new)
    if old is None:
        part.pop("status", None)  # the server's own
    changed = fieldsets.difference(_owned_part(before), part, layout)
    written = changed.written - {("f:metadata",)}
    mine = _Entry(by.manager, "Update", by.api_version, by.subresource, by.time, written)
    kept = [_less(e, changed.removed if e.identity == mine.identity else changed.removed | written) for e in entries]
    same = next((e for e in kept if e.identity == mine.identity), None)
    if written and same is not None:
        same.fields |= written
        same.time = by.time
    elif written:
        kept.append(mine)
    return _with_entries(new, _capped(kept), known)


def _less(entry: _Entry, gone: Fields) -> _Entry:
    return msgspec.structs.replace(entry, fields=entry.fields - gone, stored=None)


def applied(live: Json | None, wanted: Json, kind: Kind, by: Writer) -> Json:
    """``live`` (None: there is no such object yet) after the apply, its managedFields included.

    Fields that the manager applied before and does not apply now are removed, unless another manager owns them.
    409 when another manager owns a field that would change, unless forced.
    """
    before = live or {"apiVersion": wanted["apiVersion"], "kind": wanted["kind"], "metadata": {}}
    layout = fieldsets.layout_of(kind.kind)
    intent = _intent(wanted, by.subresource)
    mine = _Entry(by.manager, "Apply", by.api_version, by.subresource, by.time, fieldsets.leaves(intent, layout))
    mine.fields.discard(("f:metadata",))
    known = _entries(before["metadata"].get("managedFields"))
    entries = known or _of_unknown(live, layout, by)
    others = [entry for entry in entries if entry.identity != mine.identity]
    last = next((entry.fields for entry in entries if entry.identity == mine.identity), set())
    result = _pruned(fieldsets.merged(before, intent, layout), last, [*others, mine], layout)
    changed = fieldsets.difference(_owned_part(before), _owned_part(result), layout)
    clashes = [(e.manager, path) for e in others for path in sorted(e.fields & changed.written)]
    if clashes and not by.force:
        raise _conflict(kind, str(wanted["metadata"].get("name", "")), clashes)
    kept = [_less(entry, changed.removed | changed.written) for entry in others]
    return _with_entries(result, [*kept, mine], known)


def copied(obj: Json, source: Json) -> Json:
    """The object with the managedFields of another, none included."""
    meta = {k: v for k, v in obj["metadata"].items() if k != "managedFields"}
    managed = {k: v for k, v in source["metadata"].items() if k == "managedFields"}
    return {**obj, "metadata": {**meta, **managed}}


def _pruned(result: Json, last: Fields, owners: list[_Entry], layout: Layout) -> Json:
    """Without the fields that were applied last, but for those that have an owner now.

    Who owns a member holds the maps around it, but not the list element: that goes, unless it has an owner itself.
    """
    held: Fields = set()
    for entry in owners:
        for path in entry.fields:
            around = (path[:length] for length in range(1, len(path)))
            held |= {path, *(prefix for prefix in around if prefix[-1].startswith("f:"))}
    identity = {k: v for k, v in result.items() if k in _UNOWNED or k == "metadata"}
    return {**identity, **(fieldsets.without(result, last - held, layout) or {})}


def _of_unknown(live: Json | None, layout: Layout, by: Writer) -> list[_Entry]:
    """What stood there before ownership was kept belongs to a manager of its own."""
    if live is None:
        return []
    fields = fieldsets.everything(_owned_part(live), layout) - {(), ("f:metadata",)}
    return [_Entry(_UNKNOWN, "Update", by.api_version, "", by.time, fields)]


def _intent(wanted: Json, subresource: str) -> Json:
    """What of the applied object its manager comes to own."""
    if subresource == "status":
        return {"status": wanted.get("status") or {}}
    part = {k: v for k, v in wanted.items() if k not in _UNOWNED and k != "status"}
    return {**part, "metadata": {k: v for k, v in wanted["metadata"].items() if k not in _UNOWNED_META}}


def _owned_part(obj: Json) -> Json:
    """What of an object has owners. In metadata empty is the same as absent."""
    part = {k: v for k, v in obj.items() if k not in _UNOWNED}
    meta = {k: v for k, v in obj["metadata"].items() if k not in _UNOWNED_META and v not in (None, {}, [])}
    return {**part, "metadata": meta}


def _entries(managed: Any) -> list[_Entry]:
    return [_entry(item) for item in managed or () if isinstance(item, dict) and item.get("manager")]


def _entry(item: Json) -> _Entry:
    manager, operation, version, subresource, time = (str(item.get(name) or "") for name in _TEXTS)
    return _Entry(manager, operation, version, subresource, time, fieldsets.from_json(item.get("fieldsV1")), item)


def _capped(entries: list[_Entry]) -> list[_Entry]:
    """However many different clients write, managedFields stays small: the oldest updaters become one."""
    updaters = sorted((e for e in entries if e.operation == "Update" and e.fields), key=_Entry.order)
    surplus = updaters[: max(0, len(updaters) - _MOST_UPDATERS + 1)] if len(updaters) > _MOST_UPDATERS else []
    if not surplus:
        return entries
    merged = msgspec.structs.replace(
        surplus[-1], manager=_ANCIENT, stored=None, fields=set().union(*(e.fields for e in surplus))
    )
    return [e for e in entries if not any(e is old for old in surplus)] + [merged]


def _with_entries(obj: Json, entries: Iterable[_Entry], known: Iterable[_Entry]) -> Json:
    """An entry that says what it said before keeps its time, so that a repeated write is no change."""
    before = {entry.identity: entry for entry in known}
    shown = []
    for entry in entries:
        same = before.get(entry.identity)
        if same is not None and same.fields == entry.fields:
            entry = same
        if entry.fields:
            shown.append(entry)
    meta = {k: v for k, v in obj["metadata"].items() if k != "managedFields"}
    if shown:
        meta["managedFields"] = [_as_json(entry) for entry in sorted(shown, key=_Entry.order)]
    return {**obj, "metadata": meta}


def _as_json(entry: _Entry) -> Json:
    if entry.stored is not None:
        return entry.stored
    made: Json = {
        "manager": entry.manager,
        "operation": entry.operation,
        "apiVersion": entry.api_version,
        "time": entry.time,
        "fieldsType": "FieldsV1",
        "fieldsV1": fieldsets.to_json(entry.fields),
    }
    if entry.subresource:
        made["subresource"] = entry.subresource
    return made


def _conflict(kind: Kind, name: str, clashes: list[tuple[str, fieldsets.Path]]) -> Exception:
    causes = [
        {"reason": "FieldManagerConflict", "message": f'conflict with "{manager}"', "field": _shown(path)}
        for manager, path in clashes
    ]
    fields = ", ".join(f"{_shown(path)} (owned by {manager})" for manager, path in clashes)
    why = f"other managers own what the apply would change: {fields}. Give them up there, or apply with force"
    return status.conflict(kind, name, why, causes)


def _shown(path: fieldsets.Path) -> str:
    """``.spec.ports[port=80].name``"""
    text = ""
    for step in path:
        if step.startswith("f:"):
            text += f".{step[2:]}"
        elif step.startswith("k:"):
            named = msgspec.json.decode(step[2:])
            text += "[" + ",".join(f"{k}={msgspec.json.encode(v).decode()}" for k, v in named.items()) + "]"
        else:
            text += f"[{step[2:]}]"
    return text
