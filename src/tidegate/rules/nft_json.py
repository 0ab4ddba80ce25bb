"""Expressions and statements of nft's JSON in the words of its text, so that there is one reader of their meaning.

libnftables-json(5).
"""

import json
from collections.abc import Callable
from typing import Any

_NAMED = frozenset({"accept", "drop", "return", "continue", "notrack"})


def statements(value: Any) -> str:
    """One expression or statement as nft would print it; what is not known stands as its JSON in quotes."""
    if isinstance(value, (str, int)):
        return str(value)
    if isinstance(value, list):
        return ",".join(map(statements, value))
    if not isinstance(value, dict) or len(value) != 1:
        return _foreign(value)
    ((kind, inner),) = value.items()
    if kind in _NAMED:
        return str(kind)
    writer = _WRITERS.get(kind)
    try:
        return writer(inner) if writer is not None else _foreign(value)
    except (KeyError, IndexError, TypeError, AttributeError):  # of another shape: raw bytes of a packet
        return _foreign(value)


def _foreign(value: Any) -> str:
    return "unknown " + json.dumps(json.dumps(value, sort_keys=True)).replace('\\"', "'")


def _match(inner: dict[str, Any]) -> str:
    left, right = statements(inner["left"]), statements(inner["right"])
    operator = inner.get("op", "==")
    return f"{left} {right}" if operator in ("==", "in") else f"{left} {operator} {right}"


def _prefix(inner: dict[str, Any]) -> str:
    return f"{statements(inner['addr'])}/{inner['len']}"


def _range(inner: list[Any]) -> str:
    return f"{statements(inner[0])}-{statements(inner[1])}"


def _set(inner: Any) -> str:
    listed = inner if isinstance(inner, list) else [inner]
    return "{ " + ", ".join(map(statements, listed)) + " }"


def _counter(inner: Any) -> str:
    if isinstance(inner, dict) and "packets" in inner:
        return f"counter packets {inner['packets']} bytes {inner['bytes']}"
    return f"counter name {inner}" if isinstance(inner, str) else "counter"


def _mangle(inner: dict[str, Any]) -> str:
    return f"{statements(inner['key'])} set {statements(inner['value'])}"


def _and(inner: list[Any]) -> str:
    return " & ".join(map(statements, inner))


def _to(word: str) -> Callable[[Any], str]:
    """``redirect``, ``tproxy``, ``dnat`` and ``snat``."""

    def written(inner: Any) -> str:
        if not isinstance(inner, dict) or not ("port" in inner or "addr" in inner):
            return word
        family = f" {inner['family']}" if "family" in inner else ""
        address = statements(inner.get("addr", ""))
        port = f":{statements(inner['port'])}" if "port" in inner else ""
        flags = f" {statements(inner['flags'])}" if "flags" in inner else ""
        return f"{word}{family} to {f'[{address}]' if ':' in address and port else address}{port}{flags}"

    return written


def _log(inner: Any) -> str:
    prefix = inner.get("prefix") if isinstance(inner, dict) else None
    return f'log prefix "{prefix}"' if prefix else "log"


_WRITERS: dict[str, Callable[[Any], str]] = {
    "match": _match,
    "meta": lambda inner: f"meta {inner['key']}",
    "ct": lambda inner: " ".join(("ct", *([inner["dir"]] if "dir" in inner else []), inner["key"])),
    "payload": lambda inner: f"{inner['protocol']} {inner['field']}",
    "fib": lambda inner: f"fib {' . '.join(inner['flags'])} {inner['result']}",
    "prefix": _prefix,
    "range": _range,
    "set": _set,
    "elem": lambda inner: statements(inner["val"]),
    "counter": _counter,
    "mangle": _mangle,
    "&": _and,
    "jump": lambda inner: f"jump {inner['target']}",
    "goto": lambda inner: f"goto {inner['target']}",
    "redirect": _to("redirect"),
    "tproxy": _to("tproxy"),
    "dnat": _to("dnat"),
    "snat": _to("snat"),
    "masquerade": lambda _: "masquerade",
    "reject": lambda _: "reject",
    "log": _log,
    "xt": lambda inner: f'xt {inner["type"]} "{inner["name"]}"',
}
