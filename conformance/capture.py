"""Packet rules: settings in, the exact rules out, for iptables and for native nftables."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from conformance import difference
from conformance.suite import Json, Outcome, judged
from tidegate.rules.annotations import capture_options
from tidegate.rules.capture_rules import rule_set
from tidegate.rules.native import native_tables, transaction
from tidegate.rules.options import CaptureOptions, Surroundings
from tidegate.rules.text import to_restore

LISTS = {
    "proxy-uid": "proxy_uid",
    "proxy-gid": "proxy_gid",
    "istio-inbound-ports": "inbound_ports",
    "istio-local-exclude-ports": "local_exclude_ports",
    "istio-service-cidr": "service_cidr",
    "istio-service-exclude-cidr": "service_exclude_cidr",
    "istio-outbound-ports": "outbound_ports",
    "istio-local-outbound-ports-exclude": "local_outbound_ports_exclude",
    "istio-exclude-interfaces": "exclude_interfaces",
    "kube-virt-interfaces": "kube_virt_interfaces",
    "ISTIO_OUTBOUND_OWNER_GROUPS": "outbound_owner_groups",
    "ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE": "outbound_owner_groups_exclude",
}
NUMBERS = {
    "envoy-port": "envoy_port",
    "inbound-capture-port": "inbound_capture_port",
    "inbound-tunnel-port": "inbound_tunnel_port",
    "istio-inbound-tproxy-mark": "inbound_tproxy_mark",
    "istio-inbound-tproxy-route-table": "inbound_tproxy_route_table",
}
PLAIN = {
    "istio-inbound-interception-mode": "inbound_interception_mode",
    "redirect-dns": "redirect_dns",
    "capture-all-dns": "capture_all_dns",
    "drop-invalid": "drop_invalid",
    "dual-stack": "dual_stack",
    "ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR": "ipv4_loopback_cidr",
}


def options_of(case: Json) -> CaptureOptions:
    values: Json = {}
    for name, value in {**case["flags"], **case["env"]}.items():
        if name in LISTS:
            values[LISTS[name]] = tuple(part for part in value.split(",") if part)
        elif name in NUMBERS:
            values[NUMBERS[name]] = int(value)
        elif name in PLAIN:
            values[PLAIN[name]] = value
        else:
            assert name in ("dry-run", "network-namespace", "native-nftables"), f"unknown setting {name}"
    return CaptureOptions(**values)


def surroundings_of(case: Json) -> Surroundings:
    facts = case["facts"]
    return Surroundings(
        ipv6=facts["ipv6_enabled"],
        dns_servers_v4=tuple(facts["dns_servers_v4"]),
        dns_servers_v6=tuple(facts["dns_servers_v6"]),
    )


def iptables(folder: Path) -> Iterator[Outcome]:
    """What the sidecar's init step and the network plugin write for iptables."""
    return judged(_cases(folder, "iptables"), lambda c: str(c["name"]), _judge)


def nftables(folder: Path) -> Iterator[Outcome]:
    """The same for native nftables: the whole transaction."""
    return judged(_cases(folder, "nftables"), lambda c: str(c["name"]), _judge)


def ambient(folder: Path) -> int:
    """How many cases ask for the rules of an ambient pod or of a node."""
    return sum("mode" in case for case in _all(folder))


def _all(folder: Path) -> list[Json]:
    return [json.loads(file.read_text()) for file in sorted(folder.glob("*/*.json"))]


def _cases(folder: Path, tool: str) -> list[Json]:
    return [case for case in _all(folder) if case["tool"] == tool and "mode" not in case]


def _judge(case: Json) -> str:
    if "pod_annotations" in case:
        return _for_pod(case)
    options, surroundings = options_of(case), surroundings_of(case)
    if case["tool"] == "nftables":
        return difference.of(case["expect"]["nft"], transaction(native_tables(options, surroundings)))
    expected = {family: case["expect"][key] or [] for family, key in _FAMILIES.items()}
    made = {family: to_restore(rule_set(options, surroundings, family)).splitlines() for family in expected}
    return difference.of(expected, made)


_FAMILIES: dict[Literal["ipv4", "ipv6"], str] = {"ipv4": "v4_restore", "ipv6": "v6_restore"}


def _for_pod(case: Json) -> str:
    user, group = case["proxy_run_as_user"], case["proxy_run_as_group"]
    options = capture_options(case["pod_annotations"], case["proxy_env"], user, group)
    if case["tool"] == "nftables":
        return difference.of(case["expect"]["nft"], transaction(native_tables(options, Surroundings())))
    made = {
        table.name: [*(f"-N {chain}" for chain in table.chains), *map(str, table.rules)]
        for table in rule_set(options, Surroundings()).tables
    }
    return difference.of(case["expect"]["v4_tables"], made)
