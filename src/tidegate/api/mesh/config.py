"""MeshConfig."""

import enum
from typing import Annotated

from msgspec import field

from tidegate.api.fields import Duration, Int32, Message, doc
from tidegate.api.mesh.providers import ExtensionProvider
from tidegate.api.mesh.proxy import ProxyConfig
from tidegate.api.networking import (
    ClientTLSSettings,
    ConnectionPoolSettings,
    HTTPRetry,
    LocalityLoadBalancerSetting,
    OutlierDetection,
    TcpKeepalive,
    ZoneAwareLoadBalancerSetting,
)


class MeshConfigOutboundTrafficPolicyMode(enum.StrEnum):
    REGISTRY_ONLY = "REGISTRY_ONLY"
    ALLOW_ANY = "ALLOW_ANY"
    ALLOW_ANY_DYNAMIC_DNS = "ALLOW_ANY_DYNAMIC_DNS"

    __numbers__ = (0, 1, 3)


class InboundTrafficPolicyMode(enum.StrEnum):
    PASSTHROUGH = "PASSTHROUGH"
    LOCALHOST = "LOCALHOST"


class SubscribedResources(enum.StrEnum):
    SERVICE_REGISTRY = "SERVICE_REGISTRY"


class Scope(enum.StrEnum):
    LOCAL = "LOCAL"
    GLOBAL = "GLOBAL"


class Normalization(enum.StrEnum):
    DEFAULT = "DEFAULT"
    NONE = "NONE"
    BASE = "BASE"
    MERGE_SLASHES = "MERGE_SLASHES"
    DECODE_AND_MERGE_SLASHES = "DECODE_AND_MERGE_SLASHES"


class TLSConfigMinProtocolVersion(enum.StrEnum):
    TLS_AUTO = "TLS_AUTO"
    TLSV1_2 = "TLSV1_2"
    TLSV1_3 = "TLSV1_3"


class Visibility(enum.StrEnum):
    VISIBILITY_UNSPECIFIED = "VISIBILITY_UNSPECIFIED"
    NONE = "NONE"
    NAMESPACE = "NAMESPACE"
    PUBLIC = "PUBLIC"


class IngressControllerMode(enum.StrEnum):
    UNSPECIFIED = "UNSPECIFIED"
    OFF = "OFF"
    DEFAULT = "DEFAULT"
    STRICT = "STRICT"


class AccessLogEncoding(enum.StrEnum):
    TEXT = "TEXT"
    JSON = "JSON"


class MeshConfigH2UpgradePolicy(enum.StrEnum):
    DO_NOT_UPGRADE = "DO_NOT_UPGRADE"
    UPGRADE = "UPGRADE"


class MeshConfigOutboundTrafficPolicy(Message, frozen=True):
    """mesh.v1alpha1.MeshConfig.OutboundTrafficPolicy."""

    mode: Annotated[MeshConfigOutboundTrafficPolicyMode, doc("policy")] = (
        MeshConfigOutboundTrafficPolicyMode.REGISTRY_ONLY
    )
    tls: Annotated[ClientTLSSettings | None, doc("TLS origination for dynamic DNS mode")] = None


class InboundTrafficPolicy(Message, frozen=True):
    """mesh.v1alpha1.MeshConfig.InboundTrafficPolicy."""

    mode: Annotated[InboundTrafficPolicyMode, doc("target of inbound clusters")] = InboundTrafficPolicyMode.PASSTHROUGH


class ConfigSource(Message, frozen=True):
    """mesh.v1alpha1.ConfigSource."""

    address: Annotated[str, doc("xds://, fs:// or k8s://")] = ""
    tls_settings: Annotated[ClientTLSSettings | None, doc("TLS")] = None
    subscribed_resources: Annotated[tuple[SubscribedResources, ...], doc("resources")] = ()


class CertificateData(Message, frozen=True):
    """mesh.v1alpha1.MeshConfig.CertificateData."""

    pem: Annotated[str | None, doc("PEM", oneof="certificate_data")] = None
    spiffe_bundle_url: Annotated[str | None, doc("bundle URL", oneof="certificate_data")] = None
    cert_signers: Annotated[tuple[str, ...], doc("signers")] = ()
    trust_domains: Annotated[tuple[str, ...], doc("domains")] = ()


class Certificate(Message, frozen=True):
    """mesh.v1alpha1.Certificate."""

    secret_name: Annotated[str, doc("secret")] = ""
    dns_names: Annotated[tuple[str, ...], doc("names")] = ()


class ServiceSettingsSettings(Message, frozen=True):
    """mesh.v1alpha1.MeshConfig.ServiceSettings.Settings."""

    cluster_local: Annotated[bool, doc("keep endpoints in cluster")] = False


class ServiceSettings(Message, frozen=True):
    """mesh.v1alpha1.MeshConfig.ServiceSettings."""

    settings: Annotated[ServiceSettingsSettings | None, doc("settings")] = None
    hosts: Annotated[tuple[str, ...], doc("host patterns")] = ()


class LabelSelectorRequirement(Message, frozen=True):
    """mesh.v1alpha1.LabelSelectorRequirement."""

    key: Annotated[str, doc("label key")] = ""
    operator: Annotated[str, doc("In NotIn Exists DoesNotExist")] = ""
    values: Annotated[tuple[str, ...], doc("values")] = ()


class LabelSelector(Message, frozen=True):
    """mesh.v1alpha1.LabelSelector."""

    match_labels: Annotated[dict[str, str], doc("equality")] = field(default_factory=dict)
    match_expressions: Annotated[tuple[LabelSelectorRequirement, ...], doc("set rules")] = ()


class ServiceScopeConfigs(Message, frozen=True):
    """mesh.v1alpha1.MeshConfig.ServiceScopeConfigs."""

    namespace_selector: Annotated[LabelSelector | None, doc("namespaces")] = None
    services_selector: Annotated[LabelSelector | None, doc("services")] = None
    scope: Annotated[Scope, doc("LOCAL or GLOBAL")] = Scope.LOCAL


class MeshConfigCA(Message, frozen=True):
    """mesh.v1alpha1.MeshConfig.CA."""

    address: Annotated[str, doc("CA endpoint")] = ""
    tls_settings: Annotated[ClientTLSSettings | None, doc("TLS to CA")] = None
    request_timeout: Annotated[Duration | None, doc("limit")] = None
    istiod_side: Annotated[bool, doc("istiod signs through it")] = False


class DefaultProviders(Message, frozen=True):
    """mesh.v1alpha1.MeshConfig.DefaultProviders."""

    tracing: Annotated[tuple[str, ...], doc("provider list")] = ()
    metrics: Annotated[tuple[str, ...], doc("provider list")] = ()
    access_logging: Annotated[tuple[str, ...], doc("provider list")] = ()


class ProxyPathNormalization(Message, frozen=True):
    """mesh.v1alpha1.MeshConfig.ProxyPathNormalization."""

    normalization: Annotated[Normalization, doc("level")] = Normalization.DEFAULT


class TLSConfig(Message, frozen=True):
    """mesh.v1alpha1.MeshConfig.TLSConfig."""

    min_protocol_version: Annotated[TLSConfigMinProtocolVersion, doc("lowest TLS")] = (
        TLSConfigMinProtocolVersion.TLS_AUTO
    )
    ecdh_curves: Annotated[tuple[str, ...], doc("curves")] = ()
    cipher_suites: Annotated[tuple[str, ...], doc("ciphers")] = ()


class DefaultTrafficPolicy(Message, frozen=True):
    """mesh.v1alpha1.MeshConfig.DefaultTrafficPolicy."""

    connection_pool: Annotated[ConnectionPoolSettings | None, doc("baseline pool")] = None
    outlier_detection: Annotated[OutlierDetection | None, doc("baseline detection")] = None


class MatchRule(Message, frozen=True):
    """mesh.v1alpha1.ServiceEntryVisibility.MatchRule."""

    namespace_selector: Annotated[LabelSelector | None, doc("namespace labels", oneof="matcher")] = None


class ServiceEntryVisibilityPolicy(Message, frozen=True):
    """mesh.v1alpha1.ServiceEntryVisibility.Policy."""

    visibility: Annotated[Visibility, doc("result")] = Visibility.VISIBILITY_UNSPECIFIED
    matching_rules: Annotated[tuple[MatchRule, ...], doc("all must match")] = ()


class ServiceEntryVisibility(Message, frozen=True):
    """mesh.v1alpha1.ServiceEntryVisibility."""

    default_visibility: Annotated[Visibility, doc("when no policy matches")] = Visibility.VISIBILITY_UNSPECIFIED
    apply_to_sidecars: Annotated[bool, doc("also cap sidecars")] = False
    policies: Annotated[tuple[ServiceEntryVisibilityPolicy, ...], doc("ordered, first match")] = ()


class MeshConfig(Message, frozen=True):
    """mesh.v1alpha1.MeshConfig."""

    proxy_listen_port: Annotated[Int32, doc("outbound capture port")] = 0
    proxy_inbound_listen_port: Annotated[Int32, doc("inbound capture port")] = 0
    proxy_http_port: Annotated[Int32, doc("local HTTP proxy listener; 0 off")] = 0
    connect_timeout: Annotated[Duration | None, doc("upstream connect limit")] = None
    hbone_idle_timeout: Annotated[Duration | None, doc("HBONE idle")] = None
    protocol_detection_timeout: Annotated[Duration | None, doc("sniffing wait; 0 forever")] = None
    tcp_keepalive: Annotated[TcpKeepalive | None, doc("upstream keepalive")] = None
    ingress_class: Annotated[str, doc("ingress class")] = ""
    ingress_service: Annotated[str, doc("ingress service")] = ""
    ingress_controller_mode: Annotated[IngressControllerMode, doc("ingress handling")] = (
        IngressControllerMode.UNSPECIFIED
    )
    ingress_selector: Annotated[str, doc("ingress pods")] = ""
    enable_tracing: Annotated[bool, doc("span generation switch")] = False
    access_log_file: Annotated[str, doc("access log path; empty off")] = ""
    access_log_format: Annotated[str, doc("custom format")] = ""
    access_log_encoding: Annotated[AccessLogEncoding, doc("TEXT or JSON")] = AccessLogEncoding.TEXT
    enable_envoy_access_log_service: Annotated[bool, doc("ALS switch")] = False
    disable_envoy_listener_log: Annotated[bool, doc("no listener log")] = False
    default_config: Annotated[ProxyConfig | None, doc("default ProxyConfig")] = None
    outbound_traffic_policy: Annotated[MeshConfigOutboundTrafficPolicy | None, doc("unknown egress")] = None
    inbound_traffic_policy: Annotated[InboundTrafficPolicy | None, doc("unknown inbound")] = None
    config_sources: Annotated[tuple[ConfigSource, ...], doc("extra config origins")] = ()
    enable_auto_mtls: Annotated[bool | None, doc("infer client TLS")] = None
    trust_domain: Annotated[str, doc("SPIFFE domain")] = ""
    trust_domain_aliases: Annotated[tuple[str, ...], doc("accepted domains")] = ()
    ca_certificates: Annotated[tuple[CertificateData, ...], doc("extra roots")] = ()
    default_service_export_to: Annotated[tuple[str, ...], doc("default visibility")] = ()
    default_virtual_service_export_to: Annotated[tuple[str, ...], doc("default visibility")] = ()
    default_destination_rule_export_to: Annotated[tuple[str, ...], doc("default visibility")] = ()
    root_namespace: Annotated[str, doc("mesh-wide config namespace")] = ""
    locality_lb_setting: Annotated[LocalityLoadBalancerSetting | None, doc("locality LB")] = None
    zone_aware_lb_setting: Annotated[ZoneAwareLoadBalancerSetting | None, doc("zone aware LB")] = None
    dns_refresh_rate: Annotated[Duration | None, doc("DNS retry interval for failures")] = None
    h2_upgrade_policy: Annotated[MeshConfigH2UpgradePolicy, doc("default h2 upgrade")] = (
        MeshConfigH2UpgradePolicy.DO_NOT_UPGRADE
    )
    inbound_cluster_stat_name: Annotated[str, doc("stat pattern")] = ""
    outbound_cluster_stat_name: Annotated[str, doc("stat pattern")] = ""
    certificates: Annotated[tuple[Certificate, ...], doc("unused", deprecated=True)] = ()
    service_settings: Annotated[tuple[ServiceSettings, ...], doc("per-host settings")] = ()
    service_scope_configs: Annotated[tuple[ServiceScopeConfigs, ...], doc("multicluster scope")] = ()
    enable_prometheus_merge: Annotated[bool | None, doc("merge app metrics")] = None
    verify_certificate_at_client: Annotated[bool | None, doc("unused", deprecated=True)] = None
    ca: Annotated[MeshConfigCA | None, doc("external CA")] = None
    extension_providers: Annotated[tuple[ExtensionProvider, ...], doc("named telemetry/authz providers")] = ()
    default_providers: Annotated[DefaultProviders | None, doc("providers used by default")] = None
    discovery_selectors: Annotated[tuple[LabelSelector, ...], doc("namespaces watched")] = ()
    path_normalization: Annotated[ProxyPathNormalization | None, doc("path handling")] = None
    default_http_retry_policy: Annotated[HTTPRetry | None, doc("outbound default")] = None
    default_inbound_http_retry_policy: Annotated[HTTPRetry | None, doc("inbound default")] = None
    mesh_mtls: Annotated[TLSConfig | None, doc("mTLS TLS parameters")] = field(default=None, name="meshMTLS")
    tls_defaults: Annotated[TLSConfig | None, doc("other TLS parameters")] = None
    default_traffic_policy: Annotated[DefaultTrafficPolicy | None, doc("seed DR blocks")] = None
    service_entry_visibility: Annotated[ServiceEntryVisibility | None, doc("namespace policies for SEs")] = None
