"""What ``nft -j list ruleset`` tells of our tables, and where they differ from the rules that are wanted.

The kernel drops what is redundant and prints in words of its own: both sides are brought to one form first. What is
not known here keeps its JSON as its form, so that it shows up as a difference and never as agreement.
"""

import ipaddress
import json
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from tidegate.kit.errors import TidegateError
from tidegate.rules.compare import chain_difference
from tidegate.rules.native import TABLE_PREFIX, NativeChain, NativeRule, NativeTable
from tidegate.rules.nft_json import statements

Json = dict[str, Any]
_BARE = ("iifname", "oifname", "skuid", "skgid", "mark")
"""Keys that nft takes with and without "meta" in front."""


class NativeListingError(TidegateError):
    """Text that is not the output of ``nft -j list``."""


def parse_listing(text: str) -> tuple[NativeTable, ...]:
    """The tables of family inet that a sidecar's rules own. Raises NativeListingError."""
    try:
        return tuple(_tables(json.loads(text or '{"nftables": []}')["nftables"]).values())
    except (ValueError, KeyError, TypeError, AttributeError, StopIteration, RecursionError) as error:
        told = f"{type(error).__name__}: {error}"[:200]
        raise NativeListingError(f"nft -j list: expected its JSON, a list named nftables ({told})") from error


def _tables(listed: list[dict[str, Json]]) -> dict[str, NativeTable]:
    tables: dict[str, NativeTable] = {}
    for kind, item in (pair for each in listed for pair in each.items()):
        name = item.get("name" if kind == "table" else "table", "")
        if item.get("family") != "inet" or not str(name).startswith(TABLE_PREFIX):
            continue
        tables[name] = _with(tables.get(name, NativeTable(name)), kind, item)
    return tables


def native_difference(expected: Iterable[NativeTable], actual: Iterable[NativeTable]) -> list[str]:
    """Where our tables do not hold exactly what is expected, one readable line for each finding."""
    wanted, found = ({table.name: table for table in tables} for tables in (expected, actual))
    lines: list[str] = []
    for name in dict.fromkeys((*wanted, *found)):
        if name not in found:
            lines.append(f"inet {name}: the table is missing")
        elif name not in wanted:
            lines.append(f"inet {name}: an unexpected table with {len(found[name].rules)} rules")
        else:
            lines += _table_difference(wanted[name], found[name])
    return lines


def canonical_rule(rule: NativeRule) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Conditions and statements in one form: equal, the same effect on a packet."""
    conditions = {_condition(each) for each in rule.conditions}
    implied = {f"meta l4proto {each.split()[0]}" for each in conditions if each.startswith(("tcp ", "udp "))}
    done = (each.replace("ct mark set mark", "ct mark set meta mark") for each in rule.statements)
    return tuple(sorted(conditions - implied)), tuple(done)


def _table_difference(expected: NativeTable, actual: NativeTable) -> Iterator[str]:
    wanted, found = ({chain.name: chain for chain in table.chains} for table in (expected, actual))
    rules, held = expected.contents(), actual.contents()
    for name in dict.fromkeys((*wanted, *found)):
        where = f"inet {expected.name} {name}"
        if name not in found:
            yield f"{where}: the chain is missing"
        elif name not in wanted:
            yield f"{where}: an unexpected chain with {len(held[name])} rules"
        elif wanted[name] != found[name]:
            yield f"{where}: is {_hooked(found[name])}, expected {_hooked(wanted[name])}"
        else:
            yield from chain_difference(where, rules[name], held[name], canonical_rule)


def _hooked(chain: NativeChain) -> str:
    return chain.definition.strip() or "not hooked"


def _condition(text: str) -> str:
    words = text.split()
    if words[0] in _BARE:
        words.insert(0, "meta")
    left, right = words[:2], words[2:]
    negated = right[:1] == ["!="]
    value = " ".join(right[1:] if negated else right).strip("{} ")
    values = sorted(_value(" ".join(left), each.strip()) for each in value.split(","))
    return " ".join((*left, *(["!="] if negated else []), ",".join(values)))


def _value(left: str, value: str) -> str:
    if left.startswith(("ip ", "ip6 ")):
        try:
            return str(ipaddress.ip_network(value, strict=False))
        except ValueError:
            return value
    return value.strip('"')


def _with(table: NativeTable, kind: str, item: Json) -> NativeTable:
    if kind == "chain":
        chain = NativeChain(item["name"], item.get("type", ""), item.get("hook", ""), item.get("prio", 0))
        return msgspec.structs.replace(table, chains=(*table.chains, chain))
    if kind == "rule":
        return msgspec.structs.replace(table, rules=(*table.rules, _rule(item)))
    return table


def _rule(item: Json) -> NativeRule:
    conditions: list[str] = []
    done: list[str] = []
    for expression in item.get("expr", ()):
        kind = next(iter(expression))
        if kind == "match":
            conditions.append(statements(expression))
        elif kind != "counter":
            done.append(statements(expression))
    return NativeRule(item["chain"], tuple(conditions), tuple(done) or ("continue",))
