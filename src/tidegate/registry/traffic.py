"""Settings that Services and ServiceEntries share through annotations."""

from collections.abc import Mapping

EXPORT_TO = "networking.istio.io/exportTo"
TRAFFIC_DISTRIBUTION = "networking.istio.io/traffic-distribution"
_DISTRIBUTIONS = {word.lower(): word for word in ("PreferClose", "PreferSameZone", "PreferSameNode")}


def distribution(spec: str, own: Mapping[str, str], namespace: Mapping[str, str]) -> str:
    """The traffic distribution that holds: the spec's, else the object's annotation, else its namespace's."""
    for value in (spec, own.get(TRAFFIC_DISTRIBUTION, ""), namespace.get(TRAFFIC_DISTRIBUTION, "")):
        if known := _DISTRIBUTIONS.get(value.lower()):
            return known
    return ""


def export_to(annotations: Mapping[str, str]) -> frozenset[str] | None:
    """The visibility that a Service's annotation sets; None when it has none."""
    names = frozenset(part.strip() for part in annotations.get(EXPORT_TO, "").split(",")) - {""}
    return names or None
