"""What one proxy is shown: its kind's outbound resources and its own inbound ones."""

from collections.abc import Collection, Iterator, Mapping

import msgspec

from tidegate.api.networking import Sidecar
from tidegate.api.objects import Object, Ref
from tidegate.api.telemetry import WorkloadMode
from tidegate.envoy import credentials, inbound, local_cluster, policy, routes, special, telemetry
from tidegate.envoy.cache import Builders
from tidegate.envoy.defaults import Slices, keyed
from tidegate.envoy.gateway import listeners, servers
from tidegate.envoy.gateway import routes as gateway_routes
from tidegate.envoy.gateway.gather import gateway_input
from tidegate.envoy.gateway.inputs import GatewayInput
from tidegate.envoy.inputs import CredentialInput, InboundInput
from tidegate.envoy.outbound import Resources
from tidegate.envoy.resource import CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET, Decision, Resource
from tidegate.envoy.security import tokens
from tidegate.envoy.security.gather import gather
from tidegate.registry.model import ServiceTarget
from tidegate.scope import choice
from tidegate.scope.credentials import for_upstreams
from tidegate.scope.proxy import Proxy
from tidegate.snapshot.world import World

Inbound = Mapping[str, Mapping[str, Resource]]
"""By type URL and name."""


class ProxyView:
    """An immutable view; implements :class:`tidegate.xds.source.View`."""

    __slots__ = ("_hidden", "_inbound", "_outbound", "version")

    def __init__(
        self, version: str, outbound: Mapping[str, Resources], own: Inbound, addresses: tuple[str, ...]
    ) -> None:
        self.version, self._outbound, self._inbound = version, outbound, own
        self._hidden = addresses
        """A headless service's listener for the proxy's own address would send it to itself."""

    def names(self, type_url: str) -> "Names":
        """Names that a wildcard subscription gets: outbound first, inbound last. Answers ``in`` without a walk."""
        hidden = self._hidden if type_url == LISTENER else ()
        return Names(self._outbound.get(type_url, {}), self._inbound.get(type_url, {}), hidden)

    def lists(self, type_url: str, name: str) -> bool:
        """Whether a wildcard subscription gets the name; sessions ask this for each changed one."""
        return name in self.names(type_url)

    def get(self, type_url: str, name: str) -> Resource | None:
        """A resource by name. A route configuration that nothing feeds is empty, never missing: Envoy holds a
        listener back until the routes it asked for are answered."""
        own = self._inbound.get(type_url, {}).get(name)
        if own is not None:
            return own
        if self._is_hidden(type_url, name):
            return None
        shared = self._outbound.get(type_url)
        found = shared.get(name) if shared is not None else None
        if found is None and type_url == ROUTE:
            return routes.route_config(name, [], None)
        return found

    def _is_hidden(self, type_url: str, name: str) -> bool:
        return type_url == LISTENER and name.rpartition("_")[0] in self._hidden


class Names(Collection[str]):
    """The names of one type in one view, each once, without a copy of them. Where both sides have a name, it is the
    inbound one's."""

    __slots__ = ("_hidden", "_own", "_shared")

    def __init__(self, shared: Collection[str], own: Collection[str], hidden: Collection[str]) -> None:
        self._shared, self._own, self._hidden = shared, own, hidden

    def __contains__(self, name: object) -> bool:
        return name in self._own or (name in self._shared and not self._skips(str(name)))

    def __iter__(self) -> Iterator[str]:
        yield from (name for name in self._shared if not self._skips(name))
        yield from self._own

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _skips(self, name: str) -> bool:
        return name in self._own or (bool(self._hidden) and name.rpartition("_")[0] in self._hidden)


OwnInput = InboundInput | GatewayInput


class InboundState(msgspec.Struct, frozen=True):
    """The own side of one proxy (a sidecar's inbound one) and the input it was made from."""

    given: OwnInput
    resources: dict[str, dict[str, Resource]]
    decisions: tuple[Decision, ...] = ()
    """Those that no resource tells of, because none was made."""


def own_input(world: World, proxy: Proxy, slices: Slices) -> OwnInput:
    """Gather what one proxy's own side depends on: a gateway's listeners and routes, a sidecar's inbound ones."""
    mode = WorkloadMode.CLIENT if proxy.kind.router else WorkloadMode.SERVER
    slices = telemetry.for_proxy(slices, world, proxy.kind.namespace, proxy.labels, mode)
    return gateway_input(world, proxy, slices) if proxy.kind.router else inbound_input(world, proxy, slices)


def inbound_input(world: World, proxy: Proxy, slices: Slices) -> InboundInput:
    """Gather what one sidecar's inbound listener and clusters depend on."""
    sidecar = choice.sidecar(world, proxy.kind.namespace, proxy.labels)
    workload = world.workloads.get(proxy.workload) if proxy.workload else None
    targets = world.targets(workload) if workload else ()
    pools = tuple(_pools(world, proxy, targets))
    return InboundInput(
        targets=targets,
        sidecar=sidecar,
        pools=tuple((port, keyed(held.connection_pool)) for port, held, _ in pools if held.connection_pool is not None),
        budgets=tuple((port, keyed(held.retry_budget)) for port, held, _ in pools if held.retry_budget is not None),
        pool_rules=tuple((port, ref) for port, _, ref in pools),
        address=proxy.addresses[0] if _needs_address(sidecar) else "",
        credentials=_upstream_credentials(world, proxy),
        security=gather(world, proxy.kind, proxy.labels),
        merge_ingress=world.features.merge_sidecar_ingress,
        ingress_tls=world.features.tls_on_sidecar_ingress,
        peers=local_cluster.gather(world, proxy, targets),
        defaults=slices.listener,
        proxy=proxy.kind,
    )


def _upstream_credentials(world: World, proxy: Proxy) -> tuple[CredentialInput, ...]:
    names = (n for credential in for_upstreams(world, proxy) for n in credentials.of_upstream(credential))
    return credentials.gathered(world, names, proxy.kind.namespace)


def _needs_address(sidecar: Object[Sidecar] | None) -> bool:
    return bool(sidecar and sidecar.spec.ingress)


def _pools(world: World, proxy: Proxy, targets: tuple[ServiceTarget, ...]) -> Iterator[tuple[int, policy.Policy, Ref]]:
    """DestinationRules that hold for inbound clusters, by target port, and what they say of the port; rules with a
    workloadSelector do not count."""
    seen: set[int] = set()
    for target in targets:
        if target.endpoint_port in seen:
            continue
        seen.add(target.endpoint_port)
        rule = choice.destination_rule(world, proxy.kind, target.service, selectors=False)
        if rule is None or rule.spec.traffic_policy is None:
            continue
        yield target.endpoint_port, policy.effective(rule, target.port.number, ""), rule.ref


def build_own(given: OwnInput, builders: Builders) -> InboundState:
    """The own side of one proxy. All of it or an error: half of it would close ports of the workload."""
    if isinstance(given, InboundInput):
        return build_inbound(given, builders)
    settled = servers.settle(given)
    found = list(listeners.build(given, settled))
    made = {
        LISTENER: found,
        ROUTE: gateway_routes.build(given, settled, builders),
        SECRET: _secrets(given, builders),
        CLUSTER: tokens.clusters(given.security, given.defaults.cluster, given.proxy),
        ENDPOINT: _peers(given, builders),
    }
    return InboundState(
        given=given,
        resources={url: {r.name: r for r in of_type} for url, of_type in made.items()},
        decisions=tuple(listeners.untold(given, settled, found)),
    )


def _secrets(given: OwnInput, builders: Builders) -> list[Resource]:
    found = (builders.get(credentials.build, each) for each in given.credentials)
    return [each for each in found if each is not None]


def _peers(given: OwnInput, builders: Builders) -> list[Resource]:
    found = builders.get(local_cluster.build, given.peers) if given.peers is not None else None
    return [found] if found is not None else []


def build_inbound(given: InboundInput, builders: Builders) -> InboundState:
    """The inbound listener, bound listeners of Sidecar ingress, and the inbound clusters. All of it or an error: half
    of it would close ports of the workload."""
    listener = builders.get(inbound.virtual_inbound, given, contained=False)
    bound = inbound.inbound_listeners(given)
    made = (
        *inbound.inbound_clusters(given),
        special.inbound_passthrough(given.defaults.cluster, given.proxy),
        *tokens.clusters(given.security, given.defaults.cluster, given.proxy),
    )
    return InboundState(
        given=given,
        resources={
            CLUSTER: {c.name: c for c in made},
            LISTENER: {each.name: each for each in (*bound, *((listener,) if listener else ()))},
            SECRET: {each.name: each for each in _secrets(given, builders)},
            ENDPOINT: {each.name: each for each in _peers(given, builders)},
        },
    )
