"""What the author of a pod is told of its annotations and labels: names that do nothing, and near ones that do."""

import difflib
import re
from collections.abc import Collection, Iterator

from tidegate.inject.annotations import CHECKS, INJECT, REVISION, REWRITE, TRAFFIC
from tidegate.inject.context import PROXY, PROXY_IMAGE, Context
from tidegate.inject.probes import unknown_ports
from tidegate.inject.settings import Json

_OURS = re.compile(r"^([a-z0-9-]+\.)*istio\.io/")
_STATS = "a proxy keeps the statistics that all keep"
UNACTED = {
    **dict.fromkeys(
        (
            "sidecar.istio.io/extraStatTags",
            "sidecar.istio.io/statsInclusionPrefixes",
            "sidecar.istio.io/statsInclusionSuffixes",
            "sidecar.istio.io/statsInclusionRegexps",
            "sidecar.istio.io/statsHistogramBuckets",
            "sidecar.istio.io/statsHistogramBins",
            "sidecar.istio.io/statsFlushInterval",
            "sidecar.istio.io/statsEvictionInterval",
        ),
        _STATS,
    ),
    "sidecar.istio.io/statsCompression": "set statsCompression in proxy.istio.io/config",
    "readiness.status.sidecar.istio.io/applicationPorts": "readiness is the proxy's alone; an application has probes",
    "prometheus.istio.io/secure-port": "metrics are served as plain text",
}
"""Annotations of pods that change nothing here, and why."""

_NAMESPACES, _SERVICES, _ENTRIES = "namespaces", "Services", "ServiceEntries"
_WORKLOAD_ENTRIES, _GATEWAYS = "WorkloadEntries", "Gateways of the Gateway API"
ELSEWHERE = {
    "istio-injection": _NAMESPACES,
    "topology.istio.io/controlPlaneClusters": _NAMESPACES,
    "networking.istio.io/exportTo": _SERVICES,
    "networking.istio.io/traffic-distribution": _SERVICES,
    "networking.istio.io/enable-autoallocate-ip": _ENTRIES,
    "networking.istio.io/address-type": _SERVICES,
    "networking.istio.io/gatewayPort": _SERVICES,
    "traffic.istio.io/nodeSelector": _SERVICES,
    "istio.io/connect-strategy": _ENTRIES,
    "istio.io/global": _SERVICES,
    "istio.io/persistent-session": _SERVICES,
    "istio.io/persistent-session-header": _SERVICES,
    "alpha.istio.io/canonical-serviceaccounts": _SERVICES,
    "alpha.istio.io/kubernetes-serviceaccounts": _SERVICES,
    "experimental.istio.io/disable-gateway-port-translation": _SERVICES,
    "istio.io/ingress-use-waypoint": _SERVICES,
    "istio.io/waypoint-for": _GATEWAYS,
    "istio.io/tag": "webhook configurations",
    "istio.io/dry-run": "AuthorizationPolicies",
    "envoyfilter.istio.io/referenced-services": "EnvoyFilters",
    "proxy.istio.io/health-checks-enabled": _WORKLOAD_ENTRIES,
    "istio.io/autoRegistrationGroup": _WORKLOAD_ENTRIES,
    "istio.io/workloadController": _WORKLOAD_ENTRIES,
    "istio.io/connectedAt": _WORKLOAD_ENTRIES,
    "istio.io/disconnectedAt": _WORKLOAD_ENTRIES,
    "topology.istio.io/subzone": "nodes",
    "gateway.istio.io/name-override": _GATEWAYS,
    "gateway.istio.io/service-account": _GATEWAYS,
    "gateway.istio.io/controller-version": _GATEWAYS,
    "gateway.istio.io/tls-terminate-mode": _GATEWAYS,
    "gateway.istio.io/tls-cipher-suites": _GATEWAYS,
}
"""Names of other objects, which do nothing on a pod."""

LABELS = (
    INJECT,
    REVISION,
    "security.istio.io/tlsMode",
    "service.istio.io/canonical-name",
    "service.istio.io/canonical-revision",
    "service.istio.io/workload-name",
    "networking.istio.io/tunnel",
    "topology.istio.io/network",
    "topology.istio.io/cluster",
    "topology.istio.io/locality",
    "istio-locality",
    "istio.io/draining",
)
"""Labels of pods that something reads."""
_MARKS = ("gateway.istio.io/managed", "istio.io/dataplane-mode", "istio.io/use-waypoint", "ambient.istio.io/")
INSTALLED = (*_MARKS, "internal.istio.io/", "install.operator.istio.io/", "operator.istio.io/", "cni.istio.io/")
"""Beginnings of names that installers and ambient mode's controllers write: nobody's mistake."""


def warnings(annotations: Json, labels: Json) -> Iterator[str]:
    """Names that do nothing, with a near one that does; values that take the sidecar out of the path."""
    for name in annotations:
        if said := _of_name(name, "annotation", CHECKS, LABELS):
            yield f"metadata.annotations[{name}]: {said}"
    for name in labels:
        if said := _of_name(name, "label", LABELS, CHECKS):
            yield f"metadata.labels[{name}]: {said}"
    for kind, values in (("annotations", annotations), ("labels", labels)):
        if (value := values.get(INJECT, "true")) not in ("true", "false"):
            said = f'{value!r} decides nothing; expected "true" or "false"'
            yield f"metadata.{kind}[{INJECT}]: {said}"
    yield from _of_values(annotations)


def _of_name(name: str, kind: str, known: Collection[str], others: Collection[str]) -> str:
    """What is to be said of one name; "" for one that acts, or that is none of ours."""
    if kind == "annotation" and name in UNACTED:
        return f"not acted on: {UNACTED[name]}"
    if name in known or name.startswith(INSTALLED):
        return ""
    if name in ELSEWHERE:
        instead = f"; the pod's own choice is the label {INJECT}" if name == "istio-injection" else ""
        return f"it is for {ELSEWHERE[name]} and does nothing on a pod{instead}"
    if name in others:
        other = "an annotation" if kind == "label" else "a label"
        return f"as {'an' if kind == 'annotation' else 'a'} {kind} it does nothing; it is {other}"
    near = _near(name, known)
    return f"unknown {kind}{near}" if _OURS.match(name) and (near or kind == "annotation") else ""


def _of_values(annotations: Json) -> Iterator[str]:
    ranges = TRAFFIC + "includeOutboundIPRanges"
    if annotations.get(ranges) == "":
        yield (
            f"metadata.annotations[{ranges}]: it is empty, so nothing that the pod sends goes through the sidecar; "
            'expected "*" or CIDRs unless that is meant'
        )
    image = str(annotations.get(PROXY_IMAGE, "/"))
    if "/" not in image:
        yield (
            f"metadata.annotations[{PROXY_IMAGE}]: {image!r} says no registry, so the installation's image is used; "
            "expected a whole reference such as registry.example/proxyv2:1.0"
        )
    if str(annotations.get(REWRITE, "true")).lower() == "false":
        yield f"metadata.annotations[{REWRITE}]: probes are not rewritten; under strict mutual TLS they fail"


def _near(name: str, known: Collection[str]) -> str:
    """Both the whole name and what follows its prefix must be near: prefixes alone make any two names alike."""
    by_lower = {each.lower(): each for each in known}
    found = difflib.get_close_matches(name.lower(), by_lower, 3, 0.75)
    ends = [each.rpartition("/")[2] for each in found]
    near = difflib.get_close_matches(name.lower().rpartition("/")[2], ends, 1, 0.7)
    return f"; did you mean {by_lower[found[ends.index(near[0])]]}?" if near else ""


# Pods


OWN_PORTS = (15000, 15001, 15004, 15006, 15008, 15020, 15021, 15053, 15090)
"""Where proxy and agent listen."""


def of_pod(context: Context) -> Iterator[str]:
    """Containers that the packet rules take for the proxy, and those that want a port of its; probes that can ask
    nobody, and a resolver that does not know the control plane."""
    policy = context.spec.get("dnsPolicy") or "ClusterFirst"
    if policy != "ClusterFirst":
        said = "the proxy may not find its control plane, a name of the cluster; expected ClusterFirst"
        yield f"spec.dnsPolicy: {policy}: {said}"
    user = context.identity[0]
    whole = (context.spec.get("securityContext") or {}).get("runAsUser")
    for number, each in enumerate(context.spec.get("containers") or ()):
        at = f"spec.containers[{number}]"
        own = (each.get("securityContext") or {}).get("runAsUser", whole)
        if each.get("name") == PROXY:
            continue
        if own == user and context.mode != "NONE":
            yield (
                f"{at}.securityContext.runAsUser: {each.get('name')} runs as user {user}, which is the proxy's: what "
                "it sends bypasses the sidecar; give it another user"
            )
        for field, name in unknown_ports(each):
            yield f"{at}.{field}: the container has no port named {name!r}; the probe fails"
        for port in each.get("ports") or ():
            if port.get("containerPort") in OWN_PORTS:
                yield f"{at}.ports: port {port['containerPort']} is the proxy's own; expected another"


def of_object(kind: str, annotations: Json, labels: Json) -> Iterator[str]:
    """Names on an object that brings pods, which act on its pods alone."""
    for part, names, known in (("annotations", annotations, CHECKS), ("labels", labels, (INJECT,))):
        for name in names:
            if name in known and name != REVISION:
                where = "it belongs to the metadata of its pod template"
                yield f"metadata.{part}[{name}]: on a {kind} it does nothing; {where}"
