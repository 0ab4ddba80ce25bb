"""What the EndpointSlice controllers know of the store. Pure: changes in, the Services they concern out."""

from typing import Any

from tidegate.controllers.endpointslices import SERVICE_NAME, Observed, selects
from tidegate.store.model import Json

KINDS = ("Service", "Pod", "Endpoints", "EndpointSlice")
Name = tuple[str, str]
"""Namespace and name."""


class Cache:
    """Objects of KINDS, by name and where they are looked for."""

    def __init__(self) -> None:
        self._objects: dict[str, dict[Name, Json]] = {kind: {} for kind in KINDS}
        self._services: dict[str, dict[str, Json]] = {}
        self._pods: dict[str, dict[str, Json]] = {}
        self._slices: dict[Name, dict[str, Json]] = {}
        """By namespace and name of their Service."""

    def put(self, kind: str, obj: Json) -> set[Name]:
        """An object that came or changed; the Services whose slices may have to follow."""
        name = name_of(obj)
        old = self._objects[kind].get(name)
        if old is not None and _plain(old) == _plain(obj):
            self._store(kind, name, obj)
            return set()
        concerned = self._concerned(kind, old) | self._concerned(kind, obj)
        if old is not None:
            self._forget(kind, name, old)
        self._store(kind, name, obj)
        return concerned

    def drop(self, kind: str, name: Name) -> set[Name]:
        """An object that went."""
        old = self._objects[kind].get(name)
        if old is None:
            return set()
        self._forget(kind, name, old)
        return self._concerned(kind, old)

    def observed(self, name: Name) -> Observed:
        """All that decides the slices of one Service, existing or not."""
        return Observed(
            service=self._objects["Service"].get(name),
            pods=tuple(self._pods.get(name[0], {}).values()),
            endpoints=self._objects["Endpoints"].get(name),
            slices=tuple(self._slices.get(name, {}).values()),
        )

    def _concerned(self, kind: str, obj: Json | None) -> set[Name]:
        if obj is None:
            return set()
        if kind == "Pod":
            services = self._services.get(name_of(obj)[0], {}).values()
            return {name_of(service) for service in services if selects(service, obj)}
        if kind == "EndpointSlice":
            service = _service_of(obj)
            return {service} if service[1] else set()
        return {name_of(obj)}

    def _store(self, kind: str, name: Name, obj: Json) -> None:
        self._objects[kind][name] = obj
        if (table := self._table(kind, obj)) is not None:
            table[name[1]] = obj

    def _forget(self, kind: str, name: Name, old: Json) -> None:
        self._objects[kind].pop(name, None)
        if (table := self._table(kind, old)) is not None:
            table.pop(name[1], None)

    def _table(self, kind: str, obj: Json) -> dict[str, Json] | None:
        namespace = name_of(obj)[0]
        if kind == "Service":
            return self._services.setdefault(namespace, {})
        if kind == "Pod":
            return self._pods.setdefault(namespace, {})
        return self._slices.setdefault(_service_of(obj), {}) if kind == "EndpointSlice" else None


def name_of(obj: Json) -> Name:
    meta = obj["metadata"]
    return str(meta.get("namespace", "")), str(meta["name"])


def _service_of(made: Json) -> Name:
    return name_of(made)[0], str((made["metadata"].get("labels") or {}).get(SERVICE_NAME, ""))


def _plain(obj: Json) -> dict[str, Any]:
    """The object without what changes at every write."""
    meta = {k: v for k, v in obj["metadata"].items() if k not in ("resourceVersion", "managedFields")}
    return {**obj, "metadata": meta}
