"""By what a service took a connection that is meant for something else: its port, an address, or its name."""

from collections.abc import Iterator

from tidegate.answer.absence import Absence
from tidegate.answer.case import Case, authority, service_of
from tidegate.answer.intent import holds
from tidegate.explain.hosts import without_port
from tidegate.kit import hosts, naming
from tidegate.registry.addresses import is_ip
from tidegate.registry.model import Service


def taken(case: Case) -> Iterator[Absence]:
    """What of the taker's definition fits the connection."""
    service, parsed = service_of(case), naming.parse_cluster(case.end.cluster)
    if service is None or parsed is None or not service.sources:
        return
    by = _by_name(case, service) or _by_address(case, service) or _by_port(case, service)
    if by is not None:
        field, words = by
        if case.end.cluster_type == "ORIGINAL_DST":
            words += "; it still goes to the dialled address"
        yield Absence(service.sources[0], field, words, strong=False)


def _by_name(case: Case, service: Service) -> tuple[str, str] | None:
    hello = case.connection.tls
    if any(step.stage == "virtual_host" for step in case.end.steps):
        name, what = without_port(authority(case)), "Host"
    elif hello is not None and hello.sni and not _opaque(case, service):
        name, what = hello.sni, "server name"
    else:
        return None
    if is_ip(name.strip("[]")) or not hosts.covers(service.host, name.lower()):
        return None
    return "spec.hosts", f"declares {service.host}, and the {what} that is asked for is {name}"


def _opaque(case: Case, service: Service) -> bool:
    """Whether the port's server names are not looked at."""
    port = service.port(case.connection.port)
    return port is not None and not port.protocol.is_tls


def _by_address(case: Case, service: Service) -> tuple[str, str] | None:
    dialled = case.connection.ip
    found = next((each for each in (*service.addresses, *service.auto_addresses) if holds((each,), dialled)), None)
    if found is None:
        return None
    return "spec.addresses", f"has the address {found}, and the connection goes to {dialled}"


def _by_port(case: Case, service: Service) -> tuple[str, str] | None:
    port = service.port(case.connection.port)
    if port is None or not port.protocol.is_tcp or service.addresses:
        return None
    words = f"declares port {port.number} as {port.protocol} without addresses: it takes what else comes to that port"
    return "spec.ports", words
