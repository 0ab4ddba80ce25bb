"""Options that the matrix leaves alone, with real packets: interfaces, owner groups, ports, ranges, invalid segments.

In the proxy's place a program listens on its two ports and says which of them a connection came to.
"""

import grp
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from tests.packets.wire import PROXY, Network, Program, ip, set_kernel
from tidegate.capture.backend import Backend
from tidegate.capture.inforce import in_force, outgoing
from tidegate.capture.install import install, uninstall
from tidegate.capture.kernel import Kernel
from tidegate.rules.model import Family, RuleSet
from tidegate.rules.options import ALL, CaptureOptions, Surroundings
from tidegate.rules.walk import Packet, journey

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root for network namespaces"),
    pytest.mark.skipif(shutil.which("iptables-save") is None, reason="iptables is not installed"),
    pytest.mark.skipif(shutil.which("nft") is None, reason="nft is not installed"),
]

BACKENDS: tuple[Backend, ...] = ("iptables", "nftables")
FAMILIES: tuple[Family, ...] = ("ipv4", "ipv6")
OUTBOUND, INBOUND = 15001, 15006
SECOND = {"ipv4": ("10.88.0.2", "10.88.0.3"), "ipv6": ("fd88::2", "fd88::3")}
"""The Pod's and the other host's addresses on the Pod's second interface."""
MACHINE = {"ipv4": ("10.77.0.1", "10.77.0.2"), "ipv6": ("fd77::1", "fd77::2")}
"""The Pod's and the virtual machine's addresses between them."""
FORWARDING = {"ipv4": "net/ipv4/ip_forward", "ipv6": "net/ipv6/conf/all/forwarding"}
GROUP = next(each for each in grp.getgrall() if each.gr_gid not in (0, 1000, PROXY))


class Place(Network):
    """A Pod with two interfaces to another host, and one to a virtual machine behind it."""

    def __init__(self, family: Family, stack: ExitStack) -> None:
        super().__init__(family, stack)
        self.kind: Family = family
        self.vm = f"{self.pod}v"
        ip("netns", "add", self.vm)
        stack.callback(ip, "netns", "del", self.vm)
        self._link("eth1", self.far, SECOND[family])
        self._link("vm0", self.vm, MACHINE[family])
        set_kernel(self.pod, FORWARDING[family], "1")
        ip("-n", self.vm, "route", "add", "default", "via", MACHINE[family][0])
        ip("-n", self.far, "route", "add", MACHINE[family][1], "via", self.places.pod)
        shape = {"family": 6 if family == "ipv6" else 4}
        self.machine = self.started(self.vm, "caller")
        programs = [
            self.started(self.pod, "sink", said_by="proxy", tcp=[OUTBOUND, INBOUND], transparent=True, **shape),
            self.started(self.pod, "sink", said_by="application", tcp=[9080, 9082], **shape),
            self.started(self.far, "sink", said_by="other", tcp=[80, 443, 9080], **shape),
            self.machine,
        ]
        for program in programs:
            program.ready()

    def _link(self, name: str, far: str, ends: tuple[str, str]) -> None:
        ip("-n", self.pod, "link", "add", name, "type", "veth", "peer", "name", name, "netns", far)
        for netns, address in zip((self.pod, far), ends, strict=True):
            ip("-n", netns, "link", "set", "lo", "up")
            ip("-n", netns, "link", "set", name, "addrgenmode", "none", "up")
            extra = ("nodad",) if ":" in address else ()
            ip("-n", netns, "addr", "add", f"{address}/{self.places.prefix}", "dev", name, *extra)

    @property
    def kernel(self) -> Kernel:
        return Kernel(netns=self.pod)


@pytest.fixture(scope="module", params=FAMILIES)
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    with ExitStack() as stack:
        yield Place(request.param, stack)


@dataclass(frozen=True)
class Call:
    """One connection, and the port at which it ends: its own unless it is captured."""

    to: str
    """``outside``, ``other``, ``pod``, … of the places, or ``second``: beyond the second interface."""
    port: int
    ends: int
    owner: tuple[int, int] = (1000, 1000)
    interface: str = ""
    """What comes in by one, from beyond it; nothing: a process of the Pod's calls."""


EVERYTHING = CaptureOptions(service_cidr=ALL, inbound_ports=ALL)
OUT = Call("outside", 443, OUTBOUND)
PROXYS = (PROXY, PROXY)
OPTIONS: dict[str, tuple[dict[str, Any], list[Call]]] = {
    "excluded interface": (
        {"exclude_interfaces": ("eth1",)},
        [
            OUT,
            Call("second", 9080, 9080),
            Call("pod", 9080, INBOUND, interface="eth0"),
            Call("second", 9080, 9080, interface="eth1"),
        ],
    ),
    "no interface excluded": (
        {},
        [Call("second", 9080, OUTBOUND), Call("second", 9080, INBOUND, interface="eth1")],
    ),
    "virtual interface": (
        {"kube_virt_interfaces": ("vm0",)},
        [
            Call("outside", 443, OUTBOUND, interface="vm0"),
            Call("pod", 9080, OUTBOUND, interface="vm0"),
            Call("pod", 9080, INBOUND, interface="eth0"),
            OUT,
        ],
    ),
    "virtual interface, a range": (
        {"kube_virt_interfaces": ("vm0",), "service_cidr": ("OUTSIDE",)},
        [
            Call("outside", 443, OUTBOUND, interface="vm0"),
            Call("other", 443, 443, interface="vm0"),
            Call("pod", 9080, 9080, interface="vm0"),
            Call("other", 443, 443),
            OUT,
        ],
    ),
    "groups that are captured": (
        {"outbound_owner_groups": ("1000", GROUP.gr_name)},
        [
            OUT,
            Call("outside", 443, OUTBOUND, (1000, GROUP.gr_gid)),
            Call("outside", 443, 443, (1000, 2000)),
            Call("outside", 443, 443, PROXYS),
        ],
    ),
    "groups that are not": (
        {"outbound_owner_groups_exclude": ("2000", GROUP.gr_name)},
        [OUT, Call("outside", 443, 443, (1000, GROUP.gr_gid)), Call("outside", 443, 443, (1000, 2000))],
    ),
    "no group": ({"outbound_owner_groups": ()}, [Call("outside", 443, 443), Call("outside", 443, 443, (0, 0))]),
    "several users and groups of the proxy": (
        {"proxy_uid": ("5", "6"), "proxy_gid": ("7", "8")},
        [
            OUT,
            Call("outside", 443, 443, (6, 1000)),
            Call("outside", 443, 443, (1000, 8)),
            Call("outside", 443, OUTBOUND, PROXYS),
            # each user is "somebody else" to the rule of the other, by which talk over loopback is left alone
            Call("pod", 9080, INBOUND, (5, 1000)),
            Call("pod", 9080, 9080, (6, 1000)),
        ],
    ),
    "ports and ranges": (
        {
            "service_cidr": ("OUTSIDE",),
            "service_exclude_cidr": ("EXCLUDED",),
            "outbound_ports": ("80",),
            "local_outbound_ports_exclude": ("9080",),
            "inbound_ports": ("9080",),
        },
        [
            OUT,
            Call("outside", 9080, 9080),
            Call("other", 443, 443),
            Call("other", 80, OUTBOUND),
            Call("excluded", 80, 80),
            Call("pod", 9080, INBOUND, interface="eth0"),
            Call("pod", 9082, 9082, interface="eth0"),
        ],
    ),
    "nothing": (
        {"service_cidr": (), "inbound_ports": ()},
        [Call("outside", 443, 443), Call("pod", 9080, 9080, interface="eth0")],
    ),
    "other ports of the proxy": (
        {"envoy_port": INBOUND, "inbound_capture_port": OUTBOUND, "inbound_tunnel_port": 9082},
        [
            Call("outside", 443, INBOUND),
            Call("pod", 9080, OUTBOUND, interface="eth0"),
            Call("pod", 9082, 9082, interface="eth0"),
        ],
    ),
    "TPROXY, excluded interface": (
        {"inbound_interception_mode": "TPROXY", "exclude_interfaces": ("eth1",), "local_exclude_ports": ("9082",)},
        [
            OUT,
            Call("second", 9080, 9080),
            Call("pod", 9080, INBOUND, interface="eth0"),
            Call("pod", 9082, 9082, interface="eth0"),
            Call("second", 9080, 9080, interface="eth1"),
        ],
    ),
    "TPROXY, a port": (
        {"inbound_interception_mode": "TPROXY", "inbound_ports": ("9080",), "inbound_tproxy_route_table": 7},
        [Call("pod", 9080, INBOUND, interface="eth0"), Call("pod", 9082, 9082, interface="eth0")],
    ),
}
RANGES = {"OUTSIDE": "outside", "EXCLUDED": "excluded"}


def given(place: Place, changed: dict[str, Any]) -> CaptureOptions:
    """With the family's own ranges."""
    bits = 128 if place.kind == "ipv6" else 32
    ranges = {
        name: tuple(f"{getattr(place.places, RANGES[each])}/{bits}" for each in changed[name])
        for name in ("service_cidr", "service_exclude_cidr")
        if any(each in RANGES for each in changed.get(name, ()))
    }
    return msgspec.structs.replace(EVERYTHING, **{**changed, **ranges})


def called(place: Place, call: Call, rules: RuleSet) -> tuple[int, int]:
    """Where a connection really ends, and where the walker says that it does."""
    host = SECOND[place.kind][0 if call.interface else 1] if call.to == "second" else getattr(place.places, call.to)
    caller: Program = {"": place.inside, "vm0": place.machine}.get(call.interface, place.outside)
    user, group = call.owner
    said = caller.ask({"act": "once", "host": host, "port": call.port, "uid": user, "gid": group})
    assert "error" not in said, (call, said)
    if call.interface:
        packet = Packet(host, call.port, in_interface=call.interface, local=call.to in ("pod", "second"))
    else:
        packet = outgoing(place.kernel, Packet(host, call.port, uid=user, gid=group))
    found = journey(rules, packet, inbound=bool(call.interface))
    assert not found.undecided
    told = found.to_port if found.verdict in ("redirect", "tproxy") else call.port
    return said["port"], told


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", OPTIONS)
def test_packets_end_where_the_option_says(place: Place, name: str, backend: Backend) -> None:
    changed, calls = OPTIONS[name]
    options, around = given(place, changed), Surroundings(ipv6=place.kind == "ipv6")
    install(options, around, place.kernel, backend)
    try:
        rules = in_force(place.kernel)[place.kind]
        assert [(call, *called(place, call, rules)) for call in calls] == [
            (call, call.ends, call.ends) for call in calls
        ]
    finally:
        uninstall(options, around, place.kernel)


SYN, NO_FLAGS = 2, 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_invalid_segments_are_dropped_only_where_it_is_asked_for(place: Place, backend: Backend) -> None:
    """A segment without flags belongs to no connection; a closed port answers it, as it answers the next one."""
    asked = {"act": "strays", "host": place.places.pod, "source": place.places.other}
    around = Surroundings(ipv6=place.kind == "ipv6")
    given_up: dict[bool, list[int]] = {}
    try:
        for drop in (False, True):
            options = CaptureOptions(drop_invalid=drop)
            install(options, around, place.kernel, backend)
            given_up[drop] = place.outside.ask({**asked, "ports": [[7001, NO_FLAGS], [7002, SYN]]})["answered"]
    finally:
        uninstall(CaptureOptions(drop_invalid=True), around, place.kernel)
    assert given_up == {False: [7001, 7002], True: [7002]}


def nat_counters(place: Place) -> list[tuple[int, int] | None]:
    tables = in_force(place.kernel)[place.kind].tables
    return [rule.counters for table in tables if table.name.endswith("nat") for rule in table.rules]


@pytest.mark.parametrize("backend", BACKENDS)
def test_applying_again_keeps_every_counter(place: Place, backend: Backend) -> None:
    around = Surroundings(ipv6=place.kind == "ipv6")
    install(EVERYTHING, around, place.kernel, backend)
    try:
        called(place, OUT, in_force(place.kernel)[place.kind])
        before = nat_counters(place)
        assert any(counted and counted[0] for counted in before)
        assert not install(EVERYTHING, around, place.kernel, backend).changed
        assert nat_counters(place) == before
    finally:
        uninstall(EVERYTHING, around, place.kernel)


HARDENED = """*filter
:OUTPUT DROP [0:0]
-A OUTPUT -o lo -j ACCEPT
-A OUTPUT -d LOCALHOST -o eth0 -p tcp -m tcp --dport 15001 -j ACCEPT
-A OUTPUT -p ipv6-icmp -j ACCEPT
-A OUTPUT -m owner --uid-owner 1337 -j ACCEPT
-A OUTPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT
COMMIT
"""
SOFT = "*filter\n:OUTPUT ACCEPT [0:0]\n-F OUTPUT\nCOMMIT\n"


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_is_redirected_is_for_localhost_to_the_rules_of_others(place: Place, backend: Backend) -> None:
    """A host that lets nothing out of itself but by its proxy; the interface is still the one it would have left by."""
    around = Surroundings(ipv6=place.kind == "ipv6")
    install(EVERYTHING, around, place.kernel, backend)
    place.kernel.write(place.kind, HARDENED.replace("LOCALHOST", place.places.loopback))
    try:
        rules = in_force(place.kernel)[place.kind]
        calls = (OUT, Call("outside", 443, 443, PROXYS))
        assert [called(place, call, rules) for call in calls] == [(OUTBOUND, OUTBOUND), (443, 443)]
        alone = outgoing(place.kernel, Packet(place.places.resolver, 53, "udp", uid=1000, gid=1000))
        assert journey(rules, alone).verdict == "drop"
    finally:
        place.kernel.write(place.kind, SOFT)
        uninstall(EVERYTHING, around, place.kernel)
