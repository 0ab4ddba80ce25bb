"""Whether two rules mean the same, and where two rule sets differ.

The kernel prints rules in words of its own: ``--mark 1337`` comes back as ``--mark 0x539``, ``-p tcp --dport 1`` as
``-p tcp -m tcp --dport 1``, conditions come back in another order. Both sides are brought to one form first.
"""

import ipaddress
from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar

from tidegate.rules.model import CHAIN_PREFIX, Family, Match, Rule, RuleSet, Table

Key = tuple[str, tuple[str, ...], str, tuple[str, ...], bool]
"""A rule's meaning: chain, conditions, target, the target's options, goto."""

_PROTOCOLS = {"1": "icmp", "6": "tcp", "17": "udp", "58": "ipv6-icmp", "icmpv6": "ipv6-icmp", "132": "sctp"}
_ALL_BITS = 0xFFFFFFFF


def canonical(rule: Rule) -> Key:
    """The rule's meaning in one form: equal keys, the same effect on a packet."""
    conditions = sorted(filter(None, (_condition(match) for match in rule.matches)))
    return rule.chain, tuple(conditions), rule.target, _options(rule.target, rule.options), rule.goto


def owned(rule: Rule) -> bool:
    """Whether a rule is a mesh's own by its chain or by the chain it leads to."""
    return rule.chain.startswith(CHAIN_PREFIX) or rule.target.startswith(CHAIN_PREFIX)


def difference(expected: RuleSet, actual: RuleSet) -> list[str]:
    """Where the actual tables do not do what is expected, one readable line for each finding; empty when they do.

    A mesh's own chains must hold exactly the expected rules in their order. In built-in chains the expected rules
    must be present in their relative order; other rules there belong to somebody else, unless they lead to a chain
    of the mesh.
    """
    names = sorted({table.name for table in (*expected.tables, *actual.tables)})
    lines: list[str] = []
    for name in names:
        lines += _table_difference(expected.family, expected.table(name), actual.table(name))
    return lines


def _table_difference(family: Family, expected: Table, actual: Table) -> Iterator[str]:
    wanted, found = expected.contents(), actual.contents()
    ours = [chain for chain in (*wanted, *found) if chain.startswith(CHAIN_PREFIX)]
    for chain in dict.fromkeys((*ours, *wanted, *found)):
        where = f"{family} {expected.name} {chain}"
        if chain.startswith(CHAIN_PREFIX) and chain not in found:
            yield f"{where}: the chain is missing"
        elif chain.startswith(CHAIN_PREFIX) and chain not in wanted:
            yield f"{where}: an unexpected chain with {len(found[chain])} rules"
        else:
            is_ours = chain.startswith(CHAIN_PREFIX)
            keys = set(map(canonical, wanted.get(chain, ())))
            rules = [rule for rule in found.get(chain, ()) if is_ours or _relevant(rule, keys)]
            yield from chain_difference(where, wanted.get(chain, []), rules, canonical)


def _relevant(rule: Rule, wanted: set[Key]) -> bool:
    return owned(rule) or (bool(wanted) and canonical(rule) in wanted)


class Told(Protocol):
    """A rule of either backend."""

    @property
    def specification(self) -> str:
        """The rule without its chain."""


AnyRule = TypeVar("AnyRule", bound=Told)


def chain_difference(
    where: str, wanted: list[AnyRule], found: list[AnyRule], meaning: Callable[[AnyRule], object]
) -> Iterator[str]:
    """Where one chain does not hold the wanted rules in their order; ``meaning`` gives equal rules equal keys."""
    wanted_keys, found_keys = list(map(meaning, wanted)), list(map(meaning, found))
    if wanted_keys == found_keys:
        return
    missing = [rule for rule, key in zip(wanted, wanted_keys, strict=True) if key not in found_keys]
    surplus = [rule for rule, key in zip(found, found_keys, strict=True) if key not in wanted_keys]
    yield from (f'{where}: missing rule "{rule.specification}"' for rule in missing)
    yield from (f'{where}: unexpected rule "{rule.specification}"' for rule in surplus)
    if not missing and not surplus:
        counted = f"{len(found_keys)} rules, expected {len(wanted_keys)}"
        yield f"{where}: the rules stand in another order or number ({counted})"


def _condition(match: Match) -> str:
    if match.option == "-m":
        return ""
    value = _VALUES.get(match.option, _plain)(" ".join(match.values))
    if match.option in ("-s", "-d") and value.endswith("/0") and not match.negated:
        return ""
    return f"{'! ' if match.negated else ''}{match.option} {value}"


def _plain(value: str) -> str:
    return value


def _network(value: str) -> str:
    try:
        return str(ipaddress.ip_network(value, strict=False))
    except ValueError:
        return value


def _protocol(value: str) -> str:
    return _PROTOCOLS.get(value.lower(), value.lower())


def _state(value: str) -> str:
    return ",".join(sorted(value.upper().split(",")))


def _mark(value: str) -> str:
    number, _, mask = value.partition("/")
    try:
        bits = int(mask, 0) if mask else _ALL_BITS
        return f"{int(number, 0) & _ALL_BITS:#x}/{bits:#x}"
    except ValueError:
        return value


_VALUES: dict[str, Callable[[str], str]] = {
    "-s": _network,
    "-d": _network,
    "-p": _protocol,
    "--mark": _mark,
    "--ctstate": _state,
}

_OPTION_NAMES = {
    "--to-port": "--to-ports",
    "--set-mark": "--set-xmark",
}
_MARK_OPTIONS = ("--set-xmark", "--set-mark", "--tproxy-mark", "--nfmask", "--ctmask")
_DEFAULTS: dict[str, dict[str, tuple[str, ...]]] = {
    "TPROXY": {"--on-ip": ("0.0.0.0", "::")},  # noqa: S104 (an address to compare with)
    "CONNMARK": {"--nfmask": (_mark("0xffffffff"),), "--ctmask": (_mark("0xffffffff"),)},
}
"""Options that the kernel prints although they were not asked for: target to option to the values that mean so."""


def _options(target: str, options: tuple[str, ...]) -> tuple[str, ...]:
    pairs: list[str] = []
    defaults = _DEFAULTS.get(target, {})
    for name, value in _pairs(options):
        value = _mark(value) if name in _MARK_OPTIONS and value else value
        if value not in defaults.get(name, ()):
            pairs.append(f"{_OPTION_NAMES.get(name, name)} {value}".rstrip())
    return tuple(sorted(pairs))


def _pairs(options: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    name, values = "", list[str]()
    for token in options:
        if token.startswith("--"):
            if name:
                yield name, " ".join(values)
            name, values = token, []
        else:
            values.append(token)
    if name:
        yield name, " ".join(values)
