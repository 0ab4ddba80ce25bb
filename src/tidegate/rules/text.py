"""Rules as text: what iptables-restore reads and what iptables-save prints."""

import re
import shlex

from tidegate.kit.errors import TidegateError
from tidegate.rules.model import TABLE_ORDER, Family, Match, Rule, RuleSet, Table

_COUNTERS = re.compile(r"^\[(\d+):(\d+)\]\s+")
_WORD = re.compile(r'"[^"]*"|[^ \t\r\n]+')
_PLAIN = re.compile(r"""(?:[^ \t\r\n"'\\]+(?:[ \t\r\n]+|$)|"[^"'\\]*"(?:[ \t\r\n]+|$))*""")
"""A line in which quotes stand around whole words only."""
_LONG_OPTIONS = {
    "--append": "-A",
    "--insert": "-I",
    "--jump": "-j",
    "--goto": "-g",
    "--match": "-m",
    "--protocol": "-p",
    "--proto": "-p",
    "--source": "-s",
    "--src": "-s",
    "--destination": "-d",
    "--dst": "-d",
    "--in-interface": "-i",
    "--out-interface": "-o",
    "--destination-port": "--dport",
    "--source-port": "--sport",
    "--destination-ports": "--dports",
    "--source-ports": "--sports",
}


class RuleTextError(TidegateError):
    """Text that is not a rule, or not the output of iptables-save."""


def to_restore(rules: RuleSet) -> str:
    """The input of ``iptables-restore --noflush`` that writes the set; empty when there is nothing to write."""
    return "".join(table_to_restore(table) for table in rules.tables)


def table_to_restore(table: Table) -> str:
    """One table's transaction: chains first, so that rules may jump to any of them."""
    lines = [f"* {table.name}", *(f"-N {chain}" for chain in table.chains), *map(str, table.rules), "COMMIT"]
    return "\n".join(lines) + "\n"


def parse_rule(line: str) -> Rule:
    """Read ``-A CHAIN …`` or ``-I CHAIN [position] …``, with or without counters in front.

    Raises RuleTextError when the line is not such a rule.
    """
    counters = _COUNTERS.match(line)
    tokens = _tokens(line[counters.end() :] if counters else line)
    if len(tokens) < 2 or tokens[0] not in ("-A", "-I"):
        raise RuleTextError(f'rule "{line}": expected it to begin with "-A <chain>" or "-I <chain>"')
    position, rest = None, tokens[2:]
    if tokens[0] == "-I":
        explicit = bool(rest) and rest[0].isdigit()
        position, rest = (int(rest[0]), rest[1:]) if explicit else (1, rest)
    matches, target, options, goto = _conditions(rest)
    counted = (int(counters[1]), int(counters[2])) if counters else None
    return Rule(tokens[1], matches, target, options, position, goto, counted)


def parse_save(text: str, family: Family = "ipv4") -> RuleSet:
    """Read the output of ``iptables-save`` or ``ip6tables-save``, with or without ``-c``.

    Raises RuleTextError, naming the line, when the text is anything else.
    """
    tables: list[Table] = []
    current: _Reading | None = None
    for number, line in enumerate(text.split("\n"), 1):  # other characters that break lines may stand in comments
        line = line.strip(" \t\r")
        if not line or line.startswith("#"):
            continue
        if line.startswith("*"):
            current = _Reading(line[1:].strip())
        elif current is None:
            raise RuleTextError(f'iptables-save line {number}: "{line}" stands outside a table; expected "*<table>"')
        elif line == "COMMIT":
            tables.append(current.finish())
            current = None
        else:
            current.read(line)
    if current is not None:
        raise RuleTextError(f"iptables-save: table {current.name} is cut off; expected COMMIT at its end")
    return RuleSet(family, tuple(sorted(tables, key=lambda table: _place(table.name))))


class _Reading:
    """A table while its lines are read."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.chains: list[str] = []
        self.policies: dict[str, str] = {}
        self.rules: list[Rule] = []

    def read(self, line: str) -> None:
        if line.startswith(":"):
            chain, policy, *_ = (*line[1:].split(), "-", "-")
            if chain == "-":
                raise RuleTextError(f'iptables-save: "{line}" names no chain; expected ":<chain> <policy>"')
            if policy == "-":
                self.chains.append(chain)
            else:
                self.policies[chain] = policy
        elif line.startswith("-N "):
            self.chains.append(line[3:].strip())
        else:
            self.rules.append(parse_rule(line))

    def finish(self) -> Table:
        return Table(self.name, tuple(self.chains), tuple(self.rules), self.policies)


def _place(table: str) -> tuple[int, str]:
    return (TABLE_ORDER.index(table) if table in TABLE_ORDER else len(TABLE_ORDER), table)


def _tokens(line: str) -> list[str]:
    if _PLAIN.fullmatch(line):  # many times faster, and listings of a node have a hundred thousand lines
        words = (word.strip('"') for word in _WORD.findall(line))
        return [_LONG_OPTIONS.get(word, word) for word in words]
    try:
        return [_LONG_OPTIONS.get(token, token) for token in shlex.split(line)]
    except ValueError as error:
        raise RuleTextError(f'rule "{line}": {error}') from error


def _conditions(tokens: list[str]) -> tuple[tuple[Match, ...], str, tuple[str, ...], bool]:
    matches: list[Match] = []
    negated = False
    place = 0
    while place < len(tokens):
        token = tokens[place]
        if token in ("-j", "-g"):
            target = tokens[place + 1] if place + 1 < len(tokens) else ""
            return tuple(matches), target, tuple(tokens[place + 2 :]), token == "-g"
        place += 1
        if token == "!":
            negated = True
            continue
        start = place
        while place < len(tokens) and tokens[place] != "!" and not tokens[place].startswith("-"):
            place += 1
        matches.append(Match(token, tuple(tokens[start:place]), negated))
        negated = False
    return tuple(matches), "", (), False
