import pytest

from tidegate.api.mesh import (
    AccessLogEncoding,
    InboundTrafficPolicyMode,
    MeshConfigOutboundTrafficPolicyMode,
    TracingServiceName,
)
from tidegate.api.meshconfig import DEFAULTS, admit_mesh, default_mesh_yaml, parse
from tidegate.kit.durations import Duration
from tidegate.kit.errors import InvalidObjectError


def refused(text: str) -> list[str]:
    with pytest.raises(InvalidObjectError) as caught:
        parse(text)
    assert caught.value.kind == "MeshConfig"
    return [str(e) for e in caught.value.errors]


def test_istios_defaults() -> None:
    assert DEFAULTS.outbound_traffic_policy is not None
    assert DEFAULTS.outbound_traffic_policy.mode is MeshConfigOutboundTrafficPolicyMode.ALLOW_ANY
    assert DEFAULTS.inbound_traffic_policy is not None
    assert DEFAULTS.inbound_traffic_policy.mode is InboundTrafficPolicyMode.PASSTHROUGH
    assert (DEFAULTS.proxy_listen_port, DEFAULTS.proxy_inbound_listen_port) == (15001, 15006)
    assert DEFAULTS.connect_timeout == Duration.of(seconds=10)
    assert DEFAULTS.protocol_detection_timeout == 0
    assert DEFAULTS.dns_refresh_rate == Duration.of(seconds=60)
    assert DEFAULTS.trust_domain == "cluster.local"
    assert DEFAULTS.root_namespace == "istio-system"
    assert DEFAULTS.default_service_export_to == ("*",)
    assert DEFAULTS.default_config is not None
    assert DEFAULTS.default_config.drain_duration == Duration.of(seconds=45)


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "{}", "null"])
def test_an_empty_text_is_the_defaults(text: str) -> None:
    assert parse(text) == DEFAULTS


def test_messages_merge_and_lists_replace() -> None:
    config = parse("defaultConfig:\n  concurrency: 4\ndefaultServiceExportTo: ['.']\naccessLogEncoding: JSON\n")
    assert config.default_config is not None
    assert config.default_config.concurrency == 4
    assert config.default_config.proxy_admin_port == 15000
    assert config.default_service_export_to == (".",)
    assert config.access_log_encoding is AccessLogEncoding.JSON


def test_a_oneof_replaces_the_other_members_default() -> None:
    proxy = parse("defaultConfig: {tracingServiceName: CANONICAL_NAME_ONLY}").default_config
    assert proxy is not None
    assert proxy.tracing_service_name is TracingServiceName.CANONICAL_NAME_ONLY
    assert proxy.service_cluster is None


def test_extension_providers_merge_by_name() -> None:
    config = parse("extensionProviders: [{name: envoy, envoyFileAccessLog: {path: /x}}, {name: mine, prometheus: {}}]")
    assert [p.name for p in config.extension_providers] == ["envoy", "mine", "prometheus", "stackdriver"]
    log = config.extension_providers[0].envoy_file_access_log
    assert log is not None
    assert log.path == "/x"


@pytest.mark.parametrize(
    ("text", "attempts", "conditions"),
    [
        ("", 2, "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes"),
        ("defaultHttpRetryPolicy: {attempts: 5, retryOn: 5xx}", 5, "5xx"),
        ("defaultHttpRetryPolicy: {attempts: 0}", 0, ""),
        (
            "defaultHttpRetryPolicy: {attempts: 3}",
            3,
            "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes",
        ),
    ],
)
def test_the_retry_policy_has_no_gaps(text: str, attempts: int, conditions: str) -> None:
    retry = parse(text).default_http_retry_policy
    assert retry is not None
    assert (retry.attempts, retry.retry_on) == (attempts, conditions)


def test_snake_case_and_go_durations() -> None:
    assert parse("connect_timeout: 1m").connect_timeout == Duration.of(seconds=60)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("a: b: c", "line 1 column 5: mapping values are not allowed in this context"),
        ("accessLogFile: x\naccessLogFile: y\n", "line 2 column 1: key is given twice (got 'accessLogFile')"),
        ("a: &x [*x]", "line 1 column 4: must have at most"),
        ("a: !!python/object:os.system x", "line 1 column 4: must be a plain value"),
        ("? [a]\n: b", "line 1 column 3: keys must be text"),
        ("a: b\n---\nc: d", "line 2 column 1: but found another document"),
        ("\x00", "must be YAML"),
        ("x" * 1_048_577, "must be at most 1048576 characters"),
        ("[" * 5000, ""),
        ("- a", "must be an object, not a list"),
        ("proxyListenPort: 99999", "proxyListenPort: must be a port from 1 to 65535 (got 99999)"),
        ("connectTimeout: 2h", "connectTimeout: must be at most 1h (got '7200s')"),
        ("enableTracing: 1", "enableTracing: must be true or false (got 1)"),
        ("defaultConfig: {discoveryAddress: istiod}", "defaultConfig.discoveryAddress: must be host:port"),
        ("defaultHttpRetryPolicy: {retryOn: sometimes, attempts: 1}", "defaultHttpRetryPolicy.retryOn: 'sometimes'"),
    ],
)
def test_what_is_refused(text: str, error: str) -> None:
    errors = refused(text)
    assert len(errors) == 1
    assert errors[0].startswith(error)


def test_aliases_cannot_blow_up() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    assert "aliases written out" in refused("\n".join(lines))[0]


def test_dates_are_text() -> None:
    assert parse("trustDomain: 2026-01-01").trust_domain == "2026-01-01"


def test_the_default_text_is_valid_and_warns_of_nothing() -> None:
    config, warnings = admit_mesh(default_mesh_yaml())
    assert warnings == ()
    assert config.access_log_file == "/dev/stdout"
    assert config.enable_auto_mtls is False
    assert config.enable_tracing is False


def test_warnings_tell_unknown_and_unacted_fields() -> None:
    _, warnings = admit_mesh("nope: 1\nenableAutoMtls: true\ntlsDefaults: {ecdhCurves: [X]}\n")
    assert [w.split(":")[0] for w in warnings] == [
        "nope",
        "tlsDefaults.ecdhCurves[0]",
        "enableAutoMtls",
    ]
