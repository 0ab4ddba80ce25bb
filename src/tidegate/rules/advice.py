"""Settings that are valid and yet do not do what their author may think: told before rules are written."""

import ipaddress
import itertools
from collections.abc import Iterator

from tidegate.rules.capture_rules import OUTBOUND_MARK, captures_dns
from tidegate.rules.options import ALL, CaptureOptions, Surroundings

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
ORIGINAL_SOURCE_MARK = 1337
"""Envoy's, of what it sends from the caller's address (listener filter original_src)."""
INCLUDE, EXCLUDE = "--istio-service-cidr", "--istio-service-exclude-cidr"


def advice(options: CaptureOptions, surroundings: Surroundings) -> list[str]:
    """One sentence for each doubtful setting, naming option and value."""
    alone = (*_ranges(options), *_ports(options), *_owners(options), *_marks(options))
    return list(dict.fromkeys((*alone, *_families(options, surroundings), *_dns(options, surroundings))))


def _ranges(options: CaptureOptions) -> Iterator[str]:
    if not options.service_cidr and not options.outbound_ports:
        yield f"{INCLUDE} is empty: no outbound connection is captured; use * to capture all of them"
    included = _networks(options.service_cidr)
    excluded = _networks(options.service_exclude_cidr)
    for option, listed in ((INCLUDE, included), (EXCLUDE, excluded)):
        for (value, network), (other, wider) in itertools.permutations(listed, 2):
            if _within(network, wider) and (network != wider or value < other):
                yield f"{option}: {value} lies within {other}, which has the same effect alone"
    for value, network in included:
        for other, wider in excluded:
            if _within(network, wider):
                yield f"{INCLUDE}: {value} is never captured: it lies within {other} of {EXCLUDE}, which comes first"
    for option, listed in ((INCLUDE, included), (EXCLUDE, excluded)):
        for value, network in listed:
            if str(network) != value and "/" in value and str(network.network_address) != value.partition("/")[0]:
                yield f"{option}: {value} means {network}: bits right of the mask do not count"


def _families(options: CaptureOptions, surroundings: Surroundings) -> Iterator[str]:
    if surroundings.ipv6:
        return
    for option, values in ((INCLUDE, options.service_cidr), (EXCLUDE, options.service_exclude_cidr)):
        for value, network in _networks(values):
            if network.version == 6:
                yield (
                    f"{option}: {value} has no effect: the first address here is not IPv6, so no IPv6 rules are made; "
                    "use --dual-stack where both families are spoken"
                )


def _ports(options: CaptureOptions) -> Iterator[str]:
    for port in dict.fromkeys(options.outbound_ports):
        if port in options.local_outbound_ports_exclude:
            yield (
                f"--istio-outbound-ports: {port} is never captured: "
                "--istio-local-outbound-ports-exclude names it too and comes first"
            )
    if options.local_exclude_ports and options.inbound_ports != ALL:
        yield "--istio-local-exclude-ports has no effect without --istio-inbound-ports '*'"
    if options.envoy_port == options.inbound_capture_port:
        yield (
            f"--envoy-port and --inbound-capture-port are both {options.envoy_port}: one listener cannot tell what "
            "comes in from what goes out"
        )
    listening = {str(options.envoy_port), str(options.inbound_capture_port)}
    for port in dict.fromkeys(options.inbound_ports):
        if port in listening:
            yield f"--istio-inbound-ports: {port} is the proxy's own port: its connections would come back to it"


def _owners(options: CaptureOptions) -> Iterator[str]:
    if options.tproxy and "0" in options.proxy_uid:
        yield (
            "--proxy-uid: with TPROXY the proxy runs as user 0 and hands connections on from the caller's address: "
            "rules for that user would take them for calls of the proxy's own; use 1337, and 1337 for --proxy-gid"
        )
    if not options.outbound_owner_groups:
        yield "ISTIO_OUTBOUND_OWNER_GROUPS is empty: nobody's connections are captured; use * for everybody's"
    if options.outbound_owner_groups_exclude and options.outbound_owner_groups != ALL:
        yield "ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE has no effect unless ISTIO_OUTBOUND_OWNER_GROUPS is *"


def _marks(options: CaptureOptions) -> Iterator[str]:
    mark = options.inbound_tproxy_mark
    if options.tproxy and mark == OUTBOUND_MARK:
        yield (
            f"--istio-inbound-tproxy-mark: {mark} is the mark of what the proxy sends to its own workload, too: its "
            f"calls would not be captured; use {ORIGINAL_SOURCE_MARK}"
        )
    elif options.tproxy and mark != ORIGINAL_SOURCE_MARK:
        yield (
            f"--istio-inbound-tproxy-mark: the proxy marks what it hands to the application with {ORIGINAL_SOURCE_MARK}"
            f", not {mark}: answers would not find back to it; use {ORIGINAL_SOURCE_MARK}"
        )


def _dns(options: CaptureOptions, surroundings: Surroundings) -> Iterator[str]:
    if options.redirect_dns and not captures_dns(options, surroundings):
        yield "--redirect-dns has no effect: resolv.conf names no server; use --capture-all-dns"
    if options.capture_all_dns and not options.redirect_dns:
        yield "--capture-all-dns has no effect without --redirect-dns"


def _networks(values: tuple[str, ...]) -> list[tuple[str, Network]]:
    return [(value, ipaddress.ip_network(value, strict=False)) for value in values if value != "*"]


def _within(network: Network, wider: Network) -> bool:
    if isinstance(network, ipaddress.IPv4Network):
        return isinstance(wider, ipaddress.IPv4Network) and network.subnet_of(wider)
    return isinstance(wider, ipaddress.IPv6Network) and network.subnet_of(wider)
