"""The world as a value, advanced by events."""

from collections.abc import Iterable, Mapping
from typing import Any

from immutables import Map

from tidegate.api import meshconfig
from tidegate.api.networking import DestinationRule, Sidecar, VirtualService
from tidegate.api.objects import Object, Ref
from tidegate.registry.model import ServiceTarget, Workload
from tidegate.snapshot import targets
from tidegate.snapshot.draft import Draft
from tidegate.snapshot.record import State
from tidegate.snapshot.world import Changed, Event, Verb


class Snapshot(State, frozen=True, eq=False, kw_only=True):
    """A :class:`~tidegate.snapshot.world.World`."""

    @classmethod
    def empty(cls, domain: str = "cluster.local", *, cluster: str = "Kubernetes") -> "Snapshot":
        """The world before the first object, with the default mesh configuration."""
        return cls(version=0, domain=domain, cluster=cluster, mesh=meshconfig.parse(""))

    def apply(self, events: Iterable[Event]) -> tuple["Snapshot", Changed]:
        """The next world and what changed. Of several events for one object the last counts."""
        latest: Mapping[Ref, Event] = {event.ref: event for event in events}
        draft = Draft(self)
        for event in latest.values():
            draft.take(event.ref, event.object if event.verb is Verb.PUT else None)
        fields, changed = draft.settle()
        return Snapshot(
            version=self.version + bool(changed), domain=self.domain, cluster=self.cluster, **fields
        ), changed

    def destination_rules_for(self, namespace: str, host: str) -> tuple[Object[DestinationRule], ...]:
        """The rules of one namespace that cover ``host``: exact host first, then wildcards, longest first.

        Several rules of one host (their workloadSelector or exportTo keep them apart) stand in istiod's order: those
        with a selector first, then the oldest.
        """
        index = self.rules.get(namespace)
        return tuple(rule for _, rules in index.covering(host) for rule in rules) if index is not None else ()

    def virtual_services_for(self, host: str) -> tuple[Object[VirtualService], ...]:
        """Those of any namespace that have a host in common with ``host``; most specific, then oldest, first."""
        found: dict[Ref, None] = {}
        for _, refs in self.routes.meeting(host):
            group = sorted((self.virtual_services[ref] for ref in refs), key=lambda v: v.age_key)
            found.update(dict.fromkeys(v.ref for v in group))
        return tuple(self.virtual_services[ref] for ref in found)

    def sidecars_of(self, namespace: str) -> tuple[Object[Sidecar], ...]:
        """The Sidecars of one namespace, oldest first."""
        return self.sidecars_in.get(namespace, ())

    def policies(self, kind: str) -> Map[str, tuple[Object[Any], ...]]:
        """The objects of one of ``POLICY_KINDS`` by namespace, oldest first."""
        return self.policies_of.get(kind) or Map()

    def policies_in(self, kind: str, namespace: str) -> tuple[Object[Any], ...]:
        """Those of one namespace, oldest first."""
        return self.policies(kind).get(namespace, ())

    def targets(self, workload: Workload) -> tuple[ServiceTarget, ...]:
        """Service ports that the workload serves, oldest service first; whether or not it is ready."""
        return targets.of(self, workload)

    def members_of(self, ref: Ref) -> tuple[Ref, ...]:
        """The objects that an effective DestinationRule or VirtualService is made of, itself first."""
        return self.members.get(ref, (ref,))

    def problems(self) -> Map[Ref, tuple[str, ...]]:
        """Objects left out or in conflict, and why."""
        found: dict[Ref, dict[str, None]] = {}
        for notes in self.notes.values():
            for ref, text in notes:
                found.setdefault(ref, {})[text] = None
        return Map({ref: tuple(sorted(texts)) for ref, texts in found.items()})
