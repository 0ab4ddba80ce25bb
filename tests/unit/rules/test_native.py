"""Native nftables: what is written, what is read back, and what differs."""

import json
from typing import Any

import msgspec
import pytest

from tidegate.rules.native import NativeRule, NativeTable, change, native_tables, transaction
from tidegate.rules.native_read import NativeListingError, canonical_rule, native_difference, parse_listing
from tidegate.rules.options import ALL, CaptureOptions, Surroundings

REDIRECT = CaptureOptions(inbound_ports=ALL, service_cidr=ALL)
NOTHING_AROUND = Surroundings()


def written(options: CaptureOptions, surroundings: Surroundings = NOTHING_AROUND, chain: str = "") -> list[str]:
    lines = transaction(native_tables(options, surroundings))
    return [line for line in lines if f" {chain} " in line and "rule" in line] if chain else lines


def test_the_transaction_of_the_smallest_rules() -> None:
    assert written(CaptureOptions())[:6] == [
        "add table inet istio-proxy-nat",
        "flush table inet istio-proxy-nat",
        "add chain inet istio-proxy-nat output { type nat hook output priority -100 ; }",
        "add chain inet istio-proxy-nat istio-inbound",
        "add chain inet istio-proxy-nat istio-redirect",
        "add chain inet istio-proxy-nat istio-in-redirect",
    ]


def test_both_families_in_one_table_where_an_address_decides() -> None:
    options = CaptureOptions(service_cidr=("10.0.0.0/8", "fd00::/8"))
    found = [line for line in written(options, Surroundings(ipv6=True), "istio-output") if "istio-redirect" in line]
    assert found == [
        "add rule inet istio-proxy-nat istio-output ip daddr 10.0.0.0/8 counter jump istio-redirect",
        "add rule inet istio-proxy-nat istio-output ip6 daddr fd00::/8 counter jump istio-redirect",
    ]


def test_ipv6_is_left_out_where_it_is_not_spoken() -> None:
    assert not any("ip6" in line for line in written(msgspec.structs.replace(REDIRECT, service_cidr=("fd00::/8",))))


def test_every_query_needs_no_server() -> None:
    options = CaptureOptions(redirect_dns=True, capture_all_dns=True)
    assert written(options, chain="istio-output-dns")[:2] == [
        "add rule inet istio-proxy-nat istio-output-dns meta l4proto tcp tcp dport 53 counter redirect to :15053",
        "add rule inet istio-proxy-nat istio-output-dns udp dport 53 counter redirect to :15053",
    ]


def test_an_interface_pattern_in_nftables_words() -> None:
    found = written(CaptureOptions(exclude_interfaces=("wg+",)), chain="prerouting")
    assert found == ["add rule inet istio-proxy-nat prerouting iifname wg* counter return"]


def test_insertions_into_an_empty_chain_append() -> None:
    """nft has no index 0 in a chain without rules."""
    found = written(msgspec.structs.replace(REDIRECT, inbound_ports=(), kube_virt_interfaces=("a", "b")))
    assert [line.split()[0] for line in found if " iifname " in line] == ["add", "insert", "insert", "insert"]


def test_a_change_takes_away_chains_and_tables_that_are_not_wanted() -> None:
    before = native_tables(msgspec.structs.replace(REDIRECT, drop_invalid=True), NOTHING_AROUND)
    lines = change(native_tables(CaptureOptions(), NOTHING_AROUND), before)
    assert lines[1:3] == ["flush table inet istio-proxy-nat", "delete chain inet istio-proxy-nat prerouting"]
    assert lines[-1] == "delete table inet istio-proxy-mangle"
    assert change((), ()) == []


def test_a_chain_that_is_hooked_otherwise_is_made_anew() -> None:
    (wanted,) = native_tables(CaptureOptions(), NOTHING_AROUND)
    output = wanted.chains[0]
    other = msgspec.structs.replace(wanted, chains=(msgspec.structs.replace(output, priority=5), *wanted.chains[1:]))
    lines = change((wanted,), (other,))
    assert lines.index("delete chain inet istio-proxy-nat output") < lines.index(
        f"add chain inet istio-proxy-nat output{output.definition}"
    )
    assert native_difference((wanted,), (other,)) == [
        "inet istio-proxy-nat output: is { type nat hook output priority 5 ; }, "
        "expected { type nat hook output priority -100 ; }"
    ]


def listing(*expressions: dict[str, Any]) -> str:
    where = {"family": "inet", "table": "istio-proxy-nat"}
    return json.dumps(
        {
            "nftables": [
                {"metainfo": {"version": "1.0.6"}},
                {"table": {"family": "inet", "name": "istio-proxy-nat"}},
                {"table": {"family": "inet", "name": "somebody-elses"}},
                {"chain": {**where, "name": "x"}},
                {"rule": {**where, "chain": "x", "expr": [*expressions, {"counter": {"packets": 1, "bytes": 2}}]}},
            ]
        }
    )


def read(*expressions: dict[str, Any]) -> NativeRule:
    (table,) = parse_listing(listing(*expressions))
    return table.rules[0]


def match(left: dict[str, Any], right: object, operator: str = "==") -> dict[str, Any]:
    return {"match": {"op": operator, "left": left, "right": right}}


@pytest.mark.parametrize(
    ("rule", "expressions"),
    [
        (
            NativeRule("x", ("meta l4proto tcp", "ip daddr != 127.0.0.1/8", "tcp dport != { 53, 15008 }"), ("return",)),
            (
                match(
                    {"payload": {"protocol": "ip", "field": "daddr"}}, {"prefix": {"addr": "127.0.0.0", "len": 8}}, "!="
                ),
                match({"payload": {"protocol": "tcp", "field": "dport"}}, {"set": [15008, 53]}, "!="),
                {"return": None},
            ),
        ),
        (
            NativeRule("x", ("ct state related,established", "mark 1337"), ("ct mark set mark",)),
            (
                match({"meta": {"key": "mark"}}, 1337),
                match({"ct": {"key": "state"}}, ["established", "related"], "in"),
                {"mangle": {"key": {"ct": {"key": "mark"}}, "value": {"meta": {"key": "mark"}}}},
            ),
        ),
        (
            NativeRule("x", ("meta l4proto tcp",), ("tproxy ip6 to :15006", "meta mark set 1337", "accept")),
            (
                match({"meta": {"key": "l4proto"}}, "tcp"),
                {"tproxy": {"family": "ip6", "port": 15006}},
                {"mangle": {"key": {"meta": {"key": "mark"}}, "value": 1337}},
                {"accept": None},
            ),
        ),
        (
            NativeRule("x", ("skuid != 3",), ("redirect to :1",)),
            (match({"meta": {"key": "skuid"}}, 3, "!="), {"redirect": {"port": 1}}),
        ),
    ],
)
def test_what_the_kernel_prints_otherwise_is_the_same(
    rule: NativeRule, expressions: tuple[dict[str, Any], ...]
) -> None:
    assert canonical_rule(read(*expressions)) == canonical_rule(rule)


@pytest.mark.parametrize(
    "expressions",
    [
        ({"redirect": {"port": 15001, "flags": "random"}},),
        (match({"meta": {"key": "skuid"}}, 3), {"xt": {"type": "target", "name": "REDIRECT"}}),
        (match({"fib": {"result": "type"}}, "local"), {"redirect": {"port": 15001}}),
        (match({"meta": {"key": "skuid"}}, 3, ">"), {"redirect": {"port": 15001}}),
        (),
    ],
)
def test_what_is_not_known_is_never_agreement(expressions: tuple[dict[str, Any], ...]) -> None:
    wanted = {canonical_rule(NativeRule("x", given, ("redirect to :15001",))) for given in ((), ("skuid 3",))}
    assert canonical_rule(read(*expressions)) not in wanted


def test_order_and_repetition_count() -> None:
    one, two = NativeRule("x", ("skuid 1",), ("return",)), NativeRule("x", ("skuid 2",), ("return",))
    wanted, found = (NativeTable("istio-proxy-nat", (), rules) for rules in ((one, two), (two, one, one)))
    assert native_difference((wanted,), (found,)) == []  # chains that no table declares hold nothing
    (declared,) = parse_listing(listing())
    wanted, found = (msgspec.structs.replace(declared, rules=rules) for rules in ((one, two), (two, one, one)))
    assert native_difference((wanted,), (found,)) == [
        "inet istio-proxy-nat x: the rules stand in another order or number (3 rules, expected 2)"
    ]


@pytest.mark.parametrize("text", ["table inet x {}", "[]", '{"tables": []}', '{"nftables": 1}'])
def test_what_is_no_listing_is_refused(text: str) -> None:
    with pytest.raises(NativeListingError, match="expected its JSON"):
        parse_listing(text)


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("eth0", "eth0"),
        ("eth0.7", "eth0.7"),
        ("wg+", "wg*"),
        ("tcp", '"tcp"'),
        ("a;b$c", '"a;b$c"'),
        ("7th", '"7th"'),
        ("a,b+", '"a,b*"'),
    ],
)
def test_names_that_nft_would_read_as_something_else_are_quoted(name: str, written: str) -> None:
    options = CaptureOptions(exclude_interfaces=(name,))
    lines = transaction(native_tables(options, Surroundings()))
    assert f"add rule inet istio-proxy-nat prerouting iifname {written} counter return" in lines
