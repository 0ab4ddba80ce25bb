"""Rules for the attributes that ``when`` of an AuthorizationPolicy compares."""

import re

from tidegate.api.security import Action, Condition
from tidegate.api.validation.findings import Findings
from tidegate.api.validation.names import is_subnet

_NAMED = re.compile(r"[^\[\]]+(\[[^\[\]]+\])+")
_TEXTS = frozenset(
    (
        "source.namespace",
        "source.serviceAccount",
        "source.principal",
        "source.trustDomain",
        "request.auth.principal",
        "request.auth.audiences",
        "request.auth.presenter",
        "connection.sni",
    )
)
_ADDRESSES = frozenset(("source.ip", "remote.ip", "destination.ip"))
_MAPS = ("request.headers", "request.auth.claims", "experimental.envoy.filters.")
_GONE = ("destination.namespace", "destination.labels", "destination.name", "destination.user")
_IDENTITY = ("source.namespace", "source.serviceAccount", "source.trustDomain", "source.principal", "request.auth.")
"""What is not yet known when CUSTOM policies are asked."""
LONGEST_IDENTITY = 2048
"""Of an identity, which becomes an expression: Envoy takes none whose program is larger than 32768."""
_LONGEST_ACCOUNT, _MOST_ACCOUNTS = 320, 16


def check_condition(path: str, condition: Condition, action: Action, out: Findings) -> None:
    key = condition.key
    if not key:
        out.required(f"{path}.key", "an attribute such as request.headers[x-user] is required")
        return
    if not condition.values and not condition.not_values:
        out.required(path, "values or notValues is required")
    if action is Action.CUSTOM and key.startswith(_IDENTITY):
        out.error(f"{path}.key", "is not supported with action CUSTOM, which is asked before identities are known", key)
    if problem := key_problem(key):
        out.error(f"{path}.key", problem, key)
        return
    for name, values in (("values", condition.values), ("notValues", condition.not_values)):
        if key == "source.serviceAccount" and len(values) > _MOST_ACCOUNTS:
            out.error(f"{path}.{name}", f"must have at most {_MOST_ACCOUNTS} values", len(values))
        for index, value in enumerate(values):
            if problem := _value_problem(key, value):
                out.error(f"{path}.{name}[{index}]", problem, value)


def key_problem(key: str) -> str | None:
    """What keeps ``key`` from being an attribute; None when it is one."""
    if key in _TEXTS or key in _ADDRESSES or key == "destination.port":
        return None
    if key.startswith(_GONE):
        return "is no longer supported; select workloads with selector, in the namespace of the policy"
    if not key.startswith(_MAPS):
        return "must be a known attribute, such as source.ip, request.headers[x] or request.auth.claims[x]"
    return None if _NAMED.fullmatch(key) else "must have the form attribute[name]"


def _value_problem(key: str, value: str) -> str | None:
    if not value:
        return "must not be empty"
    if key in _ADDRESSES and not is_subnet(value):
        return "must be an IP address or a CIDR such as 10.0.0.0/8"
    if key == "destination.port" and not is_port(value):
        return "must be a port from 0 to 65535"
    if key == "source.serviceAccount":
        return service_account_problem(value)
    return wildcard_value_problem(value) if key == "source.trustDomain" else None


def service_account_problem(text: str) -> str | None:
    """What keeps ``text`` from naming a ServiceAccount, of the policy's namespace or another."""
    if "*" in text:
        return "must not have wildcards"
    if len(text) > _LONGEST_ACCOUNT:
        return f"must be at most {_LONGEST_ACCOUNT} characters long"
    namespace, slash, name = text.rpartition("/")
    usable = name and "/" not in namespace and (not slash or namespace)
    return None if usable else "must be a ServiceAccount's name, or namespace/name"


def trust_domain_problem(text: str) -> str | None:
    """What keeps ``text`` from being a trust domain, which may begin or end with ``*``."""
    if "/" in text or len(text) > LONGEST_IDENTITY:
        return f"must be a trust domain alone, without / and at most {LONGEST_IDENTITY} characters long"
    return wildcard_value_problem(text)


def wildcard_value_problem(text: str) -> str | None:
    """``*`` stands once, at one of the ends."""
    return "may have one * at its beginning or its end only" if "*" in text[1:-1] or text.count("*") > 1 else None


def is_port(text: str) -> bool:
    """A port as policies write it: digits, and 0 is allowed."""
    return text.isascii() and text.isdecimal() and len(text) < 10 and int(text) <= 65535
