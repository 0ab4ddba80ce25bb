"""The resources of whatever was given: a configuration dump, a list of resources by kind, a bootstrap.

Read as far as it goes: what is not understood is named, never refused.
"""

import contextlib
import gc
import re
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from tidegate.dump.config.keys import camel_name, field
from tidegate.dump.config.parts import Unknown

Raw = dict[str, Any]
_KINDS = ("listeners", "routes", "clusters", "endpoints", "extensions")
_PLAIN = {
    "listeners": ("listeners", "lds"),
    "routes": ("routes", "rds"),
    "clusters": ("clusters", "cds"),
    "endpoints": ("endpoints", "eds"),
    "extensions": ("ecds",),
}
_DUMPS: dict[str, dict[str, tuple[str, str]]] = {
    "ListenersConfigDump": {
        "dynamicListeners": ("listeners", "listener"),
        "dynamicActiveListeners": ("listeners", "listener"),
        "staticListeners": ("listeners", "listener"),
    },
    "ClustersConfigDump": {
        "dynamicActiveClusters": ("clusters", "cluster"),
        "staticClusters": ("clusters", "cluster"),
        "dynamicWarmingClusters": ("warming", "cluster"),
    },
    "RoutesConfigDump": {
        "dynamicRouteConfigs": ("routes", "routeConfig"),
        "staticRouteConfigs": ("routes", "routeConfig"),
    },
    "EndpointsConfigDump": {
        "dynamicEndpointConfigs": ("endpoints", "endpointConfig"),
        "staticEndpointConfigs": ("endpoints", "endpointConfig"),
    },
    "EcdsConfigDump": {"ecdsFilters": ("extensions", "ecdsFilter")},
}
_SECRETS, _BOOTSTRAP = "SecretsConfigDump", "BootstrapConfigDump"
_ELSEWHERE = frozenset({"ScopedRoutesConfigDump"})
"""Sections that hold nothing a connection meets: scoped routes are named where a listener asks for them."""


class Sections:
    """Raw resources by kind, in the order that they came, and what could not be read."""

    def __init__(self) -> None:
        self.by_kind: dict[str, list[Raw]] = {kind: [] for kind in _KINDS}
        self.present: set[str] = set()
        """Kinds that the input has a place for, resources or not: without it their absence says nothing."""
        self.unknown: list[Unknown] = []
        self.awaited_secrets: set[str] = set()
        """Names of secrets that were asked for and have not come."""
        self.local_cluster = ""
        """The cluster of this Envoy's own peers, by its bootstrap."""
        self.cut = False
        """The input breaks off."""

    def add(self, kind: str, found: Any, where: str) -> None:
        if isinstance(found, dict):
            self.by_kind[kind].append(found)
        else:
            self.unknown.append(Unknown(where, f"an object is expected, not {type(found).__name__}"))

    def extend(self, kind: str, listed: Any, where: str) -> None:
        self.present.add(kind)
        if not isinstance(listed, list):
            self.unknown.append(Unknown(where, "a list is expected"))
            return
        for number, each in enumerate(listed):
            self.add(kind, each, f"{where}[{number}]")


def sections(data: bytes | str | Raw) -> Sections:
    """Take apart an Envoy configuration dump, lists of resources (listeners, routes, clusters, endpoints or lds, rds,
    cds, eds) or a bootstrap. Text cut short is read up to the cut."""
    found = Sections()
    whole = data if isinstance(data, dict) else _decoded(data, found)
    try:
        _take_apart(whole, found)
    except RecursionError:
        found.unknown.append(Unknown("input", "nested too deeply to be read"))
    return found


def _take_apart(whole: Raw, found: Sections) -> None:
    configs = whole.get("configs")
    if isinstance(configs, list):
        for number, part in enumerate(configs):
            _section(part, f"configs[{number}]", found)
        if found.cut and configs:
            found.present -= _kinds_of(configs[-1]) - {"listeners"}  # the rest of these is missing
    for kind, names in _PLAIN.items():
        for name in names:
            if whole.get(name) is not None:
                found.extend(kind, whole[name], name)
    found.local_cluster = found.local_cluster or _local_cluster(whole)
    static = field(whole, "staticResources")
    if isinstance(static, dict):
        for kind in ("listeners", "clusters"):
            found.extend(kind, static.get(kind) or [], f"staticResources.{kind}")
    if not found.present and not isinstance(configs, list):
        found.unknown.append(Unknown("input", "neither a configuration dump nor lists of resources"))


def _kinds_of(part: Any) -> set[str]:
    name = str(part.get("@type", "")).rpartition(".")[2] if isinstance(part, dict) else ""
    return {kind for kind, _ in _DUMPS.get(name, {}).values()}


def _section(part: Any, where: str, found: Sections) -> None:
    if not isinstance(part, dict):
        found.unknown.append(Unknown(where, "an object is expected"))
        return
    name = str(part.get("@type", "")).rpartition(".")[2]
    if name == _SECRETS:
        waiting = (each for each in _listed(field(part, "dynamicWarmingSecrets")) if isinstance(each, dict))
        found.awaited_secrets.update(str(each["name"]) for each in waiting if each.get("name"))
        return
    if name == _BOOTSTRAP:
        found.local_cluster = _local_cluster(field(part, "bootstrap"))
        return
    if name not in _DUMPS:
        if name not in _ELSEWHERE:
            found.unknown.append(Unknown(where, f"a section of an unknown type {part.get('@type', '')!r}"))
        return
    for key in part:
        if camel_name(str(key)) not in (*_DUMPS[name], "@type", "versionInfo"):
            found.unknown.append(Unknown(where, f"the field {str(key)[:80]} of {name} is not known here"))
    for entries, (kind, inner) in _DUMPS[name].items():
        found.present.add("clusters" if kind == "warming" else kind)
        for number, entry in enumerate(_listed(field(part, entries))):
            _entry(entry, (kind, inner), f"{where}.{entries}[{number}]", found)


def _local_cluster(bootstrap: Any) -> str:
    manager = field(bootstrap, "clusterManager") if isinstance(bootstrap, dict) else None
    name = field(manager, "localClusterName") if isinstance(manager, dict) else None
    return name if isinstance(name, str) else ""


def _entry(entry: Any, role: tuple[str, str], where: str, found: Sections) -> None:
    kind, inner = role
    if not isinstance(entry, dict):
        found.unknown.append(Unknown(where, "an object is expected"))
        return
    active = field(entry, "activeState")
    if active is None and (field(entry, "warmingState") or field(entry, "errorState")):
        found.unknown.append(Unknown(where, f"{entry.get('name', inner)} is not active: it warms or was refused"))
        return
    resource = field(active if isinstance(active, dict) else entry, inner)
    if kind == "warming":
        name = resource.get("name") if isinstance(resource, dict) else ""
        found.unknown.append(Unknown(where, f"cluster {name} still warms: no traffic uses it"))
    elif resource is not None:
        found.add(kind, resource, where)


def _listed(found: Any) -> Iterable[Any]:
    return found if isinstance(found, list) else ()


@contextlib.contextmanager
def _collector_paused() -> Iterator[None]:
    """Millions of new objects and no garbage among them: the cycle collector would cost three times the decoding."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


def _decoded(data: bytes | str, found: Sections) -> Raw:
    text = data.encode() if isinstance(data, str) else data
    try:
        with _collector_paused():
            whole = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        why = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        found.unknown.append(Unknown("input", f"not whole JSON ({why}): read up to where it breaks off"))
        whole, found.cut = _salvaged(text), True
    if isinstance(whole, dict):
        return whole
    found.unknown.append(Unknown("input", "a JSON object is expected"))
    return {}


_SYNTAX = re.compile(rb'"(?:[^"\\]|\\.)*"|[{}\[\],"]', re.DOTALL)
_BRACKETS = frozenset({b"{", b"}", b"[", b"]", b","})
_MOST_NESTED = 400
_CONFIG_DUMP = re.compile(rb'\s*\{\s*"configs"')
_OF_ONE_RESOURCE = 4
"""Brackets around each resource of a configuration dump: half a resource would be taken for a whole one."""


def _salvaged(text: bytes) -> Any:
    """The value of JSON text that was cut: up to the last complete element, the brackets still open closed."""
    cut, closing, stack = 0, b"", list[bytes]()
    deepest = _OF_ONE_RESOURCE if _CONFIG_DUMP.match(text) else _MOST_NESTED
    for token in _SYNTAX.finditer(text):
        mark = token[0]
        if mark in (b"{", b"["):
            stack.append(b"}" if mark == b"{" else b"]")
            if len(stack) > _MOST_NESTED:
                break
        elif mark in (b"}", b"]"):
            if not stack or stack.pop() != mark:
                break
        elif mark == b'"':  # a string that never ends
            break
        if mark in _BRACKETS and len(stack) <= deepest:
            cut = token.start() if mark == b"," else token.end()
            closing = b"".join(reversed(stack))
    try:
        return msgspec.json.decode(text[:cut] + closing)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return {}
