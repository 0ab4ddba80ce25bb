"""The same options as iptables and as nftables rules: any packet meets the same end in both.

Two differences are Istio's, and kept: nftables drops invalid packets of TCP alone, and a condition on the owner of a
packet that no socket sent is never met there (docs/capture.md).
"""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from conformance.capture import options_of, surroundings_of
from tidegate.rules.capture_rules import placed_rules, rule_set
from tidegate.rules.model import Family, RuleSet
from tidegate.rules.native import transaction, translated
from tidegate.rules.nft_listing import parse_listing
from tidegate.rules.options import ALL, CaptureOptions, Surroundings
from tidegate.rules.walk import Hook, Packet, journey, walk

PORTS = (22, 53, 80, 4000, 6000, 9080, 15001, 15006, 15008, 15020, 15053, 31000, 32000)
OWNERS = (0, 1, 2, 3, 4, 202, 888, 1000, 1337, 1338)
ADDRESSES = {
    "ipv4": ("127.0.0.1", "127.0.0.6", "127.1.2.3", "127.0.0.53", "9.9.9.9", "1.1.1.1", "10.0.0.7", "203.0.113.9"),
    "ipv6": ("::1", "::6", "2001:db8::7", "2001:db9::1", "fd00::5"),
}
INTERFACES = ("lo", "eth0", "eth1", "not-istio-nic")


@st.composite
def packets(draw: st.DrawFn, family: Family) -> tuple[Packet, Hook]:
    """A first packet, and whether it leaves the host or comes to it."""
    hook: Hook = draw(st.sampled_from(("OUTPUT", "PREROUTING")))
    leaving = hook == "OUTPUT"
    owner = st.sampled_from(OWNERS) if leaving else st.none()
    address, port, interface = st.sampled_from(ADDRESSES[family]), st.sampled_from(PORTS), st.sampled_from(INTERFACES)
    return Packet(
        draw(address),
        draw(port),
        protocol=draw(st.sampled_from(("tcp", "udp"))),
        source=draw(address),
        source_port=draw(port),
        in_interface="" if leaving else draw(interface),
        out_interface=draw(interface) if leaving else "",
        uid=draw(owner),
        gid=draw(owner),
        state=draw(st.sampled_from(("NEW", "ESTABLISHED", "RELATED", "INVALID"))),
        mark=draw(st.sampled_from((0, 7, 1337, 1338))),
        connection_mark=draw(st.sampled_from((0, 1337))),
    ), hook


def ends(rules: RuleSet, packet: Packet, hook: Hook) -> tuple[object, ...]:
    found = walk(rules, packet, hook)
    assert not found.undecided, [each.undecided for each in found.undecided]
    whole = journey(rules, packet, inbound=hook == "PREROUTING")
    left = found.packet
    assert left is not None
    return found.verdict, found.to_port, left.mark, left.connection_mark, whole.verdict, whole.to_port


def cases(shared: Path, family: Family) -> list[dict[str, Any]]:
    found = [json.loads(file.read_text()) for file in sorted((shared / "conformance/iptables/sidecar").glob("nft*"))]
    assert found
    spoken = [case for case in found if family == "ipv4" or case["facts"]["ipv6_enabled"]]
    return [case for case in spoken if not any(name in json.dumps(case["env"]) for name in ("java", "ftp"))]


@pytest.mark.conformance
@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_istios_nftables_rules_do_what_our_iptables_rules_do(shared: Path, family: Family, data: st.DataObject) -> None:
    case = data.draw(st.sampled_from(cases(shared, family)))
    case["flags"].pop("native-nftables", None)
    nft = case["expect"]["nft"]
    theirs = parse_listing(nft if isinstance(nft, str) else "\n".join(nft), family)
    ours = rule_set(options_of(case), surroundings_of(case), family)
    packet, hook = data.draw(packets(family))
    assume(packet.protocol == "tcp" or packet.state != "INVALID")
    assert ends(theirs, packet, hook) == ends(ours, packet, hook), case["name"]


def several(*values: str) -> st.SearchStrategy[tuple[str, ...]]:
    return st.sampled_from([(), *((value,) for value in values), values])


OPTIONS = st.builds(
    CaptureOptions,
    inbound_interception_mode=st.sampled_from(("", "REDIRECT", "TPROXY")),
    inbound_ports=st.just(ALL) | several("80", "9080"),
    local_exclude_ports=several("22", "15020"),
    service_cidr=st.just(ALL) | several("9.9.0.0/16", "127.0.0.0/8", "2001:db8::/32"),
    service_exclude_cidr=several("1.1.1.1/32", "10.0.0.0/8", "2001:db9::/32"),
    outbound_ports=several("80", "32000"),
    local_outbound_ports_exclude=several("22", "4000"),
    exclude_interfaces=several("eth1"),
    kube_virt_interfaces=several("eth0", "eth1"),
    proxy_uid=st.sampled_from((("1337",), ("3", "4"))),
    proxy_gid=st.sampled_from((("1337",), ("1", "2"))),
    outbound_owner_groups=st.just(ALL) | st.sampled_from((("202",), ("202", "888"))),
    outbound_owner_groups_exclude=several("202"),
    redirect_dns=st.booleans(),
    capture_all_dns=st.booleans(),
    drop_invalid=st.booleans(),
)


@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
@settings(max_examples=150, deadline=None)
@given(options=OPTIONS, data=st.data())
def test_both_backends_do_the_same(family: Family, options: CaptureOptions, data: st.DataObject) -> None:
    around = Surroundings(ipv6=True, dns_servers_v4=("127.0.0.53",), dns_servers_v6=("fd00::5",))
    native = parse_listing("\n".join(transaction(translated(placed_rules(options, around)))), family)
    packet, hook = data.draw(packets(family))
    assume(packet.protocol == "tcp" or packet.state != "INVALID")
    assert ends(native, packet, hook) == ends(rule_set(options, around, family), packet, hook)
