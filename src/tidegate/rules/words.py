"""What each packet rule serves, in words: those of a mesh by their purpose, everybody else's by what they do.

The purposes are those of Istio's rule sets in both forms; docs/capture.md lists them.
"""

from collections.abc import Callable, Iterator

import msgspec

from tidegate.rules.model import CHAIN_PREFIX, Match, Rule, Table
from tidegate.rules.walk import Visit, Walk

PASSTHROUGH = frozenset({"127.0.0.6/32", "127.0.0.6", "::6/128", "::6"})
LOOPBACK = ("127.", "::1")
LISTENERS = {15001: "Envoy's outbound listener", 15006: "Envoy's inbound listener", 15053: "the sidecar's name server"}
_SIDECAR_PORTS = {
    "15008": "HBONE, which the proxy accepts itself",
    "15020": "the agent's health and metrics",
    "15021": "Envoy's health",
    "15090": "Envoy's metrics",
}


def chain_role(chain: str) -> str:
    """``ISTIO_OUTPUT`` for both ``ISTIO_OUTPUT`` and nftables' ``istio-output``; "" for a chain of somebody else."""
    name = chain.upper().replace("-", "_")
    return name if name.startswith(CHAIN_PREFIX) else ""


class _Seen(msgspec.Struct, frozen=True):
    """A rule's conditions by option, and what its table tells about it."""

    rule: Rule
    given: dict[str, Match]
    target: str
    """The role of the chain that it leads to, or its target."""
    proxies: frozenset[tuple[str, str]]
    """Owners that the table treats as a proxy: option and id."""

    def value(self, *options: str) -> str:
        return next((" ".join(self.given[option].values) for option in options if option in self.given), "")

    def owner(self) -> Match | None:
        return next((self.given[option] for option in _OWNERS if option in self.given), None)

    @property
    def ports(self) -> str:
        return self.value("--dport", "--dports").replace(":", "-")


_OWNERS = {"--uid-owner": "user", "--skuid": "user", "--gid-owner": "group", "--skgid": "group"}


def purpose(rule: Rule, table: Table) -> str:
    """What a rule is there for, in one sentence without a full stop."""
    return purposes(table)(rule)


def purposes(table: Table) -> Callable[[Rule], str]:
    """The same for many rules of a table, which is looked through once: there are tables of a hundred thousand."""
    proxies = _proxies(table)
    return lambda rule: _purpose(rule, proxies)


def _purpose(rule: Rule, proxies: frozenset[tuple[str, str]]) -> str:
    given = {match.option: match for match in rule.matches}
    seen = _Seen(rule, given, chain_role(rule.target) or rule.target, proxies)
    writer = _OF_CHAIN.get(chain_role(rule.chain))
    if writer is None and chain_role(rule.target):
        writer = _entry
    return (writer(seen) if writer else "") or _plainly(seen)


def _proxies(table: Table) -> frozenset[tuple[str, str]]:
    """Whom a table lets call its own workload as inbound: the users and groups of the proxy."""
    selfcalls = (rule for rule in table.rules if chain_role(rule.target) == "ISTIO_IN_REDIRECT")
    found = ((m.option, " ".join(m.values)) for rule in selfcalls for m in rule.matches if m.option in _OWNERS)
    return frozenset(found)


def _entry(seen: _Seen) -> str:
    """A rule of a built-in chain that leads to the mesh's."""
    interface = seen.value("-i", "-o")
    where = f" of interface {interface}" if interface else ""
    return {
        "ISTIO_OUTPUT": f"what processes here send{where} goes through the outbound rules",
        "ISTIO_INBOUND": f"what comes in{where} goes through the inbound rules",
        "ISTIO_OUTPUT_DNS": "what processes here send goes through the rules for name lookups",
        "ISTIO_DROP": "packets of no known connection are dropped",
        "ISTIO_REDIRECT": f"what comes in{where} counts as outbound (a virtual machine's interface)",
    }.get(seen.target, "")


def _outbound(seen: _Seen) -> str:
    owner = seen.owner()
    if seen.target == "RETURN" and seen.value("-s") in PASSTHROUGH:
        return (
            f"Envoy hands an inbound connection to the application from {seen.value('-s').partition('/')[0]}: "
            "it passes, or it would come round again"
        )
    if seen.target == "ISTIO_IN_REDIRECT" and owner is not None:
        return f"the proxy ({_who(owner)}) calls its own workload by a service address: handled as inbound"
    if seen.target == "ISTIO_OUTPUT_DNS":
        return "name lookups are looked at"
    if seen.target == "RETURN":
        return _left_alone(seen, owner)
    return _taken(seen) if seen.target == "ISTIO_REDIRECT" else ""


def _left_alone(seen: _Seen, owner: Match | None) -> str:
    """Why ISTIO_OUTPUT lets something go as it is."""
    to = seen.value("-d")
    if owner is not None:
        return _left_by_owner(seen, owner)
    if to:
        return "localhost is left alone" if to.startswith(LOOPBACK) else f"destinations in {to} are excluded"
    if not seen.given:
        return "nobody's connections are captured (no owner group is named)"
    return f"{seen.value('-p') or 'any protocol'} to port {seen.ports} is excluded" if seen.ports else ""


def _left_by_owner(seen: _Seen, owner: Match) -> str:
    if owner.negated and seen.value("-o") == "lo":
        return "the application talks to itself, by localhost or its own address: no proxy between"
    if owner.negated:
        return "only the groups named here are captured"
    if (owner.option, " ".join(owner.values)) in seen.proxies:
        return f"the proxy's own connections ({_who(owner)}) leave as they are"
    return f"connections of {_who(owner)} are excluded"


def _taken(seen: _Seen) -> str:
    if seen.ports:
        return f"port {seen.ports} is included: to Envoy wherever it leads"
    if seen.value("-d"):
        return f"destinations in {seen.value('-d')} are included: to Envoy"
    return "everything else goes to Envoy"


def _who(owner: Match) -> str:
    return f"{_OWNERS[owner.option]} {' '.join(owner.values)}"


def _inbound(seen: _Seen) -> str:
    port = seen.ports
    if seen.target == "RETURN":
        if "--mark" in seen.given:
            other = seen.given["--mark"].negated
            return "what processes here send to one another is left alone" if other else "what the proxy sent passes"
        if seen.value("-s") in PASSTHROUGH:
            return "Envoy hands an inbound connection to the application: it passes"
        return f"port {port} is left alone" + (f": {_SIDECAR_PORTS[port]}" if port in _SIDECAR_PORTS else "")
    what = f"port {port}" if port else "everything else that comes in"
    return {
        "ISTIO_IN_REDIRECT": f"{what} goes to Envoy",
        "ISTIO_TPROXY": f"{what} goes to Envoy, its addresses kept",
        "ISTIO_DIVERT": f"{'port ' + port if port else 'everything'} of a connection that Envoy has goes on to it",
        "CT": "answers to the sidecar's own lookups are tracked apart",
    }.get(seen.target, "")


def _dns(seen: _Seen) -> str:
    to = f" to {seen.value('-d').partition('/')[0]}" if seen.value("-d") else ""
    if seen.target == "REDIRECT":
        return f"name lookups{to} over {seen.value('-p').upper()} go to {_listener(_port(seen.rule))}"
    owner = seen.owner()
    if seen.target == "CT":
        of = f"the sidecar's own ({_who(owner)})" if owner else "the application's"
        return f"name lookups{to}, {of}, are tracked apart from the others"
    return ""


def _hands_over(seen: _Seen) -> str:
    kept = ", its addresses kept" if seen.target == "TPROXY" else ""
    return f"hands the connection to {_listener(_port(seen.rule))}{kept}" if seen.target in _HANDS else ""


def _divert(seen: _Seen) -> str:
    return "marks packets for the proxy's socket" if seen.target == "MARK" else "marked packets go on"


_HANDS = ("REDIRECT", "TPROXY")
_OF_CHAIN: dict[str, Callable[[_Seen], str]] = {
    "ISTIO_OUTPUT": _outbound,
    "ISTIO_INBOUND": _inbound,
    "ISTIO_OUTPUT_DNS": _dns,
    "ISTIO_REDIRECT": _hands_over,
    "ISTIO_IN_REDIRECT": _hands_over,
    "ISTIO_TPROXY": _hands_over,
    "ISTIO_DIVERT": _divert,
    "ISTIO_DROP": lambda _: "drops it",
}


def _port(rule: Rule) -> int:
    named = ("--to-ports", "--to-port", "--on-port")
    given = dict(zip(rule.options, rule.options[1:], strict=False))
    text = next((given[name] for name in named if name in given), "0").partition("-")[0]
    return int(text) if text.isdigit() else 0


def _listener(port: int) -> str:
    return f"port {port}, {LISTENERS[port]}" if port in LISTENERS else f"port {port}"


# Rules of others, and those of the mesh that stand in built-in chains


def _plainly(seen: _Seen) -> str:
    conditions = ", ".join(_conditions(seen.rule)) or "everything"
    return f"{conditions}: {_does(seen)}"


def _conditions(rule: Rule) -> Iterator[str]:
    for match in rule.matches:
        words = _CONDITION_WORDS.get(match.option)
        if match.option in ("-m", "--comment"):
            continue
        value = " ".join(match.values)
        if words is None:
            yield f"with {match}"
        else:
            yield f"{'not ' if match.negated else ''}{words} {value}".strip()


_CONDITION_WORDS = {
    "-p": "",
    "-s": "from",
    "-d": "to",
    "-i": "coming in by",
    "-o": "leaving by",
    "--dport": "to port",
    "--dports": "to ports",
    "--sport": "from port",
    "--sports": "from ports",
    "--mark": "marked",
    "--ctstate": "of connections",
    "--dst-type": "to an address that is",
    "--nfproto": "",
    **{option: f"of {kind}" for option, kind in _OWNERS.items()},
}


def _does(seen: _Seen) -> str:
    rule = seen.rule
    if seen.target in _HANDS:
        return _hands_over(seen)
    marks = " and ".join(_MARK_WORDS.get(each[0], each[0]) for each in (*rule.before, (seen.target,)) if each[0])
    known = {
        "RETURN": "left alone",
        "ACCEPT": "let pass",
        "DROP": "dropped",
        "REJECT": "refused",
        "DNAT": f"sent to {' '.join(rule.options[1:2])}",
        "": "counted" if not rule.before else marks,
    }
    if seen.target in _MARK_WORDS:
        return marks
    return known.get(seen.target) or (f"goes through {rule.target}" if not rule.options else f"-j {rule.target}")


_MARK_WORDS = {
    "MARK": "the packet's mark is set",
    "CONNMARK": "the mark is kept with the connection, or taken from it",
    "CT": "tracked apart",
    "NOTRACK": "not tracked",
    "LOG": "logged",
}


# Verdicts


def way(found: Walk) -> tuple[Visit, ...]:
    """The jumps that led to the deciding rule, in order, and the rule itself."""
    if found.deciding is None:
        return ()
    steps, wanted = [found.deciding], found.deciding
    for visit in reversed(found.visits[: found.visits.index(found.deciding)]):
        if visit.matched and visit.table == wanted.table and visit.rule.target == wanted.chain:
            steps.append(visit)
            wanted = visit
    return tuple(reversed(steps))


_CHOOSING = ("ISTIO_OUTPUT", "ISTIO_INBOUND", "ISTIO_OUTPUT_DNS")


def speaking(found: Walk) -> Visit | None:
    """The rule that a reader looks for: the last one of the way that chose, not one that only hands over."""
    steps = way(found)
    choosing = [each for each in steps if chain_role(each.chain) in _CHOOSING]
    return choosing[-1] if choosing else (steps[-1] if steps else None)


def outcome(found: Walk) -> str:
    """What becomes of the packet: ``goes to port 15001, Envoy's outbound listener``."""
    if found.verdict == "dnat":
        return f"goes to {found.to_address}" + (f" port {found.to_port}" if found.to_port else "")
    if found.verdict in ("redirect", "tproxy"):
        kept = " with its addresses kept" if found.verdict == "tproxy" else ""
        return f"goes to {_listener(found.to_port)}{kept}"
    return "is dropped" if found.verdict == "drop" else "goes where it was sent, by no proxy"


def reason(found: Walk, tables: tuple[Table, ...]) -> str:
    """Why, by the rule that speaks or by the lack of one."""
    said = speaking(found)
    if said is not None:
        table = next((each for each in tables if each.name == said.table), Table(said.table))
        return f"{said.place}: {purpose(said.rule, table)}"
    if found.verdict == "drop":
        return "no rule speaks, and the chain's policy drops"
    if not found.visits:
        return "there are no rules that it would meet"
    if found.packet is not None and found.packet.protocol != "tcp":
        return f"no rule takes {found.packet.protocol.upper()} to this port"
    return "no rule takes it: its destination and port are in none that is included"
