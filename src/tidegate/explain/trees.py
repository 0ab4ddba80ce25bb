"""The unified matcher (xds.type.matcher.v3.Matcher), as listeners use it to name a filter chain."""

from collections.abc import Iterator
from typing import Any

from tidegate.dump.config.keys import field
from tidegate.dump.config.matching import FieldMatcher, IpMatcher, IpRangeMatcher, Matcher, MatcherList, MatcherTree
from tidegate.dump.config.matching import StringMatcher as StringMatch
from tidegate.dump.config.parts import Extension, Part, type_of
from tidegate.explain import matchers
from tidegate.explain.logic import Verdict, all_of, any_of, negated
from tidegate.explain.walk import Walk

_INPUT = "envoy.extensions.matching.common_inputs.network.v3."
_IP_MATCHER = "xds.type.matcher.v3.IPMatcher"
_MOST_NESTED = 40


class _Single(Part, frozen=True):
    input: Extension = Extension()
    value_match: StringMatch | None = None
    custom_match: dict[str, Any] | None = None


def action(walk: Walk, raw: Any, where: str, depth: int = 0) -> str | None:
    """The name that the matcher's action gives; None where nothing matches."""
    if depth > _MOST_NESTED:
        walk.unsure(where, "the matcher nests too deeply")
        return None
    matcher = walk.notes.read(Matcher, raw, where)
    for on_match in _matching(walk, matcher, where):
        found = _taken(walk, on_match, where, depth)
        if found is not None:
            return found
    return None if matcher.on_no_match is None else _taken(walk, matcher.on_no_match, where, depth)


def _taken(walk: Walk, on_match: Any, where: str, depth: int) -> str | None:
    """What stands under onMatch: another matcher, or the action itself."""
    if not isinstance(on_match, dict):
        return None
    nested = field(on_match, "matcher")
    if nested is not None:
        return action(walk, nested, where, depth + 1)
    config = field(field(on_match, "action") or {}, "typedConfig") or {}
    name = config.get("value") if isinstance(config, dict) else None
    if isinstance(name, str):
        return name
    walk.unsure(where, f"matcher action {type_of(config) or '?'} is not known here")
    return None


def _matching(walk: Walk, matcher: Matcher, where: str) -> Iterator[Any]:
    """The onMatch parts to try, in order."""
    if matcher.matcher_list is not None:
        for raw in walk.notes.read(MatcherList, matcher.matcher_list, where).matchers:
            each = walk.notes.read(FieldMatcher, raw, where)
            if _predicate(walk, each.predicate, where, 0) is True and not each.keep_matching:
                yield each.on_match
                return
    if matcher.matcher_tree is not None:
        yield from _tree(walk, walk.notes.read(MatcherTree, matcher.matcher_tree, where), where)


def _tree(walk: Walk, tree: MatcherTree, where: str) -> Iterator[Any]:
    values = _input(walk, tree.input, where)
    if tree.exact_match_map is not None:
        table = field(tree.exact_match_map, "map")
        yield from (table[value] for value in values if isinstance(table, dict) and value in table)
    elif tree.prefix_match_map is not None:
        table = field(tree.prefix_match_map, "map")
        keys = sorted(table, key=len, reverse=True) if isinstance(table, dict) else ()
        yield from (table[key] for value in values for key in keys if value.startswith(key))
    elif tree.custom_match is not None:
        yield from _custom(walk, tree.custom_match, values, where)


def _custom(walk: Walk, raw: dict[str, Any], values: tuple[str, ...], where: str) -> Iterator[Any]:
    config = field(raw, "typedConfig")
    if type_of(config) != _IP_MATCHER:
        walk.unsure(where, f"matcher {type_of(config) or '?'} is not known here")
        return
    ranges = walk.notes.read(IpMatcher, config, where).range_matchers
    found = []
    for each in (walk.notes.read(IpRangeMatcher, one, where) for one in ranges):
        lengths = [cidr.prefix_len for cidr in each.ranges for value in values if matchers.in_range(cidr, value)]
        if lengths:
            found.append((max(lengths), each))
    for _, each in sorted(found, key=lambda pair: pair[0], reverse=True):
        yield each.on_match
        if each.exclusive:
            return


def _input(walk: Walk, extension: Extension, where: str) -> tuple[str, ...]:
    name = extension.type.removeprefix(_INPUT)
    protocols = ",".join(f"'{each}'" for each in walk.alpn)
    known = {
        "DestinationIPInput": walk.ip,
        "DestinationPortInput": str(walk.port),
        "SourceIPInput": walk.connection.source_ip,
        "DirectSourceIPInput": walk.connection.source_ip,
        "SourcePortInput": str(walk.connection.source_port),
        "ServerNameInput": walk.sni,
        "TransportProtocolInput": walk.transport or "raw_buffer",
        "ApplicationProtocolInput": protocols,
    }
    if name not in known:
        walk.unsure(where, f"matcher input {extension.type or extension.name or '?'} is not known here")
        return ()
    return (known[name],) if known[name] else ()


def _predicate(walk: Walk, raw: Any, where: str, depth: int) -> Verdict:
    if not isinstance(raw, dict) or depth > _MOST_NESTED:
        return None
    single, inverted = field(raw, "singlePredicate"), field(raw, "notMatcher")
    if single is not None:
        return _single(walk, walk.notes.read(_Single, single, where), where)
    if inverted is not None:
        return negated(_predicate(walk, inverted, where, depth + 1))
    for name, combine in (("orMatcher", any_of), ("andMatcher", all_of)):
        listed = field(field(raw, name) or {}, "predicate")
        if isinstance(listed, list):
            return combine(_predicate(walk, each, where, depth + 1) for each in listed)
    return None


def _single(walk: Walk, single: _Single, where: str) -> Verdict:
    values = _input(walk, single.input, where)
    if single.value_match is None:
        walk.unsure(where, "a custom matcher is not judged here")
        return None
    return any_of(matchers.string(single.value_match, value) for value in values) if values else False
