"""What a lab file must satisfy beyond its types; every finding at once."""

import ipaddress
import re
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from tidegate.kit.errors import FieldError
from tidegate.lab.spec import PROXY_CONFIG, PROXY_UID, Command, Host, Image, LabSpec, Sidecar, Workload

_LAB_NAME = re.compile(r"[a-z][a-z0-9]{0,14}")
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_DNS_NAME = re.compile(r"[a-z0-9_]([-a-z0-9_]{0,61}[a-z0-9])?(\.[a-z0-9_]([-a-z0-9_]{0,61}[a-z0-9])?)*\.?")
_PORT_NAME = re.compile(r"(?=.*[a-z])[a-z0-9](?:-?[a-z0-9]){0,14}")

RESERVED_HOSTS = ("net", "dns")

Findings = Iterator[FieldError]


def problems(spec: LabSpec) -> tuple[FieldError, ...]:
    """Everything wrong with ``spec``; empty when it can be built."""
    found = list(_lab(spec))
    for index, workload in enumerate(spec.workloads):
        found += _workload(workload, f"workloads[{index}]")
    for index, host in enumerate(spec.hosts):
        found += _host(host, f"hosts[{index}]")
    for name, image in spec.images.items():
        found += _image(image, f"images[{name}]")
    found += _dns(spec)
    found += _names_once(spec)
    found += _addresses(spec)
    return tuple(found)


def _lab(spec: LabSpec) -> Findings:
    if not _LAB_NAME.fullmatch(spec.name):
        yield FieldError("name", "expected 1 to 15 lower-case letters and digits, a letter first", spec.name)
    if not 0 <= spec.control_plane.api_port <= 65535:
        yield FieldError("controlPlane.apiPort", "expected a port, or 0 for any free one", spec.control_plane.api_port)
    yield from _port(spec.control_plane.monitoring_port, "controlPlane.monitoringPort")
    if not spec.workloads and not spec.hosts:
        yield FieldError("workloads", "expected at least one workload or host")


def workload_problems(workload: Workload) -> Findings:
    """Everything wrong with a workload that is in no lab file."""
    return _workload(workload, "spec")


def _workload(workload: Workload, at: str) -> Findings:
    yield from _label(workload.name, f"{at}.name")
    yield from _label(workload.namespace, f"{at}.namespace")
    yield from _label(workload.service_account, f"{at}.serviceAccount")
    if workload.type not in ("sidecar", "router"):
        yield FieldError(f"{at}.type", "expected sidecar or router", workload.type)
    if workload.is_gateway:
        yield from _gateway(workload, at)
    else:
        yield from _program(workload, at)
    names = [port.name for port in workload.ports if port.name]
    for index, port in enumerate(workload.ports):
        where = f"{at}.ports[{index}]"
        yield from _port(port.container_port, f"{where}.containerPort")
        if port.name and not _PORT_NAME.fullmatch(port.name):
            yield FieldError(f"{where}.name", "expected at most 15 lower-case letters, digits and inner '-'", port.name)
        if port.name and names.count(port.name) > 1:
            yield FieldError(f"{where}.name", "expected a name that no other port has", port.name)
        if port.protocol not in ("TCP", "UDP"):
            yield FieldError(f"{where}.protocol", "expected TCP or UDP", port.protocol)
    for index, alias in enumerate(workload.host_aliases):
        yield from _host_alias(alias.ip, alias.hostnames, f"{at}.hostAliases[{index}]")
    if workload.capture is not None:
        yield from _sidecar(workload.capture, f"{at}.sidecar")
    if workload.proxied:
        yield from _proxy_config(workload, f"{at}.annotations[{PROXY_CONFIG}]")


def _gateway(workload: Workload, at: str) -> Findings:
    """A gateway is Envoy alone: what is for a program beside it would be without effect."""
    for name in ("command", "env", "files"):
        if getattr(workload, name):
            yield FieldError(f"{at}.{name}", "expected none: a workload of type router runs Envoy and nothing else")
    if workload.sidecar is not True:
        yield FieldError(f"{at}.sidecar", "expected none: a workload of type router is a proxy itself")


def _proxy_config(workload: Workload, at: str) -> Findings:
    try:
        found = workload.proxy_metadata
    except ValueError as error:
        yield FieldError(at, str(error), workload.annotations[PROXY_CONFIG])
        return
    for name in found:
        if not name or "=" in name or "\0" in name:
            yield FieldError(f"{at}.proxyMetadata", "expected a variable's name without '='", name)


def _host_alias(ip: str, hostnames: tuple[str, ...], at: str) -> Findings:
    if _ip(ip) is None:
        yield FieldError(f"{at}.ip", "expected an IP address", ip)
    for index, name in enumerate(hostnames):
        yield from _dns_name(name, f"{at}.hostnames[{index}]")


def _sidecar(sidecar: Sidecar, at: str) -> Findings:
    for field, value in (
        ("includeOutboundIPRanges", sidecar.include_outbound_ip_ranges),
        ("excludeOutboundIPRanges", sidecar.exclude_outbound_ip_ranges),
    ):
        for part in _listed(value, star=field.startswith("include")):
            if _network(part) is None:
                yield FieldError(f"{at}.{field}", "expected CIDRs separated by commas", part)
    if sidecar.interception_mode not in ("REDIRECT", "TPROXY"):
        yield FieldError(f"{at}.interceptionMode", "expected REDIRECT or TPROXY", sidecar.interception_mode)
    for field, value in (
        ("includeInboundPorts", sidecar.include_inbound_ports),
        ("excludeInboundPorts", sidecar.exclude_inbound_ports),
        ("includeOutboundPorts", sidecar.include_outbound_ports),
        ("excludeOutboundPorts", sidecar.exclude_outbound_ports),
    ):
        for part in _listed(value, star=field == "includeInboundPorts"):
            if not (part.isdecimal() and 1 <= int(part) <= 65535):
                yield FieldError(f"{at}.{field}", "expected ports from 1 to 65535, separated by commas", part)


def _listed(value: str, *, star: bool) -> list[str]:
    if star and value == "*":
        return []
    return [part.strip() for part in value.split(",") if part.strip()]


def _host(host: Host, at: str) -> Findings:
    yield from _label(host.name, f"{at}.name")
    if host.name in RESERVED_HOSTS:
        yield FieldError(f"{at}.name", "expected another name: the lab's own namespaces have this one", host.name)
    if _ipv4(host.address) is None:
        yield FieldError(f"{at}.address", "expected an IPv4 address", host.address)
    for index, name in enumerate(host.dns):
        yield from _dns_name(name, f"{at}.dns[{index}]")
    names = [command.name for command in host.commands]
    for index, command in enumerate(host.commands):
        where = f"{at}.commands[{index}]"
        yield from _label(command.name, f"{where}.name")
        if names.count(command.name) > 1:
            yield FieldError(f"{where}.name", "expected a name that no other command of this host has", command.name)
        yield from _program(command, where)
        for place, port in enumerate(command.ports):
            yield from _port(port, f"{where}.ports[{place}]")


def _image(image: Image, at: str) -> Findings:
    if image.command and not image.command[0]:
        yield FieldError(f"{at}.command", "expected the program and its arguments as a list")
    yield from _surroundings(image, at)


def _program(program: Workload | Command, at: str) -> Findings:
    if not program.command or not program.command[0]:
        yield FieldError(f"{at}.command", "expected the program and its arguments as a list")
    if program.restart_policy not in ("Always", "Never"):
        yield FieldError(f"{at}.restartPolicy", "expected Always or Never", program.restart_policy)
    yield from _surroundings(program, at)


def _surroundings(program: Workload | Command | Image, at: str) -> Findings:
    if any("\0" in part for part in program.command):
        yield FieldError(f"{at}.command", "expected arguments without NUL")
    if program.uid == PROXY_UID:
        yield FieldError(f"{at}.uid", f"expected another user: {PROXY_UID} is the proxy's, which is not captured")
    elif not 0 <= program.uid < 2**32 - 1:
        yield FieldError(f"{at}.uid", "expected a user id from 0 to 4294967294", program.uid)
    for name in program.env:
        if not name or "=" in name or "\0" in name:
            yield FieldError(f"{at}.env", "expected a variable's name without '='", name)
    for target in program.files:
        path = PurePosixPath(target)
        if path.is_absolute() or ".." in path.parts or not path.parts:
            yield FieldError(f"{at}.files", "expected a path below the working folder", target)


def _dns(spec: LabSpec) -> Findings:
    if spec.dns is None:
        for index, host in enumerate(spec.hosts):
            if host.dns:
                yield FieldError(f"hosts[{index}].dns", "names need a name server: add dns: {address: …}")
        return
    if _ipv4(spec.dns.address) is None:
        yield FieldError("dns.address", "expected an IPv4 address", spec.dns.address)
    for name, addresses in spec.dns.records.items():
        yield from _dns_name(name, "dns.records")
        for address in addresses:
            if _ipv4(address) is None:
                yield FieldError(f"dns.records.{name}", "expected IPv4 addresses", address)


def _names_once(spec: LabSpec) -> Findings:
    keys = [workload.key for workload in spec.workloads]
    for index, key in enumerate(keys):
        if keys.index(key) != index:
            yield FieldError(f"workloads[{index}].name", "expected a name that no other workload here has", key)
    names = [host.name for host in spec.hosts]
    for index, name in enumerate(names):
        if names.index(name) != index:
            yield FieldError(f"hosts[{index}].name", "expected a name that no other host has", name)


def _addresses(spec: LabSpec) -> Findings:
    network = _network(spec.network.cidr)
    if not isinstance(network, ipaddress.IPv4Network) or not 8 <= network.prefixlen <= 29:
        yield FieldError("network.cidr", "expected an IPv4 network from /8 to /29", spec.network.cidr)
        return
    if network.num_addresses - 3 < len(spec.workloads):
        yield FieldError("network.cidr", f"expected room for {len(spec.workloads)} workloads", spec.network.cidr)
    taken: dict[str, str] = {str(network[1]): "the gateway"}
    for index, workload in enumerate(spec.workloads):
        at = f"workloads[{index}].address"
        if workload.address and not _inside(workload.address, network):
            yield FieldError(at, f"expected a host address in {network}", workload.address)
        yield from _free(workload.address, at, workload.key, taken)
    for index, host in enumerate(spec.hosts):
        yield from _free(host.address, f"hosts[{index}].address", f"host {host.name}", taken)
    if spec.dns is not None:
        yield from _free(spec.dns.address, "dns.address", "the name server", taken)


def _free(address: str, at: str, owner: str, taken: dict[str, str]) -> Findings:
    if not address:
        return
    if address in taken:
        yield FieldError(at, f"expected an address that is free: {taken[address]} has it", address)
    taken.setdefault(address, owner)


def _inside(address: str, network: ipaddress.IPv4Network) -> bool:
    parsed = _ipv4(address)
    return parsed is not None and parsed in network and parsed not in (network[0], network[-1])


def _label(value: str, at: str) -> Findings:
    if not _LABEL.fullmatch(value):
        yield FieldError(at, "expected at most 63 lower-case letters, digits and inner '-'", value)


def _dns_name(value: str, at: str) -> Findings:
    if len(value) > 253 or not _DNS_NAME.fullmatch(value.lower()):
        yield FieldError(at, "expected a DNS name", value)


def _port(value: int, at: str) -> Findings:
    if not 1 <= value <= 65535:
        yield FieldError(at, "expected a port from 1 to 65535", value)


def _ip(value: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(value)
    except ValueError:
        return None


def _ipv4(value: str) -> ipaddress.IPv4Address | None:
    parsed = _ip(value)
    return parsed if isinstance(parsed, ipaddress.IPv4Address) else None


def _network(value: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(value, strict=False)
    except ValueError:
        return None


def free_addresses(cidr: str, taken: Iterable[str]) -> Iterator[str]:
    """Host addresses of ``cidr`` in order, without the gateway and those in ``taken``."""
    network = ipaddress.ip_network(cidr, strict=False)
    reserved = {str(network[1]), *taken}
    return (str(address) for address in network.hosts() if str(address) not in reserved)
