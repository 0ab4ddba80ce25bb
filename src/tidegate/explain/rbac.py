"""Role-based access control: which policy a connection or request meets, by Envoy's RBAC messages."""

from typing import Any, NamedTuple

from tidegate.dump.config.network import Policy, Rule, Rules, RuleSet
from tidegate.explain import matchers
from tidegate.explain.exchange import Exchange
from tidegate.explain.logic import Verdict, all_of, any_of, negated
from tidegate.explain.walk import Walk

_MOST_NESTED = 60


class Judged(NamedTuple):
    action: str
    """ALLOW, DENY or LOG."""
    policy: str
    """The first policy, by name, that matches; "" where none does."""
    allowed: Verdict


class _Scene(NamedTuple):
    walk: Walk
    exchange: Exchange | None
    where: str


def judge(walk: Walk, raw: dict[str, Any], exchange: Exchange | None, where: str) -> Judged:
    """What an RBAC says. ALLOW lets pass what a policy matches, DENY what none does, LOG everything."""
    rules = walk.notes.read(Rules, raw, where)
    scene = _Scene(walk, exchange, where)
    matched, policy = _first(scene, rules.policies)
    if rules.action == "DENY":
        return Judged("DENY", policy, negated(matched))
    if rules.action == "LOG":
        return Judged("LOG", policy, True)
    return Judged("ALLOW", policy, matched)


def _first(scene: _Scene, policies: dict[str, Any]) -> tuple[Verdict, str]:
    """Policies are asked in the order of their names."""
    unsure = ""
    for name in sorted(policies):
        verdict = _policy(scene, policies[name], name)
        if verdict:
            return True, name
        unsure = unsure or (name if verdict is None else "")
    return (None, unsure) if unsure else (False, "")


def _policy(scene: _Scene, raw: Any, name: str) -> Verdict:
    policy = scene.walk.notes.read(Policy, raw, f"{scene.where} policies[{name}]")
    permitted = any_of(_rule(scene, each, 0) for each in policy.permissions)
    identified = any_of(_rule(scene, each, 0) for each in policy.principals)
    condition: Verdict = None if policy.condition or policy.checked_condition else True
    return all_of((permitted, identified, condition))


def _rule(scene: _Scene, raw: Any, depth: int) -> Verdict:
    """One Permission or Principal."""
    if depth > _MOST_NESTED:
        return None
    rule = scene.walk.notes.read(Rule, raw, scene.where)
    for combined, combine in ((rule.and_rules or rule.and_ids, all_of), (rule.or_rules or rule.or_ids, any_of)):
        if combined is not None:
            return combine(_rule(scene, each, depth + 1) for each in _members(scene, combined))
    inverted = rule.not_rule or rule.not_id
    if inverted is not None:
        return negated(_rule(scene, inverted, depth + 1))
    return True if rule.any else _leaf(scene, rule)


def _members(scene: _Scene, raw: dict[str, Any]) -> tuple[Any, ...]:
    found = scene.walk.notes.read(RuleSet, raw, scene.where)
    return found.rules or found.ids


def _leaf(scene: _Scene, rule: Rule) -> Verdict:
    for judged in (_by_request, _by_address, _by_identity):
        found, verdict = judged(scene, rule)
        if found:
            return verdict
    return None


def _by_request(scene: _Scene, rule: Rule) -> tuple[bool, Verdict]:
    exchange = scene.exchange
    if rule.header is not None:
        return True, exchange is not None and matchers.header(rule.header, exchange.values(rule.header.name))
    if rule.url_path is not None:
        return True, exchange is not None and matchers.string(rule.url_path.path, exchange.path)
    if rule.metadata is not None:
        known = matchers.metadata(rule.metadata, dict(scene.walk.metadata), [])
        return True, None if scene.walk.metadata_open else known
    return False, None


def _by_address(scene: _Scene, rule: Rule) -> tuple[bool, Verdict]:
    walk = scene.walk
    if rule.destination_ip is not None:
        return True, matchers.in_range(rule.destination_ip, walk.ip)
    if rule.destination_port is not None:
        return True, walk.port == rule.destination_port
    if rule.destination_port_range is not None:
        return True, rule.destination_port_range.start <= walk.port < rule.destination_port_range.end
    source = rule.source_ip or rule.direct_remote_ip
    if source is not None:
        return True, _from(walk.connection.source_ip, matchers.in_range(source, walk.connection.source_ip))
    if rule.remote_ip is not None:
        address = _remote(scene)
        return True, _from(address, matchers.in_range(rule.remote_ip, address))
    return False, None


def _from(address: str, verdict: bool) -> Verdict:
    return verdict if address else None


def _remote(scene: _Scene) -> str:
    """The client's address as the connection manager takes it: by X-Forwarded-For where it trusts that."""
    direct, exchange = scene.walk.connection.source_ip, scene.exchange
    if exchange is None:
        return direct
    listed = [part.strip() for value in exchange.values("x-forwarded-for") for part in value.split(",") if part.strip()]
    hops = exchange.manager.xff_num_trusted_hops
    if not exchange.manager.use_remote_address:
        return listed[-(hops + 1)] if len(listed) > hops else direct
    return listed[-hops] if 0 < hops <= len(listed) else direct


def _by_identity(scene: _Scene, rule: Rule) -> tuple[bool, Verdict]:
    walk = scene.walk
    if rule.requested_server_name is not None:
        return True, matchers.string(rule.requested_server_name, walk.sni)
    if rule.authenticated is not None:
        return True, _authenticated(walk, rule)
    if rule.filter_state is not None:
        held = walk.state.get(rule.filter_state.key)
        if held is None or rule.filter_state.string_match is None:
            return True, None if walk.metadata_open else False
        return True, matchers.string(rule.filter_state.string_match, held)
    return False, None


def _authenticated(walk: Walk, rule: Rule) -> Verdict:
    """Over TLS that the proxy ended, and, where a name is asked for, with a certificate of that name."""
    if not walk.ended_tls:
        return False
    name = rule.authenticated.principal_name if rule.authenticated else None
    if name is None:
        return True
    tls = walk.connection.tls
    if tls is None or not tls.mutual:
        return matchers.string(name, "")
    return matchers.string(name, tls.principal) if tls.principal else None


def in_words(judged: Judged) -> str:
    """Why an RBAC let pass or not."""
    if judged.allowed is None:
        return f"whether policy {judged.policy} applies cannot be told"
    if judged.action == "ALLOW":
        return f"policy {judged.policy} allows it" if judged.allowed else "no policy allows it"
    if judged.action == "DENY":
        return "no policy denies it" if judged.allowed else f"policy {judged.policy} denies it"
    return f"policy {judged.policy} logs it" if judged.policy else "no policy logs it"
