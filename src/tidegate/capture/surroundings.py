"""What rules depend on beyond their options: whether the namespace speaks IPv6, and its name servers."""

import ipaddress
from collections.abc import Iterable
from pathlib import Path

from tidegate.capture.kernel import CaptureError, Kernel
from tidegate.capture.namespace import inside
from tidegate.rules.options import Surroundings

RESOLV_CONF = Path("/etc/resolv.conf")
NETNS_CONFIGURATION = Path("/etc/netns")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def observe(kernel: Kernel, dual_stack: bool = False, resolv_conf: Path | None = None) -> Surroundings:
    """Look at the namespace's addresses and at its resolv.conf: of a named namespace the one in /etc/netns, if any.

    Raises CaptureError when the namespace has no address but loopback and link-local ones.
    """
    resolv_conf = resolv_conf or _resolv_conf(kernel)
    try:
        text = resolv_conf.read_text(errors="replace")
    except FileNotFoundError:
        text = ""
    servers = name_servers(text)
    return Surroundings(
        ipv6=speaks_ipv6(addresses_of(kernel), dual_stack),
        dns_servers_v4=tuple(str(server) for server in servers if server.version == 4),
        dns_servers_v6=tuple(str(server) for server in servers if server.version == 6),
    )


def _resolv_conf(kernel: Kernel) -> Path:
    """ip-netns(8): programs in a namespace called NAME see /etc/netns/NAME/resolv.conf."""
    own = NETNS_CONFIGURATION / (kernel.netns or "").rpartition("/")[2] / "resolv.conf"
    return own if kernel.netns and own.exists() else RESOLV_CONF


def speaks_ipv6(addresses: Iterable[Address], dual_stack: bool) -> bool:
    """Whether IPv6 rules are needed: the first usable address is IPv6, or any of them in dual-stack mode."""
    usable = [address for address in addresses if not address.is_loopback and not address.is_link_local]
    if not usable:
        raise CaptureError(
            "no address was found but loopback and link-local ones; give the interface an address before rules are made"
        )
    return any(address.version == 6 for address in (usable if dual_stack else usable[:1]))


def name_servers(resolv_conf: str) -> list[Address]:
    """The servers that a resolv.conf names, in order; lines that name none are passed over."""
    servers: list[Address] = []
    for line in resolv_conf.splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] == "nameserver":
            try:
                servers.append(ipaddress.ip_address(words[1].partition("%")[0]))
            except ValueError:
                continue
    return servers


def addresses_of(kernel: Kernel) -> list[Address]:
    """Every address of the namespace, in the order of its interfaces."""
    return inside(kernel.netns_path(), _own_addresses)


def _own_addresses() -> list[Address]:
    from pyroute2 import IPRoute

    with IPRoute() as route:
        return [ipaddress.ip_address(found.get_attr("IFA_ADDRESS")) for found in route.get_addr()]
