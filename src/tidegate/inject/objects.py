"""Injection of a whole object of any kind: what kube-inject does."""

from collections.abc import Iterator
from typing import Any

import msgspec

from tidegate.inject import advice, shape
from tidegate.inject.context import Place
from tidegate.inject.decide import decide
from tidegate.inject.errors import InjectionError
from tidegate.inject.pod import inject
from tidegate.inject.settings import Json, Settings, at
from tidegate.inject.workloads import is_list, pod_of, replaced


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
    if is_list(obj):
        made = [_item(each, obj, settings, place) if isinstance(each, dict) else Result(each) for each in obj["items"]]
        return Result(
            {**obj, "items": [each.object for each in made]},
            sum(each.injected for each in made),
            tuple(text for each in made for text in each.warnings),
            tuple(text for each in made for text in each.reasons),
        )
    found = pod_of(obj)
    if found is None:
        return Result(obj, reasons=tuple(_unknown(obj)))
    if wrong := tuple(shape.errors(found.pod)):
        raise InjectionError(str(found.workload), wrong)
    namespace = found.workload.namespace or (place.namespace if place else "")
    decision = decide(found.pod, namespace, settings, whose=_named(found.workload.kind, obj))
    if not decision.injects:
        return Result(obj, reasons=(decision.reason,))
    made_pod = inject(found.pod, found.workload, settings, place)
    said = [*_of_object(obj, found.path), *made_pod.warnings]
    told = tuple(f"{_named(found.workload.kind, obj)}: {text}" for text in said)
    same = made_pod.pod == found.pod
    already = (f"{_named(found.workload.kind, obj)} has its sidecar already; nothing was changed",) if same else ()
    return Result(replaced(obj, found.path, made_pod.pod), int(not same), told, already)


def _item(item: Json, whole: Json, settings: Settings, place: Place | None) -> Result:
    """An item of a List of one kind says neither kind nor version itself."""
    kind = {"apiVersion": whole.get("apiVersion"), "kind": str(whole.get("kind")).removesuffix("List")}
    added = {name: value for name, value in kind.items() if name not in item} if whole.get("kind") != "List" else {}
    made = inject_object({**added, **item}, settings, place)
    return msgspec.structs.replace(made, object={k: v for k, v in made.object.items() if k not in added})


def _unknown(obj: Json) -> Iterator[str]:
    """An object of a kind that is not known, and that looks as if it brought pods."""
    if isinstance(at(obj, "spec.template.spec.containers") or at(obj, "template.spec.containers"), list):
        kind = str(obj.get("kind"))
        said = f"it is not known how a {kind} makes its pods; the webhook sees them"
        yield f"{_named(kind, obj)} was left as it is: {said}"


def _of_object(obj: Json, path: tuple[str, ...]) -> Iterator[str]:
    if not path:
        return iter(())
    meta = obj.get("metadata") or {}
    return advice.of_object(str(obj.get("kind")), meta.get("annotations") or {}, meta.get("labels") or {})


def _named(kind: str, obj: Json) -> str:
    given = obj.get("metadata")
    meta = given if isinstance(given, dict) else {}
    name = meta.get("name") or meta.get("generateName") or ""
    return f'{kind} "{meta["namespace"]}/{name}"' if meta.get("namespace") else f'{kind} "{name}"'
