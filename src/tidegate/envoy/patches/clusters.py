"""Patches of one cluster."""

from collections.abc import Collection
from typing import Any

from tidegate.api.envoyfilter import ApplyTo, ClusterMatch, Operation
from tidegate.envoy.patches.merge import MergeError, merge_with_socket
from tidegate.envoy.patches.patch import Patch
from tidegate.envoy.patches.selection import PatchSet
from tidegate.kit import naming


def concerning(patches: PatchSet, name: str, hosts: Collection[str]) -> tuple[Patch, ...]:
    """The patches that change or remove the cluster ``name``. ``hosts``: of an inbound cluster, the services that it
    is for, which its name does not say."""
    return tuple(
        patch
        for patch in patches.of(ApplyTo.CLUSTER)
        if (patch.merges or patch.operation is Operation.REMOVE) and _matches(patch.match.cluster, name, hosts)
    )


def _matches(match: ClusterMatch | None, name: str, hosts: Collection[str]) -> bool:
    if match is None:
        return True
    if match.name:
        return match.name == name
    parts = naming.parse_cluster(name)
    subset, port, host = (parts.subset, parts.port, parts.host) if parts else ("", 0, "")
    names = hosts if parts and parts.direction == "inbound" and hosts else (host,)
    return (
        match.subset in ("", subset)
        and (not match.service or match.service in names)
        and match.port_number in (0, port)
    )


def apply(cluster: Any, patches: tuple[Patch, ...]) -> tuple[list[Patch], dict[Patch, str]]:
    """Join the patches that concern a cluster into it; returns those that were, and why others could not be."""
    done, failed = [], {}
    for patch in patches:
        try:
            merge_with_socket(cluster, patch.value, replace_lists=patch.replaces_lists)
        except MergeError as error:
            failed[patch] = str(error)
        else:
            done.append(patch)
    return done, failed


def removal(patches: tuple[Patch, ...]) -> Patch | None:
    """The patch that removes the cluster, whatever the others do."""
    return next((patch for patch in patches if patch.operation is Operation.REMOVE), None)


def added(patches: PatchSet) -> list[Patch]:
    return [patch for patch in patches.of(ApplyTo.CLUSTER) if patch.operation is Operation.ADD]
