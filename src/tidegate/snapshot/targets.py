"""Which service ports a workload serves."""

from collections.abc import Iterator

from immutables import Map, MapMutation

from tidegate.registry import kubernetes, serviceentry
from tidegate.registry.model import (
    Endpoint,
    Labels,
    Port,
    Protocol,
    Registry,
    Resolution,
    Service,
    ServiceKey,
    ServiceTarget,
    Workload,
)
from tidegate.snapshot.record import Pair, State


def of(state: State, workload: Workload) -> tuple[ServiceTarget, ...]:
    """By selector, and by address for services without one; oldest service first, ports in their order."""
    keys = {*selected_by(state.selecting, state.selectors, workload), *_listing(state, workload)}
    services = sorted((s for k in keys if (s := state.services.get(k))), key=lambda s: s.age_key)
    return tuple(target for service in services for target in _targets(state, service, workload))


def selected_by(
    selecting: Map[Pair, Map[ServiceKey, None]] | MapMutation[Pair, Map[ServiceKey, None]],
    selectors: Map[ServiceKey, tuple[Labels, ...]] | MapMutation[ServiceKey, tuple[Labels, ...]],
    workload: Workload,
) -> Iterator[ServiceKey]:
    """Services of the workload's namespace that have a selector which it meets; some more than once."""
    for name, value in workload.labels:
        for key in selecting.get((workload.namespace, name, value), ()):
            if any(s[0] == (name, value) and workload.selected_by(s) for s in selectors.get(key, ())):
                yield key


def _listing(state: State, workload: Workload) -> Iterator[ServiceKey]:
    """Services of its namespace with the workload, or an address of it, among their endpoints. Those of others do not
    count: nobody opens ports of a workload from outside of its namespace."""
    for address in workload.addresses:
        for key in state.serving.get(address, ()):
            if key.namespace == workload.namespace and any(_is_for(e, workload) for e in state.endpoints.get(key, ())):
                yield key


def _is_for(endpoint: Endpoint, workload: Workload) -> bool:
    """An endpoint that names its workload is that workload's alone, however many share the address."""
    if endpoint.address not in workload.addresses:
        return False
    named = endpoint.source is not None and endpoint.source.kind in ("Pod", "WorkloadEntry")
    return endpoint.source == workload.ref if named else True


def _targets(state: State, service: Service, workload: Workload) -> Iterator[ServiceTarget]:
    if service.resolution is Resolution.ALIAS:
        return
    listed: dict[str, dict[int, None]] = {}
    for endpoint in state.endpoints.get(service.key, ()):
        if _is_for(endpoint, workload):
            listed.setdefault(endpoint.port_name, {})[endpoint.port] = None
    for port in service.ports:
        numbers = listed.get(port.name) or dict.fromkeys(_by_selector(state, service, port, workload))
        for number in numbers if port.protocol is not Protocol.UDP else ():
            yield ServiceTarget(service, port, number)


def _by_selector(state: State, service: Service, port: Port, workload: Workload) -> Iterator[int]:
    """The port of a workload that is selected but not listed yet: a Pod before its slice, or before it is ready."""
    if service.registry is Registry.KUBERNETES:
        obj = state.objects.get(service.sources[0])
        if obj is not None and service.selector and _may_select(service, workload):
            number = kubernetes.target_port(obj, port, workload)
            yield from (number,) if number else ()
        return
    for ref in service.sources:
        entry = state.objects.get(ref)
        selector = serviceentry.selector_of(entry) if entry is not None else ()
        if entry is not None and selector and workload.selected_by(selector):
            own = next((p for p in entry.spec.ports if p.name == port.name), None)
            yield from (serviceentry.target_port(own, workload),) if own else ()
            return


def _may_select(service: Service, workload: Workload) -> bool:
    return service.namespace == workload.namespace and workload.selected_by(service.selector)
