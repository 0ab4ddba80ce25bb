"""A packet's way through rules: Istio's nine outbound rules, TPROXY marks, and what other tools write."""

import pytest

from tidegate.rules import text
from tidegate.rules.capture_rules import rule_set
from tidegate.rules.options import CaptureOptions, Surroundings
from tidegate.rules.walk import Hook, Packet, Walk, journey, walk

AROUND = Surroundings()
OUTSIDE, POD = "203.0.113.9", "10.244.0.7"


def captured(packet: Packet, hook: Hook = "OUTPUT", **options: object) -> Walk:
    options = {"service_cidr": ("*",), "inbound_ports": ("*",), **options}
    return walk(rule_set(CaptureOptions(**options), AROUND), packet, hook)  # type: ignore[arg-type]


def app(destination: str, port: int = 80, **more: object) -> Packet:
    return Packet(destination, port, source=POD, uid=1000, gid=1000, out_interface="eth0", **more)  # type: ignore[arg-type]


def test_an_applications_connection_goes_to_the_outbound_port_by_the_last_rule() -> None:
    found = captured(app(OUTSIDE))
    assert (found.verdict, found.to_port) == ("redirect", 15001)
    assert found.deciding is not None
    assert str(found.deciding.rule) == "-A ISTIO_REDIRECT -p tcp -j REDIRECT --to-ports 15001"
    assert [v.rule.specification for v in found.matched][:2] == ["-j ISTIO_OUTPUT", "-j ISTIO_REDIRECT"]


@pytest.mark.parametrize("owner", [{"uid": 1337, "gid": 0}, {"uid": 0, "gid": 1337}])
def test_the_proxys_own_connection_leaves_and_the_rule_says_why(owner: dict[str, int]) -> None:
    found = captured(Packet(OUTSIDE, 80, out_interface="eth0", **owner))
    assert found.verdict == "accept"
    assert found.deciding is not None
    assert "owner" in found.deciding.rule.specification
    assert found.deciding.rule.target == "RETURN"


def test_the_proxys_call_to_its_own_service_address_turns_inbound() -> None:
    found = captured(Packet(POD, 8080, out_interface="lo", uid=1337, gid=1337))
    assert (found.verdict, found.to_port) == ("redirect", 15006)


@pytest.mark.parametrize(
    ("options", "packet", "words"),
    [
        ({"service_exclude_cidr": ("203.0.113.0/24",)}, app(OUTSIDE), "-d 203.0.113.0/24"),
        ({"local_outbound_ports_exclude": ("80",)}, app(OUTSIDE), "--dport 80"),
        ({}, app("127.0.0.1"), "-d 127.0.0.1/32"),
        ({}, Packet(POD, 80, source="127.0.0.6", out_interface="lo", uid=1337, gid=1337), "-s 127.0.0.6/32"),
    ],
)
def test_what_bypasses_is_told_by_the_rule_that_lets_it(options: dict[str, object], packet: Packet, words: str) -> None:
    found = captured(packet, **options)
    assert found.verdict == "accept"
    assert found.deciding is not None
    assert words in found.deciding.rule.specification


def test_udp_and_ranges_that_are_not_included_meet_no_deciding_rule() -> None:
    assert captured(app(OUTSIDE, protocol="udp")).verdict == "accept"
    outside = captured(app(OUTSIDE), service_cidr=("10.0.0.0/8",))
    assert (outside.verdict, outside.deciding) == ("accept", None)


def test_inbound_ports_redirect_and_excluded_ones_return() -> None:
    found = captured(Packet(POD, 8080, source="10.244.0.9", in_interface="eth0"), "PREROUTING")
    assert (found.verdict, found.to_port) == ("redirect", 15006)
    probes = captured(Packet(POD, 15021, in_interface="eth0"), "PREROUTING", local_exclude_ports=("15021",))
    assert probes.verdict == "accept"
    assert probes.deciding is not None
    assert "--dport 15021" in probes.deciding.rule.specification


def test_tproxy_takes_new_connections_and_lets_the_proxys_own_mark_pass() -> None:
    found = captured(Packet(POD, 8080, in_interface="eth0"), "PREROUTING", inbound_interception_mode="TPROXY")
    assert (found.verdict, found.to_port) == ("tproxy", 15006)
    marked = captured(
        Packet(POD, 8080, in_interface="lo", mark=1337),
        "PREROUTING",
        inbound_interception_mode="TPROXY",
        inbound_tproxy_mark=1337,
    )
    assert marked.verdict == "accept"


def test_others_rules_are_walked_with_policies_dnat_goto_and_reject() -> None:
    rules = text.parse_save(
        """*nat
:OUTPUT ACCEPT [0:0]
:KUBE-SERVICES - [0:0]
-A OUTPUT -m comment --comment "service portals" -g KUBE-SERVICES
-A OUTPUT -p tcp -j REDIRECT --to-ports 1
-A KUBE-SERVICES -d 10.96.0.1/32 -p tcp -m tcp --dport 443 -j DNAT --to-destination 10.0.0.5:6443
COMMIT
*filter
:OUTPUT DROP [0:0]
-A OUTPUT -d 10.0.0.0/8 -j ACCEPT
-A OUTPUT -d 192.0.2.1/32 -j REJECT --reject-with icmp-port-unreachable
COMMIT
"""
    )
    api = walk(rules, Packet("10.96.0.1", 443), "OUTPUT")
    assert (api.verdict, api.to_address, api.to_port) == ("dnat", "10.0.0.5", 6443)
    assert walk(rules, Packet("10.1.1.1", 80), "OUTPUT").verdict == "accept", "goto does not come back to the redirect"
    assert walk(rules, Packet("192.0.2.1", 80), "OUTPUT").verdict == "drop"
    policy = walk(rules, Packet("198.51.100.1", 80), "OUTPUT")
    assert (policy.verdict, policy.deciding) == ("drop", None)


def test_what_nat_changed_is_what_later_tables_see() -> None:
    """A host that lets nothing out but to localhost and to one address still hands connections to its proxy."""
    rules = text.parse_save(
        """*nat
-A OUTPUT -d 10.96.0.1/32 -p tcp -j DNAT --to-destination 192.0.2.7:6443
-A OUTPUT -p tcp -m tcp --dport 80 -j REDIRECT --to-ports 15001
COMMIT
*filter
:INPUT DROP [0:0]
:OUTPUT DROP [0:0]
-A INPUT -i lo -p tcp -m tcp --dport 15001 -j ACCEPT
-A OUTPUT -d 127.0.0.0/8 -o eth0 -p tcp -m tcp --dport 15001 -j ACCEPT
-A OUTPUT -d 192.0.2.7/32 -p tcp -m tcp --dport 6443 -j ACCEPT
COMMIT
"""
    )
    assert journey(rules, app(OUTSIDE)).verdict == "redirect"
    assert journey(rules, app("10.96.0.1", port=443)).verdict == "dnat"
    assert journey(rules, app(OUTSIDE, port=81)).verdict == "drop"


@pytest.mark.parametrize(
    ("rules", "mark", "kept"),
    [
        ("-j MARK --set-xmark 0x4000/0x4000", 0x4539, 0),
        ("-j MARK --set-xmark 0x1/0xffffffff", 1, 0),
        ("-j MARK --set-mark 0x6/0xf", 0x536, 0),
        ("-j CONNMARK --save-mark --nfmask 0xff --ctmask 0xff", 0x539, 0x39),
    ],
)
def test_marks_are_changed_by_their_masks(rules: str, mark: int, kept: int) -> None:
    left = walk(text.parse_save(f"*mangle\n-A OUTPUT {rules}\nCOMMIT\n"), app(OUTSIDE, mark=0x539), "OUTPUT").packet
    assert left is not None and (left.mark, left.connection_mark) == (mark, kept)


def test_conditions_and_targets_that_are_not_known_are_named_and_count_as_not_met() -> None:
    rules = text.parse_save(
        """*nat
-A OUTPUT -m cgroup --path system.slice/x.service -j RETURN
-A OUTPUT -p tcp --dport 99999x -j RETURN
-A OUTPUT -p tcp -j NEWTARGET --speed 7
-A OUTPUT -p tcp -j REDIRECT --to-ports 15001
COMMIT
"""
    )
    found = walk(rules, app(OUTSIDE), "OUTPUT")
    assert (found.verdict, found.to_port) == ("redirect", 15001)
    assert [visit.undecided for visit in found.undecided] == [
        "--path system.slice/x.service",
        "--dport 99999x",
        "-j NEWTARGET",
    ]


def test_chains_that_jump_in_a_circle_end() -> None:
    rules = text.parse_save("*nat\n:A - [0:0]\n-A OUTPUT -j A\n-A A -j A\nCOMMIT\n")
    assert walk(rules, app(OUTSIDE), "OUTPUT").verdict == "accept"
