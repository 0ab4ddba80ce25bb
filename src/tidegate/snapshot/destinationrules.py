"""DestinationRules: host names resolved, rules of one host in one namespace merged as istiod merges them."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from tidegate.api.networking import DestinationRule
from tidegate.api.objects import Object, Ref
from tidegate.kit.hosts import resolve_short
from tidegate.snapshot.identity import derived

Rule = Object[DestinationRule]


def full_host(rule: Rule, domain: str) -> str:
    return resolve_short(rule.spec.host, rule.ref.namespace, domain)


def credentials(rule: Rule) -> tuple[str, ...]:
    """Every ``credentialName`` of a rule, each once."""
    policies = [p for p in (rule.spec.traffic_policy, *(s.traffic_policy for s in rule.spec.subsets)) if p]
    blocks = [p.tls for p in policies] + [level.tls for p in policies for level in p.port_level_settings]
    return tuple(dict.fromkeys(tls.credential_name for tls in blocks if tls is not None and tls.credential_name))


class Merged(NamedTuple):
    """One effective rule: ``rule`` has the first member's ref and a digest of all members."""

    rule: Rule
    members: tuple[Ref, ...]


class Group:
    """Rules that end up in one effective rule."""

    def __init__(self, first: Rule, export_to: frozenset[str]) -> None:
        self.members, self.export_to = [first], export_to
        self.subsets, self.policy = list(first.spec.subsets), first.spec.traffic_policy

    def takes(self, rule: Rule, export_to: frozenset[str]) -> bool:
        """Equal selectors, and visible at least where the group is."""
        return _selector(self.members[0]) == _selector(rule) and export_to >= self.export_to

    def add(self, rule: Rule) -> list[str]:
        """Take the rule's new subsets, and its policy when there was none; tells what was not taken."""
        self.members.append(rule)
        known = {s.name for s in self.subsets}
        self.subsets += [s for s in rule.spec.subsets if s.name not in known]
        older = self.members[0].ref
        lost = [
            f"subset {s.name!r} is left out: {older} has one of that name" for s in rule.spec.subsets if s.name in known
        ]
        if self.policy is None:
            self.policy = rule.spec.traffic_policy
        elif rule.spec.traffic_policy is not None:
            lost.append(f"spec.trafficPolicy is left out: {older} has one for the same host")
        return lost

    def finish(self, domain: str) -> Merged:
        first = self.members[0]
        refs = tuple(m.ref for m in self.members)
        host = full_host(first, domain)
        if len(refs) == 1 and host == first.spec.host:
            return Merged(first, refs)
        spec = replace(first.spec, host=host, subsets=tuple(self.subsets), traffic_policy=self.policy)
        made_of = [domain.encode(), *(part for m in self.members[1:] for part in (str(m.ref).encode(), m.digest))]
        return Merged(derived(first, spec, made_of), refs)


def _selector(rule: Rule) -> tuple[tuple[str, str], ...] | None:
    selector = rule.spec.workload_selector
    return tuple(sorted(selector.match_labels.items())) if selector is not None else None


def merge(
    rules: Iterable[Rule], domain: str, default_export_to: Sequence[str]
) -> tuple[tuple[Merged, ...], tuple[tuple[Ref, str], ...]]:
    """The effective rules of one host in one namespace, and notes on what got lost.

    Rules with a workloadSelector come first, then the oldest. A rule joins those before it that have its selector and
    are visible in no other namespaces than it is; unless one is visible in just the same, it also stands alone.
    """
    groups: list[Group] = []
    notes: list[tuple[Ref, str]] = []
    for rule in sorted(rules, key=lambda r: (r.spec.workload_selector is None, r.age_key)):
        export_to = frozenset(rule.spec.export_to or default_export_to or ("*",))
        alone = True
        for group in [g for g in groups if g.takes(rule, export_to)]:
            alone = alone and group.export_to != export_to
            notes.extend((rule.ref, lost) for lost in group.add(rule))
        if alone:
            groups.append(Group(rule, export_to))
    return tuple(g.finish(domain) for g in groups), tuple(notes)
