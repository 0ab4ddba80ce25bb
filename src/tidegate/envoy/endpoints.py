"""Load assignments: the endpoints of a cluster by locality, with weights, health and priorities."""

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from tidegate.api.objects import Ref
from tidegate.envoy import locality, networks, protos, sessions
from tidegate.envoy.inputs import ClusterInput, EndpointsInput, PeersInput
from tidegate.envoy.policy import Policy, effective, seeded, subset_labels
from tidegate.envoy.resource import ENDPOINT, Origin, Resource, resource
from tidegate.kit import naming
from tidegate.kit.addresses import is_ip
from tidegate.registry.model import Endpoint, Health, Labels
from tidegate.registry.workloads import canonical_name, canonical_revision
from tidegate.scope.proxy import ProxyKind

UNIX = "unix://"
_LARGEST_WEIGHT = 2**32 - 1
_UNCHECKED = frozenset({"WorkloadEntry", "ServiceEntry", "Service", "ConfigMap"})
"""Kinds without readiness: their endpoints carry no health status, which Envoy takes for healthy."""


def build(given: EndpointsInput) -> Resource:
    """The load assignment of an EDS cluster. Endpoints that are host names stay out: EDS holds addresses only."""
    policy = seeded(effective(given.rule, given.port.number, given.subset), given.defaults)
    entered = bool(given.networks.gateways)
    found = of_families(select(given, policy), given.proxy)
    chosen = [e for e in found if is_address(e.address) or (entered and not e.address)]
    name = cluster_name(given)
    groups = networks.reachable(locality.group(chosen), given, policy)
    groups = locality.apply(_plan(given, policy), groups, given.proxy)
    if given.sni_dnat:
        groups = [_speaking_mutual_tls(group) for group in groups]
    others = _other_families(given.endpoints, given.proxy)
    return resource(name, ENDPOINT, _assignment(name, groups, policy, given.proxy, others), origins_of(groups))


def of_peers(given: PeersInput, name: str) -> Resource:
    """The load assignment that says who a proxy's peers are: one priority, localities as they are, no policy."""
    groups = locality.group(of_families(list(given.endpoints), given.proxy))
    return resource(name, ENDPOINT, _assignment(name, groups, Policy(), given.proxy), origins_of(groups))


def cluster_name(given: ClusterInput | EndpointsInput) -> str:
    named = naming.sni_cluster if given.sni_dnat else naming.outbound_cluster
    return named(given.port.number, given.subset, given.service.host)


def _speaking_mutual_tls(group: locality.Group) -> locality.Group:
    left = [e for e in group.endpoints if e.tls_mode == "istio"]
    weight = sum(locality.weight_of(e) for e in left)
    return locality.Group(group.locality, left, weight, group.priority)


def inline(given: ClusterInput, policy: Policy, name: str) -> tuple[Any, tuple[Origin, ...]] | None:
    """The load assignment that a DNS cluster carries itself, and where its endpoints come from; None without any."""
    chosen = [e for e in select(given, policy) if e.address]
    if not chosen:
        return None
    groups = locality.apply(_plan(given, policy), locality.group(chosen), given.proxy)
    return _assignment(name, groups, policy, given.proxy), origins_of(groups, "load_assignment.")


def select(given: ClusterInput | EndpointsInput, policy: Policy) -> list[Endpoint]:
    """The endpoints that this proxy may use: of the port and the subset, on its node where the service is
    node-local, and not draining, but where clients come back to theirs until it is gone. Unhealthy ones are sent so
    (Envoy then knows how many are down) unless minHealthPercent asks Envoy to count by itself; trafficDistribution
    needs them all the same, to know when to go farther."""
    labels = subset_labels(given.rule, given.subset) if given.subset else {}
    if labels is None:
        return []
    wanted = tuple(labels.items())
    node = given.proxy.node_name if given.service.node_local else ""
    view = given.proxy.network_view
    detection = policy.outlier_detection
    counts = detection is not None and detection.min_health_percent > 0 and not given.service.traffic_distribution
    drained = sessions.asked(given.service)
    port_name = given.port.name
    return [
        e
        for e in given.endpoints
        if e.port_name == port_name
        and (drained or e.health is not Health.DRAINING)
        and (not wanted or _has(e.labels, wanted))
        and (view is None or not e.network or e.network in view)
        and (not given.service.node_local or e.node_name == node)
        and not (counts and e.health is Health.UNHEALTHY)
    ]


def _has(labels: Labels, wanted: tuple[tuple[str, str], ...]) -> bool:
    mine = dict(labels)
    return all(mine.get(key) == value for key, value in wanted)


def is_address(address: str) -> bool:
    """True for an IP address and for a unix socket."""
    return is_ip(address) or address.startswith(UNIX)


def of_families(endpoints: list[Endpoint], proxy: ProxyKind) -> list[Endpoint]:
    """One endpoint of a Pod that has addresses of both IP families: the one of the family that the proxy has.

    To a proxy that has both, the IPv4 one stands for the Pod and :func:`_write` adds the other (Envoy tries both).
    """
    if not any(":" in e.address for e in endpoints):
        return endpoints
    sixth = {_pod(e) for e in endpoints if ":" in e.address} - {None}
    fourth = {_pod(e) for e in endpoints if ":" not in e.address} - {None}
    both = sixth & fourth
    drop_sixth = proxy.ipv4
    return [e for e in endpoints if _pod(e) not in both or (":" in e.address) != drop_sixth]


def _pod(endpoint: Endpoint) -> tuple[Ref, int] | None:
    source = endpoint.source
    return (source, endpoint.port) if source is not None and source.kind == "Pod" else None


def _other_families(endpoints: Iterable[Endpoint], proxy: ProxyKind) -> dict[tuple[Ref, int], str]:
    """IPv6 addresses of Pods, for proxies that have both families."""
    if not proxy.both_families:
        return {}
    return {pod: e.address for e in endpoints if ":" in e.address and (pod := _pod(e)) is not None}


def _plan(given: ClusterInput | EndpointsInput, policy: Policy) -> locality.Plan | None:
    return locality.plan(policy, given.service.traffic_distribution, given.defaults)


def _assignment(
    name: str,
    groups: list[locality.Group],
    policy: Policy,
    proxy: ProxyKind,
    others: dict[tuple[Ref, int], str] | None = None,
) -> Any:
    meshed = networks.speaks_mutual_tls(policy, proxy)
    message = protos.ClusterLoadAssignment(cluster_name=name)
    for group in groups:
        place = message.endpoints.add(priority=group.priority)
        if group.weight or group.endpoints:
            place.load_balancing_weight.value = min(group.weight, _LARGEST_WEIGHT)
        where = place.locality
        where.region, where.zone, where.sub_zone = locality.parts(group.locality)
        for endpoint in group.endpoints:
            member = place.lb_endpoints.add(health_status=_health(endpoint))
            _write(member, endpoint, proxy.cluster_id, meshed)
            pod = _pod(endpoint) if others and ":" not in endpoint.address else None
            if others and pod and (other := others.get(pod)):
                extra = member.endpoint.additional_addresses.add().address.socket_address
                extra.address, extra.port_value = other, endpoint.port
    return message


def _write(member: Any, endpoint: Endpoint, cluster_id: str, meshed: bool) -> None:
    if endpoint.address.startswith(UNIX):
        member.endpoint.address.pipe.path = endpoint.address.removeprefix(UNIX)
    else:
        address = member.endpoint.address.socket_address
        address.address, address.port_value = endpoint.address, endpoint.port
    member.load_balancing_weight.value = locality.weight_of(endpoint)
    described = workload_text(endpoint, cluster_id)
    if described:
        member.metadata.filter_metadata["istio"].fields["workload"].string_value = described
    if meshed and endpoint.tls_mode == "istio":
        member.metadata.filter_metadata["envoy.transport_socket_match"].fields["tlsMode"].string_value = "istio"


def _health(endpoint: Endpoint) -> int:
    """envoy.config.core.v3.HealthStatus."""
    if endpoint.health is not Health.HEALTHY:
        return 2 if endpoint.health is Health.UNHEALTHY else 3
    return 0 if endpoint.source is not None and endpoint.source.kind in _UNCHECKED else 1


def workload_text(endpoint: Endpoint, cluster_id: str) -> str:
    """Istio's short description of a workload for peers: name, namespace, canonical name and revision, cluster.

    The revision "latest" is left out, as Istio does. "" for an endpoint without workload.
    """
    if not endpoint.workload_name:
        return ""
    labels = dict(endpoint.labels)
    name = canonical_name(labels, endpoint.workload_name)
    revision = canonical_revision(labels)
    shown = "" if revision == "latest" else revision
    return f"{endpoint.workload_name};{endpoint.workload_namespace};{name};{shown};{cluster_id}"


def origins_of(groups: list[locality.Group], prefix: str = "") -> tuple[Origin, ...]:
    return tuple(
        Origin(_path(prefix, i, j), endpoint.source, endpoint.source_path)
        for i, group in enumerate(groups)
        for j, endpoint in enumerate(group.endpoints)
        if endpoint.source is not None
    )


@lru_cache(maxsize=4096)
def _path(prefix: str, group: int, member: int) -> str:
    """Made once: the same few paths stand in every load assignment."""
    return f"{prefix}endpoints[{group}].lb_endpoints[{member}]"
