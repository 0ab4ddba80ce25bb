"""Reading configuration dumps: names in either form, free-form data untouched, and words for what cannot be read."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.dump import commands, tables
from tidegate.dump.read import Dump, DumpError, camel, parse

ADMIN = "type.googleapis.com/envoy.admin.v3."
SAMPLE: dict[str, Any] = {
    "configs": [
        {
            "@type": ADMIN + "ListenersConfigDump",
            "static_listeners": [{"listener": {"name": "static", "address": {"pipe": {"path": "/run/x"}}}}],
            "dynamic_listeners": [
                {"name": "a", "active_state": {"listener": {"name": "a", "traffic_direction": "OUTBOUND"}}},
                {"name": "warming", "warming_state": {"listener": {"name": "warming"}}},
                {"name": "failed", "error_state": {"details": "no"}},
            ],
        },
        {
            "@type": ADMIN + "ClustersConfigDump",
            "dynamic_active_clusters": [{"cluster": {"name": "outbound|80|v1|a.example", "type": "EDS"}}],
            "static_clusters": [{"cluster": {"name": "agent"}}],
        },
        {
            "@type": ADMIN + "RoutesConfigDump",
            "dynamic_route_configs": [
                {"route_config": {"name": "80", "virtual_hosts": [{"name": "h", "domains": ["a.example"]}]}}
            ],
        },
    ]
}


def dump(whole: Any = None) -> Dump:
    return parse(json.dumps(SAMPLE if whole is None else whole).encode())


class TestNames:
    def test_fields_are_read_in_either_form(self) -> None:
        assert camel({"route_config_name": 1}) == camel({"routeConfigName": 1}) == {"routeConfigName": 1}

    def test_what_is_inside_metadata_and_structs_is_data(self) -> None:
        free = {"istio": {"some_key": {"x_y": 1}}}
        assert camel({"filter_metadata": free}) == {"filterMetadata": free}
        typed = {"@type": "type.googleapis.com/udpa.type.v1.TypedStruct", "type_url": "t", "value": {"a_b": 1}}
        assert camel(typed) == {**{k: typed[k] for k in ("@type", "value")}, "typeUrl": "t"}

    def test_map_keys_that_are_no_field_names_stay(self) -> None:
        keys = {"envoy.filters.http.fault_filter": 1, "@type_x": 2, "UPPER_CASE": 3}
        assert camel(keys) == keys


class TestSections:
    def test_listeners_that_run_the_dynamic_before_the_static(self) -> None:
        assert [each.name for each in dump().listeners()] == ["a", "static"]

    def test_clusters_and_routes(self) -> None:
        assert [each.name for each in dump().clusters()] == ["outbound|80|v1|a.example", "agent"]
        assert [each.name for each in dump().routes()] == ["80"]

    def test_endpoints_may_be_left_out_of_a_dump(self) -> None:
        assert dump().endpoints() == []

    def test_a_section_that_is_missing_is_told(self) -> None:
        with pytest.raises(DumpError, match=r"no configuration type .*ListenersConfigDump"):
            dump({"configs": []}).listeners()


class TestBadInput:
    @pytest.mark.parametrize("text", [b"", b"{", b"[]", b"7", b"{}", b'{"configs": {}}', b"\xff", b"[" * 100_000])
    def test_what_is_no_dump(self, text: bytes) -> None:
        with pytest.raises(DumpError, match="not a configuration dump"):
            parse(text)

    @pytest.mark.parametrize(
        "listeners",
        [7, "x", {"a": 1}, [7], [None], [{"active_state": 7}], [{"active_state": {"listener": "x"}}]],
    )
    def test_a_listeners_section_of_another_shape(self, listeners: Any) -> None:
        section = {"@type": ADMIN + "ListenersConfigDump", "dynamic_listeners": listeners}
        with pytest.raises(DumpError, match="cannot be read"):
            dump({"configs": [section]}).listeners()

    def test_a_listener_that_cannot_be_typed_is_named(self) -> None:
        bad = {"listener": {"name": "web", "filter_chains": "none"}}
        section = {"@type": ADMIN + "ListenersConfigDump", "static_listeners": [bad]}
        with pytest.raises(DumpError, match=r"Listener 'web' of the dump cannot be read: .*filterChains"):
            dump({"configs": [section]}).listeners()

    @pytest.mark.parametrize("text", [b"", b"[]", b'{"cluster_statuses": 7}', b"[" * 100_000])
    def test_what_is_no_answer_of_the_clusters_page(self, text: bytes) -> None:
        with pytest.raises(DumpError, match="/clusters"):
            commands.endpoints(text, "short", tables.EndpointFilter())


junk = st.sampled_from([None, 7, "x", [], {}, [7], [None], {"name": 7}, True, -1.5])


def paths(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    keys = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    return [at, *(p for key in keys for p in paths(value[key], (*at, key)))]


@given(st.sampled_from(paths(SAMPLE)[1:]), junk)
def test_any_one_part_may_be_wrong(path: tuple[Any, ...], value: Any) -> None:
    """Every question is answered, or refused in words."""
    whole = json.loads(json.dumps(SAMPLE))
    parent = whole
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = value
    for output in commands.OUTPUTS:
        for ask in (
            lambda found: commands.listeners(found, output, tables.ListenerFilter()),  # noqa: B023
            lambda found: commands.clusters(found, output, tables.ClusterFilter()),  # noqa: B023
            lambda found: commands.routes(found, output),  # noqa: B023
            lambda found: commands.assignments(found, output, tables.EndpointFilter()),  # noqa: B023
        ):
            try:
                assert isinstance(ask(dump(whole)), str)
            except DumpError as error:
                assert str(error)
