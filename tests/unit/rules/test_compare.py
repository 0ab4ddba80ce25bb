import pytest

from tidegate.rules.compare import canonical, difference
from tidegate.rules.model import RuleSet, Table
from tidegate.rules.text import parse_rule

SAME = [
    ("-p tcp --dport 53 -j RETURN", "-p tcp -m tcp --dport 53 -j RETURN"),
    ("-p tcp -s 10.1.2.3/8 -j RETURN", "-s 10.0.0.0/8 -p 6 -j RETURN"),
    ("-d 10.1.2.3 -j RETURN", "-d 10.1.2.3/32 -j RETURN"),
    ("-d 0.0.0.0/0 -j RETURN", "-j RETURN"),
    ("-d 10.0.0.0/255.0.0.0 -j RETURN", "-d 10.0.0.0/8 -j RETURN"),
    ("-s ::127.0.0.53/128 -j RETURN", "-s ::7f00:35/128 -j RETURN"),
    ("-m mark --mark 1337 -j RETURN", "-m mark --mark 0x539 -j RETURN"),
    ("-j MARK --set-mark 1337", "-j MARK --set-xmark 0x539/0xffffffff"),
    ("-j CONNMARK --save-mark", "-j CONNMARK --save-mark --nfmask 0xffffffff --ctmask 0xffffffff"),
    (
        "-p tcp -j TPROXY --tproxy-mark 1337/0xffffffff --on-port 15006",
        "-p tcp -j TPROXY --on-port 15006 --on-ip 0.0.0.0 --tproxy-mark 0x539/0xffffffff",
    ),
    ("-p udp -j REDIRECT --to-port 15053", "-p udp -j REDIRECT --to-ports 15053"),
    (
        "-m conntrack --ctstate RELATED,ESTABLISHED -j RETURN",
        "-m conntrack --ctstate ESTABLISHED,RELATED -j RETURN",
    ),
]
DIFFERENT = [
    ("-p tcp -j RETURN", "-p udp -j RETURN"),
    ("-d 10.0.0.0/8 -j RETURN", "! -d 10.0.0.0/8 -j RETURN"),
    ("! -d 0.0.0.0/0 -j RETURN", "-j RETURN"),
    ("-m mark --mark 1/0xff -j RETURN", "-m mark --mark 1 -j RETURN"),
    ("-p tcp -j REDIRECT --to-ports 1", "-p tcp -j REDIRECT --to-ports 2"),
    ("-j MINE", "-g MINE"),
]


@pytest.mark.parametrize(("asked", "printed"), SAME)
def test_the_kernels_words_mean_the_same(asked: str, printed: str) -> None:
    assert canonical(parse_rule(f"-A C {asked}")) == canonical(parse_rule(f"-A C {printed}"))


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_different_rules_stay_different(one: str, other: str) -> None:
    assert canonical(parse_rule(f"-A C {one}")) != canonical(parse_rule(f"-A C {other}"))


def nat(*lines: str, chains: tuple[str, ...] = ("ISTIO_OUTPUT",)) -> RuleSet:
    return RuleSet("ipv4", (Table("nat", chains, tuple(map(parse_rule, lines))),))


WANTED = nat("-A OUTPUT -j ISTIO_OUTPUT", "-A ISTIO_OUTPUT -d 10.0.0.1/32 -j RETURN", "-A ISTIO_OUTPUT -j RETURN")


def test_equal_sets_do_not_differ_whatever_else_is_there() -> None:
    foreign = nat("-A OUTPUT -p udp -j MINE", *map(str, WANTED.tables[0].rules), chains=("ISTIO_OUTPUT", "MINE"))
    assert difference(WANTED, foreign) == []


def test_order_is_meaning() -> None:
    jump, first, second = map(str, WANTED.tables[0].rules)
    assert difference(WANTED, nat(jump, second, first)) == [
        "ipv4 nat ISTIO_OUTPUT: the rules stand in another order or number (2 rules, expected 2)"
    ]


def test_every_kind_of_finding_is_told() -> None:
    actual = nat(
        "-A OUTPUT -p tcp -j ISTIO_OUTPUT",
        "-A ISTIO_OUTPUT -j RETURN",
        "-A ISTIO_OUTPUT -j ACCEPT",
        chains=("ISTIO_OUTPUT", "ISTIO_OLD"),
    )
    assert difference(WANTED, actual) == [
        'ipv4 nat ISTIO_OUTPUT: missing rule "-d 10.0.0.1/32 -j RETURN"',
        'ipv4 nat ISTIO_OUTPUT: unexpected rule "-j ACCEPT"',
        "ipv4 nat ISTIO_OLD: an unexpected chain with 0 rules",
        'ipv4 nat OUTPUT: missing rule "-j ISTIO_OUTPUT"',
        'ipv4 nat OUTPUT: unexpected rule "-p tcp -j ISTIO_OUTPUT"',
    ]
    assert "ipv4 nat ISTIO_OUTPUT: the chain is missing" in difference(WANTED, RuleSet("ipv4"))
