"""What becomes of one packet in a rule set: every rule that it meets, and the one that decides.

The order of tables at a hook, of rules in a chain and the meaning of RETURN, jump and goto are netfilter's
(iptables(8), iptables-extensions(8)). Nothing here touches a kernel: the rules may come from anybody's iptables-save.
"""

import ipaddress
import itertools
from collections.abc import Callable, Iterator
from typing import Literal

import msgspec

from tidegate.rules.model import Match, Rule, RuleSet

Hook = Literal["OUTPUT", "PREROUTING"]
Verdict = Literal["accept", "redirect", "tproxy", "dnat", "drop"]

TABLES_AT: dict[Hook, tuple[str, ...]] = {
    "OUTPUT": ("raw", "mangle", "nat", "filter"),
    "PREROUTING": ("raw", "mangle", "nat"),
}
"""Netfilter's order of the tables that a packet passes before its socket or the wire."""

_DEPTH = 64
_CONTINUES = frozenset(
    {
        "",
        "LOG",
        "NFLOG",
        "ULOG",
        "TRACE",
        "CT",
        "NOTRACK",
        "TCPMSS",
        "DSCP",
        "TOS",
        "TTL",
        "CHECKSUM",
        "CLASSIFY",
        "SET",
    }
)
"""Targets after which the next rule is looked at."""


class Packet(msgspec.Struct, frozen=True):
    """The first packet of a connection, as far as rules ask."""

    destination: str
    port: int
    protocol: str = "tcp"
    source: str = ""
    source_port: int = 0
    in_interface: str = ""
    out_interface: str = ""
    uid: int | None = None
    gid: int | None = None
    """Owner of the sending socket; None for a packet from elsewhere."""
    state: str = "NEW"
    mark: int = 0
    connection_mark: int = 0
    local: bool = False
    """The destination is an address of this host (``-m addrtype --dst-type LOCAL``)."""


class Visit(msgspec.Struct, frozen=True):
    """One rule that the packet met."""

    table: str
    chain: str
    number: int
    """Place in its chain, from 1."""
    rule: Rule
    matched: bool
    undecided: str = ""
    """A condition or target that is not known here; the rule counts as not matched."""


class Walk(msgspec.Struct, frozen=True):
    """The way of one packet and its end."""

    verdict: Verdict
    visits: tuple[Visit, ...]
    deciding: Visit | None = None
    """None: no rule spoke, the chains' policies hold."""
    to_port: int = 0
    """Where a redirect, TPROXY or DNAT sends it; 0: its own port."""
    to_address: str = ""

    @property
    def matched(self) -> tuple[Visit, ...]:
        return tuple(visit for visit in self.visits if visit.matched)

    @property
    def undecided(self) -> tuple[Visit, ...]:
        return tuple(visit for visit in self.visits if visit.undecided)


def walk(rules: RuleSet, packet: Packet, hook: Hook) -> Walk:
    """Send a packet through the tables of a hook.

    A condition that is not known counts as not met and is told in :attr:`Walk.undecided`.
    """
    return _Walker(rules, packet).run(hook)


class _End(msgspec.Struct, frozen=True):
    """A terminal target was met."""

    target: str
    visit: Visit | None


class _Walker:
    def __init__(self, rules: RuleSet, packet: Packet) -> None:
        self.rules, self.packet = rules, packet
        self.visits: list[Visit] = []

    def run(self, hook: Hook) -> Walk:
        done = Walk("accept", ())
        for name in TABLES_AT[hook]:
            table = self.rules.table(name)
            chains = table.contents()
            end = self._chain(name, hook, chains, 0)
            if end is None and table.policies.get(hook) == "DROP":
                end = _End("DROP", None)
            if end is None or end.target in ("ACCEPT", "RETURN"):
                if end is not None and name == "nat":
                    done = msgspec.structs.replace(done, deciding=done.deciding or end.visit)
                continue
            if end.target in ("DROP", "REJECT"):
                return Walk("drop", tuple(self.visits), end.visit)
            done = self._translated(end, done)
        return msgspec.structs.replace(done, visits=tuple(self.visits), deciding=done.deciding or self._last_return())

    def _last_return(self) -> Visit | None:
        """The rule that sent the packet back to the policy, where one did."""
        for table in ("nat", "mangle"):
            last = next((v for v in reversed(self.visits) if v.matched and v.table == table), None)
            if last is not None:
                return last if last.rule.target in ("RETURN", "ACCEPT") else None
        return None

    def _translated(self, end: _End, done: Walk) -> Walk:
        kinds: dict[str, Verdict] = {"REDIRECT": "redirect", "TPROXY": "tproxy", "DNAT": "dnat"}
        kind = kinds.get(end.target)
        if kind is None or end.visit is None:
            return done
        address, port = _target_address(end.visit.rule.options)
        return msgspec.structs.replace(done, verdict=kind, deciding=end.visit, to_port=port, to_address=address)

    def _chain(self, table: str, chain: str, chains: dict[str, list[Rule]], depth: int) -> _End | None:
        """The end that the chain comes to; None: the packet returns to the rule after the jump."""
        if depth > _DEPTH:
            return None
        for number, rule in enumerate(chains.get(chain, ()), 1):
            visit = self._visit(table, number, rule, chains)
            self.visits.append(visit)
            if not visit.matched:
                continue
            if rule.target in chains:
                end = self._chain(table, rule.target, chains, depth + 1)
                if end is not None or rule.goto:
                    return end
            elif rule.target == "RETURN":
                return None if depth else _End("RETURN", visit)
            elif rule.target in ("MARK", "CONNMARK"):
                self._mark(rule)
            elif rule.target not in _CONTINUES:
                return _End(rule.target, visit)
        return None

    def _visit(self, table: str, number: int, rule: Rule, chains: dict[str, list[Rule]]) -> Visit:
        unknown = ""
        for match in rule.matches:
            met = _met(match, self.packet)
            if met is None:
                unknown = unknown or str(match)
            elif not met:
                return Visit(table, rule.chain, number, rule, matched=False)
        if not unknown and rule.target not in chains and rule.target not in _TARGETS:
            unknown = f"-j {rule.target}"
        return Visit(table, rule.chain, number, rule, matched=not unknown, undecided=unknown)

    def _mark(self, rule: Rule) -> None:
        option, *values = rule.options or ("",)
        change = {}
        if option in ("--set-mark", "--set-xmark") and values:
            change["connection_mark" if rule.target == "CONNMARK" else "mark"] = _number(values[0].partition("/")[0])
        elif option == "--save-mark":
            change["connection_mark"] = self.packet.mark
        elif option == "--restore-mark":
            change["mark"] = self.packet.connection_mark
        self.packet = msgspec.structs.replace(self.packet, **change)


_TARGETS = _CONTINUES | {
    *("ACCEPT", "DROP", "REJECT", "RETURN", "REDIRECT", "TPROXY", "DNAT", "SNAT", "MASQUERADE", "MARK", "CONNMARK")
}


def _met(match: Match, packet: Packet) -> bool | None:
    """Whether one condition holds; None when it is not known here."""
    if match.option in ("-m", "--comment"):
        return True
    test = _TESTS.get(match.option)
    if test is None or (not match.values and match.option not in _BARE):
        return None
    try:
        held = test(packet, match.values[0] if match.values else "")
    except ValueError:
        return None
    return held != match.negated


def _address_in(address: str, networks: str) -> bool:
    if not address:
        return False
    given = ipaddress.ip_address(address)
    return any(given in ipaddress.ip_network(each, strict=False) for each in networks.split(","))


def _interface(name: str, pattern: str) -> bool:
    return name.startswith(pattern[:-1]) if pattern.endswith("+") else name == pattern


def _ports(port: int, listed: str) -> bool:
    return any(low <= port <= high for low, high in _ranges(listed, ":", 65535))


def _owned(owner: int | None, listed: str) -> bool:
    return owner is not None and any(low <= owner <= high for low, high in _ranges(listed, "-", owner))


def _ranges(listed: str, dash: str, top: int) -> Iterator[tuple[int, int]]:
    for each in listed.split(","):
        low, between, high = each.partition(dash)
        yield int(low or 0), (int(high or top) if between else int(low))


def _number(text: str) -> int:
    return int(text, 0)


def _marked(mark: int, wanted: str) -> bool:
    value, _, mask = wanted.partition("/")
    return mark & (_number(mask) if mask else 0xFFFFFFFF) == _number(value)


_BARE = frozenset({"--syn"})
_TESTS: dict[str, Callable[[Packet, str], bool]] = {
    "-p": lambda p, v: v in ("all", "0", p.protocol) or {"6": "tcp", "17": "udp"}.get(v) == p.protocol,
    "-s": lambda p, v: _address_in(p.source, v),
    "-d": lambda p, v: _address_in(p.destination, v),
    "-i": lambda p, v: _interface(p.in_interface, v),
    "-o": lambda p, v: _interface(p.out_interface, v),
    "--dport": lambda p, v: _ports(p.port, v),
    "--dports": lambda p, v: _ports(p.port, v),
    "--sport": lambda p, v: _ports(p.source_port, v),
    "--sports": lambda p, v: _ports(p.source_port, v),
    "--ports": lambda p, v: _ports(p.port, v) or _ports(p.source_port, v),
    "--uid-owner": lambda p, v: _owned(p.uid, v),
    "--gid-owner": lambda p, v: _owned(p.gid, v),
    "--ctstate": lambda p, v: p.state in v.split(","),
    "--state": lambda p, v: p.state in v.split(","),
    "--mark": lambda p, v: _marked(p.mark, v),
    "--dst-type": lambda p, v: (v == "LOCAL") == p.local,
    "--syn": lambda p, _: p.state == "NEW",
}


def _target_address(options: tuple[str, ...]) -> tuple[str, int]:
    """Address and port of REDIRECT, TPROXY or DNAT options; the first of a range."""
    address, port = "", 0
    for option, value in itertools.pairwise(options):
        if option in ("--to-ports", "--to-port", "--on-port"):
            port = int(value.partition("-")[0])
        elif option == "--on-ip":
            address = value
        elif option == "--to-destination":
            address, _, text = value.rpartition(":") if value.count(":") == 1 or "]" in value else (value, "", "")
            port = int(text.partition("-")[0]) if text else 0
    return address.strip("[]"), port
