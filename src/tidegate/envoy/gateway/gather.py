"""From the world to the input of one gateway's builders."""

from collections.abc import Iterable, Iterator

from tidegate.api.networking import Gateway, VirtualService
from tidegate.api.objects import Object
from tidegate.envoy import local_cluster, server_tls
from tidegate.envoy.contribution import destinations, target_of
from tidegate.envoy.credentials import gathered, of_upstream
from tidegate.envoy.defaults import Slices
from tidegate.envoy.gateway.inputs import Bound, GatewayInput, Passing
from tidegate.envoy.inputs import CredentialInput, Target
from tidegate.envoy.security.gather import gather
from tidegate.envoy.tls import credential_name
from tidegate.registry.networks import ranges
from tidegate.scope import choice, credentials, gateways
from tidegate.scope.proxy import Proxy
from tidegate.snapshot.world import World


def gateway_input(world: World, proxy: Proxy, slices: Slices) -> GatewayInput:
    """What one gateway's listeners and routes depend on."""
    workload = world.workloads.get(proxy.workload) if proxy.workload else None
    targets = world.targets(workload) if workload else ()
    selected = gateways.selected(world, proxy.labels, targets)
    bound = tuple(
        Bound(gateway=each, rules=gateways.bound(world, proxy.kind.namespace, gateways.qualified(each)))
        for each in selected
    )
    return GatewayInput(
        gateways=bound,
        targets=targets,
        destinations=tuple(_targets(world, proxy, (rule for each in bound for rule in each.rules))),
        passing=tuple(_passing(world, proxy)) if gateways.passes_unopened(selected) else (),
        credentials=_gathered(world, proxy, selected),
        topology=proxy.topology,
        internal=ranges(world.mesh_networks),
        unprivileged=proxy.unprivileged,
        peers=local_cluster.gather(world, proxy, targets),
        security=gather(world, proxy.kind, proxy.labels),
        defaults=slices.listener,
        routes=slices.route,
        proxy=proxy.kind,
    )


def _gathered(world: World, proxy: Proxy, selected: tuple[Object[Gateway], ...]) -> tuple[CredentialInput, ...]:
    """Keys are for a workload that some Gateway selects: its labels are the store's word, not the proxy's."""
    if not selected:
        return ()
    upstream = (name for rule in credentials.for_upstreams(world, proxy) for name in of_upstream(rule))
    return gathered(world, (*_credentials(selected), *upstream), proxy.kind.namespace)


def _targets(world: World, proxy: Proxy, rules: Iterable[Object[VirtualService]]) -> Iterator[Target]:
    for host in dict.fromkeys(host for rule in rules for host in destinations(rule)):
        yield target_of(world, proxy.kind, host)


def _passing(world: World, proxy: Proxy) -> Iterator[Passing]:
    """Services of the mesh that the gateway sees, oldest first."""
    kept = []
    for host in world.by_host:
        candidates = choice.service_candidates(world, proxy.kind, host)
        if candidates and not candidates[0].external:
            kept.append(candidates[0])
    for service in sorted(kept, key=lambda each: each.age_key):
        yield Passing(service=service, rule=choice.destination_rule(world, proxy.kind, service))


def _credentials(selected: Iterable[Object[Gateway]]) -> Iterator[str]:
    """Names of the Secrets that the servers show to clients, or check them by."""
    for gateway in selected:
        for server in gateway.spec.servers:
            if server.tls is not None:
                yield from (credential_name(name) for name in server_tls.credentials(server.tls))
                if roots := server_tls.client_roots(server.tls):
                    yield credential_name(roots)
