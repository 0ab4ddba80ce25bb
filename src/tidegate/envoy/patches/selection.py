"""Which EnvoyFilters hold for a proxy, and in which order."""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import re2

from tidegate.api.envoyfilter import ApplyTo, EnvoyFilter, PatchContext, ProxyMatch
from tidegate.api.objects import Object
from tidegate.api.selection import GATEWAY_LABEL
from tidegate.envoy.patches.patch import Patch, patches_of
from tidegate.kit.bootstraps import asked_for
from tidegate.registry.model import Labels
from tidegate.scope.proxy import Proxy
from tidegate.snapshot.world import World

_VERSION_LIMIT = 1024
_GATEWAY_API = "gateway.networking.k8s.io"


class PatchSet:
    """The patches that hold for a proxy, in the order in which they are applied. Equal sets are shared."""

    __slots__ = ("_by_kind", "_hash", "patches")

    def __init__(self, patches: tuple[Patch, ...] = ()) -> None:
        self.patches = patches
        self._hash = hash(patches)
        self._by_kind: dict[ApplyTo, tuple[Patch, ...]] = {
            kind: tuple(p for p in patches if p.apply_to is kind) for kind in {p.apply_to for p in patches}
        }

    def __bool__(self) -> bool:
        return bool(self.patches)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, PatchSet) and self.patches == other.patches)

    def of(self, *kinds: ApplyTo) -> tuple[Patch, ...]:
        """Patches of one thing, in order; of several, kind by kind."""
        return tuple(p for kind in kinds for p in self._by_kind.get(kind, ()))

    def within(self, context: PatchContext) -> "PatchSet":
        """Those for one side of the proxy."""
        return _within(self, context)


EMPTY = PatchSet()


@lru_cache(maxsize=1024)
def _within(found: PatchSet, context: PatchContext) -> PatchSet:
    return PatchSet(tuple(p for p in found.patches if p.holds_in(context)))


def patch_set(world: World, proxy: Proxy, version: str = "", metadata: Mapping[str, Any] | None = None) -> PatchSet:
    """The patches for one proxy: of the root namespace's EnvoyFilters and of its own namespace's.

    Lower priority first, then the root namespace's, then the oldest. ``version`` and ``metadata`` are what the
    proxy's node says of itself, which ``match.proxy`` looks at, and which tells whether its agent asks for bootstraps.
    """
    chosen = (p for p in _selected(world, proxy) if _meant(p, version, metadata or {}))
    return _shared(tuple(chosen))


def unmet(world: World, proxy: Proxy, version: str, metadata: Mapping[str, Any]) -> list[Patch]:
    """The patches of EnvoyFilters that select the proxy which ``match.proxy`` keeps from it, or that its agent does
    not ask for them."""
    return [p for p in _selected(world, proxy) if not _meant(p, version, metadata)]


def _selected(world: World, proxy: Proxy) -> Iterator[Patch]:
    kept = world.policies("EnvoyFilter")
    if not kept:
        return
    root = world.mesh.root_namespace
    found = [*kept.get(root, ()), *(kept.get(proxy.kind.namespace, ()) if proxy.kind.namespace != root else ())]
    mine = [each for each in found if _selects(each, proxy)]
    mine.sort(key=lambda each: (each.spec.priority, each.ref.namespace != root, each.age_key))
    for each in mine:
        yield from patches_of(each)


@lru_cache(maxsize=4096)
def _shared(patches: tuple[Patch, ...]) -> PatchSet:
    return PatchSet(patches) if patches else EMPTY


def _selects(found: Object[EnvoyFilter], proxy: Proxy) -> bool:
    spec = found.spec
    if spec.target_refs:
        return any(_attached(found, ref.group, ref.kind, ref.name, proxy) for ref in spec.target_refs)
    wanted = spec.workload_selector.labels if spec.workload_selector is not None else {}
    return _has(proxy.labels, wanted)


def _attached(found: Object[EnvoyFilter], group: str, kind: str, name: str, proxy: Proxy) -> bool:
    """Only the Pods of a Gateway API gateway are what a policy can be attached to."""
    gateway = dict(proxy.labels).get(GATEWAY_LABEL)
    return (group, kind, name) == (_GATEWAY_API, "Gateway", gateway) and found.ref.namespace == proxy.kind.namespace


def _has(labels: Labels, wanted: Mapping[str, str]) -> bool:
    mine = dict(labels)
    return all(mine.get(key) == value for key, value in wanted.items())


def _meant(patch: Patch, version: str, metadata: Mapping[str, Any]) -> bool:
    asked = patch.apply_to is not ApplyTo.BOOTSTRAP or asked_for(metadata)
    return asked and _matches(patch.match.proxy, version, metadata)


def _matches(match: ProxyMatch | None, version: str, metadata: Mapping[str, Any]) -> bool:
    if match is None:
        return True
    pattern = match.proxy_version
    if pattern and len(pattern) <= _VERSION_LIMIT and not (version and _pattern(pattern).search(version)):
        return False
    return all(metadata.get(key) == value for key, value in match.metadata.items())


@lru_cache(maxsize=256)
def _pattern(text: str) -> Any:
    return re2.compile(text)
