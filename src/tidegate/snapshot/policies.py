"""The step of kinds that select workloads: kept as they are, by kind and namespace."""

from bisect import insort
from typing import Any

from immutables import Map

from tidegate.api.objects import Object, Ref
from tidegate.snapshot.tables import Tables, assign

Old = Object[Any] | None


class PolicyStep:
    """``take`` is all there is to do: nothing is derived from these objects here."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self.changed: set[Ref] = set()

    def take(self, ref: Ref, old: Old, new: Old) -> None:
        spaces: Map[str, tuple[Object[Any], ...]] = self.tables.policies_of.get(ref.kind) or Map()
        present = spaces.get(ref.namespace, ())
        found = list(present) if old is None else [each for each in present if each.ref != ref]
        if new is not None:
            insort(found, new, key=lambda each: each.age_key)
        if found:
            spaces = spaces.set(ref.namespace, tuple(found))
        elif ref.namespace in spaces:
            spaces = spaces.delete(ref.namespace)
        assign(self.tables.policies_of, ref.kind, spaces or None)
        self.changed.add(ref)
