"""Applying and removing rule sets: a transaction for each table, the earlier state restored when a later one fails."""

from collections.abc import Iterator, Sequence

import msgspec

from tidegate.capture.kernel import CaptureError, Kernel
from tidegate.capture.owners import numeric
from tidegate.rules.compare import canonical, difference, owned
from tidegate.rules.model import CHAIN_PREFIX, Family, Rule, RuleSet, Table
from tidegate.rules.text import RuleTextError, parse_save, table_to_restore

Step = tuple[Family, str, str]
"""A family, a table, and what iptables-restore is to read."""


class Plan(msgspec.Struct, frozen=True):
    """What leads from what the kernel holds to what is wanted."""

    steps: tuple[Step, ...] = ()
    found: tuple[str, ...] = ()
    """Where the kernel differs, in readable lines."""
    bypasses: tuple[str, ...] = ()
    saved: dict[Family, str] = {}
    """What the kernel holds now."""


class Outcome(msgspec.Struct, frozen=True):
    """What applying or removing did."""

    changed: bool
    found: tuple[str, ...] = ()
    """Where the kernel differed before, in readable lines; empty when nothing had to change."""
    bypasses: tuple[str, ...] = ()
    """Rules that nobody asked for and that let an interface's connections pass by: an earlier set's, or others'."""


def apply(rule_sets: Sequence[RuleSet], kernel: Kernel | None = None, *, force: bool = False) -> Outcome:
    """Make the kernel hold the rule sets and verify that it does.

    Applying what is there already changes nothing, unless it is forced. Chains and rules of an earlier, different set
    are replaced in the same transaction; rules of others are left alone. When a table fails or the verification finds
    a difference, every table is put back as it was and CaptureError tells why.
    """
    kernel = kernel or Kernel()
    wanted = {rules.family: numeric(rules) for rules in rule_sets}
    return _change(kernel, wanted, plan(rule_sets, kernel, force=force))


def plan(rule_sets: Sequence[RuleSet], kernel: Kernel, *, force: bool = False) -> Plan:
    """What :func:`apply` would do; changes nothing."""
    wanted = {rules.family: numeric(rules) for rules in rule_sets}
    return _planned(kernel, wanted, {family: rules.tables for family, rules in wanted.items()}, force)


def remove(rule_sets: Sequence[RuleSet] = (), kernel: Kernel | None = None) -> Outcome:
    """Take every chain of the mesh and every rule that leads to one out of all tables.

    The rule sets name what was applied, so that rules which stand in built-in chains and lead to none of the mesh's
    chains (an excluded interface) go too.
    """
    kernel = kernel or Kernel()
    return _change(kernel, _nothing(kernel), removal(rule_sets, kernel))


def removal(rule_sets: Sequence[RuleSet], kernel: Kernel) -> Plan:
    """What :func:`remove` would do; changes nothing."""
    known = {rules.family: numeric(rules).tables for rules in rule_sets}
    return _planned(kernel, _nothing(kernel), known)


def verify(rule_sets: Sequence[RuleSet], kernel: Kernel) -> list[str]:
    """Where the kernel does not hold the rule sets, one readable line for each finding."""
    wanted = [numeric(rules) for rules in rule_sets]
    present = [rules for rules in wanted if rules.tables or kernel.works(rules.family)]
    return [line for rules in present for line in difference(rules, kernel.read(rules.family))]


def _nothing(kernel: Kernel) -> dict[Family, RuleSet]:
    families: tuple[Family, ...] = ("ipv4", "ipv6")
    return {family: RuleSet(family) for family in families if kernel.works(family)}


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
    asked = {rule.chain for rule in known.rules}
    of_mesh = any(chain.startswith(CHAIN_PREFIX) for chain in actual.chains)
    for rule in actual.rules:
        if rule.chain.startswith(CHAIN_PREFIX):
            continue
        if owned(rule) or (of_mesh and actual.name == "mangle" and _is_tproxy_mark(rule)):
            yield rule
        elif rule.chain in asked and (key := canonical(rule)) in allowed:
            allowed.remove(key)
            yield rule


_TPROXY_OPTIONS = {"-p", "-m", "-o", "-d", "--mark", "--uid-owner", "--gid-owner"}


def _is_tproxy_mark(rule: Rule) -> bool:
    """A rule of TPROXY mode's own form in a built-in chain of mangle: whatever its mark and its owner."""
    options = {match.option for match in rule.matches}
    if not options <= _TPROXY_OPTIONS or not any(m.option == "-p" and m.values == ("tcp",) for m in rule.matches):
        return False
    if rule.target == "CONNMARK":
        return "--mark" in options and rule.options[:1] in (("--save-mark",), ("--restore-mark",))
    to_lo = any(match.option == "-o" and match.values == ("lo",) for match in rule.matches)
    owners = bool(options & {"--uid-owner", "--gid-owner"})
    return to_lo and ((rule.target == "RETURN" and "--mark" in options) or (rule.target == "MARK" and owners))


def _change(kernel: Kernel, wanted: dict[Family, RuleSet], planned: Plan) -> Outcome:
    if planned.steps:
        _run(kernel, planned, wanted)
    return Outcome(bool(planned.steps), planned.found, planned.bypasses)


def _planned(
    kernel: Kernel, wanted: dict[Family, RuleSet], known: dict[Family, tuple[Table, ...]], force: bool = False
) -> Plan:
    steps: list[Step] = []
    found: list[str] = []
    bypasses: list[str] = []
    saved: dict[Family, str] = {}
    for family, rules in wanted.items():
        if not rules.tables and not kernel.works(family):
            continue
        saved[family] = kernel.save(family)
        family_steps, family_found = _family_plan(kernel, rules, RuleSet(family, known.get(family, ())), force)
        steps += [(family, table, text) for table, text in family_steps]
        found += family_found
        bypasses += _bypasses(rules, parse_save(saved[family], family))
    return Plan(tuple(steps), tuple(found), tuple(bypasses), saved)


def _bypasses(wanted: RuleSet, actual: RuleSet) -> Iterator[str]:
    """Rules of the form in which interfaces are excluded, which nothing tells from a rule of somebody else's."""
    asked = [canonical(rule) for rule in wanted.table("nat").rules]
    for rule in actual.table("nat").rules if asked else ():
        by_interface = [match.option for match in rule.matches] in (["-i"], ["-o"])
        built_in = not rule.chain.startswith(CHAIN_PREFIX)
        if built_in and by_interface and rule.target in ("RETURN", "ACCEPT") and canonical(rule) not in asked:
            yield f"{actual.family} nat {rule.chain}: {rule.specification}"


def _family_plan(
    kernel: Kernel, wanted: RuleSet, known: RuleSet, force: bool
) -> tuple[list[tuple[str, str]], list[str]]:
    """The transactions that lead from what the kernel holds to what is wanted, and what differs."""
    actual = kernel.read(wanted.family)
    found: list[str] = []
    steps: list[tuple[str, str]] = []
    for name in _order(wanted, actual):
        table, current = wanted.table(name), actual.table(name)
        differs = difference(RuleSet(wanted.family, (table,)), RuleSet(wanted.family, (current,)))
        text = transaction(table, known.table(name), current)
        surplus = len(list(_foreign_places(known.table(name), current))) > len(_built_in(table))
        removing = text and (not table.rules or surplus)
        if differs or removing or (force and text):
            found += differs
            steps.append((name, text))
    return steps, found


def _built_in(table: Table) -> list[Rule]:
    return [rule for rule in table.rules if not rule.chain.startswith(CHAIN_PREFIX)]


def _order(wanted: RuleSet, actual: RuleSet) -> list[str]:
    """Tables in the order in which nothing escapes between two of them: what comes to capture before what ceases to.

    Inbound connections are captured in mangle under TPROXY and in nat otherwise.
    """
    names = sorted({table.name for table in (*wanted.tables, *actual.tables)})
    if "ISTIO_TPROXY" in wanted.table("mangle").chains:
        return names
    return sorted(names, key=lambda name: name != "nat")


def _run(kernel: Kernel, planned: Plan, wanted: dict[Family, RuleSet]) -> None:
    done: list[tuple[Family, str]] = []
    try:
        for family, table, text in planned.steps:
            kernel.write(family, text)
            done.append((family, table))
        remaining = [line for family in planned.saved for line in difference(wanted[family], kernel.read(family))]
        if remaining:
            raise CaptureError("the kernel does not hold the rules that were written: " + "; ".join(remaining))
    except (CaptureError, RuleTextError) as error:
        _put_back(kernel, done, planned.saved, error)


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
