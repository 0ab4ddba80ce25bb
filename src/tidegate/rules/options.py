"""What istio-iptables can be told, as one value."""

import ipaddress
import re
from collections.abc import Iterator
from typing import Literal

import msgspec

from tidegate.kit.errors import FieldError, TidegateError
from tidegate.rules.model import Family

ALL = ("*",)
_INTERFACE = re.compile(r"[^\s/!\"'\\]{1,15}")
_GROUP = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,30}\$?")
MAX_OWNER_GROUPS = 64


class CaptureOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of traffic capture, named and defaulted as istio-iptables has them."""

    envoy_port: int = 15001
    """Port of the outbound listener."""
    inbound_capture_port: int = 15006
    inbound_tunnel_port: int = 15008
    """Port of HBONE, never captured."""
    proxy_uid: tuple[str, ...] = ("1337",)
    """Users whose own connections are not captured."""
    proxy_gid: tuple[str, ...] = ("1337",)
    inbound_interception_mode: Literal["", "REDIRECT", "TPROXY"] = ""
    inbound_ports: tuple[str, ...] = ()
    """``*`` or the ports to capture; empty captures nothing inbound."""
    local_exclude_ports: tuple[str, ...] = ()
    """Inbound ports not captured; counts only together with ``*``."""
    service_cidr: tuple[str, ...] = ()
    """``*`` or the destinations to capture; empty captures nothing outbound."""
    service_exclude_cidr: tuple[str, ...] = ()
    outbound_ports: tuple[str, ...] = ()
    """Destination ports that are captured wherever they lead."""
    local_outbound_ports_exclude: tuple[str, ...] = ()
    exclude_interfaces: tuple[str, ...] = ()
    kube_virt_interfaces: tuple[str, ...] = ()
    """Interfaces of virtual machines: what comes in there is the machine's outbound traffic."""
    inbound_tproxy_mark: int = 1337
    inbound_tproxy_route_table: int = 133
    redirect_dns: bool = False
    capture_all_dns: bool = False
    """Redirect every query to port 53, not only those to the servers of resolv.conf."""
    drop_invalid: bool = False
    dual_stack: bool = False
    outbound_owner_groups: tuple[str, ...] = ALL
    """``*`` or the groups whose connections are captured; empty captures nobody's."""
    outbound_owner_groups_exclude: tuple[str, ...] = ()
    ipv4_loopback_cidr: str = "127.0.0.1/32"

    @property
    def tproxy(self) -> bool:
        return self.inbound_interception_mode == "TPROXY"


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """What the machine is like, as far as rules depend on it."""

    ipv6: bool = False
    dns_servers_v4: tuple[str, ...] = ()
    dns_servers_v6: tuple[str, ...] = ()

    def dns_servers(self, family: Family) -> tuple[str, ...]:
        return self.dns_servers_v4 if family == "ipv4" else self.dns_servers_v6


class InvalidCaptureOptionsError(TidegateError):
    """Capture settings that cannot be turned into rules, with everything wrong about them."""

    def __init__(self, errors: tuple[FieldError, ...]) -> None:
        self.errors = errors
        super().__init__("capture options: " + "; ".join(map(str, errors)))


def check(options: CaptureOptions) -> None:
    """Raise InvalidCaptureOptionsError when a value would make a wrong rule or none."""
    errors = (*_ports(options), *_networks(options), *_names(options), *_owners(options), *_numbers(options))
    if errors:
        raise InvalidCaptureOptionsError(errors)


def networks(values: tuple[str, ...], family: Family) -> tuple[str, ...]:
    """Those of the CIDRs that are of the family, in their order and their one form."""
    version = 4 if family == "ipv4" else 6
    found = (ipaddress.ip_interface(value) for value in values)
    return tuple(str(each) for each in found if each.version == version)


def includes_loopback(options: CaptureOptions) -> bool:
    """Whether a captured range holds loopback addresses, so that loopback must not be let pass early."""
    if options.service_cidr == ALL:
        return False
    return any(ipaddress.ip_interface(value).ip.is_loopback for value in options.service_cidr)


def _ports(options: CaptureOptions) -> Iterator[FieldError]:
    lists = {
        "istio-inbound-ports": options.inbound_ports if options.inbound_ports != ALL else (),
        "istio-local-exclude-ports": options.local_exclude_ports,
        "istio-outbound-ports": options.outbound_ports,
        "istio-local-outbound-ports-exclude": options.local_outbound_ports_exclude,
        "envoy-port": (str(options.envoy_port),),
        "inbound-capture-port": (str(options.inbound_capture_port),),
        "inbound-tunnel-port": (str(options.inbound_tunnel_port),),
    }
    for name, values in lists.items():
        for value in values:
            if not (value.isascii() and value.isdigit() and 1 <= int(value) <= 65535):
                yield FieldError(f"--{name}", "expected a port from 1 to 65535", value)


def _networks(options: CaptureOptions) -> Iterator[FieldError]:
    included = options.service_cidr if options.service_cidr != ALL else ()
    for name, values in (
        ("istio-service-cidr", included),
        ("istio-service-exclude-cidr", options.service_exclude_cidr),
    ):
        for value in values:
            if value == "*":
                expected = "* as the only value, or CIDRs" if name == "istio-service-cidr" else "CIDRs"
                yield FieldError(f"--{name}", f"expected {expected} such as 10.0.0.0/8", value)
            elif not _is_network(value):
                yield FieldError(f"--{name}", "expected an address or CIDR such as 10.0.0.0/8", value)
    loopback = options.ipv4_loopback_cidr
    if not _is_network(loopback) or not _is_ipv4_loopback(loopback):
        name = "ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR"
        yield FieldError(name, "expected an IPv4 loopback range with a mask from 8 to 32", loopback)


def _is_network(value: str) -> bool:
    """No netmask and no scope, which Istio's tool takes neither."""
    try:
        ipaddress.ip_network(value, strict=False)
    except ValueError:
        return False
    return value.isascii() and "%" not in value and "." not in value.partition("/")[2]


def _is_ipv4_loopback(value: str) -> bool:
    network = ipaddress.ip_network(value, strict=False)
    return network.version == 4 and network.is_loopback and network.prefixlen >= 8


def _names(options: CaptureOptions) -> Iterator[FieldError]:
    lists = (
        ("istio-exclude-interfaces", options.exclude_interfaces),
        ("kube-virt-interfaces", options.kube_virt_interfaces),
    )
    for name, values in lists:
        for value in values:
            if not _INTERFACE.fullmatch(value) or value.startswith("-"):
                yield FieldError(f"--{name}", "expected an interface name of at most 15 characters", value)


def _owners(options: CaptureOptions) -> Iterator[FieldError]:
    for name, owners in (("proxy-uid", options.proxy_uid), ("proxy-gid", options.proxy_gid)):
        if not owners:
            yield FieldError(f"--{name}", "expected at least one numeric id")
        for owner in owners:
            if not (owner.isascii() and owner.isdigit() and int(owner) < 2**32 - 1):
                yield FieldError(f"--{name}", "expected a numeric id", owner)
    included = options.outbound_owner_groups if options.outbound_owner_groups != ALL else ()
    if len(included) > MAX_OWNER_GROUPS:
        message = f"expected at most {MAX_OWNER_GROUPS} groups, got {len(included)}"
        yield FieldError("ISTIO_OUTBOUND_OWNER_GROUPS", message)
    for group in (*included, *options.outbound_owner_groups_exclude):
        if not _GROUP.fullmatch(group):
            yield FieldError("ISTIO_OUTBOUND_OWNER_GROUPS", "expected a group name or id", group)


def _numbers(options: CaptureOptions) -> Iterator[FieldError]:
    if not 1 <= options.inbound_tproxy_mark < 2**32 - 1:
        yield FieldError("--istio-inbound-tproxy-mark", "expected 1 to 4294967294", options.inbound_tproxy_mark)
    if not 1 <= options.inbound_tproxy_route_table < 2**32:
        table = options.inbound_tproxy_route_table
        yield FieldError("--istio-inbound-tproxy-route-table", "expected 1 to 4294967295", table)
