"""What holds for one workload or one service, and which objects say so. Pure: from the world to facts."""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from tidegate.api.networking import DestinationRule, HTTPMatchRequest, HTTPRoute, Subset, VirtualService
from tidegate.api.objects import Object, Ref
from tidegate.app.diagnosis import advice
from tidegate.app.diagnosis.reading import Reading
from tidegate.envoy.listeners import binds
from tidegate.kit import naming
from tidegate.kit.errors import TidegateError
from tidegate.registry.model import Endpoint, Labels, Port, Service, Workload
from tidegate.scope import choice
from tidegate.scope.egress import egress_listeners
from tidegate.scope.proxy import ProxyKind

MAX_NAMES = 10
"""Names that an error offers."""


class Facts(msgspec.Struct, frozen=True, rename="camel"):
    """Base of what is told; members are printed in this order."""


class PortFacts(Facts, frozen=True):
    number: int
    name: str
    protocol: str
    """"" where it is found out by looking at the first bytes."""
    target: int
    """Port of the workload; 0 where each endpoint has its own."""
    place: str
    """Where a client's proxy serves it: a route configuration, or listeners."""


class SubsetFacts(Facts, frozen=True):
    name: str
    labels: dict[str, str]
    matching: bool
    """Whether the workload, or any endpoint of the service, is of it."""
    endpoints: int


class RuleFacts(Facts, frozen=True):
    """The DestinationRule that holds."""

    object: str
    host: str
    policies: tuple[str, ...]
    """Fields of trafficPolicy that are set."""
    subsets: tuple[SubsetFacts, ...]


class RoutingFacts(Facts, frozen=True):
    """A VirtualService; of those for one host the first holds."""

    object: str
    hosts: tuple[str, ...]
    holds: bool
    rules: tuple[str, ...]


class ServiceFacts(Facts, frozen=True):
    objects: tuple[str, ...]
    """What the host is defined by, the oldest first."""
    host: str
    namespace: str
    resolution: str
    addresses: tuple[str, ...]
    ports: tuple[PortFacts, ...]
    destination_rule: RuleFacts | None
    virtual_services: tuple[RoutingFacts, ...]
    alias_of: str = ""
    """The host that an ExternalName Service is another name of; "" for other services."""


class EndpointFacts(Facts, frozen=True):
    address: str
    port: int
    port_name: str
    workload: str
    health: str


class ServiceDescription(Facts, frozen=True):
    service: ServiceFacts
    seen_from: str
    """The namespace whose proxies this holds for."""
    endpoints: tuple[EndpointFacts, ...]
    overruled: tuple[str, ...]
    """Other definitions of the host, which do not count for that namespace."""
    warnings: tuple[str, ...]


class WorkloadDescription(Facts, frozen=True):
    object: str
    addresses: tuple[str, ...]
    service_account: str
    labels: dict[str, str]
    ready: bool
    sidecar: str
    """The Sidecar that holds; "" for none: everything that is visible is imported."""
    services: tuple[ServiceFacts, ...]
    sync: dict[str, str]
    """Discovery type to SYNCED, STALE, ERROR or NOT SENT; empty when no proxy of it is connected."""
    warnings: tuple[str, ...]


def find_workload(given: Reading, name: str, namespace: str) -> Workload:
    """NAME, NAME.NAMESPACE or KIND/NAME. Raises TidegateError when there is none or more than one."""
    name = name.rpartition("/")[2]
    everyone = given.world.workloads
    named = {ref: w for ref, w in everyone.items() if _called(ref, name, namespace)}
    default = [w for w in named.values() if w.namespace == (namespace or "default")]
    for found in (list(named.values()), default):
        if len(found) == 1:
            return found[0]
    raise _choose("workload", name, [f"{r.name}.{r.namespace}" for r in (named or everyone)], bool(named))


def _called(ref: Ref, name: str, namespace: str) -> bool:
    if namespace and ref.namespace != namespace:
        return False
    return name in (ref.name, f"{ref.name}.{ref.namespace}")


def find_service(given: Reading, name: str, namespace: str) -> Service:
    """NAME, NAME.NAMESPACE or a host name. Raises TidegateError when there is none or more than one."""
    every = given.world.services
    called = [
        s
        for s in every.values()
        if (not namespace or s.namespace == namespace)
        and (name.lower() == s.host.lower() or name in (s.name, f"{s.name}.{s.namespace}"))
    ]
    default = [s for s in called if s.namespace == (namespace or "default")]
    for found in (called, default):
        if len(found) == 1:
            return found[0]
    known = [f"{s.host} (in {s.namespace})" if called else f"{s.name}.{s.namespace}" for s in called or every.values()]
    raise _choose("service", name, known, bool(called))


def _choose(what: str, name: str, known: Iterable[str], ambiguous: bool) -> TidegateError:
    names = sorted(set(known))
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    text = f"{name} is the name of several: use NAME.NAMESPACE or -n" if ambiguous else f"there is no {what} {name}"
    return TidegateError(f"{text}; expected one of {', '.join(names[:MAX_NAMES]) or '(none)'}{more}")


def describe_workload(given: Reading, workload: Workload, sync: dict[str, str]) -> WorkloadDescription:
    """Facts of one workload; ``sync`` is what the control plane tells of its proxy."""
    world = given.world
    targets = world.targets(workload)
    kind = viewer(given, workload.namespace, workload.labels)
    services = []
    for service in dict.fromkeys(target.service for target in targets):
        own = {t.port: t.endpoint_port for t in targets if t.service == service}
        services.append(_service(given, kind, service, own, workload))
    sidecar = choice.sidecar(world, workload.namespace, workload.labels)
    return WorkloadDescription(
        object=str(workload.ref),
        addresses=workload.addresses,
        service_account=workload.service_account,
        labels=dict(workload.labels),
        ready=workload.ready,
        sidecar=str(sidecar.ref) if sidecar else "",
        services=tuple(services),
        sync=sync,
        warnings=tuple(dict.fromkeys(advice.of_workload(given, workload, tuple(t.service for t in targets), sync))),
    )


def describe_service(given: Reading, service: Service, namespace: str = "") -> ServiceDescription:
    """Facts of one service for clients of ``namespace``, its own by default."""
    world = given.world
    kind = viewer(given, namespace or service.namespace)
    candidates = choice.service_candidates(world, kind, service.host)
    facts = _service(given, kind, service, {p: p.target_port for p in service.ports}, None)
    rule = choice.destination_rule(world, kind, service)
    found = advice.of_service(given, kind, service, rule)
    return ServiceDescription(
        service=facts,
        seen_from=kind.namespace,
        endpoints=tuple(_endpoint(e) for e in world.endpoints.get(service.key, ())),
        overruled=tuple(str(ref) for s in candidates if s.key != service.key for ref in s.sources),
        warnings=tuple(dict.fromkeys([*advice.of_choice(kind, service, candidates), *found])),
    )


def viewer(given: Reading, namespace: str, labels: Labels = ()) -> ProxyKind:
    """A proxy of a namespace, as far as choices among objects depend on it."""
    return ProxyKind(namespace=namespace, dns_domain=f"{namespace}.svc.{given.world.domain}", labels=labels)


def _service(
    given: Reading, kind: ProxyKind, service: Service, ports: dict[Port, int], workload: Workload | None
) -> ServiceFacts:
    rule = choice.destination_rule(given.world, kind, service)
    endpoints = given.world.endpoints.get(service.key, ())
    return ServiceFacts(
        objects=tuple(str(ref) for ref in service.sources),
        host=service.host,
        namespace=service.namespace,
        resolution=service.resolution.value,
        addresses=service.addresses,
        ports=tuple(
            PortFacts(p.number, p.name, p.protocol.value, target, _place(service, p, kind))
            for p, target in ports.items()
        ),
        destination_rule=_rule(rule, endpoints, workload) if rule else None,
        virtual_services=tuple(_routings(given, kind, service.host)),
        alias_of=service.external_name,
    )


def _place(service: Service, port: Port, kind: ProxyKind) -> str:
    if port.protocol.is_http:
        return f"route {port.number}" if binds(service, port, kind) else ""
    names = [naming.listener(bind, port.number) for bind, _ in binds(service, port, kind)]
    if service.headless and port.protocol.is_tcp:
        return f"listener of each endpoint's address, port {port.number}"
    return f"listener {', '.join(names)}" if names else ""


def _rule(rule: Object[DestinationRule], endpoints: tuple[Endpoint, ...], workload: Workload | None) -> RuleFacts:
    policy = rule.spec.traffic_policy
    return RuleFacts(
        object=str(rule.ref),
        host=rule.spec.host,
        policies=tuple(msgspec.to_builtins(policy, enc_hook=str)) if policy else (),
        subsets=tuple(_subset(s, endpoints, workload) for s in rule.spec.subsets),
    )


def _subset(subset: Subset, endpoints: tuple[Endpoint, ...], workload: Workload | None) -> SubsetFacts:
    count = advice.in_subset(subset, endpoints)
    matching = workload.selected_by(subset.labels) if workload else count > 0
    return SubsetFacts(subset.name, subset.labels, matching, count)


def _routings(given: Reading, kind: ProxyKind, host: str) -> Iterator[RoutingFacts]:
    sidecar = choice.sidecar(given.world, kind.namespace, kind.labels)
    catch_all = egress_listeners(sidecar, kind.namespace)[-1]
    holding = choice.virtual_services(given.world, kind, catch_all, host)
    others = [v for v in given.world.virtual_services_for(host) if choice.covers_host(v, host)]
    first = holding[0].ref if holding else None
    for rule in dict.fromkeys([*holding, *others]):
        yield RoutingFacts(str(rule.ref), rule.spec.hosts, rule.ref == first, tuple(rules_in_words(rule.spec)))


def rules_in_words(spec: VirtualService) -> Iterator[str]:
    """One line for each rule: where it stands, what it matches, what it does."""
    for index, http in enumerate(spec.http):
        name = f" {http.name}" if http.name else ""
        match = " or ".join(_match(m) for m in http.match) or "everything"
        yield f"http[{index}]{name}: {match} -> {_action(http)}"
    for index, tls in enumerate(spec.tls):
        names = ", ".join(name for m in tls.match for name in m.sni_hosts)
        yield f"tls[{index}]: server name {names} -> {_destinations(tls.route)}"
    for index, tcp in enumerate(spec.tcp):
        matched = " or ".join(f"port {m.port}" for m in tcp.match if m.port) or "everything"
        yield f"tcp[{index}]: {matched} -> {_destinations(tcp.route)}"


def _match(match: HTTPMatchRequest) -> str:
    found: dict[str, Any] = msgspec.to_builtins(match, enc_hook=str)
    found.pop("name", None)
    return ", ".join(f"{field} {_words(value)}" for field, value in found.items()) or "everything"


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return " ".join(f"{key} {_words(inner)}" for key, inner in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _action(http: HTTPRoute) -> str:
    fault = " after a fault" if http.fault else ""
    if http.redirect:
        return f"redirect{fault}"
    if http.direct_response:
        return f"answer {http.direct_response.status}{fault}"
    return _destinations(http.route) + fault


def _destinations(routes: Iterable[Any]) -> str:
    listed = [route for route in routes if route.destination]
    words = []
    for route in listed:
        to = route.destination
        port = f":{to.port.number}" if to.port else ""
        subset = f" subset {to.subset}" if to.subset else ""
        weight = f" weight {route.weight}" if len(listed) > 1 or route.weight else ""
        words.append(f"{to.host}{port}{subset}{weight}")
    return ", ".join(words) or "nothing"


def _endpoint(found: Endpoint) -> EndpointFacts:
    workload = f"{found.workload_name}.{found.workload_namespace}" if found.workload_name else ""
    return EndpointFacts(found.address, found.port, found.port_name, workload, found.health.value)
