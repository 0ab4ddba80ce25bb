"""What a World holds and what a change to it reports."""

import enum
from collections.abc import Iterable
from typing import Any, Protocol

import msgspec
from immutables import Map

from tidegate.api.kinds import KINDS
from tidegate.api.mesh import MeshConfig
from tidegate.api.meshnetworks import MeshNetworks
from tidegate.api.networking import DestinationRule, Sidecar, VirtualService
from tidegate.api.objects import Object, Ref
from tidegate.kit.features import Features
from tidegate.registry.model import Endpoint, Service, ServiceKey, ServiceTarget, Workload
from tidegate.registry.networks import Networks


class Verb(enum.StrEnum):
    PUT = "put"
    DELETE = "delete"


class Event(msgspec.Struct, frozen=True):
    """One stored object came, changed (PUT) or went (DELETE; ``object`` is None)."""

    verb: Verb
    ref: Ref
    object: Object[Any] | None = None


POLICY_KINDS: tuple[str, ...] = (
    "Gateway",
    "AuthorizationPolicy",
    "PeerAuthentication",
    "RequestAuthentication",
    "Telemetry",
    "EnvoyFilter",
    "ProxyConfig",
)
"""Kinds that the world keeps as they are, by namespace: a workload selector says which proxies each holds for."""

WATCHED: tuple[str, ...] = (
    "Namespace",
    "Node",
    "ConfigMap",
    "Secret",
    "Pod",
    "Service",
    "EndpointSlice",
    "Endpoints",
    "ServiceEntry",
    "WorkloadEntry",
    "VirtualService",
    "DestinationRule",
    "Sidecar",
    "Ingress",
    *(kind for kind in POLICY_KINDS if kind in KINDS),
)
"""Kinds that a world is made of, those first that others refer to."""


class Changed(msgspec.Struct, frozen=True):
    """What differs between two consecutive worlds, by key. Empty sets: nothing an Envoy could see."""

    services: frozenset[ServiceKey] = frozenset()
    endpoints: frozenset[ServiceKey] = frozenset()
    virtual_services: frozenset[Ref] = frozenset()
    destination_rules: frozenset[Ref] = frozenset()
    sidecars: frozenset[Ref] = frozenset()
    policies: frozenset[Ref] = frozenset()
    """Objects of :data:`POLICY_KINDS`."""
    credentials: frozenset[Ref] = frozenset()
    """Secrets and ConfigMaps that hold certificates."""
    workloads: frozenset[Ref] = frozenset()
    namespaces: frozenset[str] = frozenset()
    mesh: bool = False
    networks: bool = False
    """Gateways between networks, or what the mesh configuration says of networks."""
    told: frozenset[Ref] = frozenset()
    """Objects of which ``problems`` says something else now; by itself nothing an Envoy could see."""

    def __bool__(self) -> bool:
        return (
            self.mesh
            or self.networks
            or any(
                (
                    self.services,
                    self.endpoints,
                    self.virtual_services,
                    self.destination_rules,
                    self.sidecars,
                    self.policies,
                    self.credentials,
                    self.workloads,
                    self.namespaces,
                )
            )
        )


class World(Protocol):
    """An immutable world. Lookups are O(log n); nothing here walks all services."""

    @property
    def version(self) -> int: ...

    @property
    def mesh(self) -> MeshConfig:
        """Defaults filled in: no field that the builders read is unset."""
        ...

    @property
    def domain(self) -> str:
        """Cluster domain, ``cluster.local``."""
        ...

    @property
    def features(self) -> Features:
        """The control plane's own switches."""
        ...

    @property
    def services(self) -> Map[ServiceKey, Service]: ...

    @property
    def by_host(self) -> Map[str, tuple[ServiceKey, ...]]:
        """Lower-case host to its definitions, oldest first."""
        ...

    @property
    def endpoints(self) -> Map[ServiceKey, tuple[Endpoint, ...]]: ...

    @property
    def virtual_services(self) -> Map[Ref, Object[VirtualService]]:
        """Valid ones, short host and gateway names resolved, delegates merged; keyed by the root's Ref."""
        ...

    @property
    def destination_rules(self) -> Map[Ref, Object[DestinationRule]]:
        """Short host names resolved."""
        ...

    @property
    def sidecars(self) -> Map[Ref, Object[Sidecar]]: ...

    @property
    def workloads(self) -> Map[Ref, Workload]: ...

    @property
    def by_address(self) -> Map[str, tuple[Ref, ...]]:
        """IP to workloads that have it."""
        ...

    @property
    def namespaces(self) -> Map[str, tuple[tuple[str, str], ...]]:
        """Namespace to its labels."""
        ...

    @property
    def networks(self) -> Networks:
        """The gateways by which other networks are reached."""
        ...

    @property
    def mesh_networks(self) -> MeshNetworks:
        """What the mesh configuration says of networks."""
        ...

    def destination_rules_for(self, namespace: str, host: str) -> tuple[Object[DestinationRule], ...]:
        """The rules of one namespace that cover ``host``: exact host first, then wildcards, longest first."""
        ...

    def virtual_services_for(self, host: str) -> tuple[Object[VirtualService], ...]:
        """Those of any namespace that have a host in common with ``host``; most specific, then oldest, first."""
        ...

    def virtual_services_bound_to(self, gateway: str) -> tuple[Object[VirtualService], ...]:
        """Those that name a Gateway (``namespace/name``), oldest first."""
        ...

    def sidecars_of(self, namespace: str) -> tuple[Object[Sidecar], ...]:
        """Those of one namespace, oldest first."""
        ...

    def policies(self, kind: str) -> Map[str, tuple[Object[Any], ...]]:
        """The objects of one of :data:`POLICY_KINDS` by namespace, oldest first."""
        ...

    def policies_in(self, kind: str, namespace: str) -> tuple[Object[Any], ...]:
        """Those of one namespace, oldest first."""
        ...

    def rules_with_credentials(self, namespace: str = "") -> tuple[Object[DestinationRule], ...]:
        """DestinationRules that name a Secret for TLS to their hosts; of one namespace, or of all for ""."""
        ...

    def credential(self, ref: Ref) -> Object[Any] | None:
        """A Secret or ConfigMap that holds certificates."""
        ...

    def services_in(self, namespace: str) -> Iterable[ServiceKey]:
        """The services that one namespace defines."""
        ...

    def targets(self, workload: Workload) -> tuple[ServiceTarget, ...]:
        """Service ports that the workload serves, oldest service first."""
        ...

    def apply(self, events: Iterable[Event]) -> tuple["World", Changed]:
        """The next world and what changed. Cost follows the events; an invalid object is left out and recorded."""
        ...

    def problems(self) -> Map[Ref, tuple[str, ...]]:
        """Objects left out or in conflict, and why, in words for status and ``analyze``."""
        ...

    def problems_of(self, ref: Ref) -> tuple[str, ...]:
        """What ``problems`` says of one object, without a walk over the others."""
        ...
