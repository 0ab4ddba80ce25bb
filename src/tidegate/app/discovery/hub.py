"""The control plane's centre: the world, the outbound resources of each kind of proxy, and who is shown what.

One event loop runs it; nothing here waits or does I/O. A change is applied to the world once, each kind of proxy in
use is advanced once, and only proxies that are shown something different are told.
"""

import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tidegate.api.networking import DestinationRule
from tidegate.api.objects import Object, Ref
from tidegate.app.discovery.patching import NONE, Patches, Patching
from tidegate.app.discovery.proxies import Node, make_kind, make_proxy
from tidegate.envoy.cache import Builders
from tidegate.envoy.defaults import Slices, slices
from tidegate.envoy.inputs import InboundInput, Input
from tidegate.envoy.outbound import Outbound
from tidegate.envoy.patches.selection import unmet
from tidegate.envoy.resource import Decision
from tidegate.envoy.telemetry import asks_services
from tidegate.envoy.view import InboundState, ProxyView, build_own, own_input
from tidegate.kit import hosts
from tidegate.kit.features import DEFAULTS, Features
from tidegate.registry.model import ServiceKey
from tidegate.scope.labels import mentioned, mentioned_by_mesh, where_tested
from tidegate.scope.proxy import Proxy, ProxyKind
from tidegate.scope.telemetry import KIND as TELEMETRY
from tidegate.snapshot.destinationrules import credentials
from tidegate.snapshot.state import Snapshot
from tidegate.snapshot.world import Changed, Event
from tidegate.xds.mailbox import Mailbox, merge
from tidegate.xds.source import Delta

log = logging.getLogger(__name__)


class Shown:
    """One attached proxy: what it is, what it is shown, and where changes are left for it."""

    def __init__(self, node: Node, proxy: Proxy, inbound: InboundState, view: ProxyView) -> None:
        self.node, self.proxy, self.inbound = node, proxy, inbound
        self.patches: Patches = NONE
        self.mailbox = Mailbox(view)

    @property
    def pod(self) -> Ref:
        """Its Pod, whether or not the store knows it yet."""
        return Ref("Pod", self.node.namespace, self.node.pod)

    @property
    def target_hosts(self) -> set[str]:
        return {t.service.host.lower() for t in self.inbound.given.targets}

    @property
    def asked_hosts(self) -> tuple[str, ...]:
        """Services that its policies ask: authorizers, and where keys of token issuers are fetched."""
        given = self.inbound.given
        return given.security.hosts if isinstance(given, InboundInput) else ()


class Hub:
    """Holds the current world and shows it to the attached proxies."""

    def __init__(self, domain: str = "cluster.local", features: Features = DEFAULTS) -> None:
        self.world = Snapshot.empty(domain, features=features)
        self.builders = Builders(_left_out)
        self.slices: Slices = slices(self.world.mesh, domain)
        self._kinds: dict[ProxyKind, Outbound] = {}
        self._shown: dict[ProxyKind, set[Shown]] = defaultdict(set)
        self._of_pod: dict[Ref, set[Shown]] = defaultdict(set)
        self._mentions: dict[Ref, tuple[str, frozenset[str]]] = {}
        self._mentioned: dict[str, Counter[str]] = defaultdict(Counter)
        """By the namespace on whose proxies labels are tested, "" for all: label keys, and by how many objects."""
        self._mentioned_by_mesh = mentioned_by_mesh(self.world.mesh)
        self._node_local: set[ServiceKey] = set()
        self.patching = Patching()
        self.renewed: dict[Shown, None] = {}
        """Proxies that came, went or take something else in; whoever follows disputes takes them away."""
        self._most = 0
        """Resources of all kinds together, at their most since the builders' caches were swept."""

    # Proxies

    def attach(self, node: Node) -> Shown:
        """Show the world to a proxy from now on; its first view is complete."""
        proxy = self._proxy(node)
        inbound = build_own(own_input(self.world, proxy, self.slices), self.builders)
        patches = self.patching.patches_of(self.world, node, proxy, inbound)
        shown = Shown(node, proxy, inbound, self._view(proxy, inbound, patches))
        shown.patches = patches
        self.renewed[shown] = None
        self._shown[proxy.kind].add(shown)
        self._of_pod[shown.pod].add(shown)
        return shown

    def detach(self, shown: Shown) -> None:
        """The proxy has gone; a kind of which none is left is forgotten."""
        self.renewed[shown] = None
        self._of_pod[shown.pod].discard(shown)
        if not self._of_pod[shown.pod]:
            del self._of_pod[shown.pod]
        self._leave(shown.proxy.kind, shown)
        self._forget_patches()

    def _leave(self, kind: ProxyKind, shown: Shown) -> None:
        self._shown[kind].discard(shown)
        if not self._shown[kind]:
            del self._shown[kind]
            self._kinds.pop(kind, None)
            self._tidy()

    def _tidy(self) -> None:
        """Sweep the builders' caches whenever half of what there was has gone: that pays for the walk."""
        count = sum(len(of_type) for each in self._kinds.values() for of_type in each.resources.values())
        self._most = max(self._most, count)
        if count < self._most / 2:
            self.builders.sweep()
            self._most = count

    def _forget_patches(self) -> None:
        self.patching.keep({(s.proxy.kind, s.patches.found) for s in self.attached() if s.patches.found})

    def outbounds(self) -> Mapping[ProxyKind, Outbound]:
        """What each kind of proxy in use is shown."""
        return self._kinds

    def shows(self, shown: Shown) -> bool:
        """Whether a proxy is attached still."""
        return shown in self._shown.get(shown.proxy.kind, ())

    def attached(self) -> list[Shown]:
        return [each for group in self._shown.values() for each in group]

    def _of(self, namespaces: set[str]) -> set[Shown]:
        return {each for kind, group in self._shown.items() if kind.namespace in namespaces for each in group}

    def decisions(self, kind: ProxyKind) -> Iterable[Decision]:
        """What was decided among objects for a kind of proxy; nothing for one that is not in use."""
        found = self._kinds.get(kind)
        if found is None:
            return ()
        patches = {s.patches.found: s.patches for s in self._shown.get(kind, ())}
        return (*found.decisions(), *self.patching.decisions(kind, patches.values()))

    def problems(self) -> dict[Ref, tuple[str, ...]]:
        """What only the proxies' resources can tell of objects: EnvoyFilters that do nothing."""
        shown = self.attached()
        kept = (p for s in shown for p in unmet(self.world, s.proxy, s.node.version, s.node.metadata))
        return self.patching.problems(((s.proxy.kind, s.patches) for s in shown if s.patches.found), kept)

    def _proxy(self, node: Node) -> Proxy:
        keys = self._label_keys(node.namespace)
        return make_proxy(self.world, node, lambda n, w: make_kind(self.world, n, w, keys, bool(self._node_local)))

    def _outbound(self, kind: ProxyKind) -> Outbound:
        found = self._kinds.get(kind)
        if found is None:
            found = self._kinds[kind] = Outbound(kind, self.world, self.slices, self.builders)
        return found

    def _view(self, proxy: Proxy, inbound: InboundState, patches: Patches) -> ProxyView:
        outbound = self._outbound(proxy.kind)
        shared, own = dict(outbound.resources), inbound.resources
        if patches.own is not None:
            shared, own = self.patching.resources(proxy.kind, patches.found, outbound), patches.own.resources
        return ProxyView(str(self.world.version), shared, own, proxy.addresses)

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
        renamed = self._note_mentions(changed) | ({""} if self._note_node_local(changed) else set())
        deltas = {
            kind: _present(outbound.advance(self.world, changed, self.slices)) for kind, outbound in self._kinds.items()
        }
        patched = self.patching.advance(self._kinds, deltas)
        touched = set(self.attached()) if "" in renamed else self._touched(before, changed) | self._of(renamed)
        for kind, delta in deltas.items():
            for shown in self._shown[kind] - touched if delta else ():
                told = patched[kind, shown.patches.found] if shown.patches.found else delta
                if told:
                    shown.mailbox.publish(self._view(shown.proxy, shown.inbound, shown.patches), told, since)
        for shown in touched:
            self._show(shown, deltas.get(shown.proxy.kind, {}), since)
        self._forget_patches()
        self._tidy()
        return changed

    def _show(self, shown: Shown, delta: Delta, since: float | None) -> None:
        """Look at one proxy anew; it may have become another kind (its labels, its node), so that all may differ."""
        before, shown.proxy = shown.proxy, self._proxy(shown.node)
        own = self._refresh_inbound(shown)
        patches = shown.patches
        shown.patches = self.patching.patches_of(self.world, shown.node, shown.proxy, shown.inbound, patches)
        # before the old kind is left, and its cached results with it
        view = self._view(shown.proxy, shown.inbound, shown.patches)
        if shown.proxy.kind != before.kind:
            self._leave(before.kind, shown)
            self._shown[shown.proxy.kind].add(shown)
            shown.mailbox.publish(view, None, since)
        elif shown.proxy.addresses != before.addresses or shown.patches.found != patches.found:
            shown.mailbox.publish(view, None, since)
        elif delta or own:
            shown.mailbox.publish(view, merge(delta, own), since)

    def _refresh_inbound(self, shown: Shown) -> dict[str, frozenset[str]]:
        given = own_input(self.world, shown.proxy, self.slices)
        if given == shown.inbound.given:
            return {}
        try:
            old, shown.inbound = shown.inbound, build_own(given, self.builders)
        except Exception as error:  # one bad object must not end the control plane
            _left_out(f"inbound side of {shown.node.name}, which stays as it was", given, error)
            return {}
        self.renewed[shown] = None
        found = {}
        for url, new in shown.inbound.resources.items():
            before = {n: r.version for n, r in old.resources.get(url, {}).items()}
            after = {n: r.version for n, r in new.items()}
            found[url] = frozenset(n for n in before.keys() | after.keys() if before.get(n) != after.get(n))
        return _present(found)

    def _touched(self, before: Snapshot, changed: Changed) -> set[Shown]:
        """Proxies whose own (inbound) side may have changed."""
        rooted = changed.sidecars | changed.policies
        spaces = {each.namespace for each in changed.services | changed.endpoints | rooted}
        logged = bool(changed.services) and asks_services(self.world.mesh)
        everywhere = any(ref.namespace == self.world.mesh.root_namespace for ref in rooted)
        if changed.mesh or changed.networks or logged or everywhere:
            return set(self.attached())
        touched = self._of(spaces)
        touched.update(s for ref in changed.workloads for s in self._of_pod.get(ref, ()))
        if hosts_changed := {key.host.lower() for key in changed.services}:
            touched.update(s for s in self.attached() if not hosts_changed.isdisjoint(s.asked_hosts))
        rules = [
            rule
            for ref in changed.destination_rules
            for world in (before, self.world)
            if (rule := world.destination_rules.get(ref))
        ]
        if rules:
            touched.update(s for s in self.attached() if _concerns(rules, s.target_hosts))
        touched.update(self._of({ref.namespace for ref in changed.credentials | _naming_secrets(rules)}))
        if changed.services or changed.virtual_services or changed.destination_rules or changed.policies:
            touched.update(self._routers())
        return touched

    def _routers(self) -> Iterator[Shown]:
        """Gateways: their routes may lead to any service, and come from any namespace."""
        for kind, group in self._shown.items():
            if kind.router:
                yield from group

    def _note_mentions(self, changed: Changed) -> set[str]:
        """Keep count of the label keys that objects test; returns the namespaces on whose proxies others are tested
        now, "" for all."""
        telemetry = frozenset(ref for ref in changed.policies if ref.kind == TELEMETRY)
        sources: tuple[tuple[frozenset[Ref], Mapping[Ref, Object[Any]]], ...] = (
            (telemetry, {o.ref: o for r in telemetry for o in self.world.policies_in(TELEMETRY, r.namespace)}),
            (changed.virtual_services, self.world.virtual_services),
            (changed.destination_rules, self.world.destination_rules),
            (changed.sidecars, self.world.sidecars),
        )
        spaces = {"", *(ref.namespace for refs, _ in sources for ref in refs)}
        before = {space: self._label_keys(space) for space in spaces}
        for refs, objects in sources:
            for ref in refs:
                self._note_mention(ref, objects.get(ref))
        self._mentioned_by_mesh = mentioned_by_mesh(self.world.mesh)
        moved = {space for space in spaces if self._label_keys(space) != before[space]}
        return {""} if "" in moved else moved

    def _note_mention(self, ref: Ref, found: Object[Any] | None) -> None:
        space, keys = self._mentions.pop(ref, ("", frozenset()))
        self._mentioned[space].subtract(keys)
        self._mentioned[space] = +self._mentioned[space]
        if not self._mentioned[space]:
            del self._mentioned[space]
        if found is not None and (keys := mentioned(found.spec)):
            space = where_tested(found)
            self._mentions[ref] = space, keys
            self._mentioned[space].update(keys)

    def _label_keys(self, namespace: str) -> frozenset[str]:
        """Label keys that are tested on the proxies of a namespace."""
        everywhere, here = self._mentioned.get("", ()), self._mentioned.get(namespace, ())
        return self._mentioned_by_mesh.union(everywhere, here)

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


def _left_out(what: str, given: Input, error: Exception) -> None:
    """A builder failed on an object that nobody refused: the rest of the world goes on without that resource."""
    log.error("left out: %s: %s: %s; input: %.400r", what, type(error).__name__, error, given)


def _present(delta: Mapping[str, frozenset[str]]) -> dict[str, frozenset[str]]:
    return {url: names for url, names in delta.items() if names}


def _naming_secrets(rules: list[Object[DestinationRule]]) -> set[Ref]:
    return {rule.ref for rule in rules if credentials(rule)}


def _concerns(rules: list[Object[DestinationRule]], targets: set[str]) -> bool:
    return any(hosts.covers(rule.spec.host, host) for rule in rules for host in targets)
