"""The rules that a namespace's kernel holds, whoever wrote them, and the way that it would send a packet."""

import json

import msgspec

from tidegate.capture.kernel import CaptureError, Kernel
from tidegate.kit.errors import TidegateError
from tidegate.rules.model import Family, RuleSet, Table
from tidegate.rules.nft_listing import parse_listing
from tidegate.rules.saved import RuleSets, legacy
from tidegate.rules.text import parse_save
from tidegate.rules.walk import Packet

FAMILIES: tuple[Family, ...] = ("ipv4", "ipv6")
_MANAGED = ("filter", "nat", "mangle", "raw", "security")
"""Tables of families ip and ip6 that iptables-nft keeps its rules in; iptables-save tells them better."""
_LEGACY_NAMES = {"ipv4": "/proc/net/ip_tables_names", "ipv6": "/proc/net/ip6_tables_names"}


def in_force(kernel: Kernel) -> RuleSets:
    """Every rule of a namespace: by iptables, by iptables-legacy where it has any, and by nft.

    Raises CaptureError when a program that is there cannot read.
    """
    native = _nft(kernel)
    found: RuleSets = {}
    for family in FAMILIES:
        tables = _iptables(kernel, family) + _legacy(kernel, family)
        others = parse_listing(native, family).tables if native else ()
        own = {f"{each} {name}" for each in ("ip", "ip6") for name in (_MANAGED if tables else ())}
        found[family] = RuleSet(family, (*tables, *(table for table in others if table.name not in own)))
    return found


def _iptables(kernel: Kernel, family: Family) -> tuple[Table, ...]:
    return parse_save(kernel.save(family), family).tables if kernel.has_tools(family) else ()


def _legacy(kernel: Kernel, family: Family) -> tuple[Table, ...]:
    """What iptables-legacy keeps beside the iptables that is in use; asked only where the kernel has such a table."""
    other = msgspec.structs.replace(kernel, binary="legacy")
    if kernel.binary or not other.has_tools(family) or not kernel.has_tools(family):
        return ()
    try:
        names = kernel.run(["cat", _LEGACY_NAMES[family]]).split()
    except CaptureError:
        return ()
    if not names or "legacy" in kernel.run([kernel.program(family, "save"), "--version"]):
        return ()
    return tuple(legacy(table) for table in parse_save(other.save(family), family).tables)


def _nft(kernel: Kernel) -> str:
    """ "" where nft is not installed: then nothing else can have made such tables by it."""
    return kernel.nft("list", "ruleset") if kernel.has_nft() else ""


class NoRouteError(TidegateError):
    """A destination that the namespace cannot send to."""


def outgoing(kernel: Kernel, packet: Packet) -> Packet:
    """The packet with the interface and the source address that the namespace's routes give it.

    Raises NoRouteError.
    """
    source = ["from", packet.source] if packet.source else []
    owner = ["uid", str(packet.uid)] if packet.uid is not None else []
    try:
        said = kernel.run(["ip", "-j", "route", "get", packet.destination, *source, *owner])
        route = json.loads(said)[0]
    except (CaptureError, ValueError, IndexError) as error:
        raise NoRouteError(f"{packet.destination} cannot be reached from here: {error}") from None
    return msgspec.structs.replace(
        packet,
        out_interface=packet.out_interface or str(route.get("dev", "")),
        source=packet.source or str(route.get("prefsrc", "")),
        local=route.get("type") == "local" or route.get("dev") == "lo",
    )
