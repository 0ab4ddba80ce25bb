"""Reading Envoy's messages leniently, one resource at a time, from whatever holds them."""

import json
from typing import Any

import pytest

from tidegate.dump.config.keys import TooDeepError, camel
from tidegate.dump.config.listener import Listener
from tidegate.dump.config.network import HttpConnectionManager
from tidegate.dump.config.parts import FractionalPercent, Unknown, read, type_of
from tidegate.dump.config.route import Route
from tidegate.dump.config.sections import sections

ADMIN = "type.googleapis.com/envoy.admin.v3."


def test_both_spellings_are_read() -> None:
    for raw in (
        {"bind_to_port": False, "listener_filters_timeout": "1s", "filter_chains": [{}]},
        {"bindToPort": False, "listenerFiltersTimeout": "1s", "filterChains": [{}]},
    ):
        found = read(Listener, raw, "l", [])
        assert (found.binds, found.listener_filters_timeout, len(found.filter_chains)) == (False, "1s", 1)


def test_names_with_digits() -> None:
    for name in ("accept_http_10", "acceptHttp10"):
        found = read(HttpConnectionManager, {"http_protocol_options": {name: True}}, "h", [])
        assert found.http_protocol_options.accept_http10


def test_keys_of_maps_and_data_stay() -> None:
    raw = {
        "typed_per_filter_config": {"my_filter": {"some_field": 1}},
        "metadata": {"filter_metadata": {"my_ns": {"a_key": 1}}},
        "typed_config": {"@type": "x.TypedStruct", "type_url": "u", "value": {"a_key": 1}},
        "transport_socket_matches": [{"match": {"my_label": "x"}}],
    }
    assert camel(raw) == {
        "typedPerFilterConfig": {"my_filter": {"someField": 1}},
        "metadata": {"filterMetadata": {"my_ns": {"a_key": 1}}},
        "typedConfig": {"@type": "x.TypedStruct", "typeUrl": "u", "value": {"a_key": 1}},
        "transportSocketMatches": [{"match": {"my_label": "x"}}],
    }


def test_what_does_not_fit_is_left_out_and_named() -> None:
    unknown: list[Unknown] = []
    raw = {"name": "r", "match": {"prefix": "/", "headers": [{"name": 5}, {"name": "x"}]}, "route": {"timeout": []}}
    found = read(Route, raw, "Route r", unknown)
    assert (found.name, found.match.prefix, found.match.headers[-1].name) == ("r", "/", "x")
    assert found.route is not None and found.route.timeout == ""
    assert {each.where for each in unknown} == {"Route r"} and len(unknown) == 2


@pytest.mark.parametrize("raw", [None, 5, "x", [], [1]])
def test_no_object_at_all(raw: Any) -> None:
    unknown: list[Unknown] = []
    assert read(Route, raw, "here", unknown) == Route()
    assert unknown[0].where == "here"


def test_depth_is_bounded() -> None:
    deep: dict[str, Any] = {}
    for _ in range(300):
        deep = {"or_match": deep}
    with pytest.raises(TooDeepError):
        camel(deep)
    unknown: list[Unknown] = []
    read(Listener, {"listener_filters": [{"filter_disabled": deep}]}, "l", unknown)
    assert "deeper" in unknown[0].why


def test_type_of_wrapped_messages() -> None:
    assert type_of({"@type": "type.googleapis.com/a.B"}) == "a.B"
    assert type_of({"@type": "x/udpa.type.v1.TypedStruct", "type_url": "x/a.C"}) == "a.C"
    assert type_of([]) == type_of({}) == ""


@pytest.mark.parametrize(
    ("numerator", "denominator", "share"),
    [
        (25, "HUNDRED", 0.25),
        (1, "TEN_THOUSAND", 0.0001),
        (5, "MILLION", 0.000005),
        (900, "HUNDRED", 1.0),
        (1, "?", 0.01),
    ],
)
def test_fractions(numerator: int, denominator: str, share: float) -> None:
    assert FractionalPercent(numerator, denominator).share == share


def dump() -> dict[str, Any]:
    dynamic = [{"active_state": {"listener": {"name": "l"}}}, {"name": "bad", "error_state": {"details": "no"}}]
    return {
        "configs": [
            {"@type": ADMIN + "ListenersConfigDump", "dynamic_listeners": dynamic},
            {
                "@type": ADMIN + "ClustersConfigDump",
                "static_clusters": [{"cluster": {"name": "s"}}],
                "dynamic_active_clusters": [{"cluster": {"name": "d"}}],
                "dynamic_warming_clusters": [{"cluster": {"name": "w"}}],
            },
            {"@type": ADMIN + "RoutesConfigDump", "dynamic_route_configs": [{"route_config": {"name": "r"}}, 5]},
            {"@type": ADMIN + "NewConfigDump"},
        ]
    }


def names(found: Any) -> dict[str, list[str]]:
    return {kind: [raw["name"] for raw in listed] for kind, listed in found.by_kind.items() if listed}


def test_sections_of_a_dump() -> None:
    found = sections(dump())
    assert names(found) == {"listeners": ["l"], "clusters": ["d", "s"], "routes": ["r"]}
    assert found.present == {"listeners", "clusters", "routes"}
    said = " ".join(each.why for each in found.unknown)
    assert all(
        word in said for word in ("bad is not active", "w still warms", "an object is expected", "NewConfigDump")
    )


def test_lists_and_bootstraps() -> None:
    expected = {"listeners": ["l"], "clusters": ["c"]}
    assert names(sections({"listeners": [{"name": "l"}], "clusters": [{"name": "c"}]})) == expected
    assert names(sections({"lds": [{"name": "l"}], "cds": [{"name": "c"}]})) == expected
    static = {"listeners": [{"name": "l"}], "clusters": [{"name": "c"}]}
    assert names(sections({"static_resources": static})) == expected


def test_text_is_read_up_to_where_it_breaks_off() -> None:
    text = json.dumps(dump())
    found = sections(text[: text.index('"name": "r"') + 5])
    assert [raw["name"] for raw in found.by_kind["clusters"]] == ["d", "s"]
    assert found.by_kind["routes"] == [], "half a resource would be taken for a whole one"
    assert "clusters" in found.present and "routes" not in found.present, "the rest of the routes is not known"
    assert "breaks off" in found.unknown[0].why


@pytest.mark.parametrize("text", [b"", b"[]", b"\xff", b'{"', b'"x', b"null", b"[" * 5000, b'{"a":' * 5000])
def test_no_text_is_refused(text: bytes) -> None:
    assert sections(text).unknown
