"""Addresses as services and endpoints write them."""

from functools import lru_cache
from ipaddress import ip_address, ip_network


@lru_cache(maxsize=65536)
def is_ip(text: str) -> bool:
    """True for an IPv4 or IPv6 address."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


@lru_cache(maxsize=65536)
def virtual_address(text: str) -> str | None:
    """An IP, or a CIDR; a CIDR of one address is that address. None for anything else."""
    if is_ip(text):
        return text
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        return None
    return text if network.num_addresses > 1 else str(network.network_address)


def is_unix(text: str) -> bool:
    """True for ``unix:///path``."""
    return text.startswith("unix:")
