"""What the shipped templates share: volumes, environment, probes, security contexts, resources."""

import json
from typing import Any

from tidegate.inject import annotations
from tidegate.inject.context import Context
from tidegate.inject.settings import Json

_RESOURCE_NAMES = {
    "requests": {"cpu": "sidecar.istio.io/proxyCPU", "memory": "sidecar.istio.io/proxyMemory"},
    "limits": {"cpu": "sidecar.istio.io/proxyCPULimit", "memory": "sidecar.istio.io/proxyMemoryLimit"},
}
_PORT_FIELDS = ("name", "hostPort", "containerPort", "protocol", "hostIP")
TOKEN_SECONDS = 43200


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


def mesh_variables(context: Context, *, intercepts: bool = True) -> list[Json]:
    """Where the workload is in the mesh."""
    trust = context.settings.mesh.get("trustDomain") or context.value("global.trustDomain")
    mesh_id = context.value("global.meshID") or trust
    owner, place = context.workload, context.namespace
    path = f"kubernetes://apis/{owner.api_version}/namespaces/{place}/{owner.kind.lower()}s/{owner.name}"
    optional = (
        (intercepts, "ISTIO_META_INTERCEPTION_MODE", context.mode),
        (context.workload_name, "ISTIO_META_WORKLOAD_NAME", context.workload_name),
        (owner.api_version and owner.name, "ISTIO_META_OWNER", path),
        (
            "sidecar.istio.io/bootstrapOverride" in context.annotations,
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


def readiness_probe(context: Context, port: int = 15021) -> Json:
    """Whether the proxy has its configuration."""
    prefix = "readiness.status.sidecar.istio.io/"

    def number(name: str, path: str) -> int:
        return int(context.annotation(prefix + name, f"global.proxy.{path}"))

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


def log_arguments(context: Context) -> list[str]:
    """How much proxy and agent log."""
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
    if context.value("global.proxy.outlierLogPath"):
        arguments.append(f"--outlierLogPath={context.value('global.proxy.outlierLogPath')}")
    return arguments


def agent_log_level(context: Context) -> str:
    return context.annotation("sidecar.istio.io/agentLogLevel", "global.logging.level")


def domain_arguments(context: Context, role: str) -> list[str]:
    return ["proxy", role, "--domain", f"$(POD_NAMESPACE).svc.{context.value('global.proxy.clusterDomain')}"]


def mount(name: str, path: str, **others: Any) -> Json:
    return {"name": name, "mountPath": path, **others}


def shared_mounts(context: Context, *, data: str = "istio-envoy", sockets: bool = True, crl: bool = True) -> list[Json]:
    """Where the proxy finds sockets, certificates, tokens and what it writes."""
    istiod = context.value("global.pilotCertProvider") == "istiod"
    gke = context.value("global.caName") == "GkeWorkloadCertificate"
    certificates = "/var/run/secrets/workload-spiffe-credentials"
    bootstrap = "sidecar.istio.io/bootstrapOverride" in context.annotations
    wanted = (
        (True, mount("workload-socket", "/var/run/secrets/workload-spiffe-uds")),
        (sockets, mount("credential-socket", "/var/run/secrets/credential-uds")),
        (gke, mount("gke-workload-certificate", certificates, readOnly=True)),
        (not gke, mount("workload-certs", certificates)),
        (istiod, mount("istiod-ca-cert", "/var/run/secrets/istio")),
        (crl and istiod, mount("istio-ca-crl", "/var/run/secrets/istio/crl")),
        (True, mount("istio-data", "/var/lib/istio/data")),
        (bootstrap, mount("custom-bootstrap-volume", "/etc/istio/custom-bootstrap")),
        (True, mount(data, "/etc/istio/proxy")),
        (True, mount("istio-token", "/var/run/secrets/tokens")),
        (context.value("global.mountMtlsCerts"), mount("istio-certs", "/etc/certs/", readOnly=True)),
        (True, mount("istio-podinfo", "/etc/istio/pod")),
    )
    return [*(each for yes, each in wanted if yes), *_user(context, annotations.USER_MOUNT)]


def shared_volumes(
    context: Context, *, data: str = "istio-envoy", sockets: bool = True, crl: bool = True, empty: bool = False
) -> list[Json]:
    """The volumes behind ``shared_mounts``. A volume without a source is an empty folder, which a later template can
    give a source; ``empty`` says so of those that no template replaces."""
    istiod = context.value("global.pilotCertProvider") == "istiod"
    gke = context.value("global.caName") == "GkeWorkloadCertificate"
    folder: Json = {"emptyDir": {}} if empty else {}
    override = context.annotations.get("sidecar.istio.io/bootstrapOverride")
    secret = str(context.spec.get("serviceAccountName") or "default")
    crl_map = context.value("pilot.crlConfigMapName") or "istio-ca-crl"
    wanted = (
        (True, {"name": "workload-socket"}),
        (sockets, {"name": "credential-socket", **folder}),
        (
            gke,
            {"name": "gke-workload-certificate", "csi": {"driver": "workloadcertificates.security.cloud.google.com"}},
        ),
        (not gke, {"name": "workload-certs", **folder}),
        (override, {"name": "custom-bootstrap-volume", "configMap": {"name": override}}),
        (True, {"name": data, "emptyDir": {"medium": "Memory"}}),
        (True, {"name": "istio-data", "emptyDir": {}}),
        (True, {"name": "istio-podinfo", "downwardAPI": {"items": [_info("labels"), _info("annotations")]}}),
        (True, {"name": "istio-token", "projected": {"sources": [_token(context)]}}),
        (istiod, {"name": "istiod-ca-cert", **_roots(context)}),
        (crl, {"name": "istio-ca-crl", "configMap": {"name": crl_map, "optional": True}}),
        (
            context.value("global.mountMtlsCerts"),
            {"name": "istio-certs", "secret": {"optional": True, "secretName": f"istio.{secret}"}},
        ),
    )
    return [*(each for yes, each in wanted if yes), *_user(context, annotations.USER_VOLUME)]


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
