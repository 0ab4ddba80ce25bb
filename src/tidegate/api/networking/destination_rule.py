"""DestinationRule, and what its traffic policies are made of."""

import enum
from typing import Annotated

from msgspec import field

from tidegate.api.fields import Duration, Int32, Message, UInt32, UInt64, doc
from tidegate.api.networking.pools import ConnectionPoolSettings
from tidegate.api.networking.shared import MatchLabelsSelector, PortSelector


class LoadBalancerSettingsSimple(enum.StrEnum):
    UNSPECIFIED = "UNSPECIFIED"
    LEAST_CONN = "LEAST_CONN"
    RANDOM = "RANDOM"
    PASSTHROUGH = "PASSTHROUGH"
    ROUND_ROBIN = "ROUND_ROBIN"
    LEAST_REQUEST = "LEAST_REQUEST"


class ClientTLSSettingsMode(enum.StrEnum):
    DISABLE = "DISABLE"
    SIMPLE = "SIMPLE"
    MUTUAL = "MUTUAL"
    ISTIO_MUTUAL = "ISTIO_MUTUAL"


class ProxyProtocolVersion(enum.StrEnum):
    V1 = "V1"
    V2 = "V2"


class HTTPCookieAttribute(Message, frozen=True):
    """networking.v1alpha3.LoadBalancerSettings.ConsistentHashLB.HTTPCookie.Attribute."""

    name: Annotated[str, doc("attribute", required=True)] = ""
    value: Annotated[str, doc("value")] = ""


class HTTPCookie(Message, frozen=True):
    """networking.v1alpha3.LoadBalancerSettings.ConsistentHashLB.HTTPCookie."""

    name: Annotated[str, doc("cookie name", required=True)] = ""
    path: Annotated[str, doc("cookie path")] = ""
    ttl: Annotated[Duration | None, doc("cookie lifetime; 0 = session")] = None
    attributes: Annotated[tuple[HTTPCookieAttribute, ...], doc("extra cookie attributes")] = ()


class RingHash(Message, frozen=True):
    """networking.v1alpha3.LoadBalancerSettings.ConsistentHashLB.RingHash."""

    minimum_ring_size: Annotated[UInt64, doc("ring size")] = 0


class MagLev(Message, frozen=True):
    """networking.v1alpha3.LoadBalancerSettings.ConsistentHashLB.MagLev."""

    table_size: Annotated[UInt64, doc("prime table size")] = 0


class ConsistentHashLB(Message, frozen=True):
    """networking.v1alpha3.LoadBalancerSettings.ConsistentHashLB."""

    http_header_name: Annotated[str | None, doc("hash header", oneof="hash_key")] = None
    http_cookie: Annotated[HTTPCookie | None, doc("hash cookie, may be generated", oneof="hash_key")] = None
    use_source_ip: Annotated[bool | None, doc("hash client IP", oneof="hash_key")] = None
    http_query_parameter_name: Annotated[str | None, doc("hash query param", oneof="hash_key")] = None
    ring_hash: Annotated[RingHash | None, doc("ring algorithm", oneof="hash_algorithm")] = None
    maglev: Annotated[MagLev | None, doc("maglev algorithm", oneof="hash_algorithm")] = None
    minimum_ring_size: Annotated[UInt64, doc("old ring size", deprecated=True)] = 0


class BackendUtilizationLB(Message, frozen=True):
    """networking.v1alpha3.LoadBalancerSettings.BackendUtilizationLB."""

    weight_stabilization_period: Annotated[Duration | None, doc("blackout period")] = None
    weight_expiration_period: Annotated[Duration | None, doc("stale weight time")] = None
    weight_update_period: Annotated[Duration | None, doc("recompute period")] = None
    error_utilization_penalty_percent: Annotated[UInt32, doc("error penalty")] = 0
    metric_names_for_computing_utilization: Annotated[tuple[str, ...], doc("metrics used")] = ()


class LocalityLoadBalancerSettingDistribute(Message, frozen=True):
    """networking.v1alpha3.LocalityLoadBalancerSetting.Distribute."""

    from_: Annotated[str, doc("source locality, * allowed")] = field(default="", name="from")
    to: Annotated[dict[str, UInt32], doc("map locality to weight summing 100")] = field(default_factory=dict)


class LocalityLoadBalancerSettingFailover(Message, frozen=True):
    """networking.v1alpha3.LocalityLoadBalancerSetting.Failover."""

    from_: Annotated[str, doc("source region")] = field(default="", name="from")
    to: Annotated[str, doc("fallback region")] = ""


class LocalityLoadBalancerSetting(Message, frozen=True):
    """networking.v1alpha3.LocalityLoadBalancerSetting."""

    distribute: Annotated[
        tuple[LocalityLoadBalancerSettingDistribute, ...], doc("explicit from/to locality weights")
    ] = ()
    failover: Annotated[tuple[LocalityLoadBalancerSettingFailover, ...], doc("region failover pairs")] = ()
    failover_priority: Annotated[tuple[str, ...], doc("ordered labels for priority")] = ()
    enabled: Annotated[bool | None, doc("switch")] = None


class ZoneAwareLoadBalancerSettingFailover(Message, frozen=True):
    """networking.v1alpha3.ZoneAwareLoadBalancerSetting.Failover."""

    from_: Annotated[str, doc("source region")] = field(default="", name="from")
    to: Annotated[str, doc("fallback region")] = ""


class ZoneAwareLoadBalancerSetting(Message, frozen=True):
    """networking.v1alpha3.ZoneAwareLoadBalancerSetting."""

    enabled: Annotated[bool | None, doc("switch")] = None
    failover: Annotated[tuple[ZoneAwareLoadBalancerSettingFailover, ...], doc("region failover pairs")] = ()
    failover_priority: Annotated[tuple[str, ...], doc("ordered labels")] = ()
    min_cluster_size: Annotated[UInt32 | None, doc("least endpoints for zone awareness", minimum=1)] = None


class WarmupConfiguration(Message, frozen=True):
    """networking.v1alpha3.WarmupConfiguration."""

    duration: Annotated[Duration | None, doc("window of ramp up", required=True)] = None
    minimum_percent: Annotated[float | None, doc("starting weight percent", maximum=100)] = None
    aggression: Annotated[float | None, doc("curve factor")] = None


class LoadBalancerSettings(Message, frozen=True):
    """networking.v1alpha3.LoadBalancerSettings."""

    simple: Annotated[LoadBalancerSettingsSimple | None, doc("algorithm", oneof="lb_policy")] = None
    consistent_hash: Annotated[ConsistentHashLB | None, doc("session affinity by hash", oneof="lb_policy")] = None
    backend_utilization: Annotated[BackendUtilizationLB | None, doc("load report based (new)", oneof="lb_policy")] = (
        None
    )
    locality_lb_setting: Annotated[LocalityLoadBalancerSetting | None, doc("locality failover/weights")] = None
    zone_aware_lb_setting: Annotated[ZoneAwareLoadBalancerSetting | None, doc("zone-aware routing (new)")] = None
    warmup_duration_secs: Annotated[Duration | None, doc("old slow start window")] = None
    warmup: Annotated[WarmupConfiguration | None, doc("slow start for new endpoints")] = None


class OutlierDetection(Message, frozen=True):
    """networking.v1alpha3.OutlierDetection."""

    consecutive_errors: Annotated[Int32, doc("removed field", deprecated=True)] = 0
    split_external_local_origin_errors: Annotated[bool, doc("separate local-origin failures")] = False
    consecutive_local_origin_failures: Annotated[UInt32 | None, doc("local failures before ejection")] = None
    consecutive_gateway_errors: Annotated[UInt32 | None, doc("502/503/504 before ejection")] = None
    consecutive5xx_errors: Annotated[UInt32 | None, doc("5xx before ejection; 0 off")] = None
    interval: Annotated[Duration | None, doc("analysis sweep")] = None
    base_ejection_time: Annotated[Duration | None, doc("ejection time multiplied by count")] = None
    max_ejection_percent: Annotated[Int32, doc("max ejected percent")] = 0
    min_health_percent: Annotated[Int32, doc("panic threshold")] = 0
    outlier_detection_http_error_codes: Annotated[
        tuple[UInt32, ...], doc("codes counted as errors instead of 5xx")
    ] = ()


class ClientTLSSettings(Message, frozen=True):
    """networking.v1alpha3.ClientTLSSettings."""

    mode: Annotated[ClientTLSSettingsMode, doc("TLS mode")] = ClientTLSSettingsMode.DISABLE
    client_certificate: Annotated[str, doc("client cert path")] = ""
    private_key: Annotated[str, doc("client key path")] = ""
    ca_certificates: Annotated[str, doc("CA path; system trust if empty")] = ""
    credential_name: Annotated[str, doc("secret with certs (gateway, or selector rule)")] = ""
    subject_alt_names: Annotated[tuple[str, ...], doc("accepted server SANs")] = ()
    sni: Annotated[str, doc("SNI to send")] = ""
    insecure_skip_verify: Annotated[bool | None, doc("do not verify server")] = None
    ca_crl: Annotated[str, doc("CRL path")] = ""


class PortTrafficPolicy(Message, frozen=True):
    """networking.v1alpha3.TrafficPolicy.PortTrafficPolicy."""

    port: Annotated[PortSelector | None, doc("port the policy is for")] = None
    load_balancer: Annotated[LoadBalancerSettings | None, doc("load balancing")] = None
    connection_pool: Annotated[ConnectionPoolSettings | None, doc("connection limits")] = None
    outlier_detection: Annotated[OutlierDetection | None, doc("ejection")] = None
    tls: Annotated[ClientTLSSettings | None, doc("TLS")] = None


class TunnelSettings(Message, frozen=True):
    """networking.v1alpha3.TrafficPolicy.TunnelSettings."""

    protocol: Annotated[str, doc("CONNECT or POST")] = ""
    target_host: Annotated[str, doc("host to tunnel to", required=True)] = ""
    target_port: Annotated[UInt32, doc("port to tunnel to", required=True)] = 0


class ProxyProtocol(Message, frozen=True):
    """networking.v1alpha3.TrafficPolicy.ProxyProtocol."""

    version: Annotated[ProxyProtocolVersion, doc("V1 or V2")] = ProxyProtocolVersion.V1


class RetryBudget(Message, frozen=True):
    """networking.v1alpha3.TrafficPolicy.RetryBudget."""

    percent: Annotated[float | None, doc("share of active requests", maximum=100)] = None
    min_retry_concurrency: Annotated[UInt32, doc("floor of concurrent retries")] = 0
    budget_interval: Annotated[Duration | None, doc("measuring window")] = None


class TrafficPolicy(Message, frozen=True):
    """networking.v1alpha3.TrafficPolicy."""

    load_balancer: Annotated[LoadBalancerSettings | None, doc("load balancing")] = None
    connection_pool: Annotated[ConnectionPoolSettings | None, doc("connection limits and timeouts")] = None
    outlier_detection: Annotated[OutlierDetection | None, doc("passive health ejection")] = None
    tls: Annotated[ClientTLSSettings | None, doc("TLS to upstream")] = None
    port_level_settings: Annotated[
        tuple[PortTrafficPolicy, ...], doc("per-port policies, replace not merge", max_items=4096)
    ] = ()
    tunnel: Annotated[TunnelSettings | None, doc("tunnel TCP through CONNECT/POST proxy")] = None
    proxy_protocol: Annotated[ProxyProtocol | None, doc("PROXY protocol to upstream")] = None
    retry_budget: Annotated[RetryBudget | None, doc("limit concurrent retries by percent")] = None


class Subset(Message, frozen=True):
    """networking.v1alpha3.Subset."""

    name: Annotated[str, doc("subset name", required=True)] = ""
    labels: Annotated[dict[str, str], doc("endpoint label filter")] = field(default_factory=dict)
    traffic_policy: Annotated[TrafficPolicy | None, doc("overrides rule policy")] = None


class DestinationRule(Message, frozen=True):
    """networking.v1alpha3.DestinationRule."""

    host: Annotated[str, doc("service the policy applies to (short, FQDN, wildcard)", required=True)] = ""
    traffic_policy: Annotated[TrafficPolicy | None, doc("policy for all subsets and ports")] = None
    subsets: Annotated[tuple[Subset, ...], doc("named label subsets with own policy")] = ()
    export_to: Annotated[tuple[str, ...], doc("namespaces that may use the rule")] = ()
    workload_selector: Annotated[
        MatchLabelsSelector | None, doc("client workloads the rule applies to (namespace local)")
    ] = None
