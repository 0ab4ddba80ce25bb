"""Envoy's messages from JSON of any type, and where something is wrong."""

from typing import Any

import pytest

from tidegate.kit.envoy_messages import MessageError, decode, message_type, type_of_url, unknown_fields

CLUSTER = "envoy.config.cluster.v3.Cluster"
LUA = "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua"


def socket(**config: Any) -> dict[str, Any]:
    return {"transport_socket": {"name": "x", "typed_config": config}}


def test_either_spelling_and_gos_durations_are_read() -> None:
    found = decode(CLUSTER, {"connectTimeout": "500ms", "alt_stat_name": "s"})
    assert (found.connect_timeout.nanos, found.alt_stat_name) == (500_000_000, "s")


def test_an_any_may_hold_any_type_of_envoys_api() -> None:
    found = decode(CLUSTER, socket(**{"@type": LUA, "default_source_code": {"inline_string": "--"}}))
    assert found.transport_socket.typed_config.type_url == LUA
    typed = {"@type": "type.googleapis.com/udpa.type.v1.TypedStruct", "type_url": "x.y/Z", "value": {"a": {"b": 1}}}
    assert decode(CLUSTER, socket(**typed)).transport_socket.typed_config.type_url.endswith("TypedStruct")


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"name": False}, "name"),
        ({"connect_timeout": "soon"}, "connect_timeout"),
        ({"lb_policy": "NOTHING_SUCH", "name": 3}, "name"),
        ({"load_assignment": {"endpoints": [{}, {"lb_endpoints": 3}]}}, "load_assignment.endpoints[1].lb_endpoints"),
        (socket(**{"@type": LUA, "stat_prefix": 3}), "transport_socket.typed_config.stat_prefix"),
        (socket(**{"@type": f"{LUA}x"}), "transport_socket.typed_config.@type"),
        (socket(**{"@type": 3}), "transport_socket.typed_config.@type"),
        (socket(stat_prefix="no type"), "transport_socket.typed_config.@type"),
        ({"load_assignment": []}, "load_assignment"),
    ],
)
def test_what_cannot_be_read_is_told_by_path(value: dict[str, Any], path: str) -> None:
    with pytest.raises(MessageError) as refused:
        decode(CLUSTER, value)
    assert refused.value.path == path and refused.value.reason


def test_a_value_of_any_json_may_be_a_list() -> None:
    found = decode("envoy.type.v3.Percent", {"value": 3})
    assert found.value == 3
    typed = decode("google.protobuf.Struct", {"a": [1, {"b": 2}]})
    assert next(iter(typed["a"])) == 1


def test_depth_is_bounded() -> None:
    deep: dict[str, Any] = {}
    for _ in range(200):
        deep = {"and_match": {"rules": [deep]}}
    with pytest.raises(MessageError):
        decode("envoy.config.common.matcher.v3.MatchPredicate", deep)


def test_unknown_fields_are_found_within_lists_and_any() -> None:
    value = {"nothing": 1, "loadAssignment": {"endpoints": [{"x": 2}]}, **socket(**{"@type": LUA, "y": 3})}
    assert unknown_fields(CLUSTER, value) == [
        "nothing",
        "loadAssignment.endpoints[0].x",
        "transport_socket.typed_config.y",
    ]


@pytest.mark.parametrize(
    "name", ["envoy.nothing.v3.Such", "os.path", "tidegate.kit.hosts", "", "envoy..v3", "google.auth.X"]
)
def test_names_of_no_message_are_none(name: str) -> None:
    assert message_type(name) is None
    assert type_of_url(f"type.googleapis.com/{name}") is None
