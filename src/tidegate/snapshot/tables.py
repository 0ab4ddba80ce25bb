"""The maps of a world while a step changes them."""

from collections.abc import Iterable
from typing import Any, TypeAlias, TypeVar

from immutables import Map, MapMutation

from tidegate.api.objects import Ref
from tidegate.snapshot.record import NoteKey, Notes, State

K = TypeVar("K")
M = TypeVar("M")
Table: TypeAlias = Map[K, M] | MapMutation[K, M]

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
    "noted",
    "given",
    "refused",
)

_VALUES = (
    "mesh",
    "routes",
    "networks",
    "mesh_networks",
    "placing",
    "gateways_of_mesh",
    "gateway_services",
    "node_addresses",
    "discovery_selectors",
    "service_entry_visibility",
)
"""Replaced as a whole; the maps among them are small and are walked."""


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
        self.noted = base.noted.mutate()
        self.given, self.refused = base.given.mutate(), base.refused.mutate()
        self.discovery_selectors = base.discovery_selectors
        self.service_entry_visibility = base.service_entry_visibility
        self._renoted: set[Ref] = set()
        """Objects that a derivation says something of, or said, which says something else now."""
        self.gateway_services, self.node_addresses = base.gateway_services, base.node_addresses
        self.networks, self.mesh_networks = base.networks, base.mesh_networks
        self.placing, self.gateways_of_mesh = base.placing, base.gateways_of_mesh

    def finish(self) -> dict[str, Any]:
        """The fields of the next State."""
        maps = {name: getattr(self, name).finish() for name in _MAPS}
        values = {name: getattr(self, name) for name in _VALUES}
        return {**maps, **values}

    def note(self, key: NoteKey, notes: Iterable[tuple[Ref, str]]) -> None:
        """Replace what the derivation ``key`` has to say."""
        old, new = self.notes.get(key, ()), tuple(notes)
        if old == new:
            return
        assign(self.notes, key, new or None)
        before, after = {ref for ref, _ in old}, {ref for ref, _ in new}
        move(self.noted, key, before, after)
        self._renoted |= before | after

    def told_anew(self) -> frozenset[Ref]:
        """Objects of which all derivations together say something else than in the world before."""
        old = self.base.notes, self.base.noted
        new = self.notes, self.noted
        return frozenset(ref for ref in self._renoted if texts_of(*old, ref) != texts_of(*new, ref))

    def namespace_annotations(self, namespace: str) -> dict[str, str]:
        obj = self.objects.get(Ref("Namespace", "", namespace))
        return obj.meta.annotations if obj is not None else {}


def texts_of(notes: Table[NoteKey, Notes], noted: Table[Ref, Map[NoteKey, None]], ref: Ref) -> tuple[str, ...]:
    """All that derivations say of one object, once and in a fixed order."""
    found = (notes[key] for key in noted.get(ref) or ())
    return tuple(sorted({text for each in found for about, text in each if about == ref}))


def assign(table: MapMutation[K, M], key: K, value: M | None) -> None:
    """Set, or delete when ``value`` is None."""
    if value is not None:
        table[key] = value
    elif key in table:
        del table[key]


def put(table: Map[K, M], key: K, value: M | None) -> Map[K, M]:
    """The map with the value, or without the key when it is None."""
    if value is not None:
        return table.set(key, value)
    return table.delete(key) if key in table else table


def move(table: MapMutation[K, Map[M, None]], member: M, old: Iterable[K], new: Iterable[K]) -> None:
    """Take ``member`` from the sets of the keys in ``old`` alone, and put it into those in ``new`` alone."""
    before, after = set(old), set(new)
    for key in before - after:
        assign(table, key, table[key].delete(member) or None)
    for key in after - before:
        table[key] = table.get(key, _EMPTY).set(member, None)


_EMPTY: Map[Any, None] = Map()
