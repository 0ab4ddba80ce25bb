"""Shared route configurations and listeners, kept up by the contribution rather than rebuilt."""

from bisect import bisect_left, insort
from collections.abc import Iterable
from itertools import chain

import msgspec

from tidegate.api.objects import Ref
from tidegate.envoy import chains, listeners, routes
from tidegate.envoy.cache import Builders
from tidegate.envoy.contribution import Claim, Seat, Surroundings
from tidegate.envoy.inputs import ListenerInput, Member, VirtualHostInput
from tidegate.envoy.resource import Decision, Resource
from tidegate.registry.model import Resolution, Service

UNIX = "unix://"
"""A Sidecar's egress listener on a unix socket: its routes are named by the socket."""

Holder = tuple[str, int]
"""Host and service port: one route configuration of a unix socket serves several ports of a host."""

Claimant = tuple[bool, tuple[object, ...], Holder]
"""(alternate, order, who): the first by sorting has the domain."""


class RouteTable:
    """One shared route configuration: which host has which domain, and the virtual hosts in order of their names.

    A change of one host re-settles only the domains that it claims or gave up.
    """

    def __init__(self, name: str, *, standing: bool = False) -> None:
        """``standing``: a listener asks for it by name whoever is in it, so that it always has its catch-all."""
        self.name, self._standing = name, standing
        self._claims: dict[Holder, Claim] = {}
        self._domains: dict[str, list[Claimant]] = {}
        self._contested: dict[str, None] = {}
        """Domains with more than one claimant."""
        self._fragments: dict[str, Resource] = {}
        self._names: list[str] = []
        self._hosts: dict[Holder, str] = {}
        self._stale: set[Holder] = set()

    def __bool__(self) -> bool:
        return self._standing or bool(self._claims)

    def put(self, host: Holder, claim: Claim | None) -> None:
        """Replace what ``host`` claims; None withdraws it."""
        old = self._claims.pop(host, None)
        for domain, alternate in _domains(old):
            claimants = self._domains[domain]
            self._touch(claimants)
            claimants.remove((alternate, old.order, host))  # type: ignore[union-attr]
            if len(claimants) == 1:
                del self._contested[domain]
            if not claimants:
                del self._domains[domain]
            else:
                self._touch(claimants)
        self._stale.add(host)
        if claim is None:
            return
        self._claims[host] = claim
        for domain, alternate in _domains(claim):
            claimants = self._domains.setdefault(domain, [])
            self._touch(claimants)
            insort(claimants, (alternate, claim.order, host))
            if len(claimants) == 2:
                self._contested[domain] = None

    def _touch(self, claimants: list[Claimant]) -> None:
        if claimants:
            self._stale.add(claimants[0][2])

    def assemble(self, around: Surroundings, builders: Builders) -> Resource:
        """Rebuild the virtual hosts that changed and put the table together from the cached bytes of all."""
        for host in self._stale:
            self._refresh(host, builders)
        self._stale.clear()
        fragments = [self._fragments[name] for name in self._names]
        return routes.route_config(self.name, fragments, around.slices.catch_all)

    def _refresh(self, host: Holder, builders: Builders) -> None:
        previous = self._hosts.pop(host, None)
        claim = self._claims.get(host)
        fragment = self._fragment(host, claim, builders) if claim else None
        if previous is not None and (fragment is None or fragment.name != previous):
            del self._fragments[previous]
            del self._names[bisect_left(self._names, previous)]
        if fragment is None:
            return
        if fragment.name not in self._fragments:
            insort(self._names, fragment.name)
        self._fragments[fragment.name] = fragment
        self._hosts[host] = fragment.name

    def _fragment(self, host: Holder, claim: Claim, builders: Builders) -> Resource | None:
        domains = tuple(d for d in claim.given.domains if self._domains[d.lower()][0][2] == host)
        if not domains:
            return None
        given = claim.given
        if domains != given.domains:
            given = msgspec.structs.replace(given, domains=domains)
        return builders.get(routes.virtual_host, given)

    def decisions(self) -> Iterable[Decision]:
        """Domains that more than one host claims, and who has them."""
        rule = "a host's own name before short forms, then VirtualServices' hosts, then the oldest"
        for domain in self._contested:
            winner, *losers = (_source(self._claims[c[2]]) for c in self._domains[domain])
            yield Decision(f"domain {domain} in route {self.name}", rule, winner, tuple(losers))


def _source(claim: Claim) -> Ref:
    rule, service = claim.given.virtual_service, claim.given.service
    if service and service.sources:
        return service.sources[0]
    return rule.ref if rule else Ref("Service", "", claim.given.host)


def _domains(claim: Claim | None) -> dict[tuple[str, bool], None]:
    if claim is None:
        return {}
    found: dict[str, bool] = {d.lower(): True for d in claim.alternate}
    found.update((d.lower(), False) for d in claim.own)
    return dict.fromkeys(found.items())


def sniffed_route(given: VirtualHostInput, name: str, builders: Builders) -> Resource:
    """The route configuration of one sniffed service port: a single virtual host that takes every name."""
    host = builders.get(routes.virtual_host, given)
    return routes.route_config(name, [host] if host else [], None)


SeatKey = tuple[tuple[str, str], str, int, str]
"""(age, host, service port, address): order and identity of a seat in its listener."""


class ListenerTable:
    """One outbound address and port: who sits there, in Istio's order of precedence."""

    def __init__(self, bind: str, port: int) -> None:
        self.bind, self.port = bind, port
        self._http: list[tuple[SeatKey, Seat]] = []
        self._members: list[tuple[SeatKey, Seat]] = []
        self._explicit = 0
        self._dynamic: dict[SeatKey, Seat] = {}

    def __bool__(self) -> bool:
        return bool(self._http or self._members)

    def put(self, seat: Seat) -> None:
        insort(self._side(seat), (_key(seat), seat), key=lambda e: e[0])
        self._explicit += seat.explicit
        if seat.service.resolution is Resolution.DYNAMIC_DNS:
            self._dynamic[_key(seat)] = seat

    def drop(self, seat: Seat) -> None:
        side = self._side(seat)
        at = bisect_left(side, _key(seat), key=lambda e: e[0])
        while side[at][1] != seat:
            at += 1
        del side[at]
        self._explicit -= seat.explicit
        self._dynamic.pop(_key(seat), None)

    def _side(self, seat: Seat) -> list[tuple[SeatKey, Seat]]:
        return self._http if seat.member is None else self._members

    def build(self, around: Surroundings, builders: Builders) -> Resource | None:
        explicit = self._explicit > 0  # a Sidecar's listener for this port is closed to the catch-all's services
        http = self._first_http(explicit)
        members = tuple(_member(s) for _, s in self._members if s.member and s.explicit == explicit)
        first = next(s for _, s in chain(self._http, self._members) if s.explicit == explicit)
        given = ListenerInput(
            bind=self.bind,
            port=self.port,
            http=http[0] if http else None,
            http_port=http[1].service_port if http else None,
            members=members,
            dynamic_hosts=tuple(self._dynamic_hosts(explicit)),
            route_name=self.bind if self.bind.startswith(UNIX) else "",
            bind_to_port=first.bind_to_port,
            catch_all=around.slices.catch_all,
            defaults=around.slices.listener,
            proxy=around.kind,
        )
        return builders.run("listeners.assemble", lambda g: listeners.assemble(g, _chain_builder(builders)), given)

    def _dynamic_hosts(self, explicit: bool) -> Iterable[str]:
        """Hosts of HTTP ports here that are resolved when a request names them, each once."""
        seats = (seat for seat in self._dynamic.values() if seat.member is None and seat.explicit == explicit)
        return sorted({seat.service.host for seat in seats})

    def _first_http(self, explicit: bool) -> tuple[Service, Seat] | None:
        return next(((s.service, s) for _, s in self._http if s.explicit == explicit), None)


def _chain_builder(builders: Builders) -> listeners.ChainBuilder:
    """Chains of members from the cache: of thousands on one address, one change rebuilds one."""

    def build(given: chains.MemberChainInput) -> Resource | None:
        return builders.get(chains.build, given)

    return build


def _member(seat: Seat) -> Member:
    assert seat.member is not None  # noqa: S101 -- members are kept apart from HTTP seats
    return seat.member


def _key(seat: Seat) -> SeatKey:
    address = seat.member.address if seat.member else ""
    return (seat.order, seat.service.host, seat.service_port.number, address)
