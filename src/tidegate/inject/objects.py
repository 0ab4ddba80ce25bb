"""Injection of a whole object of any kind: what kube-inject does."""

from typing import Any

import msgspec

from tidegate.inject import shape
from tidegate.inject.context import Place
from tidegate.inject.decide import decide
from tidegate.inject.errors import InjectionError
from tidegate.inject.pod import inject
from tidegate.inject.settings import Json, Settings
from tidegate.inject.workloads import pod_of, replaced


class Result(msgspec.Struct, frozen=True):
    """An object, injected or as it was."""

    object: Any
    injected: int = 0
    """How many pods got a sidecar."""
    warnings: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    """Why pods got none."""


def inject_object(obj: Json, settings: Settings, place: Place | None = None) -> Result:
    """The object with a sidecar in its pod, if it brings one that is to have one; a List item by item.

    Raises InjectionError or TemplateError.
    """
    if obj.get("kind") == "List" and isinstance(obj.get("items"), list):
        made = [
            inject_object(each, settings, place) if isinstance(each, dict) else Result(each) for each in obj["items"]
        ]
        return Result(
            {**obj, "items": [each.object for each in made]},
            sum(each.injected for each in made),
            tuple(text for each in made for text in each.warnings),
            tuple(text for each in made for text in each.reasons),
        )
    found = pod_of(obj)
    if found is None:
        return Result(obj)
    if wrong := tuple(shape.errors(found.pod)):
        raise InjectionError(str(found.workload), wrong)
    namespace = found.workload.namespace or (place.namespace if place else "")
    decision = decide(found.pod, namespace, settings, whose=_named(found.workload.kind, obj))
    if not decision.injects:
        return Result(obj, reasons=(decision.reason,))
    made_pod = inject(found.pod, found.workload, settings, place)
    told = tuple(f"{_named(found.workload.kind, obj)}: {text}" for text in made_pod.warnings)
    same = made_pod.pod == found.pod
    already = (f"{_named(found.workload.kind, obj)} has its sidecar already; nothing was changed",) if same else ()
    return Result(replaced(obj, found.path, made_pod.pod), int(not same), told, already)


def _named(kind: str, obj: Json) -> str:
    given = obj.get("metadata")
    meta = given if isinstance(given, dict) else {}
    name = meta.get("name") or meta.get("generateName") or ""
    return f'{kind} "{meta["namespace"]}/{name}"' if meta.get("namespace") else f'{kind} "{name}"'
