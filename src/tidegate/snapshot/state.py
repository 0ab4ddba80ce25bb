"""The world as a value, advanced by events."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from immutables import Map

from tidegate.api import meshconfig
from tidegate.api.networking import DestinationRule, Sidecar, VirtualService
from tidegate.api.objects import Object, Ref
from tidegate.kit.features import DEFAULTS, Features
from tidegate.registry.model import ServiceKey, ServiceTarget, Workload
from tidegate.snapshot import targets
from tidegate.snapshot.draft import MESH_CONFIG, Draft
from tidegate.snapshot.record import State
from tidegate.snapshot.tables import texts_of
from tidegate.snapshot.world import Changed, Event, Verb


class Snapshot(State, frozen=True, eq=False, kw_only=True):
    """A :class:`~tidegate.snapshot.world.World`."""

    @classmethod
    def empty(
        cls, domain: str = "cluster.local", *, cluster: str = "Kubernetes", features: Features = DEFAULTS
    ) -> "Snapshot":
        """The world before the first object, with the default mesh configuration."""
        return cls(version=0, domain=domain, cluster=cluster, mesh=meshconfig.parse(""), features=features)

    def apply(self, events: Iterable[Event]) -> tuple["Snapshot", Changed]:
        """The next world and what changed. Of several events for one object the last counts; of several mesh
        configurations the last that can be read."""
        given = tuple(events)
        latest: Mapping[Ref, Event] = {event.ref: event for event in given}
        earlier = [e for e in given if e.ref == MESH_CONFIG and e is not latest[MESH_CONFIG]]
        draft = Draft(self)
        for event in (*earlier, *latest.values()):
            draft.take(event.ref, event.object if event.verb is Verb.PUT else None)
        fields, changed = draft.settle()
        return msgspec.structs.replace(self, version=self.version + bool(changed), **fields), changed

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

    def virtual_services_bound_to(self, gateway: str) -> tuple[Object[VirtualService], ...]:
        """Those that name a Gateway (``namespace/name``), oldest first."""
        refs = self.bound.get(gateway) or Map()
        return tuple(sorted((self.virtual_services[ref] for ref in refs), key=lambda v: v.age_key))

    def sidecars_of(self, namespace: str) -> tuple[Object[Sidecar], ...]:
        """The Sidecars of one namespace, oldest first."""
        return self.sidecars_in.get(namespace, ())

    def policies(self, kind: str) -> Map[str, tuple[Object[Any], ...]]:
        """The objects of one of ``POLICY_KINDS`` by namespace, oldest first."""
        return self.policies_of.get(kind) or Map()

    def policies_in(self, kind: str, namespace: str) -> tuple[Object[Any], ...]:
        """Those of one namespace, oldest first."""
        return self.policies(kind).get(namespace, ())

    def rules_with_credentials(self, namespace: str = "") -> tuple[Object[DestinationRule], ...]:
        """DestinationRules that name a Secret for TLS to their hosts; of one namespace, or of all for ""."""
        spaces = [namespace] if namespace else self.naming_secrets
        refs = (ref for space in spaces for ref in self.naming_secrets.get(space) or ())
        return tuple(self.destination_rules[ref] for ref in sorted(refs))

    def credential(self, ref: Ref) -> Object[Any] | None:
        """A Secret or ConfigMap that holds certificates."""
        return self.objects.get(ref) if ref.kind in ("Secret", "ConfigMap") else None

    def services_in(self, namespace: str) -> Iterable[ServiceKey]:
        """The services that one namespace defines."""
        return self.in_namespace.get(namespace) or ()

    def targets(self, workload: Workload) -> tuple[ServiceTarget, ...]:
        """Service ports that the workload serves, oldest service first; whether or not it is ready."""
        return targets.of(self, workload)

    def members_of(self, ref: Ref) -> tuple[Ref, ...]:
        """The objects that an effective DestinationRule or VirtualService is made of, itself first."""
        return self.members.get(ref, (ref,))

    def problems_of(self, ref: Ref) -> tuple[str, ...]:
        """Why one object is left out, or in conflict."""
        return texts_of(self.notes, self.noted, ref)

    def problems(self) -> Map[Ref, tuple[str, ...]]:
        """Objects left out or in conflict, and why."""
        found: dict[Ref, dict[str, None]] = {}
        for notes in self.notes.values():
            for ref, text in notes:
                found.setdefault(ref, {})[text] = None
        return Map({ref: tuple(sorted(texts)) for ref, texts in found.items()})
