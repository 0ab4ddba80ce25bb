"""AuthorizationPolicies as RBAC filters: AUDIT, DENY and ALLOW, one filter each."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from tidegate.api.objects import Object
from tidegate.api.security import Action, AuthorizationPolicy
from tidegate.api.validation.authorization_policy import is_dry_run
from tidegate.envoy import protos
from tidegate.envoy.security import messages as m
from tidegate.envoy.security.terms import Scope, policy_of

HTTP_RBAC, NETWORK_RBAC = "envoy.filters.http.rbac", "envoy.filters.network.rbac"
TCP_STATS = "tcp."
_DRY_RUN_ALLOW, _DRY_RUN_DENY = "istio_dry_run_allow_", "istio_dry_run_deny_"

Policies = tuple[Object[AuthorizationPolicy], ...]

_ACTIONS = {
    Action.ALLOW: m.Rbac.Action.Value("ALLOW"),
    Action.DENY: m.Rbac.Action.Value("DENY"),
    Action.AUDIT: m.Rbac.Action.Value("LOG"),
    Action.CUSTOM: m.Rbac.Action.Value("DENY"),
}
ORDER = (Action.AUDIT, Action.DENY, Action.ALLOW)
"""A denied request is denied whatever else allows it."""


class Enforcement(msgspec.Struct, frozen=True):
    """Where policies are enforced."""

    trust_domains: tuple[str, ...] = ()
    tcp: bool = False


def filters(policies: Policies, where: Enforcement) -> list[Any]:
    """The filters of all policies but CUSTOM ones: HttpFilter messages, or network filters for TCP."""
    found = (_filter(tuple(p for p in policies if p.spec.action is action), where) for action in ORDER)
    return [each for each in found if each is not None]


def _filter(policies: Policies, where: Enforcement) -> Any | None:
    if not policies:
        return None
    dry = tuple(p for p in policies if is_dry_run(p.meta.annotations))
    enforced = tuple(p for p in policies if p not in dry)
    denies = dry and dry[0].spec.action is Action.DENY
    return wrapped(
        where,
        rules=rules_of(enforced, where) if enforced else None,
        shadow_rules=rules_of(dry, where) if dry else None,
        shadow_rules_stat_prefix=_DRY_RUN_DENY if denies else _DRY_RUN_ALLOW,
    )


def wrapped(where: Enforcement, **fields: Any) -> Any:
    """The RBAC filter with these fields."""
    if where.tcp:
        config = m.NetworkRbac(stat_prefix=TCP_STATS, **fields)
        return protos.Filter(name=NETWORK_RBAC, typed_config=protos.any_of(config))
    return protos.HttpFilter(name=HTTP_RBAC, typed_config=protos.any_of(m.HttpRbac(**fields)))


def rules_of(policies: Policies, where: Enforcement, *, prefix: str = "", suffix: str = "") -> Any:
    """RBAC message of policies that have one action; names of its policies begin and end as given."""
    found = m.Rbac(action=_ACTIONS[policies[0].spec.action])
    for policy in policies:
        for index, rule in _rules(policy, where):
            name = f"{prefix}ns[{policy.ref.namespace}]-policy[{policy.ref.name}]-rule[{index}]{suffix}"
            found.policies[name].CopyFrom(rule)
    return found


def _rules(policy: Object[AuthorizationPolicy], where: Enforcement) -> Iterable[tuple[int, Any]]:
    """A policy without rules matches nothing, which of an ALLOW policy means that nothing is allowed."""
    if not policy.spec.rules:
        return [(0, _NEVER)]
    lax = policy.spec.action is Action.ALLOW
    scope = Scope(policy.ref.namespace, where.trust_domains, tcp=where.tcp, lax=lax)
    made = ((index, policy_of(rule, scope)) for index, rule in enumerate(policy.spec.rules))
    return [(index, rule) for index, rule in made if rule is not None]


def _never() -> Any:
    nothing: Mapping[str, Any] = {"any": True}
    return m.RbacPolicy(permissions=[{"not_rule": nothing}], principals=[{"not_id": nothing}])


_NEVER = _never()
