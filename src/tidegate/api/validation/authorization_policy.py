"""Rules for AuthorizationPolicy."""

import re
from collections.abc import Callable, Mapping

from tidegate.api.security import Action, AuthorizationPolicy, Operation, Rule, Source
from tidegate.api.shapes import json_name
from tidegate.api.validation.conditions import (
    LONGEST_IDENTITY,
    check_condition,
    is_port,
    service_account_problem,
    trust_domain_problem,
)
from tidegate.api.validation.findings import Findings
from tidegate.api.validation.names import is_subnet
from tidegate.api.validation.selection import check_selection

DRY_RUN = "istio.io/dry-run"
_TRUE, _FALSE = ("1", "t", "T", "true", "TRUE", "True"), ("0", "f", "F", "false", "FALSE", "False")

_IDENTITIES = ("namespaces", "service_accounts", "trust_domains", "principals", "request_principals")
_HTTP_SOURCES = ("request_principals", "not_request_principals")
_PCHAR = re.compile(r"([-a-zA-Z0-9._~!$&'()*+,;=:@]|%[0-9a-fA-F]{2})*")
"""RFC 3986, section 3.3."""
_OPERATORS = ("{*}", "{**}")

Problem = Callable[[str], str | None]


def check_authorization_policy(policy: AuthorizationPolicy, annotations: Mapping[str, str], out: Findings) -> None:
    _check_dry_run(policy.action, annotations, out)
    check_selection(policy, out)
    _check_action(policy, out)
    for index, rule in enumerate(policy.rules):
        _check_rule(f"spec.rules[{index}]", rule, policy.action, out)


def is_dry_run(annotations: Mapping[str, str]) -> bool:
    """Whether a policy's matches are only counted and logged."""
    return annotations.get(DRY_RUN) in _TRUE


def _check_dry_run(action: Action, annotations: Mapping[str, str], out: Findings) -> None:
    if DRY_RUN not in annotations:
        return
    at, value = f"metadata.annotations[{DRY_RUN}]", annotations[DRY_RUN]
    if value not in _TRUE + _FALSE:
        out.error(at, "must be true or false", value)
    if action not in (Action.ALLOW, Action.DENY):
        out.error(at, f"is for actions ALLOW and DENY only, not {action.value}")


def _check_action(policy: AuthorizationPolicy, out: Findings) -> None:
    action, provider = policy.action, policy.provider
    if action in (Action.CUSTOM, Action.DENY) and not policy.rules:
        out.required("spec.rules", f"action {action.value} needs rules: without them it would never match")
    if action is Action.CUSTOM and not (provider and provider.name):
        out.required("spec.provider.name", "the name of an extension provider of the mesh is required")
    if action is not Action.CUSTOM and provider is not None:
        out.error("spec.provider", f"is for action CUSTOM only, not {action.value}")


def _check_rule(path: str, rule: Rule, action: Action, out: Findings) -> None:
    for name, listed in (("from", rule.from_), ("to", rule.to)):
        if listed is not None and not listed:
            out.error(f"{path}.{name}", "must not be empty; leave it out to match all")
    for index, each in enumerate(rule.from_ or ()):
        _check_source(f"{path}.from[{index}].source", each.source, action, out)
    for index, target in enumerate(rule.to or ()):
        _check_operation(f"{path}.to[{index}].operation", target.operation, out)
    for index, condition in enumerate(rule.when):
        check_condition(f"{path}.when[{index}]", condition, action, out)
    if action is Action.DENY and denies_tcp(rule):
        out.warn(path, "denies all connections to TCP ports, where its HTTP attributes are unknown; name ports as well")


def denies_tcp(rule: Rule) -> bool:
    """Whether a DENY rule has a side of HTTP attributes alone, which do not count for TCP."""
    sources = [each.source for each in rule.from_ or () if each.source]
    operations = [each.operation for each in rule.to or () if each.operation]
    if operations:
        return not any(op.ports or op.not_ports for op in operations)
    return bool(sources) and not any(set(_given(source)) - set(_HTTP_SOURCES) for source in sources)


def _given(message: Source | Operation) -> list[str]:
    return [name for name in message.__struct_fields__ if getattr(message, name)]


# Sources


def _check_source(path: str, source: Source | None, action: Action, out: Findings) -> None:
    if source is None or not _given(source):
        out.required(path, "at least one attribute of the source is required")
        return
    rules: dict[str, Problem] = {
        "service_accounts": service_account_problem,
        "trust_domains": trust_domain_problem,
        "principals": _length_problem,
        "namespaces": _length_problem,
        "ip_blocks": _block_problem,
        "remote_ip_blocks": _block_problem,
    }
    _check_lists(path, source, rules, out)
    _check_combination(path, source, out)
    if action is Action.CUSTOM:
        for name in _given(source):
            if name.removeprefix("not_") in _IDENTITIES:
                text = "is not supported with action CUSTOM, which is asked before identities are known"
                out.error(f"{path}.{json_name(name)}", text)


def _check_combination(path: str, source: Source, out: Findings) -> None:
    given = {name.removeprefix("not_") for name in _given(source)}
    if "service_accounts" in given and given & {"principals", "namespaces"}:
        out.error(path, "serviceAccounts may not be set beside principals or namespaces, which they include")


def _length_problem(text: str) -> str | None:
    return None if len(text) <= LONGEST_IDENTITY else f"must be at most {LONGEST_IDENTITY} characters long"


def _check_lists(path: str, message: Source | Operation, rules: Mapping[str, Problem], out: Findings) -> None:
    """Every value of every list: not empty, and as the list's own rule demands."""
    for name in _given(message):
        rule = rules.get(name.removeprefix("not_"))
        for index, value in enumerate(getattr(message, name)):
            problem = "must not be empty" if not value else rule(value) if rule else None
            if problem:
                out.error(f"{path}.{json_name(name)}[{index}]", problem, value)


def _block_problem(text: str) -> str | None:
    return None if is_subnet(text) else "must be an IP address or a CIDR such as 10.0.0.0/8"


# Operations


def _check_operation(path: str, operation: Operation | None, out: Findings) -> None:
    if operation is None or not _given(operation):
        out.required(path, "at least one attribute of the operation is required")
        return
    rules: dict[str, Problem] = {"ports": _port_problem, "paths": path_problem}
    _check_lists(path, operation, rules, out)


def _port_problem(text: str) -> str | None:
    return None if is_port(text) else "must be a port from 0 to 65535"


def path_problem(text: str) -> str | None:
    """What is wrong with a path that may be a template; None when nothing is.

    ``{*}`` stands for one segment and ``{**}`` for any number, each for a whole segment; ``{**}`` is the last of them.
    Envoy ends at a template that has no slash before each segment, so these may not be written here, though Istio lets
    them pass.
    https://www.envoyproxy.io/docs/envoy/latest/api-v3/extensions/path/match/uri_template/v3/uri_template_match.proto
    """
    if not is_template(text):
        return "may have { and } in the segments {*} and {**} only" if "{" in text or "}" in text else None
    first, *segments = text.split("/")
    if first or "" in segments[:-1]:
        return "must begin with / and have no empty segment beside {*} and {**}"
    last = False
    for segment in segments:
        if segment in _OPERATORS and last:
            return "must have no {*} or {**} after {**}"
        last = last or segment == "{**}"
        if segment not in _OPERATORS and (problem := _literal_problem(segment)):
            return problem
    return None


def _literal_problem(segment: str) -> str | None:
    if "{" in segment or "}" in segment:
        return "may have { and } in the segments {*} and {**} only"
    if "*" in segment:
        return "must not have * beside {*} and {**}"
    encoded = _PCHAR.fullmatch(segment)
    return None if encoded else "must be percent-encoded where characters may not stand in a path"


def is_template(text: str) -> bool:
    """Whether a path is a template rather than a text with a wildcard at an end."""
    return any(operator in text for operator in _OPERATORS)
