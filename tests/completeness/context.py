"""What a mutated field needs beside it to mean anything, and values of a field that its rules admit."""

import re
from typing import Any, NamedTuple

from tests.completeness.bases import KEYS
from tests.completeness.mutations import values
from tidegate.api.shapes import Shape


class Needed(NamedTuple):
    """Something put at a path first."""

    path: str
    """Groups of the matched pattern as \\1, \\2."""
    value: Any
    key: str = "x-key"


N = Needed

_POLICY = r"^(.*rafficPolicy(?:\.portLevelSettings\[\])?)\."
"""A traffic policy, or a port's."""
_POLICIES = [
    f"{at}{ports}"
    for at in ("spec.trafficPolicy", "spec.subsets[].trafficPolicy")
    for ports in ("", ".portLevelSettings[]")
]
_TLS_ON_GATEWAY = {"mode": "SIMPLE", "serverCertificate": "/etc/cert.pem", "privateKey": "/etc/key.pem"}
_GRPC_PORT = {"number": 8080, "name": "grpc", "protocol": "GRPC"}
_TWO_ROUTES = [
    {"destination": {"host": "b.example", "port": {"number": 7000}}, "weight": 50},
    {"destination": {"host": "c.example", "port": {"number": 7000}}, "weight": 50},
]
_ONE_ROUTE = _TWO_ROUTES[:1]
_DIRECT = {"status": 503, "body": {"string": "closed"}}

_AUTHORIZER = {"service": "two.example", "port": 80}

_NAME = "kubernetes.io/metadata.name"
"""The label that every Namespace has."""

_PATCH, _MATCH = "spec.configPatches[]", "spec.configPatches[].match"
_MANAGER = "envoy.filters.network.http_connection_manager"
_CHAIN = f"{_MATCH}.listener.filterChain"
_HOST = f"{_MATCH}.routeConfiguration.vhost"
_LUA = {
    "name": "added",
    "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua",
        "default_source_code": {"inline_string": "-- added"},
    },
}
_LIMIT = {
    "name": "added",
    "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit",
        "stat_prefix": "added",
        "max_connections": 9,
    },
}


def _patched(kind: str, operation: str, value: dict[str, Any] | None) -> tuple[Needed, ...]:
    """What an EnvoyFilter's patch is instead of the usual one."""
    patch = {"operation": operation, **({"value": value} if value is not None else {})}
    return (N(f"{_PATCH}.applyTo", kind), N(f"{_MATCH}.context", "ANY"), N(f"{_PATCH}.patch", patch))


_TWO = {"service": "two.example", "port": 80}
_DATADOG = "data.mesh.extensionProviders[].datadog"
_ZIPKIN = (
    N("data.mesh.extensionProviders[].name", "asked"),
    N("data.mesh.extensionProviders[].zipkin", _TWO),
    N("data.mesh.defaultProviders.tracing[]", "asked"),
)
_TRACERS = r"(zipkin|datadog|skywalking|opentelemetry)"
_LOG_SERVICES = r"(envoyHttpAls|envoyTcpAls|envoyOtelAls|zipkin|datadog|skywalking|opentelemetry)"

CONTEXTS: tuple[tuple[str, str, tuple[Needed, ...]], ...] = (
    # traffic policies of DestinationRules and of the mesh
    (
        "DestinationRule",
        r"^(.*portLevelSettings\[\])\.",
        (N(r"\1.port.number", 80), N(r"\1.connectionPool.tcp.maxConnections", 7)),
    ),
    (".*", r"^(.*httpCookie)\.", (N(r"\1.name", "session"),)),
    (".*", r"^(.*httpCookie\.attributes\[\])\.", (N(r"\1.name", "SameSite"),)),
    (".*", r"^(.*[lL]ocalityLbSetting\.distribute\[\])\.", (N(r"\1", {"from": "r1/*", "to": {"r1/*": 100}}),)),
    (".*", r"^(.*(?:[lL]ocality|oneAware)LbSetting\.failover\[\])\.", (N(r"\1", {"from": "r1", "to": "r3"}),)),
    ("DestinationRule", _POLICY + r"loadBalancer\.localityLbSetting\.", (N(r"\1.outlierDetection.interval", "9s"),)),
    (".*", r"^(.*\.warmup)\.", (N(r"\1.duration", "9s"),)),
    (".*", r"^(.*onnectionPool\.http)\.(http2KeepAlive|maxConcurrentStreams)", (N(r"\1.h2UpgradePolicy", "UPGRADE"),)),
    (".*", r"^(.*http2KeepAlive)\.", (N(r"\1", {"interval": "8s", "timeout": "9s"}),)),
    (
        ".*",
        r"^(.*outlierDetection)\.consecutiveLocalOriginFailures",
        (N(r"\1.splitExternalLocalOriginErrors", True),),
    ),
    (
        "DestinationRule|MeshConfig",
        r"^(.*\.(?:tls|tlsSettings))\.",
        (
            N(
                r"\1",
                {"mode": "MUTUAL", "clientCertificate": "/c.pem", "privateKey": "/k.pem", "caCertificates": "/a.pem"},
            ),
        ),
    ),
    (
        "DestinationRule|MeshConfig",
        r"^(.*\.(?:tls|tlsSettings))\.credentialName",
        (N(r"\1", {"mode": "SIMPLE"}),),
    ),
    (
        "DestinationRule|MeshConfig",
        r"^(.*\.(?:tls|tlsSettings))\.insecureSkipVerify",
        (N(r"\1", {"mode": "SIMPLE"}),),
    ),
    ("DestinationRule", r"\.tls\.credentialName", (N("spec.workloadSelector.matchLabels", {"app": "client"}),)),
    (".*", r"^(.*\.tunnel)\.", (N(r"\1", {"targetHost": "far.example", "targetPort": 8443}),)),
    # ServiceEntry
    ("ServiceEntry", r"^spec\.(resolution|workloadSelector|ports\[\]\.name)", (N("spec.endpoints", None),)),
    ("ServiceEntry", r"^spec\.ports\[\]\.name", (N("spec.workloadSelector.labels{}", "vm", "app"),)),
    # WorkloadGroup, and the same probe in the mesh's proxy defaults
    (".*", r"^(.*[pP]robe)\.(\w+Seconds|\w+Threshold)$", (N(r"\1.httpGet.port", 8080),)),
    (".*", r"^(.*[pP]robe\.httpGet\.httpHeaders\[\])\.value", (N(r"\1.name", "x-probe"),)),
    (".*", r"^(.*[pP]robe\.(?:httpGet|tcpSocket))\.", (N(r"\1.port", 8080),)),
    # Gateway
    (
        "Gateway",
        r"^spec\.servers\[\]\.(port\.)?name$",
        (N("spec.servers[].port.protocol", "HTTPS"), N("spec.servers[].tls", _TLS_ON_GATEWAY)),
    ),
    ("Gateway", r"^spec\.servers\[\]\.tls\.(?!httpsRedirect)", (N("spec.servers[].port.protocol", "HTTPS"),)),
    ("Gateway", r"^spec\.servers\[\]\.tls\.(?!httpsRedirect)", (N("spec.servers[].tls", _TLS_ON_GATEWAY),)),
    ("Gateway", r"^(.*\.tls)\.(credentialNames?|tlsCertificates)", (N(r"\1", {"mode": "SIMPLE"}),)),
    (
        "Gateway",
        r"^(.*\.tls)\.(caCertificates|caCertCredentialName|subjectAltNames|verifyCertificate\w+|insecureSkipVerify)",
        (N(r"\1", {**_TLS_ON_GATEWAY, "mode": "MUTUAL", "caCertificates": "/etc/ca.pem"}),),
    ),
    ("Gateway", r"^(.*\.tlsCertificates\[\])", (N(r"\1", {"serverCertificate": "/c.pem", "privateKey": "/k.pem"}),)),
    # Sidecar
    ("Sidecar", r"workloadSelector", (N("spec.outboundTrafficPolicy.mode", "REGISTRY_ONLY"),)),
    (
        "Sidecar",
        r"^spec\.ingress\[\]",
        (
            N("spec.ingress[].port", {"number": 8080, "name": "http", "protocol": "HTTP"}),
            N("spec.ingress[].defaultEndpoint", "127.0.0.1:8080"),
        ),
    ),
    ("Sidecar", r"\.http2KeepAlive|\.maxConcurrentStreams", (N("spec.ingress[].port", _GRPC_PORT),)),
    (
        "Sidecar",
        r"^spec\.ingress\[\]\.port\.name",
        (N("spec.workloadSelector.labels{}", "server", "app"), N("spec.ingress[].port.number", 8080)),
    ),
    ("Sidecar", r"^spec\.ingress\[\]\.tls\.", (N("spec.ingress[].port.protocol", "HTTPS"),)),
    ("Sidecar", r"^spec\.ingress\[\]\.tls\.", (N("spec.ingress[].tls", _TLS_ON_GATEWAY),)),
    (
        "Gateway|Sidecar",
        r"^(.*\[\]\.tls)\.caCrl",
        (N(r"\1.mode", "MUTUAL"), N(r"\1.caCertificates", "/ca.pem")),
    ),
    (
        "Sidecar",
        r"^spec\.egress\[\]\.port",
        (N("spec.egress[].port", {"number": 80, "name": "http", "protocol": "HTTP"}),),
    ),
    ("Sidecar", r"^spec\.inboundConnectionPool", (N("spec.workloadSelector.labels{}", "server", "app"),)),
    (
        "Sidecar",
        r"egressProxy",
        (N("spec.outboundTrafficPolicy.egressProxy", {"host": "c.example", "port": {"number": 80}}),),
    ),
    # VirtualService
    ("VirtualService", r"^spec\.http\[\]\.(redirect|directResponse|delegate)", (N("spec.http[].route", None),)),
    ("VirtualService", r"\.redirect\.derivePort", (N("spec.http[].redirect.scheme", "https"),)),
    ("VirtualService", r"\.redirect\.", (N("spec.http[].redirect.authority", "far.example"),)),
    ("VirtualService", r"\.directResponse\.", (N("spec.http[].directResponse", _DIRECT),)),
    ("VirtualService", r"\.delegate\.", (N("spec.http[].delegate.name", "delegate"),)),
    ("VirtualService", r"^spec\.http\[\]\.route\[\]\.(weight|headers)", (N("spec.http[].route", _TWO_ROUTES),)),
    ("VirtualService", r"uriRegexRewrite", (N("spec.http[].rewrite.uriRegexRewrite", {"match": "a", "rewrite": "b"}),)),
    (".*", r"^(.*(?:\.retries|RetryPolicy))\.", (N(r"\1.attempts", 2),)),
    ("VirtualService", r"fault\.delay\.percent", (N("spec.http[].fault.delay.fixedDelay", "3s"),)),
    ("VirtualService", r"fault\.abort\.percent", (N("spec.http[].fault.abort.httpStatus", 503),)),
    ("VirtualService", r"^spec\.http\[\]\.mirror(\.|Percent)", (N("spec.http[].mirror.host", "c.example"),)),
    ("VirtualService", r"^spec\.http\[\]\.mirrors", (N("spec.http[].mirrors[].destination.host", "c.example"),)),
    (
        "VirtualService",
        r"^spec\.tls\[\]",
        (
            N("spec.hosts", ["b.example", "x.example"]),
            N("spec.tls[].match[].sniHosts[]", "b.example"),
            N("spec.tls[].route", _ONE_ROUTE),
        ),
    ),
    ("VirtualService", r"^spec\.tcp\[\]", (N("spec.tcp[].route", _ONE_ROUTE),)),
    ("VirtualService", r"^spec\.(tls|tcp)\[\]\.route\[\]\.weight", (N(r"spec.\1[].route", _TWO_ROUTES),)),
    # policies
    ("AuthorizationPolicy|RequestAuthentication", r"^spec\.targetRef", (N("spec.selector", None),)),
    (
        "AuthorizationPolicy|RequestAuthentication",
        r"^(spec\.targetRef(?:s\[\])?)\.",
        (N(r"\1", {"kind": "Service", "name": "server"}),),
    ),
    (
        "AuthorizationPolicy",
        r"^spec\.provider",
        (N("spec.action", "CUSTOM"), N("spec.rules[].from", None)),
    ),
    ("RequestAuthentication", r"\.(jwksUri|timeout)$", (N("spec.jwtRules[].jwks", None),)),
    ("RequestAuthentication", r"\.timeout$", (N("spec.jwtRules[].jwksUri", "https://idp.example/keys"),)),
    ("RequestAuthentication", r"^(.*fromHeaders\[\])\.prefix", (N(r"\1.name", "x-token"),)),
    (
        "RequestAuthentication",
        r"^(.*outputClaimToHeaders\[\])\.",
        (N(r"\1", {"header": "x-sub", "claim": "sub"}),),
    ),
    # EnvoyFilter
    ("EnvoyFilter", r"applyTo$", (N(f"{_MATCH}", None), N(f"{_PATCH}.patch", {"operation": "ADD", "value": _LUA}))),
    ("EnvoyFilter", r"\.listener\.", (*_patched("HTTP_FILTER", "INSERT_FIRST", _LUA), N(f"{_MATCH}.listener", {}))),
    ("EnvoyFilter", r"\.listener\.listenerFilter", _patched("LISTENER_FILTER", "REMOVE", None)),
    ("EnvoyFilter", r"\.filterChain\.", _patched("FILTER_CHAIN", "MERGE", {"transport_socket_connect_timeout": "3s"})),
    ("EnvoyFilter", r"\.filterChain\.filter\.name", _patched("NETWORK_FILTER", "INSERT_BEFORE", _LIMIT)),
    (
        "EnvoyFilter",
        r"\.listener\.filterChain\.filter\.subFilter\.",
        (*_patched("HTTP_FILTER", "INSERT_BEFORE", _LUA), N(f"{_CHAIN}.filter.name", _MANAGER)),
    ),
    (
        "EnvoyFilter",
        r"\.routeConfiguration\.",
        _patched("VIRTUAL_HOST", "MERGE", {"include_attempt_count_in_response": True}),
    ),
    (
        "EnvoyFilter",
        r"\.routeConfiguration\.(portName|gateway)",
        (
            *_patched("ROUTE_CONFIGURATION", "MERGE", {"response_headers_to_remove": ["mutated"]}),
            N("spec.workloadSelector", None),
        ),
    ),
    ("EnvoyFilter", r"\.vhost\.route\.", _patched("HTTP_ROUTE", "MERGE", {"stat_prefix": "mutated"})),
    ("EnvoyFilter", r"\.cluster\.", (N(f"{_MATCH}.cluster", {}),)),
    ("EnvoyFilter", r"\.match\.waypoint\.", (N(f"{_MATCH}.context", "WAYPOINT"),)),
    ("EnvoyFilter", r"\.match\.context", (N(f"{_MATCH}.cluster", {}),)),
    ("EnvoyFilter", r"^spec\.targetRefs", (N("spec.workloadSelector", None),)),
    ("EnvoyFilter", r"^(spec\.targetRefs\[\])\.", (N(r"\1", {"kind": "Service", "name": "server"}),)),
    # Telemetry and WasmPlugin
    ("Telemetry|WasmPlugin", r"^spec\.targetRef", (N("spec.selector", None),)),
    (
        "Telemetry|WasmPlugin",
        r"^(spec\.targetRef(?:s\[\])?)\.",
        (N(r"\1", {"kind": "Service", "name": "server"}),),
    ),
    ("Telemetry", r"^spec\.tracing\[\]\.", (N("spec.tracing[].providers[].name", "tracer"),)),
    ("Telemetry", r"^(.*tagOverrides\{\})\.operation", (N(r"\1.value", "request.host", "tag"),)),
    ("Telemetry", r"^(.*\.(?:environment|header))\.defaultValue", (N(r"\1.name", "x", "tag"),)),
    ("WasmPlugin", r"^(.*vmConfig\.env\[\])\.", (N(r"\1.name", "VARIABLE"),)),
    # MeshConfig
    (
        "MeshConfig",
        r"^(.*outboundTrafficPolicy)\.tls",
        (N(r"\1.mode", "ALLOW_ANY_DYNAMIC_DNS"),),
    ),
    (
        "MeshConfig",
        r"^(.*)\.(extensionProviders\[\])\.(envoyFileAccessLog|envoy\w+Als)",
        (N(r"\1.\2.name", "asked"), N(r"\1.defaultProviders.accessLogging[]", "asked")),
    ),
    (
        "MeshConfig",
        rf"^(.*extensionProviders\[\])\.{_LOG_SERVICES}",
        (N(r"\1.\2", {"service": "two.example", "port": 80}),),
    ),
    ("MeshConfig", r"defaultProviders\.tracing", _ZIPKIN),
    ("MeshConfig", r"defaultConfig\.tracing\.", (N("data.mesh.enableTracing", True),)),
    ("MeshConfig", r"defaultConfig\.tracingServiceName", (*_ZIPKIN[::2], N(_DATADOG, _TWO))),
    ("MeshConfig", rf"extensionProviders\[\]\.{_TRACERS}\.", _ZIPKIN[::2]),
    ("MeshConfig", r"^(.*(?:[hH]eaders|initialMetadata)\[\])\.name", (N(r"\1.value", "x"),)),
    ("MeshConfig", r"^(.*opentelemetry\.http)\.", (N(r"\1.path", "/one"),)),
    ("MeshConfig", r"defaultProviders\.accessLogging", (N("data.mesh.extensionProviders[].name", "asked"),)),
    (
        "MeshConfig",
        r"defaultProviders\.accessLogging",
        (N("data.mesh.extensionProviders[].envoyFileAccessLog.path", "/asked"),),
    ),
    (
        "MeshConfig",
        r"^(.*extensionProviders\[\])\.(envoyExtAuthz\w+)",
        (N(r"\1.name", "asked"), N(r"\1.\2", {"service": "two.example", "port": 80})),
    ),
    ("MeshConfig", r"^(.*extensionProviders\[\])\.name", (N(r"\1.envoyExtAuthzHttp", _AUTHORIZER),)),
    ("MeshConfig", r"^(.*\.includeRequestBodyInCheck)\.", (N(r"\1.maxRequestBytes", 7),)),
    ("MeshConfig", r"^(.*tracing\.lightstep)\.", (N(r"\1", {"address": "a.example:80", "accessToken": "secret"}),)),
    ("MeshConfig", r"^(.*(?:cryptomb|qat))\.", (N(r"\1.pollDelay", "9s"),)),
    (
        "MeshConfig",
        r"^(.*Selectors?(?:\[\])?\.matchExpressions\[\])\.",
        (N(r"\1.key", _NAME), N(r"\1.operator", "Exists")),
    ),
    ("MeshConfig", r"^(.*Selectors?(?:\[\])?\.matchExpressions\[\])\.values", (N(r"\1.operator", "In"),)),
    ("MeshConfig", r"^(.*serviceEntryVisibility)\.(?:def|pol)", (N(r"\1.applyToSidecars", True),)),
    ("MeshConfig", r"^(.*serviceEntryVisibility)\.apply", (N(r"\1.defaultVisibility", "NONE"),)),
    ("MeshConfig", r"^(.*serviceEntryVisibility\.policies\[\])\.matching", (N(r"\1.visibility", "NONE"),)),
)
"""(kind, pattern of the path, what is put first)."""

VALUES: tuple[tuple[str, tuple[Any, ...], str], ...] = (
    (r"EnvoyFilter .*\.applyTo", ("CLUSTER", "EXTENSION_CONFIG"), "-"),
    (r"EnvoyFilter .*\.match\.context", ("SIDECAR_INBOUND", "SIDECAR_OUTBOUND", "GATEWAY"), "-"),
    (r"EnvoyFilter .*\.patch\.operation", ("MERGE", "REMOVE"), "-"),
    (r"EnvoyFilter .*\.patch\.value", ("one", "two"), "alt_stat_name"),
    (r"EnvoyFilter .*\.proxy\.proxyVersion", ("", "^1"), "-"),
    (r"EnvoyFilter .*\.proxy\.metadata", (None, "x"), "KEY"),
    (r"EnvoyFilter .*\.(listener|routeConfiguration|cluster)\.portNumber", (80, 81), "-"),
    (r"EnvoyFilter .*\.listener\.name", ("0.0.0.0_80", "nothing"), "-"),
    (r"EnvoyFilter .*\.listener\.listenerFilter", ("envoy.filters.listener.original_dst", "nothing"), "-"),
    (r"EnvoyFilter .*\.filterChain\.name", ("virtualOutbound-blackhole", "virtualOutbound-catchall-tcp"), "-"),
    (r"EnvoyFilter .*\.filterChain\.sni", ("sni.example", "nothing.example"), "-"),
    (r"EnvoyFilter .*\.filterChain\.transportProtocol", ("raw_buffer", "tls"), "-"),
    (r"EnvoyFilter .*\.filterChain\.applicationProtocols", ("http/1.1,h2c", "h3"), "-"),
    (r"EnvoyFilter .*\.filterChain\.destinationPort", (15001, 15002), "-"),
    (r"EnvoyFilter .*\.filterChain\.transportSocket", ("", "tls"), "-"),
    (r"EnvoyFilter .*\.filterChain\.filter\.name", (_MANAGER, "envoy.filters.network.tcp_proxy"), "-"),
    (r"EnvoyFilter .*\.filter\.subFilter\.name", ("envoy.filters.http.fault", "envoy.filters.http.router"), "-"),
    (r"EnvoyFilter .*\.routeConfiguration\.portName", ("https", "other"), "-"),
    (r"EnvoyFilter .*\.routeConfiguration\.gateway", ("one/around", "one/other"), "-"),
    (r"EnvoyFilter .*\.routeConfiguration\.name", ("80", "8080"), "-"),
    (r"EnvoyFilter .*\.vhost\.name", ("b.example:80", "c.example:80"), "-"),
    (r"EnvoyFilter .*\.vhost\.domainName", ("b.example", "c.example"), "-"),
    (r"EnvoyFilter .*\.vhost\.route\.name", ("default", "other"), "-"),
    (r"EnvoyFilter .*\.vhost\.route\.action", ("ROUTE", "REDIRECT"), "-"),
    (r"EnvoyFilter .*\.cluster\.service", ("b.example", "c.example"), "-"),
    (r"EnvoyFilter .*\.cluster\.subset", ("", "v9"), "-"),
    (r"EnvoyFilter .*\.cluster\.name", ("PassthroughCluster", "BlackHoleCluster"), "-"),
    (r"EnvoyFilter spec\.priority", (-1, 1), "-"),
    (r"\w+ .*\.outlierDetectionHttpErrorCodes\[\]", (500, 502), "-"),
    (r"(EnvoyFilter|Telemetry|WasmPlugin) spec\.targetRefs?(\[\])?\.group", ("", "core"), "-"),
    (r"(EnvoyFilter|Telemetry|WasmPlugin) spec\.targetRefs?(\[\])?\.kind", ("Service",), "-"),
    (
        r"EnvoyFilter spec\.workloadSelector|(Telemetry|ProxyConfig|WasmPlugin) spec\.selector",
        ("client", "nobody"),
        "app",
    ),
    (r"(ServiceEntry spec\.endpoints\[\]|WorkloadEntry spec)\.network", ("far", "near"), "-"),
    (r"Telemetry .*accessLogging\[\]\.providers\[\]\.name", ("envoy", "nothing"), "-"),
    (r"Telemetry .*tracing\[\]\.providers\[\]\.name", ("tracer", "nothing"), "-"),
    (r"Telemetry .*\.filter\.expression", ("response.code >= 400", "response.code >= 500"), "-"),
    (r"Telemetry .*tagOverrides\{\}\.operation", ("UPSERT",), "tag"),
    (r"Telemetry .*customTags\{\}\.", ("x", "y"), "tag"),
    (r"WasmPlugin spec\.sha256", ("a" * 64, "b" * 64), "-"),
    (r"WasmPlugin .*env\[\]\.valueFrom", ("INLINE", "HOST"), "-"),
    (r"MeshConfig .*Selectors?(\[\])?\.matchLabels", ("one", "two"), _NAME),
    (r"MeshConfig .*Selectors?(\[\])?\.matchExpressions\[\]\.key", (_NAME, "other"), "-"),
    (r"MeshConfig .*Selectors?(\[\])?\.matchExpressions\[\]\.operator", ("Exists", "DoesNotExist"), "-"),
    (r"MeshConfig .*Selectors?(\[\])?\.matchExpressions\[\]\.values", ("one", "two"), "-"),
    (r"MeshConfig .*serviceEntryVisibility\.policies\[\]\.visibility", ("NAMESPACE", "NONE"), "-"),
    (r"MeshConfig .*ingressClass", ("istio", "other"), "-"),
    (r"MeshConfig .*ingressS(elector|ervice)", ("ingressgateway", "other"), "-"),
    (r"MeshConfig .*defaultProviders\.(accessLogging|tracing)", ("asked", "other"), "-"),
    (rf"MeshConfig .*{_LOG_SERVICES}\.port", (80, 7000), "-"),
    (rf"MeshConfig .*{_LOG_SERVICES}\.service$", ("two.example", "b.example"), "-"),
    (r"(AuthorizationPolicy|RequestAuthentication|PeerAuthentication) spec\.selector", ("server", "nobody"), "app"),
    (r"AuthorizationPolicy spec\.action", ("ALLOW", "DENY", "AUDIT"), "-"),
    (r"AuthorizationPolicy .*[iI]pBlocks", ("10.1.0.0/16", "10.2.0.0/16"), "-"),
    (r"AuthorizationPolicy .*\.(ports|notPorts)", ("80", "81"), "-"),
    (r"AuthorizationPolicy .*\.when\[\]\.key", ("request.headers[x-a]", "request.headers[x-b]"), "-"),
    (r"(AuthorizationPolicy|RequestAuthentication) spec\.targetRefs?(\[\])?\.group", ("", "core"), "-"),
    (r"(AuthorizationPolicy|RequestAuthentication) spec\.targetRefs?(\[\])?\.kind", ("Service",), "-"),
    (r"PeerAuthentication spec\.portLevelMtls", ("UNSET", "DISABLE", "PERMISSIVE", "STRICT"), "8080"),
    (r"RequestAuthentication .*\.jwks$", tuple(KEYS), "-"),
    (r"RequestAuthentication .*\.jwksUri$", ("https://a.example/keys", "https://b.example/keys"), "-"),
    (r"MeshConfig .*envoyExtAuthz\w+\.port", (80, 7000), "-"),
    (r"MeshConfig .*envoyExtAuthz\w+\.service", ("two.example", "b.example"), "-"),
    (r"MeshConfig .*envoyExtAuthz\w+\.statusOnError", ("503", "403"), "-"),
    (r"MeshConfig .*envoyExtAuthzHttp\.pathPrefix", ("/a", "/b"), "-"),
    (r"MeshConfig .*extensionProviders\[\]\.name", ("asked", "other"), "-"),
    (r"ServiceEntry spec\.ports\[\]\.name", ("http", "renamed"), "-"),
    (r"[pP]robe\.httpGet\.scheme", ("HTTP", "HTTPS"), "-"),
    (r"ServiceEntry spec\.addresses", ("10.9.0.1", "10.9.0.77"), "-"),
    (r"ports?\.protocol$|ports\[\]\.protocol$", ("HTTP", "TCP"), "-"),
    (r"ServiceEntry spec\.resolution", ("STATIC", "DNS", "DNS_ROUND_ROBIN", "NONE"), "-"),
    (r"ServiceEntry spec\.endpoints\[\]\.address", ("10.8.0.1", "10.8.0.99"), "-"),
    (r"WorkloadEntry spec\.address", ("10.7.0.1", "10.7.0.99"), "-"),
    (r"(ServiceEntry spec\.endpoints\[\]|WorkloadEntry spec)\.ports\{\}", (8080, 8090), "http"),
    (r"(ServiceEntry spec\.endpoints\[\]|WorkloadEntry spec)\.labels", ("v1", "v2"), "version"),
    (r"ServiceEntry spec\.workloadSelector", ("vm", "nobody"), "app"),
    (r" spec\.exportTo", (".", "two"), "-"),
    (r"VirtualService spec\..*gateways\[\]", ("around", "mesh"), "-"),
    (r"(Gateway|Sidecar) .*cipherSuites", ("ECDHE-RSA-AES128-GCM-SHA256", "AES128-SHA"), "-"),
    (r"Gateway spec\.selector", ("gateway", "nobody"), "app"),
    (r"Gateway spec\.servers\[\]\.bind", ("10.0.0.1", "10.0.0.2"), "-"),
    (r"Gateway spec\.servers\[\]\.hosts", ("a.example", "b.example"), "-"),
    (r"Gateway spec\.servers\[\]\.tls\.mode|Sidecar spec\.ingress\[\]\.tls\.mode", ("SIMPLE", "PASSTHROUGH"), "-"),
    (r"Sidecar spec\.workloadSelector", ("client", "nobody"), "app"),
    (r"Sidecar spec\.(in|e)gress\[\]\.port\.number", (80, 7000), "-"),
    (r"Sidecar spec\.ingress\[\]\.bind", ("10.244.0.2", "127.0.0.2"), "-"),
    (r"Sidecar spec\.egress\[\]\.bind", ("127.0.0.2", "127.0.0.3"), "-"),
    (r"Sidecar spec\.ingress\[\]\.defaultEndpoint", ("127.0.0.1:8080", "127.0.0.1:9090"), "-"),
    (r"Sidecar spec\.egress\[\]\.hosts", ("one/*", "two/*"), "-"),
    (r"port\.number$", (80, 7000), "-"),
    (r"VirtualService spec\.tls\[\]\.match\[\]\.port$", (443, 7000), "-"),
    (r"match\[\]\.port$", (80, 7000), "-"),
    (r"redirect\.scheme", ("http", "https"), "-"),
    (r"retryOn", ("5xx", "reset"), "-"),
    (r"tunnel\.protocol", ("CONNECT", "POST"), "-"),
    (r"sourceLabels", ("client", "nobody"), "app"),
    (r"sourceNamespace", ("one", "two"), "-"),
    (r"redirectCode", (301, 302), "-"),
    (r"directResponse\.status", (503, 504), "-"),
    (r"delegate\.name$", ("delegate", "missing"), "-"),
    (r"delegate\.namespace$", ("one", "two"), "-"),
    (r"abort\.httpStatus", (503, 504), "-"),
    (r"abort\.grpcStatus", ("UNAVAILABLE", "INTERNAL"), "-"),
    (r"allowMethods", ("GET", "PUT"), "-"),
    (r"sniHosts", ("b.example", "x.example"), "-"),
    (r"destinationSubnets|sourceSubnet", ("10.9.0.2/32", "10.1.0.0/16"), "-"),
    (r"DestinationRule spec\.host", ("b.example", "c.example"), "-"),
    (r"DestinationRule spec\.subsets\[\]\.labels", ("v1", "v2"), "version"),
    (r"DestinationRule spec\.subsets\[\]\.name", ("v1", "v3"), "-"),
    (r"DestinationRule spec\.workloadSelector", ("client", "nobody"), "app"),
    (r"maglev\.tableSize", (3, 5), "-"),
    (r"distribute\[\]\.from", ("r1/*", "r9/*"), "-"),
    (r"distribute\[\]\.to", ({"r1/*": 100}, {"r1/*": 60, "r2/*": 40}), ""),
    (r"failover\[\]\.from", ("r1", "r9"), "-"),
    (r"failover\[\]\.to", ("r2", "r3"), "-"),
    (r"DestinationRule .*localityLbSetting\.failoverPriority", ("topology.kubernetes.io/region", "app"), "-"),
    (r"subsets\[\].*zoneAwareLbSetting\.failoverPriority", ("tier=near", "app"), "-"),
    (r"failoverPriority", ("version", "app"), "-"),
    (r"MeshConfig .*defaultConfig\.(.*[aA]ddress)$", ("a.example:80", "b.example:80"), "-"),
    (r"MeshConfig .*http2Initial", (65536, 65537), "-"),
    (r"MeshConfig .*controlPlaneAuthPolicy", ("NONE", "MUTUAL_TLS"), "-"),
    (r"MeshConfig .*rootNamespace", ("istio-system", "two"), "-"),
    (r"MeshConfig .*default\w+ExportTo", (".", "two"), "-"),
)
"""(pattern of kind and path, values, key in maps; "" for values of a whole map)."""

REFUSED: frozenset[tuple[str, str]] = frozenset(
    [
        ("WorkloadGroup", "spec.probe.grpc.port"),
        ("WorkloadGroup", "spec.probe.grpc.service"),
        ("Gateway", "spec.servers[].port.targetPort"),
        ("Sidecar", "spec.egress[].port.targetPort"),
        ("Sidecar", "spec.ingress[].port.targetPort"),
        ("Sidecar", "spec.ingress[].tls.credentialName"),
        ("Sidecar", "spec.ingress[].tls.credentialNames[]"),
        ("Sidecar", "spec.ingress[].tls.httpsRedirect"),
        ("Sidecar", "spec.ingress[].tls.subjectAltNames[]"),
        ("Sidecar", "spec.ingress[].tls.tlsCertificates[].caCertificates"),
        ("Sidecar", "spec.ingress[].tls.tlsCertificates[].privateKey"),
        ("Sidecar", "spec.ingress[].tls.tlsCertificates[].serverCertificate"),
        ("VirtualService", "spec.http[].fault.abort.http2Error"),
        ("VirtualService", "spec.http[].fault.delay.exponentialDelay"),
        ("MeshConfig", "data.mesh.meshMTLS.ecdhCurves[]"),
        ("AuthorizationPolicy", "spec.targetRef.namespace"),
        ("AuthorizationPolicy", "spec.targetRefs[].namespace"),
        ("RequestAuthentication", "spec.targetRef.namespace"),
        ("RequestAuthentication", "spec.targetRefs[].namespace"),
        ("EnvoyFilter", "spec.targetRefs[].namespace"),
        ("Telemetry", "spec.targetRef.namespace"),
        ("Telemetry", "spec.targetRefs[].namespace"),
        ("WasmPlugin", "spec.targetRef.namespace"),
        ("WasmPlugin", "spec.targetRefs[].namespace"),
    ]
)
"""Fields that Istio's rules never admit: an error that names them is the answer to writing one."""


SECOND: dict[tuple[str, str], Any] = {
    ("Gateway", "spec.servers[]"): {
        "port": {"number": 81, "name": "more", "protocol": "HTTP"},
        "hosts": ["*"],
    },
    ("ServiceEntry", "spec.ports[]"): {"number": 81, "name": "more", "protocol": "HTTP"},
    ("VirtualService", "spec.http[]"): {"match": [{"uri": {"prefix": "/x"}}], "route": _ONE_ROUTE},
    ("VirtualService", "spec.http[].match[]"): {"uri": {"prefix": "/x"}},
    ("VirtualService", "spec.http[].route[]"): {"destination": {"host": "c.example"}, "weight": 1},
    ("MeshConfig", "data.mesh.serviceEntryVisibility.policies[]"): {
        "visibility": "NONE",
        "matchingRules": [{"namespaceSelector": {"matchLabels": {_NAME: "one"}}}],
    },
    ("MeshConfig", "data.mesh.localityLbSetting.failoverPriority[]"): "topology.kubernetes.io/region",
    ("MeshConfig", "data.mesh.zoneAwareLbSetting.failoverPriority[]"): "tier=near",
    **{
        ("DestinationRule", f"{policy}.loadBalancer.zoneAwareLbSetting.failoverPriority[]"): (
            "version" if policy.startswith("spec.subsets[]") else "tier=near"
        )
        for policy in _POLICIES
    },
    **{
        (
            "DestinationRule",
            f"{policy}.loadBalancer.localityLbSetting.failoverPriority[]",
        ): "topology.kubernetes.io/zone"
        for policy in _POLICIES
    },
}
"""(kind, list) to an item that may stand beside the usual one, and that matters there."""

FIRST_ONLY: frozenset[tuple[str, str]] = frozenset(
    [("Telemetry", "spec.tracing[].providers[]"), ("MeshConfig", "data.mesh.defaultProviders.tracing[]")]
)
"""Lists of which Istio's API lets the first item count alone: spans go to one place."""

BESIDE: dict[tuple[str, str], tuple[Needed, ...]] = {
    ("ServiceEntry", "spec.hosts[]"): (N("spec.ports", [{"number": 80, "name": "http", "protocol": "HTTP"}]),),
}
"""(kind, list) to what is put first where it has two items."""

PARTLY: frozenset[tuple[str, str]] = frozenset(
    ("DestinationRule", f"{policy}.tls.mode") for policy in _POLICIES
) | frozenset(
    ("AuthorizationPolicy", f"spec.rules[].from[].source.{field}[]")
    for field in (
        "principals",
        "namespaces",
        "serviceAccounts",
        "trustDomains",
        "notPrincipals",
        "notNamespaces",
        "notServiceAccounts",
        "notTrustDomains",
    )
)
"""Fields that change a resource and warn nevertheless: mutual TLS without a certificate refuses connections, a
Secret's name leaves them without one, a caller's identity is compared although nobody has one."""


def context_of(kind: str, path: str) -> list[Needed]:
    return [
        needed._replace(path=found.expand(needed.path))
        for kinds, pattern, all_needed in CONTEXTS
        if re.fullmatch(kinds, kind) and (found := re.search(pattern, path))
        for needed in all_needed
    ]


def values_of(kind: str, path: str, leaf: Shape) -> tuple[tuple[Any, ...], str]:
    for pattern, found, key in VALUES:
        if re.search(pattern, f"{kind} {path}"):
            return found, key
    return values(leaf), "x-key"


def of_kind(kind: str, paths: frozenset[tuple[str, str]]) -> set[str]:
    return {path for k, path in paths if k == kind}
