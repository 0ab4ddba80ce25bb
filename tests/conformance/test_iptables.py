"""The shared capture cases: settings in, the exact rules out."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tidegate.rules.annotations import capture_options
from tidegate.rules.capture_rules import rule_set
from tidegate.rules.options import CaptureOptions, Surroundings
from tidegate.rules.text import to_restore

pytestmark = pytest.mark.conformance

FLOOR = {"sidecar/iptables": 22, "cni-plugin/iptables": 7}
"""Cases that pass, by group; only ever raised. Groups without a floor are counted in the test's output: native nftables
and ambient rule sets are not made."""

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


def options_of(case: dict[str, Any]) -> CaptureOptions:
    values: dict[str, Any] = {}
    for name, value in {**case["flags"], **case["env"]}.items():
        if name in LISTS:
            values[LISTS[name]] = tuple(part for part in value.split(",") if part)
        elif name in NUMBERS:
            values[NUMBERS[name]] = int(value)
        elif name in PLAIN:
            values[PLAIN[name]] = value
        else:
            assert name in ("dry-run", "network-namespace"), f"unknown setting {name}"
    return CaptureOptions(**values)


def surroundings_of(case: dict[str, Any]) -> Surroundings:
    facts = case["facts"]
    return Surroundings(
        ipv6=facts["ipv6_enabled"],
        dns_servers_v4=tuple(facts["dns_servers_v4"]),
        dns_servers_v6=tuple(facts["dns_servers_v6"]),
    )


def passes(case: dict[str, Any]) -> bool:
    if "pod_annotations" in case:
        return passes_for_pod(case)
    options, surroundings = options_of(case), surroundings_of(case)
    for family, wanted in (("ipv4", case["expect"]["v4_restore"]), ("ipv6", case["expect"]["v6_restore"])):
        if to_restore(rule_set(options, surroundings, family)).splitlines() != (wanted or []):
            return False
    return True


def passes_for_pod(case: dict[str, Any]) -> bool:
    user, group = case["proxy_run_as_user"], case["proxy_run_as_group"]
    options = capture_options(case["pod_annotations"], case["proxy_env"], user, group)
    made = {
        table.name: [*(f"-N {chain}" for chain in table.chains), *map(str, table.rules)]
        for table in rule_set(options, Surroundings()).tables
    }
    return bool(made == case["expect"]["v4_tables"])


def groups(folder: Path) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.glob("*/*.json")):
        tool = json.loads(path.read_text())["tool"]
        found.setdefault(f"{path.parent.name}/{tool}", []).append(path)
    return found


def test_floor_holds(shared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = groups(shared / "conformance" / "iptables")
    score: Counter[str] = Counter()
    failed: list[str] = []
    for group in FLOOR:
        for path in found[group]:
            if passes(json.loads(path.read_text())):
                score[group] += 1
            else:
                failed.append(path.stem)
    with capsys.disabled():
        shown = ", ".join(f"{group} {score[group]}/{len(paths)}" for group, paths in found.items())
        print(f"\ncapture cases: {shown}")
    for group, floor in FLOOR.items():
        assert score[group] >= floor, f"{group}: {score[group]} pass, the floor is {floor}; failing: {failed}"
