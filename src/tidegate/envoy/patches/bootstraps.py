"""Patches of bootstraps. The control plane makes no bootstrap, so what is patched is joined by the proxy's agent."""

from collections.abc import Iterable

import msgspec

from tidegate.api.envoyfilter import Operation
from tidegate.envoy.patches.merge import merge
from tidegate.envoy.patches.patch import Patch
from tidegate.envoy.resource import Origin, Resource, resource
from tidegate.kit.bootstraps import NAME, TYPE_URL

_NOT_MERGED = "a bootstrap takes the operation MERGE alone"


class Joined(msgspec.Struct, frozen=True):
    """What the patches of one proxy make together."""

    resources: dict[str, Resource] = {}
    """By name; none where there is nothing to merge."""
    applied: frozenset[Patch] = frozenset()
    failed: tuple[tuple[Patch, str], ...] = ()


def joined(patches: Iterable[Patch]) -> Joined:
    """The values of BOOTSTRAP patches, in the order in which they are applied, as one Bootstrap.

    As with Istio MERGE is all that can be done to a bootstrap, and ``match.context`` does not count: a bootstrap has
    no sides.
    """
    given = list(patches)
    merged = [each for each in given if each.operation is Operation.MERGE]
    failed = tuple((each, _NOT_MERGED) for each in given if each.operation is not Operation.MERGE)
    if not merged:
        return Joined(failed=failed)
    message = merged[0].copy()
    for each in merged[1:]:
        merge(message, each.value)
    origins = tuple(Origin("", each.ref, f"{each.field}.patch.value") for each in merged)
    return Joined({NAME: resource(NAME, TYPE_URL, message, origins)}, frozenset(merged), failed)
