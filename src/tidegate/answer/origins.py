"""Where a piece of Envoy configuration comes from: by the builders' own record, or by what the configuration tells."""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

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

    def of(self, step: Step, holder: str, name: str) -> Source | None:
        found = self._resource(holder, name)
        best = nearest(found.all_origins(), step.path) if found is not None else None
        return Source(best.ref, best.field) if best is not None else self._told.of(step, holder, name)

    def decisions(self, holder: str, name: str) -> Iterable[Decision]:
        found = self._resource(holder, name)
        return found.all_decisions() if found is not None else ()

    def _resource(self, holder: str, name: str) -> Resource | None:
        url = TYPES.get(holder)
        return self._find(url, name) if url is not None else None


def nearest(origins: Iterable[Origin], path: str) -> Origin | None:
    """The origin of the smallest part that holds ``path``; without one, the first inside of it."""
    wanted = list(_parts(_CAMEL.sub("_", path).lower()))
    around: list[tuple[int, Origin]] = []
    inside: list[Origin] = []
    for each in origins:
        has = list(_parts(each.path))
        if wanted[: len(has)] == has:
            around.append((len(has), each))
        elif has[: len(wanted)] == wanted:
            inside.append(each)
    if around:
        return max(around, key=lambda found: found[0])[1]
    return inside[0] if inside else None


def _parts(path: str) -> Iterator[str]:
    return (part for part in path.split(".") if part)
