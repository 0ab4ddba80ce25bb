"""Reading an Envoy configuration dump, whoever made it.

Envoy's admin port writes snake_case names, tools that re-encode the messages write lowerCamelCase: both are read, and
kept in lowerCamelCase. What is inside metadata and typed structs is data, not field names, and stays as it is.
"""

from functools import lru_cache
from typing import Any

import msgspec

from tidegate.dump.model import Cluster, Listener, LoadAssignment, RouteConfiguration
from tidegate.kit.errors import TidegateError

_ADMIN = "type.googleapis.com/envoy.admin.v3."
LISTENERS, CLUSTERS, ROUTES = _ADMIN + "ListenersConfigDump", _ADMIN + "ClustersConfigDump", _ADMIN + "RoutesConfigDump"
ENDPOINTS, BOOTSTRAP = _ADMIN + "EndpointsConfigDump", _ADMIN + "BootstrapConfigDump"

_OPAQUE = frozenset({"filterMetadata", "labels", "fixedValue"})
"""Fields whose value is free-form: map keys are kept, what is below is not touched."""


class DumpError(TidegateError):
    """The text is not a configuration dump, or lacks the section that was asked for."""


@lru_cache(maxsize=4096)
def _camel(name: str) -> str:
    if "_" not in name or "." in name or name.startswith("@") or not name.islower():
        return name
    head, *rest = name.split("_")
    return head + "".join(part[:1].upper() + part[1:] for part in rest)


def camel(value: Any) -> Any:
    """A copy of decoded JSON with field names in lowerCamelCase."""
    if isinstance(value, dict):
        if str(value.get("@type", "")).endswith(".TypedStruct"):
            return {_camel(key): item for key, item in value.items()}
        out = {}
        for key, item in value.items():
            name = _camel(key)
            out[name] = item if name in _OPAQUE else camel(item)
        return out
    if isinstance(value, list):
        return [camel(item) for item in value]
    return value


class Dump:
    """A configuration dump by sections. Each accessor raises DumpError where the section is missing."""

    def __init__(self, sections: dict[str, list[dict[str, Any]]]) -> None:
        self._sections = sections

    def section(self, type_url: str) -> list[dict[str, Any]]:
        found = self._sections.get(type_url)
        if found is None:
            raise DumpError(f"config dump has no configuration type {type_url}")
        return found

    def raw_listeners(self) -> list[dict[str, Any]]:
        """Dynamic listeners first, as Envoy runs them; a listener that only warms or failed has no active state."""
        out = []
        for part in self.section(LISTENERS):
            out += [d["activeState"]["listener"] for d in part.get("dynamicListeners", ()) if _has_active(d)]
            out += [s["listener"] for s in part.get("staticListeners", ()) if "listener" in s]
        return out

    def raw_clusters(self) -> list[dict[str, Any]]:
        out = []
        for part in self.section(CLUSTERS):
            entries = (*part.get("dynamicActiveClusters", ()), *part.get("staticClusters", ()))
            out += [entry["cluster"] for entry in entries if "cluster" in entry]
        return out

    def raw_routes(self) -> list[dict[str, Any]]:
        out = []
        for part in self.section(ROUTES):
            entries = (*part.get("dynamicRouteConfigs", ()), *part.get("staticRouteConfigs", ()))
            out += [entry["routeConfig"] for entry in entries if "routeConfig" in entry]
        return out

    def raw_endpoints(self) -> list[dict[str, Any]]:
        """Load assignments; empty where the dump was taken without include_eds."""
        out = []
        for part in self._sections.get(ENDPOINTS, []):
            entries = (*part.get("staticEndpointConfigs", ()), *part.get("dynamicEndpointConfigs", ()))
            out += [entry["endpointConfig"] for entry in entries if "endpointConfig" in entry]
        return out

    def listeners(self) -> list[Listener]:
        return [_typed(Listener, raw) for raw in self.raw_listeners()]

    def clusters(self) -> list[Cluster]:
        return [_typed(Cluster, raw) for raw in self.raw_clusters()]

    def routes(self) -> list[RouteConfiguration]:
        return [_typed(RouteConfiguration, raw) for raw in self.raw_routes()]

    def endpoints(self) -> list[LoadAssignment]:
        return [_typed(LoadAssignment, raw) for raw in self.raw_endpoints()]


def _has_active(entry: dict[str, Any]) -> bool:
    return "listener" in entry.get("activeState", ())


def _typed(kind: type[Any], raw: dict[str, Any]) -> Any:
    try:
        return msgspec.convert(raw, kind, strict=False)
    except msgspec.ValidationError as error:
        name = raw.get("name") or raw.get("clusterName") or "?"
        raise DumpError(f"{kind.__name__} {name!r} of the dump cannot be read: {error}") from None


def parse(text: bytes) -> Dump:
    """Read a dump. Raises DumpError when the text is no JSON object with ``configs``."""
    try:
        whole = camel(msgspec.json.decode(text))
    except (msgspec.DecodeError, RecursionError) as error:
        raise DumpError(f"not a configuration dump: {error}") from None
    configs = whole.get("configs") if isinstance(whole, dict) else None
    if not isinstance(configs, list):
        raise DumpError('not a configuration dump: a JSON object with "configs" is expected')
    sections: dict[str, list[dict[str, Any]]] = {}
    for part in configs:
        if isinstance(part, dict):
            sections.setdefault(str(part.get("@type", "")), []).append(part)
    return Dump(sections)
