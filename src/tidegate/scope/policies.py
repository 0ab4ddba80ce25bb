"""Which policies hold for a workload: those of the root namespace and its own that select it."""

from collections.abc import Iterable, Mapping
from typing import Any

from tidegate.api.objects import Object
from tidegate.api.selection import GATEWAY_LABEL, labels_selected, targets_of
from tidegate.registry.model import Labels
from tidegate.snapshot.world import World

_GATEWAY = ("gateway.networking.k8s.io", "Gateway")


def holding(world: World, kind: str, namespace: str, labels: Labels) -> tuple[Object[Any], ...]:
    """The policies of ``kind`` that hold for a workload: the root namespace's, then its own; oldest first in each."""
    root = world.mesh.root_namespace
    spaces = (root,) if root == namespace else (root, namespace)
    found = [policy for space in spaces for policy in world.policies_in(kind, space)]
    return of_workload(found, root, namespace, labels) if found else ()


def of_workload(policies: Iterable[Object[Any]], root: str, namespace: str, labels: Labels) -> tuple[Object[Any], ...]:
    """Those of ``policies`` that hold for a workload, in their order."""
    mine = dict(labels)
    return tuple(p for p in policies if p.ref.namespace in (root, namespace) and selects(p, namespace, mine))


def selects(policy: Object[Any], namespace: str, labels: Mapping[str, str]) -> bool:
    """Whether a policy means a workload of ``namespace`` with these labels.

    A policy that is attached to objects means the workloads of a Gateway of its own namespace, by their label;
    Services and ServiceEntries have none of their own here, they are for waypoints.
    """
    if targets := targets_of(policy.spec):
        name = labels.get(GATEWAY_LABEL, "")
        named = any((t.group, t.kind) == _GATEWAY and t.name == name for t in targets)
        return named and policy.ref.namespace == namespace
    return all(labels.get(key) == value for key, value in labels_selected(policy.spec.selector).items())
