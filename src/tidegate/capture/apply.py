"""Applying and removing rule sets: a transaction for each table, the earlier state restored when a later one fails."""

import grp
from collections.abc import Iterator, Sequence

import msgspec

from tidegate.capture.kernel import CaptureError, Kernel
from tidegate.rules.compare import canonical, difference, owned
from tidegate.rules.model import CHAIN_PREFIX, Family, Match, Rule, RuleSet, Table
from tidegate.rules.text import RuleTextError, table_to_restore


class Outcome(msgspec.Struct, frozen=True):
    """What applying or removing did."""

    changed: bool
    found: tuple[str, ...] = ()
    """Where the kernel differed before, in readable lines; empty when nothing had to change."""


def apply(rule_sets: Sequence[RuleSet], kernel: Kernel | None = None) -> Outcome:
    """Make the kernel hold the rule sets and verify that it does.

    Applying what is there already changes nothing. Chains and rules of an earlier, different set are replaced in the
    same transaction; rules of others are left alone. When a table fails or the verification finds a difference,
    every table is put back as it was and CaptureError tells why.
    """
    kernel = kernel or Kernel()
    wanted = {rules.family: _numeric(rules) for rules in rule_sets}
    return _change(kernel, wanted, {family: rules.tables for family, rules in wanted.items()})


def remove(rule_sets: Sequence[RuleSet] = (), kernel: Kernel | None = None) -> Outcome:
    """Take every chain of the mesh and every rule that leads to one out of all tables.

    The rule sets name what was applied, so that rules which stand in built-in chains and lead to none of the mesh's
    chains (an excluded interface, TPROXY's marks) go too.
    """
    kernel = kernel or Kernel()
    known = {rules.family: _numeric(rules).tables for rules in rule_sets}
    families: tuple[Family, ...] = ("ipv4", "ipv6")
    present = [family for family in families if kernel.has_tools(family)]
    return _change(kernel, {family: RuleSet(family) for family in present}, known)


def transaction(wanted: Table, known: Table, actual: Table) -> str:
    """One table's change as iptables-restore text: what is ours goes, what is wanted comes.

    ``known`` tells which rules in built-in chains are ours although they lead to no chain of ours. Empty when the
    table holds nothing of ours and nothing is wanted.
    """
    ours = [chain for chain in actual.chains if chain.startswith(CHAIN_PREFIX)]
    lines = [f"-D {rule.chain} {rule.specification}" for rule in _foreign_places(known, actual)]
    lines += [f"-F {chain}" for chain in ours] + [f"-X {chain}" for chain in ours]
    body = table_to_restore(wanted).splitlines()
    if not lines and not wanted.rules and not wanted.chains:
        return ""
    return "\n".join((body[0], *lines, *body[1:])) + "\n"


def _foreign_places(known: Table, actual: Table) -> Iterator[Rule]:
    """Our rules in chains that are not ours, each as often as we put it there."""
    allowed = [canonical(rule) for rule in known.rules]
    for rule in actual.rules:
        if rule.chain.startswith(CHAIN_PREFIX):
            continue
        key = canonical(rule)
        if owned(rule):
            yield rule
        elif key in allowed:
            allowed.remove(key)
            yield rule


def _change(kernel: Kernel, wanted: dict[Family, RuleSet], known: dict[Family, tuple[Table, ...]]) -> Outcome:
    steps: list[tuple[Family, str, str]] = []
    found: list[str] = []
    saved: dict[Family, str] = {}
    for family, rules in wanted.items():
        if not rules.tables and not kernel.has_tools(family):
            continue
        saved[family] = kernel.save(family)
        family_steps, family_found = _plan(kernel, rules, RuleSet(family, known.get(family, ())))
        steps += [(family, table, text) for table, text in family_steps]
        found += family_found
    if steps:
        _run(kernel, steps, saved, wanted)
    return Outcome(bool(steps), tuple(found))


def _plan(kernel: Kernel, wanted: RuleSet, known: RuleSet) -> tuple[list[tuple[str, str]], list[str]]:
    """The transactions that lead from what the kernel holds to what is wanted, and what differs."""
    actual = kernel.read(wanted.family)
    names = sorted({table.name for table in (*wanted.tables, *actual.tables)})
    found: list[str] = []
    steps: list[tuple[str, str]] = []
    for name in names:
        table, current = wanted.table(name), actual.table(name)
        differs = difference(RuleSet(wanted.family, (table,)), RuleSet(wanted.family, (current,)))
        text = transaction(table, known.table(name), current)
        removing = text and not table.rules
        if differs or removing:
            found += differs
            steps.append((name, text))
    return steps, found


def _run(
    kernel: Kernel, steps: list[tuple[Family, str, str]], saved: dict[Family, str], wanted: dict[Family, RuleSet]
) -> None:
    done: list[tuple[Family, str]] = []
    try:
        for family, table, text in steps:
            kernel.write(family, text)
            done.append((family, table))
        remaining = [line for family in saved for line in difference(wanted[family], kernel.read(family))]
        if remaining:
            raise CaptureError("the kernel does not hold the rules that were written: " + "; ".join(remaining))
    except (CaptureError, RuleTextError) as error:
        _put_back(kernel, done, saved, error)


def _put_back(
    kernel: Kernel, done: list[tuple[Family, str]], saved: dict[Family, str], cause: CaptureError | RuleTextError
) -> None:
    for family, table in reversed(done):
        try:
            kernel.replace(family, saved_table(saved[family], table))
        except CaptureError as error:
            raise CaptureError(f"{cause}; putting {family} {table} back failed too: {error}") from cause
    state = "every table was put back as it was" if done else "no table was changed"
    raise CaptureError(f"{cause}; {state}") from cause


def saved_table(text: str, table: str) -> str:
    """One table's part of iptables-save's output; an empty table when it was not there."""
    lines = text.splitlines()
    if f"*{table}" not in lines:
        return f"*{table}\nCOMMIT\n"
    start = lines.index(f"*{table}")
    return "\n".join(lines[start : lines.index("COMMIT", start) + 1]) + "\n"


def _numeric(rules: RuleSet) -> RuleSet:
    """Group names as the numbers that the kernel keeps. Raises CaptureError for a group that does not exist."""
    tables = (msgspec.structs.replace(table, rules=tuple(map(_numeric_rule, table.rules))) for table in rules.tables)
    return msgspec.structs.replace(rules, tables=tuple(tables))


def _numeric_rule(rule: Rule) -> Rule:
    return msgspec.structs.replace(rule, matches=tuple(map(_numeric_owner, rule.matches)))


def _numeric_owner(match: Match) -> Match:
    if match.option != "--gid-owner" or match.values[0].isdigit():
        return match
    try:
        number = grp.getgrnam(match.values[0]).gr_gid
    except KeyError as error:
        raise CaptureError(
            f"owner group {match.values[0]} does not exist on this machine; name it by its id"
        ) from error
    return msgspec.structs.replace(match, values=(str(number),))
