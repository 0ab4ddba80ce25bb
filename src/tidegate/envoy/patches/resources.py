"""Patches of one resource: its bytes anew, where its parts come from now, and which patches did something."""

import logging
import re
from collections.abc import Callable, Iterable, Iterator
from weakref import WeakValueDictionary

import msgspec

from tidegate.api.envoyfilter import PatchContext
from tidegate.envoy import protos
from tidegate.envoy.patches import clusters, listeners, routes
from tidegate.envoy.patches.elements import Element, Elements
from tidegate.envoy.patches.patch import Patch
from tidegate.envoy.patches.selection import PatchSet
from tidegate.envoy.resource import (
    CLUSTER,
    LISTENER,
    ROUTE,
    VIRTUAL_HOST,
    Fragments,
    Origin,
    Resource,
    of_bytes,
    resource,
)

log = logging.getLogger(__name__)

_INDEX = re.compile(r"\w+\[\d+\]")
_VIRTUAL_HOSTS = 2
"""Field number in RouteConfiguration."""


class Patched(msgspec.Struct, frozen=True, weakref=True):
    """What patches made of a resource: None when they removed it."""

    resource: Resource | None
    applied: frozenset[Patch] = frozenset()
    failed: tuple[tuple[Patch, str], ...] = ()
    """Patches that were meant for it and could not be joined with what stands there, and why."""
    inner: tuple["Patched", ...] = ()
    """The virtual hosts of a route configuration: they stay known as long as it does."""


Key = tuple[str, str, str, PatchSet]
"""Type, name and version of a resource, and the patches that concern it."""


class Patcher:
    """Patches resources, each once for equal patches, as long as the result is in use.

    ``built`` counts the work that was done, for tests.
    """

    def __init__(self) -> None:
        self._results: WeakValueDictionary[Key, Patched] = WeakValueDictionary()
        self.built = 0

    def patch(self, given: Resource, patches: PatchSet, context: PatchContext, hosts: tuple[str, ...] = ()) -> Patched:
        """``patches``: those of the proxy. ``hosts``: the services of an inbound cluster."""
        mine = _concerning(given, patches.within(context), context, hosts)
        if not mine:
            return Patched(given)
        return self._once(given, mine, lambda: self._contained(given, mine))

    def _once(self, given: Resource, patches: PatchSet, make: Callable[[], Patched]) -> Patched:
        key = (given.type_url, given.name, given.version, patches)
        found = self._results.get(key)
        if found is None:
            self.built += 1
            found = self._results[key] = make()
        return found

    def _contained(self, given: Resource, patches: PatchSet) -> Patched:
        """One patch that nobody could foresee to fail leaves the resource as it is, and the control plane running."""
        try:
            return self._apply(given, patches)
        except Exception as error:
            log.exception("%s %s is left without patches", given.type_url, given.name)
            why = f"{type(error).__name__}: {error}"
            return Patched(given, failed=tuple((patch, why) for patch in patches.patches))

    def _apply(self, given: Resource, patches: PatchSet) -> Patched:
        if given.type_url == CLUSTER:
            return _cluster(given, patches)
        if given.type_url == LISTENER:
            return _listener(given, patches)
        return self._routes(given, patches)

    def _routes(self, given: Resource, patches: PatchSet) -> Patched:
        """The virtual hosts are patched one by one; those that no patch concerns are copied as they are."""
        skeleton = protos.RouteConfiguration.FromString(given.body)
        skeleton.ClearField("virtual_hosts")
        by = routes.merge_whole(skeleton, patches)
        found = [self._host(part, patches) for part in _hosts(given)]
        for patch in routes.added_hosts(patches):
            body = patch.value.SerializeToString(deterministic=True)
            made = _of(patch.value.name, VIRTUAL_HOST, body, [Origin("", patch.ref, _value(patch))])
            found.append(Patched(made, frozenset([patch])))
        applied = frozenset(by).union(*(each.applied for each in found))
        if not applied:
            return Patched(given, inner=tuple(found))
        parts = tuple(each.resource for each in found if each.resource is not None)
        fragments = Fragments()
        fragments.put_all(_VIRTUAL_HOSTS, parts)
        rest = resource(given.name, ROUTE, skeleton)
        fragments.merge(rest.body, rest.version)
        body, version = fragments.finish()
        origins = (*given.origins, *_of_patches("", by))
        made = Resource(given.name, ROUTE, body, version, origins, given.decisions, parts, "virtual_hosts")
        return Patched(made, applied, inner=tuple(found))

    def _host(self, given: Resource, patches: PatchSet) -> Patched:
        if not routes.may_concern_host(patches, given.name):
            return Patched(given)
        message = protos.VirtualHost.FromString(given.body)
        mine = routes.host_patches(patches, message)
        if not mine:
            return Patched(given)
        return self._once(given, mine, lambda: _virtual_host(given, message, mine))


def _hosts(given: Resource) -> Iterator[Resource]:
    """The virtual hosts of a route configuration, also of one that was not assembled from parts."""
    if given.part_field == "virtual_hosts":
        yield from given.parts
        return
    for index, host in enumerate(protos.RouteConfiguration.FromString(given.body).virtual_hosts):
        at = f"virtual_hosts[{index}]"
        mine = tuple(
            Origin(o.path[len(at) :].lstrip("."), o.ref, o.field) for o in given.origins if o.path.startswith(at)
        )
        yield resource(host.name, VIRTUAL_HOST, host, mine)


def _concerning(given: Resource, patches: PatchSet, context: PatchContext, hosts: tuple[str, ...]) -> PatchSet:
    if given.type_url == CLUSTER:
        return PatchSet(clusters.concerning(patches, given.name, hosts))
    if given.type_url == LISTENER:
        return listeners.concerning(patches, given.name)
    if given.type_url == ROUTE:
        return routes.concerning(patches, given.name, gateway=context is PatchContext.GATEWAY)
    return PatchSet()


def _cluster(given: Resource, patches: PatchSet) -> Patched:
    remover = clusters.removal(patches.patches)
    if remover is not None:
        return Patched(None, frozenset([remover]))
    message = protos.Cluster.FromString(given.body)
    by, failed = clusters.apply(message, patches.patches)
    if not by:
        return Patched(given, failed=tuple(failed.items()))
    body = message.SerializeToString(deterministic=True)
    made = _of(given.name, CLUSTER, body, [*given.all_origins(), *_of_patches("", by)], given)
    return Patched(made, frozenset(by), tuple(failed.items()))


def _listener(given: Resource, patches: PatchSet) -> Patched:
    message = protos.Listener.FromString(given.body)
    work = listeners.ListenerPatching(message, patches)
    work.apply()
    applied = frozenset(work.by).union(*(field.patches() for field in work.fields.values()))
    failed = tuple(work.failed.items())
    if work.removed:
        return Patched(None, applied)
    if not applied:
        return Patched(given, failed=failed)
    origins = [*_moved(given.all_origins(), work.fields), *_of_patches("", work.by)]
    for name, field in work.fields.items():
        origins += _of_elements(name, field)
    made = _of(given.name, LISTENER, message.SerializeToString(deterministic=True), origins, given)
    return Patched(made, applied, failed)


def _virtual_host(given: Resource, message: object, patches: PatchSet) -> Patched:
    element = Element(message, 0)
    remover = routes.apply_host(element, patches)
    if remover is not None:
        return Patched(None, frozenset([remover]))
    applied = frozenset(element.by).union(*(inner.patches() for inner in element.inner.values()))
    if not applied:
        return Patched(given)
    origins = [*_moved(given.origins, element.inner), *_of_patches("", element.by)]
    for name, field in element.inner.items():
        origins += _of_elements(name, field)
        origins += _of_patches("", field.removed_by)
    return Patched(
        _of(given.name, VIRTUAL_HOST, element.message.SerializeToString(deterministic=True), origins), applied
    )


def added(patches: PatchSet, type_url: str) -> Iterator[tuple[Resource, Patch]]:
    """The clusters or listeners that patches add, which are patched no further."""
    if type_url not in (CLUSTER, LISTENER):
        return
    for patch in clusters.added(patches) if type_url == CLUSTER else listeners.added(patches):
        body = patch.value.SerializeToString(deterministic=True)
        yield _of(patch.value.name, type_url, body, [Origin("", patch.ref, _value(patch))]), patch


# Origins


def _of(name: str, type_url: str, body: bytes, origins: Iterable[Origin], base: Resource | None = None) -> Resource:
    decisions = tuple(base.all_decisions()) if base is not None else ()
    return of_bytes(name, type_url, body, tuple(dict.fromkeys(origins)), decisions)


def _value(patch: Patch) -> str:
    return f"{patch.field}.patch.value"


def _of_patches(path: str, patches: Iterable[Patch]) -> list[Origin]:
    return [Origin(path, patch.ref, patch.field) for patch in patches]


def _of_elements(name: str, field: Elements) -> Iterator[Origin]:
    yield from (Origin(path, patch.ref, patch.field) for path, patch in field.touched(name))
    yield from _of_patches("", field.removed_by)


def _moved(origins: Iterable[Origin], fields: dict[str, Elements]) -> Iterator[Origin]:
    """Origins with the indexes that elements have now; those of removed elements are gone."""
    moves = dict(pair for name, field in fields.items() for pair in field.moves(name))
    edited = {path.rpartition("[")[0] for path in moves} | fields.keys()
    for origin in origins:
        path = _path_now(origin.path, moves, edited)
        if path is not None:
            yield Origin(path, origin.ref, origin.field)


def _path_now(path: str, moves: dict[str, str], edited: set[str]) -> str | None:
    ends = [found.end() for found in _INDEX.finditer(path)]
    for end in reversed(ends):
        if path[:end] in moves:
            return moves[path[:end]] + path[end:]
        if path[:end].rpartition("[")[0] in edited:
            return None
    return path
