"""What rules lean on in routing: TPROXY's policy route, and the source address of what Envoy passes in over IPv6."""

import socket
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from tidegate.capture.kernel import CaptureError, Kernel
from tidegate.capture.namespace import inside
from tidegate.rules.options import ALL, CaptureOptions, Surroundings

_PASSTHROUGH_V6 = "::6"
_PASSTHROUGH = f"{_PASSTHROUGH_V6}/128 on lo"
_EXISTS = 17
_ABSENT = {2, 3, 97, 99, 113}
"""No such entry, device, family or address."""

Request = tuple[str, Callable[[str], object]]
"""What it is, in words, and the call that adds or deletes it."""


def add_routing(options: CaptureOptions, surroundings: Surroundings, kernel: Kernel) -> Callable[[], None]:
    """Put there what is missing; the returned call takes exactly that away again. Raises CaptureError."""
    done: list[str] = []

    def undo() -> None:
        _perform(kernel, options, surroundings, "del", done.__contains__)

    try:
        done += _perform(kernel, options, surroundings, "add")
    except CaptureError:
        undo()
        raise
    return undo


def remove_routing(options: CaptureOptions, surroundings: Surroundings, kernel: Kernel) -> None:
    """Take away what options of this make put there; fine when there is nothing."""
    _perform(kernel, options, surroundings, "del")


def remove_tproxy_route(options: CaptureOptions, kernel: Kernel) -> None:
    """Take away the policy route that an earlier TPROXY mode left; fine when there is none."""
    as_tproxy = msgspec.structs.replace(options, inbound_interception_mode="TPROXY", inbound_ports=ALL)
    _perform(kernel, as_tproxy, Surroundings(ipv6=True), "del", lambda what: what != _PASSTHROUGH)


def needs_tproxy_route(options: CaptureOptions) -> bool:
    return options.tproxy and bool(options.inbound_ports)


def _perform(
    kernel: Kernel,
    options: CaptureOptions,
    surroundings: Surroundings,
    verb: str,
    chosen: Callable[[str], bool] = lambda _: True,
) -> list[str]:
    """Add or delete what is chosen, and return what was changed."""
    if not (surroundings.ipv6 or needs_tproxy_route(options)):
        return []
    return inside(kernel.netns_path(), lambda: _carry_out(options, surroundings, verb, chosen))


def _carry_out(
    options: CaptureOptions, surroundings: Surroundings, verb: str, chosen: Callable[[str], bool]
) -> list[str]:
    from pyroute2 import IPRoute
    from pyroute2.netlink.exceptions import NetlinkError

    changed: list[str] = []
    with IPRoute() as route:
        for what, act in _requests(route, options, surroundings):
            if not chosen(what):
                continue
            try:
                act(verb)
                changed.append(what)
            except NetlinkError as error:
                if error.code not in ({_EXISTS} if verb == "add" else _ABSENT):
                    raise CaptureError(f"{what}: {error}") from error
    return changed


def _requests(route: Any, options: CaptureOptions, surroundings: Surroundings) -> Iterator[Request]:
    loopback = route.link_lookup(ifname="lo")[0]
    if surroundings.ipv6:
        yield _PASSTHROUGH, lambda verb: route.addr(verb, index=loopback, address=_PASSTHROUGH_V6, prefixlen=128)
    if not needs_tproxy_route(options):
        return
    yield from _policy(route, loopback, options, socket.AF_INET, "0.0.0.0/0")
    if surroundings.ipv6:
        yield from _policy(route, loopback, options, socket.AF_INET6, "::/0")


def _policy(route: Any, loopback: int, options: CaptureOptions, family: int, everywhere: str) -> Iterator[Request]:
    mark, table = options.inbound_tproxy_mark, options.inbound_tproxy_route_table
    name = "IPv4" if family == socket.AF_INET else "IPv6"
    # deleted first when both go: a mark that leads to an empty table would fall through to the others
    yield (
        f"{name} routing rule for mark {mark}",
        lambda verb: route.rule(verb, family=family, fwmark=mark, table=table, action="to_tbl"),
    )
    yield (
        f"{name} local route in table {table}",
        lambda verb: route.route(
            verb, family=family, dst=everywhere, oif=loopback, table=table, type="local", scope="host"
        ),
    )
