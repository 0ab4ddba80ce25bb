"""The outbound resources of one kind of proxy, kept up by the change."""

import enum
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping

import msgspec
from immutables import Map

from tidegate.api.telemetry import WorkloadMode
from tidegate.envoy import clusters, decisions, endpoints, listeners, names, special, telemetry
from tidegate.envoy.cache import Builders
from tidegate.envoy.contribution import (
    EMPTY,
    Contribution,
    Seat,
    Surroundings,
    contribute,
    sniffed_name,
)
from tidegate.envoy.defaults import Slices, for_headers, for_sidecar
from tidegate.envoy.inputs import VirtualHostInput
from tidegate.envoy.resource import CLUSTER, ENDPOINT, LISTENER, ROUTE, Decision, Resource
from tidegate.envoy.tables import ListenerTable, RouteTable, sniffed_route
from tidegate.kit import hosts, nametable, naming
from tidegate.registry.model import Service, ServiceKey
from tidegate.scope import choice
from tidegate.scope.authentication import KIND as PEER_AUTHENTICATION
from tidegate.scope.egress import egress_listeners
from tidegate.scope.proxy import ProxyKind
from tidegate.scope.telemetry import KIND as TELEMETRY
from tidegate.snapshot.world import Changed, World

Resources = Map[str, Resource]
NAMES = nametable.TYPE_URL
TYPES = (CLUSTER, ENDPOINT, LISTENER, ROUTE, NAMES)


class Outbound:
    """All outbound resources that one kind of proxy may be sent.

    ``advance`` brings it from one world to the next; what it costs follows what changed. ``resources`` are
    immutable maps by type URL and name, safe to keep.
    """

    def __init__(self, kind: ProxyKind, world: World, slices: Slices, builders: Builders) -> None:
        self.kind, self._builders = kind, builders
        self.resources: dict[str, Resources] = {t: Map() for t in TYPES}
        self.recent: dict[tuple[Disputed, str], None] = {}
        """Where something was looked at. Whoever follows disputes has to take it away: it only grows."""
        self._reset()
        self._aliases: dict[str, set[str]] = defaultdict(set)
        self._note_aliases(Map(), world.services, world.services)
        self._around = self._surroundings(world, slices)
        self._rebuild()

    def _reset(self) -> None:
        self._contributions: dict[str, Contribution] = {}
        self._wanted: dict[str, Counter[int]] = defaultdict(Counter)
        self._users: dict[object, set[str]] = defaultdict(set)
        """Host or Ref to the hosts whose contributions consulted it."""
        self._clusters: dict[str, dict[str, Resource]] = {}
        self._assignments: dict[str, dict[str, Resource]] = {}
        self._sniffed: dict[str, tuple[str, ...]] = {}
        self._routes: dict[str, RouteTable] = {}
        self._listeners: dict[tuple[str, int], ListenerTable] = {}
        self._names: dict[str, dict[str, nametable.NameInfo]] = {}
        """Name to what each host says of it: more than one where Pods belong to several headless Services."""

    def _surroundings(self, world: World, slices: Slices) -> Surroundings:
        sidecar = None if self.kind.router else choice.sidecar(world, self.kind.namespace, self.kind.labels)
        if self.kind.http_proxy_port:
            slices = msgspec.structs.replace(slices, http_proxy_port=self.kind.http_proxy_port)
        slices = telemetry.for_proxy(slices, world, self.kind.namespace, self.kind.labels, WorkloadMode.CLIENT)
        slices = for_sidecar(slices, sidecar, self.kind.namespace, world.domain)
        slices = for_headers(slices, self.kind.headers)
        return Surroundings(
            world=world,
            kind=self.kind,
            egress=egress_listeners(sidecar, self.kind.namespace),
            slices=slices,
            aliases=self._aliases,
        )

    # Advancing

    def advance(self, world: World, changed: Changed, slices: Slices) -> dict[str, frozenset[str]]:
        """Move on to ``world``; returns, by type URL, the names that were added, changed or removed."""
        before = self._around
        renamed = self._note_aliases(before.world.services, world.services, changed.services)
        if changed.sidecars or changed.mesh or _telemetry_may_differ(world, changed):
            self._around = self._surroundings(world, slices)
        else:
            self._around = Surroundings(world, self.kind, before.egress, before.slices, self._aliases)
        if _common(self._around) != _common(before):
            return self._rebuild()
        return self._update(self._affected(before.world, world, changed) | renamed)

    def _note_aliases(
        self, old: Map[ServiceKey, Service], new: Map[ServiceKey, Service], keys: Iterable[ServiceKey]
    ) -> set[str]:
        """Keep which hosts have ExternalName Services standing for them; returns those of which that changed."""
        touched = set()
        for key in keys:
            for services, edit in ((old, set.discard), (new, set.add)):
                service = services.get(key)
                if service is not None and service.external_name:
                    target = service.external_name.lower()
                    edit(self._aliases[target], key.host.lower())
                    touched.add(target)
        for target in [t for t in touched if not self._aliases[t]]:
            del self._aliases[target]
        return touched

    def _rebuild(self) -> dict[str, frozenset[str]]:
        previous = dict(self.resources)
        keep = (self._clusters, self._assignments, self._routes, self._listeners)  # cached results stay alive
        self._reset()
        self.resources = {t: Map() for t in TYPES}
        self._put_constant()
        self._update(self._universe())
        del keep
        return {t: _difference(previous[t], self.resources[t]) for t in TYPES}

    def _put_constant(self) -> None:
        slices = self._around.slices
        fixed = [special.black_hole(slices.cluster)]
        if not self.kind.router:
            fixed.append(special.passthrough(slices.cluster, self.kind))
        if slices.catch_all.dynamic and not self.kind.router:
            fixed.append(special.any_dynamic(slices.cluster, slices.catch_all, self.kind))
        self.resources[CLUSTER] = Map((c.name, c) for c in fixed)
        if self.kind.router:
            return
        own = (
            listeners.virtual_outbound(slices.catch_all, slices.listener, self.kind),
            listeners.http_proxy(slices.http_proxy_port, slices.catch_all, slices.listener, self.kind),
        )
        self.resources[LISTENER] = Map({each.name: each for each in own if each})
        standing = [str(e.port) if e.port else e.bind for e in self._around.egress if e.port is not None and e.routes]
        if slices.http_proxy_port:
            standing.append(naming.HTTP_PROXY_ROUTE)
        for name in standing:
            self._routes[name] = RouteTable(name, standing=True)
        made = (self._routes[name].assemble(self._around, self._builders) for name in standing)
        self.resources[ROUTE] = Map((each.name, each) for each in made)

    def _universe(self) -> set[str]:
        world = self._around.world
        names = set(world.by_host)
        for rule in world.virtual_services.values():
            names.update(h.lower() for h in rule.spec.hosts)
        return names

    def _affected(self, old: World, new: World, changed: Changed) -> set[str]:
        names = {key.host.lower() for key in changed.services | changed.endpoints}
        names |= _wildcards_over(new, _reshaped(old, new, changed.services))
        if self.kind.mtls:
            spaces = {ref.namespace for ref in changed.policies if ref.kind == PEER_AUTHENTICATION}
            names |= {key.host.lower() for space in spaces for key in new.services_in(space)}
        for ref in changed.virtual_services:
            names |= self._users.get(ref, set())
            for world in (old, new):
                if rule := world.virtual_services.get(ref):
                    names |= self._matching(rule.spec.hosts)
        for ref in changed.destination_rules:
            names |= self._users.get(ref, set())
            for world in (old, new):
                if policy := world.destination_rules.get(ref):
                    names |= self._matching((policy.spec.host,))
        for host in list(names):
            names |= self._users.get(host, set())
        return names

    def _matching(self, patterns: Iterable[str]) -> set[str]:
        """Known hosts that a pattern covers, and the pattern itself: a host may come to be by being named."""
        found = set()
        for pattern in (p.lower() for p in patterns):
            found.add(pattern)
            if hosts.is_wildcard(pattern):
                found.update(h for h in self._around.world.by_host if hosts.covers(pattern, h))
        return found

    def _update(self, names: set[str]) -> dict[str, frozenset[str]]:
        """Re-evaluate hosts; what they newly want of others widens the set until nothing more changes."""
        pending, moved = set(names), _Moved()
        while pending:
            host = pending.pop()
            self.recent[Disputed.HOST, host] = None
            old = self._contributions.get(host, EMPTY)
            new = contribute(self._around, host, frozenset(self._wanted.get(host, ())))
            if new == old:
                continue
            pending |= self._rewire(host, old, new)
            self._replace(host, old, new, moved)
        return self._finish(moved)

    def _rewire(self, host: str, old: Contribution, new: Contribution) -> set[str]:
        """Keep the reverse indexes; returns the hosts of which something else is wanted now."""
        if new is EMPTY or new == EMPTY:
            self._contributions.pop(host, None)
        else:
            self._contributions[host] = new
        before, after = {*old.targets, *old.refs}, {*new.targets, *new.refs}
        for key in before - after:
            self._users[key].discard(host)
            if not self._users[key]:
                del self._users[key]
        for key in after - before:
            self._users[key].add(host)
        for target, port in old.wants - new.wants:
            wanted = self._wanted[target]
            wanted[port] -= 1
            if not wanted[port]:
                del wanted[port]
            if not wanted:
                del self._wanted[target]
        for target, port in new.wants - old.wants:
            self._wanted[target][port] += 1
        return {want[0] for want in old.wants ^ new.wants}

    def _replace(self, host: str, old: Contribution, new: Contribution, moved: "_Moved") -> None:
        if old.clusters != new.clusters:
            built = (self._builders.get(clusters.build, c) for c in new.clusters)
            moved.clusters.update(_swap(self._clusters, host, built))
        if old.assignments != new.assignments:
            made = (self._builders.get(endpoints.build, a) for a in new.assignments)
            moved.assignments.update(_swap(self._assignments, host, made))
        if old.claims != new.claims:
            self._reclaim(host, old, new, moved)
        if old.sniffed != new.sniffed:
            moved.routes.update(self._swap_sniffed(host, new.sniffed))
        if old.seats != new.seats:
            self._reseat(old.seats, new.seats, moved)
        if old.told_names != new.told_names:
            moved.names.update(self._rename(host, dict(old.told_names), dict(new.told_names)))

    def _reclaim(self, host: str, old: Contribution, new: Contribution, moved: "_Moved") -> None:
        wanted = {(claim.table, claim.given.port): claim for claim in new.claims}
        for table, port in {(c.table, c.given.port) for c in old.claims} | wanted.keys():
            self._routes.setdefault(table, RouteTable(table)).put((host, port), wanted.get((table, port)))
            moved.tables.add(table)

    def _swap_sniffed(self, host: str, given: tuple[VirtualHostInput, ...]) -> dict[str, Resource | None]:
        out: dict[str, Resource | None] = dict.fromkeys(self._sniffed.pop(host, ()))
        for each in given:
            name = sniffed_name(each)
            out[name] = sniffed_route(each, name, self._builders)
        if held := tuple(n for n, r in out.items() if r is not None):
            self._sniffed[host] = held
        return out

    def _rename(
        self, host: str, old: Mapping[str, nametable.NameInfo], new: Mapping[str, nametable.NameInfo]
    ) -> Iterator[tuple[str, Resource | None]]:
        """What the names are now that a host says something else of them; of several hosts the first by name counts."""
        for name in old.keys() | new.keys():
            said = self._names.setdefault(name, {})
            said.pop(host, None)
            if name in new:
                said[host] = new[name]
            if not said:
                del self._names[name]
            yield name, names.resource_of(name, said[min(said)]) if said else None

    def _reseat(self, old: tuple[Seat, ...], new: tuple[Seat, ...], moved: "_Moved") -> None:
        before, after = set(old), set(new)
        for seat in before - after:
            self._listeners[seat.bind, seat.port].drop(seat)
        for seat in after - before:
            self._listeners.setdefault((seat.bind, seat.port), ListenerTable(seat.bind, seat.port)).put(seat)
        moved.addresses.update((s.bind, s.port) for s in before ^ after)

    # Publishing

    def _finish(self, moved: "_Moved") -> dict[str, frozenset[str]]:
        routes: dict[str, Resource | None] = dict(moved.routes)
        for name in moved.tables:
            self.recent[Disputed.ROUTE, name] = None
            table = self._routes[name]
            if not table:
                del self._routes[name]
                routes[name] = None
            else:
                routes[name] = table.assemble(self._around, self._builders)
        built = {}
        for bind, port in moved.addresses:
            seats = self._listeners[bind, port]
            self.recent[Disputed.LISTENER, naming.listener(bind, port)] = None
            if not seats:
                del self._listeners[bind, port]
            built[naming.listener(bind, port)] = seats.build(self._around, self._builders) if seats else None
        return {
            CLUSTER: self._publish(CLUSTER, moved.clusters),
            ENDPOINT: self._publish(ENDPOINT, moved.assignments),
            LISTENER: self._publish(LISTENER, built),
            ROUTE: self._publish(ROUTE, routes),
            NAMES: self._publish(NAMES, moved.names),
        }

    def _publish(self, type_url: str, moved: Mapping[str, Resource | None]) -> frozenset[str]:
        changed = set()
        with self.resources[type_url].mutate() as target:
            for name, new in moved.items():
                old = target.get(name)
                if new is None and old is not None:
                    del target[name]
                elif new is not None:
                    target[name] = new
                if (old.version if old else None) != (new.version if new else None):
                    changed.add(name)
            self.resources[type_url] = target.finish()
        return frozenset(changed)

    def decisions_about(self, host: str) -> Iterable[Decision]:
        """What was decided about one host name (any letter case): definitions, scope, routes and policies of it."""
        return decisions.about(self._around, host.lower())

    def places(self) -> Iterator[tuple["Disputed", str]]:
        """Everywhere that objects may take something from one another. Walks all hosts: for who begins to follow."""
        yield from ((Disputed.HOST, host) for host in self._universe())
        yield from ((Disputed.ROUTE, name) for name in self._routes)
        yield from ((Disputed.LISTENER, naming.listener(*address)) for address in self._listeners)

    def disputes(self, sort: "Disputed", name: str) -> Iterable[Decision]:
        """Who takes something from whom at one place where objects meet."""
        if sort is Disputed.HOST:
            yield from decisions.routing(self._around, name)
        elif sort is Disputed.ROUTE and name in self._routes:
            yield from self._routes[name].decisions()
        elif sort is Disputed.LISTENER and name in self.resources[LISTENER]:
            yield from self.resources[LISTENER][name].all_decisions()

    def decisions(self) -> Iterable[Decision]:
        """Everything that was decided among objects for this kind of proxy. Walks all hosts: for those who ask why."""
        for host in sorted(self._universe()):
            yield from decisions.about(self._around, host)
        for resources in self.resources.values():
            for each in resources.values():
                yield from each.all_decisions()
        for table in self._routes.values():
            yield from table.decisions()
        kind = self.kind
        yield from telemetry.decisions(self._around.world, kind.namespace, kind.labels, WorkloadMode.CLIENT)


class Disputed(enum.Enum):
    """Where objects meet: a host's routes, a route configuration's domains, a listener's address."""

    HOST = "host"
    ROUTE = "route"
    LISTENER = "listener"


class _Moved:
    """What one advance touched, before it is published."""

    def __init__(self) -> None:
        self.clusters: dict[str, Resource | None] = {}
        self.assignments: dict[str, Resource | None] = {}
        self.routes: dict[str, Resource | None] = {}
        self.tables: set[str] = set()
        self.addresses: set[tuple[str, int]] = set()
        self.names: dict[str, Resource | None] = {}


def _telemetry_may_differ(world: World, changed: Changed) -> bool:
    if any(ref.kind == TELEMETRY for ref in changed.policies):
        return True
    return bool(changed.services) and telemetry.asks_services(world.mesh)


def _common(around: Surroundings) -> tuple[object, ...]:
    """What every host is evaluated with: when it changes, all of them are evaluated again."""
    mesh = around.world.mesh
    return (
        around.egress,
        around.slices,
        around.world.networks,
        mesh.root_namespace,
        mesh.default_service_export_to,
        mesh.default_virtual_service_export_to,
        mesh.default_destination_rule_export_to,
        around.world.policies_in(PEER_AUTHENTICATION, mesh.root_namespace) if around.kind.mtls else (),
    )


def _reshaped(old: World, new: World, keys: Iterable[ServiceKey]) -> set[str]:
    """Hosts that came or went, are of another age, or are seen by others or on other ports now: all that wildcards
    over them depend on."""
    return {key.host.lower() for key in keys if _shape(old.services.get(key)) != _shape(new.services.get(key))}


def _shape(service: Service | None) -> tuple[object, ...] | None:
    return (service.ports, service.export_to, service.created) if service is not None else None


def _wildcards_over(world: World, names: set[str]) -> set[str]:
    """Wildcard hosts of VirtualServices that take in one of the names: they stand for themselves only as long as
    they cover no registered host."""
    found: set[str] = set()
    for name in names:
        for rule in world.virtual_services_for(name):
            found.update(h.lower() for h in rule.spec.hosts if hosts.is_wildcard(h))
    return found


def _swap(
    held: dict[str, dict[str, Resource]], host: str, built: Iterable[Resource | None]
) -> dict[str, Resource | None]:
    """Replace the resources that one host holds; the result maps names that went to None."""
    new = {r.name: r for r in built if r is not None}
    out: dict[str, Resource | None] = dict.fromkeys(held.pop(host, {}))
    if new:
        held[host] = new
    out.update(new)
    return out


def _difference(old: Resources, new: Resources) -> frozenset[str]:
    gone = {name for name in old if name not in new}
    return frozenset(gone | {n for n, r in new.items() if n not in old or old[n].version != r.version})
