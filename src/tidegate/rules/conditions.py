"""Whether one condition of a rule holds for one packet, in iptables' and in nftables' understanding.

iptables-extensions(8), nft(8). The two differ in one thing that matters for capture: a condition on the owner of a
packet without a sending socket is true in iptables when it is negated, and never true in nftables.
"""

import ipaddress
from collections.abc import Callable, Iterator

import msgspec

from tidegate.rules.model import Match, Rule


class Packet(msgspec.Struct, frozen=True):
    """The first packet of a connection, as far as rules ask."""

    destination: str
    port: int
    protocol: str = "tcp"
    source: str = ""
    source_port: int = 0
    in_interface: str = ""
    out_interface: str = ""
    uid: int | None = None
    gid: int | None = None
    """Owner of the sending socket; None for a packet from elsewhere."""
    state: str = "NEW"
    mark: int = 0
    connection_mark: int = 0
    local: bool = False
    """The destination is an address of this host (``-m addrtype --dst-type LOCAL``)."""


def met(rule: Rule, packet: Packet) -> tuple[bool, str]:
    """Whether all conditions of a rule hold, and the first one that is not known here ("" when all are).

    A condition that certainly fails settles the matter, whatever is unknown.
    """
    unknown, extension = "", ""
    for match in rule.matches:
        if match.option == "-m":
            extension = match.values[0] if match.values else ""
            continue
        held = _held(match, packet, extension)
        if held is None:
            unknown = unknown or str(match)
        elif not held:
            return False, ""
    return not unknown, unknown


def _held(match: Match, packet: Packet, extension: str) -> bool | None:
    """Whether one condition holds; None when it is not known here."""
    if match.option == "--comment":
        return True
    test = _EXTENDED.get((extension, match.option)) or _TESTS.get(match.option)
    if test is None or (not match.values and match.option not in _BARE):
        return None
    if match.option in _OWNERS and getattr(packet, _OWNERS[match.option]) is None:
        return False
    try:
        held = test(packet, " ".join(match.values))
    except ValueError:
        return None
    return held != match.negated


_OF_NO_WIRE = frozenset({"127.0.0.1", "127.0.0.6", "127.0.0.0", "::1", "::6"})
"""What does not tell its source has none of these, which processes choose."""


def _address_in(address: str, listed: str) -> bool:
    if not address and all(each.partition("/")[0] in _OF_NO_WIRE for each in listed.split(",")):
        return False
    if not address:
        raise ValueError("where it comes from was not told")
    given = ipaddress.ip_address(address)
    return any(_within(given, each) for each in listed.split(","))


def _within(given: ipaddress.IPv4Address | ipaddress.IPv6Address, written: str) -> bool:
    low, between, high = written.partition("-")
    if not between:
        return given in ipaddress.ip_network(written, strict=False)
    first, last = ipaddress.ip_address(low), ipaddress.ip_address(high)
    return given.version == first.version == last.version and int(first) <= int(given) <= int(last)


def _interface(name: str, listed: str) -> bool:
    patterns = listed.split(",")
    return any(name.startswith(each[:-1]) if each.endswith("+") else name == each for each in patterns)


def _ports(port: int, listed: str) -> bool:
    return any(low <= port <= high for low, high in ranges(listed, ":", 65535))


def _owned(owner: int | None, listed: str) -> bool:
    return owner is not None and any(low <= owner <= high for low, high in ranges(listed.replace(":", "-"), "-", owner))


def ranges(listed: str, dash: str, top: int) -> Iterator[tuple[int, int]]:
    """The numbers of ``1,5:9,7:``; raises ValueError where there are none."""
    for each in listed.split(","):
        low, between, high = each.partition(dash)
        yield int(low or 0), (int(high or top) if between else int(low))


def _marked(mark: int, listed: str) -> bool:
    for wanted in listed.split(","):
        value, _, mask = wanted.partition("/")
        if mark & (int(mask, 0) if mask else 0xFFFFFFFF) == int(value, 0):
            return True
    return False


def _kind_of(packet: Packet, listed: str) -> bool:
    given = ipaddress.ip_address(packet.destination)
    kind = "LOCAL" if packet.local or given.is_loopback else "MULTICAST" if given.is_multicast else "UNICAST"
    wanted = listed.upper().split(",")
    if not set(wanted) <= {"LOCAL", "MULTICAST", "UNICAST"}:
        raise ValueError(listed)
    return kind in wanted


def _protocol(packet: Packet, listed: str) -> bool:
    names = [{"6": "tcp", "17": "udp"}.get(each, each) for each in listed.lower().split(",")]
    return packet.protocol in names or "all" in names or "0" in names


def _family(packet: Packet, wanted: str) -> bool:
    return wanted == ("ipv6" if ":" in packet.destination else "ipv4")


def _flags(packet: Packet, values: str) -> bool:
    """``--tcp-flags FIN,SYN,RST,ACK SYN`` is the first packet of a connection; other flags are not known here."""
    mask, _, wanted = values.upper().partition(" ")
    if set(mask.split(",")) != {"FIN", "SYN", "RST", "ACK"} or wanted != "SYN":
        raise ValueError(values)
    return packet.state == "NEW"


_OWNERS = {"--skuid": "uid", "--skgid": "gid"}
_BARE = frozenset({"--syn", "--socket-exists"})
_TESTS: dict[str, Callable[[Packet, str], bool]] = {
    "-p": _protocol,
    "-s": lambda p, v: _address_in(p.source, v),
    "-d": lambda p, v: _address_in(p.destination, v),
    "-i": lambda p, v: _interface(p.in_interface, v),
    "-o": lambda p, v: _interface(p.out_interface, v),
    "--dport": lambda p, v: _ports(p.port, v),
    "--dports": lambda p, v: _ports(p.port, v),
    "--sport": lambda p, v: _ports(p.source_port, v),
    "--sports": lambda p, v: _ports(p.source_port, v),
    "--ports": lambda p, v: _ports(p.port, v) or _ports(p.source_port, v),
    "--uid-owner": lambda p, v: _owned(p.uid, v),
    "--gid-owner": lambda p, v: _owned(p.gid, v),
    "--skuid": lambda p, v: _owned(p.uid, v),
    "--skgid": lambda p, v: _owned(p.gid, v),
    "--socket-exists": lambda p, _: p.uid is not None,
    "--ctstate": lambda p, v: p.state in v.upper().split(","),
    "--state": lambda p, v: p.state in v.upper().split(","),
    "--mark": lambda p, v: _marked(p.mark, v),
    "--dst-type": _kind_of,
    "--nfproto": _family,
    "--syn": lambda p, _: p.state == "NEW",
    "--tcp-flags": _flags,
}
_EXTENDED: dict[tuple[str, str], Callable[[Packet, str], bool]] = {
    ("connmark", "--mark"): lambda p, v: _marked(p.connection_mark, v),
}
"""Options whose meaning depends on the extension that they belong to."""
