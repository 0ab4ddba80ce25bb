"""Which listener takes a connection: where it arrives, and where it is handed over to."""

from collections.abc import Iterator

from tidegate.dump.config.parts import type_of
from tidegate.explain.config import EnvoyConfig, RunningListener
from tidegate.explain.matchers import as_ip
from tidegate.explain.trace import End, Rejection
from tidegate.explain.walk import Walk

ORIGINAL_DST = "envoy.extensions.filters.listener.original_dst.v3.OriginalDst"
_ORIGINAL_DST_NAMES = frozenset({"envoy.filters.listener.original_dst", "envoy.listener.original_dst"})
ANY_IPV4, ANY_IPV6 = "0.0.0.0", "::"  # noqa: S104 - compared, never bound


def arrival(walk: Walk) -> RunningListener | None:
    """The listener whose socket the connection comes to: the one that packets are redirected to, else the one that
    listens on the dialled address itself."""
    connection = walk.connection
    if connection.transport == "tcp" and connection.direction != "gateway" and connection.captured:
        config, inbound, any_ip = walk.config, connection.direction == "inbound", wildcard(walk.ip)
        redirected = config.once(("redirected", inbound, any_ip), lambda _: _redirected_to(config, inbound, any_ip))
        if redirected:
            return redirected
    return bound_to(walk.config, walk.ip, walk.port, connection.transport.upper())


def bound_to(config: EnvoyConfig, ip: str, port: int, protocol: str = "TCP") -> RunningListener | None:
    """The listener whose own socket is at an address, or at every address."""
    return next((each for each in _on(config, ip, port, protocol) if each.listener.binds), None)


def restores_address(running: RunningListener) -> bool:
    """Whether the listener learns the dialled address of a connection redirected to it."""
    listener = running.listener
    if listener.hands_over:
        return True
    return any(
        type_of(each.typed_config) == ORIGINAL_DST or (not each.typed_config and each.name in _ORIGINAL_DST_NAMES)
        for each in listener.listener_filters
    )


def _redirected_to(config: EnvoyConfig, inbound: bool, any_ip: str) -> RunningListener | None:
    """The listener that packet rules redirect one direction to: bound to an address of the family, ``any_ip`` being
    its wildcard, and asking for the original address."""
    wanted = "INBOUND" if inbound else "OUTBOUND"
    able = [each for each in config.listeners if each.listener.binds and restores_address(each)]
    able = [each for each in able if any(wildcard(ip) == any_ip for ip, _, _ in each.addresses)]
    told = [each for each in able if each.listener.traffic_direction == wanted]
    untold = [each for each in able if each.listener.traffic_direction not in ("INBOUND", "OUTBOUND")]
    fitting = [each for each in (*told, *untold) if inbound or each.listener.hands_over] or told
    return fitting[0] if fitting else None


def _on(config: EnvoyConfig, ip: str, port: int, protocol: str) -> Iterator[RunningListener]:
    """Listeners of the exact address, then of the wildcard of its family."""
    yield from config.listening_on(ip, port, protocol)
    yield from config.listening_on(wildcard(ip), port, protocol)


def wildcard(ip: str) -> str:
    address = as_ip(ip)
    return ANY_IPV6 if address is not None and address.version == 6 else ANY_IPV4


def handed_over(walk: Walk, running: RunningListener) -> RunningListener | None:
    """The listener of the original address, where the receiving one passes connections on; None: it keeps them."""
    if not running.listener.hands_over:
        return None
    found = next(_on(walk.config, walk.ip, walk.port, "TCP"), None)
    return None if found is running else found


def arrived(walk: Walk, running: RunningListener, why: str) -> Walk:
    """The decision for this listener, with those of the same port that lost."""
    listener = running.listener
    rejected = _others(walk, running)
    facts = {
        "trafficDirection": listener.traffic_direction,
        "bindToPort": listener.binds,
        "addresses": [f"{ip}:{port}" for ip, port, _ in running.addresses],
    }
    istio = listener.metadata.istio
    return walk.step("listener", "Listener", listener.name, why=why, rejected=rejected, istio=istio, facts=facts)


def _others(walk: Walk, chosen: RunningListener) -> tuple[Rejection, ...]:
    on_port = [(each, ips) for each, ips in walk.config.on_port(walk.port) if each is not chosen]
    return walk.nearest([Rejection(each.listener.name, _why_not(walk, ips)) for each, ips in on_port])


def _why_not(walk: Walk, addresses: list[str]) -> str:
    if any(as_ip(ip) == as_ip(walk.ip) or ip == wildcard(walk.ip) for ip in addresses):
        return "a listener of a more exact address takes the connection"
    return f"listens on {', '.join(addresses)}, the connection goes to {walk.ip}"


def no_listener(walk: Walk) -> End:
    where = f"{walk.ip}:{walk.port}"
    rejected = _others_on_port(walk)
    seen = walk.step("listener", "Listener", why=f"no listener for {where}", rejected=rejected)
    why = f"the proxy has no listener that takes connections to {where}"
    if walk.connection.transparent:
        return seen.end("dropped", f"{why}: TPROXY drops its packets, and the client waits")
    return seen.end("no_listener", why)


def _others_on_port(walk: Walk) -> tuple[Rejection, ...]:
    lost = []
    for each, ips in walk.config.on_port(walk.port):
        bound = "listens on another address" if each.listener.binds else "has no socket of its own"
        lost.append(Rejection(each.listener.name, f"{bound} ({', '.join(ips)})"))
    return walk.nearest(lost)
