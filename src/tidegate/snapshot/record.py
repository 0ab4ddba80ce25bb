"""What a Snapshot is made of: the derived values, and the indexes that keep a change small."""

from typing import Any, TypeAlias

import msgspec
from immutables import Map

from tidegate.api.mesh import LabelSelector, MeshConfig, ServiceEntryVisibility
from tidegate.api.meshnetworks import MeshNetworks
from tidegate.api.networking import DestinationRule, Sidecar, VirtualService
from tidegate.api.objects import Object, Ref
from tidegate.kit.features import Features
from tidegate.registry.model import Endpoint, Labels, Service, ServiceKey, Workload
from tidegate.registry.networks import NetworkGateway, Networks, Placing
from tidegate.registry.serviceentry import Merged
from tidegate.snapshot.hostindex import HostIndex

Pair: TypeAlias = tuple[str, str, str]
"""Namespace, label, value."""

RuleKey: TypeAlias = tuple[str, str]
"""Namespace and lower-case full host of DestinationRules."""

NoteKey: TypeAlias = tuple[str, object]
"""Which derivation a note comes from, so that the next run of it replaces the note."""


Notes: TypeAlias = tuple[tuple[Ref, str], ...]
"""What a derivation says of objects, in words."""


class Derived(msgspec.Struct, frozen=True):
    """How many values of each sort the last ``apply`` derived: what the change cost."""

    workloads: int = 0
    services: int = 0
    endpoints: int = 0
    virtual_services: int = 0
    destination_rules: int = 0

    def __int__(self) -> int:
        return self.workloads + self.services + self.endpoints + self.virtual_services + self.destination_rules


class State(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """The fields of a Snapshot. Those below ``namespaces`` are indexes: nobody outside of this room reads them."""

    version: int
    domain: str
    cluster: str
    mesh: MeshConfig
    features: Features = Features()
    services: Map[ServiceKey, Service] = Map()
    by_host: Map[str, tuple[ServiceKey, ...]] = Map()
    endpoints: Map[ServiceKey, tuple[Endpoint, ...]] = Map()
    virtual_services: Map[Ref, Object[VirtualService]] = Map()
    destination_rules: Map[Ref, Object[DestinationRule]] = Map()
    sidecars: Map[Ref, Object[Sidecar]] = Map()
    workloads: Map[Ref, Workload] = Map()
    by_address: Map[str, tuple[Ref, ...]] = Map()
    namespaces: Map[str, Labels] = Map()

    sidecars_in: Map[str, tuple[Object[Sidecar], ...]] = Map()
    """By namespace, oldest first."""
    policies_of: Map[str, Map[str, tuple[Object[Any], ...]]] = Map()
    """By kind and namespace, oldest first."""
    objects: Map[Ref, Object[Any]] = Map()
    """Every valid object of the kinds that count."""
    entries: Map[ServiceKey, tuple[Ref, ...]] = Map()
    """ServiceEntries that name the host, oldest first."""
    merges: Map[ServiceKey, Merged] = Map()
    slices: Map[tuple[str, str], tuple[Ref, ...]] = Map()
    """EndpointSlices and Endpoints by namespace and name of their Service."""
    pod_slices: Map[Ref, Map[Ref, None]] = Map()
    """Pod to the slices that list it."""
    selectors: Map[ServiceKey, tuple[Labels, ...]] = Map()
    selecting: Map[Pair, Map[ServiceKey, None]] = Map()
    """Services by the first pair of each of their selectors."""
    labelled: Map[Pair, Map[Ref, None]] = Map()
    """Workloads by each of their labels."""
    on_node: Map[str, Map[Ref, None]] = Map()
    in_namespace: Map[str, Map[ServiceKey, None]] = Map()
    serving: Map[str, Map[ServiceKey, None]] = Map()
    """Endpoint address to the services that have it."""
    ingresses: Map[str, Map[Ref, None]] = Map()
    """Ingresses by each of their hosts."""
    ingress_rules: Map[str, Ref] = Map()
    """The VirtualService that is made of a host's Ingresses."""
    roots: Map[Ref, Map[Ref, None]] = Map()
    """Delegate VirtualService to those that name it."""
    bound: Map[str, Map[Ref, None]] = Map()
    """``namespace/name`` of a Gateway to the VirtualServices that are bound to it."""
    routes: HostIndex[Map[Ref, None]] = HostIndex()
    rule_sources: Map[RuleKey, tuple[Ref, ...]] = Map()
    rules: Map[str, HostIndex[tuple[Object[DestinationRule], ...]]] = Map()
    naming_secrets: Map[str, Map[Ref, None]] = Map()
    """Namespace to its effective DestinationRules that name a Secret."""
    members: Map[Ref, tuple[Ref, ...]] = Map()
    notes: Map[NoteKey, Notes] = Map()
    noted: Map[Ref, Map[NoteKey, None]] = Map()
    """Object to the derivations that have something to say of it."""
    networks: Networks = Networks()
    mesh_networks: MeshNetworks = MeshNetworks()
    placing: Placing = Placing()
    discovery_selectors: tuple[LabelSelector, ...] = ()
    """Those in force: the mesh configuration's own, or the last that could be read."""
    service_entry_visibility: ServiceEntryVisibility | None = None
    """Likewise."""
    given: Map[str, Map[Ref, Object[Any]]] = Map()
    """By namespace everything as it was given, seen or not; kept while there are discoverySelectors."""
    refused: Map[Ref, Object[Any]] = Map()
    """Objects that Istio's rules refuse, as they were given; what is kept of one stands among the objects."""
    gateways_of_mesh: tuple[NetworkGateway, ...] = ()
    """Those that MeshNetworks gives by address."""
    gateway_services: Map[Ref, tuple[NetworkGateway, ...]] = Map()
    """Services that lead into a network; also those that have no address yet."""
    node_addresses: Map[str, tuple[Labels, str]] = Map()
    """Node to its labels and its address outside of the cluster."""
    derived: Derived = Derived()
