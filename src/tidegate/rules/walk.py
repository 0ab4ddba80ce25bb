"""What becomes of one packet in a rule set: every rule that it meets, and the one that decides.

The order of tables at a hook, of rules in a chain and the meaning of RETURN, jump and goto are netfilter's
(iptables(8), iptables-extensions(8), nft(8)). Nothing here touches a kernel: the rules may come from anybody's
iptables-save or nft listing.
"""

import itertools
from typing import Literal

import msgspec

from tidegate.rules.conditions import Packet, met
from tidegate.rules.model import Base, Rule, RuleSet, Table

__all__ = ["Hook", "Packet", "Verdict", "Visit", "Walk", "journey", "walk"]

Hook = Literal["OUTPUT", "PREROUTING", "INPUT"]
Verdict = Literal["accept", "redirect", "tproxy", "dnat", "drop"]

TABLES_AT: dict[str, tuple[str, ...]] = {
    "OUTPUT": ("raw", "mangle", "nat", "filter"),
    "PREROUTING": ("raw", "mangle", "nat"),
    "INPUT": ("mangle", "filter", "nat"),
}
"""Netfilter's order of iptables' tables that a packet passes before its socket or the wire."""

PRIORITIES = {"raw": -300, "mangle": -150, "nat": -100, "filter": 0}
"""Of the chains that iptables' tables have at a hook."""
_DEPTH = 64
_MOST = 100_000
"""Rules that a packet is taken through: chains that jump to one another twice have no end to wait for."""
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
_TRANSLATIONS: dict[str, Verdict] = {"REDIRECT": "redirect", "TPROXY": "tproxy", "DNAT": "dnat"}


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
    role: str = ""
    """What the table is for: ``raw``, ``mangle``, ``nat`` or ``filter``."""

    @property
    def place(self) -> str:
        """Table, chain and number, in words."""
        return f"{self.table} {self.chain} rule {self.number}"


class Walk(msgspec.Struct, frozen=True):
    """The way of one packet and its end."""

    verdict: Verdict
    visits: tuple[Visit, ...]
    deciding: Visit | None = None
    """None: no rule spoke, the chains' policies hold."""
    to_port: int = 0
    """Where a redirect, TPROXY or DNAT sends it; 0: its own port."""
    to_address: str = ""
    packet: Packet | None = None
    """The packet as the rules left it, with its marks."""

    @property
    def matched(self) -> tuple[Visit, ...]:
        return tuple(visit for visit in self.visits if visit.matched)

    @property
    def undecided(self) -> tuple[Visit, ...]:
        return tuple(visit for visit in self.visits if visit.undecided)


def walk(rules: RuleSet, packet: Packet, hook: Hook, *, nat: bool = True) -> Walk:
    """Send a packet through the tables of a hook.

    A condition that is not known counts as not met and is told in :attr:`Walk.undecided`. Without ``nat`` those
    chains are left out, as the kernel does for a connection whose destination is settled already.
    """
    return _Walker(rules, packet).run(hook, nat)


def journey(rules: RuleSet, packet: Packet, *, inbound: bool = False) -> Walk:
    """Send a packet all the way to its socket or to the wire.

    What a process of the host sends over loopback comes in again: after the rules of OUTPUT it meets those of
    PREROUTING (but nat's: the destination is settled) and of INPUT. The deciding rule is that of the stage which
    changed the packet's way or dropped it.
    """
    hook: Hook = "PREROUTING" if inbound else "OUTPUT"
    found = walk(rules, packet, hook)
    left = found.packet or packet
    if not inbound and found.verdict != "drop" and (found.verdict == "redirect" or packet.out_interface == "lo"):
        again = msgspec.structs.replace(left, in_interface="lo", out_interface="", uid=None, gid=None, local=True)
        found = _then(found, walk(rules, again, "PREROUTING", nat=False))
    if found.verdict == "drop" or not (inbound or found.verdict == "redirect" or packet.out_interface == "lo"):
        return found
    ending = found.packet or left
    port = found.to_port or ending.port
    return _then(found, walk(rules, msgspec.structs.replace(ending, port=port, out_interface=""), "INPUT"))


def _then(first: Walk, second: Walk) -> Walk:
    """Two stages as one: the later one decides only where it changes what becomes of the packet."""
    visits = (*first.visits, *second.visits)
    speaks = second.verdict != "accept" and not (first.verdict == "redirect" and second.verdict != "drop")
    return msgspec.structs.replace(second if speaks else first, visits=visits, packet=second.packet)


class _Stage(msgspec.Struct, frozen=True):
    """One base chain at a hook."""

    table: Table
    base: Base
    role: str
    chains: dict[str, list[Rule]]


def _stages(rules: RuleSet, hook: Hook) -> list[_Stage]:
    """What a packet meets at a hook, in the kernel's order."""
    found = []
    for table in rules.tables:
        chains = table.contents()
        if table.bases:
            found += [_Stage(table, base, _role(base), chains) for base in table.bases if base.hook == hook]
        elif table.name in TABLES_AT[hook]:
            priority = TABLES_AT[hook].index(table.name) if hook == "INPUT" else PRIORITIES[table.name]
            found.append(_Stage(table, Base(hook, hook, priority), table.name, chains))
    return sorted(found, key=lambda stage: stage.base.priority)


def _role(base: Base) -> str:
    if base.kind == "nat":
        return "nat"
    return "raw" if base.priority <= -200 else "mangle" if base.priority < 0 else "filter"


class _End(msgspec.Struct, frozen=True):
    """A terminal target was met."""

    target: str
    visit: Visit | None


class _Walker:
    def __init__(self, rules: RuleSet, packet: Packet) -> None:
        self.rules, self.packet = rules, packet
        self.visits: list[Visit] = []

    def run(self, hook: Hook, nat: bool) -> Walk:
        done = Walk("accept", ())
        for stage in _stages(self.rules, hook):
            if stage.role == "nat" and (not nat or done.verdict != "accept"):
                continue
            end = self._chain(stage, stage.base.chain, 0)
            if end is None and stage.table.policies.get(stage.base.chain) == "DROP":
                end = _End("DROP", None)
            if end is None or end.target in ("ACCEPT", "RETURN"):
                if end is not None and stage.role == "nat":
                    done = msgspec.structs.replace(done, deciding=done.deciding or end.visit)
                continue
            if end.target in ("DROP", "REJECT"):
                return Walk("drop", tuple(self.visits), end.visit, packet=self.packet)
            done = self._translated(end, done, hook)
        deciding = done.deciding or self._last_return()
        return msgspec.structs.replace(done, visits=tuple(self.visits), deciding=deciding, packet=self.packet)

    def _last_return(self) -> Visit | None:
        """The rule that sent the packet back to the policy, where one did."""
        for role in ("nat", "mangle"):
            last = next((v for v in reversed(self.visits) if v.matched and v.role == role), None)
            if last is not None:
                return last if last.rule.target in ("RETURN", "ACCEPT") else None
        return None

    def _translated(self, end: _End, done: Walk, hook: Hook) -> Walk:
        kind = _TRANSLATIONS.get(end.target)
        if kind is None or end.visit is None:
            return done
        address, port = _target_address(end.visit.rule.options)
        if kind != "tproxy":
            self.packet = _sent_to(self.packet, address, port, redirected=kind == "redirect" and hook == "OUTPUT")
        return msgspec.structs.replace(done, verdict=kind, deciding=end.visit, to_port=port, to_address=address)

    def _chain(self, stage: _Stage, chain: str, depth: int) -> _End | None:
        """The end that the chain comes to; None: the packet returns to the rule after the jump."""
        if depth > _DEPTH:
            return None
        chains = stage.chains
        for number, rule in enumerate(chains.get(chain, ()), 1):
            if len(self.visits) > _MOST:
                return None
            visit = self._visit(stage, number, rule)
            self.visits.append(visit)
            if not visit.matched:
                continue
            self._marks(rule)
            if rule.target in chains:
                end = self._chain(stage, rule.target, depth + 1)
                if end is not None or rule.goto:
                    return end
            elif rule.target == "RETURN":
                return None if depth else _End("RETURN", visit)
            elif rule.target not in _CONTINUES and rule.target not in _MARKS:
                return _End(rule.target, visit)
        return None

    def _visit(self, stage: _Stage, number: int, rule: Rule) -> Visit:
        matched, unknown = met(rule, self.packet)
        if len(self.visits) == _MOST:
            matched, unknown = False, f"what comes after {_MOST} rules"
        if matched and rule.target not in stage.chains and rule.target not in _TARGETS:
            matched, unknown = False, f"-j {rule.target}"
        return Visit(stage.table.name, rule.chain, number, rule, matched, unknown, stage.role)

    def _marks(self, rule: Rule) -> None:
        """Marks that the rule puts on the packet and on its connection."""
        for target, *options in (*rule.before, (rule.target, *rule.options)):
            if target == "TPROXY" and "--tproxy-mark" in options[:-1]:
                options = ["--set-mark", options[options.index("--tproxy-mark") + 1]]
            elif target not in _MARKS:
                continue
            self._mark(target, options)

    def _mark(self, target: str, options: list[str]) -> None:
        option, *values = options or [""]
        mark, kept = self.packet.mark, self.packet.connection_mark
        of_packet, of_connection = _mask(values, "--nfmask"), _mask(values, "--ctmask")
        if option in ("--set-mark", "--set-xmark") and values:
            before = kept if target == "CONNMARK" else mark
            after = _remarked(before, values[0], exclusive=option == "--set-xmark")
            mark, kept = (mark, after) if target == "CONNMARK" else (after, kept)
        elif option == "--save-mark":
            kept = (kept & ~of_connection) ^ (mark & of_packet)
        elif option == "--restore-mark":
            mark = (mark & ~of_packet) ^ (kept & of_connection)
        self.packet = msgspec.structs.replace(self.packet, mark=mark, connection_mark=kept)


def _sent_to(packet: Packet, address: str, port: int, *, redirected: bool) -> Packet:
    """As the tables after nat see it: what a process sent and is redirected is for localhost.

    The interface of the hook stays what it was, although the packet takes another way.
    """
    if redirected:
        address = "::1" if ":" in packet.destination else "127.0.0.1"
    return msgspec.structs.replace(packet, destination=address or packet.destination, port=port or packet.port)


_MARKS = frozenset({"MARK", "CONNMARK"})
_TARGETS = (
    _CONTINUES
    | _MARKS
    | {"ACCEPT", "DROP", "REJECT", "RETURN", "REDIRECT", "TPROXY", "DNAT", "SNAT", "MASQUERADE", "NETMAP", "QUEUE"}
)


_ALL_BITS = 0xFFFFFFFF


def _remarked(before: int, written: str, *, exclusive: bool) -> int:
    """``VALUE/MASK``: the bits of the mask are cleared, and those of the value set or, for set-xmark, turned over."""
    value, _, mask = written.partition("/")
    cleared = before & ~(_number(mask) if mask else _ALL_BITS)
    return (cleared ^ _number(value) if exclusive else cleared | _number(value)) & _ALL_BITS


def _mask(options: list[str], name: str) -> int:
    given = dict(itertools.pairwise(options))
    return _number(given[name]) if name in given else _ALL_BITS


def _number(text: str) -> int:
    """As the kernel's programs write it, decimal or hexadecimal; 0 for what they never write."""
    try:
        return int(text, 0)
    except ValueError:
        return 0


def _target_address(options: tuple[str, ...]) -> tuple[str, int]:
    """Address and port of REDIRECT, TPROXY or DNAT options; the first of a range."""
    address, port = "", 0
    for option, value in itertools.pairwise(options):
        if option in ("--to-ports", "--to-port", "--on-port"):
            port = _number(value.partition("-")[0])
        elif option == "--on-ip":
            address = value
        elif option == "--to-destination":
            address, _, text = value.rpartition(":") if value.count(":") == 1 or "]" in value else (value, "", "")
            port = _number(text.partition("-")[0])
    return address.strip("[]"), port
