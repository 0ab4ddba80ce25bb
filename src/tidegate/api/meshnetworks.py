"""MeshNetworks: which endpoints lie in which network, and by which gateways others reach it.

https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/#MeshNetworks
"""

from typing import Annotated

from tidegate.api.fields import Message, UInt32, doc


class NetworkEndpoints(Message, frozen=True):
    """mesh.v1alpha1.Network.NetworkEndpoints."""

    from_cidr: Annotated[str | None, doc("addresses of the network", oneof="ne")] = None
    from_registry: Annotated[str | None, doc("cluster of the network", oneof="ne")] = None


class IstioNetworkGateway(Message, frozen=True):
    """mesh.v1alpha1.Network.IstioNetworkGateway."""

    registry_service_name: Annotated[str | None, doc("host of the gateway's Service", oneof="gw")] = None
    address: Annotated[str | None, doc("the gateway's IP or host", oneof="gw")] = None
    port: Annotated[UInt32, doc("port of the gateway")] = 0
    locality: Annotated[str, doc("where the gateway is")] = ""


class Network(Message, frozen=True):
    """mesh.v1alpha1.Network."""

    endpoints: Annotated[tuple[NetworkEndpoints, ...], doc("members")] = ()
    gateways: Annotated[tuple[IstioNetworkGateway, ...], doc("entry points")] = ()


class MeshNetworks(Message, frozen=True):
    """mesh.v1alpha1.MeshNetworks."""

    networks: Annotated[dict[str, Network], doc("by their names")] = {}
