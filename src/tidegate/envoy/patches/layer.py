"""What a kind of proxy is shown once EnvoyFilters are applied, kept up by the change.

Views without an EnvoyFilter have no layer. One that has costs as much as resources changed that a patch concerns.
"""

from collections.abc import Iterable, Mapping

from immutables import Map

from tidegate.api.envoyfilter import ApplyTo, PatchContext
from tidegate.api.objects import Ref
from tidegate.envoy.patches import bootstraps, clusters, resources
from tidegate.envoy.patches.patch import Patch
from tidegate.envoy.patches.resources import Patched, Patcher
from tidegate.envoy.patches.selection import PatchSet
from tidegate.envoy.resource import CLUSTER, ENDPOINT, EXTENSION, LISTENER, Decision, Origin, Resource, resource
from tidegate.kit import naming
from tidegate.kit.bootstraps import TYPE_URL as BOOTSTRAP
from tidegate.scope.proxy import ProxyKind

Resources = Map[str, Resource]


def outbound_context(kind: ProxyKind) -> PatchContext:
    return PatchContext.GATEWAY if kind.router else PatchContext.SIDECAR_OUTBOUND


class Layer:
    """The outbound resources of one kind of proxy as one set of patches leaves them.

    ``resources`` are immutable maps by type URL and name, as :class:`~tidegate.envoy.outbound.Outbound` has them.
    """

    def __init__(self, kind: ProxyKind, patches: PatchSet, base: Mapping[str, Resources], patcher: Patcher) -> None:
        self.kind, self.patches, self._patcher = kind, patches, patcher
        self._context = outbound_context(kind)
        self._results: dict[str, dict[str, Patched]] = {}
        """By type URL and name: of resources that a patch concerns."""
        self.resources: dict[str, Resources] = dict.fromkeys(base, Map())
        self._added = {url: list(resources.added(patches.within(self._context), url)) for url in (CLUSTER, LISTENER)}
        self.advance(base, {url: frozenset(found) for url, found in base.items()})

    def advance(self, base: Mapping[str, Resources], delta: Mapping[str, frozenset[str]]) -> dict[str, frozenset[str]]:
        """Follow a change of the resources underneath; returns the names that differ here."""
        found = {}
        for url, names in delta.items():
            moved = {name: self._patched(url, name, base[url].get(name)) for name in names}
            for made, _ in self._added.get(url, ()):
                if moved.get(made.name) is None and made.name not in base[url]:
                    moved[made.name] = made
            found[url] = self._publish(url, moved)
        return found

    def _patched(self, url: str, name: str, given: Resource | None) -> Resource | None:
        results = self._results.setdefault(url, {})
        before = results.pop(name, None)  # kept until the new one stands: their virtual hosts are mostly the same
        if given is None or (url == ENDPOINT and self._removes(name)):
            return None
        result = self._patcher.patch(given, self.patches, self._context)
        if result.applied or result.failed or result.inner:
            results[name] = result
        del before
        return result.resource

    def _removes(self, cluster: str) -> bool:
        """Nobody asks for the endpoints of a cluster that is gone."""
        return clusters.removal(clusters.concerning(self.patches.within(self._context), cluster, ())) is not None

    def _publish(self, url: str, moved: Mapping[str, Resource | None]) -> frozenset[str]:
        changed = set()
        with self.resources[url].mutate() as target:
            for name, new in moved.items():
                old = target.get(name)
                if new is not None:
                    target[name] = new
                elif old is not None:
                    del target[name]
                if (old.version if old else None) != (new.version if new else None):
                    changed.add(name)
            self.resources[url] = target.finish()
        return frozenset(changed)

    def applied(self) -> set[Patch]:
        """The patches that changed, added or removed something here."""
        found = {patch for results in self._results.values() for each in results.values() for patch in each.applied}
        found.update(patch for each in self._added.values() for _, patch in each)
        return found

    def failed(self) -> dict[Patch, str]:
        """The patches that could not be joined with what they are meant for, and why."""
        return {p: why for results in self._results.values() for each in results.values() for p, why in each.failed}


class Own:
    """The inbound resources of one proxy with patches, and resources that only patches bring."""

    def __init__(
        self,
        patches: PatchSet,
        base: Mapping[str, Mapping[str, Resource]],
        services: Mapping[int, tuple[str, ...]],
        patcher: Patcher,
        *,
        router: bool = False,
    ) -> None:
        """``services``: the hosts that each inbound port serves."""
        context = PatchContext.GATEWAY if router else PatchContext.SIDECAR_INBOUND
        self._results: list[Patched] = []
        self.resources: dict[str, dict[str, Resource]] = {}
        for url, found in base.items():
            results = [patcher.patch(each, patches, context, _hosts(name, services)) for name, each in found.items()]
            self._results += results
            self.resources[url] = {each.resource.name: each.resource for each in results if each.resource is not None}
        self._brought: set[Patch] = set()
        if not router:
            self._add(patches.within(context))
        self._extensions(patches)
        self._bootstrap = bootstraps.joined(patches.of(ApplyTo.BOOTSTRAP))
        if self._bootstrap.resources:
            self.resources[BOOTSTRAP] = self._bootstrap.resources

    def _add(self, patches: PatchSet) -> None:
        for url in (CLUSTER, LISTENER):
            for made, patch in resources.added(patches, url):
                self.resources.setdefault(url, {}).setdefault(made.name, made)
                self._brought.add(patch)

    def _extensions(self, patches: PatchSet) -> None:
        """Extension configurations are found by name wherever a filter names them: they belong to no side."""
        made = {}
        for patch in patches.of(ApplyTo.EXTENSION_CONFIG):
            origin = Origin("", patch.ref, f"{patch.field}.patch.value")
            made[patch.value.name] = resource(patch.value.name, EXTENSION, patch.value, (origin,))
            self._brought.add(patch)
        if made:
            self.resources[EXTENSION] = made

    def applied(self) -> set[Patch]:
        return self._brought.union(self._bootstrap.applied, *(each.applied for each in self._results))

    def failed(self) -> dict[Patch, str]:
        found = {patch: why for each in self._results for patch, why in each.failed}
        return found | dict(self._bootstrap.failed)


def _hosts(name: str, services: Mapping[int, tuple[str, ...]]) -> tuple[str, ...]:
    parts = naming.parse_cluster(name)
    return services.get(parts.port, ()) if parts is not None and parts.direction == "inbound" else ()


def inapplicable(patches: Iterable[Patch], applied: set[Patch], failed: Mapping[Patch, str]) -> dict[Patch, str]:
    """The patches that did nothing, and why, in words."""
    return {
        patch: failed.get(patch) or f"nothing that is shown matches what {patch.operation.value} is to be applied to"
        for patch in patches
        if patch not in applied
    }


def decisions(patches: Iterable[Patch], applied: set[Patch], failed: Mapping[Patch, str]) -> Iterable[Decision]:
    """What is known of patches that did nothing, for the decision log."""
    for patch, why in inapplicable(patches, applied, failed).items():
        subject = f"{patch.field}: {patch.operation.value} {patch.apply_to.value}"
        yield Decision(subject, f"patch not applied: {why}", patch.ref)


def problems(ref_patches: Mapping[Patch, str]) -> dict[Ref, tuple[str, ...]]:
    """By EnvoyFilter, its patches that did nothing for any proxy, in words for people."""
    found: dict[Ref, list[str]] = {}
    for patch, why in ref_patches.items():
        text = f"{patch.field} does nothing for the proxies that it selects: {why}"
        found.setdefault(patch.ref, []).append(text)
    return {ref: tuple(texts) for ref, texts in found.items()}
