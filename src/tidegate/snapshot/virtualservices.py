"""VirtualServices: short host names resolved, delegates' routes put in the place of the routes that name them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeVar

from msgspec.structs import replace

from tidegate.api.networking import (
    Destination,
    HTTPMatchRequest,
    HTTPMirrorPolicy,
    HTTPRoute,
    HTTPRouteDestination,
    L4MatchAttributes,
    RouteDestination,
    TCPRoute,
    TLSMatchAttributes,
    TLSRoute,
    VirtualService,
)
from tidegate.api.objects import Object, Ref
from tidegate.kit.hosts import resolve_short
from tidegate.snapshot.delegation import merge_route
from tidegate.snapshot.identity import derived

T = TypeVar("T")
R = TypeVar("R", HTTPRouteDestination, RouteDestination, HTTPMirrorPolicy)
M = TypeVar("M", HTTPMatchRequest, TLSMatchAttributes, L4MatchAttributes)

MESH_GATEWAY = "mesh"
"""The word for all sidecars among the gateways of a VirtualService."""


class Resolved(NamedTuple):
    """A root VirtualService ready for use, the delegates in it, and notes on what is left out of it."""

    object: Object[VirtualService]
    members: tuple[Ref, ...]
    notes: tuple[str, ...]


def is_delegate(obj: Object[VirtualService]) -> bool:
    """Without hosts it says nothing by itself."""
    return not obj.spec.hosts


def gateways(obj: Object[VirtualService]) -> tuple[str, ...]:
    """The Gateways that a resolved VirtualService is bound to."""
    return tuple(name for name in obj.spec.gateways if name != MESH_GATEWAY)


def delegate_refs(obj: Object[VirtualService]) -> tuple[Ref, ...]:
    """The delegates that the routes name, each once."""
    named = (r.delegate for r in obj.spec.http if r.delegate)
    return tuple(dict.fromkeys(Ref("VirtualService", d.namespace or obj.ref.namespace, d.name) for d in named))


def resolve(
    root: Object[VirtualService],
    delegates: Mapping[Ref, Object[VirtualService]],
    domain: str,
    default_export_to: Sequence[str],
) -> Resolved:
    """``root`` with full host names and the routes of ``delegates`` (those of its delegate_refs that exist).

    A delegate that does not exist, has hosts of its own, or is not exported to the root's namespace adds no routes.
    """
    names = _Names(root.ref.namespace, domain)
    spec = names.virtual_service(root.spec)
    wanted = delegate_refs(root)
    if not wanted:
        return Resolved(root if spec is root.spec else derived(root, spec, [domain.encode()]), (root.ref,), ())
    usable, notes = {}, []
    for ref in wanted:
        if reason := _unusable(root, delegates.get(ref), default_export_to):
            notes.append(f"routes of delegate {ref} are left out: {reason}")
        else:
            usable[ref] = delegates[ref]
    http = tuple(_expanded(spec, root.ref, usable, domain, notes))
    made_of = [domain.encode(), *(p for ref, d in usable.items() for p in (str(ref).encode(), d.digest))]
    made = derived(root, replace(spec, http=http), made_of)
    return Resolved(made, (root.ref, *usable), tuple(notes))


def _unusable(
    root: Object[VirtualService], delegate: Object[VirtualService] | None, default_export_to: Sequence[str]
) -> str:
    if delegate is None:
        return "there is no such VirtualService"
    if not is_delegate(delegate):
        return "it has hosts, a delegate must have none"
    visible = set(delegate.spec.export_to or default_export_to or ("*",))
    own = "." in visible and delegate.ref.namespace == root.ref.namespace
    return "" if own or visible & {"*", root.ref.namespace} else f"it is not exported to {root.ref.namespace}"


def _expanded(
    spec: VirtualService,
    root: Ref,
    delegates: Mapping[Ref, Object[VirtualService]],
    domain: str,
    notes: list[str],
) -> Iterator[HTTPRoute]:
    for route in spec.http:
        if route.delegate is None:
            yield route
            continue
        ref = Ref("VirtualService", route.delegate.namespace or root.namespace, route.delegate.name)
        names = _Names(ref.namespace, domain)
        for index, inner in enumerate(delegates[ref].spec.http if ref in delegates else ()):
            merged = None if inner.delegate else merge_route(route, names.http(inner))
            if merged is None:
                reason = "delegates cannot delegate" if inner.delegate else "its match is not within the root's"
                notes.append(f"{ref} spec.http[{index}] is left out: {reason}")
            else:
                yield merged


def _each(items: tuple[T, ...], change: Callable[[T], T]) -> tuple[T, ...]:
    """The items changed; the very same tuple when none is."""
    changed = tuple(change(item) for item in items)
    return items if all(a is b for a, b in zip(items, changed, strict=True)) else changed


class _Names:
    """Full names for the short ones of one namespace. Every method returns its argument when nothing changes."""

    def __init__(self, namespace: str, domain: str) -> None:
        self.namespace, self.domain = namespace, domain

    def host(self, host: str) -> str:
        return resolve_short(host, self.namespace, self.domain)

    def destination(self, to: Destination | None) -> Destination | None:
        if to is None or (host := self.host(to.host)) == to.host:
            return to
        return replace(to, host=host)

    def target(self, item: R) -> R:
        to = self.destination(item.destination)
        return item if to is item.destination else replace(item, destination=to)

    def http(self, route: HTTPRoute) -> HTTPRoute:
        to, mirror = _each(route.route, self.target), self.destination(route.mirror)
        mirrors, match = _each(route.mirrors, self.target), _each(route.match, self.match)
        if to is route.route and mirror is route.mirror and mirrors is route.mirrors and match is route.match:
            return route
        return replace(route, match=match, route=to, mirror=mirror, mirrors=mirrors)

    def tls(self, route: TLSRoute) -> TLSRoute:
        to, match = _each(route.route, self.target), _each(route.match, self.match)
        return route if to is route.route and match is route.match else replace(route, match=match, route=to)

    def tcp(self, route: TCPRoute) -> TCPRoute:
        to, match = _each(route.route, self.target), _each(route.match, self.match)
        return route if to is route.route and match is route.match else replace(route, match=match, route=to)

    def gateway(self, name: str) -> str:
        """``namespace/name`` of a Gateway; ``mesh`` stays. Once gateways were named as services are: ``name.namespace``
        with more after it or not."""
        if name == MESH_GATEWAY:
            return name
        namespace, slash, rest = name.partition("/")
        if slash:
            return f"{self.namespace}/{rest}" if namespace in ("", ".") else name
        short, *others = name.split(".")
        return f"{others[0] if others else self.namespace}/{short}"

    def match(self, match: M) -> M:
        gateways = _each(match.gateways, self.gateway)
        return match if gateways == match.gateways else replace(match, gateways=gateways)

    def virtual_service(self, spec: VirtualService) -> VirtualService:
        hosts, http = _each(spec.hosts, self.host), _each(spec.http, self.http)
        tls, tcp = _each(spec.tls, self.tls), _each(spec.tcp, self.tcp)
        gateways = _each(spec.gateways, self.gateway)
        same = hosts == spec.hosts and gateways == spec.gateways
        if same and http is spec.http and tls is spec.tls and tcp is spec.tcp:
            return spec
        return replace(spec, hosts=hosts, gateways=gateways, http=http, tls=tls, tcp=tcp)
