"""Fields that are accepted and not acted on yet.

This table is the promise that nothing is ignored silently: a field is either acted on by a builder or it stands
here, and then every write that sets it is answered with a warning that names its path. Take a line out when a
builder begins to act on the field. A test checks that every pattern names a real field.
"""

from collections.abc import Iterator
from typing import Any

import msgspec


class Unacted(msgspec.Struct, frozen=True):
    """One field and what its absence means.

    ``pattern`` is the field's path, ``[]`` standing for each item of a list and ``{}`` for each value of a map.
    Values in ``acted`` are acted on nevertheless.
    """

    pattern: str
    effect: str
    acted: tuple[Any, ...] = ()


_GATEWAYS = "rules apply to sidecars only"
_CERTIFICATES = "no certificates are issued, traffic between sidecars is plain text"
_OWN_TLS = ("DISABLE", "SIMPLE", "MUTUAL")
_INBOUND_RETRIES = (
    "defaultInboundHttpRetryPolicy.retryRemoteLocalities",
    "defaultInboundHttpRetryPolicy.retryIgnorePreviousHosts",
)
_TELEMETRY = "only the access log and Envoy's own statistics are made"
_NETWORKS = "endpoints of other networks are called directly; only subsets and failoverPriority heed it, as a label"


def _policy(at: str) -> tuple[Unacted, ...]:
    """What is not acted on in a traffic policy, or a port's."""
    return (
        Unacted(f"{at}.loadBalancer.backendUtilization", "the default load balancer is used"),
        Unacted(f"{at}.loadBalancer.zoneAwareLbSetting", "endpoints are chosen without regard to zones"),
        Unacted(f"{at}.tls.mode", "there are no certificates, connections are refused", acted=_OWN_TLS),
        Unacted(f"{at}.tls.credentialName", "Secrets are not served to sidecars, connections fail; use files"),
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


def _upgrade(at: str) -> Unacted:
    return Unacted(f"{at}.http.h2UpgradePolicy", "the port's protocol alone is spoken to the application")


def _mesh(effect: str, *names: str) -> tuple[Unacted, ...]:
    return tuple(Unacted(name, effect) for name in names)


UNACTED: dict[str, tuple[Unacted, ...]] = {
    "ServiceEntry": (
        Unacted("spec.endpoints[].network", _NETWORKS),
        Unacted("spec.endpoints[].serviceAccount", _CERTIFICATES),
    ),
    "WorkloadEntry": (
        Unacted("spec.network", _NETWORKS),
        Unacted("spec.serviceAccount", _CERTIFICATES),
    ),
    "WorkloadGroup": (Unacted("spec", "workloads are not registered from groups; create WorkloadEntries"),),
    "Gateway": (Unacted("spec", "gateways are not acted on yet"),),
    "Sidecar": (
        Unacted("spec.ingress[].tls", "TLS is not terminated; the connection is forwarded as it is"),
        _upgrade("spec.ingress[].connectionPool"),
        _upgrade("spec.inboundConnectionPool"),
        Unacted("spec.egress[].port.name", "nothing is named after it"),
    ),
    "VirtualService": (
        Unacted("spec.gateways[]", _GATEWAYS, acted=("mesh",)),
        Unacted("spec.http[].match[].gateways[]", _GATEWAYS, acted=("mesh",)),
        Unacted("spec.tls[].match[].gateways[]", _GATEWAYS, acted=("mesh",)),
        Unacted("spec.tcp[].match[].gateways[]", _GATEWAYS, acted=("mesh",)),
        Unacted("spec.tcp[].match[].sourceSubnet", "clients are not told apart by address"),
    ),
    "DestinationRule": (
        *_whole_policy("spec.trafficPolicy"),
        *_whole_policy("spec.subsets[].trafficPolicy"),
    ),
    "MeshConfig": (
        *_mesh("no HTTP proxy listener is opened", "proxyHttpPort"),
        *_mesh("HBONE is not spoken", "hboneIdleTimeout"),
        *_mesh(
            "Ingress objects are not read", "ingressClass", "ingressService", "ingressControllerMode", "ingressSelector"
        ),
        *_mesh(_TELEMETRY, "enableEnvoyAccessLogService", "extensionProviders", "defaultProviders"),
        *_mesh(_TELEMETRY, "enablePrometheusMerge"),
        *_mesh("bootstraps are made from the agent's options", "defaultConfig"),
        Unacted("outboundTrafficPolicy.tls", "unknown destinations get no TLS", acted=({},)),
        *_mesh("objects are read from the Kubernetes API only", "configSources"),
        Unacted("enableAutoMtls", _CERTIFICATES, acted=(False,)),
        *_mesh(_CERTIFICATES, "trustDomainAliases", "caCertificates", "certificates", "ca", "meshMTLS", "tlsDefaults"),
        *_mesh(_CERTIFICATES, "verifyCertificateAtClient", "trustDomain"),
        *_mesh("an inbound port has one endpoint", *_INBOUND_RETRIES),
        *_outliers("defaultTrafficPolicy.outlierDetection"),
        *_mesh("endpoints are chosen without regard to zones", "zoneAwareLbSetting"),
        *_mesh("there is one cluster", "serviceSettings", "serviceScopeConfigs"),
        *_mesh("every namespace is watched", "discoverySelectors"),
        *_mesh("exportTo alone decides who sees a ServiceEntry", "serviceEntryVisibility"),
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
            if value not in entry.acted:
                out.append(f"{path}: {_line(entry)}")
    return out


def _line(entry: Unacted) -> str:
    return entry.effect if "not acted on yet" in entry.effect else f"not acted on yet; {entry.effect}"


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
