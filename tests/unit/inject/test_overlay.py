"""Strategic merge, with its directives."""

import pytest

from tidegate.inject.overlay import overlay
from tidegate.inject.settings import Json

BASE: Json = {"spec": {"containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "2"}], "x": {"y": 1, "z": 2}}}


@pytest.mark.parametrize(
    ("patch", "expected"),
    [
        ({"containers": [{"name": "a", "$patch": "delete"}]}, {"containers": [{"name": "b", "image": "2"}]}),
        (
            {"containers": [{"$patch": "replace"}, {"name": "c"}]},
            {"containers": [{"name": "c"}]},
        ),
        (
            {"containers": [{"name": "a", "$patch": "replace", "command": ["x"]}]},
            {"containers": [{"name": "a", "command": ["x"]}, {"name": "b", "image": "2"}]},
        ),
        ({"x": {"$patch": "replace", "q": 3}}, {"x": {"q": 3}}),
        ({"x": {"$retainKeys": ["z", "q"], "q": 3}}, {"x": {"z": 2, "q": 3}}),
        ({"x": {"y": None}}, {"x": {"z": 2}}),
        ({"$setElementOrder/containers": [{"name": "b"}]}, {}),
    ],
)
def test_directives(patch: Json, expected: Json) -> None:
    assert overlay(BASE, {"spec": patch}) == {"spec": BASE["spec"] | expected}


def test_a_mapping_is_taken_away() -> None:
    assert "x" not in overlay(BASE, {"spec": {"x": {"$patch": "delete"}}})["spec"]


def test_values_are_taken_from_a_list() -> None:
    assert overlay({"args": ["a", "b"]}, {"$deleteFromPrimitiveList/args": ["a"]}) == {"args": ["b"]}
