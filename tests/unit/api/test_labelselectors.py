"""Label selectors: what holds, and what Kubernetes would refuse."""

from typing import Any

import msgspec
import pytest

from tidegate.api import labelselectors
from tidegate.api.mesh import LabelSelector
from tidegate.api.meshconfig import admit_mesh

TEAM = {"team": "one"}


def selector(raw: dict[str, Any]) -> LabelSelector:
    return msgspec.convert(raw, LabelSelector)


def expression(operator: str, *values: str, key: str = "team") -> LabelSelector:
    return selector({"matchExpressions": [{"key": key, "operator": operator, "values": values}]})


@pytest.mark.parametrize(
    ("found", "team", "without"),
    [
        (selector({}), True, True),
        (selector({"matchLabels": TEAM}), True, False),
        (selector({"matchLabels": {"team": "two"}}), False, False),
        (expression("In", "two", "one"), True, False),
        (expression("In", "two"), False, False),
        (expression("NotIn", "one"), False, True),
        (expression("NotIn", "two"), True, True),
        (expression("Exists"), True, False),
        (expression("DoesNotExist"), False, True),
    ],
)
def test_what_a_selector_selects(found: LabelSelector, team: bool, without: bool) -> None:
    assert labelselectors.selects(found, TEAM) is team
    assert labelselectors.selects(found, {}) is without
    assert not list(labelselectors.problems(found))


@pytest.mark.parametrize(
    ("found", "path", "value"),
    [
        (selector({"matchLabels": {"a b": "x"}}), "matchLabels", "a b"),
        (selector({"matchLabels": {"a": "x y"}}), "matchLabels[a]", "x y"),
        (expression("Is", "one"), "matchExpressions[0].operator", "Is"),
        (expression("In"), "matchExpressions[0].values", ""),
        (expression("Exists", "one"), "matchExpressions[0].values", "one"),
        (expression("In", "a b"), "matchExpressions[0].values", "a b"),
        (expression("Exists", key=""), "matchExpressions[0].key", ""),
    ],
)
def test_what_is_wrong_with_a_selector(found: LabelSelector, path: str, value: str) -> None:
    assert [(at, wrong) for at, _, wrong in labelselectors.problems(found)] == [(path, value)]


def test_a_selector_of_the_mesh_that_cannot_be_read_is_a_warning_when_it_is_written() -> None:
    _, warnings = admit_mesh("discoverySelectors: [{}, {matchExpressions: [{key: team, operator: Is}]}]")
    assert [text for text in warnings if "discoverySelectors" in text] == [
        "discoverySelectors[1].matchExpressions[0].operator: must be one of In, NotIn, Exists, DoesNotExist, not 'Is'; "
        "discoverySelectors stay as they were before"
    ]
