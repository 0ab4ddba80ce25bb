"""What OpenTelemetry's conventions call a workload, told to its proxy where a provider of spans wants it so.

https://opentelemetry.io/docs/specs/semconv/non-normative/k8s-attributes/
"""

from typing import Any

from tidegate.inject.settings import Json

_GIVEN = "resource.opentelemetry.io/"
"""Prefix of the annotations that give an attribute in a pod's own words."""


def resource_attributes(mesh: Any, given: Any, labels: Any, namespace: str, containers: Any) -> str:
    """The value of OTEL_RESOURCE_ATTRIBUTES; "" where no provider of the mesh asks for it."""
    providers = (mesh or {}).get("extensionProviders") or ()
    kinds = [(each.get("opentelemetry") or {}).get("serviceAttributeEnrichment") for each in providers]
    if "OTEL_SEMANTIC_CONVENTIONS" not in kinds:
        return ""
    given, labels, containers = given or {}, labels or {}, containers or []
    found = {
        "service.namespace": namespace,
        "service.version": labels.get("app.kubernetes.io/version") or _version(containers),
        "service.instance.id": f"{namespace}.$(POD_NAME).{containers[0].get('name')}" if containers else "",
    }
    found = {name: given.get(_GIVEN + name) or value for name, value in found.items()}
    return ",".join(f"{name}={value}" for name, value in found.items() if value)


def _version(containers: list[Json]) -> str:
    """Tag and digest of the only container's image."""
    if len(containers) != 1:
        return ""
    name, _, digest = str(containers[0].get("image") or "").partition("@")
    tag = name.rpartition("/")[2].partition(":")[2]
    return "@".join(filter(None, (tag, digest)))
