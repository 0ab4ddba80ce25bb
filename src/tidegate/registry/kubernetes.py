"""Kubernetes Services with their EndpointSlices (or Endpoints) in the service model."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from msgspec.structs import replace

from tidegate.api.core import (
    EndpointAddress,
    EndpointConditions,
    EndpointPort,
    EndpointsBody,
    EndpointSliceBody,
    ServicePort,
    ServiceSpec,
    SliceEndpoint,
)
from tidegate.api.objects import Object, Ref
from tidegate.registry import protocols, topology, traffic
from tidegate.registry.addresses import is_ip
from tidegate.registry.model import (
    Endpoint,
    Health,
    Port,
    Registry,
    Resolution,
    Service,
    ServiceKey,
    Workload,
    labels_of,
)
from tidegate.registry.workloads import tls_mode

SERVICE_NAME = "kubernetes.io/service-name"
DRAINING = "istio.io/draining"
ACCOUNTS = "alpha.istio.io/canonical-serviceaccounts"

Pods = Callable[[Ref], Workload | None]
"""The workload of a Pod."""


def service_key(ref: Ref, domain: str) -> ServiceKey:
    return ServiceKey(ref.namespace, f"{ref.name}.{ref.namespace}.svc.{domain}")


def service(obj: Object[ServiceSpec], domain: str, namespace_annotations: Mapping[str, str]) -> Service:
    """The one Service that a Kubernetes Service makes; an ExternalName Service is an alias."""
    spec, annotations = obj.spec, obj.meta.annotations
    resolution = _resolution(spec)
    alias = resolution is Resolution.ALIAS
    return Service(
        key=service_key(obj.ref, domain),
        registry=Registry.KUBERNETES,
        resolution=resolution,
        ports=tuple(_port(p) for p in spec.ports),
        addresses=() if alias else tuple(a for a in spec.cluster_i_ps or (spec.cluster_ip,) if is_ip(a)),
        name=obj.ref.name,
        created=obj.meta.creation_timestamp,
        labels=labels_of(obj.meta.labels),
        selector=() if alias else labels_of(spec.selector),
        export_to=traffic.export_to(annotations),
        external=alias,
        external_name=spec.external_name.rstrip(".") if alias else "",
        publish_not_ready=spec.publish_not_ready_addresses,
        node_local=spec.internal_traffic_policy == "Local",
        traffic_distribution=traffic.distribution(spec.traffic_distribution, annotations, namespace_annotations),
        subject_alt_names=tuple(s.strip() for s in annotations.get(ACCOUNTS, "").split(",") if s.strip()),
        sources=(obj.ref,),
    )


def _resolution(spec: ServiceSpec) -> Resolution:
    if spec.type == "ExternalName":
        return Resolution.ALIAS
    return Resolution.PASSTHROUGH if spec.cluster_ip == "None" else Resolution.CLIENT_SIDE


def _port(port: ServicePort) -> Port:
    target = port.target_port
    number = port.port if target is None or target == "" or target == 0 else _number(target)
    return Port(port.port, port.name, protocols.of_service_port(port), number)


def _number(target: int | str) -> int:
    """A targetPort as a number; 0 for a name, which only the pods can resolve."""
    return target if isinstance(target, int) else int(target) if target.isdigit() else 0


def target_port(obj: Object[ServiceSpec], port: Port, workload: Workload) -> int:
    """The port of ``workload`` that a service port leads to; 0 when the workload has none of that name.

    A WorkloadEntry's port map is asked for the targetPort's name, or the service port's where that is a number.
    """
    spec = next((p for p in obj.spec.ports if p.port == port.number and p.name == port.name), None)
    named = isinstance(spec.target_port, str) and not spec.target_port.isdigit() if spec else False
    ports = dict(workload.ports)
    if named and spec is not None:
        return ports.get(str(spec.target_port), 0)
    if workload.ref.kind == "WorkloadEntry" and port.name in ports:
        return ports[port.name]
    return port.target_port or port.number


def endpoints_as_slice(body: EndpointsBody) -> Iterator[EndpointSliceBody]:
    """Legacy Endpoints in the shape of EndpointSlices, one for each subset."""
    for subset in body.subsets:
        ready = [_slice_endpoint(a, True) for a in subset.addresses]
        waiting = [_slice_endpoint(a, False) for a in subset.not_ready_addresses]
        yield EndpointSliceBody(endpoints=(*ready, *waiting), ports=subset.ports)


def _slice_endpoint(address: EndpointAddress, ready: bool) -> SliceEndpoint:
    return SliceEndpoint(
        addresses=(address.ip,),
        conditions=EndpointConditions(ready=ready),
        hostname=address.hostname,
        target_ref=address.target_ref,
        node_name=address.node_name,
    )


def slice_endpoints(
    owner: Service, slices: Iterable[tuple[Ref, EndpointSliceBody]], pods: Pods, cluster: str
) -> tuple[Endpoint, ...]:
    """What the slices list, once per address and port. ``slices`` come in a fixed order, the first mention wins.

    Endpoints of Pods that are not known (yet) are left out: without their labels and identity they would take
    traffic of the wrong subset, or in plain text.
    """
    ports = {p.name for p in owner.ports}
    found: dict[tuple[str, int, str], Endpoint] = {}
    for ref, body in slices:
        served = [p for p in body.ports if p.port and p.name in ports]
        for index, item in enumerate(body.endpoints if served and body.address_type != "FQDN" else ()):
            base = _slice_base(owner, ref, index, item, pods, cluster)
            if base is None:
                continue
            for port in served:
                found.setdefault((base.address, port.port or 0, port.name), _with_port(base, port))
    return tuple(found.values())


def _slice_base(owner: Service, ref: Ref, index: int, item: SliceEndpoint, pods: Pods, cluster: str) -> Endpoint | None:
    """The endpoint without its port; None when it is not to be called."""
    health = _health(item.conditions)
    target = item.target_ref
    if health is None or not item.addresses or not is_ip(item.addresses[0]):
        return None
    if target is None or target.kind != "Pod":
        return Endpoint(
            item.addresses[0],
            0,
            "",
            labels=topology.with_topology({}, cluster=cluster, locality="", network=""),
            health=health,
            node_name=item.node_name,
            hostname=item.hostname,
            source=ref,
            source_path=f"endpoints[{index}]",
        )
    pod = pods(Ref("Pod", target.namespace or owner.namespace, target.name))
    if pod is None:
        return None
    base = workload_endpoint(pod, item.addresses[0], 0, "", cluster)
    return _with_slice(base, health, item, pod)


def _with_slice(base: Endpoint, health: Health, item: SliceEndpoint, pod: Workload) -> Endpoint:
    draining = any(k == DRAINING for k, _ in pod.labels)
    return replace(
        base,
        health=Health.DRAINING if draining and health is Health.HEALTHY else health,
        node_name=item.node_name or base.node_name,
        hostname=item.hostname or base.hostname,
    )


def _health(conditions: EndpointConditions) -> Health | None:
    """Health by discovery/v1's three conditions; None for an endpoint that has stopped serving for good."""
    if conditions.ready is not False:
        return Health.HEALTHY
    if conditions.terminating:
        return None if conditions.serving is False else Health.DRAINING
    return Health.UNHEALTHY


def entry_endpoints(
    owner: Service, obj: Object[ServiceSpec], entries: Sequence[Workload], cluster: str, taken: Iterable[Endpoint]
) -> tuple[Endpoint, ...]:
    """WorkloadEntries that the Service selects, but for what the slices list already."""
    known = {(e.address, e.port, e.port_name) for e in taken}
    found: list[Endpoint] = []
    for entry in entries:
        address = entry.address
        for port in owner.ports if entry.ready and (is_ip(address) or not address) else ():
            number = target_port(obj, port, entry)
            if number and (address, number, port.name) not in known:
                found.append(workload_endpoint(entry, address, number, port.name, cluster))
    return tuple(found)


def workload_endpoint(workload: Workload, address: str, port: int, port_name: str, cluster: str) -> Endpoint:
    """An endpoint with the identity and place of ``workload``."""
    labels = dict(workload.labels)
    implied = workload.service_account if workload.ref.kind == "WorkloadEntry" else ""
    return Endpoint(
        address=address,
        port=port,
        port_name=port_name,
        labels=topology.with_topology(
            labels,
            cluster=cluster,
            locality=workload.locality,
            network=workload.network,
            node=workload.node_name,
        ),
        locality=workload.locality,
        network=workload.network,
        weight=workload.weight,
        service_account=workload.service_account,
        tls_mode=tls_mode(labels, implied),
        workload_name=workload.workload_name,
        workload_namespace=workload.namespace,
        node_name=workload.node_name,
        hostname=workload.hostname,
        subdomain=workload.subdomain,
        source=workload.ref,
        source_path="spec" if workload.ref.kind == "WorkloadEntry" else "status.podIP",
    )


def _with_port(base: Endpoint, port: EndpointPort) -> Endpoint:
    return replace(base, port=port.port or 0, port_name=port.name)
