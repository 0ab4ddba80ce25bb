"""Whatever text is given as packet rules, it is read or refused by name, and a walk through it ends."""

import itertools
import shlex

from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.rules.model import Rule, RuleSet, Table
from tidegate.rules.text import RuleTextError, _tokens, parse_rule, parse_save
from tidegate.rules.walk import Hook, Packet, Walk, walk

GENTLE = settings(max_examples=300, deadline=None)
HOOKS: tuple[Hook, ...] = ("OUTPUT", "PREROUTING")
ODD = """0 1 1337 -5 99999999999999999999 0x 0x1/0x2 0x5 10.0.0.1 10.0.0.0/8 10.0.0.1/99 ::1 fe80::/10 zz 80:90 90:80 x
, / 80,443 : lo [::1]:5 1.2.3.4:x 1.2.3.4:5-9 5-x NEW,ESTABLISHED LOCAL tcp udp all"""
OPTIONS = (
    """-p -s -d -i -o -m --dport --sport --dports --uid-owner --gid-owner --mark --ctstate --dst-type --comment ! --x"""
)
OF_TARGETS = """--to-ports --on-port --on-ip --to-destination --set-mark --set-xmark --tproxy-mark --save-mark
--restore-mark"""
TARGETS = "ACCEPT DROP RETURN REDIRECT TPROXY DNAT MARK CONNMARK REJECT LOG ONE TWO OUTPUT FOREIGN"

odd = st.sampled_from(ODD.split()) | st.text(st.characters(exclude_categories=["C", "Z"]), max_size=4)
options = st.sampled_from(OPTIONS.split())
settings_of_targets = st.sampled_from(OF_TARGETS.split())
targets = st.sampled_from(TARGETS.split())
pairs = st.lists(st.tuples(options, odd), max_size=3).map(lambda found: " ".join(f"{one} {two}" for one, two in found))
endings = st.builds(
    lambda jump, target, found: f"{jump} {target} " + " ".join(f"{one} {two}" for one, two in found),
    st.sampled_from(["-j", "-g"]),
    targets,
    st.lists(st.tuples(settings_of_targets, odd), max_size=2),
)
lines = st.lists(odd | options | endings, max_size=6).map(" ".join)
rules = st.builds(
    lambda chain, rest, ending: f"-A {chain} {rest} {ending}",
    st.sampled_from(["OUTPUT", "PREROUTING", "ONE", "TWO"]),
    pairs,
    endings | st.just(""),
)
tables = st.builds(
    lambda name, body: "\n".join([f"*{name}", ":ONE - [0:0]", ":TWO - [0:0]", ":OUTPUT ACCEPT [0:0]", *body, "COMMIT"]),
    st.sampled_from(["nat", "mangle", "raw", "filter", "security", "?"]),
    st.lists(rules | rules | rules | lines, max_size=6),
)
packets = st.builds(
    Packet,
    st.sampled_from(["10.0.0.1", "127.0.0.1", "::1", "", "nonsense"]),
    st.sampled_from([80, 0, -1, 70000]),
    st.sampled_from(["tcp", "udp", "", "icmp"]),
    st.sampled_from(["", "10.0.0.2", "x"]),
    uid=st.none() | st.integers(-1, 2000),
    gid=st.none() | st.integers(-1, 2000),
)


@GENTLE
@given(text=st.lists(tables | tables | lines, max_size=2).map("\n".join), packet=packets)
def test_saved_rules_are_read_and_walked_or_refused(text: str, packet: Packet) -> None:
    try:
        found = parse_save(text)
    except RuleTextError as refused:
        assert str(refused)
        return
    for hook in HOOKS:
        assert isinstance(walk(found, packet, hook), Walk)


@GENTLE
@given(line=rules)
def test_any_line_is_a_rule_or_refused_with_the_line(line: str) -> None:
    try:
        assert parse_rule(line).chain
    except RuleTextError as refused:
        assert line in str(refused)


@GENTLE
@given(
    line=st.lists(
        st.sampled_from(["a", '"b c"', '""', "it's", '"', " ", "\t", "-j", 'x"y z"', r"\n", "é", "\u00a0", "\x0b"])
    ).map("".join)
)
def test_words_are_those_of_a_shell(line: str) -> None:
    """However they are found: plain lines are read in a faster way."""
    try:
        expected = shlex.split(line)
    except ValueError:
        return
    assert _tokens(line) == expected


def test_chains_that_double_at_each_step_end() -> None:
    """Two jumps from each of sixty chains to the next are 2^60 ways."""
    chains = [f"C{number}" for number in range(60)]
    steps = [("OUTPUT", chains[0]), *itertools.pairwise(chains)]
    listed = tuple(Rule(one, (), two) for one, two in steps for _ in range(2))
    found = walk(RuleSet("ipv4", (Table("nat", tuple(chains), listed),)), Packet("10.0.0.1", 80), "OUTPUT")
    assert found.verdict == "accept" and "what comes after" in found.undecided[0].undecided
