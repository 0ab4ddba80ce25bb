"""nft's listings, as text and as JSON, read into the rules that packets are walked through."""

import pytest

from tidegate.rules.nft_listing import parse_listing
from tidegate.rules.nft_statements import parse_statements
from tidegate.rules.saved import entries, read_saved, trace
from tidegate.rules.text import RuleTextError
from tidegate.rules.walk import Packet, journey, walk

LISTING = """table inet istio-proxy-nat { # handle 3
	set outside {
		type ipv4_addr
		flags interval
		elements = { 203.0.113.0/24,
			192.0.2.1 }
	}

	chain output {
		type nat hook output priority dstnat; policy accept;
		counter packets 3 bytes 180 jump istio-output # handle 5
	}

	chain istio-output {
		oifname "lo" ip daddr != 127.0.0.1 tcp dport != { 53, 15008 } meta skuid 1337 counter packets 0 bytes 0 return
		ip daddr @outside counter packets 2 bytes 120 return
		meta l4proto tcp counter packets 1 bytes 60 redirect to :15001
	}
}
table ip filter {
	chain OUT {
		type filter hook output priority filter + 5; policy drop;
		meta mark & 0x000000ff == 0x00000007 accept
		tcp flags syn / syn,ack counter reject with tcp reset
		meta l4proto tcp counter accept
	}
}
"""
JSON = """{"nftables": [{"metainfo": {"json_schema_version": 1}},
{"table": {"family": "inet", "name": "istio-proxy-nat", "handle": 3}},
{"set": {"family": "inet", "name": "outside", "table": "istio-proxy-nat", "type": "ipv4_addr",
 "elem": ["192.0.2.1", {"prefix": {"addr": "203.0.113.0", "len": 24}}]}},
{"chain": {"family": "inet", "table": "istio-proxy-nat", "name": "output", "type": "nat", "hook": "output",
 "prio": -100, "policy": "accept"}},
{"chain": {"family": "inet", "table": "istio-proxy-nat", "name": "istio-output"}},
{"rule": {"family": "inet", "table": "istio-proxy-nat", "chain": "output", "expr":
 [{"counter": {"packets": 3, "bytes": 180}}, {"jump": {"target": "istio-output"}}]}},
{"rule": {"family": "inet", "table": "istio-proxy-nat", "chain": "istio-output", "expr":
 [{"match": {"op": "==", "left": {"payload": {"protocol": "ip", "field": "daddr"}}, "right": "@outside"}},
  {"counter": {"packets": 2, "bytes": 120}}, {"return": null}]}},
{"rule": {"family": "inet", "table": "istio-proxy-nat", "chain": "istio-output", "expr":
 [{"match": {"op": "==", "left": {"meta": {"key": "l4proto"}}, "right": "tcp"}}, {"redirect": {"port": 15001}}]}}]}"""


def app(destination: str, **more: object) -> Packet:
    return Packet(destination, 80, uid=1000, gid=1000, out_interface="eth0", **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", [LISTING, JSON])
def test_named_sets_counters_and_verdicts(text: str) -> None:
    rules = parse_listing(text)
    left = walk(rules, app("203.0.113.9"), "OUTPUT")
    assert left.verdict == "accept"
    assert left.deciding is not None
    assert left.deciding.rule.counters == (2, 120)
    taken = walk(rules, app("198.51.100.1"), "OUTPUT")
    assert (taken.verdict, taken.to_port) == ("redirect", 15001)


def test_base_chains_come_by_priority_and_their_policies_hold() -> None:
    rules = parse_listing(LISTING)
    assert [(b.hook, b.priority, b.kind) for t in rules.tables for b in t.bases] == [
        ("OUTPUT", -100, "nat"),
        ("OUTPUT", 5, "filter"),
    ]
    assert walk(rules, app("203.0.113.9", protocol="udp"), "OUTPUT").verdict == "drop"
    assert walk(rules, app("203.0.113.9", protocol="udp", mark=0x107), "OUTPUT").verdict == "accept"
    unknown = walk(rules, app("203.0.113.9"), "OUTPUT").undecided
    assert [each.undecided for each in unknown] == ['nft "tcp flags syn / syn , ack"']


def test_a_table_of_one_family_is_not_met_by_the_other() -> None:
    assert [table.name for table in parse_listing(LISTING, "ipv6").tables] == ["inet istio-proxy-nat"]


def test_an_owner_is_never_matched_where_no_socket_sent_the_packet() -> None:
    rules = parse_listing(
        "add chain inet t o { type nat hook output priority -100 ; }\n"
        "add rule inet t o skuid != 1337 counter redirect to :1\n"
    )
    assert walk(rules, app("192.0.2.1"), "OUTPUT").verdict == "redirect"
    assert walk(rules, Packet("192.0.2.1", 80), "OUTPUT").verdict == "accept"


def test_commands_insert_at_their_index_and_flush() -> None:
    text = "\n".join(
        (
            "add table inet t",
            "add chain inet t c",
            "add rule inet t c drop",
            "flush table inet t",
            "add rule inet t c meta mark 1 return",
            "insert rule inet t c index 0 accept",
            "insert rule inet t c index 1 ct mark set mark",
        )
    )
    (table,) = parse_listing(text).tables
    assert [rule.target for rule in table.contents()["c"]] == ["ACCEPT", "CONNMARK", "RETURN"]


@pytest.mark.parametrize(
    ("text", "target", "options", "before"),
    [
        ("tproxy ip to :15006 meta mark set 7 accept", "TPROXY", ("--on-port", "15006", "--tproxy-mark"), ()),
        ('log prefix "x" meta mark set 7 drop', "DROP", (), (("LOG",), ("MARK", "--set-mark", "7"))),
        ("dnat ip6 to [fd00::1]:80", "DNAT", ("--to-destination", "[fd00::1]:80"), ()),
        ("meta mark set meta mark | 0x4000 return", "RETURN", (), (("MARK", "--set-xmark", "0x4000/0x4000"),)),
        ("ct mark set ct mark or 0x1", "CONNMARK", ("--set-xmark", "0x1/0x1"), ()),
        ("udp dport 53 ct zone set 1", "CT", ("--zone", "1"), ()),
        ("tcp dport vmap { 22 : drop, 23 : accept }", "", (), ()),
    ],
)
def test_statements(text: str, target: str, options: tuple[str, ...], before: tuple[tuple[str, ...], ...]) -> None:
    rule = parse_statements("c", text)
    assert (rule.target, rule.options[: len(options)], rule.before) == (target, options, before)
    assert rule.specification == text


@pytest.mark.parametrize("text", ["table inet t {\n chain c {\n", "add rule\n", '{"nftables": 7}', "hello\n", "{"])
def test_what_is_no_listing_is_said(text: str) -> None:
    with pytest.raises(RuleTextError):
        read_saved(text)


def test_listings_of_both_iptables_may_stand_together() -> None:
    one = "# Generated by iptables-save v1.8.9\n*nat\n-A OUTPUT -p tcp -j REDIRECT --to-ports 1\nCOMMIT\n"
    rules = read_saved(one + one.replace("iptables-save", "ip6tables-save"))
    assert [entry.family for entry in entries(rules)] == ["ipv4", "ipv6"]


def test_a_trace_names_the_rule_that_chose_and_its_purpose() -> None:
    rules = read_saved(LISTING.replace("@outside counter packets 2 bytes 120 return", "203.0.113.0/24 return"))["ipv4"]
    told = trace(journey(rules, app("203.0.113.9")), rules)
    assert told.deciding is not None
    assert (told.deciding.chain, told.deciding.number) == ("istio-output", 2)
    assert told.reason == "inet istio-proxy-nat istio-output rule 2: destinations in 203.0.113.0/24 are excluded"
    assert [step.chain for step in told.way] == ["output", "istio-output"]
