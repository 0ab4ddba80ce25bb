"""What one host name contributes to the outbound resources of one kind of proxy. Pure.

A view holds the contributions of all hosts; a change re-evaluates those of the hosts it touches, and equal
contributions end the matter there.
"""

from collections.abc import Collection, Iterator, Mapping
from types import MappingProxyType

import msgspec

from tidegate.api.networking import Destination, LoadBalancerSettingsSimple, VirtualService
from tidegate.api.objects import Object, Ref
from tidegate.envoy import listeners, policy, routes
from tidegate.envoy.defaults import Slices
from tidegate.envoy.inputs import ClusterInput, EndpointsInput, Member, Target, VirtualHostInput
from tidegate.kit import hosts, naming
from tidegate.registry.model import Endpoint, Port, Protocol, Resolution, Service
from tidegate.scope import choice
from tidegate.scope.egress import EgressListener
from tidegate.scope.proxy import Interception, ProxyKind
from tidegate.snapshot.world import World

Age = tuple[str, str]
"""Creation time, then name and namespace: Istio's order, oldest first."""


Want = tuple[str, str, int]
"""Host, namespace of the VirtualService that names it, port or 0 for all."""


class Claim(msgspec.Struct, frozen=True, gc=False):
    """A virtual host that a host wants in a shared route configuration, before domains are settled."""

    table: str
    """Name of the route configuration."""
    order: tuple[int, Age, Age]
    """Who is first where two want one domain: hosts of VirtualServices by the rule's age, then others by age."""
    own: tuple[str, ...]
    """Domains that are the host's own: its name, its addresses."""
    alternate: tuple[str, ...]
    """Short forms: given up where another host is really called so."""
    given: VirtualHostInput
    """``domains`` holds all candidates."""


class Seat(msgspec.Struct, frozen=True, gc=False):
    """A place that a service port takes in a listener."""

    bind: str
    port: int
    order: Age
    service: Service
    service_port: Port
    member: Member | None = None
    """None: plain HTTP, routed by the shared route configuration."""
    bind_to_port: bool = False
    explicit: bool = False
    """From a Sidecar egress listener with a port of its own."""


class Contribution(msgspec.Struct, frozen=True, gc=False):
    """Everything that one host name brings."""

    clusters: tuple[ClusterInput, ...] = ()
    assignments: tuple[EndpointsInput, ...] = ()
    claims: tuple[Claim, ...] = ()
    sniffed: tuple[VirtualHostInput, ...] = ()
    """Route configurations ``<host>:<port>`` of their own."""
    seats: tuple[Seat, ...] = ()
    targets: frozenset[str] = frozenset()
    """Other hosts (lower case) that this one's routes name."""
    wants: frozenset[Want] = frozenset()
    """What must be in scope because a route names it."""
    refs: frozenset[Ref] = frozenset()
    """VirtualServices and DestinationRules that were consulted."""


EMPTY = Contribution()


class Surroundings(msgspec.Struct, frozen=True):
    """What contributions depend on besides the host: equal for all hosts of one view at one time."""

    world: World
    kind: ProxyKind
    egress: tuple[EgressListener, ...]
    slices: Slices
    aliases: Mapping[str, Collection[str]] = MappingProxyType({})
    """Host to the ExternalName Services that stand for it, all lower case."""

    @property
    def explicit_ports(self) -> frozenset[int]:
        return frozenset(e.port for e in self.egress if e.port is not None)


def contribute(around: Surroundings, host: str, wanted: frozenset[tuple[str, int]]) -> Contribution:
    """Evaluate one host name (lower case).

    ``wanted``: what the routes of other hosts need of it, as (namespace of the VirtualService, port or 0 for all).
    """
    imports = _imports(around, host, wanted)
    found = _Evaluation(around, imports).result() if imports else EMPTY
    if any(listener is not None and _serves_http_80(service) for listener, service in imports):
        return found
    return _with_named(around, host, found)


def _serves_http_80(service: Service) -> bool:
    port = service.port(80)
    return port is not None and (port.protocol.is_http or port.protocol is Protocol.AUTO)


def _imports(
    around: Surroundings, host: str, wanted: frozenset[tuple[str, int]]
) -> list[tuple[EgressListener | None, Service]]:
    """(listener, service trimmed to what it imports) for each egress listener that imports the host; a None
    listener for what is there only because routes name it."""
    found: list[tuple[EgressListener | None, Service]] = []
    for listener in around.egress:
        chosen = choice.imported_service(around.world, around.kind, listener, host)
        if chosen and (trimmed := _trim(chosen[0], listener)):
            found.append((listener, trimmed))
    if wanted and (service := _named(around, host, wanted)):
        found.extend(_missing(service, frozenset(port for _, port in wanted), [s for _, s in found]))
    return found


def _missing(service: Service, wanted: frozenset[int], imported: list[Service]) -> Iterator[tuple[None, Service]]:
    """What routes need of a service beyond what is imported of it; where another namespace's definition of the name
    is imported, that one stands."""
    needed = _only_ports(service, wanted)
    if not imported:
        yield None, needed
    elif imported[0].key == service.key:
        there = {port for each in imported for port in each.ports}
        if left := tuple(port for port in needed.ports if port not in there):
            yield None, msgspec.structs.replace(service, ports=left)


def _named(around: Surroundings, host: str, wanted: frozenset[tuple[str, int]]) -> Service | None:
    """The definition that routes mean: that of the VirtualService's own namespace, visible or not, else a visible
    one."""
    services = around.world.services
    for namespace in sorted({namespace for namespace, _ in wanted}):
        for key in around.world.by_host.get(host, ()):
            if key.namespace == namespace:
                return services[key]
    candidates = choice.service_candidates(around.world, around.kind, host)
    return candidates[0] if candidates else None


def _trim(service: Service, listener: EgressListener) -> Service | None:
    if not listener.port or listener.protocol is Protocol.HTTP_PROXY:
        return service
    port = service.port(listener.port)
    if port is None:
        return None
    return msgspec.structs.replace(service, ports=(port,))


def _only_ports(service: Service, wanted: frozenset[int]) -> Service:
    if 0 in wanted:
        return service
    ports = tuple(p for p in service.ports if p.number in wanted)
    return msgspec.structs.replace(service, ports=ports or service.ports)


def _with_named(around: Surroundings, host: str, found: Contribution) -> Contribution:
    """Add the virtual host that a VirtualService's host has on port 80 where no service has it there."""
    listener = next((e for e in around.egress if e.port in (None, 80)), None)
    if listener is None:
        return found
    rules = [r for r in choice.virtual_services(around.world, around.kind, listener, host) if _names(r, host)]
    if not rules or not rules[0].spec.http:
        return found
    if hosts.is_wildcard(host) and _covers_port_80(around.world, host):
        return found
    rule = rules[0]
    targets = tuple(_target(around, name) for name in _destinations(rule))
    given = VirtualHostInput(
        host=host,
        port=80,
        domains=(host,),
        service=None,
        virtual_service=rule,
        targets=targets,
        defaults=around.slices.route,
        proxy=around.kind,
    )
    claim = Claim(table="80", order=(0, rule.age_key, rule.age_key), own=(host,), alternate=(), given=given)
    return msgspec.structs.replace(
        found,
        claims=(*found.claims, claim),
        targets=found.targets | {t.host.lower() for t in targets},
        wants=found.wants | _wants(rule),
        refs=found.refs | {r.ref for r in rules} | _rule_refs(targets),
    )


def _names(rule: Object[VirtualService], host: str) -> bool:
    return any(pattern.lower() == host for pattern in rule.spec.hosts)


def _covers_port_80(world: World, pattern: str) -> bool:
    return any(
        any(_serves_http_80(world.services[key]) for key in keys)
        for host, keys in world.by_host.items()
        if hosts.covers(pattern, host)
    )


def _destinations(rule: Object[VirtualService]) -> list[str]:
    """Every destination host that a rule names, once, in order."""
    return list(dict.fromkeys(d.host for d in _all_destinations(rule)))


def _all_destinations(rule: Object[VirtualService]) -> Iterator[Destination]:
    for http in rule.spec.http:
        yield from (r.destination for r in http.route if r.destination)
        yield from (m.destination for m in http.mirrors if m.destination)
        if http.mirror:
            yield http.mirror
    for tls in rule.spec.tls:
        yield from (r.destination for r in tls.route if r.destination)
    for tcp in rule.spec.tcp:
        yield from (r.destination for r in tcp.route if r.destination)


def _wants(rule: Object[VirtualService]) -> frozenset[Want]:
    namespace = rule.ref.namespace
    return frozenset((d.host.lower(), namespace, d.port.number if d.port else 0) for d in _all_destinations(rule))


def _rule_refs(targets: tuple[Target, ...]) -> frozenset[Ref]:
    return frozenset(t.rule.ref for t in targets if t.rule)


def _target(around: Surroundings, host: str) -> Target:
    candidates = choice.service_candidates(around.world, around.kind, host)
    service = candidates[0] if candidates else None
    rule = choice.destination_rule_for(around.world, around.kind, host, service.namespace if service else "")
    return Target(host=host, service=service, rule=rule)


class _Evaluation:
    """One evaluation of a registered host; exists only while it runs."""

    def __init__(self, around: Surroundings, imports: list[tuple[EgressListener | None, Service]]) -> None:
        self.around, self.imports = around, imports
        first = imports[0][1]
        self.service = first
        self.rule = choice.destination_rule(around.world, around.kind, first)
        self.endpoints = around.world.endpoints.get(first.key, ())
        self.refs: set[Ref] = {self.rule.ref} if self.rule else set()
        self.targets: set[str] = set()
        self.wants: set[Want] = set()
        self.known_targets: dict[str, Target] = {}

    def result(self) -> Contribution:
        clusters, assignments = self._clusters()
        claims: list[Claim] = []
        sniffed: list[VirtualHostInput] = []
        seats: list[Seat] = []
        for listener, service in self.imports:
            if listener is None or service.resolution is Resolution.ALIAS:
                continue
            rules = choice.virtual_services(self.around.world, self.around.kind, listener, service.host)
            self._consult(rules)
            for each in service.ports:
                port = _as_heard(listener, each)
                claims.extend(self._claims(listener, service, port, rules))
                seats.extend(self._seats(listener, service, port, rules, sniffed))
        return Contribution(
            clusters=tuple(clusters),
            assignments=tuple(assignments),
            claims=tuple(claims),
            sniffed=tuple(sniffed),
            seats=tuple(seats),
            targets=frozenset(self.targets),
            wants=frozenset(self.wants),
            refs=frozenset(self.refs),
        )

    def _consult(self, rules: tuple[Object[VirtualService], ...]) -> None:
        for rule in rules:
            self.refs.add(rule.ref)
            self.wants |= _wants(rule)

    # Clusters and their endpoints

    def _clusters(self) -> tuple[list[ClusterInput], list[EndpointsInput]]:
        if self.service.resolution is Resolution.ALIAS:
            return [], []
        ports = dict.fromkeys(port for _, service in self.imports for port in service.ports)
        subsets = ["", *(s.name for s in self.rule.spec.subsets)] if self.rule else [""]
        clusters, assignments = [], []
        for port in ports:
            if port.protocol is Protocol.UDP:
                continue
            mine = tuple(e for e in self.endpoints if e.port_name == port.name)
            for subset in subsets:
                clusters.append(self._cluster(port, subset, mine))
                if self.service.resolution is Resolution.CLIENT_SIDE and not self._passes_through(port, subset):
                    assignments.append(self._assignment(port, subset, mine))
        return clusters, assignments

    def _passes_through(self, port: Port, subset: str) -> bool:
        """loadBalancer PASSTHROUGH: the caller's address is used, endpoints do not count."""
        balancer = policy.effective(self.rule, port.number, subset).load_balancer
        return balancer is not None and balancer.simple is LoadBalancerSettingsSimple.PASSTHROUGH

    def _cluster(self, port: Port, subset: str, endpoints: tuple[Endpoint, ...]) -> ClusterInput:
        inline = self.service.resolution in (Resolution.DNS, Resolution.DNS_ROUND_ROBIN)
        return ClusterInput(
            service=self.service,
            port=port,
            subset=subset,
            rule=self.rule,
            endpoints=endpoints if inline else (),
            peers=self._peers(endpoints),
            defaults=self.around.slices.cluster,
            proxy=self.around.kind,
        )

    def _peers(self, endpoints: tuple[Endpoint, ...]) -> tuple[str, ...]:
        if not self.around.kind.mtls:
            return ()
        domain = self.around.slices.cluster.trust_domain
        accounts = {
            f"spiffe://{domain}/ns/{e.workload_namespace or self.service.namespace}/sa/{e.service_account}"
            for e in endpoints
            if e.service_account
        }
        return tuple(sorted(accounts))

    def _assignment(self, port: Port, subset: str, endpoints: tuple[Endpoint, ...]) -> EndpointsInput:
        return EndpointsInput(
            service=self.service,
            port=port,
            subset=subset,
            rule=self.rule,
            endpoints=endpoints,
            defaults=self.around.slices.cluster,
            proxy=self.around.kind,
        )

    # Routes

    def _virtual_host(
        self, service: Service, port: Port, domains: tuple[str, ...], rules: tuple[Object[VirtualService], ...]
    ) -> VirtualHostInput:
        rule = next((r for r in rules if r.spec.http), None)
        names = _destinations(rule) if rule else []
        return VirtualHostInput(
            host=service.host,
            port=port.number,
            domains=domains,
            service=service,
            virtual_service=rule,
            targets=self._targets([*names, service.host]),
            defaults=self.around.slices.route,
            proxy=self.around.kind,
        )

    def _targets(self, names: list[str]) -> tuple[Target, ...]:
        found = []
        for name in dict.fromkeys(names):
            target = self.known_targets.get(name)
            if target is None:
                mine = name == self.service.host
                target = Target(host=name, service=self.service, rule=self.rule) if mine else _target(self.around, name)
                self.known_targets[name] = target
            if target.rule:
                self.refs.add(target.rule.ref)
            self.targets.add(name.lower())
            found.append(target)
        return tuple(found)

    def _claims(
        self, listener: EgressListener, service: Service, port: Port, rules: tuple[Object[VirtualService], ...]
    ) -> Iterator[Claim]:
        if not (port.protocol.is_http or port.protocol is Protocol.AUTO):
            return
        if listener.port is None and port.number in self.around.explicit_ports:
            return  # the table of an explicit egress port holds that listener's hosts only
        aliases = tuple(self._aliases(listener, service))
        candidates = routes.domains(service, port, self.around.kind, aliases=aliases, with_port=listener.port == 0)
        own = {d.lower() for d in routes.own_domains(service, self.around.kind)}
        given = self._virtual_host(service, port, candidates, rules)
        age = service.age_key
        rule = given.virtual_service
        yield Claim(
            table=route_table(listener, port),
            order=(0, rule.age_key, age) if rule else (1, age, age),
            own=tuple(d for d in candidates if d.lower() in own),
            alternate=tuple(d for d in candidates if d.lower() not in own),
            given=given,
        )

    def _aliases(self, listener: EgressListener, service: Service) -> Iterator[str]:
        """ExternalName Services that stand for the service and that the listener imports, by name."""
        for host in sorted(self.around.aliases.get(service.host.lower(), ())):
            if choice.imported_service(self.around.world, self.around.kind, listener, host):
                yield host

    # Listeners

    def _seats(
        self,
        listener: EgressListener,
        service: Service,
        port: Port,
        rules: tuple[Object[VirtualService], ...],
        sniffed: list[VirtualHostInput],
    ) -> Iterator[Seat]:
        if port.protocol is Protocol.UDP or (listener.port == 0 and not port.protocol.is_http):
            return
        for bind, address, endpoint in self._binds(listener, service, port):
            member = None
            if not port.protocol.is_http:
                member = self._member(service, port, address, rules, endpoint)
            if port.protocol is Protocol.AUTO and not hosts_share_table(bind, self.around.kind):
                sniffed.append(self._virtual_host(service, port, ("*",), rules))
            yield Seat(
                bind=bind,
                port=port.number if listener.port is None else listener.port,
                order=service.age_key,
                service=service,
                service_port=port,
                member=member,
                bind_to_port=not listener.capture or self.around.kind.interception is Interception.NONE,
                explicit=listener.port is not None,
            )

    def _binds(
        self, listener: EgressListener, service: Service, port: Port
    ) -> Iterator[tuple[str, str, Endpoint | None]]:
        if listener.bind:
            yield listener.bind, "", None
            return
        if not listener.capture or self.around.kind.interception is Interception.NONE:
            yield "127.0.0.1", "", None
            return
        if service.headless and not port.protocol.is_http:
            for endpoint in self.endpoints:
                if endpoint.port_name == port.name:
                    yield endpoint.address, "", endpoint
            return
        for bind, address in listeners.binds(service, port, self.around.kind):
            yield bind, address, None

    def _member(
        self,
        service: Service,
        port: Port,
        address: str,
        rules: tuple[Object[VirtualService], ...],
        endpoint: Endpoint | None,
    ) -> Member:
        opaque = tuple(r for r in rules if r.spec.tls or r.spec.tcp)
        names = [d.host for r in opaque for d in _all_destinations(r)]
        return Member(
            service=service,
            port=port,
            address=address,
            virtual_services=opaque,
            targets=self._targets([*names, service.host]),
            endpoint=endpoint,
        )


def _as_heard(listener: EgressListener, port: Port) -> Port:
    """A service port with the protocol that an egress listener of its own number declares for the way in."""
    declared = listener.protocol
    if not listener.port or declared in (Protocol.AUTO, Protocol.HTTP_PROXY) or port.protocol is Protocol.UDP:
        return port
    return msgspec.structs.replace(port, protocol=declared)


def hosts_share_table(bind: str, kind: ProxyKind) -> bool:
    """Whether sniffed HTTP on this address is routed by the port's shared table rather than one of its own."""
    return bind == kind.wildcard


def route_table(listener: EgressListener, port: Port) -> str:
    """Name of the route configuration in which a service port's virtual host stands."""
    if listener.port == 0:
        return listener.bind
    return str(listener.port if listener.port is not None else port.number)


def sniffed_name(given: VirtualHostInput) -> str:
    return naming.virtual_host(given.host, given.port)
