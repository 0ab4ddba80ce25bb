"""Which Secrets DestinationRules have a proxy ask for, to call other servers with TLS."""

from collections.abc import Iterator

from tidegate.scope import choice
from tidegate.scope.proxy import Proxy
from tidegate.snapshot.destinationrules import credentials
from tidegate.snapshot.world import World


def for_upstreams(world: World, proxy: Proxy) -> Iterator[str]:
    """Names that hold for a proxy: at a gateway those of every rule that it sees, at a sidecar those of rules of its
    namespace that select it. Others may not have the keys."""
    if not proxy.kind.router:
        for rule in world.rules_with_credentials(proxy.kind.namespace):
            if choice.selects_by_label(rule, proxy.kind.namespace, proxy.labels):
                yield from credentials(rule)
        return
    for rule in world.rules_with_credentials():
        if choice.sees_destination_rule(world, proxy.kind, rule, proxy.labels):
            yield from credentials(rule)
