"""What nft lists, as text or JSON, and what it is given to read, as a rule set that a packet can be walked through.

``nft list ruleset``, ``nft -j list ruleset`` (libnftables-json(5)) and the commands ``add table|chain|rule`` and
``insert rule`` of nft(8). Tables are named with their family (``inet istio-proxy-nat``), as nft tells them apart.
"""

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from tidegate.rules.model import Base, Family, Rule, RuleSet, Table
from tidegate.rules.nft_json import statements
from tidegate.rules.nft_statements import parse_statements
from tidegate.rules.text import RuleTextError

FAMILIES: dict[str, tuple[Family, ...]] = {"ip": ("ipv4",), "ip6": ("ipv6",), "inet": ("ipv4", "ipv6")}
PRIORITIES = {"raw": -300, "mangle": -150, "dstnat": -100, "filter": 0, "security": 50, "srcnat": 100}
"""nft(8), "standard priority names"."""
MAX_BYTES = 32 * 1024 * 1024
_BLOCKS = ("table", "chain", "set", "map", "flowtable", "counter", "quota", "limit", "ct", "secmark", "synproxy")
_BASE = re.compile(
    r"type (?P<kind>\w+) hook (?P<hook>\w+)(?: devices? \S+)? priority (?P<name>[a-z]*)\s*(?P<number>[-+]?\s*\d+)?"
)
_POLICY = re.compile(r"\bpolicy (\w+)")
_HANDLE = re.compile(r"\s*# handle \d+\s*$")


def parse_listing(text: str, family: Family = "ipv4") -> RuleSet:
    """Read what nft lists or is given, for packets of one family.

    Raises RuleTextError, naming the line, when it is something else.
    """
    reading = _Json(family) if text.lstrip().startswith("{") else _Text(family)
    return reading.read(text)


class _Draft:
    """A table while it is read."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.chains: dict[str, None] = {}
        self.bases: list[Base] = []
        self.rules: list[Rule] = []
        self.policies: dict[str, str] = {}
        self.sets: dict[str, tuple[str, ...]] = {}
        self.dormant = False

    def chain(self, name: str, base: Base | None = None, policy: str = "") -> None:
        self.chains.setdefault(name)
        if base is not None:
            self.bases.append(base)
            self.policies[name] = (policy or "accept").upper()

    def rule(self, chain: str, text: str, place: int | None = None) -> None:
        self.chain(chain)
        self.rules.append(parse_statements(chain, text, self.sets, place))

    def finish(self) -> Table:
        """A table without a base chain meets no packet; a mark of one keeps it from being taken for iptables' own."""
        bases = tuple(self.bases) if not self.dormant else ()
        table = Table(self.name, tuple(self.chains), tuple(self.rules), self.policies, bases)
        return _with_what_is_hidden(table) if _of_iptables(table) else table


_OF_IPTABLES = {
    f"{family} {name}" for family in ("ip", "ip6") for name in ("filter", "nat", "mangle", "raw", "security")
}
_HIDDEN = "xt"
"""nft's word for what only iptables can show."""


def _of_iptables(table: Table) -> bool:
    """Whether iptables-nft wrote it: its names for tables and hooked chains."""
    return table.name in _OF_IPTABLES and any(base.chain == base.hook for base in table.bases)


def _with_what_is_hidden(table: Table) -> Table:
    """nft prints nothing at all for some targets of iptables: a rule that seems to do nothing may do anything."""
    rules = (
        msgspec.structs.replace(rule, target=_HIDDEN) if not rule.target and not rule.before else rule
        for rule in table.rules
    )
    return msgspec.structs.replace(table, rules=tuple(rules))


def hides_targets(table: Table) -> bool:
    """Whether the listing leaves out what rules of iptables-nft ask for or do."""
    return _of_iptables(table) and any(
        rule.target == _HIDDEN or any(m.option == "nft" and m.values[0].startswith(_HIDDEN) for m in rule.matches)
        for rule in table.rules
    )


class _Tables:
    """The tables of one family."""

    def __init__(self, family: Family) -> None:
        self.family: Family = family
        self.drafts: dict[str, _Draft] = {}

    def table(self, family: str, name: str) -> _Draft:
        return self.drafts.setdefault(f"{family} {name}", _Draft(f"{family} {name}"))

    def finish(self) -> RuleSet:
        kept = (d for d in self.drafts.values() if self.family in FAMILIES.get(d.name.partition(" ")[0], ()))
        return RuleSet(self.family, tuple(draft.finish() for draft in kept))


class _Text:
    def __init__(self, family: Family) -> None:
        self.tables = _Tables(family)
        self.open: list[list[str]] = []
        self.draft = _Draft("")

    def read(self, text: str) -> RuleSet:
        number, line = 0, ""
        for number, line in _lines(text):
            try:
                self._line(line)
            except (ValueError, IndexError):
                raise RuleTextError(f'nft listing line {number}: "{line}" cannot be read') from None
        if self.open:
            raise RuleTextError(f'nft listing: cut off at line {number}; expected "}}" that closes {self.open[-1][0]}')
        return self.tables.finish()

    def _line(self, line: str) -> None:
        words = line.rstrip("{").split()
        if line == "}":
            self.open.pop()
        elif line.endswith("{") and words[0] in _BLOCKS:
            self._block(words)
        elif not self.open:
            self._command(line, words)
        elif self.open[-1][0] == "chain":
            self._in_chain(self.open[-1][1], line)
        elif self.open[-1][0] == "set" and words[0] == "elements":
            self.draft.sets[self.open[-1][1]] = _elements(line)
        elif self.open[-1][0] == "table" and line.startswith("flags") and "dormant" in line:
            self.draft.dormant = True

    def _block(self, words: list[str]) -> None:
        self.open.append(words)
        if words[0] == "table":
            family, name = words[1:] if len(words) > 2 else ("ip", words[1])
            self.draft = self.tables.table(family, name)
        elif words[0] == "chain":
            self.draft.chain(words[1])

    def _in_chain(self, chain: str, line: str) -> None:
        base = _BASE.match(line)
        if base is not None:
            policy = _POLICY.search(line)
            self.draft.chain(chain, _base(chain, base), policy[1] if policy else "")
        elif not line.startswith(("policy ", "comment ")):
            self.draft.rule(chain, line)

    def _command(self, line: str, words: list[str]) -> None:
        """``add rule inet TABLE CHAIN …`` and its relatives."""
        verb, what, *rest = words
        if verb in ("flush", "delete", "destroy") and what in ("table", "ruleset"):
            self._emptied(rest)
            return
        if verb not in ("add", "create", "insert") or what not in ("table", "chain", "rule"):
            raise ValueError(line)
        if rest[0] not in ("ip", "ip6", "inet", "arp", "bridge", "netdev"):
            rest = ["ip", *rest]
        draft = self.tables.table(rest[0], rest[1])
        if what == "chain":
            base = _BASE.search(line)
            policy = _POLICY.search(line)
            draft.chain(rest[2], _base(rest[2], base) if base else None, policy[1] if policy else "")
        elif what == "rule":
            self._add_rule(draft, verb, rest[2], rest[3:])

    def _emptied(self, rest: list[str]) -> None:
        """Rules of the table that are written above do not count."""
        name = " ".join(rest if len(rest) > 1 else ("ip", *rest))
        for each, draft in self.tables.drafts.items():
            if not rest or each == name:
                draft.rules.clear()

    def _add_rule(self, draft: _Draft, verb: str, chain: str, rest: list[str]) -> None:
        index = int(rest[1]) if rest[0] == "index" else None
        text = " ".join(rest if index is None else rest[2:])
        if verb == "insert":
            draft.rule(chain, text, (index or 0) + 1)
        else:
            draft.rule(chain, text, None if index is None else index + 2)


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Logical lines with the number of their first: a set's elements may go on over several."""
    whole, first = "", 0
    for number, line in enumerate(text.splitlines(), 1):
        line = _HANDLE.sub("", line).strip()
        if not line or (line.startswith("#") and not whole):
            continue
        whole, first = (f"{whole} {line}", first) if whole else (line, number)
        if whole.count("{") > whole.count("}") and not (whole.endswith("{") and whole.split()[0] in _BLOCKS):
            continue
        yield first, whole
        whole = ""
    if whole:
        yield first, whole


def _base(chain: str, found: "re.Match[str]") -> Base:
    number = (found["number"] or "0").replace(" ", "")
    return Base(chain, found["hook"].upper(), PRIORITIES.get(found["name"], 0) + int(number), found["kind"])


def _elements(line: str) -> tuple[str, ...]:
    inside = line.partition("{")[2].rpartition("}")[0]
    return tuple(each.split()[0] for each in inside.split(",") if each.strip())


class _Json:
    def __init__(self, family: Family) -> None:
        self.tables = _Tables(family)

    def read(self, text: str) -> RuleSet:
        try:
            items = msgspec.json.decode(text)["nftables"]
            for item in items:
                for kind, value in item.items():
                    self._item(kind, value)
        except (msgspec.DecodeError, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise RuleTextError(f"not the output of nft -j list ruleset: {error!r}") from None
        return self.tables.finish()

    def _item(self, kind: str, value: dict[str, Any]) -> None:
        if kind == "table":
            self.tables.table(value["family"], value["name"]).dormant = "dormant" in value.get("flags", ())
        elif kind == "set":
            elements = value.get("elem", ())
            self.tables.table(value["family"], value["table"]).sets[value["name"]] = tuple(map(statements, elements))
        elif kind == "chain":
            self._chain(value)
        elif kind == "rule":
            text = " ".join(filter(None, map(statements, value["expr"])))
            if "comment" in value:
                text = f'{text} comment "{value["comment"]}"'
            self.tables.table(value["family"], value["table"]).rule(str(value["chain"]), text)

    def _chain(self, value: dict[str, Any]) -> None:
        base = None
        if "hook" in value:
            base = Base(str(value["name"]), value["hook"].upper(), int(value["prio"]), str(value["type"]))
        draft = self.tables.table(value["family"], value["table"])
        draft.chain(str(value["name"]), base, str(value.get("policy") or ""))
