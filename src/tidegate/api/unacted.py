"""Fields that are accepted and not acted on yet.

This table is the promise that nothing is ignored silently: a field is either acted on by a builder or it stands
here, and then every write that sets it is answered with a warning that names its path. Take a line out when a
builder begins to act on the field. A test checks that every pattern names a real field.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from tidegate.api.envoyfilter import ApplyTo, PatchContext
from tidegate.api.mesh import ProxyConfig
from tidegate.api.selection import GATEWAY_LABEL
from tidegate.api.shapes import shape_of


class Unacted(msgspec.Struct, frozen=True):
    """One field and what its absence means.

    ``pattern`` is the field's path, ``[]`` standing for each item of a list and ``{}`` for each value of a map.
    Values in ``acted`` are acted on nevertheless. Where ``only`` has values, all others are; a message that has one of
    the members in ``unless`` is.
    """

    pattern: str
    effect: str
    acted: tuple[Any, ...] = ()
    only: tuple[Any, ...] = ()
    unless: tuple[str, ...] = ()

    def holds(self, value: Any) -> bool:
        """Whether the field is not acted on with this value."""
        if self.only:
            return value in self.only
        return value not in self.acted and not any(name in value for name in self.unless)


MARK = "not acted on yet"
"""Stands in every warning of this module, and in no other."""
_SERVERS_OWN_TLS = ("PASSTHROUGH", "SIMPLE", "MUTUAL", "OPTIONAL_MUTUAL")
_CERTIFICATES = "no certificates are issued, traffic between sidecars is plain text"
_OWN_TLS = ("DISABLE", "SIMPLE", "MUTUAL")
_INBOUND_RETRIES = (
    "defaultInboundHttpRetryPolicy.perTryTimeout",
    "defaultInboundHttpRetryPolicy.retryRemoteLocalities",
    "defaultInboundHttpRetryPolicy.retryIgnorePreviousHosts",
)
_TELEMETRY = "only access logs, spans and Envoy's own statistics are made"
_AT_ONCE = "a Pod counts as available once it is ready"


_NOBODY = "no certificates are issued, so no caller has an identity"
_PLAIN = "no certificates are issued: plain text is accepted, and mutual TLS is not, whatever the mode"
_SOURCES = ("principals", "namespaces", "serviceAccounts", "trustDomains")
_NOT_SOURCES = ("notPrincipals", "notNamespaces", "notServiceAccounts", "notTrustDomains")
_IDENTITIES = ("source.principal", "source.namespace", "source.serviceAccount", "source.trustDomain")
_OTHER_PROVIDERS = (
    "prometheus",
    "sds",
)
_TRACERLESS = ("lightstep", "stackdriver", "opencensus")
_TRACER_HEADERS = ("zipkin.headers", "opentelemetry.http.headers", "opentelemetry.grpc.initialMetadata")
_OLD_TRACERS = ("zipkin", "lightstep", "datadog", "stackdriver", "openCensusAgent", "tlsSettings")
_READ = ("proxyHeaders", "gatewayTopology", "tracing", "tracingServiceName", "connectionSettings")
"""Of ``defaultConfig``, by the control plane."""
OF_AGENTS = frozenset(
    {
        "binaryPath",
        "concurrency",
        "configPath",
        "discoveryAddress",
        "drainDuration",
        "fileFlushInterval",
        "fileFlushMinSizeKb",
        "holdApplicationUntilProxyStarts",
        "image",
        "interceptionMode",
        "meshId",
        "proxyAdminPort",
        "proxyMetadata",
        "runtimeValues",
        "serviceCluster",
        "statsCompression",
        "statusPort",
        "terminationDrainDuration",
    }
)
"""Of ``defaultConfig``, by injection and by the agents of pods."""
_TOLD_TO_AGENTS = "not acted on yet in a lab; injection tells it to the agents of pods, which go by it"
_AT_START = "not acted on yet by agents that run already; injection, and a lab, go by it when a proxy starts"
_BOOTSTRAP = tuple(
    f"defaultConfig.{name}" for name in shape_of(ProxyConfig).members if name not in (*_READ, *OF_AGENTS)
)
_OTHER_HEADERS = ("metadataExchangeHeaders",)
_OTHER_LIMITS = (
    "clusterPerConnectionBufferLimitBytes",
    "listenerConnectionLimit",
    "globalDownstreamConnectionLimit",
)
_OF_BOOTSTRAPS = "bootstraps are patched as proxies start, and only those with BOOTSTRAP_XDS_AGENT=true"
_PATCHED = tuple(each.value for each in ApplyTo if each is not ApplyTo.BOOTSTRAP)
_CONTEXTS = tuple(each.value for each in PatchContext if each is not PatchContext.WAYPOINT)


def _policy(at: str) -> tuple[Unacted, ...]:
    """What is not acted on in a traffic policy, or a port's."""
    return (
        Unacted(f"{at}.loadBalancer.backendUtilization", "the default load balancer is used"),
        Unacted(f"{at}.tls.mode", "there are no certificates, connections are refused", acted=_OWN_TLS),
        *_outliers(f"{at}.outlierDetection"),
    )


def _outliers(at: str) -> tuple[Unacted, ...]:
    return (Unacted(f"{at}.consecutiveErrors", "use consecutive5xxErrors or consecutiveGatewayErrors"),)


def _whole_policy(at: str) -> tuple[Unacted, ...]:
    """What is not acted on in a traffic policy with its ports' policies."""
    return (
        *_policy(at),
        *_policy(f"{at}.portLevelSettings[]"),
        Unacted(f"{at}.retryBudget.budgetInterval", "the share is of the requests under way at the moment"),
    )


def _attached(kind: str) -> tuple[Unacted, ...]:
    """What a policy of this kind is attached to."""
    text = f"Services have no proxies of their own; it holds for a Gateway's pods alone, by their label {GATEWAY_LABEL}"
    return tuple(Unacted(f"spec.{name}", f"{text}; use selector in {kind}") for name in ("targetRef", "targetRefs[]"))


def _identities(at: str, *names: str) -> tuple[Unacted, ...]:
    """What is known of a caller by its certificate."""
    return tuple(Unacted(f"{at}.{name}", f"{_NOBODY}: the value is that of nobody") for name in names)


def _upgrade(at: str) -> Unacted:
    return Unacted(f"{at}.http.h2UpgradePolicy", "the port's protocol alone is spoken to the application")


def _mesh(effect: str, *names: str) -> tuple[Unacted, ...]:
    return tuple(Unacted(name, effect) for name in names)


UNACTED: dict[str, tuple[Unacted, ...]] = {
    "ServiceEntry": (Unacted("spec.endpoints[].serviceAccount", _CERTIFICATES),),
    "WorkloadEntry": (Unacted("spec.serviceAccount", _CERTIFICATES),),
    "WorkloadGroup": (Unacted("spec", "workloads are not registered from groups; create WorkloadEntries"),),
    "Gateway": (
        Unacted("spec.servers[].defaultEndpoint", "nothing is sent to it; bind a VirtualService to the Gateway"),
        Unacted("spec.servers[].tls.mode", "workloads have no certificates for it", acted=_SERVERS_OWN_TLS),
        Unacted("spec.servers[].tls.tlsCertificates[].caCertificates", "caCertificates of the server count"),
    ),
    "Sidecar": (
        Unacted("spec.ingress[].tls", "TLS is not terminated without ENABLE_TLS_ON_SIDECAR_INGRESS; it is forwarded"),
        _upgrade("spec.ingress[].connectionPool"),
        _upgrade("spec.inboundConnectionPool"),
        Unacted("spec.egress[].port.name", "nothing is named after it"),
    ),
    "VirtualService": (Unacted("spec.tcp[].match[].sourceSubnet", "clients are not told apart by address"),),
    "AuthorizationPolicy": (
        *_attached("AuthorizationPolicy"),
        *_identities("spec.rules[].from[].source", *_SOURCES, *_NOT_SOURCES),
        Unacted("spec.rules[].when[].key", f"{_NOBODY}: its values are those of nobody", only=_IDENTITIES),
    ),
    "PeerAuthentication": (
        Unacted("spec.mtls.mode", _PLAIN, acted=("UNSET", "DISABLE")),
        Unacted("spec.portLevelMtls{}.mode", _PLAIN, acted=("UNSET", "DISABLE")),
        Unacted("spec.selector.matchLabels", _PLAIN),
    ),
    "RequestAuthentication": (
        *_attached("RequestAuthentication"),
        Unacted(
            "spec.jwtRules[]",
            "keys are not looked for at the issuer, all its tokens are refused; set jwks or jwksUri",
            unless=("jwks", "jwksUri"),
        ),
    ),
    "EnvoyFilter": (
        Unacted("spec.configPatches[].applyTo", _OF_BOOTSTRAPS, acted=_PATCHED),
        Unacted("spec.configPatches[].match.context", "there are no waypoints", acted=_CONTEXTS),
        Unacted("spec.configPatches[].match.waypoint", "there are no waypoints"),
        Unacted("spec.configPatches[].match.listener.portName", "listeners are matched by portNumber and name"),
        Unacted("spec.configPatches[].patch.filterClass", "filters are placed by operation and match"),
        Unacted("spec.targetRefs", f"it holds for the pods of a Gateway alone, by their label {GATEWAY_LABEL}"),
    ),
    "TrafficExtension": (Unacted("spec", "scripts and modules are not run"),),
    "WasmPlugin": (Unacted("spec", "WebAssembly modules are not fetched"),),
    "ProxyConfig": (Unacted("spec", _TOLD_TO_AGENTS),),
    "Telemetry": (
        Unacted("spec.tracing[].disableContextPropagation", "trace headers are always sent on"),
        Unacted("spec.metrics", _TELEMETRY),
        *_attached("Telemetry"),
    ),
    "DestinationRule": (
        *_whole_policy("spec.trafficPolicy"),
        *_whole_policy("spec.subsets[].trafficPolicy"),
    ),
    "Deployment": (
        Unacted("spec.minReadySeconds", _AT_ONCE, acted=(0,)),
        Unacted("spec.progressDeadlineSeconds", "a rollout that stands still is not given up", acted=(600,)),
    ),
    "ReplicaSet": (Unacted("spec.minReadySeconds", _AT_ONCE, acted=(0,)),),
    "MeshConfig": (
        *_mesh("HBONE is not spoken", "hboneIdleTimeout"),
        *_mesh(_TELEMETRY, "enableEnvoyAccessLogService", "defaultProviders.metrics"),
        *_mesh(_TELEMETRY, *(f"extensionProviders[].{name}" for name in _OTHER_PROVIDERS)),
        *_mesh("Envoy has no such tracer", *(f"extensionProviders[].{name}" for name in _TRACERLESS)),
        *_mesh(
            "the control plane's environment is not read",
            *(f"extensionProviders[].{name}[].envName" for name in _TRACER_HEADERS),
        ),
        *_mesh("Envoy's own sampling decides", "extensionProviders[].opentelemetry.dynatraceSampler"),
        *_mesh(
            "spans go to a provider: give one under extensionProviders and name it in defaultProviders.tracing",
            *(f"defaultConfig.tracing.{name}" for name in _OLD_TRACERS),
        ),
        *_mesh(_AT_START, "enablePrometheusMerge"),
        *_mesh(_TOLD_TO_AGENTS, *(f"defaultConfig.{name}" for name in sorted(OF_AGENTS))),
        *_mesh("bootstraps are made from the agent's options", *_BOOTSTRAP),
        *_mesh("the header is not made", *(f"defaultConfig.proxyHeaders.{name}" for name in _OTHER_HEADERS)),
        *_mesh("Envoy's default holds", *(f"defaultConfig.connectionSettings.{name}" for name in _OTHER_LIMITS)),
        *_mesh("objects are read from the Kubernetes API only", "configSources"),
        Unacted("enableAutoMtls", _CERTIFICATES, acted=(False,)),
        *_mesh(_CERTIFICATES, "caCertificates", "certificates", "ca", "meshMTLS"),
        *_mesh(_CERTIFICATES, "verifyCertificateAtClient"),
        *_mesh("an inbound port has one endpoint", *_INBOUND_RETRIES),
        *_outliers("defaultTrafficPolicy.outlierDetection"),
        *_mesh("there is one cluster", "serviceSettings", "serviceScopeConfigs"),
    ),
}


def warnings(kind: str, body: Any) -> list[str]:
    """What of ``body`` is not acted on, one line for each exact path.

    ``body`` is canonical JSON: an object's spec, or a whole MeshConfig. Kinds without entries have none.
    """
    out = []
    for entry in UNACTED.get(kind, ()):
        root, steps = _steps(entry.pattern)
        for path, value in _find(body, root, steps):
            if entry.holds(value):
                out.append(f"{path}: {_line(entry)}")
    return out


def _line(entry: Unacted) -> str:
    return entry.effect if MARK in entry.effect else f"{MARK}; {entry.effect}"


def _steps(pattern: str) -> tuple[str, tuple[str, ...]]:
    """The path of the root, and the steps from there: names, ``[]`` and ``{}``."""
    known = _PARSED.get(pattern)
    if known is None:
        names = pattern.replace("[]", ".[]").replace("{}", ".{}").split(".")
        known = ("spec", tuple(names[1:])) if names[0] == "spec" else ("", tuple(names))
        _PARSED[pattern] = known
    return known


_PARSED: dict[str, tuple[str, tuple[str, ...]]] = {}


def _find(value: Any, path: str, steps: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    if not steps:
        yield path, value
        return
    step, rest = steps[0], steps[1:]
    if step == "[]":
        for index, item in enumerate(value):
            yield from _find(item, f"{path}[{index}]", rest)
    elif step == "{}":
        for key, item in value.items():
            yield from _find(item, f"{path}[{key}]", rest)
    elif step in value:
        yield from _find(value[step], f"{path}.{step}" if path else step, rest)
