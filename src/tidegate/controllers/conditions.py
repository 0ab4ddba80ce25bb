"""What of an object's status says that it counts for less than its author wrote. Pure.

The shape is that of Istio's objects (istio.io/api, meta.v1alpha1.IstioStatus): conditions, and observedGeneration.
"""

from collections.abc import Mapping
from typing import Any

from tidegate.store.model import Json

LEFT_OUT, CONFLICT = "tidegate.io/LeftOut", "tidegate.io/Conflict"
_REASONS = {LEFT_OUT: "Invalid", CONFLICT: "TakenByOthers"}
_MOST = 8
"""Sentences in a message."""

Messages = Mapping[str, str]
"""Type of condition to what it says; only those that hold."""


def messages(left_out: tuple[str, ...], conflicts: tuple[str, ...]) -> dict[str, str]:
    """What is to be told of an object."""
    found = ((LEFT_OUT, left_out), (CONFLICT, conflicts))
    return {each: _joined(texts) for each, texts in found if texts}


def _joined(texts: tuple[str, ...]) -> str:
    more = f"; and {len(texts) - _MOST} more" if len(texts) > _MOST else ""
    return "; ".join(texts[:_MOST]) + more


def held(obj: Json) -> tuple[dict[str, str], bool]:
    """What an object's status says already, and whether it says so of the object's present form."""
    mine = {c["type"]: c for c in _conditions(obj) if c.get("type") in _REASONS}
    generation = obj["metadata"].get("generation", 0)
    current = all(c.get("observedGeneration") == generation for c in mine.values())
    return {name: str(c.get("message", "")) for name, c in mine.items()}, current


def status(obj: Json, wanted: Messages, now: str) -> Json | None:
    """The status that the object is to have; None where it has it. What others wrote into it stays."""
    said, current = held(obj)
    if said == wanted and current:
        return None
    generation = obj["metadata"].get("generation", 0)
    before = {c["type"]: c for c in _conditions(obj)}
    others = [c for c in _conditions(obj) if c["type"] not in _REASONS]
    mine = [_condition(each, text, generation, before.get(each), now) for each, text in sorted(wanted.items())]
    found = dict(obj.get("status") or {})
    found["conditions"] = others + mine
    found["observedGeneration"] = generation
    if not found["conditions"]:
        del found["conditions"], found["observedGeneration"]
    return found


def _condition(kind: str, text: str, generation: int, before: Json | None, now: str) -> Json:
    return {
        "type": kind,
        "status": "True",
        "reason": _REASONS[kind],
        "message": text,
        "observedGeneration": generation,
        "lastTransitionTime": before.get("lastTransitionTime", now) if before else now,
    }


def _conditions(obj: Json) -> list[Any]:
    found = obj.get("status")
    listed = found.get("conditions") if isinstance(found, dict) else None
    return [c for c in (listed or ()) if isinstance(c, dict) and isinstance(c.get("type"), str)]
