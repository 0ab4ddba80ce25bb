"""The MutatingWebhookConfiguration that has a cluster's pods sent to the webhook."""

import base64

from tidegate.inject.annotations import INJECT, REVISION
from tidegate.inject.decide import NEVER
from tidegate.inject.settings import DEFAULT_REVISION, Json

NAMESPACE_LABEL = "istio-injection"
PATH = "/inject"


def _rule(key: str, operator: str, *values: str) -> Json:
    return {"key": key, "operator": operator, **({"values": list(values)} if values else {})}


_NOT_REFUSED = _rule(INJECT, "NotIn", "false")


def _selectors(revision: str) -> dict[str, tuple[list[Json], list[Json]]]:
    """Namespace and object selectors of each webhook: no pod is sent to two of them.

    The namespace's ``istio-injection`` wins over its ``istio.io/rev``, and the namespace's choice over the pod's.
    """
    default = revision == DEFAULT_REVISION
    unlabelled = [_rule(NAMESPACE_LABEL, "DoesNotExist"), _rule(REVISION, "DoesNotExist")]
    found = {
        "rev.namespace": (
            [_rule(REVISION, "In", revision), _rule(NAMESPACE_LABEL, "DoesNotExist")],
            [_NOT_REFUSED],
        ),
        "rev.object": (unlabelled, [_NOT_REFUSED, _rule(REVISION, "In", revision)]),
    }
    if default:
        found["namespace"] = ([_rule(NAMESPACE_LABEL, "In", "enabled")], [_NOT_REFUSED])
        found["object"] = (unlabelled, [_rule(INJECT, "In", "true"), _rule(REVISION, "DoesNotExist")])
    return found


def configuration(
    revision: str, ca: bytes, *, url: str = "", service: str = "", namespace: str = "istio-system", every: bool = False
) -> Json:
    """The manifest. ``url`` is where the webhook is, outside the cluster; else it is ``service`` in ``namespace``.
    ``every`` takes in namespaces that say nothing."""
    client: Json = {"caBundle": base64.b64encode(ca).decode()}
    if url:
        client["url"] = url.rstrip("/") + PATH
    else:
        client["service"] = {"name": service, "namespace": namespace, "path": PATH, "port": 443}
    chosen = _selectors(revision)
    if every and revision == DEFAULT_REVISION:
        rules = [_rule(key, "DoesNotExist") for key in (NAMESPACE_LABEL, REVISION)]
        chosen["auto"] = (
            [*rules, _rule("kubernetes.io/metadata.name", "NotIn", *NEVER)],
            [_rule(INJECT, "DoesNotExist"), _rule(REVISION, "DoesNotExist")],
        )
    suffix = "" if revision == DEFAULT_REVISION else f"-{revision}"
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {
            "name": f"istio-sidecar-injector{suffix}",
            "labels": {"app": "sidecar-injector", REVISION: revision},
        },
        "webhooks": [_webhook(name, client, *selectors) for name, selectors in chosen.items()],
    }


def _webhook(name: str, client: Json, namespaces: list[Json], objects: list[Json]) -> Json:
    return {
        "name": f"{name}.sidecar-injector.istio.io",
        "clientConfig": client,
        "sideEffects": "None",
        "rules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}],
        "failurePolicy": "Fail",
        "reinvocationPolicy": "Never",
        "admissionReviewVersions": ["v1"],
        "timeoutSeconds": 10,
        "namespaceSelector": {"matchExpressions": namespaces},
        "objectSelector": {"matchExpressions": objects},
    }
