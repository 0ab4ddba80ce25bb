"""The maps of a world while a step changes them."""

from collections.abc import Iterable
from typing import Any, TypeVar

from immutables import Map, MapMutation

from tidegate.api.objects import Ref
from tidegate.snapshot.record import NoteKey, State

K = TypeVar("K")
M = TypeVar("M")

_MAPS = (
    "services",
    "by_host",
    "endpoints",
    "virtual_services",
    "destination_rules",
    "sidecars",
    "workloads",
    "by_address",
    "namespaces",
    "sidecars_in",
    "policies_of",
    "objects",
    "entries",
    "merges",
    "slices",
    "pod_slices",
    "selectors",
    "selecting",
    "labelled",
    "on_node",
    "in_namespace",
    "serving",
    "ingresses",
    "ingress_rules",
    "roots",
    "bound",
    "rule_sources",
    "rules",
    "naming_secrets",
    "members",
    "notes",
)


class Tables:
    """Mutable views of a State's maps; the State itself stays as it is."""

    def __init__(self, base: State) -> None:
        self.base = base
        self.domain, self.cluster, self.mesh, self.routes = base.domain, base.cluster, base.mesh, base.routes
        self.services = base.services.mutate()
        self.by_host = base.by_host.mutate()
        self.endpoints = base.endpoints.mutate()
        self.virtual_services = base.virtual_services.mutate()
        self.destination_rules = base.destination_rules.mutate()
        self.sidecars = base.sidecars.mutate()
        self.workloads = base.workloads.mutate()
        self.by_address = base.by_address.mutate()
        self.namespaces = base.namespaces.mutate()
        self.sidecars_in = base.sidecars_in.mutate()
        self.policies_of = base.policies_of.mutate()
        self.objects = base.objects.mutate()
        self.entries = base.entries.mutate()
        self.merges = base.merges.mutate()
        self.slices = base.slices.mutate()
        self.pod_slices = base.pod_slices.mutate()
        self.selectors = base.selectors.mutate()
        self.selecting = base.selecting.mutate()
        self.labelled = base.labelled.mutate()
        self.on_node = base.on_node.mutate()
        self.in_namespace = base.in_namespace.mutate()
        self.serving = base.serving.mutate()
        self.ingresses = base.ingresses.mutate()
        self.ingress_rules = base.ingress_rules.mutate()
        self.roots = base.roots.mutate()
        self.bound = base.bound.mutate()
        self.rule_sources = base.rule_sources.mutate()
        self.rules = base.rules.mutate()
        self.naming_secrets = base.naming_secrets.mutate()
        self.members = base.members.mutate()
        self.notes = base.notes.mutate()

    def finish(self) -> dict[str, Any]:
        """The fields of the next State."""
        maps = {name: getattr(self, name).finish() for name in _MAPS}
        return {**maps, "mesh": self.mesh, "routes": self.routes}

    def note(self, key: NoteKey, notes: Iterable[tuple[Ref, str]]) -> None:
        """Replace what the derivation ``key`` has to say."""
        assign(self.notes, key, tuple(notes) or None)

    def namespace_annotations(self, namespace: str) -> dict[str, str]:
        obj = self.objects.get(Ref("Namespace", "", namespace))
        return obj.meta.annotations if obj is not None else {}


def assign(table: MapMutation[K, M], key: K, value: M | None) -> None:
    """Set, or delete when ``value`` is None."""
    if value is not None:
        table[key] = value
    elif key in table:
        del table[key]


def move(table: MapMutation[K, Map[M, None]], member: M, old: Iterable[K], new: Iterable[K]) -> None:
    """Take ``member`` from the sets of the keys in ``old`` alone, and put it into those in ``new`` alone."""
    before, after = set(old), set(new)
    for key in before - after:
        assign(table, key, table[key].delete(member) or None)
    for key in after - before:
        table[key] = table.get(key, _EMPTY).set(member, None)


_EMPTY: Map[Any, None] = Map()
