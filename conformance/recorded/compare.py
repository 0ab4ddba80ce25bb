"""Compares generated resources with expected ones written as protobuf JSON.

Both sides become parsed messages and then trees in which ``Any`` is opened, so that text, key order and byte order
never matter. What only Istio's own build of Envoy understands is taken out of the expected side; lists whose order
means nothing are compared as sets.
"""

import importlib
import json
import pkgutil
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from google.protobuf import json_format, symbol_database

from tidegate.envoy import protos as protos  # registers the messages that builders write

PROXY_ONLY = frozenset({"istio.metadata_exchange", "istio.alpn", "istio.stats", "istio.workload_discovery"})
"""Names of filters that upstream Envoy has not."""

UNORDERED = frozenset({"lb_endpoints", "filter_chains", "query_parameters", "headers", "custom_tags"})
ABSENT = "(absent)"
_TYPE = re.compile(r'"type\.googleapis\.com/([\w.]+)"')


@dataclass(frozen=True)
class Difference:
    """One place where a resource is not as expected."""

    name: str
    path: str
    expected: Any
    actual: Any

    def __str__(self) -> str:
        return f"{self.name}: {self.path}: expected {_short(self.expected)}, got {_short(self.actual)}"


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return text if len(text) < 300 else text[:300] + "…"


def compare_resources(
    expected: Iterable[dict[str, Any]], actual: Mapping[str, bytes], type_url: str
) -> list[Difference]:
    """Every difference between ``expected`` (protobuf JSON) and ``actual`` (name to bytes) of one resource type."""
    message = symbol_database.Default().GetSymbol(type_url.rpartition("/")[2])
    wanted = {name_of(each): normalized(each, message) for each in expected}
    given = {name: _tree(message.FromString(body)) for name, body in actual.items()}
    found = [Difference(name, "", "present", ABSENT) for name in sorted(wanted.keys() - given.keys())]
    found += [Difference(name, "", ABSENT, "present") for name in sorted(given.keys() - wanted.keys())]
    for name in sorted(wanted.keys() & given.keys()):
        found += _diff(name, "", wanted[name], given[name])
    return found


def name_of(resource: dict[str, Any]) -> str:
    return str(resource.get("name") or resource.get("clusterName") or "")


def normalized(resource: dict[str, Any], message: Any) -> Any:
    """The tree of an expected resource without what only Istio's proxy understands."""
    resource = _upstream(resource)
    for full_name in set(_TYPE.findall(json.dumps(resource))):
        _register(full_name.rpartition(".")[0])
    return _tree(json_format.ParseDict(resource, message()))


@cache
def _register(package: str) -> None:
    """Import the modules of a protobuf package, so that its messages can be parsed within Any."""
    try:
        folder = importlib.import_module(package)
    except ModuleNotFoundError:
        return
    for module in pkgutil.iter_modules(folder.__path__):
        if module.name.endswith("_pb2"):
            importlib.import_module(f"{package}.{module.name}")


def _upstream(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: v for k, v in ((k, _upstream(v)) for k, v in value.items()) if not (k == "filters" and v == [])}
    if isinstance(value, list):
        return [_upstream(v) for v in value if not (isinstance(v, dict) and v.get("name") in PROXY_ONLY)]
    return value


def _tree(message: Any) -> Any:
    return json_format.MessageToDict(message, preserving_proto_field_name=True)


def _diff(name: str, path: str, expected: Any, actual: Any) -> list[Difference]:
    if isinstance(expected, dict) and isinstance(actual, dict):
        found = []
        for key in sorted(expected.keys() | actual.keys()):
            place = f"{path}.{key}" if path else key
            found += _diff(name, place, expected.get(key, ABSENT), actual.get(key, ABSENT))
        return found
    if isinstance(expected, list) and isinstance(actual, list):
        return _diff_lists(name, path, expected, actual)
    return [] if expected == actual else [Difference(name, path, expected, actual)]


def _diff_lists(name: str, path: str, expected: list[Any], actual: list[Any]) -> list[Difference]:
    if path.rpartition(".")[2] in UNORDERED:
        return _diff_sets(name, path, expected, actual)
    found = []
    for index in range(max(len(expected), len(actual))):
        sides = [side[index] if index < len(side) else ABSENT for side in (expected, actual)]
        found += _diff(name, f"{path}[{index}]", *sides)
    return found


def _diff_sets(name: str, path: str, expected: list[Any], actual: list[Any]) -> list[Difference]:
    """Members are paired by what identifies them, so that a difference within one is shown as such."""
    sides: list[dict[str, Any]] = []
    for side in (expected, actual):
        keyed: dict[str, Any] = {}
        for member in sorted(side, key=_text):
            key = base = _identity(member)
            count = 1
            while key in keyed:
                count += 1
                key = f"{base}#{count}"
            keyed[key] = member
        sides.append(keyed)
    found = []
    for key in sorted(sides[0].keys() | sides[1].keys()):
        found += _diff(name, f"{path}[{key}]", sides[0].get(key, ABSENT), sides[1].get(key, ABSENT))
    return found


def _identity(member: Any) -> str:
    if isinstance(member, dict):
        if "filters" in member:  # a filter chain; without a match it takes everything
            return _text(member.get("filter_chain_match", {}))
        for key in ("endpoint", "tag"):
            if key in member:
                return _text(member[key])
    return _text(member)


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
