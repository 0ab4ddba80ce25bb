"""Rules for VirtualService."""

from tidegate.api.networking import (
    L4MatchAttributes,
    RouteDestination,
    TCPRoute,
    TLSMatchAttributes,
    TLSRoute,
    VirtualService,
)
from tidegate.api.validation.findings import Findings
from tidegate.api.validation.http_route import check_destination, check_gateways, check_http_route
from tidegate.api.validation.names import (
    HostIndex,
    check_export_to,
    check_label,
    check_labels,
    check_port,
    check_subnet,
    fqdn_problem,
    is_ip,
    wildcard_problem,
)
from tidegate.api.validation.reachability import warn_unreachable

_SNI_PREFIX = "outbound_"


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
        _check_tls(f"spec.tls[{index}]", tls, hosts, out, gateway=gateway)
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
    if not sni or not host.startswith(_SNI_PREFIX):
        return wildcard_problem(host)
    parts = host.split(".", 3)
    port = parts[1].removesuffix("_") if len(parts) == 4 else ""
    if len(parts) != 4 or not port.isdecimal() or not parts[2].endswith("_") or fqdn_problem(parts[3]):
        return "must be outbound_.PORT_._.HOST"
    return None


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
    if match.port:
        check_port(f"{path}.port", match.port, out)
    check_labels(f"{path}.sourceLabels", match.source_labels, out)
    check_gateways(f"{path}.gateways", match.gateways, out)
    if match.source_namespace:
        check_label(f"{path}.sourceNamespace", match.source_namespace, out)


def _check_tcp(path: str, route: TCPRoute, out: Findings) -> None:
    for index, match in enumerate(route.match):
        at = f"{path}.match[{index}]"
        _check_l4(at, match, out)
        if match.source_subnet:
            check_subnet(f"{at}.sourceSubnet", match.source_subnet, out)
    _check_targets(f"{path}.route", route.route, out, "TCP")


def _check_targets(path: str, targets: tuple[RouteDestination, ...], out: Findings, protocol: str) -> None:
    if not targets:
        out.required(path, f"a {protocol} route needs at least one destination")
    total = 0
    for index, target in enumerate(targets):
        at = f"{path}[{index}]"
        if target.destination is None:
            out.required(f"{at}.destination")
        else:
            check_destination(f"{at}.destination", target.destination, out)
        if target.weight < 0:
            out.error(f"{at}.weight", "must not be negative", target.weight)
        total += target.weight
    if len(targets) > 1 and total <= 0:
        out.error(path, "weights must add up to more than 0 when there are several destinations", total)
