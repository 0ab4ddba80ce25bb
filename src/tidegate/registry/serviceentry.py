"""ServiceEntries, with the workloads they select, in the service model.

A host of a ServiceEntry is one Service. ServiceEntries of one namespace that name the same host share it: the oldest
gives it its nature, the others add ports, addresses and endpoints.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from msgspec.structs import replace

from tidegate.api.networking import (
    ServiceEntry,
    ServiceEntryLocation,
    ServiceEntryResolution,
    ServicePort,
    WorkloadEntry,
)
from tidegate.api.objects import Object, Ref
from tidegate.kit.hosts import is_wildcard
from tidegate.registry import protocols, topology, traffic
from tidegate.registry.addresses import is_ip, is_unix, virtual_address
from tidegate.registry.kubernetes import workload_endpoint
from tidegate.registry.model import (
    Endpoint,
    Labels,
    Part,
    Port,
    Registry,
    Resolution,
    Service,
    ServiceKey,
    Workload,
    labels_of,
)
from tidegate.registry.workloads import WORKLOAD_NAME, tls_mode

AUTO_ALLOCATE = "networking.istio.io/enable-autoallocate-ip"
CONNECT_STRATEGY, RACE = "istio.io/connect-strategy", "RACE_FIRST_TCP_CONNECT"

_RESOLUTIONS = {
    ServiceEntryResolution.NONE: Resolution.PASSTHROUGH,
    ServiceEntryResolution.STATIC: Resolution.CLIENT_SIDE,
    ServiceEntryResolution.DNS: Resolution.DNS,
    ServiceEntryResolution.DNS_ROUND_ROBIN: Resolution.DNS_ROUND_ROBIN,
    ServiceEntryResolution.DYNAMIC_DNS: Resolution.DYNAMIC_DNS,
}
_BY_NAME = (Resolution.DNS, Resolution.DNS_ROUND_ROBIN)
"""Resolutions whose endpoints may be host names."""

Note = tuple[Object[ServiceEntry], str]
"""An entry, and what of it is left out and why."""


class Merged(NamedTuple):
    """One host of one namespace, and the entries whose endpoints it has."""

    service: Service
    entries: tuple[Object[ServiceEntry], ...]
    notes: tuple[Note, ...] = ()


def selector_of(entry: Object[ServiceEntry]) -> Labels:
    selector = entry.spec.workload_selector
    return labels_of(selector.labels) if selector else ()


def merge(key: ServiceKey, entries: Sequence[Object[ServiceEntry]], namespace_annotations: Mapping[str, str]) -> Merged:
    """The Service that all ``entries`` (oldest first, at least one) make of ``key.host``.

    An entry that differs in resolution, selector, labels or exportTo adds no ports and no addresses, as in
    istiod; its endpoints count where resolution and port name are those of the Service. The ports of an entry are
    served at its own addresses only.
    """
    first = service(key, entries[0], namespace_annotations)
    alike, sources = [first], [entries[0].ref]
    members, notes = [entries[0]], list(_own_notes(entries[0]))
    for entry in entries[1:]:
        other = service(key, entry, namespace_annotations)
        notes.extend(_own_notes(entry))
        if other.resolution is not first.resolution:
            notes.append((entry, f"host {key.host} is left out: {entries[0].ref} is older and has another resolution"))
            continue
        members.append(entry)
        sources.append(entry.ref)
        if differing := _difference(first, other):
            notes.append(
                (entry, f"ports of host {key.host} are left out: {entries[0].ref} is older, {differing} differ")
            )
            continue
        alike.append(other)
    return Merged(_together(alike, sources), tuple(members), tuple(notes))


def _together(alike: list[Service], sources: list[Ref]) -> Service:
    """One service of those that differ in ports and addresses only; the oldest first."""
    first = replace(alike[0], sources=tuple(sources))
    if len(alike) == 1:
        return first
    ports = list(first.ports)
    for each in alike[1:]:
        ports.extend(p for p in each.ports if p.number not in {known.number for known in ports})
    parts = tuple(Part(tuple(p.number for p in s.ports), s.addresses, s.auto_addresses) for s in alike)
    places = {(part.addresses, part.auto_addresses) for part in parts}
    return replace(
        first,
        ports=tuple(ports),
        addresses=tuple(dict.fromkeys(a for part in parts for a in part.addresses)),
        auto_addresses=tuple(dict.fromkeys(a for part in parts for a in part.auto_addresses)),
        parts=parts if len(places) > 1 else (),
    )


def _difference(first: Service, other: Service) -> str:
    """The first thing that keeps two services of one host from sharing their ports; "" for none."""
    fields = {"selector": "workloadSelectors", "labels": "labels", "export_to": "exportTo"}
    return next((words for name, words in fields.items() if getattr(first, name) != getattr(other, name)), "")


def beside(kubernetes: Service, entries: Sequence[Object[ServiceEntry]]) -> Merged:
    """What entries add to a Kubernetes Service of the same host and namespace: endpoints, of like resolution only."""
    alike = tuple(e for e in entries if _RESOLUTIONS[e.spec.resolution] is kubernetes.resolution)
    text = f"host {kubernetes.host} is the Service's: the entry adds {{}} to it"
    notes = tuple((e, text.format("endpoints only" if e in alike else "nothing")) for e in entries)
    return Merged(kubernetes, alike, notes)


def _own_notes(entry: Object[ServiceEntry]) -> Iterator[Note]:
    """What is wrong with an entry by itself."""
    for address in entry.spec.addresses:
        if virtual_address(address) is None:
            yield entry, f"spec.addresses: {address!r} is left out: an IP address or CIDR is expected"
    if entry.spec.resolution is not ServiceEntryResolution.NONE:
        by_name = _RESOLUTIONS[entry.spec.resolution] in _BY_NAME
        for index, endpoint in enumerate(entry.spec.endpoints):
            if not _usable(endpoint.address, by_name, endpoint.network):
                yield entry, f"spec.endpoints[{index}].address: {endpoint.address!r} is left out: not an IP address"


def service(key: ServiceKey, entry: Object[ServiceEntry], namespace_annotations: Mapping[str, str]) -> Service:
    """The Service that one entry alone makes of ``key.host``."""
    spec, annotations = entry.spec, entry.meta.annotations
    return Service(
        key=key,
        registry=Registry.EXTERNAL,
        resolution=_RESOLUTIONS[spec.resolution],
        ports=_ports(spec.ports),
        addresses=tuple(a for a in map(virtual_address, spec.addresses) if a),
        auto_addresses=_auto_addresses(key.host, entry),
        name=entry.ref.name,
        created=entry.meta.creation_timestamp,
        labels=labels_of(entry.meta.labels),
        selector=selector_of(entry),
        export_to=frozenset(spec.export_to) or None,
        external=spec.location is ServiceEntryLocation.MESH_EXTERNAL,
        traffic_distribution=traffic.distribution("", annotations, namespace_annotations),
        subject_alt_names=spec.subject_alt_names,
        sources=(entry.ref,),
        connect_race=annotations.get(CONNECT_STRATEGY) == RACE,
    )


def _ports(ports: tuple[ServicePort, ...]) -> tuple[Port, ...]:
    return tuple(Port(p.number, p.name, protocols.from_word(p.protocol), p.target_port or p.number) for p in ports)


def _auto_addresses(host: str, entry: Object[ServiceEntry]) -> tuple[str, ...]:
    """Addresses that were allocated to the host and still apply to it."""
    spec = entry.spec
    opted_out = entry.meta.labels.get(AUTO_ALLOCATE) == "false"
    if spec.addresses or spec.resolution is ServiceEntryResolution.NONE or opted_out:
        return ()
    status: Any = entry.status if isinstance(entry.status, Mapping) else {}
    allocated = [a for a in status.get("addresses") or () if a.get("host", host) == host]
    return tuple(str(a["value"]) for a in allocated if is_ip(str(a.get("value"))))


def endpoints(merged: Merged, selected: Mapping[Labels, Sequence[Workload]], cluster: str) -> tuple[Endpoint, ...]:
    """Every endpoint of the host, entry by entry; ``selected`` has the workloads of each entry's selector.

    DNS_ROUND_ROBIN has one endpoint for each port: the first.
    """
    names = {p.name for p in merged.service.ports}
    found: list[Endpoint] = []
    for entry in merged.entries:
        made = _entry_endpoints(merged.service, entry, selected, cluster)
        found.extend(e for e in made if e.port_name in names)
    if merged.service.resolution is Resolution.DNS_ROUND_ROBIN:
        return tuple({(e.port_name, e.service_port): e for e in reversed(found)}.values())[::-1]
    return tuple(found)


def _entry_endpoints(
    owner: Service, entry: Object[ServiceEntry], selected: Mapping[Labels, Sequence[Workload]], cluster: str
) -> Iterable[Endpoint]:
    if selector := selector_of(entry):
        return _selected(owner, entry, selected.get(selector, ()), cluster)
    if entry.spec.endpoints:
        return _inline(owner, entry, cluster)
    if owner.resolution in _BY_NAME and not is_wildcard(owner.host):
        return _implied(owner, entry, cluster)
    return ()


def _inline(owner: Service, entry: Object[ServiceEntry], cluster: str) -> Iterator[Endpoint]:
    by_name = owner.resolution in _BY_NAME
    for index, item in enumerate(entry.spec.endpoints):
        if _usable(item.address, by_name, item.network):
            base = _inline_base(entry, index, item, cluster)
            for port in entry.spec.ports:
                number = 0 if is_unix(item.address) else item.ports.get(port.name) or port.target_port or port.number
                yield base(number, port.name, port.number if by_name else 0)


def _usable(address: str, by_name: bool, network: str) -> bool:
    """Without an address, an endpoint is reached by the gateways of its network."""
    if not address:
        return bool(network) and not by_name
    return by_name or is_ip(address) or is_unix(address)


def _inline_base(entry: Object[ServiceEntry], index: int, item: WorkloadEntry, cluster: str) -> Any:
    """Everything of an inline endpoint but its port."""
    locality = item.locality or topology.from_labels(item.labels)
    network = item.network or item.labels.get(topology.NETWORK, "")
    labels = topology.with_topology(item.labels, cluster=cluster, locality=locality, network=network)
    mode = tls_mode(item.labels, item.service_account)
    name = item.labels.get(WORKLOAD_NAME) or f"{entry.ref.name}-{index}"
    path = f"spec.endpoints[{index}]"

    def build(port: int, port_name: str, service_port: int) -> Endpoint:
        return Endpoint(
            address=item.address,
            port=port,
            port_name=port_name,
            service_port=service_port,
            labels=labels,
            locality=locality,
            network=network,
            weight=item.weight,
            service_account=item.service_account,
            tls_mode=mode,
            workload_name=name,
            workload_namespace=entry.ref.namespace,
            source=entry.ref,
            source_path=path,
        )

    return build


def _implied(owner: Service, entry: Object[ServiceEntry], cluster: str) -> Iterator[Endpoint]:
    """A host that DNS resolves is its own endpoint."""
    labels = topology.with_topology({}, cluster=cluster, locality="", network="")
    index = entry.spec.hosts.index(owner.host)
    for port in entry.spec.ports:
        yield Endpoint(
            address=owner.host,
            port=port.target_port or port.number,
            port_name=port.name,
            service_port=port.number,
            labels=labels,
            workload_name=entry.ref.name,
            workload_namespace=entry.ref.namespace,
            source=entry.ref,
            source_path=f"spec.hosts[{index}]",
        )


def _selected(
    owner: Service, entry: Object[ServiceEntry], workloads: Sequence[Workload], cluster: str
) -> Iterator[Endpoint]:
    """Ready workloads; those with a host name or a socket belong only to services that DNS resolves."""
    by_name = owner.resolution in _BY_NAME
    taken: set[tuple[str, int, str]] = set()
    for workload in sorted(workloads, key=lambda w: w.ref.kind != "WorkloadEntry"):
        address, pod = workload.address, workload.ref.kind == "Pod"
        known = by_name or is_ip(address) if address else _usable(address, by_name, workload.network)
        if not workload.ready or not known:
            continue
        for port in entry.spec.ports:
            place = (address, target_port(port, workload), port.name)
            if not (pod and place in taken):
                taken.add(place)
                made = workload_endpoint(workload, *place, cluster)
                yield replace(made, service_port=port.number) if by_name else made


def target_port(port: ServicePort, workload: Workload) -> int:
    """The workload's port for a service port: none for a socket, its own map, targetPort, the port itself."""
    if is_unix(workload.address):
        return 0
    own = dict(workload.ports).get(port.name, 0) if workload.ref.kind == "WorkloadEntry" else 0
    return own or port.target_port or port.number
