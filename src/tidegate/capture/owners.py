"""Group names in rules as the numbers that the kernel keeps."""

import grp
from collections.abc import Iterable

import msgspec

from tidegate.capture.kernel import CaptureError
from tidegate.rules.capture_rules import Placed
from tidegate.rules.model import Match, Rule, RuleSet


def numeric(rules: RuleSet) -> RuleSet:
    """The set with numbers for group names. Raises CaptureError for a group that does not exist."""
    tables = (msgspec.structs.replace(table, rules=tuple(map(_rule, table.rules))) for table in rules.tables)
    return msgspec.structs.replace(rules, tables=tuple(tables))


def numeric_placed(placed: Iterable[Placed]) -> tuple[Placed, ...]:
    """The same for rules of both families."""
    return tuple(msgspec.structs.replace(each, rule=_rule(each.rule)) for each in placed)


def _rule(rule: Rule) -> Rule:
    return msgspec.structs.replace(rule, matches=tuple(map(_match, rule.matches)))


def _match(match: Match) -> Match:
    if match.option != "--gid-owner" or match.values[0].isdigit():
        return match
    try:
        number = grp.getgrnam(match.values[0]).gr_gid
    except KeyError as error:
        raise CaptureError(
            f"owner group {match.values[0]} does not exist on this machine; name it by its id"
        ) from error
    return msgspec.structs.replace(match, values=(str(number),))
