"""Endpoints of other networks, in place of which their network's gateways are called. Pure.

What istiod does is done: weights are shared among the gateways of a network, and only endpoints that are spoken to in
mutual TLS are reached so, since a gateway tells by the server name where a connection is to go. Of a network without
any gateway the endpoints are called directly.
"""

from msgspec.structs import replace

from tidegate.api.networking import ClientTLSSettingsMode
from tidegate.envoy import locality
from tidegate.envoy.inputs import EndpointsInput
from tidegate.envoy.policy import Policy
from tidegate.registry import topology
from tidegate.registry.model import Endpoint
from tidegate.registry.networks import NetworkGateway
from tidegate.scope.proxy import ProxyKind

_LARGEST = 2**32 - 1


def speaks_mutual_tls(policy: Policy, proxy: ProxyKind) -> bool:
    """Whether connections under this policy are mutual TLS wherever the endpoint takes it."""
    tls = policy.tls
    return proxy.mtls and (tls is None or tls.mode is ClientTLSSettingsMode.ISTIO_MUTUAL)


def reachable(groups: list[locality.Group], given: EndpointsInput, policy: Policy) -> list[locality.Group]:
    """The groups with gateways in place of what lies behind them; as they are in a mesh without gateways."""
    if not given.networks.gateways:
        return groups
    meshed = speaks_mutual_tls(policy, given.proxy)
    return [_of(g, _through(g.endpoints, given, meshed)) for g in groups]


def _of(group: locality.Group, endpoints: list[Endpoint]) -> locality.Group:
    return locality.Group(group.locality, endpoints, sum(map(locality.weight_of, endpoints)), group.priority)


def _through(endpoints: list[Endpoint], given: EndpointsInput, meshed: bool) -> list[Endpoint]:
    scale, proxy = given.networks.scale, given.proxy
    direct: list[Endpoint] = []
    shares: dict[NetworkGateway, int] = {}
    for endpoint in endpoints:
        weight = min(locality.weight_of(endpoint) * scale, _LARGEST)
        gateways = _between(endpoint, given)
        if not gateways:
            direct += [replace(endpoint, weight=weight)] if endpoint.address else []
        elif meshed and endpoint.tls_mode == "istio":
            usable = [g for g in gateways if (proxy.ipv6 if ":" in g.address else proxy.ipv4)]
            for gateway in usable:
                shares[gateway] = shares.get(gateway, 0) + weight // len(usable)
    ordered = sorted(shares, key=lambda g: (g.address, g.port, g.network, g.cluster))
    return direct + [_entrance(each, shares[each]) for each in ordered]


def _between(endpoint: Endpoint, given: EndpointsInput) -> tuple[NetworkGateway, ...]:
    """The gateways that stand between the proxy and an endpoint; none for one of the proxy's own network, and for one
    of which nobody knows where it lies. A proxy that does not know its own network enters each by its gateways."""
    if not endpoint.network or endpoint.network == given.proxy.network:
        return ()
    return given.networks.entered_by(endpoint.network, dict(endpoint.labels).get(topology.CLUSTER, ""))


def _entrance(gateway: NetworkGateway, weight: int) -> Endpoint:
    labels = topology.with_topology({}, cluster=gateway.cluster, locality="", network=gateway.network)
    return Endpoint(
        address=gateway.address,
        port=gateway.port,
        port_name="",
        labels=labels,
        network=gateway.network,
        weight=max(weight, 1),
        tls_mode="istio",
        source=gateway.source,
        source_path="status.loadBalancer" if gateway.cluster else "data.meshNetworks",
    )
