"""Authorization policies as a dump's filters name them."""

from typing import Any

from tidegate.dump.policies import NOTHING, table

MANAGER = "envoy.filters.network.http_connection_manager"


def rbac(action: str | None, *names: str, shadow: tuple[str, ...] = ()) -> dict[str, Any]:
    rules: dict[str, Any] = {"policies": {key: {} for key in names}} if names else {}
    if action:
        rules["action"] = action
    return {"rules": rules, "shadowRules": {"policies": {key: {} for key in shadow}}}


def listener(*chains: list[dict[str, Any]]) -> dict[str, Any]:
    return {"name": "virtualInbound", "filterChains": [{"filters": filters} for filters in chains]}


def http(*configs: dict[str, Any]) -> dict[str, Any]:
    filters = [{"name": "envoy.filters.http.rbac", "typedConfig": each} for each in configs]
    return {"name": MANAGER, "typedConfig": {"httpFilters": [*filters, {"name": "envoy.filters.http.router"}]}}


def tcp(config: dict[str, Any]) -> dict[str, Any]:
    return {"name": "envoy.filters.network.rbac", "typedConfig": config}


def rule(name: str, index: int) -> str:
    return f"ns[shop]-policy[{name}]-rule[{index}]"


def test_policies_are_told_by_action_with_their_rules() -> None:
    allowed = rbac(None, rule("b", 0), rule("b", 1), rule("a", 0))
    found = listener([http(rbac("DENY", rule("c", 0)), allowed)], [tcp(rbac("DENY", rule("c", 0))), tcp(allowed)])
    assert table([found]) == [("DENY", "c.shop", "1"), ("ALLOW", "a.shop", "1"), ("ALLOW", "b.shop", "2")]


def test_what_an_authorizer_is_asked_about_is_custom() -> None:
    asked = rbac("DENY", rule("d", 0), shadow=(f"istio-ext-authz-{rule('e', 0)}", rule("dry", 0)))
    assert table([listener([http(asked)])]) == [("DENY", "d.shop", "1"), ("CUSTOM", "e.shop", "1")]


def test_an_allow_list_without_rules_is_told() -> None:
    assert table([listener([tcp(rbac("ALLOW"))])]) == [("ALLOW", NOTHING, "1")]


def test_rules_of_another_make_have_no_policy() -> None:
    assert table([listener([tcp(rbac("LOG", "mine"))])]) == [("LOG", "", "1")]


def test_what_is_no_listener_has_none() -> None:
    assert table([{"filterChains": [{"filters": [5, {"name": MANAGER}]}]}, {"filterChains": 5}]) == []
