"""What a mutated field needs beside it to mean anything, and values of a field that its rules admit."""

import re
from typing import Any

from tests.completeness.mutations import values
from tidegate.api.shapes import Shape

Needed = tuple[str, Any, str]
"""Path, value, map key ("" for the usual one)."""

_POOL = "connectionPool"

CONTEXTS: tuple[tuple[str, str, tuple[Needed, ...]], ...] = ()
"""(kind, pattern of the path, what is put first)."""

VALUES: tuple[tuple[str, tuple[Any, ...], str], ...] = ()
"""(pattern of the path, values, map key)."""


def context_of(kind: str, path: str) -> list[Needed]:
    return [n for k, pattern, needed in CONTEXTS if k in ("*", kind) and re.search(pattern, path) for n in needed]


def values_of(kind: str, path: str, leaf: Shape) -> tuple[tuple[Any, ...], str]:
    for pattern, found, key in VALUES:
        if re.search(pattern, f"{kind} {path}"):
            return found, key or "x-key"
    return values(leaf), "x-key"
