"""What EnvoyFilters take out of a proxy's configuration, where a connection misses it."""

from collections.abc import Iterator

from tidegate.answer.absence import Absence
from tidegate.answer.intent import Intent
from tidegate.api.envoyfilter import ApplyTo, Operation, PatchContext
from tidegate.envoy.patches import clusters, routes
from tidegate.envoy.patches.layer import outbound_context
from tidegate.envoy.patches.selection import PatchSet, patch_set
from tidegate.explain.trace import End
from tidegate.scope.proxy import Proxy
from tidegate.snapshot.world import World


def removals(world: World, proxy: Proxy, intent: Intent, end: End, *, inbound: bool) -> Iterator[Absence]:
    """The patches that remove the cluster that a route names, or the virtual host of the meant service."""
    if not world.policies("EnvoyFilter"):
        return
    context = PatchContext.SIDECAR_INBOUND if inbound else outbound_context(proxy.kind)
    found = patch_set(world, proxy).within(context)
    gone = PatchSet(tuple(each for each in found.patches if each.operation is Operation.REMOVE))
    for patch in clusters.concerning(gone, end.cluster, ()) if end.kind == "no_cluster" else ():
        yield Absence(patch.ref, patch.field, f"removes the cluster {end.cluster}")
    if inbound or intent.preferred is None:
        return
    name = f"{intent.preferred.host}:{intent.port}"
    hosts = PatchSet(gone.of(ApplyTo.VIRTUAL_HOST))
    for patch in hosts.patches:
        if routes.may_concern_host(PatchSet((patch,)), name):
            yield Absence(patch.ref, patch.field, f"removes the virtual host {name}")
