"""The template ``sidecar``: capture of the pod's traffic, and the proxy beside the application."""

import json
from pathlib import PurePosixPath
from typing import Any

from tidegate.inject import annotations, parts
from tidegate.inject.context import PROXY, PROXY_ID, Context
from tidegate.inject.networks import with_network
from tidegate.inject.otel import resource_attributes
from tidegate.inject.settings import Json, at

INIT, VALIDATION = "istio-init", "istio-validation"


def sidecar(context: Context) -> Json:
    """What a pod gets that is to have a sidecar."""
    proxy, capture = _proxy(context), context.mode != "NONE"
    init = [_init(context)] if capture else []
    spec: Json = {
        "initContainers": [*init, proxy] if context.native else init,
        **({} if context.native else {"containers": [proxy]}),
        "volumes": [*parts.shared_volumes(context, parts.Shape()), *_lightstep(context, volume=True)],
        **parts.pull_secrets(context),
    }
    return {"metadata": {"labels": _labels(context), "annotations": _annotations(context)}, "spec": spec}


def _labels(context: Context) -> Json:
    labels = {"security.istio.io/tlsMode": context.labels.get("security.istio.io/tlsMode") or "istio"}
    if context.metadata_variables.get("ISTIO_META_ENABLE_HBONE") == "true":
        labels["networking.istio.io/tunnel"] = context.labels.get("networking.istio.io/tunnel") or "http"
    return labels | parts.canonical_labels(context)


def _annotations(context: Context) -> Json:
    given = {annotations.REVISION: context.settings.revision, **parts.default_container(context)}
    return given | (_for_cni(context) if context.cni else {})


def _for_cni(context: Context) -> Json:
    """What the network plugin reads in place of the init container's arguments."""
    prefix, said = annotations.TRAFFIC, _said(context)
    found: Json = {annotations.MODE: context.mode}
    always = ("includeInboundPorts", "excludeInboundPorts")
    as_given = ("includeOutboundPorts", "excludeOutboundPorts")
    for name, value in said.items():
        if value or name in always or (name in as_given and prefix + name in context.annotations):
            found[prefix + name] = value
    for name in (prefix + "kubevirtInterfaces", prefix + "excludeInterfaces", annotations.VIRTUAL_INTERFACES):
        if context.annotations.get(name):
            found[name] = context.annotations[name]
    if context.value("pilot.cni.provider") == "multus":
        name = "k8s.v1.cni.cncf.io/networks"
        found[name] = with_network(str(context.annotations.get(name) or ""), "default/istio-cni")
    return found


def _said(context: Context) -> dict[str, str]:
    """What of the pod's traffic is captured, by the names of the annotations."""

    def one(name: str, setting: str) -> str:
        return context.annotation(annotations.TRAFFIC + name, f"global.proxy.{setting}")

    excluded = one("excludeInboundPorts", "excludeInboundPorts")
    return {
        "includeOutboundIPRanges": one("includeOutboundIPRanges", "includeIPRanges"),
        "excludeOutboundIPRanges": one("excludeOutboundIPRanges", "excludeIPRanges"),
        "includeInboundPorts": one("includeInboundPorts", "includeInboundPorts"),
        "excludeInboundPorts": annotations.exclude_port(context.status_port, excluded),
        "includeOutboundPorts": one("includeOutboundPorts", "includeOutboundPorts"),
        "excludeOutboundPorts": one("excludeOutboundPorts", "excludeOutboundPorts"),
    }


def capture_arguments(context: Context) -> list[str]:
    """The arguments of ``istio-iptables``, which ``tidegate iptables`` takes too."""
    said, mesh = _said(context), context.settings.mesh
    never = ["15090", "15021", *([said["excludeInboundPorts"]] if said["excludeInboundPorts"] else [])]
    arguments = [
        "-p",
        str(mesh.get("proxyListenPort") or 15001),
        "-z",
        str(mesh.get("proxyInboundListenPort") or 15006),
    ]
    arguments += ["-u", str(context.exempt_user), "-m", context.mode]
    arguments += ["-i", said["includeOutboundIPRanges"], "-x", said["excludeOutboundIPRanges"]]
    arguments += ["-b", said["includeInboundPorts"], "-d", ",".join(never)]
    return [*arguments, *_further(context, said)]


def _further(context: Context, said: dict[str, str]) -> list[str]:
    given, prefix = context.annotations, annotations.TRAFFIC
    interfaces = given.get(annotations.VIRTUAL_INTERFACES, given.get(prefix + "kubevirtInterfaces"))
    optional = (
        (prefix + "includeOutboundPorts" in given or said["includeOutboundPorts"], "-q", said["includeOutboundPorts"]),
        (prefix + "excludeOutboundPorts" in given or said["excludeOutboundPorts"], "-o", said["excludeOutboundPorts"]),
        (interfaces is not None, "-k", str(interfaces)),
        (prefix + "excludeInterfaces" in given, "-c", str(given.get(prefix + "excludeInterfaces"))),
    )
    return [word for wanted, flag, value in optional if wanted for word in (flag, value)]


def _init(context: Context) -> Json:
    """Applies the packet rules; with a network plugin it only checks that they are there."""
    arguments = ["istio-iptables", *capture_arguments(context)]
    arguments.append(f"--log_output_level={parts.agent_log_level(context)}")
    switches = (
        (context.value("global.logAsJson"), ("--log_as_json",)),
        (context.cni, ("--run-validation", "--skip-rule-apply")),
        (not context.cni and context.value("global.proxy_init.forceApplyIptables"), ("--force-apply",)),
        (context.value("global.nativeNftables"), ("--native-nftables",)),
    )
    variables = parts.metadata_variables(context)
    return {
        "name": VALIDATION if context.cni else INIT,
        "image": context.image("global.proxy_init.image"),
        "args": [*arguments, *(word for wanted, words in switches if wanted for word in words)],
        **parts.pull_policy(context),
        **({"env": variables} if variables else {}),
        "resources": parts.resources(context),
        "securityContext": _init_security(context),
    }


def _init_security(context: Context) -> Json:
    user, group = context.identity
    cni, privileged = context.cni, bool(context.value("global.proxy.privileged"))
    return {
        "allowPrivilegeEscalation": privileged,
        "privileged": privileged,
        "capabilities": {**({} if cni else {"add": ["NET_ADMIN", "NET_RAW"]}), "drop": ["ALL"]},
        "readOnlyRootFilesystem": cni,
        "runAsGroup": group if cni else 0,
        "runAsNonRoot": cni,
        "runAsUser": user if cni else 0,
        **_seccomp(context),
    }


def _seccomp(context: Context) -> Json:
    profile = context.value("global.proxy.seccompProfile")
    return {"seccompProfile": profile} if profile else {}


def _proxy(context: Context) -> Json:
    return {
        "name": PROXY,
        "image": context.image(),
        **({"restartPolicy": "Always"} if context.native else {}),
        "ports": [{"containerPort": 15090, "protocol": "TCP", "name": "http-envoy-prom"}],
        "args": [*parts.domain_arguments(context, "sidecar"), *parts.log_arguments(context, outliers=True)],
        **_lifecycle(context),
        "env": _environment(context),
        **parts.pull_policy(context),
        **_probes(context),
        "securityContext": _security(context),
        "resources": parts.resources(context),
        "volumeMounts": [*parts.shared_mounts(context, parts.Shape()), *_lightstep(context, volume=False)],
    }


def _lifecycle(context: Context) -> Json:
    """The application waits for a classic sidecar that it is to wait for; a native one drains before it ends."""
    if given := context.value("global.proxy.lifecycle"):
        return {"lifecycle": given}
    if context.native:
        drain = ["pilot-agent", "request", f"--debug-port={context.status_port}", "POST", "drain"]
        return {"lifecycle": {"preStop": {"exec": {"command": drain}}}}
    if context.holds_application:
        return {"lifecycle": {"postStart": {"exec": {"command": ["pilot-agent", "wait"]}}}}
    return {}


def _environment(context: Context) -> list[Json]:
    configuration, ports, applications = parts.pod_variables(context)
    return [
        *parts.localhost_variables(context),
        *parts.identity_variables(context),
        parts.limit("ISTIO_CPU_LIMIT", "limits.cpu"),
        configuration,
        ports,
        applications,
        parts.limit("GOMEMLIMIT", "limits.memory"),
        *parts.compliance_variables(context),
        *parts.mesh_variables(context, mode=context.mode, name=context.workload_name),
        *_datadog(context),
        *_resource_attributes(context),
        *parts.metadata_variables(context),
    ]


def _resource_attributes(context: Context) -> list[Json]:
    """In a manifest that names no namespace it is known only where the pod runs."""
    mesh, own = context.settings.mesh, context.workload.namespace or "$(POD_NAMESPACE)"
    containers = context.spec.get("containers")
    said = resource_attributes(mesh, context.annotations, context.labels, own, containers)
    return [parts.variable("OTEL_RESOURCE_ATTRIBUTES", said)] if said else []


def _datadog(context: Context) -> list[Json]:
    text = context.annotations.get("apm.datadoghq.com/env")
    if context.value("global.proxy.tracer") != "datadog" or not text:
        return []
    try:
        found: Any = json.loads(text)
    except ValueError:
        return []
    return [parts.variable(name, value) for name, value in found.items()] if isinstance(found, dict) else []


def _lightstep(context: Context, *, volume: bool) -> list[Json]:
    """The roots that Lightstep's collector is known by."""
    found = at(context.proxy_config, "tracing.tlsSettings")
    if context.value("global.proxy.tracer") != "lightstep" or not found:
        return []
    if volume:
        return [{"name": "lightstep-certs", "secret": {"optional": True, "secretName": "lightstep.cacert"}}]
    folder = str(PurePosixPath(found.get("caCertificates") or "/").parent)
    return [parts.mount("lightstep-certs", f"{folder.rstrip('/')}/", readOnly=True)]


def _probes(context: Context) -> Json:
    if context.status_port == "0":
        return {}
    startup = context.value("global.proxy.startupProbe.enabled")
    return {
        **({"startupProbe": parts.startup_probe(context)} if startup else {}),
        "readinessProbe": parts.readiness_probe(context),
    }


def _security(context: Context) -> Json:
    user, group = context.identity
    traces = context.metadata_variables.get("IPTABLES_TRACE_LOGGING") == "true"
    extra = ["NET_ADMIN"] if traces else context.capabilities
    privileged = traces or bool(context.value("global.proxy.privileged"))
    root = traces or bool(extra)
    return {
        "allowPrivilegeEscalation": privileged,
        "capabilities": {**({"add": extra} if extra else {}), "drop": ["ALL"]},
        "privileged": privileged,
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": not root,
        "runAsUser": 0 if root else user,
        "runAsGroup": group if traces or not root else PROXY_ID,
        **_seccomp(context),
    }
