"""Why a subset that a route names is not there, or has nobody in it."""

from collections.abc import Iterator

from tidegate.answer.absence import Absence
from tidegate.answer.case import Case, policy_rule, rule_of, service_of
from tidegate.api.networking import DestinationRule
from tidegate.api.objects import Object
from tidegate.kit import hosts, naming
from tidegate.registry.model import Service
from tidegate.scope import choice

_FIELD = "spec.subsets"
_MOST = 3


def without(case: Case, wanted: naming.ClusterName, service: Service | None) -> Iterator[Absence]:
    """The rule that is looked at and lacks the subset, where another one has it; and that other one."""
    having = [
        rule
        for rule in case.world.destination_rules.values()
        if hosts.covers(rule.spec.host, wanted.host) and _has(rule, wanted.subset)
    ]
    chosen = choice.destination_rule(case.world, case.proxy.kind, service) if service is not None else None
    if having and chosen is not None:
        yield Absence(chosen.ref, _FIELD, f"is the rule in force here and has no subset {wanted.subset}")
    for rule in having:
        yield Absence(rule.ref, _FIELD, f"defines subset {wanted.subset}, and this proxy does not look there")


def undefined(case: Case, wanted: naming.ClusterName, service: Service | None) -> Iterator[Absence]:
    """Of a subset that nobody defines for the host: what the rule in force has instead, and a rule for a host of
    another namespace whose short name is the same."""
    chosen = choice.destination_rule(case.world, case.proxy.kind, service) if service is not None else None
    rule = rule_of(case)
    if chosen is not None:
        listed = ", ".join(subset.name for subset in chosen.spec.subsets) or "none"
        yield Absence(chosen.ref, _FIELD, f"is the rule in force here; its subsets: {listed}", strong=False)
    elif rule is not None:
        words = f"names subset {wanted.subset}, which a DestinationRule for {wanted.host} has to define: there is none"
        yield Absence(rule, "spec.http" if case.connection.http else "", words, strong=False)
    short = wanted.host.partition(".")[0]
    near = (r for r in case.world.destination_rules.values() if _has(r, wanted.subset))
    same = [r for r in near if r.spec.host.partition(".")[0] == short and not hosts.covers(r.spec.host, wanted.host)]
    for each in same[:_MOST]:
        yield Absence(each.ref, "spec.host", f"defines subset {wanted.subset}, of {each.spec.host}", strong=False)


def empty(case: Case) -> Iterator[Absence]:
    """What a subset asks of endpoints, where the service has some and none of them has it."""
    parsed, ref, service = naming.parse_cluster(case.end.cluster), policy_rule(case), service_of(case)
    rule = case.world.destination_rules.get(ref) if ref is not None else None
    if parsed is None or not parsed.subset or rule is None or service is None:
        return
    number = next((n for n, subset in enumerate(rule.spec.subsets) if subset.name == parsed.subset), None)
    ends = case.world.endpoints.get(service.key, ())
    if number is None or not ends:
        return
    asked = rule.spec.subsets[number].labels
    having = sorted({f"{key}={dict(end.labels).get(key, '')}" for end in ends for key in asked})
    words = f"asks for {_listed(asked)}; the endpoints of {service.host} have {', '.join(having[:6]) or 'no labels'}"
    yield Absence(rule.ref, f"{_FIELD}[{number}].labels", words, strong=False)


def unmirrored(case: Case) -> Iterator[Absence]:
    """Mirrors of the route whose cluster the proxy has not got: Envoy leaves them out without a word."""
    rule = rule_of(case)
    for mirror in case.end.mirrors if rule is not None else ():
        parsed = naming.parse_cluster(mirror.cluster)
        if rule is None or parsed is None or _has_cluster(case, parsed):
            continue
        words = f"mirrors to {mirror.cluster}, which this proxy has not got: nothing is mirrored"
        yield Absence(rule, "spec.http", words, strong=False)


def _has_cluster(case: Case, wanted: naming.ClusterName) -> bool:
    seen = choice.service_candidates(case.world, case.proxy.kind, wanted.host)
    if not seen or seen[0].port(wanted.port) is None:
        return False
    chosen = choice.destination_rule(case.world, case.proxy.kind, seen[0])
    return not wanted.subset or (chosen is not None and _has(chosen, wanted.subset))


def _listed(labels: dict[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in labels.items())


def _has(rule: Object[DestinationRule], name: str) -> bool:
    return any(subset.name == name for subset in rule.spec.subsets)
