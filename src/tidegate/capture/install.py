"""Everything that captures one workload's traffic: rules, and what they lean on in routing."""

import socket
from collections.abc import Callable, Iterator
from typing import Any

from tidegate.capture.apply import Outcome, apply, remove
from tidegate.capture.kernel import CaptureError, Kernel
from tidegate.rules.capture_rules import rule_set
from tidegate.rules.options import CaptureOptions, Surroundings

_PASSTHROUGH_V6 = "::6"


def install(options: CaptureOptions, surroundings: Surroundings, kernel: Kernel | None = None) -> Outcome:
    """Apply the rules of the options, with TPROXY's routing and IPv6's pass-through address where they need them.

    Applying twice changes nothing the second time. Raises CaptureError with everything put back.
    """
    kernel = kernel or Kernel()
    outcome = apply((rule_set(options, surroundings), rule_set(options, surroundings, "ipv6")), kernel)
    try:
        _routing(options, surroundings, kernel, add=True)
    except CaptureError:
        uninstall(options, surroundings, kernel)
        raise
    return outcome


def uninstall(
    options: CaptureOptions, surroundings: Surroundings | None = None, kernel: Kernel | None = None
) -> Outcome:
    """Take away what ``install`` with the same options put there; fine when there is nothing."""
    kernel = kernel or Kernel()
    surroundings = surroundings or Surroundings(ipv6=True)
    outcome = remove((rule_set(options, surroundings), rule_set(options, surroundings, "ipv6")), kernel)
    _routing(options, surroundings, kernel, add=False)
    return outcome


def _routing(options: CaptureOptions, surroundings: Surroundings, kernel: Kernel, *, add: bool) -> None:
    needed = surroundings.ipv6 or (options.tproxy and options.inbound_ports)
    if not needed:
        return
    from pyroute2 import IPRoute
    from pyroute2.netlink.exceptions import NetlinkError

    with IPRoute(netns=kernel.netns_path()) as route:
        for what, act in _requests(route, options, surroundings, "add" if add else "del"):
            try:
                act()
            except NetlinkError as error:
                if error.code not in _HARMLESS[add]:
                    raise CaptureError(f"{what}: {error}") from error


_HARMLESS = {True: {17}, False: {2, 3, 97, 99, 113}}
"""EEXIST when adding; no such entry, device, family or address when taking away."""


def _requests(
    route: Any, options: CaptureOptions, surroundings: Surroundings, verb: str
) -> Iterator[tuple[str, Callable[[], object]]]:
    loopback = route.link_lookup(ifname="lo")[0]
    if surroundings.ipv6:
        address = f"{_PASSTHROUGH_V6}/128 on lo"
        yield address, lambda: route.addr(verb, index=loopback, address=_PASSTHROUGH_V6, prefixlen=128)
    if not options.tproxy or not options.inbound_ports:
        return
    mark, table = options.inbound_tproxy_mark, options.inbound_tproxy_route_table
    for family in (socket.AF_INET, *((socket.AF_INET6,) if surroundings.ipv6 else ())):
        rule = f"routing rule for mark {mark}"
        yield rule, lambda family=family: route.rule(verb, family=family, fwmark=mark, table=table, action="to_tbl")  # type: ignore[misc]
        destination = "0.0.0.0/0" if family == socket.AF_INET else "::/0"
        yield (
            f"local route in table {table}",
            lambda family=family, destination=destination: route.route(  # type: ignore[misc]
                verb, family=family, dst=destination, oif=loopback, table=table, type="local", scope="host"
            ),
        )
