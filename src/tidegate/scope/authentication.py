"""Mutual TLS that a workload demands: the PeerAuthentications that hold for it, put together."""

from collections.abc import Callable, Iterable

import msgspec

from tidegate.api.objects import Object, Ref
from tidegate.api.security import MutualTLSMode, PeerAuthentication
from tidegate.api.selection import labels_selected
from tidegate.registry.model import Endpoint, Labels
from tidegate.snapshot.world import World

KIND = "PeerAuthentication"
TLS_ISTIO = "istio"
"""``tls_mode`` of endpoints that take mutual TLS."""
Mode = MutualTLSMode


class PeerModes(msgspec.Struct, frozen=True, cache_hash=True, gc=False):
    """A workload's mutual TLS, by port. A mode is never UNSET."""

    mode: Mode = Mode.PERMISSIVE
    """Of all ports that ``ports`` does not name."""
    ports: tuple[tuple[int, Mode], ...] = ()
    """By the workload's own port, rising."""
    source: Ref | None = None
    """The PeerAuthentication that ``mode`` comes from; None: nobody set one."""
    port_source: Ref | None = None
    """The one that ``ports`` come from."""

    def of(self, port: int) -> Mode:
        return next((mode for number, mode in self.ports if number == port), self.mode)

    @property
    def strict(self) -> tuple[Ref, ...]:
        """Who demands mutual TLS of every caller, on some port."""
        found = [self.source] if self.mode is Mode.STRICT else []
        found += [self.port_source] if any(mode is Mode.STRICT for _, mode in self.ports) else []
        return tuple(dict.fromkeys(ref for ref in found if ref is not None))


UNSAID = PeerModes()


def peer_modes(world: World, namespace: str, labels: Labels) -> PeerModes:
    """The mutual TLS of one workload. Of each level the oldest policy counts, and a narrower level before a wider one:
    the workload's, its namespace's, the root namespace's; a mode that is UNSET leaves it to the next.
    https://istio.io/latest/docs/reference/config/security/peer_authentication/
    """
    wide = namespace_mode(world, namespace)
    root, mine = world.mesh.root_namespace, dict(labels)
    if namespace == root:
        return wide
    own = world.policies_in(KIND, namespace)
    chosen = _first(own, lambda wanted: bool(wanted) and all(mine.get(k) == v for k, v in wanted.items()))
    return _narrowed(wide, chosen) if chosen is not None else wide


def namespace_mode(world: World, namespace: str) -> PeerModes:
    """What holds in a namespace for workloads without a policy of their own."""
    found = UNSAID
    root = world.mesh.root_namespace
    for space in (root,) if namespace == root else (root, namespace):
        policy = _first(world.policies_in(KIND, space), lambda wanted: not wanted)
        if policy is not None and (mode := _mode(policy)) is not Mode.UNSET:
            found = PeerModes(mode, (), policy.ref)
    return found


def _first(
    policies: Iterable[Object[PeerAuthentication]], wanted: Callable[[dict[str, str]], bool]
) -> Object[PeerAuthentication] | None:
    return next((p for p in policies if wanted(labels_selected(p.spec.selector))), None)


def _mode(policy: Object[PeerAuthentication]) -> Mode:
    return policy.spec.mtls.mode if policy.spec.mtls is not None else Mode.UNSET


def _narrowed(wide: PeerModes, policy: Object[PeerAuthentication]) -> PeerModes:
    own = _mode(policy)
    mode, source = (wide.mode, wide.source) if own is Mode.UNSET else (own, policy.ref)
    ports = {int(port): each.mode for port, each in (policy.spec.port_level_mtls or {}).items()}
    settled = ((port, mode if each is Mode.UNSET else each) for port, each in sorted(ports.items()))
    return PeerModes(mode, tuple(settled), source, policy.ref if ports else None)


def refuses_by_default(world: World, namespace: str) -> bool:
    """Whether mutual TLS is switched off for a namespace: callers then do not try it on any of its services."""
    return namespace_mode(world, namespace).mode is Mode.DISABLE


def reached_plainly(world: World, endpoints: tuple[Endpoint, ...]) -> tuple[Endpoint, ...]:
    """The endpoints as callers must reach them: without mutual TLS where the workload refuses it on that port."""
    if not world.policies(KIND):
        return endpoints
    known: dict[tuple[str, Labels], PeerModes] = {}

    def refuses(endpoint: Endpoint) -> bool:
        if endpoint.tls_mode != TLS_ISTIO:
            return False
        key = (endpoint.workload_namespace, endpoint.labels)
        if key not in known:
            known[key] = peer_modes(world, *key)
        return known[key].of(endpoint.port) is Mode.DISABLE

    return tuple(msgspec.structs.replace(e, tls_mode="disabled") if refuses(e) else e for e in endpoints)
