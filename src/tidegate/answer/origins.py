"""Where a piece of Envoy configuration comes from: by the builders' own record, or by what the configuration tells."""

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol

import msgspec

from tidegate.answer.provenance import config_of, services_of
from tidegate.api.objects import Ref
from tidegate.envoy.resource import CLUSTER, LISTENER, ROUTE, Decision, Origin, Resource
from tidegate.explain.trace import Step
from tidegate.snapshot.world import World

Place = Callable[[Ref, str], str]
"""``file:line`` of an object's field, "" where nobody wrote it in a file."""

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
TYPES = {"Listener": LISTENER, "RouteConfiguration": ROUTE, "Cluster": CLUSTER}


class Source(msgspec.Struct, frozen=True):
    """One object and the field of it that made something."""

    ref: Ref
    field: str = ""


class Origins(Protocol):
    """Tells for a part of a resource what it was made from, and what was decided about the resource."""

    def of(self, step: Step, holder: str, name: str) -> Source | None:
        """holder: the resource's type (Listener, RouteConfiguration, Cluster), with its name."""
        ...

    def decisions(self, holder: str, name: str) -> Iterable[Decision]: ...


class Told:
    """Of somebody else's configuration: what the metadata names, and the service that a cluster stands for."""

    def __init__(self, world: World) -> None:
        self._world = world

    def of(self, step: Step, holder: str, name: str) -> Source | None:
        if (found := config_of(step.istio)) is not None and step.stage != "cluster":
            return Source(found)
        for key in services_of(step.istio):
            service = self._world.services.get(key)
            if service is not None and service.sources:
                return Source(service.sources[0])
        found = config_of(step.istio)
        return Source(found) if found is not None else None

    def decisions(self, holder: str, name: str) -> Iterable[Decision]:
        return ()


class Recorded:
    """Of our own configuration: what the builders wrote down beside each resource."""

    def __init__(self, find: Callable[[str, str], Resource | None], world: World) -> None:
        """find: a resource by type URL and name."""
        self._find, self._told = find, Told(world)
        self._records: dict[tuple[str, str], _Record] = {}

    def of(self, step: Step, holder: str, name: str) -> Source | None:
        best = self._record(holder, name).parts.nearest(step.path)
        return Source(best.ref, best.field) if best is not None else self._told.of(step, holder, name)

    def decisions(self, holder: str, name: str) -> Iterable[Decision]:
        return self._record(holder, name).decisions

    def _record(self, holder: str, name: str) -> "_Record":
        """Made once for a resource: a route table of thousands of hosts is looked at by every question."""
        found = self._records.get((holder, name))
        if found is None:
            url = TYPES.get(holder)
            made = self._find(url, name) if url is not None else None
            found = _Record(Parts(made.all_origins()), tuple(made.all_decisions())) if made else _NOTHING
            self._records[holder, name] = found
        return found


class Parts:
    """The origins of one resource, by the path of the part that each is of."""

    def __init__(self, origins: Iterable[Origin]) -> None:
        self._at: dict[tuple[str, ...], Origin] = {}
        self._within: dict[tuple[str, ...], Origin] = {}
        for each in origins:
            path = _parts(each.path)
            self._at.setdefault(path, each)
            for length in range(len(path)):
                self._within.setdefault(path[:length], each)

    def nearest(self, path: str) -> Origin | None:
        """The origin of the smallest part that holds ``path``; without one, the first inside of it."""
        wanted = _parts(_CAMEL.sub("_", path).lower())
        for length in range(len(wanted), -1, -1):
            found = self._at.get(wanted[:length])
            if found is not None:
                return found
        return self._within.get(wanted)


def _parts(path: str) -> tuple[str, ...]:
    return tuple(part for part in path.split(".") if part)


class _Record(NamedTuple):
    """What the builders wrote down beside one resource."""

    parts: Parts
    decisions: tuple[Decision, ...]


_NOTHING = _Record(Parts(()), ())
