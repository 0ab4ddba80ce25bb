"""Listings of packet rules, whoever made them, and what is told of one packet in them."""

import re
from collections.abc import Callable

import msgspec

from tidegate.rules import words
from tidegate.rules.model import Base, Family, Rule, RuleSet, Table
from tidegate.rules.nft_listing import hides_targets, parse_listing
from tidegate.rules.text import RuleTextError, parse_save
from tidegate.rules.walk import PRIORITIES, TABLES_AT, Visit, Walk

RuleSets = dict[Family, RuleSet]
FAMILIES: tuple[Family, ...] = ("ipv4", "ipv6")
MAX_BYTES = 32 * 1024 * 1024
_NFT_WORDS = ("table ", "add ", "create ", "flush ", "destroy ", "delete ", "{")


def read_saved(text: str) -> RuleSets:
    """Rules by family, of iptables-save, ip6tables-save, ``nft list ruleset`` or ``nft -j list ruleset``.

    iptables-save names its family only in a comment; without one the addresses in a table tell, and a table without
    any counts as IPv4's. Raises RuleTextError.
    """
    if len(text) > MAX_BYTES:
        raise RuleTextError(f"the listing has more than {MAX_BYTES} characters")
    lines = [line.strip() for line in text.splitlines()]
    first = next((line for line in lines if line and not line.startswith("#")), "")
    if first.startswith("*"):
        return _both_families(text)
    if first.startswith(_NFT_WORDS):
        return {"ipv4": parse_listing(text, "ipv4"), "ipv6": parse_listing(text, "ipv6")}
    if not first:
        return {"ipv4": RuleSet("ipv4"), "ipv6": RuleSet("ipv6")}
    raise RuleTextError(
        f'"{first[:80]}" begins neither an iptables-save listing ("*nat") nor one of nft ("table inet ..."); '
        "save one with `iptables-save -c` or `nft list ruleset`"
    )


def _both_families(text: str) -> RuleSets:
    """Listings of several programs may stand one after the other: of both families, of iptables-legacy and -nft."""
    parts: dict[tuple[Family, bool], list[str]] = {}
    told: tuple[Family, bool] | None = None
    block: list[str] = []
    for line in text.splitlines():
        if line.startswith("#") and "tables-save v" in line:
            told = ("ipv6" if "ip6tables-save" in line else "ipv4", "nf_tables" not in line)
        block.append(line)
        if line.strip() == "COMMIT":
            parts.setdefault(told or (_family_of(block), False), []).extend(block)
            block = []
    if any(line.strip() and not line.startswith("#") for line in block):
        parts.setdefault(told or (_family_of(block), False), []).extend(block)
    told_of = {family for (family, _), lines in parts.items() if lines}
    return {family: _of_both_kinds(family, parts) for family in FAMILIES if family in told_of}


_IPV6 = re.compile(r"(?:-s|-d|--to-destination) \[?[0-9a-f]*:[0-9a-f:]*:|ipv6-icmp|icmp6")
_QUOTED = re.compile(r'"[^"]*"')


def _family_of(table: list[str]) -> Family:
    return "ipv6" if any(_IPV6.search(_QUOTED.sub("", line)) for line in table) else "ipv4"


def _of_both_kinds(family: Family, parts: dict[tuple[Family, bool], list[str]]) -> RuleSet:
    """iptables-nft's tables, and beside them those of iptables-legacy by names of their own."""
    newer = parse_save("\n".join(parts.get((family, False), ())), family).tables
    older = parse_save("\n".join(parts.get((family, True), ())), family).tables
    return RuleSet(family, (*newer, *map(legacy, older)) if newer else older)


def legacy(table: Table) -> Table:
    """A table of iptables-legacy that stands beside one of iptables-nft: another name, the same places."""
    hooks = [hook for hook, names in TABLES_AT.items() if table.name in names]
    kind = "nat" if table.name == "nat" else "filter"
    bases = tuple(Base(hook, hook, PRIORITIES.get(table.name, 0), kind) for hook in hooks)
    return msgspec.structs.replace(table, name=f"{table.name} (legacy)", bases=bases)


def unshown(rules: RuleSets) -> str:
    """What a listing leaves out, and what to list instead; empty when it tells everything."""
    names = [table.name for held in rules.values() for table in held.tables if hides_targets(table)]
    if not names:
        return ""
    return (
        f"{', '.join(names)}: written by iptables-nft, of whose matches and targets nft shows only some; "
        "save it with `iptables-save -c` and `ip6tables-save -c`, and the rest with `nft list ruleset`"
    )


class Entry(msgspec.Struct, frozen=True, rename="camel"):
    """One rule in force, with what it serves."""

    family: str
    """``ipv4``, ``ipv6``, or ``both`` for a table of nftables that holds for either."""
    table: str
    chain: str
    number: int
    packets: int | None
    """None: the listing tells no counters."""
    bytes: int | None
    rule: str
    serves: str


def entries(rules: RuleSets) -> list[Entry]:
    """Every rule, in the order of its chain; chains as the listing has them."""
    found: list[Entry] = []
    told: set[str] = set()
    for family, held in rules.items():
        for table in held.tables:
            if table.name in told:
                continue
            both = table.name.startswith("inet ")
            told |= {table.name} if both else set()
            found += _of_table(table, "both" if both else family)
    return found


def _of_table(table: Table, family: str) -> list[Entry]:
    serves = words.purposes(table)
    return [
        Entry(
            family,
            table.name,
            chain,
            number,
            rule.counters[0] if rule.counters else None,
            rule.counters[1] if rule.counters else None,
            rule.specification,
            serves(rule),
        )
        for chain, rules in table.contents().items()
        for number, rule in enumerate(rules, 1)
    ]


class Met(msgspec.Struct, frozen=True, rename="camel"):
    """One rule on a packet's way."""

    table: str
    chain: str
    number: int
    rule: str
    serves: str
    matched: bool
    unknown: str = ""


class Trace(msgspec.Struct, frozen=True, rename="camel"):
    """What becomes of one packet, and which rule decides."""

    verdict: str
    outcome: str
    reason: str
    to_port: int
    to_address: str
    deciding: Met | None
    way: tuple[Met, ...]
    """The jumps that led to the deciding rule, and the rule."""
    rules: tuple[Met, ...]
    """Every rule that was looked at, in order."""
    unknown: tuple[str, ...]
    """Conditions and targets that are not known here, taken as not met: they may decide otherwise."""


def trace(found: Walk, rules: RuleSet) -> Trace:
    """A walk, told."""
    tables = {table.name: words.purposes(table) for table in rules.tables}
    speaking = words.speaking(found)
    return Trace(
        verdict=found.verdict,
        outcome=words.outcome(found),
        reason=words.reason(found, rules.tables),
        to_port=found.to_port,
        to_address=found.to_address,
        deciding=_met(speaking, tables) if speaking else None,
        way=tuple(_met(visit, tables) for visit in words.way(found)),
        rules=tuple(_met(visit, tables) for visit in found.visits),
        unknown=tuple(f"{visit.place}: {visit.undecided}" for visit in found.undecided),
    )


def _met(visit: Visit, tables: dict[str, Callable[[Rule], str]]) -> Met:
    return Met(
        visit.table,
        visit.chain,
        visit.number,
        visit.rule.specification,
        tables[visit.table](visit.rule),
        visit.matched,
        visit.undecided,
    )
