"""One question asked of two worlds: what a change does to a connection."""

from typing import Any

import msgspec

from tidegate.answer.report import Document, Report, ReportEnd

SCHEMA = "tidegate.io/explain-change/v1"
_WAYS = ("address", "listener", "filter_chain", "route", "cluster")
"""How a connection goes; where it ends stands in its ends."""


class Comparison(Document, frozen=True, kw_only=True):
    """The answers before and after a change."""

    schema: str
    before: Report
    after: Report
    differs: tuple[str, ...] = ()
    """Names of the report's fields that differ in more than words and places; none: the change does nothing to it."""


def compare(before: Report, after: Report) -> Comparison:
    """What differs in the outcome, what decides it, the way, and the ends with their probabilities."""
    pairs = {
        "outcome": (before.outcome, after.outcome),
        "deciding_object": _pair(before, after, "deciding_object"),
        **{name: _pair(before, after, name) for name in _WAYS},
        "ends": (_ends(before), _ends(after)),
        "other_addresses": (_others(before), _others(after)),
    }
    found = tuple(_camel(name) for name, (old, new) in pairs.items() if old != new)
    return Comparison(schema=SCHEMA, before=before, after=after, differs=found)


def _pair(before: Report, after: Report, name: str) -> tuple[Any, Any]:
    return getattr(before, name), getattr(after, name)


def _ends(of: Report) -> list[dict[str, Any]]:
    """Without the words: those of one and the same end tell of objects that another line may name."""
    return [msgspec.to_builtins(msgspec.structs.replace(end, why="")) for end in sorted(of.ends, key=_order)]


def _order(end: ReportEnd) -> tuple[str, str, float]:
    return end.kind, end.cluster, end.probability


def _others(of: Report) -> list[tuple[str, str]]:
    return [(each.address, each.outcome) for each in of.other_addresses]


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.title() for part in rest)
