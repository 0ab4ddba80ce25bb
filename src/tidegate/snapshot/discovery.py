"""The step of discoverySelectors: which namespaces' objects there are at all.

As in Istio a namespace is seen when one of MeshConfig.discoverySelectors matches its labels; one without a Namespace
object is not, and neither the control plane's own nor the root namespace is an exception. Namespaces and Nodes
themselves, and the mesh configuration, are always seen.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from immutables import Map

from tidegate.api.kinds import KINDS
from tidegate.api.labelselectors import selects
from tidegate.api.mesh import LabelSelector
from tidegate.api.meshselectors import discovery_mistakes
from tidegate.api.objects import Object, Ref
from tidegate.registry import ingress
from tidegate.registry.model import Labels
from tidegate.snapshot.record import State
from tidegate.snapshot.tables import Table, Tables, assign

Old = Object[Any] | None

ALWAYS_SEEN = frozenset(("Namespace", "Node"))
"""Kinds without a namespace."""

NOT_SEEN = "is not seen: "
"""How the note of an object begins whose namespace is not selected."""

_STAY = "the discoverySelectors before stay in force"
_TOLD = frozenset((*(kind.kind for kind in KINDS.values() if kind.strict), "Service", "Ingress"))
"""Kinds that people write: of these it is told when one is not seen."""


class DiscoveryStep:
    """``take*`` note what came, changed or went; ``settle`` tells what the world has to take of it.

    A change of the selectors looks at every object, one of a namespace's labels at those of that namespace.
    """

    def __init__(self, tables: Tables, mesh: Ref) -> None:
        self.tables, self.mesh = tables, mesh
        self.given: dict[Ref, Old] = {}
        self.touched: set[str] = set()

    def take(self, ref: Ref, new: Old) -> None:
        self.given[ref] = new

    def take_namespace(self, ref: Ref) -> None:
        self.touched.add(ref.name)

    def take_selectors(self) -> None:
        """Selectors that cannot be read change nothing: those before them stay."""
        asked = self.tables.mesh.discovery_selectors
        found = discovery_mistakes(self.tables.mesh)
        wrong = [(self.mesh, f"data.mesh.{path}: {text}; {_STAY}") for path, text in found]
        self.tables.note(("discovery selectors", self.mesh), wrong)
        if not wrong:
            self.tables.discovery_selectors = asked

    def settle(self) -> Iterable[tuple[Ref, Old]]:
        """Objects to be taken into the world, or (None) out of it."""
        tables, before = self.tables, self.tables.base.discovery_selectors
        if not before and not tables.discovery_selectors:
            return self.given.items()
        if not before:
            _fill(tables, self.mesh)
        for ref, new in self.given.items():
            objects = tables.given.get(ref.namespace, _NONE)
            objects = objects.set(ref, new) if new is not None else objects.delete(ref) if ref in objects else objects
            assign(tables.given, ref.namespace, objects or None)
        found = {**dict(self._seen_otherwise()), **self.given}
        seen = {space: self._is_seen(space) for space in {ref.namespace for ref in found}}
        for ref, new in found.items():
            hidden = new is not None and not seen[ref.namespace] and ref.kind in _TOLD
            tables.note(("not seen", ref), [(ref, _words(ref.namespace))] if hidden else ())
        if not tables.discovery_selectors:
            tables.given = _NOWHERE.mutate()
        return [(ref, new if seen[ref.namespace] else None) for ref, new in found.items()]

    def _seen_otherwise(self) -> Iterator[tuple[Ref, Object[Any]]]:
        """All objects of the namespaces that are seen now and were not, or the other way round."""
        tables, before = self.tables, self.tables.base
        given = tables.given.finish()
        tables.given = given.mutate()
        for space in given if tables.discovery_selectors != before.discovery_selectors else self.touched:
            if _is_seen(space, before.discovery_selectors, before.namespaces) != self._is_seen(space):
                yield from given.get(space, _NONE).items()

    def _is_seen(self, space: str) -> bool:
        return _is_seen(space, self.tables.discovery_selectors, self.tables.namespaces)


_NONE: Map[Ref, Object[Any]] = Map()
_NOWHERE: Map[str, Map[Ref, Object[Any]]] = Map()


def _is_seen(space: str, selectors: tuple[LabelSelector, ...], namespaces: Table[str, Labels]) -> bool:
    if not selectors:
        return True
    labels = namespaces.get(space)
    return labels is not None and any(selects(each, dict(labels)) for each in selectors)


def _words(space: str) -> str:
    return (
        f"{NOT_SEEN}namespace {space} is not selected by discoverySelectors of the mesh configuration; "
        "label the Namespace as one of them asks, or add a selector"
    )


def _fill(tables: Tables, mesh: Ref) -> None:
    """Everything as it was given, from a world that did not keep it."""
    base, made = tables.base, _derived(tables.base)
    found: dict[str, dict[Ref, Object[Any]]] = {}
    for ref, obj in (*base.objects.items(), *base.refused.items()):
        if ref.kind not in ALWAYS_SEEN and ref != mesh and ref not in made:
            found.setdefault(ref.namespace, {})[ref] = obj
    for space, objects in found.items():
        tables.given[space] = Map(objects)


def _derived(base: State) -> set[Ref]:
    """What is among the objects and was not given: it is made of Ingresses."""
    gateways = (ingress.gateway_ref(ref) for ref in base.objects if ref.kind == "Ingress")
    return {*base.ingress_rules.values(), *gateways}
