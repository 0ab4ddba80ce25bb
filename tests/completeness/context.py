"""What a mutated field needs beside it to mean anything, and values of a field that its rules admit."""

import re
from typing import Any

from tests.completeness.mutations import values
from tidegate.api.shapes import Shape

Needed = tuple[str, Any, str]
"""Path, value, map key."""

KEY = "x-key"

CONTEXTS: tuple[tuple[str, str, tuple[Needed, ...]], ...] = ()
"""(kind, pattern of the path, what is put first)."""

VALUES: tuple[tuple[str, tuple[Any, ...], str], ...] = ()
"""(pattern of kind and path, values, map key)."""

REFUSED: frozenset[str] = frozenset()


def context_of(kind: str, path: str) -> list[Needed]:
    return [n for k, pattern, needed in CONTEXTS if re.fullmatch(k, kind) and re.search(pattern, path) for n in needed]


def values_of(kind: str, path: str, leaf: Shape) -> tuple[tuple[Any, ...], str]:
    for pattern, found, key in VALUES:
        if re.search(pattern, f"{kind} {path}"):
            return found, key or KEY
    return values(leaf), KEY
