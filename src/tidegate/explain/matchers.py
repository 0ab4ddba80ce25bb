"""Matchers of strings, headers, query parameters, addresses and values, with Envoy's rules for what is missing."""

import ipaddress
from functools import lru_cache
from typing import Any

from tidegate.dump.config.matching import (
    HeaderMatcher,
    ListMatcher,
    MetadataMatcher,
    QueryParameterMatcher,
    StringMatcher,
    ValueMatcher,
)
from tidegate.dump.config.parts import Unknown, read
from tidegate.dump.model import CidrRange
from tidegate.explain.logic import Verdict, any_of, negated
from tidegate.explain.regexes import full_match
from tidegate.kit.addresses import Network, network


def string(matcher: StringMatcher, text: str) -> Verdict:
    """envoy.type.matcher.v3.StringMatcher; a regular expression heeds no ``ignoreCase``."""
    if matcher.safe_regex is not None:
        return full_match(matcher.safe_regex.regex, text)
    fold = str.lower if matcher.ignore_case else str
    held = fold(text)
    if matcher.exact is not None:
        return held == fold(matcher.exact)
    if matcher.prefix is not None:
        return held.startswith(fold(matcher.prefix))
    if matcher.suffix is not None:
        return held.endswith(fold(matcher.suffix))
    if matcher.contains is not None:
        return fold(matcher.contains) in held
    return None if matcher.custom is not None else held == ""


def header(matcher: HeaderMatcher, values: tuple[str, ...]) -> Verdict:
    """Whether a request with these values of the header matches. Several values count as one, joined by commas."""
    if matcher.present_match is not None or _asks_presence(matcher):
        wanted = matcher.present_match is not False
        there = bool(values) or matcher.treat_missing_header_as_empty
        return (there == wanted) != matcher.invert_match
    if not values and not matcher.treat_missing_header_as_empty:
        return False  # a header that is not there matches nothing, not even inverted
    verdict = _header_value(matcher, ",".join(values))
    return negated(verdict) if matcher.invert_match else verdict


def _asks_presence(matcher: HeaderMatcher) -> bool:
    forms = (
        matcher.exact_match,
        matcher.safe_regex_match,
        matcher.range_match,
        matcher.prefix_match,
        matcher.suffix_match,
        matcher.contains_match,
        matcher.string_match,
    )
    return all(each is None for each in forms)


def _header_value(matcher: HeaderMatcher, value: str) -> Verdict:
    if matcher.string_match is not None:
        return string(matcher.string_match, value)
    if matcher.range_match is not None:
        return _is_number(value) and int(value) in matcher.range_match
    older = StringMatcher(
        exact=matcher.exact_match,
        prefix=matcher.prefix_match,
        suffix=matcher.suffix_match,
        contains=matcher.contains_match,
        safe_regex=matcher.safe_regex_match,
    )
    return string(older, value)


def _is_number(text: str) -> bool:
    body = text[1:] if text[:1] in ("+", "-") else text
    return body.isascii() and body.isdigit() and len(body) < 20


def query(matcher: QueryParameterMatcher, parameters: dict[str, str]) -> Verdict:
    """Whether the query string has the parameter as asked; of one given twice the first counts."""
    value = parameters.get(matcher.name)
    if matcher.present_match is not None:
        return (value is not None) == matcher.present_match
    if value is None:
        return False
    return True if matcher.string_match is None else string(matcher.string_match, value)


@lru_cache(maxsize=16384)
def as_network(address_prefix: str, prefix_len: int) -> Network | None:
    return network(f"{address_prefix}/{prefix_len}")


@lru_cache(maxsize=16384)
def as_ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def in_range(cidr: CidrRange, address: str) -> bool:
    """Whether an address lies in a CIDR range; one that is not known lies in none."""
    ip, net = as_ip(address), as_network(cidr.address_prefix, cidr.prefix_len)
    return ip is not None and net is not None and ip.version == net.version and ip in net


def metadata(matcher: MetadataMatcher, known: dict[str, Any], unknown: list[Unknown]) -> Verdict:
    """Whether dynamic metadata matches, as far as the walk knows what was written."""
    found: Any = known.get(matcher.filter)
    for segment in matcher.path:
        found = found.get(segment.key) if isinstance(found, dict) else None
    verdict = value(matcher.value, found, unknown)
    return negated(verdict) if matcher.invert else verdict


def value(matcher: ValueMatcher, found: Any, unknown: list[Unknown]) -> Verdict:
    """envoy.type.matcher.v3.ValueMatcher over plain data; a missing value is null."""
    if matcher.string_match is not None:
        return isinstance(found, str) and string(matcher.string_match, found)
    if matcher.bool_match is not None:
        return found is matcher.bool_match
    if matcher.present_match is not None:
        return matcher.present_match and found is not None
    if matcher.null_match is not None:
        return found is None
    if matcher.list_match is not None:
        return _list(matcher.list_match, found, unknown)
    if matcher.or_match is not None:
        return any_of(value(each, found, unknown) for each in _alternatives(matcher.or_match, unknown))
    return None


def _list(matcher: ListMatcher, found: Any, unknown: list[Unknown]) -> Verdict:
    if not isinstance(found, list) or matcher.one_of is None:
        return False
    inner = read(ValueMatcher, matcher.one_of, "ValueMatcher", unknown)
    return any_of(value(inner, each, unknown) for each in found)


def _alternatives(raw: dict[str, Any], unknown: list[Unknown]) -> list[ValueMatcher]:
    listed = raw.get("valueMatchers")
    return [read(ValueMatcher, each, "ValueMatcher", unknown) for each in listed] if isinstance(listed, list) else []
