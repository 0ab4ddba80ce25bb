"""Every field of the core kinds (k8s.io/api of Kubernetes 1.35), as deep as they are told apart here.

The structs of :mod:`tidegate.api.core` have only what tidegate reads; these trees say what there is at all, so that a
misspelt field is found. A leaf (None) may hold anything. Lists count as their items.
"""

from collections.abc import Mapping
from typing import Any, TypeAlias

from tidegate.kit.errors import FieldError

Tree: TypeAlias = Mapping[str, "Tree | None"]

_SHOWN = 120


def _leaves(names: str) -> dict[str, Tree | None]:
    return dict.fromkeys(names.split())


_OWNER = _leaves("apiVersion kind name uid controller blockOwnerDeletion")
METADATA: Tree = _leaves(
    "name generateName namespace selfLink uid resourceVersion generation creationTimestamp deletionTimestamp "
    "deletionGracePeriodSeconds labels annotations finalizers managedFields"
) | {"ownerReferences": _OWNER}

_REFERENCE = _leaves("kind namespace name uid apiVersion resourceVersion fieldPath")
_CONTAINER = _leaves(
    "name image command args workingDir envFrom env resources resizePolicy restartPolicy restartPolicyRules "
    "volumeMounts volumeDevices livenessProbe readinessProbe startupProbe lifecycle terminationMessagePath "
    "terminationMessagePolicy imagePullPolicy securityContext stdin stdinOnce tty"
) | {"ports": _leaves("name hostPort containerPort protocol hostIP")}
_POD = _leaves(
    "volumes restartPolicy terminationGracePeriodSeconds activeDeadlineSeconds dnsPolicy nodeSelector "
    "serviceAccountName serviceAccount automountServiceAccountToken nodeName hostNetwork hostPID hostIPC "
    "shareProcessNamespace securityContext imagePullSecrets hostname subdomain affinity schedulerName tolerations "
    "hostAliases priorityClassName priority dnsConfig readinessGates runtimeClassName enableServiceLinks "
    "preemptionPolicy overhead topologySpreadConstraints setHostnameAsFQDN os hostUsers schedulingGates "
    "resourceClaims resources hostnameOverride workloadRef ephemeralContainers"
) | {"containers": _CONTAINER, "initContainers": _CONTAINER}
_SERVICE = _leaves(
    "selector clusterIP clusterIPs type externalIPs sessionAffinity loadBalancerIP loadBalancerSourceRanges "
    "externalName externalTrafficPolicy healthCheckNodePort publishNotReadyAddresses ipFamilies ipFamilyPolicy "
    "allocateLoadBalancerNodePorts loadBalancerClass internalTrafficPolicy trafficDistribution"
) | {
    "ports": _leaves("name protocol appProtocol port targetPort nodePort"),
    "sessionAffinityConfig": {"clientIP": _leaves("timeoutSeconds")},
}
_PORT = _leaves("name protocol port appProtocol")
_ADDRESS = _leaves("ip hostname nodeName") | {"targetRef": _REFERENCE}
_SUBSET: Tree = {"addresses": _ADDRESS, "notReadyAddresses": _ADDRESS, "ports": _PORT}
_ENDPOINT = _leaves("addresses hostname nodeName zone deprecatedTopology hints") | {
    "conditions": _leaves("ready serving terminating"),
    "targetRef": _REFERENCE,
}
_EVENT = _leaves(
    "reason message firstTimestamp lastTimestamp count type eventTime action reportingComponent reportingInstance"
) | {
    "involvedObject": _REFERENCE,
    "related": _REFERENCE,
    "source": _leaves("component host"),
    "series": _leaves("count lastObservedTime"),
}
_SELECTOR: Tree = {"matchLabels": None, "matchExpressions": _leaves("key operator values")}
_TEMPLATE: Tree = {"metadata": METADATA, "spec": _POD}
_REPLICA_SET: Tree = _leaves("replicas minReadySeconds") | {"selector": _SELECTOR, "template": _TEMPLATE}
_DEPLOYMENT: Tree = {
    **_REPLICA_SET,
    **_leaves("revisionHistoryLimit progressDeadlineSeconds paused"),
    "strategy": {"type": None, "rollingUpdate": _leaves("maxUnavailable maxSurge")},
}
_LEASE = _leaves("holderIdentity leaseDurationSeconds acquireTime renewTime leaseTransitions strategy preferredHolder")
_BACKEND: Tree = {"resource": None, "service": {"name": None, "port": _leaves("name number")}}
_INGRESS: Tree = {
    "ingressClassName": None,
    "defaultBackend": _BACKEND,
    "tls": _leaves("hosts secretName"),
    "rules": {"host": None, "http": {"paths": {**_leaves("path pathType"), "backend": _BACKEND}}},
}

_KINDS: dict[str, Tree] = {
    "ConfigMap": _leaves("data binaryData immutable"),
    "Deployment": {"spec": _DEPLOYMENT, "status": None},
    "Endpoints": {"subsets": _SUBSET},
    "EndpointSlice": _leaves("addressType") | {"endpoints": _ENDPOINT, "ports": _PORT},
    "Event": _EVENT,
    "Ingress": {"spec": _INGRESS, "status": None},
    "Lease": {"spec": _LEASE},
    "Namespace": {"spec": _leaves("finalizers"), "status": None},
    "Pod": {"spec": _POD, "status": None},
    "ReplicaSet": {"spec": _REPLICA_SET, "status": None},
    "Secret": _leaves("data stringData type immutable"),
    "Service": {"spec": _SERVICE, "status": None},
    "ServiceAccount": _leaves("automountServiceAccountToken")
    | {"secrets": _REFERENCE, "imagePullSecrets": _leaves("name")},
}


def unknown_fields(kind: str, raw: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The object without the fields that its kind does not have, and their paths. Kinds not listed have any."""
    tree = _KINDS.get(kind)
    if tree is None:
        return raw, []
    unknown: list[str] = []
    whole = {"apiVersion": None, "kind": None, "metadata": None, **tree}
    return _known(raw, whole, "", unknown), unknown


def unknown_metadata(meta: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Metadata without the fields that it does not have, and their paths."""
    unknown: list[str] = []
    known: dict[str, Any] = _known(meta, METADATA, "metadata", unknown)
    return known, unknown


def errors(paths: list[str]) -> list[FieldError]:
    """What unknown fields are under field validation Strict."""
    return [FieldError(path, f'strict decoding error: unknown field "{path}"', None, "BadRequest") for path in paths]


def _known(value: Any, tree: Tree, at: str, unknown: list[str]) -> Any:
    if isinstance(value, list):
        return [_known(item, tree, f"{at}[{index}]", unknown) for index, item in enumerate(value)]
    if not isinstance(value, dict):
        return value
    kept = {}
    for name, item in value.items():
        path = f"{at}.{str(name)[:_SHOWN]}" if at else str(name)[:_SHOWN]
        below = tree.get(name)
        if name not in tree:
            unknown.append(path)
        else:
            kept[name] = item if below is None else _known(item, below, path, unknown)
    return kept
