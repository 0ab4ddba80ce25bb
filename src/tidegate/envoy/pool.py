"""Connection pools of clusters: limits, timeouts, keepalive and HTTP protocol options."""

from typing import Any

import msgspec

from tidegate.api.networking import (
    ConnectionPoolSettings,
    H2UpgradePolicy,
    HTTPSettings,
    RetryBudget,
    TcpKeepalive,
    TCPSettings,
)
from tidegate.envoy import protos
from tidegate.kit.durations import Duration
from tidegate.registry.model import Protocol

HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
UNLIMITED = 2**32 - 1
_DEFAULT_BUDGET_PERCENT, _DEFAULT_BUDGET_CONCURRENCY = 20.0, 3
_PING_TIMEOUT = Duration.of(seconds=20)
"""Envoy demands one beside an interval; gRPC's own default."""

_TCP, _HTTP = TCPSettings(), HTTPSettings()


class Http(msgspec.Struct, frozen=True):
    """How HTTP is spoken upstream. None of these: HTTP/1.1, Envoy's default."""

    http2: bool = False
    as_downstream: bool = False
    """Whatever the client spoke."""
    keeps_case: bool = False
    """Headers of HTTP/1 keep their upper and lower case."""


class Speaker(msgspec.Struct, frozen=True):
    """What the protocol of a cluster depends on besides the port and its rule."""

    detects: bool = True
    """A port that declares no protocol is called as the client calls: Istio's gateways speak HTTP/1.1 to it."""
    keeps_case: bool = False
    upgrades: bool = True
    """Rules may ask for HTTP/2: on the way between sidecars, not towards the application."""
    mesh_upgrade: bool = False
    """The mesh asks for HTTP/2 where no rule says otherwise."""


def tcp_of(pool: ConnectionPoolSettings | None) -> TCPSettings:
    return (pool.tcp if pool else None) or _TCP


def http_of(pool: ConnectionPoolSettings | None) -> HTTPSettings:
    return (pool.http if pool else None) or _HTTP


def protocol(port: Protocol, pool: ConnectionPoolSettings | None, speaker: Speaker) -> Http:
    """The protocol for a port: useClientProtocol, then what the port declares, then h2UpgradePolicy.

    An upgrade holds where HTTP/1.1 is spoken without more, as Istio has it: it does not change ports without a
    declared protocol, nor HTTP/1.1 with the case of headers kept. The mesh's upgrade holds for ports that declare
    HTTP and for rules that do not say DO_NOT_UPGRADE.
    """
    http, declared = http_of(pool), _declared(port, speaker)
    if http.use_client_protocol:
        return Http(as_downstream=True, keeps_case=declared.keeps_case and not declared.as_downstream)
    if declared != Http() or not speaker.upgrades:
        return declared
    wanted = speaker.mesh_upgrade and port.is_http and http.h2_upgrade_policy is not H2UpgradePolicy.DO_NOT_UPGRADE
    return Http(http2=http.h2_upgrade_policy is H2UpgradePolicy.UPGRADE or wanted)


def _declared(port: Protocol, speaker: Speaker) -> Http:
    if port.is_http2:
        return Http(http2=True)
    unknown = port is Protocol.AUTO
    keeps_case = speaker.keeps_case and (unknown or port.is_http)
    return Http(as_downstream=unknown and speaker.detects, keeps_case=keeps_case)


def circuit_breakers(pool: ConnectionPoolSettings | None, budget: RetryBudget | None = None) -> Any:
    """Thresholds; what is unset is unlimited (Envoy's own defaults of 1024 would surprise)."""
    tcp, http = tcp_of(pool), http_of(pool)
    limits = protos.CircuitBreakers.Thresholds(
        max_connections=_limit(tcp.max_connections),
        max_pending_requests=_limit(http.http1_max_pending_requests),
        max_requests=_limit(http.http2_max_requests),
        max_retries=_limit(http.max_retries),
    )
    if budget is not None:
        percent = budget.percent if budget.percent is not None else _DEFAULT_BUDGET_PERCENT
        limits.retry_budget.budget_percent.value = percent
        limits.retry_budget.min_retry_concurrency.value = budget.min_retry_concurrency or _DEFAULT_BUDGET_CONCURRENCY
    return protos.CircuitBreakers(thresholds=[limits])


def _limit(value: int) -> Any:
    return protos.u32(value if value > 0 else UNLIMITED)


def put_keepalive(cluster: Any, mesh: TcpKeepalive | None, own: TcpKeepalive | None) -> None:
    """SO_KEEPALIVE: the rule's fields over the mesh's, one by one. Envoy counts in whole seconds."""
    if mesh is None and own is None:
        return
    keepalive = cluster.upstream_connection_options.tcp_keepalive
    keepalive.SetInParent()
    for settings in (mesh, own):
        if settings is None:
            continue
        if settings.probes:
            keepalive.keepalive_probes.value = settings.probes
        if settings.time:
            keepalive.keepalive_time.value = _whole_seconds(settings.time)
        if settings.interval:
            keepalive.keepalive_interval.value = _whole_seconds(settings.interval)


def _whole_seconds(value: Duration) -> int:
    return min(max(1, int(value.seconds)), UNLIMITED)


def put_http_options(
    cluster: Any,
    http: Http,
    pool: ConnectionPoolSettings | None,
    *,
    auto_sni: bool = False,
    auto_san_validation: bool = False,
    error_codes: tuple[int, ...] = (),
) -> None:
    """Write HttpProtocolOptions, only when something differs from Envoy's default of plain HTTP/1.1."""
    if pool is None and http == Http() and not (auto_sni or auto_san_validation or error_codes):
        return
    options = protos.HttpProtocolOptions()
    common = _put_common(options, pool)
    if auto_sni or auto_san_validation:
        options.upstream_http_protocol_options.auto_sni = auto_sni
        options.upstream_http_protocol_options.auto_san_validation = auto_san_validation
    if error_codes:
        _put_error_codes(options, error_codes)
    if http.as_downstream:
        put_as_downstream(options, keeps_case=http.keeps_case)
    elif http.http2:
        _put_http2(options.explicit_http_config.http2_protocol_options, http_of(pool))
    elif common or auto_sni or auto_san_validation or error_codes or http.keeps_case:
        _put_http1(options.explicit_http_config.http_protocol_options, http.keeps_case)
    else:
        return
    cluster.typed_extension_protocol_options[HTTP_OPTIONS].CopyFrom(protos.any_of(options))


def put_as_downstream(options: Any, *, keeps_case: bool) -> None:
    """Speak what the client spoke. Limits of HTTP/2 that a rule sets are for clusters that always speak it."""
    _put_http1(options.use_downstream_protocol_config.http_protocol_options, keeps_case)
    options.use_downstream_protocol_config.http2_protocol_options.SetInParent()


def _put_http1(target: Any, keeps_case: bool) -> None:
    target.SetInParent()
    if keeps_case:
        target.header_key_format.CopyFrom(protos.case_kept())


def _put_common(options: Any, pool: ConnectionPoolSettings | None) -> bool:
    tcp, http = tcp_of(pool), http_of(pool)
    idle = http.idle_timeout if http.idle_timeout is not None else tcp.idle_timeout
    common = options.common_http_protocol_options
    if idle is not None:
        common.idle_timeout.CopyFrom(protos.duration(idle))
    if tcp.max_connection_duration is not None:
        common.max_connection_duration.CopyFrom(protos.duration(tcp.max_connection_duration))
    if http.max_requests_per_connection > 0:
        common.max_requests_per_connection.value = http.max_requests_per_connection
    if http.max_concurrent_streams > 0 or http.http2_keep_alive is not None:
        common.SetInParent()
    return bool(options.HasField("common_http_protocol_options"))


def _put_http2(target: Any, http: HTTPSettings) -> None:
    target.SetInParent()
    if http.max_concurrent_streams > 0:
        target.max_concurrent_streams.value = http.max_concurrent_streams
    if http.http2_keep_alive is not None:
        ping = target.connection_keepalive
        if http.http2_keep_alive.interval:
            ping.interval.CopyFrom(protos.duration(http.http2_keep_alive.interval))
        ping.timeout.CopyFrom(protos.duration(http.http2_keep_alive.timeout or _PING_TIMEOUT))


def _put_error_codes(options: Any, codes: tuple[int, ...]) -> None:
    """Count exactly these statuses as errors for outlier detection."""
    rules = [_status_matcher(code) for code in codes]
    matcher = options.outlier_detection.error_matcher
    if len(rules) == 1:
        matcher.CopyFrom(rules[0])
    else:
        matcher.or_match.rules.extend(rules)


def _status_matcher(code: int) -> Any:
    predicate = protos.MatchPredicate()
    predicate.http_response_headers_match.headers.add(
        name=":status", string_match=protos.StringMatcher(exact=str(code))
    )
    return predicate
