"""IP addresses and networks as users write them."""

import ipaddress
import socket
from functools import lru_cache

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@lru_cache(maxsize=65536)
def is_ip(text: str) -> bool:
    """True for an IPv4 or IPv6 address."""
    try:
        if ":" not in text:
            socket.inet_pton(socket.AF_INET, text)  # as strict as ipaddress, at a tenth of the cost
        else:
            ipaddress.ip_address(text)
    except (OSError, ValueError):
        return False
    return True


@lru_cache(maxsize=65536)
def network(text: str) -> Network | None:
    """A CIDR, host bits ignored, or an address as a network of one; None for anything else."""
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None
