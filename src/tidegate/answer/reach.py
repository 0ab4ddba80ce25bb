"""Addresses that nobody answers at, as far as objects tell."""

import ipaddress
from collections.abc import Iterable

from tidegate.answer.case import Case, Fault, chosen_endpoints, egress_policy, owner_of, rule_of
from tidegate.answer.receiver import receiver_of
from tidegate.registry.addresses import is_ip
from tidegate.registry.model import Endpoint, Service
from tidegate.scope import choice
from tidegate.scope.proxy import Interception

_UNROUTABLE = tuple(ipaddress.ip_network(each) for each in ("240.0.0.0/4", "0.0.0.0/32", "2001:2::/48"))
"""Reserved (RFC 1112), unspecified, and for benchmarks (RFC 5180): no host answers there. A mesh allocates addresses
for names from the first and the last."""
_PORTS = "spec.ports"


def fault(case: Case, service: Service | None) -> Fault | None:
    """Why none of the endpoints that may be chosen answers."""
    ends = case.end.endpoints
    owner = rule_of(case) or owner_of(case) or egress_policy(case)
    if ends and all(unroutable(end.address) for end in ends):
        return f"no host answers at {ends[0].address}", owner_of(case) or owner, ""
    if ends and _other_family(case, [_host(end.address) for end in ends]):
        return f"{ends[0].address} is of an address family that the proxy's workload has not got", owner, ""
    if case.connection.direction == "inbound":
        return inbound_fault(case)
    if service is None:
        return None
    if service.headless and (untranslated := _untranslated(case, service)) is not None:
        return untranslated
    known = [end for end in chosen_endpoints(case, service) if end.source is not None]
    if known and len(known) == len(ends) and all(_closed(case, end) for end in known):
        listed = ", ".join(str(port) for port in sorted(_ports(case, known[0])))
        words = f"no container of {known[0].source} listens on port {known[0].port}: they declare {listed}"
        return words, owner_of(case) or owner, _PORTS
    return None


def _untranslated(case: Case, service: Service) -> Fault | None:
    """A member of a headless service is dialled at the Service's port, and has another one: nothing translates it."""
    dialled = case.connection
    if case.end.cluster_type != "ORIGINAL_DST":
        return None
    port = service.port(dialled.port)
    members = [e for e in case.world.endpoints.get(service.key, ()) if e.address == dialled.ip]
    serving = {e.port for e in members if port is not None and e.port_name == port.name}
    if not serving or dialled.port in {e.port for e in members}:
        return None
    listed = ", ".join(map(str, sorted(serving)))
    words = f"{dialled.ip} serves port {listed} and is dialled at {dialled.port}: a headless Service translates no port"
    return words, service.sources[0], _PORTS


def inbound_fault(case: Case) -> Fault | None:
    """The workload's own containers declare ports, and not the one that the connection is handed to; or it is handed
    to an address that cannot answer."""
    if (transparent := _answers_nobody(case)) is not None:
        return transparent
    ref = case.proxy.workload
    facts = case.pods.get(ref) if ref is not None else None
    ports, port = facts.ports if facts is not None else frozenset(), _handed_to(case)
    if not ports or port is None or port in ports:
        return None
    listed = ", ".join(map(str, sorted(ports)))
    words = f"no container of {ref} listens on port {port}: they declare {listed}"
    sidecar = choice.sidecar(case.world, case.proxy.kind.namespace, case.proxy.labels)
    if port != case.connection.port and sidecar is not None:
        return words, sidecar.ref, "spec.ingress"
    return words, receiver_of(case), _PORTS


def _answers_nobody(case: Case) -> Fault | None:
    """With TPROXY the application sees its caller's own address, and what listens on loopback has no route to that:
    the kernel sends nothing from a loopback address to another interface."""
    sidecar = choice.sidecar(case.world, case.proxy.kind.namespace, case.proxy.labels)
    ends = [_host(end.address) for end in case.end.endpoints]
    loopback = bool(ends) and all(is_ip(each) and ipaddress.ip_address(each).is_loopback for each in ends)
    if case.proxy.kind.interception is not Interception.TPROXY or not loopback or sidecar is None:
        return None
    words = f"{ends[0]} cannot answer a caller whose address is kept (TPROXY): 0.0.0.0 names the workload's own address"
    return words, sidecar.ref, "spec.ingress"


def _handed_to(case: Case) -> int | None:
    """The application's port: the one that is dialled, or another that a Sidecar names; None where it has no port."""
    if case.end.cluster_type == "ORIGINAL_DST" or not case.end.endpoints:
        return case.connection.port
    number = case.end.endpoints[0].address.rpartition(":")[2]
    return int(number) if number.isdigit() else None


def nobody_at_dialled(case: Case) -> bool:
    """Whether the dialled address is one that only the mesh gives out."""
    given = case.connection.ip
    allocated = {address for service in case.intent.services for address in service.auto_addresses}
    return bool(given) and (given in allocated or unroutable(given))


def unroutable(address: str) -> bool:
    """Of an address, with or without a port."""
    host = _host(address)
    return is_ip(host) and any(ipaddress.ip_address(host) in network for network in _UNROUTABLE)


def _host(address: str) -> str:
    return (address if is_ip(address) else address.rpartition(":")[0]).strip("[]")


def _other_family(case: Case, listed: Iterable[str]) -> bool:
    """Whether the proxy has addresses of one family, and all of these are of the other."""
    mine = {":" in address for address in case.proxy.addresses}
    theirs = {":" in address if is_ip(address) else None for address in listed}
    return len(mine) == 1 and len(theirs) == 1 and None not in theirs and mine != theirs


def _closed(case: Case, end: Endpoint) -> bool:
    ports = _ports(case, end)
    return bool(ports) and end.port not in ports


def _ports(case: Case, end: Endpoint) -> frozenset[int]:
    facts = case.pods.get(end.source) if end.source is not None else None
    return facts.ports if facts is not None else frozenset()
