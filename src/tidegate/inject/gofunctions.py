"""The functions of injection templates: Go's own, and those that Istio documents beside them."""

import json
import re
from collections.abc import Callable
from typing import Any

import yaml

from tidegate.inject.annotations import exclude_port


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
    return "\n".join(" " * width + line for line in text.split("\n"))


def _format(pattern: str, *values: Any) -> str:
    rest = iter(values)

    def shown(match: re.Match[str]) -> str:
        if match[0] == "%%":
            return "%"
        value = _text(next(rest))
        return json.dumps(value) if match[0] == "%q" else value

    return re.sub("%[svdtq%]", shown, pattern)


def _omit_nil(value: Any) -> Any:
    return {k: _omit_nil(v) for k, v in value.items() if v is not None} if isinstance(value, dict) else value


FUNCTIONS: dict[str, Callable[..., Any]] = {
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
    "valueOrDefault": lambda value, default: value if is_set(value) else default,
    "annotation": _annotation,
    "isset": lambda mapping, name: name in (mapping or {}),
    "contains": lambda part, text: part in _text(text),
    "hasPrefix": lambda prefix, text: _text(text).startswith(prefix),
    "hasSuffix": lambda suffix, text: _text(text).endswith(suffix),
    "trimPrefix": lambda prefix, text: _text(text).removeprefix(prefix),
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
    "protoToJSON": _json,
    "indent": _indent,
    "nindent": lambda width, text: "\n" + _indent(width, text),
    "excludeInboundPort": lambda port, ports: exclude_port(_text(port), _text(ports)),
    "strdict": lambda *pairs: dict(zip(pairs[::2], pairs[1::2], strict=True)),
    "omitNil": _omit_nil,
    "env": lambda _name, default: default,
}
"""By name. ``env`` reads no environment: a template gives the same pod wherever it is rendered."""
