"""Rules for VirtualService."""

import re

from tidegate.api.networking import (
    L4MatchAttributes,
    RouteDestination,
    TCPRoute,
    TLSMatchAttributes,
    TLSRoute,
    VirtualService,
)
from tidegate.api.validation.findings import Findings
from tidegate.api.validation.http_route import check_client, check_gateways, check_http_route, check_weights
from tidegate.api.validation.names import (
    HostIndex,
    check_export_to,
    check_subnet,
    is_ip,
    is_label,
    is_subnet,
    wildcard_problem,
)
from tidegate.api.validation.reachability import warn_unreachable

_SNI_PREFIX = "outbound_"
_LONGEST_NAME = 255
_DIGIT, _LETTER = re.compile("[0-9]"), re.compile("[a-zA-Z]")


def check_virtual_service(service: VirtualService, namespace: str, out: Findings) -> None:
    gateway = bool(service.gateways) and "mesh" not in service.gateways
    delegate = not service.hosts
    if delegate:
        for name, value in (("gateways", service.gateways), ("tls", service.tls), ("tcp", service.tcp)):
            if value:
                out.error(f"spec.{name}", "may not be set in a delegate, which has no hosts")
    check_gateways("spec.gateways", service.gateways, out)
    hosts = HostIndex(service.hosts)
    _check_hosts(service, hosts, gateway, out)
    if not service.http and not service.tcp and not service.tls:
        out.required("spec", "at least one of http, tls, tcp is required")
    for index, route in enumerate(service.http):
        check_http_route(f"spec.http[{index}]", route, out, delegate=delegate, gateway=gateway)
    for index, tls in enumerate(service.tls):
        _check_tls(f"spec.tls[{index}]", tls, hosts, out, gateway="mesh" not in service.gateways)
    for index, tcp in enumerate(service.tcp):
        _check_tcp(f"spec.tcp[{index}]", tcp, out)
    check_export_to(service.export_to, namespace, out)
    warn_unreachable(service, out)


def _check_hosts(service: VirtualService, hosts: HostIndex, gateway: bool, out: Findings) -> None:
    sni = gateway and bool(service.tls)
    for index, host in enumerate(service.hosts):
        at = f"spec.hosts[{index}]"
        if host == "*" and not gateway:
            expected = "* needs gateways, without mesh: a sidecar cannot tell what it would stand for"
            out.error(at, expected, host)
        elif not is_ip(host) and (problem := gateway_domain_problem(host, sni=sni)):
            out.error(at, f"{problem}, or an IP address", host)
        other = hosts.covering(host, besides=index)
        if other is not None:
            out.duplicate(at, host[:120], f"hosts must not overlap: {service.hosts[other][:120]} covers this one")


def gateway_domain_problem(host: str, *, sni: bool) -> str | None:
    """As a wildcard domain; with ``sni`` also ``outbound_.PORT_.SUBSET_.HOST``, the SNI between gateways."""
    if not sni or not host.startswith(_SNI_PREFIX) or len(host) > _LONGEST_NAME:
        return wildcard_problem(host)
    parts = host.split("_")
    usable = len(parts) > 3 and _DIGIT.search(parts[1]) and _LETTER.search(parts[3])
    return None if usable else "must be outbound_.PORT_._.HOST"


def _check_tls(path: str, route: TLSRoute, hosts: HostIndex, out: Findings, *, gateway: bool) -> None:
    if not route.match:
        out.required(f"{path}.match", "a TLS route needs at least one match with sniHosts")
    for index, match in enumerate(route.match):
        _check_tls_match(f"{path}.match[{index}]", match, hosts, out, gateway=gateway)
    _check_targets(f"{path}.route", route.route, out, "TLS")


def _check_tls_match(path: str, match: TLSMatchAttributes, hosts: HostIndex, out: Findings, *, gateway: bool) -> None:
    if not match.sni_hosts:
        out.required(f"{path}.sniHosts", "sniHosts is required: the server names that the route is for")
    for index, host in enumerate(match.sni_hosts):
        at = f"{path}.sniHosts[{index}]"
        if is_ip(host):
            out.warn(at, f"{host[:64]} is an IP address, which clients do not send as server name")
        elif problem := gateway_domain_problem(host, sni=gateway):
            out.error(at, problem, host)
        elif hosts.covering(host) is None:
            out.error(at, "must be one of the VirtualService's hosts, or covered by one", host)
    _check_l4(path, match, out)


def _check_l4(path: str, match: TLSMatchAttributes | L4MatchAttributes, out: Findings) -> None:
    for index, subnet in enumerate(match.destination_subnets):
        check_subnet(f"{path}.destinationSubnets[{index}]", subnet, out)
    check_client(path, match, out)
    if match.source_namespace and not is_label(match.source_namespace):
        out.warn(f"{path}.sourceNamespace", f"{match.source_namespace[:120]!r} is no namespace; no client matches")


def _check_tcp(path: str, route: TCPRoute, out: Findings) -> None:
    for index, match in enumerate(route.match):
        at = f"{path}.match[{index}]"
        _check_l4(at, match, out)
        if match.source_subnet and not is_subnet(match.source_subnet):
            out.warn(f"{at}.sourceSubnet", f"{match.source_subnet[:120]!r} is no IP address or CIDR")
    _check_targets(f"{path}.route", route.route, out, "TCP")


def _check_targets(path: str, targets: tuple[RouteDestination, ...], out: Findings, protocol: str) -> None:
    if not targets:
        out.required(path, f"a {protocol} route needs at least one destination")
    check_weights(path, targets, out)
