"""What is likely wrong around one workload or one service, in sentences that say what to do."""

from collections.abc import Iterable, Iterator
from typing import Any

from tidegate.answer.emptiness import of_port, without_endpoints
from tidegate.api.networking import DestinationRule, Subset, VirtualService
from tidegate.api.objects import Object, Ref
from tidegate.app.diagnosis.reading import Reading
from tidegate.registry import shadowing, workloads
from tidegate.registry.model import Endpoint, Labels, Protocol, Registry, Resolution, Service, Workload
from tidegate.scope import choice
from tidegate.scope.egress import DEFAULT_EGRESS
from tidegate.scope.proxy import ProxyKind

_APP = ("app", "app.kubernetes.io/name", workloads.CANONICAL_NAME)
_VERSION = ("version", "app.kubernetes.io/version", workloads.CANONICAL_REVISION)


def of_workload(
    given: Reading, workload: Workload, services: tuple[Service, ...], sync: dict[str, str]
) -> Iterator[str]:
    """Warnings about a workload and the services that it serves."""
    yield from _labels(workload.labels)
    if not workload.ready:
        yield f"{workload.ref} is not ready: Services send it no requests"
    if not services:
        yield f"no Service has {workload.ref} among its endpoints: check selectors and labels"
    if not sync:
        yield f"no proxy of {workload.ref} is connected to the control plane: `tidegate proxy-status`"
    for kind, state in sync.items():
        if state in ("ERROR", "STALE"):
            yield f"the proxy's {kind} is {state}: `tidegate proxy-status {workload.ref.name}.{workload.namespace}`"
    for service in dict.fromkeys(services):
        yield from _ports(service)
    yield from _problems(given, [workload.ref, *(ref for service in services for ref in service.sources)])


def _labels(labels: Labels) -> Iterator[str]:
    names = {name for name, _ in labels}
    if not names.intersection(_APP):
        yield "the label app is missing: telemetry and subsets know the workload by it"
    if not names.intersection(_VERSION):
        yield "the label version is missing: subsets of a DestinationRule commonly select by it"


def of_service(
    given: Reading, kind: ProxyKind, service: Service, rule: Object[DestinationRule] | None
) -> Iterator[str]:
    """Warnings about a service, for the proxies of one namespace."""
    endpoints = given.world.endpoints.get(service.key, ())
    if service.external_name:
        yield from _alias(given, kind, service)
        return
    yield from _ports(service)
    yield from _empty(given, service)
    yield from _subsets(service, rule, endpoints)
    for each in choice.virtual_services(given.world, kind, DEFAULT_EGRESS[0], service.host)[:1]:
        yield from _destinations(given, kind, each)
    yield from _shadowing(given, service)
    refs = [*service.sources, *([rule.ref] if rule else [])]
    yield from _problems(given, refs)


def _empty(given: Reading, service: Service) -> Iterator[str]:
    """Ports without an endpoint, and why; of a service that has none at all it is said once."""
    if service.resolution not in (Resolution.CLIENT_SIDE, Resolution.DNS) or not service.sources:
        return
    bare = [port for port in service.ports if not of_port(given.world, service, port)]
    whole = len(bare) == len(service.ports)
    for port in bare[:1] if whole else bare:
        what = service.host if whole else f"port {port.number} of {service.host}"
        why = without_endpoints(given.world, service, port)
        yield f"{what} has no endpoints: requests get 503 with flag UH; {why.ref} {why.words}"


def _alias(given: Reading, kind: ProxyKind, service: Service) -> Iterator[str]:
    target = service.external_name
    if not choice.service_candidates(given.world, kind, target):
        yield (
            f"{service.host} is another name of {target}, which no Service or ServiceEntry defines for namespace "
            f"{kind.namespace}: to proxies both are unknown hosts, and outboundTrafficPolicy decides"
        )
    yield from _problems(given, service.sources)


def of_choice(kind: ProxyKind, service: Service, candidates: tuple[Service, ...]) -> Iterator[str]:
    """Whether the definition counts for the proxies of a namespace at all."""
    if service not in candidates:
        yield f"{service.host} of namespace {service.namespace} is not exported to namespace {kind.namespace}"
    elif candidates[0] != service:
        winner = ", ".join(str(ref) for ref in candidates[0].sources)
        yield f"for namespace {kind.namespace} {service.host} is defined by {winner}, which comes first"


def _ports(service: Service) -> Iterator[str]:
    names = ", ".join(str(ref) for ref in service.sources)
    for port in service.ports:
        if port.protocol is Protocol.AUTO:
            fix = "name it <protocol>-..., or set appProtocol"
            if service.registry is Registry.EXTERNAL:
                fix = "set protocol"
            what = f"port {port.number} ({port.name or 'unnamed'}) of {names} tells no protocol"
            yield f"{what}: the proxy looks at the first bytes, which servers that speak first do not survive; {fix}"


def _subsets(service: Service, rule: Object[DestinationRule] | None, endpoints: tuple[Endpoint, ...]) -> Iterator[str]:
    for subset in rule.spec.subsets if rule else ():
        if rule and service.resolution is Resolution.CLIENT_SIDE and not in_subset(subset, endpoints):
            yield f"subset {subset.name} of {rule.ref} has no endpoint: requests that are sent to it get 503"


def in_subset(subset: Subset, endpoints: Iterable[Endpoint]) -> int:
    """How many endpoint addresses a subset has."""
    wanted = set(subset.labels.items())
    return len({e.address for e in endpoints if wanted <= set(e.labels)})


def _destinations(given: Reading, kind: ProxyKind, rule: Object[VirtualService]) -> Iterator[str]:
    """Destinations that lead nowhere: unknown hosts, and subsets that no DestinationRule has."""
    for destination in _every_destination(rule.spec):
        found = choice.service_candidates(given.world, kind, destination.host)
        if not found:
            yield f"{rule.ref} leads to {destination.host}, which no Service or ServiceEntry defines: 503 with flag NC"
            continue
        policy = choice.destination_rule(given.world, kind, found[0])
        subsets = {s.name for s in policy.spec.subsets} if policy else set()
        if destination.subset and destination.subset not in subsets:
            where = f"{policy.ref} has no such subset" if policy else "no DestinationRule of the host holds"
            yield f"{rule.ref} leads to subset {destination.subset} of {destination.host}: {where}"


def _every_destination(spec: VirtualService) -> dict[Any, None]:
    routes = [route for part in (spec.http, spec.tls, spec.tcp) for rule in part for route in rule.route]
    return dict.fromkeys(route.destination for route in routes if route.destination)


def _shadowing(given: Reading, service: Service) -> Iterator[str]:
    others = [o for o in given.objects.values() if o.ref.kind in ("Service", "ServiceEntry")]
    for ref in service.sources:
        if (found := given.objects.get(ref)) is not None:
            yield from shadowing.shadowed(found, others)


def _problems(given: Reading, refs: Iterable[Ref]) -> Iterator[str]:
    found = given.world.problems()
    for ref in dict.fromkeys(refs):
        yield from (f"{ref}: {text}" for text in found.get(ref, ()))
