"""The step of networks: where addresses lie, and the gateways that lead from one network into another."""

from typing import Any

from tidegate.api import meshconfig
from tidegate.api.core import NodeStatus
from tidegate.api.objects import Object, Ref
from tidegate.kit.errors import TidegateError
from tidegate.registry import kubernetes, networks, topology
from tidegate.registry.model import labels_of
from tidegate.snapshot.tables import Tables, put

Old = Object[Any] | None


class NetworkStep:
    """``take_*`` note what an object's change may concern; ``settle`` derives that again. A change of MeshNetworks, or
    of the control plane's namespace, looks at every Service; nothing else does."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self.dirty: set[Ref] = set()
        self._placed_anew = False

    def take_namespace(self, ref: Ref) -> None:
        self._placed_anew |= ref.name == meshconfig.NAMESPACE

    def take_service(self, ref: Ref) -> None:
        self.dirty.add(ref)

    def take_node(self, ref: Ref, new: Old) -> None:
        found = None
        if new is not None and isinstance(new.status, NodeStatus):
            outer = (a.address for a in new.status.addresses if a.type == "ExternalIP" and a.address)
            found = next(((labels_of(new.meta.labels), address) for address in outer), None)
        if found != self.tables.node_addresses.get(ref.name):
            self.tables.node_addresses = put(self.tables.node_addresses, ref.name, found)
            self.dirty.update(self.tables.gateway_services)

    def take_mesh(self, ref: Ref, new: Old) -> None:
        """MeshNetworks that cannot be read change nothing: those before them stay."""
        try:
            found = meshconfig.parse_networks(new.spec.data.get(meshconfig.NETWORKS, "") if new else "")
        except TidegateError as error:
            text = f"data.{meshconfig.NETWORKS} is left out, what was there before stays: {error}"
            self.tables.note(("networks", ref), [(ref, text)])
            return
        self.tables.note(("networks", ref), ((ref, t) for t in networks.mesh_problems(found, self.tables.cluster)))
        if found != self.tables.mesh_networks:
            self.tables.mesh_networks = found
            self.dirty.update(each for each in self.tables.base.objects if each.kind == "Service")  # new ones are dirty
            self._placed_anew = True

    def settle(self, mesh: Ref) -> bool:
        """Whether addresses may lie elsewhere now, so that endpoints have to be derived again."""
        tables = self.tables
        before = tables.gateways_of_mesh, tables.placing
        for ref in self.dirty:
            self._settle_service(ref)
        if self._placed_anew:
            labels = dict(tables.namespaces.get(meshconfig.NAMESPACE, ()))
            given = labels.get(topology.NETWORK, "")
            tables.placing = networks.placing(given, tables.mesh_networks, tables.cluster)
            tables.gateways_of_mesh = tuple(networks.configured(tables.mesh_networks, mesh))
        if self.dirty or before[0] != tables.gateways_of_mesh:
            found = [g for each in tables.gateway_services.values() for g in each]
            tables.networks = networks.joined([*found, *tables.gateways_of_mesh])
        return before[1] != tables.placing

    def _settle_service(self, ref: Ref) -> None:
        tables = self.tables
        obj, host = tables.objects.get(ref), kubernetes.service_key(ref, tables.domain).host
        notes = networks.problems(obj, host, tables.mesh_networks) if obj is not None else ()
        tables.note(("gateway of a network", ref), ((ref, text) for text in notes))
        if obj is None or not networks.is_candidate(obj, host, tables.mesh_networks):
            tables.gateway_services = put(tables.gateway_services, ref, None)
            return
        selector = obj.meta.annotations.get(networks.NODE_SELECTOR, "")
        nodes = networks.selected_nodes(selector, tables.node_addresses.values())
        found = networks.of_service(obj, host, tables.mesh_networks, tables.cluster, nodes)
        tables.gateway_services = put(tables.gateway_services, ref, found)
