"""Rules for traffic policies: pools, outliers, load balancers, tunnels."""

from collections.abc import Sequence

from tidegate.api.networking import (
    ConnectionPoolSettings,
    ConsistentHashLB,
    H2UpgradePolicy,
    HTTPCookie,
    HTTPSettings,
    LoadBalancerSettings,
    MagLev,
    OutlierDetection,
    PortTrafficPolicy,
    TcpKeepalive,
    TCPSettings,
    TrafficPolicy,
    TunnelSettings,
    WarmupConfiguration,
)
from tidegate.api.validation.findings import Findings
from tidegate.api.validation.locality import check_locality_setting, check_zone_aware_setting
from tidegate.api.validation.names import check_duration, check_percent, check_port, fqdn_problem, is_ip
from tidegate.api.validation.tls import check_client_tls
from tidegate.kit.durations import MILLISECOND

_TABLE_LIMIT = 5_000_011
_LAST_PORT = 65535


def check_traffic_policy(path: str, policy: TrafficPolicy, namespace: str, out: Findings) -> None:
    if policy == TrafficPolicy():
        out.error(path, "must set at least one of its fields")
    if policy.tunnel is not None and policy.proxy_protocol is not None:
        out.error(path, "tunnel and proxyProtocol may not be set together")
    _check_parts(path, policy, namespace, out)
    check_port_policies(f"{path}.portLevelSettings", policy.port_level_settings, namespace, out)
    if policy.tunnel is not None:
        check_tunnel(f"{path}.tunnel", policy.tunnel, out)
    if policy.retry_budget is not None and policy.retry_budget.percent is not None:
        check_percent(f"{path}.retryBudget.percent", policy.retry_budget.percent, out)
    if policy.retry_budget is not None:
        check_duration(f"{path}.retryBudget.budgetInterval", policy.retry_budget.budget_interval, out)


def _check_parts(path: str, policy: TrafficPolicy | PortTrafficPolicy, namespace: str, out: Findings) -> None:
    if policy.outlier_detection is not None:
        check_outlier(f"{path}.outlierDetection", policy.outlier_detection, out)
    if policy.connection_pool is not None:
        check_pool(f"{path}.connectionPool", policy.connection_pool, out)
    if policy.load_balancer is not None:
        check_load_balancer(f"{path}.loadBalancer", policy.load_balancer, policy.outlier_detection, out)
    if policy.tls is not None:
        check_client_tls(f"{path}.tls", policy.tls, namespace, out)


def check_port_policies(path: str, policies: Sequence[PortTrafficPolicy], namespace: str, out: Findings) -> None:
    for index, policy in enumerate(policies):
        _check_port_policy(f"{path}[{index}]", policy, namespace, out)


def _check_port_policy(path: str, policy: PortTrafficPolicy, namespace: str, out: Findings) -> None:
    if policy.port is None:
        out.required(f"{path}.port", "which port the settings are for")
    elif policy.port.number > _LAST_PORT:
        out.warn(f"{path}.port.number", f"{policy.port.number} is no port; the settings are for none")
    parts = (policy.outlier_detection, policy.connection_pool, policy.load_balancer, policy.tls)
    if all(part is None for part in parts):
        out.error(path, "must set at least one of outlierDetection, connectionPool, loadBalancer, tls")
    _check_parts(path, policy, namespace, out)


def check_tunnel(path: str, tunnel: TunnelSettings, out: Findings) -> None:
    if tunnel.protocol not in ("", "CONNECT", "POST"):
        out.error(f"{path}.protocol", "must be CONNECT or POST", tunnel.protocol)
    if not is_ip(tunnel.target_host) and (problem := fqdn_problem(tunnel.target_host)):
        out.error(f"{path}.targetHost", f"{problem}, or an IP address", tunnel.target_host)
    check_port(f"{path}.targetPort", tunnel.target_port, out)


def check_outlier(path: str, outlier: OutlierDetection, out: Findings) -> None:
    check_duration(f"{path}.interval", outlier.interval, out)
    check_duration(f"{path}.baseEjectionTime", outlier.base_ejection_time, out)
    if outlier.consecutive_errors:
        advice = "is deprecated and has no effect; use consecutiveGatewayErrors or consecutive5xxErrors"
        out.warn(f"{path}.consecutiveErrors", advice)
    if outlier.consecutive_local_origin_failures and not outlier.split_external_local_origin_errors:
        out.error(f"{path}.consecutiveLocalOriginFailures", "needs splitExternalLocalOriginErrors: true")
    for name, value in (
        ("maxEjectionPercent", outlier.max_ejection_percent),
        ("minHealthPercent", outlier.min_health_percent),
    ):
        if not 0 <= value <= 100:
            out.error(f"{path}.{name}", "must be from 0 to 100", value)
    for index, code in enumerate(outlier.outlier_detection_http_error_codes):
        if not 100 <= code <= 599:
            out.error(f"{path}.outlierDetectionHttpErrorCodes[{index}]", "must be from 100 to 599", code)


def check_pool(path: str, pool: ConnectionPoolSettings, out: Findings) -> None:
    if pool.http is None and pool.tcp is None:
        out.error(path, "must set at least one of http and tcp")
    if pool.http is not None:
        _check_http_pool(f"{path}.http", pool.http, out)
    if pool.tcp is not None:
        _check_tcp_pool(f"{path}.tcp", pool.tcp, out)


def _check_http_pool(path: str, http: HTTPSettings, out: Findings) -> None:
    for name, value in (
        ("http1MaxPendingRequests", http.http1_max_pending_requests),
        ("http2MaxRequests", http.http2_max_requests),
        ("maxRequestsPerConnection", http.max_requests_per_connection),
        ("maxRetries", http.max_retries),
        ("maxConcurrentStreams", http.max_concurrent_streams),
    ):
        if value < 0:
            out.error(f"{path}.{name}", "must not be negative", value)
    check_duration(f"{path}.idleTimeout", http.idle_timeout, out)
    if http.h2_upgrade_policy is H2UpgradePolicy.UPGRADE and http.use_client_protocol:
        out.error(f"{path}.useClientProtocol", "may not be set together with h2UpgradePolicy UPGRADE")
    if http.http2_keep_alive is not None:
        alive = http.http2_keep_alive
        for name, span in (("interval", alive.interval), ("timeout", alive.timeout)):
            if span is None:
                out.required(f"{path}.http2KeepAlive.{name}")
            check_duration(f"{path}.http2KeepAlive.{name}", span, out)


def _check_tcp_pool(path: str, tcp: TCPSettings, out: Findings) -> None:
    if tcp.max_connections < 0:
        out.error(f"{path}.maxConnections", "must not be negative", tcp.max_connections)
    check_duration(f"{path}.connectTimeout", tcp.connect_timeout, out)
    check_duration(f"{path}.maxConnectionDuration", tcp.max_connection_duration, out)
    # Istio reads the time in whole milliseconds, and 0 as no timeout.
    if tcp.idle_timeout is not None and abs(tcp.idle_timeout) >= MILLISECOND:
        check_duration(f"{path}.idleTimeout", tcp.idle_timeout, out)
    if tcp.tcp_keepalive is not None:
        check_keepalive(f"{path}.tcpKeepalive", tcp.tcp_keepalive, out)


def check_keepalive(path: str, keepalive: TcpKeepalive, out: Findings) -> None:
    check_duration(f"{path}.time", keepalive.time, out)
    check_duration(f"{path}.interval", keepalive.interval, out)


def check_load_balancer(
    path: str, balancer: LoadBalancerSettings, outlier: OutlierDetection | None, out: Findings
) -> None:
    if balancer.locality_lb_setting is not None and balancer.zone_aware_lb_setting is not None:
        out.error(path, "localityLbSetting and zoneAwareLbSetting may not be set together")
    if balancer.consistent_hash is not None:
        _check_hash(f"{path}.consistentHash", balancer.consistent_hash, out)
    if balancer.locality_lb_setting is not None:
        check_locality_setting(f"{path}.localityLbSetting", balancer.locality_lb_setting, outlier, out)
    if balancer.zone_aware_lb_setting is not None:
        check_zone_aware_setting(f"{path}.zoneAwareLbSetting", balancer.zone_aware_lb_setting, outlier, out)
    check_duration(f"{path}.warmupDurationSecs", balancer.warmup_duration_secs, out)
    if balancer.warmup is not None:
        _check_warmup(f"{path}.warmup", balancer.warmup, out)


def _check_hash(path: str, hashing: ConsistentHashLB, out: Findings) -> None:
    if hashing.http_cookie is not None:
        _check_cookie(f"{path}.httpCookie", hashing.http_cookie, out)
    if hashing.minimum_ring_size:
        out.warn(f"{path}.minimumRingSize", "is deprecated; use ringHash.minimumRingSize")
        if hashing.ring_hash is not None or hashing.maglev is not None:
            out.error(f"{path}.minimumRingSize", "may not be set together with ringHash or maglev")
    if hashing.maglev is not None:
        _check_maglev(f"{path}.maglev", hashing.maglev, out)


def _check_cookie(path: str, cookie: HTTPCookie, out: Findings) -> None:
    if not cookie.name:
        out.required(f"{path}.name", "the cookie's name is required")
    if cookie.ttl is not None and cookie.ttl < 0:
        out.error(f"{path}.ttl", "must not be negative", str(cookie.ttl))
    seen = set()
    for index, attribute in enumerate(cookie.attributes):
        at = f"{path}.attributes[{index}].name"
        if not attribute.name:
            out.required(at, "the attribute's name is required")
        elif attribute.name in seen:
            out.duplicate(at, attribute.name)
        seen.add(attribute.name)


def _check_maglev(path: str, maglev: MagLev, out: Findings) -> None:
    size = maglev.table_size
    if not size:
        out.required(f"{path}.tableSize", "a prime number is required")
    elif size >= _TABLE_LIMIT:
        out.error(f"{path}.tableSize", f"must be less than {_TABLE_LIMIT}", size)
    elif not _is_prime(size):
        out.error(f"{path}.tableSize", "must be a prime number", size)


def _is_prime(number: int) -> bool:
    if number < 4 or number % 2 == 0:
        return 0 < number < 4  # as Envoy's own test of it, to which 1 is prime
    return all(number % divisor for divisor in range(3, int(number**0.5) + 1, 2))


def _check_warmup(path: str, warmup: WarmupConfiguration, out: Findings) -> None:
    if warmup.duration is None:
        out.required(f"{path}.duration")
    check_duration(f"{path}.duration", warmup.duration, out)
    if warmup.minimum_percent is not None and not 0 <= warmup.minimum_percent <= 100:
        out.error(f"{path}.minimumPercent", "must be from 0 to 100", warmup.minimum_percent)
    if warmup.aggression is not None and warmup.aggression <= 0:
        out.error(f"{path}.aggression", "must be greater than 0", warmup.aggression)
