"""networking.istio.io: traffic objects.

Field meanings, limits and oneof groups stand in the ``doc(...)`` of each field and are the one source
that decoding, validation, the CRD schemas and ``kubectl explain`` read. Names and shapes are those of
the Istio API; JSON follows the protobuf JSON mapping (see :mod:`tidegate.api.decode`).
"""

import enum
from typing import Annotated

from msgspec import field

from tidegate.api.fields import Duration, Int32, Message, UInt32, UInt64, doc


class ServiceEntryLocation(enum.StrEnum):
    MESH_EXTERNAL = "MESH_EXTERNAL"
    MESH_INTERNAL = "MESH_INTERNAL"


class ServiceEntryResolution(enum.StrEnum):
    NONE = "NONE"
    STATIC = "STATIC"
    DNS = "DNS"
    DNS_ROUND_ROBIN = "DNS_ROUND_ROBIN"
    DYNAMIC_DNS = "DYNAMIC_DNS"


class ServerTLSSettingsMode(enum.StrEnum):
    PASSTHROUGH = "PASSTHROUGH"
    SIMPLE = "SIMPLE"
    MUTUAL = "MUTUAL"
    AUTO_PASSTHROUGH = "AUTO_PASSTHROUGH"
    ISTIO_MUTUAL = "ISTIO_MUTUAL"
    OPTIONAL_MUTUAL = "OPTIONAL_MUTUAL"


class MinProtocolVersion(enum.StrEnum):
    TLS_AUTO = "TLS_AUTO"
    TLSV1_0 = "TLSV1_0"
    TLSV1_1 = "TLSV1_1"
    TLSV1_2 = "TLSV1_2"
    TLSV1_3 = "TLSV1_3"


class H2UpgradePolicy(enum.StrEnum):
    DEFAULT = "DEFAULT"
    DO_NOT_UPGRADE = "DO_NOT_UPGRADE"
    UPGRADE = "UPGRADE"


class CaptureMode(enum.StrEnum):
    DEFAULT = "DEFAULT"
    IPTABLES = "IPTABLES"
    NONE = "NONE"


class OutboundTrafficPolicyMode(enum.StrEnum):
    REGISTRY_ONLY = "REGISTRY_ONLY"
    ALLOW_ANY = "ALLOW_ANY"


class DerivePort(enum.StrEnum):
    FROM_PROTOCOL_DEFAULT = "FROM_PROTOCOL_DEFAULT"
    FROM_REQUEST_PORT = "FROM_REQUEST_PORT"


class UnmatchedPreflights(enum.StrEnum):
    UNSPECIFIED = "UNSPECIFIED"
    FORWARD = "FORWARD"
    IGNORE = "IGNORE"


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


class ServicePort(Message, frozen=True):
    """networking.v1alpha3.ServicePort."""

    number: Annotated[UInt32, doc("port number 1-65535", required=True)] = 0
    protocol: Annotated[
        str,
        doc("HTTP HTTPS GRPC GRPC-WEB HTTP2 MONGO REDIS MYSQL TCP TLS UDP...; unset means sniffing", max_length=256),
    ] = ""
    name: Annotated[str, doc("port label; key into workload entry ports map", required=True, max_length=256)] = ""
    target_port: Annotated[UInt32, doc("endpoint port to forward to")] = 0


class WorkloadEntry(Message, frozen=True):
    """networking.v1alpha3.WorkloadEntry."""

    address: Annotated[str, doc("IP, DNS name or unix:// path of the workload", max_length=256)] = ""
    ports: Annotated[dict[str, UInt32], doc("map port name to endpoint port", max_properties=128)] = field(
        default_factory=dict
    )
    labels: Annotated[dict[str, str], doc("labels used for selection, subsets, locality", max_properties=256)] = field(
        default_factory=dict
    )
    network: Annotated[str, doc("network id of the endpoint for multi-network routing", max_length=2048)] = ""
    locality: Annotated[str, doc("region/zone/subzone string", max_length=2048)] = ""
    weight: Annotated[UInt32, doc("load balancing weight")] = 0
    service_account: Annotated[str, doc("account for SPIFFE identity; implies mTLS endpoint", max_length=253)] = ""


class WorkloadSelector(Message, frozen=True):
    """networking.v1alpha3.WorkloadSelector."""

    labels: Annotated[dict[str, str], doc("label equality set, all must match", max_properties=256)] = field(
        default_factory=dict
    )


class ServiceEntry(Message, frozen=True):
    """networking.v1alpha3.ServiceEntry."""

    hosts: Annotated[
        tuple[str, ...],
        doc(
            "DNS names (wildcard prefix allowed) the entry covers; matched against Host/SNI/registry",
            required=True,
            max_items=256,
            min_items=1,
        ),
    ] = ()
    addresses: Annotated[
        tuple[str, ...],
        doc(
            "virtual IPs or CIDRs of the hosts; used for TCP matching and listener binds",
            max_items=256,
            item_max_length=64,
        ),
    ] = ()
    ports: Annotated[tuple[ServicePort, ...], doc("service ports exposed", max_items=256)] = ()
    location: Annotated[ServiceEntryLocation, doc("inside or outside the mesh; external disables auto mTLS")] = (
        ServiceEntryLocation.MESH_EXTERNAL
    )
    resolution: Annotated[ServiceEntryResolution, doc("how endpoint addresses are found")] = ServiceEntryResolution.NONE
    endpoints: Annotated[
        tuple[WorkloadEntry, ...],
        doc("inline endpoints of the hosts (exclusive with workloadSelector)", max_items=4096),
    ] = ()
    workload_selector: Annotated[
        WorkloadSelector | None,
        doc("label selector picking WorkloadEntries and pods in same namespace (MESH_INTERNAL use)"),
    ] = None
    export_to: Annotated[tuple[str, ...], doc("namespaces that may see the entry: . * ~ or names")] = ()
    subject_alt_names: Annotated[
        tuple[str, ...], doc("SANs accepted from servers when TLS originates or mTLS is used")
    ] = ()


class WorkloadGroupObjectMeta(Message, frozen=True):
    """networking.v1alpha3.WorkloadGroup.ObjectMeta."""

    labels: Annotated[dict[str, str], doc("labels to apply", max_properties=256)] = field(default_factory=dict)
    annotations: Annotated[dict[str, str], doc("annotations to apply", max_properties=256)] = field(
        default_factory=dict
    )


class HTTPHeader(Message, frozen=True):
    """networking.v1alpha3.HTTPHeader."""

    name: Annotated[str, doc("header name", pattern=r"^[-_A-Za-z0-9]+$")] = ""
    value: Annotated[str, doc("header value")] = ""


class HTTPHealthCheckConfig(Message, frozen=True):
    """networking.v1alpha3.HTTPHealthCheckConfig."""

    path: Annotated[str, doc("request path")] = ""
    port: Annotated[UInt32, doc("probe port", required=True)] = 0
    host: Annotated[str, doc("host to connect")] = ""
    scheme: Annotated[str, doc("HTTP or HTTPS")] = ""
    http_headers: Annotated[tuple[HTTPHeader, ...], doc("extra request headers")] = ()


class TCPHealthCheckConfig(Message, frozen=True):
    """networking.v1alpha3.TCPHealthCheckConfig."""

    host: Annotated[str, doc("host to connect")] = ""
    port: Annotated[UInt32, doc("port to connect", required=True)] = 0


class ExecHealthCheckConfig(Message, frozen=True):
    """networking.v1alpha3.ExecHealthCheckConfig."""

    command: Annotated[tuple[str, ...], doc("argv; exit 0 is healthy", required=True, item_min_length=1)] = ()


class GrpcHealthCheckConfig(Message, frozen=True):
    """networking.v1alpha3.GrpcHealthCheckConfig."""

    port: Annotated[UInt32, doc("gRPC port")] = 0
    service: Annotated[str, doc("health service name")] = ""


class ReadinessProbe(Message, frozen=True):
    """networking.v1alpha3.ReadinessProbe."""

    initial_delay_seconds: Annotated[Int32, doc("wait before first probe")] = 0
    timeout_seconds: Annotated[Int32, doc("single probe limit")] = 0
    period_seconds: Annotated[Int32, doc("probe interval")] = 0
    success_threshold: Annotated[Int32, doc("successes to become ready")] = 0
    failure_threshold: Annotated[Int32, doc("failures to become unready")] = 0
    http_get: Annotated[HTTPHealthCheckConfig | None, doc("HTTP probe", oneof="health_check_method")] = None
    tcp_socket: Annotated[TCPHealthCheckConfig | None, doc("TCP connect probe", oneof="health_check_method")] = None
    exec: Annotated[ExecHealthCheckConfig | None, doc("command probe", oneof="health_check_method")] = None
    grpc: Annotated[GrpcHealthCheckConfig | None, doc("gRPC health probe", oneof="health_check_method")] = None


class WorkloadGroup(Message, frozen=True):
    """networking.v1alpha3.WorkloadGroup."""

    metadata: Annotated[
        WorkloadGroupObjectMeta | None, doc("labels/annotations copied to generated WorkloadEntries")
    ] = None
    template: Annotated[
        WorkloadEntry | None, doc("WorkloadEntry template used at auto-registration", required=True)
    ] = None
    probe: Annotated[ReadinessProbe | None, doc("readiness probe run by the agent to set Healthy condition")] = None


class SidecarPort(Message, frozen=True):
    """networking.v1alpha3.SidecarPort."""

    number: Annotated[UInt32, doc("port number")] = 0
    protocol: Annotated[str, doc("protocol as ServicePort plus HTTP_PROXY")] = ""
    name: Annotated[str, doc("port name")] = ""
    target_port: Annotated[UInt32, doc("unused", deprecated=True)] = 0


class TLSCertificate(Message, frozen=True):
    """networking.v1alpha3.ServerTLSSettings.TLSCertificate."""

    server_certificate: Annotated[str, doc("cert path")] = ""
    private_key: Annotated[str, doc("key path")] = ""
    ca_certificates: Annotated[str, doc("unused")] = ""


class ServerTLSSettings(Message, frozen=True):
    """networking.v1alpha3.ServerTLSSettings."""

    https_redirect: Annotated[bool, doc("301 to https")] = False
    mode: Annotated[ServerTLSSettingsMode, doc("TLS mode")] = ServerTLSSettingsMode.PASSTHROUGH
    server_certificate: Annotated[str, doc("cert path")] = ""
    private_key: Annotated[str, doc("key path")] = ""
    ca_certificates: Annotated[str, doc("client CA path")] = ""
    ca_crl: Annotated[str, doc("CRL path")] = ""
    credential_name: Annotated[str, doc("secret name; CA under <name>-cacert")] = ""
    credential_names: Annotated[tuple[str, ...], doc("secrets for RSA and ECDSA", max_items=2, min_items=1)] = ()
    ca_cert_credential_name: Annotated[str, doc("CA secret/configmap")] = ""
    tls_certificates: Annotated[
        tuple[TLSCertificate, ...], doc("several file cert pairs", max_items=2, min_items=1)
    ] = ()
    subject_alt_names: Annotated[tuple[str, ...], doc("accepted client SANs")] = ()
    verify_certificate_spki: Annotated[tuple[str, ...], doc("accepted SPKI hashes")] = ()
    verify_certificate_hash: Annotated[tuple[str, ...], doc("accepted cert hashes")] = ()
    min_protocol_version: Annotated[MinProtocolVersion, doc("lowest TLS")] = MinProtocolVersion.TLS_AUTO
    max_protocol_version: Annotated[MinProtocolVersion, doc("highest TLS")] = MinProtocolVersion.TLS_AUTO
    cipher_suites: Annotated[tuple[str, ...], doc("allowed ciphers")] = ()
    insecure_skip_verify: Annotated[bool | None, doc("skip client verification")] = None
    ecdh_curves: Annotated[tuple[str, ...], doc("curves")] = ()


class TcpKeepalive(Message, frozen=True):
    """networking.v1alpha3.ConnectionPoolSettings.TCPSettings.TcpKeepalive."""

    probes: Annotated[UInt32, doc("unanswered probes")] = 0
    time: Annotated[Duration | None, doc("idle before probes")] = None
    interval: Annotated[Duration | None, doc("time between probes")] = None


class TCPSettings(Message, frozen=True):
    """networking.v1alpha3.ConnectionPoolSettings.TCPSettings."""

    max_connections: Annotated[Int32, doc("connections per destination")] = 0
    connect_timeout: Annotated[Duration | None, doc("connect limit")] = None
    tcp_keepalive: Annotated[TcpKeepalive | None, doc("SO_KEEPALIVE settings")] = None
    max_connection_duration: Annotated[Duration | None, doc("connection age limit")] = None
    idle_timeout: Annotated[Duration | None, doc("idle limit")] = None


class ConnectionKeepalive(Message, frozen=True):
    """networking.v1alpha3.ConnectionPoolSettings.HTTPSettings.ConnectionKeepalive."""

    interval: Annotated[Duration | None, doc("PING interval")] = None
    timeout: Annotated[Duration | None, doc("PING timeout")] = None


class HTTPSettings(Message, frozen=True):
    """networking.v1alpha3.ConnectionPoolSettings.HTTPSettings."""

    http1_max_pending_requests: Annotated[Int32, doc("queued requests")] = 0
    http2_max_requests: Annotated[Int32, doc("active requests")] = 0
    max_requests_per_connection: Annotated[Int32, doc("0 unlimited, 1 disables keep alive")] = 0
    max_retries: Annotated[Int32, doc("concurrent retries")] = 0
    idle_timeout: Annotated[Duration | None, doc("upstream connection idle limit")] = None
    h2_upgrade_policy: Annotated[H2UpgradePolicy, doc("upgrade HTTP/1.1 to h2")] = H2UpgradePolicy.DEFAULT
    use_client_protocol: Annotated[bool, doc("keep client's protocol")] = False
    max_concurrent_streams: Annotated[Int32, doc("h2 streams per connection")] = 0
    http2_keep_alive: Annotated[ConnectionKeepalive | None, doc("h2 PING keepalive")] = None


class ConnectionPoolSettings(Message, frozen=True):
    """networking.v1alpha3.ConnectionPoolSettings."""

    tcp: Annotated[TCPSettings | None, doc("L4 settings")] = None
    http: Annotated[HTTPSettings | None, doc("L7 settings")] = None


class IstioIngressListener(Message, frozen=True):
    """networking.v1alpha3.IstioIngressListener."""

    port: Annotated[SidecarPort | None, doc("listening port", required=True)] = None
    bind: Annotated[str, doc("IP to bind (or unix path)")] = ""
    capture_mode: Annotated[CaptureMode, doc("iptables capture or direct bind")] = CaptureMode.DEFAULT
    default_endpoint: Annotated[str, doc("127.0.0.1:p, 0.0.0.0:p, [::1]:p, [::]:p or unix:// target")] = ""
    tls: Annotated[ServerTLSSettings | None, doc("TLS termination on this port (needs mTLS disabled)")] = None
    connection_pool: Annotated[ConnectionPoolSettings | None, doc("connection pool for this inbound port")] = None


class IstioEgressListener(Message, frozen=True):
    """networking.v1alpha3.IstioEgressListener."""

    port: Annotated[SidecarPort | None, doc("listener port; unset = catch-all for every service port")] = None
    bind: Annotated[str, doc("IP or unix path to bind")] = ""
    capture_mode: Annotated[CaptureMode, doc("iptables capture or direct bind")] = CaptureMode.DEFAULT
    hosts: Annotated[tuple[str, ...], doc("namespace/dnsName list imported (. * ~ exclusion)", required=True)] = ()


class PortSelector(Message, frozen=True):
    """networking.v1alpha3.PortSelector."""

    number: Annotated[UInt32, doc("port number")] = 0


class Destination(Message, frozen=True):
    """networking.v1alpha3.Destination."""

    host: Annotated[str, doc("service name (short resolves in rule's namespace)", required=True)] = ""
    subset: Annotated[str, doc("DestinationRule subset name")] = ""
    port: Annotated[PortSelector | None, doc("port selector; needed when service has several")] = None


class OutboundTrafficPolicy(Message, frozen=True):
    """networking.v1alpha3.OutboundTrafficPolicy."""

    mode: Annotated[OutboundTrafficPolicyMode, doc("forward, block or DNS-resolve unknown traffic")] = (
        OutboundTrafficPolicyMode.REGISTRY_ONLY
    )
    egress_proxy: Annotated[
        Destination | None, doc("destination to receive all unknown traffic instead of passthrough")
    ] = None


class Sidecar(Message, frozen=True):
    """networking.v1alpha3.Sidecar."""

    workload_selector: Annotated[
        WorkloadSelector | None, doc("labels of workloads configured; none = whole namespace")
    ] = None
    ingress: Annotated[tuple[IstioIngressListener, ...], doc("inbound listeners replacing automatic ones")] = ()
    egress: Annotated[tuple[IstioEgressListener, ...], doc("outbound listeners and imported hosts; none = */*")] = ()
    inbound_connection_pool: Annotated[
        ConnectionPoolSettings | None, doc("connection pool for all inbound clusters, overrides DestinationRule")
    ] = None
    outbound_traffic_policy: Annotated[OutboundTrafficPolicy | None, doc("handling of unknown destinations")] = None


class StringMatch(Message, frozen=True):
    """networking.v1alpha3.StringMatch."""

    exact: Annotated[str | None, doc("equal", oneof="match_type")] = None
    prefix: Annotated[str | None, doc("starts with", oneof="match_type")] = None
    regex: Annotated[str | None, doc("RE2 full match", oneof="match_type")] = None


class HTTPMatchRequest(Message, frozen=True):
    """networking.v1alpha3.HTTPMatchRequest."""

    name: Annotated[str, doc("match name appended to route name")] = ""
    uri: Annotated[StringMatch | None, doc("path match")] = None
    scheme: Annotated[StringMatch | None, doc("scheme match")] = None
    method: Annotated[StringMatch | None, doc("method match")] = None
    authority: Annotated[StringMatch | None, doc("Host/authority match")] = None
    headers: Annotated[
        dict[str, StringMatch], doc("header name to match; empty object = present; @request.auth.claims.x for JWT")
    ] = field(default_factory=dict)
    port: Annotated[UInt32, doc("listener port")] = 0
    source_labels: Annotated[dict[str, str], doc("client workload labels")] = field(default_factory=dict)
    gateways: Annotated[tuple[str, ...], doc("restrict to these gateways")] = ()
    query_params: Annotated[dict[str, StringMatch], doc("query parameter matches")] = field(default_factory=dict)
    ignore_uri_case: Annotated[bool, doc("case-insensitive path")] = False
    without_headers: Annotated[dict[str, StringMatch], doc("negated header matches")] = field(default_factory=dict)
    source_namespace: Annotated[str, doc("client namespace")] = ""
    stat_prefix: Annotated[str, doc("per-route stats prefix")] = ""


class HeaderOperations(Message, frozen=True):
    """networking.v1alpha3.Headers.HeaderOperations."""

    set: Annotated[dict[str, str], doc("overwrite values")] = field(default_factory=dict)
    add: Annotated[dict[str, str], doc("append values")] = field(default_factory=dict)
    remove: Annotated[tuple[str, ...], doc("delete headers")] = ()


class Headers(Message, frozen=True):
    """networking.v1alpha3.Headers."""

    request: Annotated[HeaderOperations | None, doc("request header operations")] = None
    response: Annotated[HeaderOperations | None, doc("response header operations")] = None


class HTTPRouteDestination(Message, frozen=True):
    """networking.v1alpha3.HTTPRouteDestination."""

    destination: Annotated[Destination | None, doc("target service", required=True)] = None
    weight: Annotated[Int32, doc("relative share")] = 0
    headers: Annotated[Headers | None, doc("header changes for this destination")] = None


class HTTPRedirect(Message, frozen=True):
    """networking.v1alpha3.HTTPRedirect."""

    uri: Annotated[str, doc("replacement path")] = ""
    authority: Annotated[str, doc("replacement host")] = ""
    port: Annotated[UInt32 | None, doc("replacement port", oneof="redirect_port")] = None
    derive_port: Annotated[DerivePort | None, doc("use default or request port", oneof="redirect_port")] = None
    scheme: Annotated[str, doc("replacement scheme")] = ""
    redirect_code: Annotated[UInt32, doc("status code")] = 0
    prefix_rewrite: Annotated[str, doc("replace matched prefix")] = ""


class HTTPBody(Message, frozen=True):
    """networking.v1alpha3.HTTPBody."""

    string: Annotated[str | None, doc("text body", oneof="specifier")] = None
    bytes_: Annotated[str | None, doc("base64 body", oneof="specifier", base64=True)] = field(
        default=None, name="bytes"
    )


class HTTPDirectResponse(Message, frozen=True):
    """networking.v1alpha3.HTTPDirectResponse."""

    status: Annotated[UInt32, doc("status code", required=True)] = 0
    body: Annotated[HTTPBody | None, doc("response body")] = None


class Delegate(Message, frozen=True):
    """networking.v1alpha3.Delegate."""

    name: Annotated[str, doc("delegate VirtualService name")] = ""
    namespace: Annotated[str, doc("its namespace")] = ""


class RegexRewrite(Message, frozen=True):
    """networking.v1alpha3.RegexRewrite."""

    match: Annotated[str, doc("RE2 pattern")] = ""
    rewrite: Annotated[str, doc("substitution")] = ""


class HTTPRewrite(Message, frozen=True):
    """networking.v1alpha3.HTTPRewrite."""

    uri: Annotated[str, doc("new path or prefix")] = ""
    authority: Annotated[str, doc("new host")] = ""
    uri_regex_rewrite: Annotated[RegexRewrite | None, doc("regex replacement")] = None


class HTTPRetry(Message, frozen=True):
    """networking.v1alpha3.HTTPRetry."""

    attempts: Annotated[Int32, doc("retries allowed; 0 disables")] = 0
    per_try_timeout: Annotated[Duration | None, doc("limit per attempt")] = None
    retry_on: Annotated[str, doc("comma list of conditions and status codes")] = ""
    retry_remote_localities: Annotated[bool | None, doc("may retry in other localities")] = None
    retry_ignore_previous_hosts: Annotated[bool | None, doc("skip already tried hosts")] = None
    backoff: Annotated[Duration | None, doc("base interval")] = None


class Percent(Message, frozen=True):
    """networking.v1alpha3.Percent."""

    value: Annotated[float, doc("0.0-100.0")] = 0.0


class HTTPFaultInjectionDelay(Message, frozen=True):
    """networking.v1alpha3.HTTPFaultInjection.Delay."""

    percent: Annotated[Int32, doc("old integer percent", deprecated=True)] = 0
    fixed_delay: Annotated[Duration | None, doc("delay to add", oneof="http_delay_type")] = None
    exponential_delay: Annotated[Duration | None, doc("unsupported", oneof="http_delay_type")] = None
    percentage: Annotated[Percent | None, doc("share of requests")] = None


class HTTPFaultInjectionAbort(Message, frozen=True):
    """networking.v1alpha3.HTTPFaultInjection.Abort."""

    http_status: Annotated[Int32 | None, doc("status code to return", oneof="error_type")] = None
    grpc_status: Annotated[str | None, doc("gRPC status name", oneof="error_type")] = None
    http2_error: Annotated[str | None, doc("unsupported", oneof="error_type")] = None
    percentage: Annotated[Percent | None, doc("share of requests")] = None


class HTTPFaultInjection(Message, frozen=True):
    """networking.v1alpha3.HTTPFaultInjection."""

    delay: Annotated[HTTPFaultInjectionDelay | None, doc("latency fault")] = None
    abort: Annotated[HTTPFaultInjectionAbort | None, doc("error fault")] = None


class HTTPMirrorPolicy(Message, frozen=True):
    """networking.v1alpha3.HTTPMirrorPolicy."""

    destination: Annotated[Destination | None, doc("mirror target", required=True)] = None
    percentage: Annotated[Percent | None, doc("share of traffic")] = None


class CorsPolicy(Message, frozen=True):
    """networking.v1alpha3.CorsPolicy."""

    allow_origin: Annotated[tuple[str, ...], doc("exact origins", deprecated=True)] = ()
    allow_origins: Annotated[tuple[StringMatch, ...], doc("origin string matches")] = ()
    allow_methods: Annotated[tuple[str, ...], doc("allowed methods")] = ()
    allow_headers: Annotated[tuple[str, ...], doc("allowed request headers")] = ()
    expose_headers: Annotated[tuple[str, ...], doc("response headers exposed")] = ()
    max_age: Annotated[Duration | None, doc("preflight cache time")] = None
    allow_credentials: Annotated[bool | None, doc("send credentials header")] = None
    unmatched_preflights: Annotated[UnmatchedPreflights, doc("forward or drop preflights of unlisted origins")] = (
        UnmatchedPreflights.UNSPECIFIED
    )


class HTTPRoute(Message, frozen=True):
    """networking.v1alpha3.HTTPRoute."""

    name: Annotated[str, doc("route name for debugging and logs")] = ""
    match: Annotated[tuple[HTTPMatchRequest, ...], doc("alternatives (OR); empty matches all")] = ()
    route: Annotated[tuple[HTTPRouteDestination, ...], doc("weighted destinations")] = ()
    redirect: Annotated[HTTPRedirect | None, doc("reply with redirect instead of forwarding")] = None
    direct_response: Annotated[HTTPDirectResponse | None, doc("fixed response instead of forwarding")] = None
    delegate: Annotated[Delegate | None, doc("other VirtualService holding the rules")] = None
    rewrite: Annotated[HTTPRewrite | None, doc("path/authority rewrite before forwarding")] = None
    timeout: Annotated[Duration | None, doc("whole-request limit")] = None
    retries: Annotated[HTTPRetry | None, doc("retry policy")] = None
    fault: Annotated[HTTPFaultInjection | None, doc("delay/abort injection")] = None
    mirror: Annotated[Destination | None, doc("single mirror destination")] = None
    mirrors: Annotated[tuple[HTTPMirrorPolicy, ...], doc("several mirror destinations")] = ()
    mirror_percent: Annotated[UInt32 | None, doc("old integer percent to mirror", deprecated=True)] = None
    mirror_percentage: Annotated[Percent | None, doc("share of traffic to mirror")] = None
    cors_policy: Annotated[CorsPolicy | None, doc("CORS handling")] = None
    headers: Annotated[Headers | None, doc("header changes for all destinations")] = None


class TLSMatchAttributes(Message, frozen=True):
    """networking.v1alpha3.TLSMatchAttributes."""

    sni_hosts: Annotated[tuple[str, ...], doc("SNI names (wildcard allowed), subset of hosts", required=True)] = ()
    destination_subnets: Annotated[tuple[str, ...], doc("destination CIDRs")] = ()
    port: Annotated[UInt32, doc("listener port")] = 0
    source_labels: Annotated[dict[str, str], doc("client workload labels")] = field(default_factory=dict)
    gateways: Annotated[tuple[str, ...], doc("restrict to these gateways")] = ()
    source_namespace: Annotated[str, doc("client namespace")] = ""


class RouteDestination(Message, frozen=True):
    """networking.v1alpha3.RouteDestination."""

    destination: Annotated[Destination | None, doc("target service", required=True)] = None
    weight: Annotated[Int32, doc("relative share")] = 0


class TLSRoute(Message, frozen=True):
    """networking.v1alpha3.TLSRoute."""

    match: Annotated[tuple[TLSMatchAttributes, ...], doc("SNI alternatives", required=True)] = ()
    route: Annotated[tuple[RouteDestination, ...], doc("weighted destinations")] = ()


class L4MatchAttributes(Message, frozen=True):
    """networking.v1alpha3.L4MatchAttributes."""

    destination_subnets: Annotated[tuple[str, ...], doc("destination CIDRs")] = ()
    port: Annotated[UInt32, doc("listener port")] = 0
    source_subnet: Annotated[str, doc("client CIDR, not implemented")] = ""
    source_labels: Annotated[dict[str, str], doc("client workload labels")] = field(default_factory=dict)
    gateways: Annotated[tuple[str, ...], doc("restrict to these gateways")] = ()
    source_namespace: Annotated[str, doc("client namespace")] = ""


class TCPRoute(Message, frozen=True):
    """networking.v1alpha3.TCPRoute."""

    match: Annotated[tuple[L4MatchAttributes, ...], doc("alternatives")] = ()
    route: Annotated[tuple[RouteDestination, ...], doc("weighted destinations")] = ()


class VirtualService(Message, frozen=True):
    """networking.v1alpha3.VirtualService."""

    hosts: Annotated[
        tuple[str, ...], doc("destinations the rules apply to: short name, FQDN, wildcard, IP; empty = delegate")
    ] = ()
    gateways: Annotated[tuple[str, ...], doc("gateways (ns/name) or the word mesh")] = ()
    http: Annotated[tuple[HTTPRoute, ...], doc("ordered HTTP rules")] = ()
    tls: Annotated[tuple[TLSRoute, ...], doc("ordered SNI rules for TLS/HTTPS ports not terminated")] = ()
    tcp: Annotated[tuple[TCPRoute, ...], doc("ordered TCP rules")] = ()
    export_to: Annotated[tuple[str, ...], doc("namespaces that may see the rules")] = ()


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

    mode: Annotated[ClientTLSSettingsMode, doc("TLS mode", required=True)] = ClientTLSSettingsMode.DISABLE
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


class MatchLabelsSelector(Message, frozen=True):
    """type.v1beta1.WorkloadSelector."""

    match_labels: Annotated[dict[str, str], doc("labels all equal", max_properties=4096)] = field(default_factory=dict)


class DestinationRule(Message, frozen=True):
    """networking.v1alpha3.DestinationRule."""

    host: Annotated[str, doc("service the policy applies to (short, FQDN, wildcard)", required=True)] = ""
    traffic_policy: Annotated[TrafficPolicy | None, doc("policy for all subsets and ports")] = None
    subsets: Annotated[tuple[Subset, ...], doc("named label subsets with own policy")] = ()
    export_to: Annotated[tuple[str, ...], doc("namespaces that may use the rule")] = ()
    workload_selector: Annotated[
        MatchLabelsSelector | None, doc("client workloads the rule applies to (namespace local)")
    ] = None


class Port(Message, frozen=True):
    """networking.v1alpha3.Port."""

    number: Annotated[UInt32, doc("port number", required=True)] = 0
    protocol: Annotated[str, doc("server protocol: HTTP HTTPS GRPC GRPC-WEB HTTP2 MONGO TCP TLS", required=True)] = ""
    name: Annotated[str, doc("unique port name", required=True)] = ""
    target_port: Annotated[UInt32, doc("unused", deprecated=True)] = 0


class Server(Message, frozen=True):
    """networking.v1alpha3.Server."""

    port: Annotated[Port | None, doc("listen port", required=True)] = None
    bind: Annotated[str, doc("IP to bind")] = ""
    hosts: Annotated[tuple[str, ...], doc("[ns/]dnsName served; ns . * or name", required=True)] = ()
    tls: Annotated[ServerTLSSettings | None, doc("TLS settings")] = None
    default_endpoint: Annotated[str, doc("unused")] = ""
    name: Annotated[str, doc("server name, used in stat prefix")] = ""


class Gateway(Message, frozen=True):
    """networking.v1alpha3.Gateway."""

    servers: Annotated[tuple[Server, ...], doc("listening servers")] = ()
    selector: Annotated[dict[str, str], doc("labels of gateway pods")] = field(default_factory=dict)
