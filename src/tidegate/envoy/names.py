"""What proxies that answer DNS themselves are told of names: the name table, one resource a name. Pure.

The rules are those of Istio's name table: a service gives its addresses, one without any that is not balanced
(headless) those of its endpoints, and each Pod with a host name its own.
"""

from collections.abc import Callable, Iterable, Iterator

from tidegate.envoy.domains import visible_addresses
from tidegate.envoy.resource import Resource, of_bytes
from tidegate.kit.addresses import is_ip
from tidegate.kit.nametable import TYPE_URL, NameInfo, encode
from tidegate.registry import topology
from tidegate.registry.model import Endpoint, Health, Registry, Resolution, Service
from tidegate.scope.proxy import ProxyKind

Entry = tuple[str, NameInfo]
EndpointsOf = Callable[[Service], Iterable[Endpoint]]


def of_host(
    services: Iterable[Service], endpoints_of: EndpointsOf, proxy: ProxyKind, *, multicluster_headless: bool = False
) -> tuple[Entry, ...]:
    """Names that the definitions of one host give a proxy, the host's own first.

    ServiceEntries of one host add their addresses up; a Kubernetes Service takes the host from them.
    """
    found: dict[str, NameInfo] = {}
    for service in services:
        for name, info in _of_service(service, endpoints_of, proxy, multicluster_headless):
            found[name] = _joined(found.get(name), info)
    return tuple(found.items())


def resource_of(name: str, info: NameInfo) -> Resource:
    """One name as a resource of the discovery protocol."""
    return of_bytes(name, TYPE_URL, encode(info))


def _joined(before: NameInfo | None, info: NameInfo) -> NameInfo:
    if before is None or info.registry != before.registry:
        wins = before is None or info.registry == Registry.KUBERNETES.value
        return info if wins or before is None else before
    if info.registry == Registry.KUBERNETES.value:
        return before
    return NameInfo(tuple(dict.fromkeys((*before.ips, *info.ips))), info.registry)


def _of_service(
    service: Service, endpoints_of: EndpointsOf, proxy: ProxyKind, everywhere: bool
) -> Iterator[tuple[str, NameInfo]]:
    visible = visible_addresses(service, proxy)
    if visible:
        ips = tuple(a for a in visible if is_ip(a))
        if ips:
            yield service.host, _info(service, ips, service.name)
        return
    if service.resolution is not Resolution.PASSTHROUGH:
        return
    usable = [e for e in endpoints_of(service) if _usable(e, service, proxy)]
    near = [e for e in usable if everywhere or _same_cluster(e, proxy)]
    if near:
        yield service.host, _info(service, _addresses(near), service.name)
    yield from _of_pods(service, usable, proxy)


def _of_pods(service: Service, usable: list[Endpoint], proxy: ProxyKind) -> Iterator[tuple[str, NameInfo]]:
    """``<hostname>.<subdomain>`` beside the service's name; Pods of the proxy's own cluster win."""
    _, _, rest = service.host.partition(".")
    pods: dict[str, list[Endpoint]] = {}
    for endpoint in usable:
        if endpoint.hostname and endpoint.subdomain and rest:
            pods.setdefault(f"{endpoint.hostname}.{endpoint.subdomain}", []).append(endpoint)
    for short, members in pods.items():
        local = [e for e in members if _same_cluster(e, proxy)]
        yield f"{short}.{rest}", _info(service, _addresses(local or members), short)


def _info(service: Service, ips: tuple[str, ...], short: str) -> NameInfo:
    if service.registry is not Registry.KUBERNETES:
        return NameInfo(ips, service.registry.value)
    return NameInfo(ips, service.registry.value, short, service.namespace)


def _addresses(endpoints: Iterable[Endpoint]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(e.address for e in endpoints if is_ip(e.address)))


def _usable(endpoint: Endpoint, service: Service, proxy: ProxyKind) -> bool:
    """Reachable without a gateway, by an address family of the proxy's, and ready where that is asked."""
    if proxy.network and endpoint.network and endpoint.network != proxy.network:
        return False
    if not (proxy.ipv6 if ":" in endpoint.address else proxy.ipv4):
        return False
    return service.publish_not_ready or endpoint.health is Health.HEALTHY


def _same_cluster(endpoint: Endpoint, proxy: ProxyKind) -> bool:
    cluster = dict(endpoint.labels).get(topology.CLUSTER, "")
    return not cluster or not proxy.cluster_id or cluster == proxy.cluster_id
