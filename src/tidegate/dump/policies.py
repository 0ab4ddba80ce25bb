"""The authorization policies in a dump's listeners, by the names that their rules have in Envoy's RBAC filters."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

COLUMNS = ("ACTION", "AuthorizationPolicy", "RULES")
ACTIONS = ("DENY", "ALLOW", "LOG", "CUSTOM")
NOTHING = "_anonymous_match_nothing_"
"""An allow list without rules."""

_RULE = re.compile(r"ns\[(?P<namespace>.+)\]-policy\[(?P<name>.+)\]-rule\[(?P<rule>.+)\]")
_ASKED = "istio-ext-authz-"
"""Begins the rules that decide which requests an external authorizer is asked about."""
_MANAGERS = ("envoy.filters.network.http_connection_manager", "envoy.http_connection_manager")
_NETWORK, _HTTP = "envoy.filters.network.rbac", "envoy.filters.http.rbac"


def table(listeners: Iterable[dict[str, Any]]) -> list[tuple[str, ...]]:
    """Rows of action, ``NAME.NAMESPACE`` and number of rules, for listeners in their JSON form."""
    by_action: dict[str, set[str]] = defaultdict(set)
    rules: dict[str, set[str]] = defaultdict(set)
    for action, name, rule in (found for each in listeners for found in _enforced(each)):
        by_action[action].add(name)
        rules[name].add(rule)
    return [(action, name, str(len(rules[name]))) for action in ACTIONS for name in sorted(by_action[action])]


def _enforced(listener: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    for config in _filters(listener):
        rules = _message(config, "rules")
        action, held = str(rules.get("action") or "ALLOW"), _message(rules, "policies")
        for name in held:
            yield action, *_policy(name)
        if not held:
            yield action, NOTHING, "0"
        for name in _message(_message(config, "shadowRules"), "policies"):
            if name.startswith(_ASKED):
                yield "CUSTOM", *_policy(name)


def _filters(listener: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Configurations of the RBAC filters of every filter chain."""
    for chain in _list(listener, "filterChains"):
        for each in _list(chain, "filters"):
            if each.get("name") == _NETWORK:
                yield _message(each, "typedConfig")
            elif each.get("name") in _MANAGERS:
                inner = _list(_message(each, "typedConfig"), "httpFilters")
                yield from (_message(found, "typedConfig") for found in inner if found.get("name") == _HTTP)


def _policy(name: str) -> tuple[str, str]:
    """Policy and rule that a rule's name tells; both empty for a name of another make."""
    found = _RULE.search(name)
    return (f"{found['name']}.{found['namespace']}", found["rule"]) if found else ("", "")


def _message(parent: dict[str, Any], name: str) -> dict[str, Any]:
    found = parent.get(name)
    return found if isinstance(found, dict) else {}


def _list(parent: dict[str, Any], name: str) -> list[dict[str, Any]]:
    found = parent.get(name)
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []
