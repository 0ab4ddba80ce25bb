"""What the shipped templates share: volumes, environment, probes, security contexts, resources."""

import json
from typing import Any

import msgspec

from tidegate.inject import annotations
from tidegate.inject.context import Context
from tidegate.inject.settings import Json

_RESOURCE_NAMES = {
    "requests": {"cpu": "sidecar.istio.io/proxyCPU", "memory": "sidecar.istio.io/proxyMemory"},
    "limits": {"cpu": "sidecar.istio.io/proxyCPULimit", "memory": "sidecar.istio.io/proxyMemoryLimit"},
}
_PORT_FIELDS = ("name", "hostPort", "containerPort", "protocol", "hostIP")
TOKEN_SECONDS = 43200
BOOTSTRAP = "sidecar.istio.io/bootstrapOverride"


def field(name: str, path: str) -> Json:
    """A variable that holds a field of the pod."""
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


def variable(name: str, value: Any) -> Json:
    return {"name": name, "value": str(value)}


def limit(name: str, resource: str) -> Json:
    """A variable that holds a limit of the container."""
    return {"name": name, "valueFrom": {"resourceFieldRef": {"resource": resource, "divisor": "1"}}}


def identity_variables(context: Context) -> list[Json]:
    """Who issues certificates, and who the proxy is."""
    return [
        variable("PILOT_CERT_PROVIDER", context.value("global.pilotCertProvider")),
        variable("CA_ADDR", context.value("global.caAddress") or _control_plane(context)),
        field("POD_NAME", "metadata.name"),
        field("POD_NAMESPACE", "metadata.namespace"),
        field("INSTANCE_IP", "status.podIP"),
        field("SERVICE_ACCOUNT", "spec.serviceAccountName"),
        field("HOST_IP", "status.hostIP"),
    ]


def _control_plane(context: Context) -> str:
    revision = context.value("revision")
    suffix = f"-{revision}" if revision else ""
    return f"istiod{suffix}.{context.value('global.istioNamespace')}.svc:15012"


def pod_variables(context: Context) -> tuple[Json, Json, Json]:
    """The proxy's configuration, and the application's ports and containers."""
    names = ",".join(str(each.get("name")) for each in context.applications)
    return (
        variable("PROXY_CONFIG", f"{context.proxy_config_json}\n"),
        variable("ISTIO_META_POD_PORTS", _ports(context)),
        {"name": "ISTIO_META_APP_CONTAINERS", **({"value": names} if names else {})},
    )


def _ports(context: Context) -> str:
    found = [port for each in context.spec.get("containers") or () for port in each.get("ports") or ()]
    lines = [json.dumps({k: p[k] for k in _PORT_FIELDS if k in p}, separators=(",", ":")) for p in found]
    shown = "".join(f"    {',' if number else ''}{line}\n" for number, line in enumerate(lines))
    return f"[\n{shown}]"


def localhost_variables(context: Context) -> list[Json]:
    """Where applications are asked for their health: where they get all their requests from outside."""
    localhost = (context.settings.mesh.get("inboundTrafficPolicy") or {}).get("mode") == "LOCALHOST"
    return [variable("REWRITE_PROBE_LEGACY_LOCALHOST_DESTINATION", "true")] if localhost else []


def compliance_variables(context: Context) -> list[Json]:
    """The cryptographic policy that the proxy keeps."""
    policy = context.settings.compliance_policy
    only = [variable("GODEBUG", "fips140=only")] if policy == "fips-140-3" else []
    return [variable("COMPLIANCE_POLICY", policy), *only] if policy else []


def mesh_variables(context: Context, *, mode: str, name: str, bootstrap: bool = True) -> list[Json]:
    """Where the workload is in the mesh. ``mode``: how its traffic is captured, "" for a proxy that captures none;
    ``name``: the workload's; ``bootstrap``: whether there is an Envoy whose bootstrap can be replaced."""
    trust = context.settings.mesh.get("trustDomain") or context.value("global.trustDomain")
    mesh_id = context.value("global.meshID") or trust
    owner, place = context.workload, context.namespace
    path = f"kubernetes://apis/{owner.api_version}/namespaces/{place}/{owner.kind.lower()}s/{owner.name}"
    optional = (
        (mode, "ISTIO_META_INTERCEPTION_MODE", mode),
        (name, "ISTIO_META_WORKLOAD_NAME", name),
        (owner.api_version and owner.name, "ISTIO_META_OWNER", path),
        (
            bootstrap and BOOTSTRAP in context.annotations,
            "ISTIO_BOOTSTRAP_OVERRIDE",
            "/etc/istio/custom-bootstrap/custom_bootstrap.json",
        ),
        (mesh_id, "ISTIO_META_MESH_ID", mesh_id),
        (trust, "TRUST_DOMAIN", trust),
    )
    return [
        variable("ISTIO_META_CLUSTER_ID", context.cluster),
        field("ISTIO_META_NODE_NAME", "spec.nodeName"),
        *(variable(name, value) for wanted, name, value in optional if wanted),
    ]


def metadata_variables(context: Context) -> list[Json]:
    return [variable(name, value) for name, value in context.metadata_variables.items()]


def readiness_probe(context: Context, port: int = 15021, *, own: bool = True) -> Json:
    """Whether the proxy has its configuration; ``own``: the pod's annotations say how often it is asked."""
    prefix = "readiness.status.sidecar.istio.io/"

    def number(name: str, path: str) -> int:
        setting = f"global.proxy.{path}"
        return int(context.annotation(prefix + name, setting) if own else context.value(setting))

    delay = number("initialDelaySeconds", "readinessInitialDelaySeconds")
    return {
        "httpGet": {"path": "/healthz/ready", "port": port},
        **({"initialDelaySeconds": delay} if delay else {}),
        "periodSeconds": number("periodSeconds", "readinessPeriodSeconds"),
        "timeoutSeconds": 3,
        "failureThreshold": number("failureThreshold", "readinessFailureThreshold"),
    }


def startup_probe(context: Context) -> Json:
    return {
        "httpGet": {"path": "/healthz/ready", "port": 15021},
        "periodSeconds": 1,
        "timeoutSeconds": 3,
        "failureThreshold": int(context.value("global.proxy.startupProbe.failureThreshold", 600)),
    }


def resources(context: Context) -> Json:
    """Requests and limits: the pod's annotations if it has any of them, else the installation's."""
    given = {
        part: {name: str(context.annotations[key]) for name, key in names.items() if key in context.annotations}
        for part, names in _RESOURCE_NAMES.items()
    }
    if any(given.values()):
        return {part: values for part, values in given.items() if values}
    found = context.value("global.proxy.resources", {})
    return {part: {k: v for k, v in values.items() if v is not None} for part, values in found.items() if values}


def pull_policy(context: Context) -> Json:
    policy = context.value("global.imagePullPolicy")
    return {"imagePullPolicy": policy} if policy else {}


def log_arguments(context: Context, *, outliers: bool = False) -> list[str]:
    """How much proxy and agent log; ``outliers``: what Envoy ejects, too."""
    arguments = [
        f"--proxyLogLevel={context.annotation('sidecar.istio.io/logLevel', 'global.proxy.logLevel')}",
        "--proxyComponentLogLevel="
        + context.annotation("sidecar.istio.io/componentLogLevel", "global.proxy.componentLogLevel"),
        f"--log_output_level={agent_log_level(context)}",
    ]
    if context.value("global.sts.servicePort"):
        arguments.append(f"--stsPort={context.value('global.sts.servicePort')}")
    if context.value("global.logAsJson"):
        arguments.append("--log_as_json")
    if outliers and context.value("global.proxy.outlierLogPath"):
        arguments.append(f"--outlierLogPath={context.value('global.proxy.outlierLogPath')}")
    return arguments


def agent_log_level(context: Context) -> str:
    return context.annotation("sidecar.istio.io/agentLogLevel", "global.logging.level")


def domain_arguments(context: Context, role: str) -> list[str]:
    return ["proxy", role, "--domain", f"$(POD_NAMESPACE).svc.{context.value('global.proxy.clusterDomain')}"]


def mount(name: str, path: str, **others: Any) -> Json:
    return {"name": name, "mountPath": path, **others}


class Shape(msgspec.Struct, frozen=True):
    """What of volumes and mounts a template has."""

    data: str = "istio-envoy"
    """The volume of the socket between agent and proxy."""
    envoy: bool = True
    """Whether there is an Envoy, with a credential socket and a bootstrap."""
    crl: bool = True
    users: bool = True
    """Whether the pod's annotations add volumes and mounts."""
    empty: bool = False
    """Whether empty folders that a later template can give another source are said to be such."""


def certificate_mount(context: Context) -> Json:
    """Where a workload's certificate is."""
    path = "/var/run/secrets/workload-spiffe-credentials"
    if context.value("global.caName") == "GkeWorkloadCertificate":
        return mount("gke-workload-certificate", path, readOnly=True)
    return mount("workload-certs", path)


def shared_mounts(context: Context, shape: Shape) -> list[Json]:
    """Where the proxy finds sockets, certificates, tokens and what it writes."""
    istiod = context.value("global.pilotCertProvider") == "istiod"
    wanted = (
        (True, mount("workload-socket", "/var/run/secrets/workload-spiffe-uds")),
        (shape.envoy, mount("credential-socket", "/var/run/secrets/credential-uds")),
        (True, certificate_mount(context)),
        (istiod, mount("istiod-ca-cert", "/var/run/secrets/istio")),
        (shape.crl and istiod, mount("istio-ca-crl", "/var/run/secrets/istio/crl")),
        (True, mount("istio-data", "/var/lib/istio/data")),
        (
            shape.envoy and BOOTSTRAP in context.annotations,
            mount("custom-bootstrap-volume", "/etc/istio/custom-bootstrap"),
        ),
        (True, mount(shape.data, "/etc/istio/proxy")),
        (True, mount("istio-token", "/var/run/secrets/tokens")),
        (context.value("global.mountMtlsCerts"), mount("istio-certs", "/etc/certs/", readOnly=True)),
        (True, mount("istio-podinfo", "/etc/istio/pod")),
    )
    return [*(each for yes, each in wanted if yes), *(_user(context, annotations.USER_MOUNT) if shape.users else ())]


def shared_volumes(context: Context, shape: Shape) -> list[Json]:
    """The volumes behind ``shared_mounts``. A volume without a source is an empty folder, which a later template can
    give a source."""
    istiod = context.value("global.pilotCertProvider") == "istiod"
    gke = context.value("global.caName") == "GkeWorkloadCertificate"
    folder: Json = {"emptyDir": {}} if shape.empty else {}
    override = context.annotations.get(BOOTSTRAP)
    secret = str(context.spec.get("serviceAccountName") or "default")
    crl_map = context.value("pilot.crlConfigMapName") or "istio-ca-crl"
    wanted = (
        (True, {"name": "workload-socket"}),
        (shape.envoy, {"name": "credential-socket", **folder}),
        (
            gke,
            {"name": "gke-workload-certificate", "csi": {"driver": "workloadcertificates.security.cloud.google.com"}},
        ),
        (not gke, {"name": "workload-certs", **folder}),
        (BOOTSTRAP in context.annotations, {"name": "custom-bootstrap-volume", "configMap": {"name": override}}),
        (True, {"name": shape.data, "emptyDir": {"medium": "Memory"}}),
        (True, {"name": "istio-data", "emptyDir": {}}),
        (True, {"name": "istio-podinfo", "downwardAPI": {"items": [_info("labels"), _info("annotations")]}}),
        (True, {"name": "istio-token", "projected": {"sources": [_token(context)]}}),
        (istiod, {"name": "istiod-ca-cert", **_roots(context)}),
        (shape.crl, {"name": "istio-ca-crl", "configMap": {"name": crl_map, "optional": True}}),
        (
            context.value("global.mountMtlsCerts"),
            {"name": "istio-certs", "secret": {"optional": True, "secretName": f"istio.{secret}"}},
        ),
    )
    return [*(each for yes, each in wanted if yes), *(_user(context, annotations.USER_VOLUME) if shape.users else ())]


def _roots(context: Context) -> Json:
    """Where the roots of trust come from: a ConfigMap of the namespace, or a ClusterTrustBundle."""
    name = context.value("global.trustBundleName")
    if annotations.is_true(context.value("pilot.env.ENABLE_CLUSTER_TRUST_BUNDLE_API", False)):
        bundle = {"name": f"istio.io:istiod-ca:{name or 'root-cert'}", "path": "root-cert.pem"}
        return {"projected": {"sources": [{"clusterTrustBundle": bundle}]}}
    return {"configMap": {"name": name or "istio-ca-root-cert"}}


def _info(name: str) -> Json:
    return {"path": name, "fieldRef": {"fieldPath": f"metadata.{name}"}}


def _token(context: Context) -> Json:
    audience = context.value("global.sds.token.aud")
    return {"serviceAccountToken": {"audience": audience, "expirationSeconds": TOKEN_SECONDS, "path": "istio-token"}}


def _user(context: Context, name: str) -> list[Json]:
    text = context.annotations.get(name)
    return annotations.named_entries(str(text)) if text else []


def pull_secrets(context: Context) -> Json:
    found = context.value("global.imagePullSecrets", [])
    return {"imagePullSecrets": [{"name": each} for each in found]} if found else {}


def canonical_labels(context: Context) -> Json:
    return {
        "service.istio.io/canonical-name": context.canonical_name,
        "service.istio.io/canonical-revision": context.canonical_revision,
    }


def default_container(context: Context) -> Json:
    """Which container kubectl means unless told otherwise: the application's first."""
    names = ("kubectl.kubernetes.io/default-logs-container", "kubectl.kubernetes.io/default-container")
    if not context.applications:
        return {}
    return {n: context.applications[0].get("name") for n in names if n not in context.annotations}
