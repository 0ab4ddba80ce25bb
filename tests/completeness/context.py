"""What a mutated field needs beside it to mean anything, and values of a field that its rules admit."""

import re
from typing import Any, NamedTuple

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
_TWO_ROUTES = [
    {"destination": {"host": "b.example", "port": {"number": 7000}}, "weight": 50},
    {"destination": {"host": "c.example", "port": {"number": 7000}}, "weight": 50},
]
_ONE_ROUTE = _TWO_ROUTES[:1]
_DIRECT = {"status": 503, "body": {"string": "closed"}}

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
    (".*", r"^(.*[lL]ocalityLbSetting\.failover\[\])\.", (N(r"\1", {"from": "r1", "to": "r3"}),)),
    ("DestinationRule", _POLICY + r"loadBalancer\.localityLbSetting\.", (N(r"\1.outlierDetection.interval", "9s"),)),
    (".*", r"^(.*\.warmup)\.", (N(r"\1.duration", "9s"),)),
    (".*", r"^(.*onnectionPool\.http)\.(http2KeepAlive|maxConcurrentStreams)", (N(r"\1.useClientProtocol", True),)),
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
    ("Gateway", r"^spec\.servers\[\]\.tls\.(?!httpsRedirect)", (N("spec.servers[].port.protocol", "HTTPS"),)),
    ("Gateway", r"^spec\.servers\[\]\.tls\.(?!httpsRedirect)", (N("spec.servers[].tls", _TLS_ON_GATEWAY),)),
    ("Gateway", r"^(.*\.tls)\.(credentialNames?|tlsCertificates)", (N(r"\1", {"mode": "SIMPLE"}),)),
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
    (
        "Sidecar",
        r"^spec\.ingress\[\]\.port\.name",
        (N("spec.workloadSelector.labels{}", "server", "app"), N("spec.ingress[].port.number", 80)),
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
    # MeshConfig
    ("MeshConfig", r"^(.*tracing\.lightstep)\.", (N(r"\1", {"address": "a.example:80", "accessToken": "secret"}),)),
    ("MeshConfig", r"^(.*(?:cryptomb|qat))\.", (N(r"\1.pollDelay", "9s"),)),
)
"""(kind, pattern of the path, what is put first)."""

VALUES: tuple[tuple[str, tuple[Any, ...], str], ...] = (
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
    ]
)
"""Fields that Istio's rules never admit: an error that names them is the answer to writing one."""


SECOND: dict[tuple[str, str], Any] = {
    ("ServiceEntry", "spec.ports[]"): {"number": 81, "name": "more", "protocol": "HTTP"},
    ("VirtualService", "spec.http[]"): {"match": [{"uri": {"prefix": "/x"}}], "route": _ONE_ROUTE},
    ("VirtualService", "spec.http[].match[]"): {"uri": {"prefix": "/x"}},
    ("VirtualService", "spec.http[].route[]"): {"destination": {"host": "c.example"}, "weight": 1},
    ("MeshConfig", "data.mesh.localityLbSetting.failoverPriority[]"): "topology.kubernetes.io/region",
    **{
        (
            "DestinationRule",
            f"{policy}.loadBalancer.localityLbSetting.failoverPriority[]",
        ): "topology.kubernetes.io/zone"
        for policy in _POLICIES
    },
}
"""(kind, list) to an item that may stand beside the usual one, and that matters there."""

BESIDE: dict[tuple[str, str], tuple[Needed, ...]] = {
    ("ServiceEntry", "spec.hosts[]"): (N("spec.ports", [{"number": 80, "name": "http", "protocol": "HTTP"}]),),
}
"""(kind, list) to what is put first where it has two items."""

PARTLY: frozenset[tuple[str, str]] = frozenset(
    ("DestinationRule", f"{policy}.tls.{field}") for field in ("mode", "credentialName") for policy in _POLICIES
)
"""Fields that change a resource and warn nevertheless: mutual TLS without a certificate refuses connections, and a
Secret's name leaves them without one."""


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
