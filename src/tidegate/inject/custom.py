"""Templates of the installation's own."""

from typing import Any

import yaml

from tidegate.inject.context import Context
from tidegate.inject.gofunctions import Fields, Message
from tidegate.inject.gotemplate import Template, TemplateError
from tidegate.inject.settings import Json


def render(text: str, name: str, context: Context) -> Json:
    """A template of the installation for one pod. Raises TemplateError."""
    made = Template(text, f"template {name}").render(data_of(context))
    try:
        found = yaml.load(made, Loader=yaml.CSafeLoader)
    except yaml.YAMLError as error:
        raise TemplateError(f"template {name}: what it makes is not YAML: {error}") from error
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise TemplateError(f"template {name}: expected a pod's metadata and spec as a YAML mapping")
    return found


def data_of(context: Context) -> Json:
    """What a template sees, named as Istio documents it."""
    owner, (user, group) = context.workload, context.identity
    meta: Json = dict(context.pod.get("metadata") or {})
    found: dict[str, Any] = {
        "TypeMeta": {"APIVersion": owner.api_version, "Kind": owner.kind},
        "DeploymentMeta": {"Name": owner.name, "Namespace": owner.namespace},
        "ObjectMeta": meta | {"labels": context.labels, "annotations": context.annotations},
        "Spec": context.spec,
        "ProxyConfig": Message({"interceptionMode": "REDIRECT", **context.proxy_config}, context.proxy_config_json),
        "MeshConfig": context.settings.mesh,
        "Values": context.settings.values,
        "Revision": context.settings.revision,
        "ProxyImage": context.image(),
        "ProxyInitImage": context.image("global.proxy_init.image"),
        "ProxyUID": user,
        "ProxyGID": group,
        "InboundTrafficPolicyMode": (
            (context.settings.mesh.get("inboundTrafficPolicy") or {}).get("mode") or "PASSTHROUGH"
        ).lower(),
        "CompliancePolicy": context.settings.compliance_policy,
        "NativeSidecars": context.settings.native,
    }
    return Fields(found)
