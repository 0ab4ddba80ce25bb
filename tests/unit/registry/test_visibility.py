"""serviceEntryVisibility narrows what exportTo says, and never widens it."""

import pytest
from msgspec import convert

from tests.worlds import entry, made, mesh, put
from tidegate.api.mesh import ServiceEntryVisibility
from tidegate.registry.model import ServiceKey
from tidegate.registry.visibility import cap
from tidegate.snapshot.state import Snapshot

OWN, NOBODY = frozenset("."), frozenset("~")
TEAM = {"namespaceSelector": {"matchLabels": {"team": "one"}}}
PAY = ServiceKey("shop", "pay.example")
CAPPED = "serviceEntryVisibility: {applyToSidecars: true, policies: [{visibility: %s, matchingRules: [%s]}]}"
ONE = "{namespaceSelector: {matchLabels: {team: one}}}"


def asked(**given: object) -> ServiceEntryVisibility:
    return convert({"applyToSidecars": True, **given}, ServiceEntryVisibility)


@pytest.mark.parametrize(
    ("default", "scopes", "found"),
    [
        ("PUBLIC", "*", None),
        ("VISIBILITY_UNSPECIFIED", "*", None),
        ("NAMESPACE", "*", OWN),
        ("NAMESPACE", ".", OWN),
        ("NAMESPACE", ["shop", "other"], OWN),
        ("NAMESPACE", ["other"], NOBODY),
        ("NAMESPACE", "~", None),
        ("NONE", "*", NOBODY),
    ],
)
def test_what_is_left_of_export_to(default: str, scopes: list[str], found: frozenset[str] | None) -> None:
    assert cap(scopes, "shop", {}, asked(defaultVisibility=default)) == found


def test_the_first_policy_decides_of_which_all_rules_match() -> None:
    older = {"namespaceSelector": {"matchExpressions": [{"key": "old", "operator": "Exists"}]}}
    policies = [
        {"visibility": "NONE", "matchingRules": [TEAM, older]},
        {"visibility": "NONE", "matchingRules": [{}]},
        {"visibility": "NAMESPACE", "matchingRules": [TEAM]},
        {"visibility": "PUBLIC", "matchingRules": []},
    ]
    given = asked(defaultVisibility="NONE", policies=policies)
    assert cap("*", "shop", {"team": "one", "old": ""}, given) == NOBODY
    assert cap("*", "shop", {"team": "one"}, given) == OWN
    assert cap("*", "shop", {}, given) is None


def test_sidecars_see_what_they_saw_unless_it_applies_to_them() -> None:
    assert cap("*", "shop", {}, asked(applyToSidecars=False, defaultVisibility="NONE")) is None
    assert cap("*", "shop", {}, None) is None


def test_a_label_or_the_mesh_changes_who_sees_an_entry_of_the_world() -> None:
    found, _ = Snapshot.empty().apply([put(entry("shop/pay", "pay.example")), put(mesh(CAPPED % ("NAMESPACE", ONE)))])
    assert found.services[PAY].export_to is None
    found, changed = found.apply([put(made("Namespace", "shop", labels={"team": "one"}))])
    assert found.services[PAY].export_to == OWN
    assert found.services[PAY].export_capped
    assert changed.services == {PAY}
    found, changed = found.apply([put(mesh(CAPPED % ("NONE", ONE)))])
    assert found.services[PAY].export_to == NOBODY
    broken = CAPPED % ("PUBLIC", "{namespaceSelector: {matchExpressions: [{key: team, operator: Is}]}}")
    found, changed = found.apply([put(mesh(broken))])
    assert found.services[PAY].export_to == NOBODY
    assert not changed.services
    found, changed = found.apply([put(mesh(""))])
    assert found.services[PAY].export_to is None


def test_the_meshs_default_export_to_is_capped_too() -> None:
    text = CAPPED % ("NAMESPACE", "") + "\ndefaultServiceExportTo: ['%s']"
    found, _ = Snapshot.empty().apply([put(entry("shop/pay", "pay.example")), put(mesh(text % "*"))])
    assert found.services[PAY].export_to == OWN
    found, _ = found.apply([put(mesh(text % "other"))])
    assert found.services[PAY].export_to == NOBODY
