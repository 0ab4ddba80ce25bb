"""Objects of which one alone counts for a workload, where several mean it."""

from collections.abc import Iterator, Sequence
from typing import Any

from tidegate.api.objects import Object
from tidegate.api.selection import labels_selected, targets_of
from tidegate.app.offline.pitfalls.looking import Pitfall
from tidegate.app.offline.world import Offline
from tidegate.registry.model import Workload
from tidegate.snapshot.world import World

_OLDEST = "the oldest counts (of one age, the first by name)"


def judge(offline: Offline) -> Iterator[Pitfall]:
    world = offline.hub.world
    for objects in _groups(world):
        wide = [each for each in objects if not _labels(each) and not _attached(each)]
        for each in wide[1:]:
            whole = "the mesh" if each.ref.namespace == world.mesh.root_namespace else each.ref.namespace
            text = f"does nothing: {wide[0].ref} is for all workloads of {whole} too, and {_OLDEST}"
            yield each.ref, "", text
        yield from _selective(world, [each for each in objects if _labels(each)])


def _groups(world: World) -> Iterator[Sequence[Object[Any]]]:
    """Those of one kind and namespace, oldest first."""
    for namespace in sorted({ref.namespace for ref in world.sidecars}):
        yield world.sidecars_of(namespace)
    for kind in ("PeerAuthentication", "Telemetry"):
        yield from world.policies(kind).values()


def _labels(found: Object[Any]) -> dict[str, str]:
    if found.ref.kind == "Sidecar":
        selector = found.spec.workload_selector
        return dict(selector.labels) if selector is not None else {}
    return labels_selected(found.spec.selector)


def _attached(found: Object[Any]) -> bool:
    return found.ref.kind == "Telemetry" and bool(targets_of(found.spec))


def _selective(world: World, objects: Sequence[Object[Any]]) -> Iterator[Pitfall]:
    """Those that share a workload with an older one: told once, with the first such workload."""
    if len(objects) < 2:
        return
    told = set()
    for workload in sorted(world.workloads.values(), key=lambda each: each.ref):
        meant = [each for each in objects if _means(each, workload)]
        for each in meant[1:]:
            if each.ref not in told:
                told.add(each.ref)
                text = f"does nothing for {workload.ref}: {meant[0].ref} selects it too, and {_OLDEST}"
                yield each.ref, "", text


def _means(found: Object[Any], workload: Workload) -> bool:
    return workload.namespace == found.ref.namespace and _labels(found).items() <= dict(workload.labels).items()
