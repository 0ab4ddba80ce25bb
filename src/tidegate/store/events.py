"""Events: one stored kind (core/v1), also served as events.k8s.io/v1, where some fields have other names."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from tidegate.store.model import Json

GROUP = "events.k8s.io"
LIFETIME = timedelta(hours=1)
"""How long an Event is kept after its last change, as by Kubernetes."""
SWEEP_SECONDS = 60.0
"""How often old Events are looked for, by a clock that nobody sets."""

_NAMES = {
    "involvedObject": "regarding",
    "message": "note",
    "source": "deprecatedSource",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
    "count": "deprecatedCount",
    "reportingComponent": "reportingController",
}
_STORED_NAMES = {shown: name for name, shown in _NAMES.items()}


def in_group(obj: Json, group: str | None) -> Json:
    """A stored object as the group shows it."""
    return {_NAMES.get(name, name): value for name, value in obj.items()} if group == GROUP else obj


def stored(obj: Json, group: str | None) -> Json:
    """An object of the group as it is stored."""
    return {_STORED_NAMES.get(name, name): value for name, value in obj.items()} if group == GROUP else obj


def outlived(found: Iterable[Json], now: datetime) -> Iterator[Json]:
    """Metadata of the Events that were last written longer ago than their lifetime."""
    for obj in found:
        meta = obj["metadata"]
        times = [meta["creationTimestamp"], *(entry.get("time") or "" for entry in meta.get("managedFields") or ())]
        try:
            last = datetime.fromisoformat(max(times))
        except ValueError:
            continue  # a client wrote a time of its own into managedFields
        if now - last > LIFETIME:
            yield meta
