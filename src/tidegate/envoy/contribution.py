"""What one host name contributes to the outbound resources of one kind of proxy. Pure.

A view holds the contributions of all hosts; a change re-evaluates those of the hosts it touches, and equal
contributions end the matter there.
"""

from collections.abc import Collection, Iterator, Mapping
from ipaddress import ip_network
from types import MappingProxyType
from typing import TypeVar

import msgspec

from tidegate.api.networking import Destination, HTTPRoute, LoadBalancerSettingsSimple, VirtualService
from tidegate.api.objects import Object, Ref
from tidegate.envoy import listeners, names, peers, policy, routes, unregistered
from tidegate.envoy.defaults import Slices
from tidegate.envoy.domains import visible_addresses
from tidegate.envoy.inputs import ClusterInput, EndpointsInput, Member, Target, VirtualHostInput
from tidegate.kit import naming
from tidegate.kit.addresses import is_ip
from tidegate.registry.addresses import is_unix
from tidegate.registry.model import Endpoint, Port, Protocol, Resolution, Service
from tidegate.scope import choice
from tidegate.scope.authentication import reached_plainly, refuses_by_default
from tidegate.scope.egress import EgressListener
from tidegate.scope.proxy import Interception, ProxyKind
from tidegate.snapshot.world import World

G = TypeVar("G", ClusterInput, EndpointsInput)

Age = tuple[str, str]
"""Creation time, then name and namespace: Istio's order, oldest first."""


Want = tuple[str, int]
"""Host, port or 0 for all."""


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
    told_names: tuple[names.Entry, ...] = ()
    """What a proxy that answers DNS itself is told."""


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


def contribute(around: Surroundings, host: str, wanted: frozenset[int]) -> Contribution:
    """Evaluate one host name (lower case).

    ``wanted``: ports that the routes of hosts need of it, 0 for all.
    """
    if around.kind.only_hosts is not None and host not in around.kind.only_hosts:
        return EMPTY
    imports = _imports(around, host, wanted)
    found = _Evaluation(around, imports).result() if imports else EMPTY
    if around.kind.router:
        return found
    return _with_named(around, host, found)


def _imports(around: Surroundings, host: str, wanted: frozenset[int]) -> list[tuple[EgressListener | None, Service]]:
    """(listener, service trimmed to what it imports) for each egress listener that imports the host; a None
    listener for what is there only because routes name it."""
    found: list[tuple[EgressListener | None, Service]] = []
    for listener in around.egress:
        chosen = choice.imported_service(around.world, around.kind, listener, host)
        if chosen and (trimmed := _trim(chosen[0], listener)):
            found.append((listener, trimmed))
    if wanted and (service := _named(around, host)):
        found.extend(_missing(service, wanted, [s for _, s in found]))
    return found


def _missing(service: Service, wanted: frozenset[int], imported: list[Service]) -> Iterator[tuple[None, Service]]:
    """What routes need of a service beyond what is imported of it; where another namespace's definition of the name
    is imported, that one stands."""
    needed = _only_ports(service, wanted)
    if needed is None:
        return
    if not imported:
        yield None, needed
    elif imported[0].key == service.key:
        there = {port for each in imported for port in each.ports}
        if left := tuple(port for port in needed.ports if port not in there):
            yield None, msgspec.structs.replace(service, ports=left)


def _named(around: Surroundings, host: str) -> Service | None:
    """The definition that routes mean: that of the client's own namespace, visible or not, else a visible one."""
    key = next((k for k in around.world.by_host.get(host, ()) if k.namespace == around.kind.namespace), None)
    if key is not None:
        return around.world.services[key]
    candidates = choice.service_candidates(around.world, around.kind, host)
    return candidates[0] if candidates else None


def _trim(service: Service, listener: EgressListener) -> Service | None:
    if not listener.port or listener.protocol is Protocol.HTTP_PROXY:
        return service
    port = service.port(listener.port)
    if port is None:
        return None
    return msgspec.structs.replace(service, ports=(port,))


def _only_ports(service: Service, wanted: frozenset[int]) -> Service | None:
    """The service with the ports that routes name; None where it has none of them."""
    if 0 in wanted:
        return service
    ports = tuple(p for p in service.ports if p.number in wanted)
    return msgspec.structs.replace(service, ports=ports) if ports else None


def _with_named(around: Surroundings, host: str, found: Contribution) -> Contribution:
    """Add the virtual hosts that a host has where no service of its name stands, because a VirtualService names it."""
    claims: list[Claim] = []
    near: set[str] = set()
    rules: dict[Ref, Object[VirtualService]] = {}
    for place in unregistered.places(around.world, around.kind, around.egress, around.slices.http_proxy_port, host):
        near |= place.near
        rules.update((r.ref, r) for r in place.consulted)
        claims.extend(_named_claim(around, host, place, rule, port) for port, rule in place.rules)
    if not rules:
        return found
    targets = {t for claim in claims for t in claim.given.targets}
    return msgspec.structs.replace(
        found,
        claims=(*found.claims, *claims),
        targets=found.targets | {t.host.lower() for t in targets} | near,
        wants=found.wants.union(*(_wants(rule, around.kind.namespace) for rule in rules.values())),
        refs=found.refs | rules.keys() | {t.rule.ref for t in targets if t.rule},
    )


def _named_claim(
    around: Surroundings, host: str, place: unregistered.Place, rule: Object[VirtualService], port: int
) -> Claim:
    domains = (host, f"{host}:{port}") if place.with_port and port == 80 else (f"{host}:{port}",)
    given = VirtualHostInput(
        host=host,
        port=port,
        domains=domains if place.with_port else (host,),
        service=None,
        virtual_service=rule,
        targets=tuple(_target(around, name) for name in destinations(rule)),
        defaults=around.slices.route,
        proxy=around.kind,
    )
    order = (0, rule.age_key, rule.age_key)
    return Claim(table=place.table, order=order, own=given.domains, alternate=(), given=given)


def destinations(rule: Object[VirtualService]) -> list[str]:
    """Every destination host that a rule names, once, in order."""
    return list(dict.fromkeys(d.host for d in all_destinations(rule)))


def all_destinations(rule: Object[VirtualService]) -> Iterator[Destination]:
    return _destinations(rule.spec)


def _destinations(spec: VirtualService) -> Iterator[Destination]:
    for http in spec.http:
        yield from (r.destination for r in http.route if r.destination)
        yield from (m.destination for m in http.mirrors if m.destination)
        if http.mirror:
            yield http.mirror
    for tls in spec.tls:
        yield from (r.destination for r in tls.route if r.destination)
    for tcp in spec.tcp:
        yield from (r.destination for r in tcp.route if r.destination)


def _wants(rule: Object[VirtualService], namespace: str) -> frozenset[Want]:
    """What must be in scope for the routes that hold for clients of a namespace."""
    spec = rule.spec
    if any(m.source_namespace for http in spec.http for m in http.match):
        spec = msgspec.structs.replace(spec, http=tuple(h for h in spec.http if _is_for(h, namespace)))
    return frozenset((d.host.lower(), d.port.number if d.port else 0) for d in _destinations(spec))


def _is_for(http: HTTPRoute, namespace: str) -> bool:
    return not http.match or any(m.source_namespace in ("", namespace) for m in http.match)


def _target(around: Surroundings, host: str) -> Target:
    return target_of(around.world, around.kind, host)


def target_of(world: World, kind: ProxyKind, host: str) -> Target:
    """A destination host as this kind of proxy sees it."""
    candidates = choice.service_candidates(world, kind, host)
    service = candidates[0] if candidates else None
    rule = choice.destination_rule_for(world, kind, host, service.namespace if service else "")
    return Target(host=host, service=service, rule=rule)


def _as_reached(kind: ProxyKind, service: Service) -> Service:
    """A gateway has no original destination to pass on to: it reaches the endpoints that are known."""
    if kind.router and service.resolution is Resolution.PASSTHROUGH:
        return msgspec.structs.replace(service, resolution=Resolution.CLIENT_SIDE)
    return service


class _Evaluation:
    """One evaluation of a registered host; exists only while it runs."""

    def __init__(self, around: Surroundings, imports: list[tuple[EgressListener | None, Service]]) -> None:
        self.around, self.imports = around, imports
        first = _as_reached(around.kind, imports[0][1])
        self.service = first
        self.rule = choice.destination_rule(around.world, around.kind, first)
        known = around.world.endpoints.get(first.key, ())
        self.endpoints = reached_plainly(around.world, known) if around.kind.mtls else known
        self.plain = around.kind.mtls and refuses_by_default(around.world, first.namespace)
        self.headless = imports[0][1].resolution is Resolution.PASSTHROUGH
        self.accounts = peers.accounts(first, known if around.kind.mtls else (), around.slices.cluster)
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
            if listener is None or service.resolution is Resolution.ALIAS or self.around.kind.router:
                continue
            rules = choice.virtual_services(self.around.world, self.around.kind, listener, service.host)
            self._consult(rules)
            for port in service.ports:
                heard = as_heard(listener, port)
                claims.extend(self._claims(listener, service, port, heard, rules))
                seats.extend(self._seats(listener, service, heard, rules, sniffed))
        return Contribution(
            clusters=tuple(clusters),
            assignments=tuple(assignments),
            claims=tuple(claims),
            sniffed=tuple(sniffed),
            seats=tuple(seats),
            targets=frozenset(self.targets),
            wants=frozenset(self.wants),
            refs=frozenset(self.refs),
            told_names=self._told_names(),
        )

    def _told_names(self) -> tuple[names.Entry, ...]:
        kind = self.around.kind
        if not kind.dns_capture or kind.router:
            return ()
        return names.of_host((service for _, service in self.imports), self._endpoints_of, kind)

    def _consult(self, rules: tuple[Object[VirtualService], ...]) -> None:
        for rule in rules:
            self.refs.add(rule.ref)
            self.wants |= _wants(rule, self.around.kind.namespace)

    # Clusters and their endpoints

    def _clusters(self) -> tuple[list[ClusterInput], list[EndpointsInput]]:
        if self.service.resolution is Resolution.ALIAS:
            return [], []
        mine = (service for _, service in self.imports if service.key == self.service.key)
        ports = dict.fromkeys(port for service in mine for port in service.ports)
        subsets = ["", *(s.name for s in self.rule.spec.subsets)] if self.rule else [""]
        clusters, assignments = [], []
        for port in ports:
            if port.protocol is Protocol.UDP:
                continue
            those = tuple(e for e in self.endpoints if e.port_name == port.name and e.service_port in (0, port.number))
            for subset in subsets:
                clusters += self._unopened(self._cluster(port, subset, those))
                if self.service.resolution is Resolution.CLIENT_SIDE and not self._passes_through(port, subset):
                    assignments += self._unopened(self._assignment(port, subset, those))
        return clusters, assignments

    def _unopened(self, given: G) -> list[G]:
        """With its twin for connections that an AUTO_PASSTHROUGH server passes through unopened, where there is one."""
        if not self.around.kind.sni_dnat or self.service.external:
            return [given]
        return [given, msgspec.structs.replace(given, sni_dnat=True)]

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
            peers=self.accounts,
            plain=self._is_plain(port, subset, endpoints),
            defaults=self.around.slices.cluster,
            proxy=self.around.kind,
        )

    def _is_plain(self, port: Port, subset: str, endpoints: tuple[Endpoint, ...]) -> bool:
        if not self.around.kind.mtls or self.plain:
            return self.plain
        unchosen = self.headless or self._passes_through(port, subset)
        return unchosen and peers.partly_meshed(endpoints)

    def _assignment(self, port: Port, subset: str, endpoints: tuple[Endpoint, ...]) -> EndpointsInput:
        return EndpointsInput(
            service=self.service,
            port=port,
            subset=subset,
            rule=self.rule,
            endpoints=endpoints,
            networks=self.around.world.networks,
            defaults=self.around.slices.cluster,
            proxy=self.around.kind,
        )

    # Routes

    def _virtual_host(
        self, service: Service, port: Port, domains: tuple[str, ...], rules: tuple[Object[VirtualService], ...]
    ) -> VirtualHostInput:
        rule = choice.http_rule(rules, service.host, lambda r: routes.has_routes(r, port.number, self.around.kind))
        names = destinations(rule) if rule else []
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
        self,
        listener: EgressListener,
        service: Service,
        port: Port,
        heard: Port,
        rules: tuple[Object[VirtualService], ...],
    ) -> Iterator[Claim]:
        """Virtual hosts for HTTP that comes to this port, as far as the listener takes it for HTTP."""
        if not (_is_routed(port) and _is_routed(heard)):
            return
        tables = [(route_table(listener, port), listener.routes_all_ports)]
        if listener.port is None and port.number in self.around.explicit_ports:
            tables = []  # the table of an explicit egress port holds that listener's hosts only
        if listener.port is None and self.around.slices.http_proxy_port:
            tables.append((naming.HTTP_PROXY_ROUTE, True))
        for table, with_port in tables:
            yield self._claim(listener, service, port, rules, (table, with_port))

    def _claim(
        self,
        listener: EgressListener,
        service: Service,
        port: Port,
        rules: tuple[Object[VirtualService], ...],
        table: tuple[str, bool],
    ) -> Claim:
        aliases = tuple(self._aliases(listener, service))
        candidates = routes.domains(service, port, self.around.kind, aliases=aliases, with_port=table[1])
        own = {d.lower() for d in routes.own_domains(service, self.around.kind)}
        own |= {f"{d}:{port.number}" for d in own} if table[1] else set()
        given = self._virtual_host(service, port, candidates, rules)
        age = service.age_key
        rule = given.virtual_service
        return Claim(
            table=table[0],
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
        if port.protocol is Protocol.UDP:
            return
        for bind, address, endpoint in self._binds(listener, service, port):
            member = None
            if not port.protocol.is_http:
                member = self._member(service, port, address, rules, endpoint)
                if aliases := tuple(self._aliases(listener, service)):
                    member = msgspec.structs.replace(member, aliases=aliases)
            if port.protocol is Protocol.AUTO and listener.port != 0 and not hosts_share_table(bind, self.around.kind):
                sniffed.append(self._virtual_host(service, port, ("*",), rules))
            yield Seat(
                bind=bind,
                port=port.number if listener.port is None else listener.port,
                order=service.age_key,
                service=service,
                service_port=port,
                member=member,
                bind_to_port=self._is_bound(listener),
                explicit=listener.port is not None,
            )

    def _is_bound(self, listener: EgressListener) -> bool:
        """Whether the listener really opens its port: without interception nobody would hand connections to it, and
        none that is captured is meant for a unix socket."""
        captured = self.around.kind.interception is not Interception.NONE and not is_unix(listener.bind)
        return not (listener.capture and captured)

    def _binds(
        self, listener: EgressListener, service: Service, port: Port
    ) -> Iterator[tuple[str, str, Endpoint | None]]:
        kind = self.around.kind
        if listener.bind or self._is_bound(listener):
            yield listener.bind or kind.loopback, _first_address(service, port, kind), None
            return
        if listener.port is not None and service.headless:
            yield kind.wildcard, "", None
            return
        if listener.port is None and self._by_pods(service, port):
            together = self.around.world.features.headless_filter_chains and port.protocol is not Protocol.AUTO
            for endpoint in self._endpoints_of(service):
                if endpoint.port_name == port.name and is_ip(endpoint.address):
                    if together:
                        yield kind.wildcard, str(ip_network(endpoint.address)), endpoint
                    else:
                        yield endpoint.address, "", endpoint
            return
        for bind, address in listeners.binds(service, port, kind):
            yield bind, address, None

    def _by_pods(self, service: Service, port: Port) -> bool:
        """Whether an opaque port is listened for on the addresses of its endpoints, the service having none itself."""
        if port.protocol.is_http or service.resolution is not Resolution.PASSTHROUGH:
            return False
        return service.headless or (
            bool(service.selector) and not visible_addresses(service, self.around.kind, port.number)
        )

    def _endpoints_of(self, service: Service) -> tuple[Endpoint, ...]:
        """Of the definition that a listener imports, which may be another than that of the clusters."""
        if service.key == self.service.key:
            return self.endpoints
        return self.around.world.endpoints.get(service.key, ())

    def _member(
        self,
        service: Service,
        port: Port,
        address: str,
        rules: tuple[Object[VirtualService], ...],
        endpoint: Endpoint | None,
    ) -> Member:
        opaque = tuple(r for r in rules if r.spec.tls or r.spec.tcp)
        names = [d.host for r in opaque for d in all_destinations(r)]
        return Member(
            service=service,
            port=port,
            address=address,
            virtual_services=opaque,
            targets=self._targets([*names, service.host]),
            endpoint=endpoint,
        )


def as_heard(listener: EgressListener, port: Port) -> Port:
    """A service port with the protocol that an egress listener with a port of its own declares for the way in."""
    if listener.port is None or port.protocol is Protocol.UDP:
        return port
    return msgspec.structs.replace(port, protocol=listener.protocol)


def _is_routed(port: Port) -> bool:
    return port.protocol.is_http or port.protocol is Protocol.AUTO


def _first_address(service: Service, port: Port, kind: ProxyKind) -> str:
    """The service's own address on a listener that others share: it tells that no server name need be asked for. A
    network counts as its first address: it is not matched there."""
    found = visible_addresses(service, kind, port.number)
    return found[0].partition("/")[0] if found else ""


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
