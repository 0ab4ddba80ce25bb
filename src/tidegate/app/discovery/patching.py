"""EnvoyFilters in the control plane: which proxies have patches, and what they are shown for it."""

from collections.abc import Collection, Iterable, Iterator, Mapping

import msgspec

from tidegate.api.envoyfilter import ApplyTo
from tidegate.api.objects import Ref
from tidegate.app.discovery.proxies import Node
from tidegate.envoy.inputs import InboundInput
from tidegate.envoy.outbound import Outbound, Resources
from tidegate.envoy.patches import layer
from tidegate.envoy.patches.layer import Layer, Own
from tidegate.envoy.patches.patch import Patch
from tidegate.envoy.patches.resources import Patcher
from tidegate.envoy.patches.selection import EMPTY, PatchSet, patch_set
from tidegate.envoy.resource import Decision
from tidegate.envoy.view import InboundState
from tidegate.scope.proxy import Proxy, ProxyKind
from tidegate.snapshot.world import World
from tidegate.xds.source import Delta

_MOST_PROBLEMS = 50
_UNASKED = "none of them, where match.proxy holds, has an agent that asks for it with BOOTSTRAP_XDS_AGENT=true"
_UNMET = "match.proxy holds for none of them: it asks for another ISTIO_VERSION, or other node metadata"


class Patches(msgspec.Struct, frozen=True):
    """The patches of one proxy, and its own side as they leave it; no ``own`` for a proxy without patches."""

    found: PatchSet = EMPTY
    base: InboundState | None = None
    own: Own | None = None


NONE = Patches()


class Patching:
    """One layer for each kind of proxy and set of patches in use."""

    def __init__(self) -> None:
        self._patcher = Patcher()
        self._layers: dict[tuple[ProxyKind, PatchSet], Layer] = {}

    @property
    def built(self) -> int:
        """How many resources were patched so far."""
        return self._patcher.built

    def patches_of(
        self, world: World, node: Node, proxy: Proxy, inbound: InboundState, before: Patches = NONE
    ) -> Patches:
        """The patches that hold for a proxy now; ``before`` itself where nothing differs."""
        found = patch_set(world, proxy, node.version, node.metadata)
        if not found:
            return NONE
        if before.found == found and before.base is inbound:
            return before
        services = _services(inbound)
        own = Own(found, inbound.resources, services, self._patcher, router=proxy.kind.router)
        return Patches(found, inbound, own)

    def resources(self, kind: ProxyKind, patches: PatchSet, base: Outbound) -> dict[str, Resources]:
        """The outbound resources of a kind of proxy with patches."""
        found = self._layers.get((kind, patches))
        if found is None:
            found = self._layers[kind, patches] = Layer(kind, patches, base.resources, self._patcher)
        return dict(found.resources)

    def advance(
        self, kinds: Mapping[ProxyKind, Outbound], deltas: Mapping[ProxyKind, Delta]
    ) -> dict[tuple[ProxyKind, PatchSet], Delta]:
        """Follow what changed underneath; returns the names that differ for each kind with patches."""
        return {
            key: {url: names for url, names in each.advance(kinds[key[0]].resources, deltas[key[0]]).items() if names}
            for key, each in self._layers.items()
            if deltas.get(key[0])
        }

    def keep(self, used: Collection[tuple[ProxyKind, PatchSet]]) -> None:
        """Forget the layers of which no proxy is left."""
        for key in [key for key in self._layers if key not in used]:
            del self._layers[key]

    def decisions(self, kind: ProxyKind, own: Iterable[Patches]) -> Iterator[Decision]:
        """Patches that do nothing for the proxies of a kind."""
        for each in own:
            if each.own is not None and (found := self._layers.get((kind, each.found))) is not None:
                applied, failed = found.applied() | each.own.applied(), found.failed() | each.own.failed()
                yield from layer.decisions(each.found.patches, applied, failed)

    def problems(
        self, proxies: Iterable[tuple[ProxyKind, Patches]], unmet: Iterable[Patch] = ()
    ) -> dict[Ref, tuple[str, ...]]:
        """By EnvoyFilter, its patches that do nothing for any of the proxies that it selects; ``unmet``: those that
        were kept from some by ``match.proxy``."""
        selected: dict[Patch, None] = {}
        applied: set[Patch] = set()
        failed: dict[Patch, str] = {}
        looked: set[tuple[ProxyKind, PatchSet]] = set()
        for kind, each in proxies:
            selected.update(dict.fromkeys(each.found.patches))
            if each.own is not None:
                applied |= each.own.applied()
                failed |= each.own.failed()
            found = self._layers.get((kind, each.found))
            if found is not None and (kind, each.found) not in looked:
                looked.add((kind, each.found))
                applied |= found.applied()
                failed |= found.failed()
        told = layer.inapplicable(selected, applied, failed)
        told |= {patch: _kept_from(patch) for patch in unmet if patch not in selected}
        return layer.problems(dict(list(told.items())[:_MOST_PROBLEMS]))


def _kept_from(patch: Patch) -> str:
    return _UNASKED if patch.apply_to is ApplyTo.BOOTSTRAP else _UNMET


def _services(inbound: InboundState) -> dict[int, tuple[str, ...]]:
    """The hosts that each inbound port of a sidecar serves."""
    found: dict[int, dict[str, None]] = {}
    if isinstance(inbound.given, InboundInput):
        for target in inbound.given.targets:
            found.setdefault(target.endpoint_port, {})[target.service.host] = None
    return {port: tuple(hosts) for port, hosts in found.items()}
