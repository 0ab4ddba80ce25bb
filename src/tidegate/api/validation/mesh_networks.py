"""Rules for MeshNetworks."""

from tidegate.api.meshnetworks import IstioNetworkGateway, MeshNetworks, NetworkEndpoints
from tidegate.api.validation import names
from tidegate.api.validation.findings import Findings


def check_mesh_networks(mesh: MeshNetworks, out: Findings, path: str = "networks") -> None:
    for name, network in mesh.networks.items():
        for index, endpoints in enumerate(network.endpoints):
            _check_endpoints(f"{path}.{name}.endpoints[{index}]", endpoints, out)
        for index, gateway in enumerate(network.gateways):
            _check_gateway(f"{path}.{name}.gateways[{index}]", gateway, out)


def _check_endpoints(path: str, endpoints: NetworkEndpoints, out: Findings) -> None:
    if endpoints.from_cidr:
        names.check_subnet(f"{path}.fromCidr", endpoints.from_cidr, out)
    if endpoints.from_registry:
        names.check_label(f"{path}.fromRegistry", endpoints.from_registry, out)


def _check_gateway(path: str, gateway: IstioNetworkGateway, out: Findings) -> None:
    if gateway.registry_service_name:
        names.check_fqdn(f"{path}.registryServiceName", gateway.registry_service_name, out)
    if gateway.address and not names.is_ip(gateway.address) and names.fqdn_problem(gateway.address):
        out.error(f"{path}.address", "must be an IP address or a DNS name", gateway.address)
    names.check_port(f"{path}.port", gateway.port, out)
