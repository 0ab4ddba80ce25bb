"""The network filters of a chain, in their order, up to the one that sends the bytes on."""

from collections.abc import Hashable, Iterable, Iterator
from typing import Any, NamedTuple

from tidegate.dump.config.listener import Filter
from tidegate.dump.config.network import (
    Rbac,
    RedisProxy,
    SetFilterState,
    SniForwardProxy,
    TcpProxy,
)
from tidegate.explain import http, rbac
from tidegate.explain.clusters import Result, Want, forward
from tidegate.explain.config import RunningListener, chain_path
from tidegate.explain.downstream import accept
from tidegate.explain.extensions import body, network_kind, resolved
from tidegate.explain.network_state import formatted, set_state
from tidegate.explain.trace import End, Tunnel
from tidegate.explain.walk import Walk

_CLUSTER_STATE = "envoy.tcp_proxy.cluster"


class Here(NamedTuple):
    """A filter and where it stands."""

    filter: Filter
    where: str
    """For a reader: listener and path."""
    path: str
    """Inside the listener."""
    key: Hashable
    """Of this one filter, whatever its listener is called."""


def run_chain(walk: Walk, running: RunningListener, number: int) -> Iterator[Result]:
    """Everything that a filter chain does with a connection."""
    chain = running.chain(number)
    where = f"{running.where} {chain_path(number)}"
    accepted = accept(walk, chain, where)
    if isinstance(accepted, End):
        yield accepted
        return
    strange: list[str] = []
    for place, raw in enumerate(chain.filters):
        path = f"{chain_path(number)}.filters[{place}]"
        each = resolved(accepted, accepted.notes.read(Filter, raw, f"{running.where} {path}"), where)
        if each is None:
            continue
        found = _filter(accepted, Here(each, f"{running.where} {path}", path, (id(running), path)))
        if not isinstance(found, Walk):
            yield from found
            return
        accepted = found
        strange += [network_kind(each)] if _is_strange(each) else []
    if strange:
        yield accepted.end("unknown", f"no filter that is known here takes the connection on: {', '.join(strange)} may")
        return
    yield accepted.end("closed", "the filter chain has no filter that takes the connection on")


def _filter(walk: Walk, here: Here) -> Walk | Iterable[Result]:
    """The walk goes on, or here are its ends."""
    kind = network_kind(here.filter)
    if kind in _PASSING:
        return _PASSING[kind](walk, here)
    if kind in _TERMINAL and not here.filter.typed_config:
        return [walk.end("unknown", f"network filter {here.filter.name} has no typedConfig: nothing is known of it")]
    if kind in _TERMINAL:
        return _TERMINAL[kind](walk, here)
    if _is_strange(here.filter):
        walk.unsure(here.where, f"network filter {kind or '?'} is not known here: taken to let the connection pass")
    return walk


def _is_strange(each: Filter) -> bool:
    kind = network_kind(each)
    return kind not in _PASSING and kind not in _TERMINAL and kind != "inert"


def _set_state(walk: Walk, here: Here) -> Walk:
    settings = walk.notes.read(SetFilterState, body(here.filter), here.where)
    handshake = settings.on_downstream_tls_handshake if walk.ended_tls else ()
    return set_state(walk, (*settings.on_new_connection, *handshake), here.where)


def _sni_cluster(walk: Walk, here: Here) -> Walk:
    if not walk.sni:
        return walk
    seen = walk.step(
        "network_filter", "SniCluster", path=here.path, why=f"the server name {walk.sni} names the cluster"
    )
    return seen.with_(state={**walk.state, _CLUSTER_STATE: walk.sni})


def _sni_forward_proxy(walk: Walk, here: Here) -> Walk:
    settings = walk.notes.read(SniForwardProxy, body(here.filter), here.where)
    state = dict(walk.state)
    if walk.sni:
        state.setdefault("envoy.upstream.dynamic_host", walk.sni)
    state.setdefault("envoy.upstream.dynamic_port", str(settings.port_value))
    return walk.with_(state=state)


def _rbac(walk: Walk, here: Here) -> Walk | Iterable[Result]:
    settings = walk.notes.read(Rbac, body(here.filter), here.where)
    if settings.matcher is not None:
        walk.unsure(here.where, "RBAC by matcher is not judged here: taken to allow")
    if settings.rules is None:
        return walk
    judged = rbac.judge(walk, settings.rules, None, here.where)
    if judged.allowed is None:
        walk.unsure(here.where, f"RBAC policy {judged.policy} cannot be judged: taken to let the connection pass")
    why = rbac.in_words(judged)
    seen = walk.step("network_filter", "RBAC", judged.policy, path=here.path, why=why, facts={"action": judged.action})
    if judged.allowed is not False:
        return seen
    until = " when the client says something: a server that speaks first is heard until then"  # judged by its bytes
    return [seen.end("denied", f"{why}: the connection is closed{until if walk.payload == 'silence' else ''}")]


def _tcp_proxy(walk: Walk, here: Here) -> Iterator[Result]:
    settings = walk.notes.read(TcpProxy, body(here.filter), here.where)
    walk = walk.step("network_filter", "TcpProxy", path=here.path, why="sends the bytes on as they are")
    walk = walk.with_(on_demand=settings.on_demand is not None)
    tunnel = None
    if settings.tunneling_config is not None:
        host, _ = formatted(walk, settings.tunneling_config.hostname)
        tunnel = Tunnel(host, "POST" if settings.tunneling_config.use_post else "CONNECT")
    for share, name, criteria in _tcp_clusters(walk, settings):
        dynamic = walk.state.get("envoy.upstream.dynamic_host", walk.sni)
        want = Want(name, criteria=criteria, dynamic_host=dynamic, tunnel=tunnel)
        yield from forward(walk.split(share), want)


def _tcp_clusters(walk: Walk, settings: TcpProxy) -> Iterator[tuple[float, str, Any]]:
    """The cluster, or several by weight; a filter before may have named another."""
    stated = walk.state.get(_CLUSTER_STATE)
    if stated or settings.weighted_clusters is None:
        yield 1.0, stated or settings.cluster, settings.metadata_match
        return
    weights = settings.weighted_clusters.clusters
    total = sum(max(each.weight, 0) for each in weights)
    for each in weights:
        if each.weight > 0:
            yield each.weight / total, each.name, each.metadata_match


def _redis(walk: Walk, here: Here) -> Iterator[Result]:
    routes = walk.notes.read(RedisProxy, body(here.filter), here.where).prefix_routes
    walk = walk.step("network_filter", "RedisProxy", path=here.path, why="sends each command on by its key")
    if routes.routes:
        walk.unsure(here.where, "which cluster a command goes to depends on its key: taken to be the catch-all route")
    route = routes.catch_all_route
    if route is None:
        yield walk.end("unknown", "the redis proxy has no catch-all route; the key of each command decides")
        return
    yield from forward(walk, Want(route.cluster))


def _answer(walk: Walk, here: Here) -> list[Result]:
    seen = walk.step("network_filter", "DirectResponse", path=here.path, why="answers itself and closes")
    return [seen.end("direct_response", "the proxy answers with fixed bytes and closes the connection")]


def _echo(walk: Walk, here: Here) -> list[Result]:
    seen = walk.step("network_filter", "Echo", path=here.path, why="sends back what it gets")
    return [seen.end("direct_response", "the proxy itself echoes the bytes")]


def _manager(walk: Walk, here: Here) -> Iterator[Result]:
    return http.manage(walk, body(here.filter), http.Place(here.where, here.path, here.key))


_PASSING = {
    "set_filter_state": _set_state,
    "sni_cluster": _sni_cluster,
    "sni_dynamic_forward_proxy": _sni_forward_proxy,
    "rbac": _rbac,
}
_TERMINAL = {
    "hcm": _manager,
    "tcp_proxy": _tcp_proxy,
    "redis_proxy": _redis,
    "direct_response": _answer,
    "echo": _echo,
}
