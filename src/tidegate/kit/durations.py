"""Durations with nanosecond precision, in protobuf's JSON form and in Go's.

Protobuf JSON writes seconds with a trailing ``s`` ("1.5s"); Istio's YAML also carries Go forms
("1h30m", "500ms"). Both are read, protobuf's is written.
"""

import re
from typing import Self

NANOSECOND = 1
MICROSECOND = 1_000
MILLISECOND = 1_000_000
SECOND = 1_000_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE

_UNITS = {"ns": 1, "us": MICROSECOND, "µs": MICROSECOND, "ms": MILLISECOND, "s": SECOND, "m": MINUTE, "h": HOUR}
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)", re.ASCII)
_MAX = 315_576_000_000 * SECOND
"""google.protobuf.Duration holds at most about 10,000 years."""


class Duration(int):
    """A span of time in whole nanoseconds."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read "1.5s", "1h30m", "0" or "-2s". Raises ValueError for anything else."""
        body, sign = (text[1:], -1) if text.startswith("-") else (text.removeprefix("+"), 1)
        if body == "0":
            return cls(0)
        total, end = 0, 0
        for part in _PART.finditer(body):
            if part.start() != end:
                break
            whole, _, fraction = part[1].partition(".")
            unit = _UNITS[part[2]]
            total += int(whole or 0) * unit + (int(fraction) * unit // 10 ** len(fraction) if fraction else 0)
            end = part.end()
        if not body or end != len(body) or total > _MAX:
            raise ValueError('a duration such as "1.5s", "200ms" or "1h30m"')
        return cls(sign * total)

    @classmethod
    def of(cls, *, seconds: float) -> Self:
        return cls(round(seconds * SECOND))

    @property
    def seconds(self) -> float:
        return int(self) / SECOND

    def __str__(self) -> str:
        sign, nanos = ("-", -int(self)) if self < 0 else ("", int(self))
        whole, rest = divmod(nanos, SECOND)
        if not rest:
            return f"{sign}{whole}s"
        digits = f"{rest:09d}"
        while digits.endswith("000"):
            digits = digits[:-3]
        return f"{sign}{whole}.{digits}s"

    def __repr__(self) -> str:
        return f"Duration({str(self)!r})"
