"""Functions of the Sprig library that templates may call beside Istio's own: those that give the same result wherever
and whenever they are called. https://masterminds.github.io/sprig/
"""

import base64
import hashlib
import re
from collections.abc import Callable
from typing import Any


def _text(value: Any) -> str:
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _number(value: Any) -> int:
    """0 for what is no number, as Sprig has it."""
    if isinstance(value, (bool, int, float)):
        return int(value)
    text = _text(value).strip()
    return int(text) if re.fullmatch(r"[+-]?[0-9]{1,18}", text) else 0


def _divided(one: Any, other: Any) -> int:
    """Towards zero, as Go divides."""
    first, second = _number(one), _number(other)
    quotient = abs(first) // abs(second)
    return quotient if (first < 0) == (second < 0) else -quotient


def _remainder(one: Any, other: Any) -> int:
    return _number(one) - _number(other) * _divided(one, other)


def _product(*values: Any) -> int:
    out = 1
    for each in values:
        out *= _number(each)
    return out


def _substring(start: int, end: int, text: Any) -> str:
    whole = _text(text)
    return whole[max(start, 0) :] if end < 0 else whole[max(start, 0) : end]


def _unique(values: Any) -> list[Any]:
    out: list[Any] = []
    for each in values or ():
        if each not in out:
            out.append(each)
    return out


def _joined(first: dict[str, Any], *others: dict[str, Any]) -> dict[str, Any]:
    """Deep; what an earlier mapping says wins."""
    out = dict(first or {})
    for other in others:
        for name, value in (other or {}).items():
            known = out.get(name)
            if isinstance(known, dict) and isinstance(value, dict):
                out[name] = _joined(known, value)
            elif name not in out:
                out[name] = value
    return out


def _fail(message: str) -> None:
    raise ValueError(message)


def _title(text: Any) -> str:
    return re.sub(r"\b[a-z]", lambda match: match[0].upper(), _text(text))


def _kind(value: Any) -> str:
    names = {bool: "bool", int: "int", float: "float64", str: "string", list: "slice", type(None): "invalid"}
    return "map" if isinstance(value, dict) else names.get(type(value), type(value).__name__)


def _replaced(pattern: str, text: str, by: str) -> str:
    """Go names groups ``$1`` or ``${1}``."""
    return re.sub(pattern, re.sub(r"\$\{?(\w+)\}?", r"\\g<\1>", by.replace("\\", "\\\\")), text)


def _decoded(text: Any) -> str:
    return base64.b64decode(_text(text), validate=True).decode()


def _dug(*arguments: Any) -> Any:
    """Names, a default, and last the mapping that is searched."""
    *path, default, found = arguments
    for name in path:
        if not isinstance(found, dict) or name not in found:
            return default
        found = found[name]
    return found


SPRIG: dict[str, Callable[..., Any]] = {
    # text
    "title": _title,
    "untitle": lambda text: re.sub(r"\b[A-Z]", lambda match: match[0].lower(), _text(text)),
    "repeat": lambda count, text: _text(text) * min(_number(count), 10_000),
    "substr": _substring,
    "nospace": lambda text: re.sub(r"\s+", "", _text(text)),
    "cat": lambda *values: " ".join(_text(each) for each in values if each is not None),
    "trimall": lambda characters, text: _text(text).strip(characters),
    "splitn": lambda separator, count, text: {
        f"_{n}": part for n, part in enumerate(_text(text).split(separator, max(_number(count) - 1, 0)))
    },
    "sortAlpha": lambda values: sorted(map(_text, values or ())),
    "toStrings": lambda values: [_text(each) for each in values or ()],
    "regexMatch": lambda pattern, text: re.search(pattern, _text(text)) is not None,
    "regexFind": lambda pattern, text: found[0] if (found := re.search(pattern, _text(text))) else "",
    "regexReplaceAll": _replaced,
    "b64enc": lambda text: base64.b64encode(_text(text).encode()).decode(),
    "b64dec": _decoded,
    "sha256sum": lambda text: hashlib.sha256(_text(text).encode()).hexdigest(),
    "println": lambda *values: " ".join(map(_text, values)) + "\n",
    # numbers
    "int64": _number,
    "atoi": _number,
    "float64": lambda value: float(value or 0),
    "add": lambda *values: sum(map(_number, values)),
    "add1": lambda value: _number(value) + 1,
    "sub": lambda one, other: _number(one) - _number(other),
    "mul": _product,
    "div": _divided,
    "mod": _remainder,
    "max": lambda *values: max(map(_number, values)),
    "min": lambda *values: min(map(_number, values)),
    "until": lambda count: list(range(min(_number(count), 10_000))),
    # lists and mappings
    "tuple": lambda *values: list(values),
    "first": lambda values: values[0] if values else None,
    "last": lambda values: values[-1] if values else None,
    "rest": lambda values: list(values or ())[1:],
    "initial": lambda values: list(values or ())[:-1],
    "prepend": lambda values, value: [value, *(values or ())],
    "concat": lambda *lists: [each for values in lists for each in values or ()],
    "reverse": lambda values: list(reversed(values or ())),
    "uniq": _unique,
    "compact": lambda values: [each for each in values or () if each],
    "has": lambda value, values: value in (values or ()),
    "without": lambda values, *gone: [each for each in values or () if each not in gone],
    "slice": lambda values, start=0, end=None: values[start:end],
    "get": lambda mapping, name: (mapping or {}).get(name, ""),
    "hasKey": lambda mapping, name: name in (mapping or {}),
    "keys": lambda *mappings: [name for each in mappings for name in each or {}],
    "values": lambda mapping: list((mapping or {}).values()),
    "pick": lambda mapping, *names: {name: mapping[name] for name in names if name in (mapping or {})},
    "pluck": lambda name, *mappings: [each[name] for each in mappings if name in (each or {})],
    "merge": _joined,
    "dig": _dug,
    # what a value is
    "empty": lambda value: not value,
    "coalesce": lambda *values: next((each for each in values if each), None),
    "all": lambda *values: all(values),
    "any": lambda *values: any(values),
    "kindOf": _kind,
    "kindIs": lambda kind, value: _kind(value) == kind,
    "fail": _fail,
}
"""By name. Those of time, of chance, of the network and of the environment are not among them."""
