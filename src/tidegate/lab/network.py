"""Network namespaces, links, addresses and routes."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute, NetlinkError, netns

from tidegate.kit.errors import TidegateError
from tidegate.lab import namespaces
from tidegate.lab.plan import Member, Plan

BRIDGE = "br0"
INTERFACE = "eth0"
_LOOPBACK = 1
_SCOPE_LINK = 253


def create(plan: Plan) -> None:
    """Create every namespace of the plan, the bridge and the links. Raises TidegateError when the kernel refuses."""
    try:
        _create_bridge(plan)
        for member in plan.members:
            _create_member(plan, member)
        namespaces.run_inside(plan.net, _forward_packets)
    except (NetlinkError, OSError) as error:
        raise TidegateError(f"cannot build the network of lab {plan.spec.name}: {error}") from error


def join(plan: Plan, member: Member) -> None:
    """Create one more namespace at the lab's bridge. Raises TidegateError when the kernel refuses."""
    try:
        _create_member(plan, member)
    except (NetlinkError, OSError) as error:
        raise TidegateError(f"cannot make the network of {member.key}: {error}") from error


def _create_bridge(plan: Plan) -> None:
    namespaces.create(plan.net)
    prefix = int(plan.spec.network.cidr.partition("/")[2])

    def build(kernel: Any) -> None:
        kernel.link("set", index=_LOOPBACK, state="up")
        kernel.link("add", ifname=BRIDGE, kind="bridge")
        bridge = _index(kernel, BRIDGE)
        kernel.link("set", index=bridge, state="up")
        kernel.addr("add", index=bridge, address=plan.gateway, prefixlen=prefix)

    _within(plan.net, build)


def _create_member(plan: Plan, member: Member) -> None:
    namespaces.create(member.netns)
    outside = member.prefix_length == 32

    def attach(kernel: Any) -> None:
        peer = {"ifname": INTERFACE, "net_ns_fd": member.netns}
        kernel.link("add", ifname=member.link, kind="veth", peer=peer)
        bridge = _index(kernel, BRIDGE)
        kernel.link("set", index=_index(kernel, member.link), master=bridge, state="up")
        if outside:
            kernel.route("add", dst=f"{member.address}/32", oif=bridge, scope=_SCOPE_LINK)

    def configure(kernel: Any) -> None:
        interface = _index(kernel, INTERFACE)
        kernel.link("set", index=_LOOPBACK, state="up")
        kernel.link("set", index=interface, state="up")
        kernel.addr("add", index=interface, address=member.address, prefixlen=member.prefix_length)
        if outside:
            kernel.route("add", dst=f"{plan.gateway}/32", oif=interface, scope=_SCOPE_LINK)
        kernel.route("add", dst="default", gateway=plan.gateway, oif=interface)

    _within(plan.net, attach)
    _within(member.netns, configure)
    namespaces.run_inside(member.netns, _open_low_ports)


def _within(name: str, work: Callable[[Any], None]) -> None:
    """Talk to the kernel from a thread inside: pyroute2's own way forks, which a process with threads must not."""

    def enter() -> None:
        with IPRoute() as kernel:
            work(kernel)

    namespaces.run_inside(name, enter)


def _index(kernel: Any, name: str) -> int:
    index: int = kernel.link_lookup(ifname=name)[0]
    return index


def _forward_packets() -> None:
    """The gateway routes between workloads and machines outside, over one and the same bridge: without redirects."""
    settings = Path("/proc/sys/net/ipv4")
    (settings / "ip_forward").write_text("1")
    for interface in ("all", "default", BRIDGE):
        (settings / "conf" / interface / "send_redirects").write_text("0")


def _open_low_ports() -> None:
    """Programs run as ordinary users and may still listen on port 80, as in containers."""
    Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").write_text("0")


def remove(name: str) -> None:
    """Remove a namespace's name; its links and rules go with the last process in it."""
    with contextlib.suppress(FileNotFoundError):
        netns.remove(name)
