"""Rules for MeshConfig."""

from collections.abc import Callable, Sequence
from typing import Any

from tidegate.api import mesh
from tidegate.api.mesh import MeshConfig
from tidegate.api.meshselectors import discovery_mistakes, visibility_mistakes
from tidegate.api.networking import HTTPRetry
from tidegate.api.validation.findings import Findings
from tidegate.api.validation.http_route import check_retry
from tidegate.api.validation.locality import check_locality_setting, check_zone_aware_setting
from tidegate.api.validation.names import (
    check_duration,
    check_label,
    check_port,
    check_wildcard,
    fqdn_problem,
    is_ip,
    is_label,
)
from tidegate.api.validation.proxy_config import check_proxy_config
from tidegate.api.validation.sidecar import check_egress_name, check_namespace
from tidegate.api.validation.tls import is_cipher
from tidegate.api.validation.traffic import check_keepalive, check_outlier, check_pool
from tidegate.kit.durations import HOUR, MILLISECOND, Duration

_STATUSES = frozenset(
    (0, 100, 101, *range(200, 209), 226, *range(300, 306), 307, 308, *range(400, 419), *range(421, 427), 428, 429, 431)
) | frozenset((*range(500, 509), 510, 511))
"""Of envoy.type.v3.StatusCode."""
_CURVES = frozenset(("", "P-224", "P-256", "P-384", "P-521", "X25519", "X25519Kyber768Draft00", "X25519MLKEM768"))


def check_mesh_config(config: MeshConfig, out: Findings) -> None:
    """``config`` with Istio's defaults filled in."""
    _check_listeners(config, out)
    if config.default_config is None:
        out.required("defaultConfig")
    else:
        check_proxy_config("defaultConfig", config.default_config, out)
    check_trust_domain("trustDomain", config.trust_domain, out)
    for index, alias in enumerate(config.trust_domain_aliases):
        check_trust_domain(f"trustDomainAliases[{index}]", alias, out)
    if config.root_namespace:
        check_label("rootNamespace", config.root_namespace, out)
    _check_balancing(config, out)
    _check_tls(config, out)
    check_service_settings("serviceSettings", config.service_settings, out)
    _check_selectors(config, out)
    _check_providers(config, out)


def _check_selectors(config: MeshConfig, out: Findings) -> None:
    """Istio lets selectors pass that cannot be read; the control plane goes on with those before them."""
    for path, text in discovery_mistakes(config):
        out.warn(path, f"{text}; discoverySelectors stay as they were before")
    for path, text in visibility_mistakes(config):
        out.warn(path, f"{text}; serviceEntryVisibility stays as it was before")
    asked = config.service_entry_visibility
    if asked is not None and not asked.apply_to_sidecars:
        out.warn("serviceEntryVisibility", "has no effect on sidecars and gateways without applyToSidecars: true")


def _check_listeners(config: MeshConfig, out: Findings) -> None:
    check_port("proxyListenPort", config.proxy_listen_port, out)
    # Istio leaves the inbound port unset (0) to mean its default; here defaults are filled in before.
    if config.proxy_inbound_listen_port:
        check_port("proxyInboundListenPort", config.proxy_inbound_listen_port, out)
    check_connect_timeout("connectTimeout", config.connect_timeout, out)
    check_detection_timeout("protocolDetectionTimeout", config.protocol_detection_timeout, out)
    check_duration("dnsRefreshRate", config.dns_refresh_rate, out)
    if config.tcp_keepalive is not None:
        check_keepalive("tcpKeepalive", config.tcp_keepalive, out)


def check_connect_timeout(path: str, timeout: Duration | None, out: Findings) -> None:
    if timeout is None:
        out.required(path, "a duration from 1ms to 1h is required")
        return
    check_duration(path, timeout, out)
    if timeout > HOUR:
        out.error(path, "must be at most 1h", str(timeout))


def check_detection_timeout(path: str, timeout: Duration | None, out: Findings) -> None:
    if timeout is not None and (timeout < 0 or timeout % MILLISECOND):
        out.error(path, "must be 0s or a duration in whole milliseconds", str(timeout))


def check_trust_domain(path: str, domain: str, out: Findings) -> None:
    if not domain:
        out.required(path, "a trust domain such as cluster.local is required")
    elif not all(is_label(label) for label in domain.removesuffix(".").split(".")):
        out.error(path, "must be labels of letters, digits and '-', joined by dots", domain)


def _check_balancing(config: MeshConfig, out: Findings) -> None:
    outlier = None if config.default_traffic_policy is None else config.default_traffic_policy.outlier_detection
    # Outlier detection comes with each DestinationRule, so its absence here is no reason to warn.
    quiet = Findings()
    if config.locality_lb_setting is not None:
        check_locality_setting("localityLbSetting", config.locality_lb_setting, outlier, quiet)
    if config.zone_aware_lb_setting is not None:
        check_zone_aware_setting("zoneAwareLbSetting", config.zone_aware_lb_setting, outlier, quiet)
    out.errors += quiet.errors
    if config.default_traffic_policy is not None:
        check_default_traffic_policy("defaultTrafficPolicy", config.default_traffic_policy, out)
    if config.default_http_retry_policy is not None:
        check_retry("defaultHttpRetryPolicy", config.default_http_retry_policy, out)
    if config.default_inbound_http_retry_policy is not None:
        check_inbound_retry("defaultInboundHttpRetryPolicy", config.default_inbound_http_retry_policy, out)


def check_default_traffic_policy(path: str, policy: mesh.DefaultTrafficPolicy, out: Findings) -> None:
    if policy.connection_pool is not None:
        check_pool(f"{path}.connectionPool", policy.connection_pool, out)
    if policy.outlier_detection is not None:
        check_outlier(f"{path}.outlierDetection", policy.outlier_detection, out)


def check_inbound_retry(path: str, retry: HTTPRetry, out: Findings) -> None:
    check_retry(path, retry, out)
    if retry.attempts == 0 and retry.backoff is not None:
        out.error(f"{path}.backoff", "has no effect when attempts is 0")
    for name, value in (
        ("perTryTimeout", retry.per_try_timeout),
        ("retryRemoteLocalities", retry.retry_remote_localities),
        ("retryIgnorePreviousHosts", retry.retry_ignore_previous_hosts),
    ):
        if value is not None:
            out.warn(f"{path}.{name}", "has no effect on inbound retries")


def _check_tls(config: MeshConfig, out: Findings) -> None:
    if config.mesh_mtls is not None and config.mesh_mtls.ecdh_curves:
        out.error("meshMTLS.ecdhCurves", "cannot be set for mutual TLS within the mesh")
    if config.tls_defaults is not None:
        _warn_listed("tlsDefaults.ecdhCurves", config.tls_defaults.ecdh_curves, _CURVES.__contains__, out)
        _warn_listed("tlsDefaults.cipherSuites", config.tls_defaults.cipher_suites, is_cipher, out)


def _warn_listed(path: str, names: tuple[str, ...], known: Callable[[str], bool], out: Findings) -> None:
    for index, name in enumerate(names):
        if not known(name):
            out.warn(f"{path}[{index}]", f"{name[:64]!r} is not known to Envoy; it is left out")
        elif name in names[:index]:
            out.warn(f"{path}[{index}]", f"{name!r} is listed twice")


def check_service_settings(path: str, listed: Sequence[mesh.ServiceSettings], out: Findings) -> None:
    for index, settings in enumerate(listed):
        for place, host in enumerate(settings.hosts):
            check_wildcard(f"{path}[{index}].hosts[{place}]", host, out)


_PROVIDERS = (
    ("envoyExtAuthzHttp", "envoy_ext_authz_http"),
    ("envoyExtAuthzGrpc", "envoy_ext_authz_grpc"),
    ("zipkin", "zipkin"),
    ("lightstep", "lightstep"),
    ("datadog", "datadog"),
    ("opencensus", "opencensus"),
    ("skywalking", "skywalking"),
    ("opentelemetry", "opentelemetry"),
    ("envoyHttpAls", "envoy_http_als"),
    ("envoyTcpAls", "envoy_tcp_als"),
    ("envoyOtelAls", "envoy_otel_als"),
)


def _check_providers(config: MeshConfig, out: Findings) -> None:
    """Istio only logs what is wrong with a provider, so here it is a warning."""
    found = Findings()
    names: set[str] = set()
    for index, provider in enumerate(config.extension_providers):
        at = f"extensionProviders[{index}]"
        if not provider.name or provider.name in names:
            found.error(f"{at}.name", "must be set and unique", provider.name)
        names.add(provider.name)
        for name, attribute in _PROVIDERS:
            settings = getattr(provider, attribute)
            if settings is not None:
                check_provider(f"{at}.{name}", settings, found)
    out.warnings += [str(error) for error in found.errors]


def check_provider(path: str, provider: Any, out: Findings) -> None:
    """Settings of one extension provider that has ``service`` and ``port``."""
    check_provider_service(f"{path}.service", provider.service, out)
    check_port(f"{path}.port", provider.port, out)
    extra = _PROVIDER_RULES.get(type(provider))
    if extra is not None:
        extra(path, provider, out)


def check_provider_service(path: str, service: str, out: Findings) -> None:
    namespace, slash, host = service.partition("/")
    if slash:
        check_namespace(path, namespace, service, out)
        check_egress_name(path, host, out)
    elif not is_ip(service) and (problem := fqdn_problem(service)):
        out.error(path, f"{problem}, or an IP address, without port", service)


def _check_lightstep(path: str, provider: mesh.LightstepTracingProvider, out: Findings) -> None:
    if not provider.access_token:
        out.required(f"{path}.accessToken", "an access token is required")


def _check_opentelemetry(path: str, provider: mesh.OpenTelemetryTracingProvider, out: Findings) -> None:
    if provider.http is not None and provider.grpc is not None:
        out.error(path, "only one of http and grpc may be set")


def _check_authorizer(
    path: str,
    provider: mesh.EnvoyExternalAuthorizationHttpProvider | mesh.EnvoyExternalAuthorizationGrpcProvider,
    out: Findings,
) -> None:
    status = provider.status_on_error
    if status and not (status.isascii() and status.isdecimal() and int(status[:4]) in _STATUSES):
        out.error(f"{path}.statusOnError", "must be an HTTP status code", status)
    prefix = getattr(provider, "path_prefix", "")
    if prefix and not prefix.startswith("/"):
        out.error(f"{path}.pathPrefix", "must begin with /", prefix)


_PROVIDER_RULES: dict[type[Any], Callable[[str, Any, Findings], None]] = {
    mesh.LightstepTracingProvider: _check_lightstep,
    mesh.OpenTelemetryTracingProvider: _check_opentelemetry,
    mesh.EnvoyExternalAuthorizationHttpProvider: _check_authorizer,
    mesh.EnvoyExternalAuthorizationGrpcProvider: _check_authorizer,
}
