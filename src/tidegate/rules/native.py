"""The capture rules in nftables' own words: tables of our own for both families, written in one transaction.

Table, chain and rule texts are Istio's, so that its users find what they know. One thing differs in meaning from the
iptables form, as there: packets of no known connection are dropped for TCP alone.
"""

import re
from collections.abc import Iterable, Iterator

import msgspec

from tidegate.rules.capture_rules import Placed, placed_rules
from tidegate.rules.model import CHAIN_PREFIX, Family, Match, Rule
from tidegate.rules.nft_statements import WORDS
from tidegate.rules.options import CaptureOptions, Surroundings

TABLE_PREFIX = "istio-proxy-"
"""Every nftables table (family inet) that a sidecar's rules own begins so."""
TABLES = ("nat", "mangle", "raw")
"""In the order in which they are written."""
_CHAINS = {
    "nat": ("PREROUTING", "OUTPUT", "INBOUND", "REDIRECT", "IN_REDIRECT", "OUTPUT", "OUTPUT_DNS"),
    "mangle": ("PREROUTING", "OUTPUT", "DIVERT", "TPROXY", "INBOUND", "DROP"),
    "raw": ("PREROUTING", "OUTPUT", "INBOUND", "OUTPUT_DNS"),
}
"""Two hooked chains, then our own, in the order in which they are declared."""
_HOOKED = 2
_PRIORITIES = {"nat": -100, "mangle": -150, "raw": -300}


class NativeRule(msgspec.Struct, frozen=True):
    """One rule of one chain."""

    chain: str
    conditions: tuple[str, ...]
    """``oifname lo``, ``tcp dport != { 53, 15008 }``."""
    statements: tuple[str, ...]
    """What is done, in order; the last one may be a verdict."""
    position: int | None = None
    """Index to insert at, counted from 0; None appends."""

    @property
    def specification(self) -> str:
        """The rule without its chain, with a counter."""
        counted = len(self.statements) - 1
        return " ".join((*self.conditions, *self.statements[:counted], "counter", *self.statements[counted:]))


class NativeChain(msgspec.Struct, frozen=True):
    """A chain; one with a hook is where packets come in."""

    name: str
    kind: str = ""
    """``nat``, ``filter`` or ``route``; empty for a chain that is only jumped to."""
    hook: str = ""
    priority: int = 0

    @property
    def definition(self) -> str:
        return f" {{ type {self.kind} hook {self.hook} priority {self.priority} ; }}" if self.hook else ""


class NativeTable(msgspec.Struct, frozen=True):
    """A table of family inet: its chains, and its rules in the order in which they are written."""

    name: str
    chains: tuple[NativeChain, ...] = ()
    rules: tuple[NativeRule, ...] = ()

    def contents(self) -> dict[str, list[NativeRule]]:
        """Chain to its rules as they stand once all have been written."""
        found: dict[str, list[NativeRule]] = {chain.name: [] for chain in self.chains}
        for rule in self.rules:
            rules = found.setdefault(rule.chain, [])
            rules.insert(len(rules) if rule.position is None else rule.position, rule)
        return found


def native_tables(options: CaptureOptions, surroundings: Surroundings) -> tuple[NativeTable, ...]:
    """The rules that capture what the options say, for both families. Raises InvalidCaptureOptionsError."""
    return translated(placed_rules(options, surroundings))


def translated(placed: Iterable[Placed]) -> tuple[NativeTable, ...]:
    """Capture rules as nftables tables; tables and chains that stay empty are left out."""
    rules: dict[str, list[NativeRule]] = {table: [] for table in TABLES}
    for each in placed:
        made = _rule(each)
        before = sum(rule.chain == made.chain for rule in rules[each.table])
        if made.position is not None and made.position >= before:
            made = msgspec.structs.replace(made, position=None)
        rules[each.table].append(made)
    return tuple(_table(table, tuple(found)) for table, found in rules.items() if found)


def transaction(tables: Iterable[NativeTable]) -> list[str]:
    """The lines that ``nft -f`` reads to make the tables hold exactly this, in one transaction."""
    lines: list[str] = []
    for table in tables:
        where = f"inet {table.name}"
        lines += [f"add table {where}", f"flush table {where}"]
        lines += [f"add chain {where} {chain.name}{chain.definition}" for chain in table.chains]
        lines += [_written(where, rule) for rule in table.rules]
    return lines


def change(wanted: Iterable[NativeTable], actual: Iterable[NativeTable]) -> list[str]:
    """The one transaction that leads from what the kernel holds to what is wanted; empty when neither has a table.

    It is :func:`transaction` where nothing was there. Chains that are not wanted, or hooked otherwise, go in it too.
    """
    held = {table.name: table for table in actual}
    lines: list[str] = []
    for table in wanted:
        before = held.pop(table.name, NativeTable(table.name))
        written = transaction((table,))
        gone = [chain.name for chain in before.chains if chain not in table.chains]
        lines += [*written[:2], *(f"delete chain inet {table.name} {name}" for name in gone), *written[2:]]
    return [*lines, *(f"delete table inet {name}" for name in held)]


def _written(where: str, rule: NativeRule) -> str:
    if rule.position is None:
        return f"add rule {where} {rule.chain} {rule.specification}"
    return f"insert rule {where} {rule.chain} index {rule.position} {rule.specification}"


def _table(name: str, rules: tuple[NativeRule, ...]) -> NativeTable:
    used = {rule.chain for rule in rules}
    hooked, own = _CHAINS[name][:_HOOKED], _CHAINS[name][_HOOKED:]
    chains = [NativeChain(hook.lower(), _kind(name, hook), hook.lower(), _PRIORITIES[name]) for hook in hooked]
    chains += [NativeChain(_chain(CHAIN_PREFIX + each)) for each in own]
    return NativeTable(TABLE_PREFIX + name, tuple(chain for chain in chains if chain.name in used), rules)


def _kind(table: str, hook: str) -> str:
    """A mark that is set on the way out must lead to another look at the routes: type route."""
    if table == "nat":
        return "nat"
    return "route" if (table, hook) == ("mangle", "OUTPUT") else "filter"


def _chain(name: str) -> str:
    return name.lower().replace("_", "-")


def _rule(placed: Placed) -> NativeRule:
    rule = placed.rule
    matches: dict[str, Match] = {match.option: match for match in rule.matches if match.option != "-m"}
    owners = [match for match in rule.matches if match.option in _OWNERS]
    raw = placed.table == "raw"
    conditions: list[str] = []
    for part in _PARTS_RAW if raw else _PARTS:
        conditions += part(rule, matches, placed.family)
    conditions += [_compared(f"{'meta ' if raw else ''}{_OWNERS[each.option]}", each) for each in owners]
    position = None if rule.position is None else rule.position - 1
    return NativeRule(_chain(rule.chain), tuple(conditions), _statements(rule, placed.family), position)


Matches = dict[str, Match]
_OWNERS = {"--uid-owner": "skuid", "--gid-owner": "skgid"}


def _compared(left: str, match: Match, value: str = "") -> str:
    return f"{left} {'!= ' if match.negated else ''}{value or match.values[0]}"


def _interfaces(_rule: Rule, matches: Matches, _family: Family | None) -> Iterator[str]:
    for option, left in (("-i", "iifname"), ("-o", "oifname")):
        if option in matches:
            yield _compared(left, matches[option], interface(matches[option].values[0]))


def interface(name: str) -> str:
    """An interface's name as nft reads it: in quotes where it would read something else (tcp; lo,eth0; a$b)."""
    name = f"{name[:-1]}*" if name.endswith("+") else name
    return name if _PLAIN.fullmatch(name) and name not in WORDS else f'"{name}"'


_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*\*?")


def _protocol(rule: Rule, matches: Matches, _family: Family | None) -> Iterator[str]:
    """TCP is named where Istio names it: also beside a port that implies it, but for three kinds of rules."""
    dropped = rule.target == "ISTIO_DROP"
    is_tcp = "-p" in matches and matches["-p"].values == ("tcp",)
    by_port = rule.chain == "ISTIO_OUTPUT" and "--dport" in matches and not matches["--dport"].negated
    to_server = rule.chain == "ISTIO_OUTPUT_DNS" and "-d" in matches
    if dropped or (is_tcp and not by_port and not to_server):
        yield "meta l4proto tcp"


def _state(_rule: Rule, matches: Matches, _family: Family | None) -> Iterator[str]:
    if "--ctstate" in matches:
        yield f"ct state {matches['--ctstate'].values[0].lower()}"


def _addresses(_rule: Rule, matches: Matches, family: Family | None) -> Iterator[str]:
    for option, field in (("-s", "saddr"), ("-d", "daddr")):
        if option in matches:
            yield _compared(f"{'ip6' if family == 'ipv6' else 'ip'} {field}", matches[option])


def _ports(_rule: Rule, matches: Matches, _family: Family | None) -> Iterator[str]:
    for option, field in (("--dport", "dport"), ("--sport", "sport"), ("--dports", "dport")):
        if option in matches:
            ports = matches[option].values[0].replace(":", "-")
            value = "{ " + ports.replace(",", ", ") + " }" if "," in ports else ports
            yield _compared(f"{matches['-p'].values[0]} {field}", matches[option], value)


def _mark(rule: Rule, matches: Matches, _family: Family | None) -> Iterator[str]:
    if "--mark" in matches:
        of_connection = any(match.option == "-m" and match.values == ("connmark",) for match in rule.matches)
        yield _compared("ct mark" if of_connection else "mark", matches["--mark"])


_PARTS = (_interfaces, _protocol, _state, _addresses, _ports, _mark)
_PARTS_RAW = (_interfaces, _ports, _addresses)
"""The order in which Istio writes conditions; owners come last."""


def _statements(rule: Rule, family: Family | None) -> tuple[str, ...]:
    if rule.target.startswith(CHAIN_PREFIX):
        return (f"jump {_chain(rule.target)}",)
    if rule.target == "TPROXY":
        mark, port = rule.options[1].partition("/")[0], rule.options[3]
        return f"tproxy {'ip6' if family == 'ipv6' else 'ip'} to :{port}", f"meta mark set {mark}", "accept"
    if rule.target in ("REDIRECT", "MARK", "CT"):
        return (f"{_SETTING[rule.target]}{rule.options[1]}",)
    if rule.target == "CONNMARK":
        return ("ct mark set mark" if rule.options == ("--save-mark",) else "meta mark set ct mark",)
    return (rule.target.lower(),)


_SETTING = {"REDIRECT": "redirect to :", "MARK": "meta mark set ", "CT": "ct zone set "}
