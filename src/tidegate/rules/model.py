"""Rules, tables and rule sets: the vocabulary of iptables, typed."""

from typing import Literal

import msgspec

Family = Literal["ipv4", "ipv6"]

CHAIN_PREFIX = "ISTIO_"
"""Every chain that a mesh owns begins so; everything else in a table belongs to somebody else."""

TABLE_ORDER = ("filter", "mangle", "nat", "raw")
"""The order in which tables are written, Istio's."""


class Match(msgspec.Struct, frozen=True):
    """One condition of a rule: an option with its values, possibly negated."""

    option: str
    """As iptables spells it: ``-p``, ``--dport``, or ``-m`` for the extension that the next options belong to."""
    values: tuple[str, ...] = ()
    negated: bool = False

    def __str__(self) -> str:
        return " ".join((*(("!",) if self.negated else ()), self.option, *map(quoted, self.values)))


class Rule(msgspec.Struct, frozen=True):
    """One rule of one chain."""

    chain: str
    matches: tuple[Match, ...] = ()
    """In the order in which they were written."""
    target: str = ""
    """A chain, a verdict or an extension; empty for a rule that only counts."""
    options: tuple[str, ...] = ()
    """The target's own options, as written."""
    position: int | None = None
    """Place to insert at, counted from 1; None appends."""
    goto: bool = False
    counters: tuple[int, int] | None = None
    """Packets and bytes, where the text told them."""
    before: tuple[tuple[str, ...], ...] = ()
    """What is done before the target, which nftables can in one rule: targets, each with its options."""
    text: str = ""
    """The rule as an nft listing has it; empty for what iptables wrote."""

    @property
    def specification(self) -> str:
        """The rule without its chain: ``-p tcp --dport 15008 -j RETURN``, or as nft prints it."""
        if self.text:
            return self.text
        target = ("-g" if self.goto else "-j", self.target) if self.target else ()
        return " ".join((*map(str, self.matches), *target, *map(quoted, self.options)))

    def __str__(self) -> str:
        if self.text:
            return f"{self.chain} {self.text}"
        where = f"-A {self.chain}" if self.position is None else f"-I {self.chain} {self.position}"
        return f"{where} {self.specification}".rstrip()


class Base(msgspec.Struct, frozen=True):
    """Where nftables puts a chain into the way of packets. iptables' built-in chains have their places by name."""

    chain: str
    hook: str
    """``OUTPUT``, ``PREROUTING`` and so on, as iptables calls them."""
    priority: int
    """Lower comes first; iptables: raw -300, mangle -150, nat -100, filter 0."""
    kind: str = "filter"
    """``filter``, ``nat`` or ``route``."""


class Table(msgspec.Struct, frozen=True):
    """One table: the chains it adds and its rules in the order in which they are written."""

    name: str
    chains: tuple[str, ...] = ()
    """User-defined chains."""
    rules: tuple[Rule, ...] = ()
    policies: dict[str, str] = {}
    """Built-in chain to policy, where the text told them."""
    bases: tuple[Base, ...] = ()
    """nftables: which of the chains packets come to. Empty: the built-in chains of iptables' table of that name."""

    def contents(self) -> dict[str, list[Rule]]:
        """Chain to its rules as they stand once all have been written: insertions take their place."""
        chains: dict[str, list[Rule]] = {chain: [] for chain in self.chains}
        for rule in self.rules:
            rules = chains.setdefault(rule.chain, [])
            rules.insert(len(rules) if rule.position is None else rule.position - 1, rule)
        return chains


class RuleSet(msgspec.Struct, frozen=True):
    """What one address family's tables hold, or shall hold."""

    family: Family = "ipv4"
    tables: tuple[Table, ...] = ()

    def table(self, name: str) -> Table:
        """The table of that name, empty when the set has none."""
        return next((table for table in self.tables if table.name == name), Table(name))


def quoted(value: str) -> str:
    """A value as iptables-restore reads it: in double quotes when it is empty or holds blanks or quotes."""
    if value and not any(character in value for character in " \t\"'\\"):
        return value
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
