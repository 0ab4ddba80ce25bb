"""Matchers that several messages share: strings, headers, query parameters, values, the unified matcher."""

from typing import Any, ClassVar

from tidegate.dump.config.parts import Extension, Part, Range
from tidegate.dump.model import CidrRange


class Regex(Part, frozen=True):
    regex: str = ""


class StringMatcher(Part, frozen=True):
    """envoy.type.matcher.v3.StringMatcher. ``exact`` may be the empty string: absent is None."""

    exact: str | None = None
    prefix: str | None = None
    suffix: str | None = None
    contains: str | None = None
    safe_regex: Regex | None = None
    custom: Extension | None = None
    ignore_case: bool = False


class HeaderMatcher(Part, frozen=True):
    name: str = ""
    exact_match: str | None = None
    safe_regex_match: Regex | None = None
    range_match: Range | None = None
    present_match: bool | None = None
    prefix_match: str | None = None
    suffix_match: str | None = None
    contains_match: str | None = None
    string_match: StringMatcher | None = None
    invert_match: bool = False
    treat_missing_header_as_empty: bool = False


class QueryParameterMatcher(Part, frozen=True):
    name: str = ""
    string_match: StringMatcher | None = None
    present_match: bool | None = None


class PathSegment(Part, frozen=True):
    key: str = ""


class ListMatcher(Part, frozen=True):
    one_of: dict[str, Any] | None = None


class ValueMatcher(Part, frozen=True):
    """envoy.type.matcher.v3.ValueMatcher; the recursive forms are kept raw."""

    null_match: dict[str, Any] | None = None
    string_match: StringMatcher | None = None
    bool_match: bool | None = None
    present_match: bool | None = None
    list_match: ListMatcher | None = None
    or_match: dict[str, Any] | None = None


class MetadataMatcher(Part, frozen=True):
    filter: str = ""
    path: tuple[PathSegment, ...] = ()
    value: ValueMatcher = ValueMatcher()
    invert: bool = False


class FilterStateMatcher(Part, frozen=True):
    key: str = ""
    string_match: StringMatcher | None = None


class PathMatcher(Part, frozen=True):
    path: StringMatcher = StringMatcher()


class MatcherTree(Part, frozen=True):
    """xds.type.matcher.v3.Matcher.MatcherTree."""

    RAW: ClassVar[frozenset[str]] = frozenset({"exactMatchMap", "prefixMatchMap", "customMatch"})
    input: Extension = Extension()
    exact_match_map: dict[str, Any] | None = None
    prefix_match_map: dict[str, Any] | None = None
    custom_match: dict[str, Any] | None = None


class FieldMatcher(Part, frozen=True):
    RAW: ClassVar[frozenset[str]] = frozenset({"predicate", "onMatch"})
    predicate: dict[str, Any] = {}
    on_match: dict[str, Any] = {}
    keep_matching: bool = False


class MatcherList(Part, frozen=True):
    RAW: ClassVar[frozenset[str]] = frozenset({"matchers"})
    matchers: tuple[dict[str, Any], ...] = ()


class Matcher(Part, frozen=True):
    """xds.type.matcher.v3.Matcher, one level of it."""

    RAW: ClassVar[frozenset[str]] = frozenset({"matcherList", "matcherTree", "onNoMatch"})
    matcher_list: dict[str, Any] | None = None
    matcher_tree: dict[str, Any] | None = None
    on_no_match: dict[str, Any] | None = None


class IpRangeMatcher(Part, frozen=True):
    RAW: ClassVar[frozenset[str]] = frozenset({"onMatch"})
    ranges: tuple[CidrRange, ...] = ()
    on_match: dict[str, Any] = {}
    exclusive: bool = False


class IpMatcher(Part, frozen=True):
    """xds.type.matcher.v3.IPMatcher."""

    RAW: ClassVar[frozenset[str]] = frozenset({"rangeMatchers"})
    range_matchers: tuple[dict[str, Any], ...] = ()
