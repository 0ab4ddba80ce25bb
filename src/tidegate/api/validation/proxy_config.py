"""Rules for a mesh's default ProxyConfig."""

from tidegate.api.mesh import (
    ConnectionSettings,
    ControlPlaneAuthPolicy,
    Lightstep,
    PrivateKeyProvider,
    ProxyConfig,
    Tracing,
)
from tidegate.api.validation.findings import Findings
from tidegate.api.validation.names import check_port, fqdn_problem, is_ip
from tidegate.api.validation.tls import check_client_tls
from tidegate.kit.durations import MILLISECOND, SECOND, Duration

_HOST_IP = "$(HOST_IP)"
_WINDOW = 65535


def check_proxy_config(path: str, proxy: ProxyConfig, out: Findings) -> None:
    for name, text in (("configPath", proxy.config_path), ("binaryPath", proxy.binary_path)):
        if not text:
            out.required(f"{path}.{name}")
    if not proxy.service_cluster and proxy.tracing_service_name is None:
        out.required(f"{path}.serviceCluster", "serviceCluster or tracingServiceName is required")
    check_drain(f"{path}.drainDuration", proxy.drain_duration, out)
    _check_addresses(path, proxy, out)
    check_port(f"{path}.proxyAdminPort", proxy.proxy_admin_port, out)
    check_port(f"{path}.statusPort", proxy.status_port, out)
    if proxy.control_plane_auth_policy is ControlPlaneAuthPolicy.INHERIT:
        out.error(f"{path}.controlPlaneAuthPolicy", "must be NONE or MUTUAL_TLS", "INHERIT")
    if proxy.tracing is not None:
        _check_tracing(f"{path}.tracing", proxy.tracing, out)
    if proxy.private_key_provider is not None:
        _check_key_provider(f"{path}.privateKeyProvider", proxy.private_key_provider, out)
    if proxy.connection_settings is not None:
        check_connection_settings(f"{path}.connectionSettings", proxy.connection_settings, out)
    if "ISTIO_META_DNS_AUTO_ALLOCATE" in proxy.proxy_metadata:
        advice = "is deprecated: addresses are allocated by the control plane"
        out.warn(f"{path}.proxyMetadata[ISTIO_META_DNS_AUTO_ALLOCATE]", advice)


def check_drain(path: str, drain: Duration | None, out: Findings) -> None:
    if drain is None or drain < MILLISECOND:
        out.error(path, "must be a duration greater than 0", None if drain is None else str(drain))
    elif drain % SECOND:
        out.error(path, "must be in whole seconds", str(drain))


def _check_addresses(path: str, proxy: ProxyConfig, out: Findings) -> None:
    if not proxy.discovery_address:
        out.required(f"{path}.discoveryAddress", "the control plane's host:port is required")
    optional = (
        ("discoveryAddress", proxy.discovery_address),
        ("statsdUdpAddress", proxy.statsd_udp_address),
        ("envoyMetricsServiceAddress", proxy.envoy_metrics_service_address),
        ("envoyMetricsService.address", proxy.envoy_metrics_service and proxy.envoy_metrics_service.address),
        ("envoyAccessLogService.address", proxy.envoy_access_log_service and proxy.envoy_access_log_service.address),
    )
    for name, address in optional:
        if address:
            check_address(f"{path}.{name}", address, out)


def check_address(path: str, address: str, out: Findings) -> None:
    """``host:port``, an IPv6 host in brackets."""
    host, colon, port = address.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    bare = host[1:-1] if bracketed else host
    if not colon or not bare or (":" in bare and not bracketed):
        out.error(path, "must be host:port", address)
        return
    if not is_ip(bare) and fqdn_problem(bare):
        out.error(path, "must be a DNS name or an IP address, and a port", address)
    if not (port.isascii() and port.isdecimal() and 1 <= int(port[:6]) <= 65535):
        out.error(path, "must end with a port from 1 to 65535", address)


def _check_tracing(path: str, tracing: Tracing, out: Findings) -> None:
    if tracing.zipkin is not None:
        check_agent(f"{path}.zipkin.address", tracing.zipkin.address, out)
    if tracing.datadog is not None:
        check_agent(f"{path}.datadog.address", tracing.datadog.address, out)
    if tracing.lightstep is not None:
        check_lightstep(f"{path}.lightstep", tracing.lightstep, out)
    if tracing.tls_settings is not None:
        check_client_tls(f"{path}.tlsSettings", tracing.tls_settings, "", out)
    if not 0 <= tracing.sampling <= 100:
        out.warn(f"{path}.sampling", f"{tracing.sampling} is no percentage from 0 to 100; the default counts")


def check_lightstep(path: str, collector: Lightstep, out: Findings) -> None:
    check_address(f"{path}.address", collector.address, out)
    if not collector.access_token:
        out.required(f"{path}.accessToken", "an access token is required")


def check_agent(path: str, address: str, out: Findings) -> None:
    """A tracer's address; ``$(HOST_IP)`` stands for the node's address."""
    check_address(path, address.replace(_HOST_IP, "127.0.0.1"), out)


def _check_key_provider(path: str, provider: PrivateKeyProvider, out: Findings) -> None:
    for name, settings in (("cryptomb", provider.cryptomb), ("qat", provider.qat)):
        if settings is not None:
            if not settings.poll_delay:
                out.required(f"{path}.{name}.pollDelay", "a duration greater than 0 is required")
            return
    out.required(path, "cryptomb or qat is required")


def check_connection_settings(path: str, settings: ConnectionSettings, out: Findings) -> None:
    for name, number, least in (
        ("listenerPerConnectionBufferLimitBytes", settings.listener_per_connection_buffer_limit_bytes, 0),
        ("clusterPerConnectionBufferLimitBytes", settings.cluster_per_connection_buffer_limit_bytes, 0),
        ("httpMaxConcurrentStreams", settings.http_max_concurrent_streams, 1),
        ("listenerConnectionLimit", settings.listener_connection_limit, 1),
        ("globalDownstreamConnectionLimit", settings.global_downstream_connection_limit, 1),
        ("http2InitialStreamWindowSize", settings.http2_initial_stream_window_size, _WINDOW),
        ("http2InitialConnectionWindowSize", settings.http2_initial_connection_window_size, _WINDOW),
    ):
        if number is not None and number < least:
            out.error(f"{path}.{name}", f"must be at least {least}", number)
    for name, span in (
        ("httpIdleTimeout", settings.http_idle_timeout),
        ("httpMaxConnectionDuration", settings.http_max_connection_duration),
        ("httpDrainTimeout", settings.http_drain_timeout),
        ("httpRequestTimeout", settings.http_request_timeout),
        ("httpRequestHeadersTimeout", settings.http_request_headers_timeout),
        ("httpStreamIdleTimeout", settings.http_stream_idle_timeout),
        ("httpMaxStreamDuration", settings.http_max_stream_duration),
    ):
        if span is not None and span < 0:
            out.error(f"{path}.{name}", "must not be negative", str(span))
