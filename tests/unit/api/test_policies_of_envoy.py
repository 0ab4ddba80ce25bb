"""EnvoyFilter, Telemetry, ProxyConfig and WasmPlugin at the door: what is refused, what is warned about, by path."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.api.decode import admit
from tidegate.api.envoyfilter import ApplyTo
from tidegate.api.kinds import KINDS
from tidegate.api.validation.cel import problem
from tidegate.kit.errors import InvalidObjectError

MANAGER = "envoy.filters.network.http_connection_manager"
LUA = "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua"


def written(kind: str, **spec: Any) -> tuple[list[str], list[str]]:
    """Paths of the errors, and the warnings, of an object with this spec."""
    meta = {"name": "x", "namespace": "shop"}
    raw = {"apiVersion": KINDS[kind].api_version, "kind": kind, "metadata": meta, "spec": spec}
    try:
        return [], list(admit(raw, field_validation="Strict").warnings)
    except InvalidObjectError as refused:
        return [error.path for error in refused.errors], []


def patched(apply_to: str = "CLUSTER", operation: str = "MERGE", value: Any = None, **match: Any) -> Any:
    """What is said of an EnvoyFilter of one patch."""
    change = {"operation": operation, **({"value": value} if value is not None else {})}
    return written("EnvoyFilter", configPatches=[{"applyTo": apply_to, "match": match, "patch": change}])


AT = "spec.configPatches[0]"
KEYS = st.sampled_from(
    [
        "name",
        "typed_config",
        "typedConfig",
        "@type",
        "filters",
        "connect_timeout",
        "routes",
        "match",
        "metadata",
        "x",
        "",
    ]
)
"""Words that mean something in some of Envoy's messages, and some that mean nothing."""


class TestEnvoyFilter:
    @pytest.mark.parametrize(
        ("apply_to", "operation", "value", "match", "path"),
        [
            ("CLUSTER", "MERGE", None, {}, f"{AT}.patch.value"),
            ("CLUSTER", "INVALID", {}, {}, f"{AT}.patch.operation"),
            ("INVALID", "REMOVE", None, {}, f"{AT}.applyTo"),
            ("CLUSTER", "ADD", {"name": 3}, {}, f"{AT}.patch.value.name"),
            ("CLUSTER", "ADD", {"connect_timeout": "soon"}, {}, f"{AT}.patch.value.connect_timeout"),
            ("HTTP_FILTER", "ADD", {"typed_config": {}}, {}, f"{AT}.patch.value.typed_config.@type"),
            ("VIRTUAL_HOST", "REMOVE", None, {"cluster": {}}, f"{AT}.match.cluster"),
            ("CLUSTER", "REMOVE", None, {"listener": {}}, f"{AT}.match.listener"),
            ("CLUSTER", "REMOVE", None, {"proxy": {"proxyVersion": "a++"}}, f"{AT}.match.proxy.proxyVersion"),
            ("CLUSTER", "REMOVE", None, {"waypoint": {}}, f"{AT}.match"),
            ("CLUSTER", "REMOVE", None, {"context": "WAYPOINT"}, f"{AT}.match"),
            (
                "NETWORK_FILTER",
                "REMOVE",
                None,
                {"listener": {"filterChain": {"filter": {"name": MANAGER, "subFilter": {"name": "a"}}}}},
                f"{AT}.match.listener.filterChain.filter.subFilter",
            ),
            (
                "HTTP_FILTER",
                "REMOVE",
                None,
                {"listener": {"filterChain": {"filter": {"name": MANAGER, "subFilter": {}}}}},
                f"{AT}.match.listener.filterChain.filter.subFilter.name",
            ),
        ],
    )
    def test_a_wrong_patch_is_refused_by_its_path(
        self, apply_to: str, operation: str, value: Any, match: dict[str, Any], path: str
    ) -> None:
        assert patched(apply_to, operation, value, **match)[0] == [path]

    def test_every_writer_is_warned(self) -> None:
        errors, (warning,) = patched(value={"alt_stat_name": "x"})
        assert not errors and warning.startswith("EnvoyFilter: ")

    @pytest.mark.parametrize(
        ("given", "path"),
        [
            ({"value": {"absent": 1}}, f"{AT}.patch.value.absent"),
            ({"apply_to": "BOOTSTRAP", "value": {}}, f"{AT}.applyTo"),
            ({"apply_to": "HTTP_FILTER", "operation": "ADD", "value": {"name": "envoy.lua"}}, f"{AT}.patch.value"),
            ({"operation": "REMOVE", "proxy": {"proxyVersion": "a" * 1025}}, f"{AT}.match.proxy.proxyVersion"),
        ],
    )
    def test_what_will_not_act_is_warned_about(self, given: dict[str, Any], path: str) -> None:
        errors, warnings = patched(**given)
        assert not errors and any(text.startswith(f"{path}: ") for text in warnings)

    def test_old_names_are_told(self) -> None:
        match = {"filterChain": {"filter": {"name": "envoy.http_connection_manager"}}}
        value = {"name": "x", "typed_config": {"@type": LUA}}
        _, warnings = patched("HTTP_FILTER", "INSERT_FIRST", value, listener=match)
        assert any(MANAGER in text for text in warnings)

    def test_selector_and_targets_exclude_each_other(self) -> None:
        target = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "g"}
        errors, _ = written("EnvoyFilter", workloadSelector={"labels": {"a": "b"}}, targetRefs=[target])
        assert errors == ["spec"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(apply_to=st.sampled_from([each.value for each in ApplyTo]), value=st.dictionaries(KEYS, JSON, max_size=5))
def test_any_value_is_admitted_or_refused_by_a_path_within_it(apply_to: str, value: dict[str, Any]) -> None:
    errors, _ = patched(apply_to, "ADD", value)
    assert all(path.startswith(AT) for path in errors)


class TestTelemetry:
    @pytest.mark.parametrize(
        ("spec", "path"),
        [
            ({"accessLogging": [{"filter": {"expression": ")++"}}]}, "spec.accessLogging[0].filter.expression"),
            ({"accessLogging": [{"providers": [{}]}]}, "spec.accessLogging[0].providers[0].name"),
            ({"tracing": [{"randomSamplingPercentage": 101}]}, "spec.tracing[0].randomSamplingPercentage"),
            ({"tracing": [{"customTags": {"t": {"literal": {}}}}]}, "spec.tracing[0].customTags[t].literal.value"),
            (
                {"metrics": [{"overrides": [{"tagOverrides": {"t": {}}}]}]},
                "spec.metrics[0].overrides[0].tagOverrides[t].value",
            ),
            (
                {"metrics": [{"overrides": [{"tagOverrides": {"t": {"operation": "REMOVE", "value": "x"}}}]}]},
                "spec.metrics[0].overrides[0].tagOverrides[t].value",
            ),
            ({"metrics": [{"reportingInterval": "0s"}]}, "spec.metrics[0].reportingInterval"),
        ],
    )
    def test_what_is_wrong_is_refused_by_its_path(self, spec: dict[str, Any], path: str) -> None:
        assert path in written("Telemetry", **spec)[0]

    def test_several_tracing_providers_are_warned_about(self) -> None:
        _, warnings = written("Telemetry", tracing=[{"providers": [{"name": "a"}, {"name": "b"}]}])
        assert any(text.startswith("spec.tracing[0].providers: ") for text in warnings)


def test_proxy_config_and_wasm_plugin() -> None:
    assert written("ProxyConfig", concurrency=-1)[0][0] == "spec.concurrency"
    warned = [text for text in written("ProxyConfig", selector={})[1] if "selector" in text]
    assert len(warned) == 1
    assert "selects no workload" in warned[0]
    assert written("WasmPlugin")[0][0] == "spec.url"
    assert written("WasmPlugin", url="ftp://x/y")[0] == ["spec.url"]
    again = {"env": [{"name": "A"}, {"name": "A"}]}
    assert written("WasmPlugin", url="x", vmConfig=again)[0] == ["spec.vmConfig.env[1].name"]
    _, warnings = written("WasmPlugin", url="oci://x/y")
    assert any("not acted on yet" in text for text in warnings)


class TestCel:
    @pytest.mark.parametrize(
        "text",
        [
            "response.code >= 400 || connection.mtls == false",
            "request.headers['x-a'] in ['1', \"2\"] && !has(request.host)",
            "a ? b : c.d(1.5, -2u, 0x1F)",
            "r'raw\\' + '''many\nlines'''",
            "Message{field: {'k': v}, list: []}",
            "true // said",
        ],
    )
    def test_expressions(self, text: str) -> None:
        assert problem(text) is None

    @pytest.mark.parametrize(
        ("text", "where"),
        [(")++++", 1), ("a b", 3), ("a &&", 5), ("'open", 1), ("[1, 2", 6), ("a.in", 3), ("a ? b", 6), ("#", 1)],
    )
    def test_others_are_told_by_place(self, text: str, where: int) -> None:
        assert str(problem(text)).endswith(f"at character {where}")

    def test_size_and_depth_are_bounded(self) -> None:
        assert "longer" in str(problem("a" * 10_001))
        assert "nested" in str(problem("(" * 200 + "a" + ")" * 200))
        assert problem("!" * 9_000 + "a") is None
