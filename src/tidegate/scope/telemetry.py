"""Which Telemetry objects hold for a workload, and what they say together.

Istio's rules: the root namespace's, then the namespace's, then the first that selects the workload; the later wins.
https://istio.io/latest/docs/reference/config/telemetry/
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from tidegate.api.objects import Object
from tidegate.api.selection import GATEWAY_LABEL, labels_selected, targets_of
from tidegate.api.telemetry import AccessLogging, CustomTag, Telemetry, Tracing, WorkloadMode
from tidegate.registry.model import Labels

KIND = "Telemetry"
_GATEWAY_API = "gateway.networking.k8s.io"

E = TypeVar("E", AccessLogging, Tracing)
Kept = Mapping[str, tuple[Object[Telemetry], ...]]
"""By namespace, oldest first."""


def applicable(kept: Kept, root: str, namespace: str, labels: Labels) -> tuple[Object[Telemetry], ...]:
    """The objects that hold for a workload: at most one of the root namespace, one of its own namespace for all, and
    one that selects it; in this order."""
    found = [_for_all(kept.get(space, ())) for space in dict.fromkeys((root, namespace))]
    found.append(next((each for each in kept.get(namespace, ()) if _selects(each, labels)), None))
    return tuple(each for each in found if each is not None)


def _for_all(objects: Sequence[Object[Telemetry]]) -> Object[Telemetry] | None:
    return next((each for each in objects if not _selective(each.spec)), None)


def _selective(spec: Telemetry) -> bool:
    return bool(labels_selected(spec.selector) or targets_of(spec))


def _selects(found: Object[Telemetry], labels: Labels) -> bool:
    """By labels; or as what a Gateway API gateway's Pods are attached to."""
    mine, wanted = dict(labels), labels_selected(found.spec.selector)
    if wanted:
        return all(mine.get(key) == value for key, value in wanted.items())
    gateway = mine.get(GATEWAY_LABEL)
    return any((t.group, t.kind, t.name) == (_GATEWAY_API, "Gateway", gateway) for t in targets_of(found.spec))


def tested_labels(spec: Telemetry) -> frozenset[str]:
    """Label keys that the object tests on workloads of its namespace."""
    attached = {GATEWAY_LABEL} if targets_of(spec) else set()
    return frozenset(labels_selected(spec.selector)) | attached


class Logging(msgspec.Struct, frozen=True):
    """One provider that access logs go to, and the CEL expression that chooses what is logged ("" for all)."""

    provider: str
    expression: str = ""


def access_logging(
    objects: Sequence[Object[Telemetry]], defaults: Sequence[str], mode: WorkloadMode
) -> tuple[Logging, ...] | None:
    """The access log providers of one direction, by name. None: nothing is said, the mesh's ``accessLogFile`` counts;
    (): switched off.

    ``defaults``: the mesh's ``defaultProviders.accessLogging``. ``mode``: CLIENT of outbound and gateway listeners,
    SERVER of inbound ones.
    """
    levels = [spec for each in objects if (spec := each.spec.access_logging)]
    if not levels and not defaults:
        return None
    chosen = _chosen(levels, defaults, mode)
    found: dict[str, str] = {} if levels else dict.fromkeys(defaults, "")
    inherited: Sequence[str] = defaults
    for level in levels:
        for entry in level:
            named = [each.name for each in entry.providers]
            inherited = named or inherited
            if _meant(entry, mode):
                _take(entry, bool(named), [name for name in inherited if name in chosen], found)
    return tuple(Logging(name, expression) for name, expression in sorted(found.items()))


def _chosen(levels: Sequence[Sequence[E]], defaults: Sequence[str], mode: WorkloadMode) -> frozenset[str]:
    """The providers of the last level that names some."""
    chosen = frozenset(defaults)
    for level in levels:
        named = frozenset(p.name for entry in level if _meant(entry, mode) for p in entry.providers)
        chosen = named or chosen
    return chosen


def _take(entry: AccessLogging, named: bool, providers: Sequence[str], found: dict[str, str]) -> None:
    for name in providers:
        if entry.disabled:
            found.pop(name, None)
        elif entry.filter is not None or named or name not in found:
            found[name] = entry.filter.expression if entry.filter is not None else ""


def _meant(entry: AccessLogging | Tracing, mode: WorkloadMode) -> bool:
    return entry.match is None or entry.match.mode in (WorkloadMode.CLIENT_AND_SERVER, mode)


class TracingSettings(msgspec.Struct, frozen=True):
    """What holds for the spans of one direction."""

    provider: str = ""
    """Name of an extension provider; "" for none."""
    disabled: bool = False
    """No spans are reported; the trace is still passed on."""
    sampling: float | None = None
    """Percent; None: not said."""
    custom_tags: tuple[tuple[str, CustomTag], ...] = ()
    use_request_id: bool = True
    istio_tags: bool = True


def tracing(
    objects: Sequence[Object[Telemetry]], defaults: Sequence[str], mode: WorkloadMode
) -> TracingSettings | None:
    """The tracing settings of one direction; None where nothing is said and the mesh has no default provider."""
    levels = [spec for each in objects if (spec := each.spec.tracing)]
    if not levels and not defaults:
        return None
    found = TracingSettings(provider=defaults[0] if defaults else "")
    for entry in _entries(levels, mode):
        found = msgspec.structs.replace(found, **dict(_said(entry)))
    return found


def _entries(levels: Sequence[Sequence[Tracing]], mode: WorkloadMode) -> Iterator[Tracing]:
    for level in levels:
        yield from (entry for entry in level if _meant(entry, mode))


def _said(entry: Tracing) -> Iterator[tuple[str, Any]]:
    if entry.providers:
        yield "provider", entry.providers[0].name
    if entry.disable_span_reporting is not None:
        yield "disabled", entry.disable_span_reporting
    if entry.random_sampling_percentage is not None:
        yield "sampling", entry.random_sampling_percentage
    if entry.custom_tags:
        yield "custom_tags", tuple(sorted(entry.custom_tags.items(), key=lambda pair: pair[0]))
    if entry.use_request_id_for_trace_sampling is not None:
        yield "use_request_id", entry.use_request_id_for_trace_sampling
    if entry.enable_istio_tags is not None:
        yield "istio_tags", entry.enable_istio_tags
