"""Which virtual host answers a Host header."""

from typing import NamedTuple

from tidegate.explain.config import RouteTable
from tidegate.explain.trace import Rejection


class FoundHost(NamedTuple):
    number: int | None
    """Position in the route configuration, None where no domain matches."""
    domain: str
    why: str
    rejected: tuple[tuple[int, Rejection], ...]


def without_port(authority: str) -> str:
    """A host without its port; an IPv6 address keeps its brackets."""
    host, colon, port = authority.rpartition(":")
    if not colon or not port.isdigit() or (":" in host and not host.endswith("]")):
        return authority
    return host


def port_of(authority: str) -> int | None:
    host = without_port(authority)
    return int(authority[len(host) + 1 :]) if len(host) < len(authority) and len(authority) - len(host) < 8 else None


def find(table: RouteTable, authority: str) -> FoundHost:
    """Envoy's order: the exact domain, the longest ``*suffix``, the longest ``prefix*``, ``*``. Case does not matter;
    a port counts unless the configuration ignores it."""
    host = authority.lower()
    if table.config.ignore_port_in_host_matching:
        host = without_port(host)
    fitting = [(domain, table.domains[domain]) for domain in _fitting(table, host)]
    if not fitting:
        return FoundHost(None, "", f"no domain matches Host {host or '(empty)'}", ())
    (domain, number), *others = fitting
    rejected = [(place, Rejection(each, f"{domain} matches more exactly")) for each, place in others if place != number]
    return FoundHost(number, domain, f"Host {host or '(empty)'} matches domain {domain}", tuple(rejected))


def _fitting(table: RouteTable, host: str) -> list[str]:
    """Domains that match, the best first."""
    found = [host] if host in table.domains else []
    suffixes = (f"*{host[-length:]}" for length in table.suffixes if len(host) > length)
    prefixes = (f"{host[:length]}*" for length in table.prefixes if len(host) > length)
    found += [each for each in (*suffixes, *prefixes, "*") if each in table.domains]
    return list(dict.fromkeys(found))
