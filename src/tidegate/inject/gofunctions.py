"""The functions of injection templates: Go's own, and those that Istio documents beside them."""

import json
import posixpath
import re
from collections.abc import Callable
from typing import Any

import yaml

from tidegate.inject.annotations import exclude_port
from tidegate.inject.networks import with_network
from tidegate.inject.otel import resource_attributes
from tidegate.inject.sprig import SPRIG


def is_set(value: Any) -> bool:
    """What Go's templates take for true."""
    return bool(value)


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        if isinstance(value, dict):
            value = value.get(key)
        elif isinstance(value, list) and isinstance(key, int) and 0 <= key < len(value):
            value = value[key]
        else:
            return None
    return value


def _and(*values: Any) -> Any:
    return next((each for each in values if not is_set(each)), values[-1])


def _or(*values: Any) -> Any:
    return next((each for each in values if is_set(each)), values[-1])


def _text(value: Any) -> str:
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _equal(first: Any, *others: Any) -> bool:
    return any(first == each or _text(first) == _text(each) for each in others)


def _annotation(meta: Any, name: str, default: Any) -> str:
    found = _index(meta, "annotations") or {}
    return str(found[name]) if name in found else _text(default)


def _yaml(value: Any) -> str:
    return str(yaml.dump(value, Dumper=yaml.CSafeDumper, default_flow_style=False, sort_keys=True)).rstrip("\n")


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def _indent(width: int, text: str) -> str:
    """The first line stays where it is: Istio's own, not Sprig's."""
    return f"\n{' ' * width}".join(text.split("\n"))


def _format(pattern: str, *values: Any) -> str:
    rest = iter(values)

    def shown(match: re.Match[str]) -> str:
        if match[0] == "%%":
            return "%"
        value = _text(next(rest))
        return json.dumps(value) if match[0] == "%q" else value

    return re.sub("%[svdtq%]", shown, pattern)


def _omit_nil(value: Any) -> Any:
    """Without null, and without what is empty for that."""
    if isinstance(value, dict):
        kept: Any = {name: found for name, each in value.items() if (found := _omit_nil(each)) is not None}
    elif isinstance(value, list):
        kept = [found for each in value if (found := _omit_nil(each)) is not None]
    else:
        return value
    return kept if kept or not value else None


def _ports(containers: Any, without: str = "") -> str:
    """Ports for TCP of containers, between commas."""
    found = (p for c in containers or () if c.get("name") != without for p in c.get("ports") or ())
    return ",".join(str(p.get("containerPort")) for p in found if p.get("protocol", "TCP") == "TCP")


def _merged(*mappings: Any) -> dict[str, Any]:
    return {name: value for each in mappings for name, value in (each or {}).items()}


class Fields(dict[str, Any]):
    """A mapping of which a template may name nothing else, as Go has it for a struct."""


class Message(dict[str, Any]):
    """A message as templates see it, and the JSON that its proxy is told."""

    def __init__(self, fields: dict[str, Any], text: str) -> None:
        super().__init__(fields)
        self.text = text


FUNCTIONS: dict[str, Callable[..., Any]] = {
    **SPRIG,
    "and": _and,
    "or": _or,
    "not": lambda value: not is_set(value),
    "eq": _equal,
    "ne": lambda first, second: not _equal(first, second),
    "lt": lambda first, second: first < second,
    "le": lambda first, second: first <= second,
    "gt": lambda first, second: first > second,
    "ge": lambda first, second: first >= second,
    "len": lambda value: len(value or ()),
    "index": _index,
    "print": lambda *values: "".join(map(_text, values)),
    "printf": _format,
    "default": lambda default, value=None: value if is_set(value) else default,
    "valueOrDefault": lambda value, default: default if value is None or value == "" else value,
    "annotation": _annotation,
    "isset": lambda mapping, name: name in (mapping or {}),
    "contains": lambda part, text: part in _text(text),
    "hasPrefix": lambda prefix, text: _text(text).startswith(prefix),
    "hasSuffix": lambda suffix, text: _text(text).endswith(suffix),
    "trimPrefix": lambda prefix, text: _text(text).removeprefix(prefix),
    "trim": lambda text: _text(text).strip(),
    "trimAll": lambda characters, text: _text(text).strip(characters),
    "trimSuffix": lambda suffix, text: _text(text).removesuffix(suffix),
    "trunc": lambda length, text: _text(text)[:length],
    "toLower": lambda text: _text(text).lower(),
    "lower": lambda text: _text(text).lower(),
    "upper": lambda text: _text(text).upper(),
    "replace": lambda old, new, text: _text(text).replace(old, new),
    "split": lambda separator, text: {f"_{n}": part for n, part in enumerate(_text(text).split(separator))},
    "splitList": lambda separator, text: _text(text).split(separator),
    "join": lambda separator, values: separator.join(map(_text, values)),
    "list": lambda *values: list(values),
    "append": lambda values, value: [*values, value],
    "dict": lambda *pairs: dict(zip(pairs[::2], pairs[1::2], strict=True)),
    "quote": lambda value: json.dumps(_text(value)),
    "squote": lambda value: f"'{_text(value)}'",
    "int": lambda value: int(value or 0),
    "toString": _text,
    "toYaml": _yaml,
    "toJSON": _json,
    "toJson": _json,
    "fromJSON": json.loads,
    "structToJSON": _json,
    "protoToJSON": lambda value: value.text if isinstance(value, Message) else _json(value),
    "indent": _indent,
    "nindent": lambda width, text: _indent(width, "\n" + text),
    "excludeInboundPort": lambda port, ports: exclude_port(_text(port), _text(ports)),
    "strdict": lambda *pairs: dict(zip(pairs[::2], pairs[1::2], strict=True)),
    "omitNil": _omit_nil,
    "directory": lambda path: posixpath.split(_text(path))[0] + "/",
    "formatDuration": _text,
    "includeInboundPorts": _ports,
    "applicationPorts": lambda containers: _ports(containers, without="istio-proxy"),
    "kubevirtInterfaces": _text,
    "excludeInterfaces": _text,
    "omit": lambda mapping, *names: {k: v for k, v in (mapping or {}).items() if k not in names},
    "mergeMaps": _merged,
    "toJsonMap": lambda *mappings: _json(_merged(*mappings)),
    "otelResourceAttributes": resource_attributes,
    "appendMultusNetwork": lambda existing, name: with_network(_text(existing), name),
    "ternary": lambda one, other, chosen: one if is_set(chosen) else other,
    "env": lambda _name, default: default,
}
"""By name. ``env`` reads no environment: a template gives the same pod wherever it is rendered."""
