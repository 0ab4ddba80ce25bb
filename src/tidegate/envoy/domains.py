"""Domains of virtual hosts: every name under which an application may call a host.

Envoy leaves the port out of the comparison, so no ``host:port`` forms are needed, but where one route configuration
serves several ports (HTTP proxy listeners, unix sockets).
"""

from collections.abc import Sequence

from tidegate.kit.addresses import is_ip
from tidegate.registry.model import UNSPECIFIED, Port, Registry, Service
from tidegate.scope.proxy import ProxyKind


def domains(
    service: Service, port: Port, proxy: ProxyKind, *, aliases: Sequence[str] = (), with_port: bool = False
) -> tuple[str, ...]:
    """Candidate domains of a service, before duplicates across hosts are settled, in Istio's order.

    ``aliases``: hosts of ExternalName Services that stand for it.
    ``with_port``: the forms with ``:port`` for a configuration that serves several ports; those of port 80 keep the
    bare ones too.
    """
    bare = _bare(service, port, proxy, aliases)
    if not with_port:
        return bare
    ported = tuple(f"{domain}:{port.number}" for domain in bare)
    return (*bare, *ported) if port.number == 80 else ported


def _bare(service: Service, port: Port, proxy: ProxyKind, aliases: Sequence[str]) -> tuple[str, ...]:
    names = [n for host in (service.host, *aliases) for n in (*_names(host), *short_names(host, proxy.dns_domain))]
    if service.headless:
        names += [f"*.{name}" for name in names]
    return tuple(dict.fromkeys((*names, *_addresses(service, proxy, port.number))))


def own_domains(service: Service, proxy: ProxyKind) -> tuple[str, ...]:
    """The domains that are the host's by right: its full name and its addresses."""
    return (*_names(service.host), *_addresses(service, proxy))


def _names(host: str) -> tuple[str, ...]:
    """A name, and its absolute form with a final dot; addresses and ``*`` have none."""
    return (host,) if is_ip(host) or host == "*" or host.endswith(".") else (host, f"{host}.")


def _addresses(service: Service, proxy: ProxyKind, port: int = 0) -> tuple[str, ...]:
    return tuple(f"[{a}]" if ":" in a else a for a in visible_addresses(service, proxy, port) if is_ip(a))


def visible_addresses(service: Service, proxy: ProxyKind, port: int = 0) -> tuple[str, ...]:
    """Addresses (VIPs and CIDRs) of a service, or of one of its ports, as the proxy sees it: allocated ones only when
    it answers DNS itself and the service has none of its own; cluster IPs and allocated ones by the proxy's IP
    families."""
    found: dict[str, None] = {}
    for part in service.parts_of(port):
        chosen = part.addresses or (part.auto_addresses if proxy.dns_capture else ())
        if service.registry is Registry.KUBERNETES or not part.addresses:
            chosen = tuple(a for a in chosen if (proxy.ipv6 if ":" in a else proxy.ipv4))
        found.update(dict.fromkeys(a for a in chosen if a != UNSPECIFIED))
    return tuple(found)


def short_names(host: str, dns_domain: str) -> tuple[str, ...]:
    """Short forms by which a resolver with the proxy's search domains reaches a host."""
    if ".svc." not in dns_domain:
        return _by_common_suffix(host, dns_domain)
    namespace, _, cluster_domain = dns_domain.partition(".svc.")
    name, dot, rest = host.partition(".")
    owner, found, domain = rest.partition(".svc.")
    if not dot or not found or domain != cluster_domain or "." in owner:
        return ()
    qualified = (f"{name}.{owner}", f"{name}.{owner}.svc")
    return (name, qualified[1], qualified[0]) if owner == namespace else qualified


def _by_common_suffix(host: str, dns_domain: str) -> tuple[str, ...]:
    """Proxies outside Kubernetes: what is left of the name before the labels that it shares with their domain."""
    labels, own = host.split("."), dns_domain.split(".")
    shared = 0
    while shared < min(len(labels), len(own)) and labels[-1 - shared] == own[-1 - shared]:
        shared += 1
    unique = labels[: len(labels) - shared]
    if not shared or not unique:
        return ()
    short = ".".join(unique)
    return (short, f"{short}.{labels[len(unique)]}") if len(unique) == 2 else (short,)
