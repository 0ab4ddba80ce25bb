"""Pods and WorkloadEntries as workloads."""

import re
from collections.abc import Mapping
from typing import Any

from tidegate.api.core import Container, PodSpec, PodStatus
from tidegate.api.networking import WorkloadEntry
from tidegate.api.objects import Object, ObjectMeta
from tidegate.registry import topology
from tidegate.registry.model import Workload, labels_of

CANONICAL_NAME, CANONICAL_REVISION = "service.istio.io/canonical-name", "service.istio.io/canonical-revision"
WORKLOAD_NAME = "service.istio.io/workload-name"
TEMPLATES, PROXY_CONTAINER = "inject.istio.io/templates", "istio-proxy"
TLS_MODE = "security.istio.io/tlsMode"
HEALTH_CHECKED = "proxy.istio.io/health-checks-enabled"
_CRON_JOB = re.compile(r"(.+)-\d{8,10}")


def pod_workload(pod: Object[PodSpec], node_labels: Mapping[str, str]) -> Workload | None:
    """A Pod that has, or is about to get, a running container and an address; None for any other."""
    status = pod.status if isinstance(pod.status, PodStatus) else PodStatus()
    addresses = tuple(p.ip for p in status.pod_i_ps if p.ip) or ((status.pod_ip,) if status.pod_ip else ())
    if not addresses or status.phase not in ("Running", "Pending"):
        return None
    labels, spec = pod.meta.labels, pod.spec
    return Workload(
        ref=pod.ref,
        addresses=addresses,
        labels=labels_of(labels),
        service_account=spec.service_account_name or "default",
        node_name=spec.node_name,
        locality=topology.from_labels(labels) or topology.of_node(node_labels),
        network=labels.get(topology.NETWORK, ""),
        ports=_named_ports(spec.containers),
        ready=any(c.type == "Ready" and c.status == "True" for c in status.conditions),
        annotations=labels_of(pod.meta.annotations),
        created=pod.meta.creation_timestamp,
        hostname=spec.hostname or (pod.ref.name if spec.subdomain else ""),
        subdomain=spec.subdomain,
        workload_name=labels.get(WORKLOAD_NAME) or _owner(pod.meta) or pod.ref.name,
        gateway=_is_gateway(pod),
    )


def _is_gateway(pod: Object[PodSpec]) -> bool:
    """Whether Istio's injector makes, or has made, a gateway of the Pod: a sidecar has a program beside it."""
    asked = pod.meta.annotations.get(TEMPLATES, "").split(",")
    return "gateway" in asked or {each.name for each in pod.spec.containers} == {PROXY_CONTAINER}


def _named_ports(containers: tuple[Container, ...]) -> tuple[tuple[str, int], ...]:
    return tuple((p.name, p.container_port) for c in containers for p in c.ports if p.name)


def _owner(meta: ObjectMeta) -> str:
    """Name of what the user wrote: a Deployment rather than its ReplicaSet, a CronJob rather than its Job."""
    owner = next((o for o in meta.owner_references if o.controller), None)
    if owner is None:
        return ""
    template = meta.labels.get("pod-template-hash", "")
    if owner.kind == "ReplicaSet" and template and owner.name.endswith(f"-{template}"):
        return owner.name.removesuffix(f"-{template}")
    if owner.kind == "Job" and (timed := _CRON_JOB.fullmatch(owner.name)):
        return timed[1]
    return owner.name


def entry_workload(entry: Object[WorkloadEntry]) -> Workload | None:
    """A WorkloadEntry; metadata.labels win over spec.labels. None when it has neither an address nor a network."""
    spec = entry.spec
    if not spec.address and not spec.network:
        return None
    labels = {**spec.labels, **entry.meta.labels}
    return Workload(
        ref=entry.ref,
        addresses=(spec.address,) if spec.address else (),
        labels=labels_of(labels),
        service_account=spec.service_account,
        locality=spec.locality or topology.from_labels(labels),
        network=spec.network or labels.get(topology.NETWORK, ""),
        weight=spec.weight,
        ports=tuple(sorted(spec.ports.items())),
        ready=_healthy(entry),
        annotations=labels_of(entry.meta.annotations),
        created=entry.meta.creation_timestamp,
        workload_name=labels.get(WORKLOAD_NAME) or entry.ref.name,
    )


def _healthy(entry: Object[WorkloadEntry]) -> bool:
    """False only where health is checked and the Healthy condition does not say True."""
    if entry.meta.annotations.get(HEALTH_CHECKED) != "true":
        return True
    status: Any = entry.status if isinstance(entry.status, Mapping) else {}
    return any(c.get("type") == "Healthy" and c.get("status") == "True" for c in status.get("conditions") or ())


def tls_mode(labels: Mapping[str, str], service_account: str) -> str:
    """ "istio" when the endpoint takes mutual TLS: its label decides, else having an identity does."""
    return labels.get(TLS_MODE) or ("istio" if service_account else "disabled")


def canonical_name(labels: Mapping[str, str], workload_name: str) -> str:
    """The canonical service of a workload."""
    named = labels.get(CANONICAL_NAME) or labels.get("app.kubernetes.io/name") or labels.get("app")
    return named or workload_name


def canonical_revision(labels: Mapping[str, str]) -> str:
    """The canonical revision of a workload, "latest" when nothing says it."""
    named = labels.get(CANONICAL_REVISION) or labels.get("app.kubernetes.io/version") or labels.get("version")
    return named or "latest"
