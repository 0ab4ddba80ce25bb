"""The template ``gateway``: a pod whose only purpose is to be a proxy at the edge."""

from tidegate.inject import annotations, parts
from tidegate.inject.context import PROXY, Context
from tidegate.inject.settings import Json

_SHAPE = parts.Shape(crl=False, users=False, empty=True)


def gateway(context: Context) -> Json:
    """What a gateway's pod gets: the proxy as a router, nothing captured."""
    labels = parts.canonical_labels(context)
    given = {annotations.REVISION: context.settings.revision, **parts.default_container(context)}
    spec = {
        "securityContext": context.value("gateways.securityContext") or _low_ports(),
        "containers": [_router(context)],
        "volumes": parts.shared_volumes(context, _SHAPE),
        **parts.pull_secrets(context),
    }
    return {"metadata": {"labels": labels, "annotations": given}, "spec": spec}


def _low_ports() -> Json:
    """Any user may listen on port 80, in this pod."""
    return {"sysctls": [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}]}


def _router(context: Context) -> Json:
    user, group = context.identity
    lifecycle = context.value("global.proxy.lifecycle")
    return {
        "name": PROXY,
        "image": context.image(),
        "ports": [{"containerPort": 15090, "protocol": "TCP", "name": "http-envoy-prom"}],
        "args": [*parts.domain_arguments(context, "router"), *parts.log_arguments(context)],
        **({"lifecycle": lifecycle} if lifecycle else {}),
        "securityContext": {"runAsUser": user, "runAsGroup": group},
        "env": _environment(context),
        **parts.pull_policy(context),
        "readinessProbe": parts.readiness_probe(context, own=False),
        "volumeMounts": parts.shared_mounts(context, _SHAPE),
    }


def _environment(context: Context) -> list[Json]:
    configuration, ports, applications = parts.pod_variables(context)
    mode = str(context.proxy_config.get("interceptionMode") or "REDIRECT")
    return [
        *parts.identity_variables(context),
        parts.limit("ISTIO_CPU_LIMIT", "limits.cpu"),
        configuration,
        ports,
        parts.limit("GOMEMLIMIT", "limits.memory"),
        *parts.compliance_variables(context),
        applications,
        *parts.mesh_variables(context, mode=mode, name=context.workload.name),
        *parts.metadata_variables(context),
    ]
