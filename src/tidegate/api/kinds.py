"""The kinds that tidegate serves, and how each is named and shaped."""

from typing import Any

import msgspec

from tidegate.api import core, envoyfilter, networking, proxyconfig, security, telemetry, trafficextension, wasmplugin


class Column(msgspec.Struct, frozen=True):
    """A printer column, as a CRD declares it."""

    name: str
    json_path: str
    type: str = "string"
    priority: int = 0


class Kind(msgspec.Struct, frozen=True):
    """One kind: its names, its body's struct and where in the object the body stands."""

    kind: str
    group: str
    versions: tuple[str, ...]
    """Served, preferred first; storage is the first."""
    plural: str
    body: type[Any]
    body_at: str = "spec"
    """"spec", or "" for kinds that keep their fields beside metadata (ConfigMap, EndpointSlice)."""
    short_names: tuple[str, ...] = ()
    namespaced: bool = True
    columns: tuple[Column, ...] = ()
    strict: bool = False
    """Unknown fields of the body are errors: the Istio kinds."""
    categories: tuple[str, ...] = ()
    status: type[Any] | None = None
    advice: str = ""
    """What every writer of an object is told."""

    @property
    def singular(self) -> str:
        return self.kind.lower()

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.versions[0]}" if self.group else self.versions[0]


_AGE = Column("Age", ".metadata.creationTimestamp", "date")
_INTERNALS = "it changes Envoy's configuration from the inside, which may look different in any later version"
_NETWORKING = "networking.istio.io"
_SECURITY = "security.istio.io"


def _istio(
    kind: str, plural: str, body: type[Any], short: tuple[str, ...] = (), columns: tuple[Column, ...] = ()
) -> Kind:
    return Kind(
        kind=kind,
        group=_NETWORKING,
        versions=("v1", "v1beta1", "v1alpha3"),
        plural=plural,
        body=body,
        short_names=short,
        columns=columns,
        strict=True,
        categories=("istio-io", "networking-istio-io"),
    )


def _security(
    kind: str, plural: str, body: type[Any], short: tuple[str, ...] = (), columns: tuple[Column, ...] = ()
) -> Kind:
    return Kind(
        kind=kind,
        group=_SECURITY,
        versions=("v1", "v1beta1"),
        plural=plural,
        body=body,
        short_names=short,
        columns=columns,
        strict=True,
        categories=("istio-io", "security-istio-io"),
    )


def _other(group: str, versions: str, kind: str, plural: str, body: type[Any], **more: Any) -> Kind:
    """A kind whose versions, blank between them, are not those of its group's other kinds."""
    return Kind(
        kind=kind,
        group=group,
        versions=tuple(versions.split()),
        plural=plural,
        body=body,
        strict=True,
        categories=("istio-io", group.replace(".istio.io", "-istio-io")),
        **more,
    )


def _core(kind: str, plural: str, body: type[Any], short: tuple[str, ...] = (), **more: Any) -> Kind:
    return Kind(kind=kind, group="", versions=("v1",), plural=plural, body=body, short_names=short, **more)


def _apps(kind: str, plural: str, body: type[Any], short: str) -> Kind:
    return Kind(
        kind=kind,
        group="apps",
        versions=("v1",),
        plural=plural,
        body=body,
        short_names=(short,),
        categories=("all",),
    )


KINDS: dict[str, Kind] = {
    k.kind: k
    for k in (
        _core("Namespace", "namespaces", core.NamespaceSpec, ("ns",), namespaced=False),
        _core("Node", "nodes", core.NamespaceSpec, ("no",), namespaced=False, status=core.NodeStatus),
        _core("Pod", "pods", core.PodSpec, ("po",), status=core.PodStatus),
        _core("Service", "services", core.ServiceSpec, ("svc",), status=core.ServiceStatus),
        _core("Endpoints", "endpoints", core.EndpointsBody, ("ep",), body_at=""),
        _core("ConfigMap", "configmaps", core.ConfigMapBody, ("cm",), body_at=""),
        _core("Secret", "secrets", core.SecretBody, body_at=""),
        _core("ServiceAccount", "serviceaccounts", core.ServiceAccountBody, ("sa",), body_at=""),
        _core("Event", "events", core.EventBody, ("ev",), body_at=""),
        _apps("Deployment", "deployments", core.DeploymentSpec, "deploy"),
        _apps("ReplicaSet", "replicasets", core.ReplicaSetSpec, "rs"),
        Kind(
            kind="Lease",
            group="coordination.k8s.io",
            versions=("v1",),
            plural="leases",
            body=core.LeaseSpec,
        ),
        Kind(
            kind="EndpointSlice",
            group="discovery.k8s.io",
            versions=("v1",),
            plural="endpointslices",
            body=core.EndpointSliceBody,
            body_at="",
        ),
        Kind(
            kind="Ingress",
            group="networking.k8s.io",
            versions=("v1",),
            plural="ingresses",
            body=core.IngressSpec,
            short_names=("ing",),
        ),
        _istio(
            "ServiceEntry",
            "serviceentries",
            networking.ServiceEntry,
            ("se",),
            (
                Column("Hosts", ".spec.hosts"),
                Column("Location", ".spec.location"),
                Column("Resolution", ".spec.resolution"),
                _AGE,
            ),
        ),
        _istio(
            "WorkloadEntry",
            "workloadentries",
            networking.WorkloadEntry,
            ("we",),
            (_AGE, Column("Address", ".spec.address")),
        ),
        _istio("WorkloadGroup", "workloadgroups", networking.WorkloadGroup, ("wg",), (_AGE,)),
        _istio("Sidecar", "sidecars", networking.Sidecar),
        _istio(
            "VirtualService",
            "virtualservices",
            networking.VirtualService,
            ("vs",),
            (Column("Gateways", ".spec.gateways"), Column("Hosts", ".spec.hosts"), _AGE),
        ),
        _istio(
            "DestinationRule",
            "destinationrules",
            networking.DestinationRule,
            ("dr",),
            (Column("Host", ".spec.host"), _AGE),
        ),
        _istio("Gateway", "gateways", networking.Gateway, ("gw",)),
        _security(
            "AuthorizationPolicy",
            "authorizationpolicies",
            security.AuthorizationPolicy,
            ("ap",),
            (Column("Action", ".spec.action"), _AGE),
        ),
        _security(
            "PeerAuthentication",
            "peerauthentications",
            security.PeerAuthentication,
            ("pa",),
            (Column("Mode", ".spec.mtls.mode"), _AGE),
        ),
        _security("RequestAuthentication", "requestauthentications", security.RequestAuthentication, ("ra",)),
        _other(_NETWORKING, "v1alpha3", "EnvoyFilter", "envoyfilters", envoyfilter.EnvoyFilter, advice=_INTERNALS),
        _other(_NETWORKING, "v1beta1", "ProxyConfig", "proxyconfigs", proxyconfig.ProxyConfig),
        _other(
            "telemetry.istio.io",
            "v1 v1alpha1",
            "Telemetry",
            "telemetries",
            telemetry.Telemetry,
            short_names=("telemetry",),
            columns=(_AGE,),
        ),
        _other("extensions.istio.io", "v1alpha1", "WasmPlugin", "wasmplugins", wasmplugin.WasmPlugin, columns=(_AGE,)),
        _other(
            "extensions.istio.io",
            "v1alpha1",
            "TrafficExtension",
            "trafficextensions",
            trafficextension.TrafficExtension,
            columns=(_AGE,),
        ),
    )
}

SERVED: tuple[Kind, ...] = (
    *KINDS.values(),
    Kind(
        kind="Event",
        group="events.k8s.io",
        versions=("v1",),
        plural="events",
        body=core.RegardingEventBody,
        body_at="",
        short_names=("ev",),
    ),
)
"""All that has a path of its own: :data:`KINDS`, and Events a second time, in their other group."""
