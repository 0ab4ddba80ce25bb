"""Addresses as services and endpoints write them."""

from tidegate.kit.addresses import is_ip, network


def virtual_address(text: str) -> str | None:
    """An IP, or a CIDR; a CIDR of one address is that address. None for anything else."""
    if is_ip(text):
        return text
    found = network(text)
    if found is None:
        return None
    return text if found.num_addresses > 1 else str(found.network_address)


def is_unix(text: str) -> bool:
    """True for ``unix:///path``."""
    return text.startswith("unix:")


__all__ = ["is_ip", "is_unix", "virtual_address"]
