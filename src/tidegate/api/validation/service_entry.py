"""Rules for ServiceEntry."""

from collections.abc import Mapping

from tidegate.api.networking import (
    ServiceEntry,
    ServiceEntryLocation,
    ServiceEntryResolution,
    ServicePort,
    WorkloadEntry,
)
from tidegate.api.validation.findings import Findings
from tidegate.api.validation.names import (
    HTTP_PROTOCOLS,
    TCP_PROTOCOLS,
    TLS_PROTOCOLS,
    check_export_to,
    check_labels,
    check_port,
    check_port_name,
    check_protocol,
    check_selector,
    check_subnet,
    check_unix,
    check_wildcard,
    fqdn_problem,
    is_ip,
    is_partial_wildcard,
)

Resolution = ServiceEntryResolution
_DNS = (Resolution.DNS, Resolution.DNS_ROUND_ROBIN)
_DYNAMIC_PROTOCOLS = frozenset(("http", "http2", "grpc", "tls"))
_AUTO_ALLOCATION = "networking.istio.io/enable-autoallocate-ip"
_WAYPOINT = "istio.io/use-waypoint"


def check_service_entry(entry: ServiceEntry, namespace: str, labels: Mapping[str, str], out: Findings) -> None:
    if entry.workload_selector is not None and entry.endpoints:
        out.error("spec", "only one of WorkloadSelector or Endpoints is allowed in Service Entry")
    if entry.workload_selector is not None:
        check_selector("spec.workloadSelector.labels", entry.workload_selector.labels, out)
    _check_hosts(entry, out)
    _check_addresses(entry, out)
    _check_ports(entry, labels, out)
    _RESOLUTIONS[entry.resolution](entry, out)
    if entry.resolution is Resolution.DYNAMIC_DNS:
        _check_waypoint(entry, labels, out)
    _check_several_hosts(entry, out)
    check_export_to(entry.export_to, namespace, out, nobody=True)


def _check_hosts(entry: ServiceEntry, out: Findings) -> None:
    if not entry.hosts:
        out.required("spec.hosts", "at least one host is required")
    for index, host in enumerate(entry.hosts):
        at = f"spec.hosts[{index}]"
        if host == "*":
            out.error(at, "* alone is not allowed: name at least a domain, such as *.example.com", host)
            continue
        check_wildcard(at, host, out)
        if is_partial_wildcard(host) and entry.resolution is not Resolution.DYNAMIC_DNS:
            out.warn(at, f"{host[:120]!r} is a partial wildcard, which matches nothing; use *.domain")


def _check_addresses(entry: ServiceEntry, out: Findings) -> None:
    for index, address in enumerate(entry.addresses):
        at = f"spec.addresses[{index}]"
        check_subnet(at, address, out)
        if "/" in address and entry.resolution not in (Resolution.NONE, Resolution.STATIC):
            out.error(at, "a CIDR needs resolution NONE or STATIC", address)


def _check_ports(entry: ServiceEntry, labels: Mapping[str, str], out: Findings) -> None:
    names: set[str] = set()
    numbers: set[int] = set()
    allocated = labels.get(_AUTO_ALLOCATION, "").lower() != "false" and entry.resolution is not Resolution.NONE
    for index, port in enumerate(entry.ports):
        at = f"spec.ports[{index}]"
        _check_port(at, port, out)
        if port.name in names:
            out.duplicate(f"{at}.name", port.name, "port names must be unique")
        if port.number in numbers:
            out.duplicate(f"{at}.number", port.number, "port numbers must be unique")
        names.add(port.name)
        numbers.add(port.number)
        if not entry.addresses and not allocated and port.protocol in ("", "TCP"):
            advice = "without addresses TCP traffic to any host on this port is taken for this entry; set addresses"
            out.warn(at, advice)


def _check_port(path: str, port: ServicePort, out: Findings) -> None:
    check_port_name(f"{path}.name", port.name, out)
    check_port(f"{path}.number", port.number, out)
    if port.target_port:
        check_port(f"{path}.targetPort", port.target_port, out)
    check_protocol(f"{path}.protocol", port.protocol, out)


def _check_none(entry: ServiceEntry, out: Findings) -> None:
    if entry.endpoints:
        out.error("spec.endpoints", "resolution NONE has no endpoints; use STATIC or DNS")
    if entry.workload_selector is not None:
        out.warn("spec.workloadSelector", "resolution NONE does not select workloads; use STATIC")


def _check_static(entry: ServiceEntry, out: Findings) -> None:
    for index, endpoint in enumerate(entry.endpoints):
        at = f"spec.endpoints[{index}]"
        if endpoint.address.startswith("unix://"):
            _check_unix_endpoint(at, entry, endpoint, out)
            check_labels(f"{at}.labels", endpoint.labels, out)
            continue
        if not endpoint.address and endpoint.network:
            out.warn(f"{at}.address", "address is not set, only network: traffic goes to that network's gateways")
        elif not is_ip(endpoint.address):
            expected = "resolution STATIC needs an IP address or unix:// and a path; use DNS for names"
            out.error(f"{at}.address", expected, endpoint.address)
        _check_endpoint(at, entry, endpoint, out)


def _check_unix_endpoint(path: str, entry: ServiceEntry, endpoint: WorkloadEntry, out: Findings) -> None:
    check_unix(f"{path}.address", endpoint.address, out)
    if endpoint.ports:
        out.error(f"{path}.ports", "may not be set for a unix:// address")
    if len(entry.ports) != 1:
        out.error(f"{path}.address", "a unix:// endpoint needs an entry with exactly one port", endpoint.address)


def _check_endpoint(path: str, entry: ServiceEntry, endpoint: WorkloadEntry, out: Findings) -> None:
    known = {port.name for port in entry.ports}
    for name, number in endpoint.ports.items():
        at = f"{path}.ports[{name[:63]}]"
        if name not in known:
            out.error(at, "must be the name of one of the entry's ports", number)
        check_port(at, number, out)
    check_labels(f"{path}.labels", endpoint.labels, out)


def _check_dns(entry: ServiceEntry, out: Findings) -> None:
    if not entry.endpoints:
        for index, host in enumerate(entry.hosts):
            if problem := fqdn_problem(host):
                expected = f"{problem}: without endpoints the host itself is looked up in DNS"
                out.error(f"spec.hosts[{index}]", expected, host)
    if entry.resolution is Resolution.DNS_ROUND_ROBIN and len(entry.endpoints) > 1:
        out.error("spec.endpoints", "resolution DNS_ROUND_ROBIN has at most one endpoint", len(entry.endpoints))
    for index, endpoint in enumerate(entry.endpoints):
        at = f"spec.endpoints[{index}]"
        if not is_ip(endpoint.address) and (problem := fqdn_problem(endpoint.address)):
            out.error(f"{at}.address", f"{problem}, or an IP address", endpoint.address)
        _check_endpoint(at, entry, endpoint, out)
    shared = len(entry.hosts) > 1 and bool(entry.addresses)
    if shared and any(port.protocol.lower() in TCP_PROTOCOLS for port in entry.ports):
        advice = "several hosts share the addresses: TCP traffic cannot be told apart, the first one wins"
        out.warn("spec.hosts", advice)


def _is_tcp(port: ServicePort) -> bool:
    return port.protocol.lower() not in HTTP_PROTOCOLS | TLS_PROTOCOLS


def _check_dynamic(entry: ServiceEntry, out: Findings) -> None:
    for index, host in enumerate(entry.hosts):
        if not host.startswith("*"):
            out.error(f"spec.hosts[{index}]", "resolution DYNAMIC_DNS needs a wildcard host; use DNS", host)
    if entry.addresses:
        out.error("spec.addresses", "resolution DYNAMIC_DNS has no addresses")
    if entry.endpoints:
        out.error("spec.endpoints", "resolution DYNAMIC_DNS has no endpoints")
    for index, port in enumerate(entry.ports):
        if port.protocol.lower() not in _DYNAMIC_PROTOCOLS:
            expected = "resolution DYNAMIC_DNS needs HTTP, HTTP2, GRPC or TLS"
            out.error(f"spec.ports[{index}].protocol", expected, port.protocol)


def _check_waypoint(entry: ServiceEntry, labels: Mapping[str, str], out: Findings) -> None:
    if entry.location is ServiceEntryLocation.MESH_INTERNAL and labels.get(_WAYPOINT, "").lower() not in ("", "none"):
        expected = f"must be MESH_EXTERNAL for resolution DYNAMIC_DNS when the label {_WAYPOINT} is set"
        out.error("spec.location", expected, entry.location.value)


def _check_several_hosts(entry: ServiceEntry, out: Findings) -> None:
    if entry.resolution is Resolution.NONE or len(entry.hosts) < 2:
        return
    for index, port in enumerate(entry.ports):
        if _is_tcp(port):
            expected = "several hosts need an HTTP or TLS port: TCP carries no host name"
            out.error(f"spec.ports[{index}].protocol", expected, port.protocol)


_RESOLUTIONS = {
    Resolution.NONE: _check_none,
    Resolution.STATIC: _check_static,
    Resolution.DNS: _check_dns,
    Resolution.DNS_ROUND_ROBIN: _check_dns,
    Resolution.DYNAMIC_DNS: _check_dynamic,
}
