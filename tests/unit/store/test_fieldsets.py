import pytest

from tidegate.store import fieldsets
from tidegate.store.fieldsets import layout_of

SERVICE, CUSTOM = layout_of("Service"), layout_of("ServiceEntry")
PORT = 'k:{"port":80,"protocol":"TCP"}'


def leaves(value, layout=CUSTOM):
    return fieldsets.leaves(value, layout)


def test_lists_of_custom_resources_are_one_field():
    assert leaves({"spec": {"hosts": ["a"], "ports": [{"port": 1}]}}) == {("f:spec", "f:hosts"), ("f:spec", "f:ports")}


def test_maps_are_their_members_unless_atomic():
    value = {"spec": {"selector": {"a": "b"}}}
    assert leaves(value) == {("f:spec", "f:selector", "f:a")}
    assert leaves(value, SERVICE) == {("f:spec", "f:selector")}


def test_elements_are_told_apart_by_their_keys_with_defaults():
    assert leaves({"ports": [{"port": 80}]}, SERVICE) == {("f:ports", PORT), ("f:ports", PORT, "f:port")}
    twice = [{"port": 80}, {"port": 80, "protocol": "TCP"}]
    assert leaves({"ports": twice}, SERVICE) == {("f:ports",)}


def test_finalizers_are_a_set():
    assert leaves({"finalizers": ["a", "b"]}) == {("f:finalizers", 'v:"a"'), ("f:finalizers", 'v:"b"')}


def test_difference_tells_what_was_written_and_what_went():
    found = fieldsets.difference({"a": 1, "b": {"x": 1}, "c": 1}, {"a": 2, "b": {"x": 1, "y": {"z": 1}}}, CUSTOM)
    assert found.written == {("f:a",), ("f:b", "f:y"), ("f:b", "f:y", "f:z")}
    assert found.removed == {("f:c",)}


def test_another_type_is_another_value():
    found = fieldsets.difference({"a": {"x": 1}}, {"a": 5}, CUSTOM)
    assert (found.written, found.removed) == ({("f:a",)}, {("f:a", "f:x")})


def test_json_and_back():
    value = {"metadata": {"labels": {"a": "b"}, "finalizers": ["f"]}, "ports": [{"port": 80, "name": "x"}]}
    paths = fieldsets.everything(value, SERVICE) - {()}
    assert fieldsets.from_json(fieldsets.to_json(paths)) == paths
    assert fieldsets.to_json({("f:a",), ("f:a", "f:b")}) == {"f:a": {".": {}, "f:b": {}}}


@pytest.mark.parametrize("tree", [None, 5, [], "x", {"f:a": 5}])
def test_what_is_no_field_set_is_empty(tree):
    assert fieldsets.from_json(tree) == set()


def test_without_drops_containers_that_become_empty():
    value = {"a": {"b": {"c": 1}}, "d": 1}
    assert fieldsets.without(value, {("f:a", "f:b", "f:c")}, CUSTOM) == {"d": 1}
    assert fieldsets.without({"a": {"b": 1}}, {("f:a", "f:b")}, CUSTOM) is None
