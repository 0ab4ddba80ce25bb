"""Reading an Envoy configuration dump, whoever made it.

Envoy's admin port writes snake_case names, tools that re-encode the messages write lowerCamelCase: both are read, and
kept in lowerCamelCase. What is inside metadata and typed structs is data, not field names, and stays as it is.
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, TypeVar

import msgspec

from tidegate.dump.model import (
    Bootstrap,
    Cluster,
    Ecds,
    Listener,
    LoadAssignment,
    RouteConfiguration,
    Secrets,
)
from tidegate.kit.errors import TidegateError

_ADMIN = "type.googleapis.com/envoy.admin.v3."
LISTENERS, CLUSTERS, ROUTES = _ADMIN + "ListenersConfigDump", _ADMIN + "ClustersConfigDump", _ADMIN + "RoutesConfigDump"
ENDPOINTS, BOOTSTRAP = _ADMIN + "EndpointsConfigDump", _ADMIN + "BootstrapConfigDump"
SECRETS, ECDS = _ADMIN + "SecretsConfigDump", _ADMIN + "EcdsConfigDump"

_OPAQUE = frozenset({"filterMetadata", "labels", "fixedValue", "staticLayer", "keyValues"})
"""Fields whose value is free-form: map keys are kept, what is below is not touched."""
_WITH_STRUCT = frozenset({"node", "userAgentBuildVersion"})
"""Messages whose ``metadata`` is free-form; that of others is a message of its own."""


T = TypeVar("T")


class DumpError(TidegateError):
    """The text is not a configuration dump, or lacks the section that was asked for."""


class MissingSection(DumpError):
    """The dump has no section of the kind that was asked for."""


@lru_cache(maxsize=4096)
def _camel(name: str) -> str:
    if "_" not in name or "." in name or name.startswith("@") or not name.islower():
        return name
    head, *rest = name.split("_")
    return head + "".join(part[:1].upper() + part[1:] for part in rest)


def camel(value: Any, parent: str = "") -> Any:
    """A copy of decoded JSON with field names in lowerCamelCase; ``parent`` is the field that the value is of."""
    if isinstance(value, dict):
        if str(value.get("@type", "")).endswith(".TypedStruct"):
            return {_camel(key): item for key, item in value.items()}
        out = {}
        for key, item in value.items():
            name = _camel(key)
            opaque = name in _OPAQUE or (name == "metadata" and parent in _WITH_STRUCT)
            out[name] = item if opaque else camel(item, name)
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
            raise MissingSection(f"config dump has no configuration type {type_url}")
        return found

    def raw_listeners(self) -> list[dict[str, Any]]:
        """Dynamic listeners first, as Envoy runs them."""
        entries = (entry for part in self.section(LISTENERS) for entry in _items(part, "staticListeners"))
        static = [entry["listener"] for entry in entries if "listener" in entry]
        return [*self.raw_dynamic_listeners(), *_dicts(static, "listener")]

    def raw_dynamic_listeners(self) -> list[dict[str, Any]]:
        """Those that a control plane told; one that only warms or failed has no active state."""
        found = (each for part in self.section(LISTENERS) for each in _items(part, "dynamicListeners"))
        active = _dicts((each["activeState"] for each in found if each.get("activeState") is not None), "activeState")
        return _dicts((each["listener"] for each in active if "listener" in each), "listener")

    def raw_clusters(self) -> list[dict[str, Any]]:
        out = []
        for part in self.section(CLUSTERS):
            entries = _items(part, "dynamicActiveClusters", "staticClusters")
            out += [entry["cluster"] for entry in entries if "cluster" in entry]
        return _dicts(out, "cluster")

    def raw_routes(self) -> list[dict[str, Any]]:
        out = []
        for part in self.section(ROUTES):
            entries = _items(part, "dynamicRouteConfigs", "staticRouteConfigs")
            out += [entry["routeConfig"] for entry in entries if "routeConfig" in entry]
        return _dicts(out, "routeConfig")

    def raw_endpoints(self) -> list[dict[str, Any]]:
        """Load assignments; empty where the dump was taken without include_eds."""
        out = []
        for part in self._sections.get(ENDPOINTS, []):
            entries = _items(part, "staticEndpointConfigs", "dynamicEndpointConfigs")
            out += [entry["endpointConfig"] for entry in entries if "endpointConfig" in entry]
        return _dicts(out, "endpointConfig")

    def merged(self, type_url: str) -> dict[str, Any]:
        """A section as one message; where a dump holds it in several parts, their lists are joined."""
        whole: dict[str, Any] = {}
        for part in self.section(type_url):
            for key, value in part.items():
                joined = isinstance(value, list) and isinstance(whole.get(key), list)
                whole[key] = [*whole[key], *value] if joined else value
        return {key: value for key, value in whole.items() if key != "@type"}

    def bootstrap(self) -> Bootstrap:
        return _typed(Bootstrap, self.merged(BOOTSTRAP).get("bootstrap") or {})

    def secrets(self) -> Secrets:
        return _typed(Secrets, self.merged(SECRETS))

    def ecds(self) -> Ecds:
        return _typed(Ecds, self.merged(ECDS))

    def listeners(self) -> list[Listener]:
        return [_typed(Listener, raw) for raw in self.raw_listeners()]

    def clusters(self) -> list[Cluster]:
        return [_typed(Cluster, raw) for raw in self.raw_clusters()]

    def routes(self) -> list[RouteConfiguration]:
        return [_typed(RouteConfiguration, raw) for raw in self.raw_routes()]

    def endpoints(self) -> list[LoadAssignment]:
        return [_typed(LoadAssignment, raw) for raw in self.raw_endpoints()]


def _items(part: dict[str, Any], *names: str) -> list[dict[str, Any]]:
    """The entries of some lists of a section, one list after the other."""
    found: list[dict[str, Any]] = []
    for name in names:
        listed = part.get(name) or []
        if not isinstance(listed, list):
            raise DumpError(f"{name} of the dump cannot be read: a list is expected")
        found += _dicts(listed, name)
    return found


def _dicts(found: Iterable[Any], name: str) -> list[dict[str, Any]]:
    listed = list(found)
    if not all(isinstance(each, dict) for each in listed):
        raise DumpError(f"{name} of the dump cannot be read: objects are expected")
    return listed


def _typed(kind: type[T], raw: dict[str, Any]) -> T:
    try:
        return msgspec.convert(raw, kind, strict=False)
    except msgspec.ValidationError as error:
        name = raw.get("name") or raw.get("clusterName") or "?" if isinstance(raw, dict) else "?"
        raise DumpError(f"{kind.__name__} {name!r} of the dump cannot be read: {error}") from None


def decode(text: bytes) -> dict[str, Any]:
    """A dump as it came. Raises DumpError when the text is no JSON object with ``configs``."""
    try:
        whole = msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise DumpError(f"not a configuration dump: {error}") from None
    except RecursionError:
        raise DumpError("not a configuration dump: its JSON is nested too deeply") from None
    if not isinstance(whole, dict) or not isinstance(whole.get("configs"), list):
        raise DumpError('not a configuration dump: a JSON object with "configs" is expected')
    return whole


def parse(text: bytes) -> Dump:
    """Read a dump. Raises DumpError as ``decode`` does."""
    try:
        configs = camel(decode(text)["configs"])
    except RecursionError:
        raise DumpError("not a configuration dump: its JSON is nested too deeply") from None
    sections: dict[str, list[dict[str, Any]]] = {}
    for part in configs:
        if isinstance(part, dict):
            sections.setdefault(str(part.get("@type", "")), []).append(part)
    return Dump(sections)
