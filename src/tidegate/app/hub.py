"""The control plane's centre: the world, the outbound resources of each kind of proxy, and who is shown what.

One event loop runs it; nothing here waits or does I/O. A change is applied to the world once, each kind of proxy in
use is advanced once, and only proxies that are shown something different are told.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

from tidegate.api.networking import DestinationRule, Sidecar, VirtualService
from tidegate.api.objects import Object, Ref
from tidegate.app.proxies import Node, make_kind, make_proxy
from tidegate.envoy.cache import Builders
from tidegate.envoy.defaults import Slices, slices
from tidegate.envoy.outbound import Outbound
from tidegate.envoy.resource import Decision
from tidegate.envoy.view import InboundState, ProxyView, build_inbound, inbound_input
from tidegate.kit import hosts
from tidegate.registry.model import ServiceKey
from tidegate.scope.labels import mentioned, mentioned_by_mesh
from tidegate.scope.proxy import Proxy, ProxyKind
from tidegate.snapshot.state import Snapshot
from tidegate.snapshot.world import Changed, Event
from tidegate.xds.mailbox import Mailbox
from tidegate.xds.source import Delta


class Shown:
    """One attached proxy: what it is, what it is shown, and where changes are left for it."""

    def __init__(self, node: Node, proxy: Proxy, inbound: InboundState, view: ProxyView) -> None:
        self.node, self.proxy, self.inbound = node, proxy, inbound
        self.mailbox = Mailbox(view)

    @property
    def target_hosts(self) -> set[str]:
        return {t.service.host.lower() for t in self.inbound.given.targets}


class Hub:
    """Holds the current world and shows it to the attached proxies."""

    def __init__(self, domain: str = "cluster.local") -> None:
        self.world = Snapshot.empty(domain)
        self.builders = Builders()
        self.slices: Slices = slices(self.world.mesh, domain)
        self._kinds: dict[ProxyKind, Outbound] = {}
        self._shown: dict[ProxyKind, set[Shown]] = defaultdict(set)
        self._mentions: dict[Ref, frozenset[str]] = {}
        self._mentioned: Counter[str] = Counter()
        self._mentioned_by_mesh = mentioned_by_mesh(self.world.mesh)
        self._node_local: set[ServiceKey] = set()

    # Proxies

    def attach(self, node: Node) -> Shown:
        """Show the world to a proxy from now on; its first view is complete."""
        proxy = self._proxy(node)
        inbound = build_inbound(inbound_input(self.world, proxy, self.slices), self.builders)
        shown = Shown(node, proxy, inbound, self._view(proxy, inbound))
        self._shown[proxy.kind].add(shown)
        return shown

    def detach(self, shown: Shown) -> None:
        """The proxy has gone; a kind of which none is left is forgotten."""
        kind = shown.proxy.kind
        self._shown[kind].discard(shown)
        if not self._shown[kind]:
            self._shown.pop(kind)
            self._kinds.pop(kind, None)

    def attached(self) -> list[Shown]:
        return [each for group in self._shown.values() for each in group]

    def decisions(self, kind: ProxyKind) -> Iterable[Decision]:
        return self._outbound(kind).decisions()

    def _proxy(self, node: Node) -> Proxy:
        keys = self._label_keys()
        return make_proxy(self.world, node, lambda n, w: make_kind(self.world, n, w, keys, bool(self._node_local)))

    def _outbound(self, kind: ProxyKind) -> Outbound:
        found = self._kinds.get(kind)
        if found is None:
            found = self._kinds[kind] = Outbound(kind, self.world, self.slices, self.builders)
        return found

    def _view(self, proxy: Proxy, inbound: InboundState) -> ProxyView:
        outbound = self._outbound(proxy.kind)
        return ProxyView(str(self.world.version), dict(outbound.resources), inbound.resources, proxy.addresses)

    # Changes

    def apply(self, events: Iterable[Event], since: float | None = None) -> Changed:
        """Advance the world and tell the proxies that are shown something else now.

        since: time.monotonic() of the oldest event, for the convergence metric.
        """
        before = self.world
        self.world, changed = before.apply(events)
        if not changed:
            return changed
        if changed.mesh:
            self.slices = slices(self.world.mesh, self.world.domain)
        renamed = self._note_mentions(changed) | self._note_node_local(changed)
        deltas = {
            kind: _present(outbound.advance(self.world, changed, self.slices)) for kind, outbound in self._kinds.items()
        }
        touched = self._touched(before, changed)
        for shown in self.attached():
            self._show(shown, deltas.get(shown.proxy.kind, {}), renamed or shown in touched, since)
        return changed

    def _show(self, shown: Shown, delta: Delta, own: bool, since: float | None) -> None:
        if own and (proxy := self._proxy(shown.node)) != shown.proxy:
            self._move(shown, proxy, since)
            return
        merged = dict(delta)
        if own:
            for url, names in self._refresh_inbound(shown).items():
                merged[url] = merged.get(url, frozenset()) | names
        if merged:
            shown.mailbox.publish(self._view(shown.proxy, shown.inbound), merged, since)

    def _move(self, shown: Shown, proxy: Proxy, since: float | None) -> None:
        """The proxy became another kind (its labels, its node): anything may differ."""
        self.detach(shown)
        shown.proxy = proxy
        self._refresh_inbound(shown)
        self._shown[proxy.kind].add(shown)
        shown.mailbox.publish(self._view(proxy, shown.inbound), None, since)

    def _refresh_inbound(self, shown: Shown) -> dict[str, frozenset[str]]:
        given = inbound_input(self.world, shown.proxy, self.slices)
        if given == shown.inbound.given:
            return {}
        old, shown.inbound = shown.inbound, build_inbound(given, self.builders)
        found = {}
        for url, new in shown.inbound.resources.items():
            before = {n: r.version for n, r in old.resources.get(url, {}).items()}
            after = {n: r.version for n, r in new.items()}
            found[url] = frozenset(n for n in before.keys() | after.keys() if before.get(n) != after.get(n))
        return _present(found)

    def _touched(self, before: Snapshot, changed: Changed) -> set[Shown]:
        """Proxies whose own (inbound) side may have changed."""
        everybody = self.attached()
        if changed.mesh or changed.sidecars or changed.namespaces:
            return set(everybody)
        spaces = {key.namespace for key in changed.services | changed.endpoints}
        touched = {s for s in everybody if s.proxy.workload in changed.workloads or s.proxy.kind.namespace in spaces}
        rules = [
            rule
            for ref in changed.destination_rules
            for world in (before, self.world)
            if (rule := world.destination_rules.get(ref))
        ]
        if rules:
            touched |= {s for s in everybody if _concerns(rules, s.target_hosts)}
        return touched

    def _note_mentions(self, changed: Changed) -> bool:
        """Keep count of the label keys that objects test; True when their set changed."""
        before = self._label_keys()
        sources: tuple[tuple[frozenset[Ref], Mapping[Ref, Object[VirtualService | DestinationRule | Sidecar]]], ...] = (
            (changed.virtual_services, self.world.virtual_services),
            (changed.destination_rules, self.world.destination_rules),
            (changed.sidecars, self.world.sidecars),
        )
        for refs, objects in sources:
            for ref in refs:
                found = objects.get(ref)
                self._mentioned.subtract(self._mentions.pop(ref, frozenset()))
                if found is not None and (keys := mentioned(found.spec)):
                    self._mentions[ref] = keys
                    self._mentioned.update(keys)
        self._mentioned = +self._mentioned
        self._mentioned_by_mesh = mentioned_by_mesh(self.world.mesh)
        return self._label_keys() != before

    def _label_keys(self) -> frozenset[str]:
        return self._mentioned_by_mesh.union(self._mentioned)

    def _note_node_local(self, changed: Changed) -> bool:
        """Keep the set of services that stay on their node; True when there came to be some, or none."""
        before = bool(self._node_local)
        for key in changed.services:
            service = self.world.services.get(key)
            if service is not None and service.node_local:
                self._node_local.add(key)
            else:
                self._node_local.discard(key)
        return bool(self._node_local) != before


def _present(delta: Mapping[str, frozenset[str]]) -> dict[str, frozenset[str]]:
    return {url: names for url, names in delta.items() if names}


def _concerns(rules: list[Object[DestinationRule]], targets: set[str]) -> bool:
    return any(hosts.covers(rule.spec.host, host) for rule in rules for host in targets)
