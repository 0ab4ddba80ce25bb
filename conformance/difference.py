"""Two values side by side, in words."""

import difflib
import json
from typing import Any


def of(expected: Any, actual: Any) -> str:
    """A unified diff of two JSON values; "" when they are equal."""
    if expected == actual:
        return ""
    wanted, found = (_text(side).splitlines() for side in (expected, actual))
    return (
        "\n".join(difflib.unified_diff(wanted, found, "expected", "actual", lineterm="", n=3))
        or "they differ in type only"
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, indent=1, sort_keys=True, default=str)
