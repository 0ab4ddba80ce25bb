"""Networks of a mesh: which one an address lies in, and the gateways by which the others reach it. Pure values.

https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/#MeshNetworks
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator

import msgspec
from msgspec.structs import replace

from tidegate.api.core import ServiceSpec, ServiceStatus
from tidegate.api.meshnetworks import MeshNetworks
from tidegate.api.objects import Object, Ref
from tidegate.kit.addresses import Network, network
from tidegate.registry import topology
from tidegate.registry.addresses import is_ip
from tidegate.registry.model import Endpoint, Labels, Workload

GATEWAY_PORT = "networking.istio.io/gatewayPort"
NODE_SELECTOR = "traffic.istio.io/nodeSelector"
_PASSTHROUGH_PORT = 15443
"""Of a gateway's Service where no label names another."""


class NetworkGateway(msgspec.Struct, frozen=True, gc=False):
    """One address by which a network is entered from others."""

    address: str
    """An IP."""
    port: int
    network: str
    cluster: str = ""
    """"" for an address of the mesh configuration."""
    source: Ref | None = None


class Networks(msgspec.Struct, frozen=True, cache_hash=True):
    """All gateways, once each, by address and port. Without any, every endpoint is called directly."""

    gateways: tuple[NetworkGateway, ...] = ()
    scale: int = 1
    """Weights are multiplied by it, so that they can be shared out among the gateways of any network."""

    def entered_by(self, name: str, cluster: str) -> tuple[NetworkGateway, ...]:
        """The gateways of a network; those in the endpoint's own cluster where there are such."""
        found = tuple(each for each in self.gateways if each.network == name)
        return tuple(each for each in found if each.cluster == cluster) or found


def joined(gateways: Iterable[NetworkGateway]) -> Networks:
    """Gateways of several sources, each address, port, network and cluster once."""
    once = {(g.address, g.port, g.network, g.cluster): g for g in gateways}
    found = tuple(once[key] for key in sorted(once))
    counts = [*Counter(g.network for g in found).values(), *Counter((g.network, g.cluster) for g in found).values()]
    return Networks(found, math.lcm(*counts))


def ranges(mesh: MeshNetworks) -> tuple[str, ...]:
    """The address ranges of all networks, smallest address first."""
    given = (each.from_cidr for place in mesh.networks.values() for each in place.endpoints if each.from_cidr)
    found = [known for text in given if (known := network(text)) is not None]
    ordered = sorted(found, key=lambda n: (n.version, int(n.network_address), n.prefixlen))
    return tuple(map(str, ordered))


class Placing(msgspec.Struct, frozen=True):
    """Where an address lies of which no object says it."""

    system: str = ""
    """Label of the control plane's namespace."""
    registry: str = ""
    """What the mesh configuration says of the whole cluster."""
    ranges: tuple[tuple[Network, str], ...] = ()
    """Of the mesh configuration, the widest first."""

    def __bool__(self) -> bool:
        return bool(self.system or self.registry or self.ranges)

    def of(self, address: str) -> str:
        """The network of an address; "" where nothing tells."""
        if self.system or self.registry or not self.ranges:
            return self.system or self.registry
        mine = network(address)
        if mine is None:
            return ""
        at = mine.network_address
        return next((name for each, name in self.ranges if at.version == each.version and at in each), "")

    def workload(self, found: Workload | None) -> Workload | None:
        """The workload with its network."""
        if found is None or found.network or not found.addresses:
            return found
        name = self.of(found.addresses[0])
        return replace(found, network=name) if name else found

    def endpoint(self, found: Endpoint) -> Endpoint:
        """The endpoint with its network, which is a label too."""
        if found.network or not is_ip(found.address):
            return found
        name = self.of(found.address)
        if not name:
            return found
        labels = topology.with_topology(dict(found.labels), cluster="", locality="", network=name)
        return replace(found, network=name, labels=labels)


def placing(system: str, mesh: MeshNetworks, cluster: str) -> Placing:
    """The label of the control plane's namespace first, then the cluster, then ranges of addresses."""
    members = [(name, each) for name, found in sorted(mesh.networks.items()) for each in found.endpoints]
    registry = next((name for name, each in members if each.from_registry == cluster), "")
    ranges = [(found, name) for name, each in members if each.from_cidr and (found := network(each.from_cidr))]
    return Placing(system, registry, tuple(sorted(ranges, key=lambda r: r[0].prefixlen)))


# Gateways


def configured(mesh: MeshNetworks, source: Ref) -> Iterator[NetworkGateway]:
    """Gateways that the mesh configuration gives by their IP addresses."""
    for name, found in mesh.networks.items():
        for each in found.gateways:
            if each.address and is_ip(each.address):
                yield NetworkGateway(each.address, each.port, name, source=source)


def of_service(
    service: Object[ServiceSpec], host: str, mesh: MeshNetworks, cluster: str, nodes: Iterable[str] = ()
) -> tuple[NetworkGateway, ...]:
    """The gateways that a Service is: by its label, or because the mesh configuration names it for a network of this
    cluster. nodes: external addresses of the nodes that its annotation selects."""
    entrances = list(_entrances(service, host, mesh, cluster))
    if not entrances:
        return ()
    addresses, ports = _external(service), {}
    if not addresses and service.spec.type == "NodePort" and NODE_SELECTOR in service.meta.annotations:
        addresses, ports = tuple(nodes), {p.port: p.node_port for p in service.spec.ports}
    return tuple(
        NetworkGateway(address, ports.get(port, port), name, cluster, service.ref)
        for address in addresses
        for name, port in entrances
        if is_ip(address)
    )


def is_candidate(service: Object[ServiceSpec], host: str, mesh: MeshNetworks) -> bool:
    """Whether a Service is meant to be a gateway, also where it has no address yet."""
    named = (g.registry_service_name for found in mesh.networks.values() for g in found.gateways)
    return topology.NETWORK in service.meta.labels or host in named


def _entrances(service: Object[ServiceSpec], host: str, mesh: MeshNetworks, cluster: str) -> Iterator[tuple[str, int]]:
    """Networks that the Service leads into, and its port for each."""
    if name := service.meta.labels.get(topology.NETWORK, ""):
        port = labelled_port(service)
        if any(p.port == port for p in service.spec.ports):
            yield name, port
        return
    for name, found in sorted(mesh.networks.items()):
        if any(each.from_registry == cluster for each in found.endpoints):
            yield from ((name, g.port) for g in found.gateways if g.registry_service_name == host)


def labelled_port(service: Object[ServiceSpec]) -> int:
    """The Service's port on which mutual TLS is passed on unopened."""
    text = service.meta.labels.get(GATEWAY_PORT, "")
    return int(text) if text.isdecimal() and len(text) <= 5 else _PASSTHROUGH_PORT


def _external(service: Object[ServiceSpec]) -> tuple[str, ...]:
    """Addresses at which a Service is reached from outside of its cluster; those that are names count too."""
    status = service.status if isinstance(service.status, ServiceStatus) else ServiceStatus()
    balanced = service.spec.type == "LoadBalancer"
    given = (each.ip or each.hostname for each in status.load_balancer.ingress if balanced)
    return tuple(dict.fromkeys(filter(None, (*given, *service.spec.external_i_ps))))


def problems(service: Object[ServiceSpec], host: str, mesh: MeshNetworks) -> Iterator[str]:
    """Why a Service that is meant to be a gateway is none, or not by all of its addresses."""
    if not is_candidate(service, host, mesh):
        return
    port = labelled_port(service)
    if topology.NETWORK in service.meta.labels and all(p.port != port for p in service.spec.ports):
        yield (
            f"no gateway of network {service.meta.labels[topology.NETWORK]}: it has no port {port}; add the port, or "
            f"name another by the label {GATEWAY_PORT}"
        )
    for name in _external(service):
        if not is_ip(name):
            yield f"network gateway {name} is left out: names are not resolved; give an IP address by spec.externalIPs"


def mesh_problems(mesh: MeshNetworks, cluster: str) -> Iterator[str]:
    """What of MeshNetworks leads nowhere in a mesh of this one cluster."""
    for name, found in sorted(mesh.networks.items()):
        at = f"data.meshNetworks.networks.{name}"
        for index, each in enumerate(found.endpoints):
            if each.from_registry and each.from_registry != cluster:
                text = f"{each.from_registry} is no cluster that is read; there is {cluster}"
                yield f"{at}.endpoints[{index}].fromRegistry: {text}"
        for index, gateway in enumerate(found.gateways):
            if gateway.address and not is_ip(gateway.address):
                text = f"{gateway.address} is left out: names are not resolved; give an IP address"
                yield f"{at}.gateways[{index}].address: {text}"


def selected_nodes(selector: str, nodes: Iterable[tuple[Labels, str]]) -> tuple[str, ...]:
    """Addresses of nodes that have all labels of a selector, which is written as JSON; none for one that is not."""
    try:
        wanted = msgspec.json.decode(selector or "{}", type=dict[str, str])
    except msgspec.DecodeError:
        return ()
    return tuple(sorted(address for labels, address in nodes if wanted.items() <= dict(labels).items()))
