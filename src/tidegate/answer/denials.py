"""Why the ALLOW policies of a workload let nothing of this kind in: rules that cannot match the connection at all."""

from collections.abc import Iterator

from tidegate.answer.absence import Absence
from tidegate.answer.case import Case
from tidegate.api.objects import Object
from tidegate.api.security import Action, AuthorizationPolicy, Rule
from tidegate.scope.policies import holding

_HTTP_KEYS = ("request.",)
_PEER_KEYS = ("source.principal", "source.namespace", "source.serviceAccount")


def unmatchable(case: Case) -> Iterator[Absence]:
    """Of each ALLOW policy that holds for the workload, the rules which ask for what the connection has not."""
    found: tuple[Object[AuthorizationPolicy], ...] = holding(
        case.world, "AuthorizationPolicy", case.proxy.kind.namespace, case.proxy.labels
    )
    for policy in found:
        if policy.spec.action is not Action.ALLOW:
            continue
        for number, rule in enumerate(policy.spec.rules):
            if words := _why(case, rule):
                yield Absence(policy.ref, f"spec.rules[{number}]", words)


def _why(case: Case, rule: Rule) -> str:
    as_bytes = not any(step.stage == "http_filter" for step in case.end.steps)
    if as_bytes and _of_http(rule):
        return "asks for attributes of a request, and the port carries bytes: it never matches there"
    hello = case.connection.tls
    if (hello is None or not hello.mutual) and _of_peer(rule):
        return "asks who calls, and a caller without mutual TLS is nobody: it does not match"
    return ""


def _of_http(rule: Rule) -> bool:
    """Whether every way to match asks for an attribute of HTTP."""
    operations = [to.operation for to in rule.to or () if to.operation is not None]
    by_operation = bool(operations) and all(
        (o.hosts, o.not_hosts, o.methods, o.not_methods, o.paths, o.not_paths) != ((),) * 6 for o in operations
    )
    sources = [each.source for each in rule.from_ or () if each.source is not None]
    by_token = bool(sources) and all(s.request_principals or s.not_request_principals for s in sources)
    return by_operation or by_token or any(when.key.startswith(_HTTP_KEYS) for when in rule.when)


def _of_peer(rule: Rule) -> bool:
    """Whether every way to match asks for the caller's identity."""
    sources = [each.source for each in rule.from_ or () if each.source is not None]
    by_source = bool(sources) and all(s.principals or s.namespaces or s.service_accounts for s in sources)
    return by_source or any(when.values and when.key in _PEER_KEYS for when in rule.when)
