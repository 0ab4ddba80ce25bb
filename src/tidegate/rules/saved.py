"""Listings of packet rules, whoever made them, and what is told of one packet in them."""

import msgspec

from tidegate.rules import words
from tidegate.rules.model import Family, RuleSet, Table
from tidegate.rules.nft_listing import parse_listing
from tidegate.rules.text import RuleTextError, parse_save
from tidegate.rules.walk import Visit, Walk

RuleSets = dict[Family, RuleSet]
MAX_BYTES = 32 * 1024 * 1024
_NFT_WORDS = ("table ", "add ", "create ", "flush ", "destroy ", "delete ", "{")


def read_saved(text: str) -> RuleSets:
    """Rules by family, of iptables-save, ip6tables-save, ``nft list ruleset`` or ``nft -j list ruleset``.

    iptables-save names its family only in a comment; without one the rules count as IPv4's. Raises RuleTextError.
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
    """The listings of both programs may stand one after the other."""
    parts: dict[Family, list[str]] = {"ipv4": [], "ipv6": []}
    family: Family = "ipv4"
    for line in text.splitlines():
        if line.startswith("#") and "tables-save" in line:
            family = "ipv6" if "ip6tables-save" in line else "ipv4"
        parts[family].append(line)
    return {each: parse_save("\n".join(lines), each) for each, lines in parts.items() if lines}


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
    return [
        Entry(
            family,
            table.name,
            chain,
            number,
            rule.counters[0] if rule.counters else None,
            rule.counters[1] if rule.counters else None,
            rule.specification,
            words.purpose(rule, table),
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
    """Conditions that are not known here, taken as not met."""


def trace(found: Walk, rules: RuleSet) -> Trace:
    """A walk, told."""
    tables = {table.name: table for table in rules.tables}
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


def _met(visit: Visit, tables: dict[str, Table]) -> Met:
    return Met(
        visit.table,
        visit.chain,
        visit.number,
        visit.rule.specification,
        words.purpose(visit.rule, tables[visit.table]),
        visit.matched,
        visit.undecided,
    )
