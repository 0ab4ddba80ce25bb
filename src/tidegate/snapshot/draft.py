"""One step from a world to the next: events are taken into the indexes, then what depends on them is derived again.

Only what an event made dirty is derived, and the result replaces the old value only where it differs: work follows the
events, and what is reported follows the differences.
"""

from collections.abc import Callable
from typing import Any

from tidegate.api import meshconfig, validation
from tidegate.api.kinds import KINDS
from tidegate.api.objects import Object, Ref
from tidegate.kit.errors import FieldError, TidegateError
from tidegate.snapshot import enforced
from tidegate.snapshot.credentials import CredentialStep, is_credential
from tidegate.snapshot.discovery import ALWAYS_SEEN, DiscoveryStep
from tidegate.snapshot.ingresses import IngressStep, ingress_settings
from tidegate.snapshot.networks import NetworkStep
from tidegate.snapshot.policies import PolicyStep
from tidegate.snapshot.record import Derived, State
from tidegate.snapshot.routing import RoutingStep
from tidegate.snapshot.services import ServiceStep
from tidegate.snapshot.tables import Tables, assign
from tidegate.snapshot.world import POLICY_KINDS, Changed

MESH_CONFIG = Ref("ConfigMap", "istio-system", "istio")
_CHECKED = frozenset(kind.kind for kind in KINDS.values() if kind.strict)

_CREDENTIALS = ("Secret", "ConfigMap")

_Take = Callable[[Ref, Object[Any] | None, Object[Any] | None], None]


class Draft:
    """``take`` every object that came, changed (its new form) or went (None), then ``settle`` once."""

    def __init__(self, base: State) -> None:
        self.tables = Tables(base)
        self.services, self.routing = ServiceStep(self.tables), RoutingStep(self.tables)
        self.policies, self.credentials = PolicyStep(self.tables), CredentialStep(self.tables)
        self.ingresses, self.networks = IngressStep(self.tables), NetworkStep(self.tables)
        self.discovery = DiscoveryStep(self.tables, MESH_CONFIG)
        self._takers: dict[str, _Take] = {
            "Namespace": self._take_namespace,
            "Node": self._take_node,
            "Pod": self.services.take_pod,
            "WorkloadEntry": self.services.take_workload_entry,
            "Service": self._take_service,
            "EndpointSlice": self.services.take_slice,
            "Endpoints": self.services.take_slice,
            "ServiceEntry": self.services.take_service_entry,
            "VirtualService": self.routing.take_virtual_service,
            "DestinationRule": self.routing.take_destination_rule,
            "Sidecar": self.routing.take_sidecar,
            "Ingress": self.ingresses.take,
            **dict.fromkeys(POLICY_KINDS, self.policies.take),
            **dict.fromkeys(_CREDENTIALS, self.credentials.take),
        }

    def take(self, ref: Ref, obj: Object[Any] | None) -> None:
        """Objects of other kinds, and Secrets and ConfigMaps without certificates, are nothing to the world."""
        if ref == MESH_CONFIG or ref.kind in ALWAYS_SEEN:
            self._admit(ref, obj)
        elif ref.kind in self._takers:
            self.discovery.take(ref, None if obj is None or _is_nothing(obj) else obj)

    def _admit(self, ref: Ref, obj: Object[Any] | None) -> None:
        take = self._take_mesh if ref == MESH_CONFIG else self._takers.get(ref.kind)
        if take is None:
            return
        old, new = self.tables.objects.get(ref), self._valid(ref, obj)
        if old == new:
            return
        assign(self.tables.objects, ref, new)
        take(ref, old, new)

    def _valid(self, ref: Ref, obj: Object[Any] | None) -> Object[Any] | None:
        """The object unless Istio's rules refuse it, which a store that does not know them may have let pass. Of what
        protects workloads, as much as can be enforced."""
        if ref.kind not in _CHECKED:
            return obj
        errors: list[FieldError] = []
        if obj is not None:
            meta = obj.meta
            errors, _ = validation.validate(
                ref.kind, ref.namespace, ref.name, obj.spec, annotations=meta.annotations, labels=meta.labels
            )
        assign(self.tables.refused, ref, obj if errors else None)
        self.tables.note(("invalid", ref), ((ref, f"left out: {error}") for error in errors))
        return enforced.part(obj, errors) if obj is not None and errors else obj

    def _take_namespace(self, ref: Ref, old: Object[Any] | None, new: Object[Any] | None) -> None:
        self.services.take_namespace(ref, old, new)
        self.networks.take_namespace(ref)
        self.discovery.take_namespace(ref)

    def _take_node(self, ref: Ref, old: Object[Any] | None, new: Object[Any] | None) -> None:
        self.services.take_node(ref, old, new)
        self.networks.take_node(ref, new)

    def _take_service(self, ref: Ref, old: Object[Any] | None, new: Object[Any] | None) -> None:
        self.services.take_service(ref, old, new)
        self.networks.take_service(ref)

    def _take_mesh(self, ref: Ref, old: Object[Any] | None, new: Object[Any] | None) -> None:
        """A mesh configuration that cannot be read changes nothing: the one before it stays."""
        self.networks.take_mesh(ref, new)
        before = self.tables.mesh
        try:
            mesh = meshconfig.parse(new.spec.data.get("mesh", "") if new else "")
        except TidegateError as error:
            self.tables.note(("mesh", ref), [(ref, f"data.mesh is left out, the one before it stays: {error}")])
            return
        self.tables.note(("mesh", ref), ())
        self.tables.mesh = mesh
        self.discovery.take_selectors()
        self.services.take_visibility(ref)
        self.routing.take_exports(
            virtual_services=before.default_virtual_service_export_to != mesh.default_virtual_service_export_to,
            destination_rules=before.default_destination_rule_export_to != mesh.default_destination_rule_export_to,
        )
        if ingress_settings(before) != ingress_settings(mesh):
            self.ingresses.take_all()

    def _derive_ingresses(self) -> None:
        self.ingresses.take_services(self.services.changed_services)
        for ref, new in self.ingresses.settle():
            old = self.tables.objects.get(ref)
            if old != new:
                assign(self.tables.objects, ref, new)
                self._takers[ref.kind](ref, old, new)

    def settle(self) -> tuple[dict[str, Any], Changed]:
        """The fields of the next State, and what changed."""
        services, routing = self.services, self.routing
        for ref, obj in self.discovery.settle():
            self._admit(ref, obj)
        if self.networks.settle(MESH_CONFIG):
            services.take_all()
        services.settle()
        self._derive_ingresses()
        routing.settle()
        changed = Changed(
            services=frozenset(services.changed_services),
            endpoints=frozenset(services.changed_endpoints),
            virtual_services=frozenset(routing.changed_virtual_services),
            destination_rules=frozenset(routing.changed_rules),
            sidecars=frozenset(routing.changed_sidecars),
            policies=frozenset(self.policies.changed),
            credentials=frozenset(self.credentials.changed),
            workloads=frozenset(services.changed_workloads),
            namespaces=frozenset(services.changed_namespaces),
            mesh=self.tables.mesh != self.tables.base.mesh,
            networks=self.tables.networks != self.tables.base.networks
            or self.tables.mesh_networks != self.tables.base.mesh_networks,
            told=self.tables.told_anew(),
        )
        derived = Derived(
            workloads=len(services.dirty_workloads),
            services=len(services.dirty_services),
            endpoints=len(services.dirty_endpoints),
            virtual_services=len(routing.dirty_virtual_services),
            destination_rules=len(routing.dirty_rules),
        )
        return {**self.tables.finish(), "derived": derived}, changed


def _is_nothing(obj: Object[Any]) -> bool:
    """Secrets and ConfigMaps without certificates."""
    return obj.ref.kind in _CREDENTIALS and not is_credential(obj)
