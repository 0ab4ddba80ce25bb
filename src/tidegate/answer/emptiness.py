"""Why a cluster has nobody to send a connection to: the answer to a 503 with flag UH."""

from collections.abc import Iterable, Iterator

from tidegate.answer import subsets
from tidegate.answer.absence import Absence
from tidegate.answer.case import Case, service_of
from tidegate.api.objects import Ref
from tidegate.kit import naming
from tidegate.registry.model import Endpoint, Health, Labels, Port, Registry, Resolution, Service, Workload
from tidegate.snapshot.world import World

_MOST = 4
"""Names that are told of many."""


def empty(case: Case) -> Iterator[Absence]:
    """What keeps the service behind the chosen cluster, or its subset, from having an endpoint."""
    service, parsed = service_of(case), naming.parse_cluster(case.end.cluster)
    if service is None or parsed is None or not service.sources:
        return
    if service.resolution is Resolution.PASSTHROUGH and service.registry is Registry.EXTERNAL:
        words = (
            "has resolution NONE: it sends to the address that the caller dialled, and this proxy is not told of one"
        )
        yield Absence(service.sources[0], "spec.resolution", words, strong=False)
        return
    port = service.port(parsed.port)
    ends = of_port(case.world, service, port)
    if parsed.subset and ends:
        yield from subsets.empty(case)
    elif ends:
        yield from _unused(service.sources[0], ends)
    else:
        yield without_endpoints(case.world, service, port)


def of_port(world: World, service: Service, port: Port | None) -> list[Endpoint]:
    """A service's endpoints for one of its ports; None: for all of them."""
    return [end for end in world.endpoints.get(service.key, ()) if port is None or end.port_name == port.name]


def without_endpoints(world: World, service: Service, port: Port | None) -> Absence:
    """Why a service that has its endpoints from objects has none for a port."""
    owner = service.sources[0]
    if not service.selector:
        return Absence(owner, "", _unlisted(service), strong=False)
    field = "spec.selector" if service.registry is Registry.KUBERNETES else "spec.workloadSelector"
    return Absence(owner, field, _unselected(world, service, port), strong=False)


def _unlisted(service: Service) -> str:
    if service.registry is Registry.KUBERNETES:
        return "has no selector, and no EndpointSlice lists an address for it"
    return "has neither endpoints nor a workloadSelector"


def _unselected(world: World, service: Service, port: Port | None) -> str:
    """Of a service whose selector brings it no endpoint."""
    mine = [w for ref, w in world.workloads.items() if ref.namespace == service.namespace]
    chosen = [w for w in mine if w.selected_by(service.selector)]
    asked = _listed(service.selector)
    if not chosen:
        near = _told(f"{w.ref} has {_having(w, service.selector)}" for w in mine if _having(w, service.selector))
        return f"selects {asked}, which no workload of namespace {service.namespace} has{near}"
    ready = [w for w in chosen if w.ready]
    if not ready:
        return f"selects {asked}, and none of those workloads is ready: {_names(w.ref for w in chosen)}"
    called = f"port {port.number}" if port is not None else "the port"
    return f"selects {_names(w.ref for w in ready)}, and targetPort of {called} names a port that none of them has"


def _unused(owner: Ref, ends: Iterable[Endpoint]) -> Iterator[Absence]:
    """Endpoints that exist, and that the proxy does not choose."""
    found = list(ends)
    well = [end for end in found if end.health is Health.HEALTHY]
    if well:
        places = ", ".join(sorted({end.locality or "none" for end in well}))
        words = f"has endpoints (locality: {places}), and the weights for this proxy's own locality leave them out"
    else:
        words = f"has no endpoint that is ready: {_names(dict.fromkeys(end.source or owner for end in found))}"
    yield Absence(owner, "", words, strong=False)


def _having(workload: Workload, wanted: Labels) -> str:
    """What a workload has under the labels that are asked for; "" where it lacks them all."""
    mine = dict(workload.labels)
    return ", ".join(f"{key}={mine[key]}" for key, _ in wanted if key in mine)


def _told(near: Iterable[str]) -> str:
    found = list(near)[:_MOST]
    return f" ({'; '.join(found)})" if found else ""


def _names(refs: Iterable[Ref]) -> str:
    found = [str(ref) for ref in refs]
    more = f" and {len(found) - _MOST} more" if len(found) > _MOST else ""
    return ", ".join(found[:_MOST]) + more


def _listed(labels: Labels) -> str:
    return ", ".join(f"{key}={value}" for key, value in labels)
