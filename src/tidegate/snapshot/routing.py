"""The step of routing rules: VirtualServices with their delegates, DestinationRules, Sidecars."""

from typing import Any

from immutables import Map

from tidegate.api.networking import DestinationRule
from tidegate.api.objects import Object, Ref
from tidegate.snapshot import destinationrules, virtualservices
from tidegate.snapshot.hostindex import HostIndex
from tidegate.snapshot.record import RuleKey
from tidegate.snapshot.tables import Tables, assign, move

Old = Object[Any] | None


class RoutingStep:
    """``take_*`` note what an object's change may concern; ``settle`` derives that again and keeps what differs."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self.dirty_virtual_services: set[Ref] = set()
        self.dirty_rules: set[RuleKey] = set()
        self.changed_virtual_services: set[Ref] = set()
        self.changed_rules: set[Ref] = set()
        self.changed_sidecars: set[Ref] = set()

    def take_virtual_service(self, ref: Ref, old: Old, new: Old) -> None:
        tables = self.tables
        before, after = (virtualservices.delegate_refs(o) if o else () for o in (old, new))
        move(tables.roots, ref, before, after)
        self.dirty_virtual_services.add(ref)
        self.dirty_virtual_services.update(tables.roots.get(ref, ()))

    def take_destination_rule(self, ref: Ref, old: Old, new: Old) -> None:
        before, after = (self._rule_key(o) if o else None for o in (old, new))
        for key in {key for key in (before, after) if key}:
            refs = {*self.tables.rule_sources.get(key, ())} - {ref} | ({ref} if key == after else set())
            assign(self.tables.rule_sources, key, tuple(sorted(refs)) or None)
            self.dirty_rules.add(key)

    def take_sidecar(self, ref: Ref, old: Old, new: Old) -> None:
        assign(self.tables.sidecars, ref, new)
        kept = [s for s in self.tables.sidecars_in.get(ref.namespace, ()) if s.ref != ref]
        found = sorted((*kept, *([new] if new is not None else ())), key=lambda s: s.age_key)
        assign(self.tables.sidecars_in, ref.namespace, tuple(found) or None)
        self.changed_sidecars.add(ref)

    def take_exports(self, *, virtual_services: bool, destination_rules: bool) -> None:
        """Mesh defaults of exportTo changed: they decide which delegates are visible and which rules merge.

        Objects that come with the same step are dirty anyway, so the state before it tells the others.
        """
        if virtual_services:
            self.dirty_virtual_services.update(ref for roots in self.tables.base.roots.values() for ref in roots)
        if destination_rules:
            self.dirty_rules.update(self.tables.base.rule_sources)

    def settle(self) -> None:
        for ref in self.dirty_virtual_services:
            self._settle_virtual_service(ref)
        for key in self.dirty_rules:
            self._settle_rules(key)

    def _rule_key(self, rule: Object[DestinationRule]) -> RuleKey:
        return rule.ref.namespace, destinationrules.full_host(rule, self.tables.domain).lower()

    def _settle_virtual_service(self, ref: Ref) -> None:
        tables = self.tables
        resolved = self._derive_virtual_service(ref)
        old, new = tables.virtual_services.get(ref), resolved.object if resolved else None
        tables.note(("virtual service", ref), ((ref, text) for text in (resolved.notes if resolved else ())))
        if old == new:
            return
        self.changed_virtual_services.add(ref)
        assign(tables.virtual_services, ref, new)
        assign(tables.members, ref, resolved.members if resolved and len(resolved.members) > 1 else None)
        move(tables.bound, ref, *(virtualservices.gateways(o) if o else () for o in (old, new)))
        before, after = ({h.lower() for h in o.spec.hosts} if o else set() for o in (old, new))
        for host in before - after:
            rest = (tables.routes.get(host) or Map()).delete(ref)
            tables.routes = tables.routes.put(host, rest) if rest else tables.routes.drop(host)
        for host in after - before:
            tables.routes = tables.routes.put(host, (tables.routes.get(host) or Map()).set(ref, None))

    def _derive_virtual_service(self, ref: Ref) -> virtualservices.Resolved | None:
        root = self.tables.objects.get(ref)
        if root is None or virtualservices.is_delegate(root):
            return None
        wanted = virtualservices.delegate_refs(root)
        delegates = {r: obj for r in wanted if (obj := self.tables.objects.get(r))}
        default = self.tables.mesh.default_virtual_service_export_to
        return virtualservices.resolve(root, delegates, self.tables.domain, default)

    def _settle_rules(self, key: RuleKey) -> None:
        tables, (namespace, host) = self.tables, key
        index: HostIndex[tuple[Object[DestinationRule], ...]] = tables.rules.get(namespace) or HostIndex()
        made = self._derive_rules(key)
        old, new = index.get(host) or (), tuple(m.rule for m in made)
        before, after = {r.ref: r for r in old}, {r.ref: r for r in new}
        for ref in before.keys() | after.keys():
            if before.get(ref) != after.get(ref):
                self.changed_rules.add(ref)
                here = [namespace] if ref in after and destinationrules.credentials(after[ref]) else []
                move(tables.naming_secrets, ref, [namespace] if self._is_listed(ref) else [], here)
        for ref in before.keys() - after.keys():
            self._forget_rule(host, ref)
        for merged in made:
            tables.destination_rules[merged.rule.ref] = merged.rule
            assign(tables.members, merged.rule.ref, merged.members if len(merged.members) > 1 else None)
        index = index.put(host, new) if new else index.drop(host)
        assign(tables.rules, namespace, index if len(index) else None)

    def _is_listed(self, ref: Ref) -> bool:
        return ref in (self.tables.naming_secrets.get(ref.namespace) or ())

    def _forget_rule(self, host: str, ref: Ref) -> None:
        """Drop an effective rule, unless the same object stands for another host by now."""
        known = self.tables.destination_rules.get(ref)
        if known is not None and known.spec.host.lower() == host:
            assign(self.tables.destination_rules, ref, None)
            assign(self.tables.members, ref, None)

    def _derive_rules(self, key: RuleKey) -> tuple[destinationrules.Merged, ...]:
        tables = self.tables
        rules = [tables.objects[ref] for ref in tables.rule_sources.get(key, ())]
        default = tables.mesh.default_destination_rule_export_to
        made, notes = destinationrules.merge(rules, tables.domain, default)
        tables.note(("destination rules", key), notes)
        return made
