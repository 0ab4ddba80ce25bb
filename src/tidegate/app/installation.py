"""What a cluster needs to run the control plane: kinds, rights, the Deployment and what calls it."""

from collections import defaultdict
from collections.abc import Iterable

import msgspec

from tidegate.api.kinds import KINDS
from tidegate.api.schema import crd_manifests
from tidegate.app import clusterfacts
from tidegate.app.discovery.statuses import WRITTEN
from tidegate.inject import webhookconfig
from tidegate.inject.context import PROXY_ID
from tidegate.inject.settings import Json
from tidegate.snapshot.world import WATCHED

NAME = "istiod"
"""What injected pods call the control plane, in the namespace ``istio-system``."""
CERTIFICATE = "istiod-tls"
"""The Secret of type kubernetes.io/tls that discovery and webhook serve with."""
KUBECONFIG, MESH = "istiod-kubeconfig", "istio"
DISCOVERY_PORT, WEBHOOK_PORT = 15012, 15017
_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
_LABELS = {"app": NAME}


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be installed."""

    image: str
    namespace: str = "istio-system"
    mesh: str = "{}\n"
    """The MeshConfig, as YAML."""
    roots: bytes = b""
    """Root certificates, PEM, that the API server trusts the webhook by; without them no webhook is registered."""
    definitions: bool = True
    """Define Istio's kinds; a cluster that has Istio's own needs none."""


def manifests(wanted: Wanted) -> list[Json]:
    """The objects, in the order in which they are to be applied."""
    return [
        *(crd_manifests() if wanted.definitions else []),
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": wanted.namespace}},
        _named(wanted, "v1", "ServiceAccount", NAME),
        role(wanted),
        _binding(wanted),
        {**_named(wanted, "v1", "ConfigMap", KUBECONFIG), "data": {"kubeconfig": _KUBECONFIG}},
        {**_named(wanted, "v1", "ConfigMap", MESH), "data": {"mesh": wanted.mesh}},
        _service(wanted),
        _deployment(wanted),
        *([_webhook(wanted)] if wanted.roots else []),
    ]


def role(wanted: Wanted) -> Json:
    """Reading what discovery follows, telling of Istio's objects what became of them, and asking whose a token is.

    https://kubernetes.io/docs/reference/access-authn-authz/rbac/
    """
    told = [kind for kind in WATCHED if kind in WRITTEN]
    rules = [
        *_rules(dict.fromkeys((*WATCHED, *clusterfacts.KINDS, clusterfacts.PROXY_CONFIG)), "", "list", "watch"),
        *_rules(told, "", "get"),
        *_rules(told, "/status", "update"),
        _rule("authentication.k8s.io", ["tokenreviews"], "create"),
    ]
    return {**_cluster_wide(wanted, "ClusterRole"), "rules": rules}


def _rules(kinds: Iterable[str], subresource: str, *verbs: str) -> list[Json]:
    plurals: dict[str, list[str]] = defaultdict(list)
    for kind in kinds:
        plurals[KINDS[kind].group].append(KINDS[kind].plural + subresource)
    return [_rule(group, sorted(found), *verbs) for group, found in sorted(plurals.items())]


def _rule(group: str, resources: list[str], *verbs: str) -> Json:
    return {"apiGroups": [group], "resources": resources, "verbs": list(verbs)}


def _cluster_wide(wanted: Wanted, kind: str) -> Json:
    name = f"{NAME}-{wanted.namespace}"
    return {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": {"name": name, "labels": _LABELS}}


def _binding(wanted: Wanted) -> Json:
    bound = _cluster_wide(wanted, "ClusterRoleBinding")
    to = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": bound["metadata"]["name"]}
    subject = {"kind": "ServiceAccount", "name": NAME, "namespace": wanted.namespace}
    return {**bound, "roleRef": to, "subjects": [subject]}


def _named(wanted: Wanted, version: str, kind: str, name: str) -> Json:
    meta = {"name": name, "namespace": wanted.namespace, "labels": _LABELS}
    return {"apiVersion": version, "kind": kind, "metadata": meta}


_KUBECONFIG = f"""\
apiVersion: v1
kind: Config
clusters:
- name: here
  cluster:
    server: https://kubernetes.default.svc
    certificate-authority: {_ACCOUNT}/ca.crt
users:
- name: own
  user:
    tokenFile: {_ACCOUNT}/token
contexts:
- name: here
  context: {{cluster: here, user: own}}
current-context: here
"""


def _service(wanted: Wanted) -> Json:
    ports = [
        {"name": "grpc-xds-tls", "port": DISCOVERY_PORT, "targetPort": DISCOVERY_PORT, "appProtocol": "tls"},
        {"name": "https-webhook", "port": 443, "targetPort": WEBHOOK_PORT, "appProtocol": "tls"},
    ]
    return {**_named(wanted, "v1", "Service", NAME), "spec": {"selector": _LABELS, "ports": ports}}


def _webhook(wanted: Wanted) -> Json:
    return webhookconfig.configuration("default", wanted.roots, service=NAME, namespace=wanted.namespace)


def _deployment(wanted: Wanted) -> Json:
    # The control plane needs no sidecar, and must not wait for its own webhook to start.
    labels = {**_LABELS, "sidecar.istio.io/inject": "false"}
    template = {"metadata": {"labels": labels}, "spec": _pod(wanted)}
    spec = {"replicas": 1, "selector": {"matchLabels": _LABELS}, "template": template}
    return {**_named(wanted, "apps/v1", "Deployment", NAME), "spec": spec}


def _pod(wanted: Wanted) -> Json:
    return {
        "serviceAccountName": NAME,
        "securityContext": {"runAsNonRoot": True, "runAsUser": PROXY_ID, "runAsGroup": PROXY_ID, "fsGroup": PROXY_ID},
        "containers": [_discovery(wanted), _injector(wanted)],
        "volumes": [
            {"name": "run", "emptyDir": {}},
            {"name": "kubeconfig", "configMap": {"name": KUBECONFIG}},
            {"name": "mesh", "configMap": {"name": MESH}},
            {"name": "tls", "secret": {"secretName": CERTIFICATE}},
        ],
    }


def _discovery(wanted: Wanted) -> Json:
    arguments = ["discovery", "--kubeconfig=/etc/tidegate/kubeconfig", f"--tls-address=0.0.0.0:{DISCOVERY_PORT}"]
    mounts = {"run": "/run/tidegate", "kubeconfig": "/etc/tidegate"}
    ready = {"tcpSocket": {"port": DISCOVERY_PORT}, "periodSeconds": 2}  # it listens once it has read the store
    return _container(wanted, "discovery", arguments, DISCOVERY_PORT, ready, mounts)


def _injector(wanted: Wanted) -> Json:
    arguments = ["webhook", "--mesh-config=/etc/istio/config/mesh", "--kubeconfig=/etc/tidegate/kubeconfig"]
    arguments.append(f"--port={WEBHOOK_PORT}")
    ready = {"httpGet": {"path": "/ready", "port": WEBHOOK_PORT, "scheme": "HTTPS"}, "periodSeconds": 2}
    mounts = {"mesh": "/etc/istio/config", "kubeconfig": "/etc/tidegate"}
    return _container(wanted, "webhook", arguments, WEBHOOK_PORT, ready, mounts)


def _container(wanted: Wanted, name: str, arguments: list[str], port: int, ready: Json, mounts: dict[str, str]) -> Json:
    pair = ["--tls-cert=/etc/tidegate-tls/tls.crt", "--tls-key=/etc/tidegate-tls/tls.key"]
    return {
        "name": name,
        "image": wanted.image,
        "command": ["tidegate"],
        "args": [*arguments, *pair],
        "ports": [{"containerPort": port}],
        "readinessProbe": ready,
        "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "volumeMounts": [
            {"name": "tls", "mountPath": "/etc/tidegate-tls", "readOnly": True},
            *({"name": volume, "mountPath": path} for volume, path in mounts.items()),
        ],
    }
