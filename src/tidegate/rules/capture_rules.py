"""The rules that capture a workload's traffic, in Istio's order (which is their meaning).

A rule is written here as iptables writes it and read by the one parser of :mod:`tidegate.rules.text`, so that this
file can be laid beside the output of iptables-save. Both backends are made of it: iptables takes the rules of one
family (:func:`rule_set`), nftables those of all (:func:`tidegate.rules.native.native_tables`).
"""

from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from tidegate.rules.model import CHAIN_PREFIX, TABLE_ORDER, Family, Rule, RuleSet, Table
from tidegate.rules.options import ALL, CaptureOptions, Surroundings, check, includes_loopback, networks
from tidegate.rules.text import parse_rule

DNS_PORT = 15053
PASSTHROUGH_SOURCE: dict[Family, str] = {"ipv4": "127.0.0.6/32", "ipv6": "::6/128"}
"""The source address Envoy gives the connections it passes in to the application."""
OUTBOUND_MARK = 1338
"""Of what the proxy sends to its own workload; fixed, whichever mark captured packets have."""


class Line(NamedTuple):
    """A table and a rule in iptables' words."""

    table: str
    text: str
    family: Family | None = None
    """Which family the rule is for; None: every one."""


class Placed(msgspec.Struct, frozen=True):
    """A rule, its table, and the family that it is for; None: every one."""

    table: str
    rule: Rule
    family: Family | None = None


def placed_rules(options: CaptureOptions, surroundings: Surroundings) -> tuple[Placed, ...]:
    """The rules that capture what the options say, of all families in use, in the order in which they are written.

    Raises InvalidCaptureOptionsError.
    """
    check(options)
    lines = _Writer(options, surroundings).lines()
    return tuple(Placed(line.table, parse_rule(line.text), line.family) for line in lines)


def rule_set(options: CaptureOptions, surroundings: Surroundings, family: Family = "ipv4") -> RuleSet:
    """The rules that capture what the options say, for one address family.

    Empty for IPv6 when the surroundings have none. Raises InvalidCaptureOptionsError.
    """
    placed = placed_rules(options, surroundings)
    if family == "ipv6" and not surroundings.ipv6:
        return RuleSet(family)
    rules: dict[str, list[Rule]] = {}
    for each in placed:
        if each.family in (None, family):
            rules.setdefault(each.table, []).append(each.rule)
    names = sorted(rules, key=TABLE_ORDER.index)
    return RuleSet(family, tuple(Table(name, _chains(rules[name]), tuple(rules[name])) for name in names))


def captures_dns(options: CaptureOptions, surroundings: Surroundings) -> bool:
    """Whether queries are redirected: asked for, and it is known which."""
    known = surroundings.dns_servers_v4 or surroundings.dns_servers_v6
    return options.redirect_dns and (options.capture_all_dns or bool(known))


def _chains(rules: list[Rule]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(rule.chain for rule in rules if rule.chain.startswith(CHAIN_PREFIX)))


class _Writer:
    """The lines of all families in use; each method is one group of rules of the same purpose."""

    def __init__(self, options: CaptureOptions, surroundings: Surroundings) -> None:
        self.options = options
        self.families: tuple[Family, ...] = ("ipv4", "ipv6") if surroundings.ipv6 else ("ipv4",)
        self.loopback: dict[Family, str] = {"ipv4": options.ipv4_loopback_cidr, "ipv6": "::1/128"}
        self.dns = captures_dns(options, surroundings)
        self.queries: list[tuple[Family | None, str]] = [(None, "")]
        if not options.capture_all_dns:
            self.queries = [(family, server) for family in self.families for server in surroundings.dns_servers(family)]
        self.owners = [(f"--uid-owner {uid}", True) for uid in options.proxy_uid]
        self.owners += [(f"--gid-owner {gid}", False) for gid in options.proxy_gid]

    def each(self, table: str, line: str) -> Iterator[Line]:
        """A line that names an address of its family as LOOPBACK or PASSTHROUGH, once for each family."""
        for family in self.families:
            text = line.replace("LOOPBACK", self.loopback[family]).replace("PASSTHROUGH", PASSTHROUGH_SOURCE[family])
            yield Line(table, text, family)

    def asked(self) -> list[Family | None]:
        """The families that have name servers; one None when all have."""
        found: list[Family | None] = list(dict.fromkeys(family for family, _ in self.queries))
        return [None] if len(found) == len(self.families) else found

    def lines(self) -> Iterator[Line]:
        yield from self.interfaces()
        yield from self.invalid()
        yield from self.redirects()
        yield from self.inbound()
        yield from self.outbound_exceptions()
        yield from self.proxy_itself()
        yield from self.owner_groups()
        if self.dns:
            yield from self.dns_queries()
        yield from self.destinations()
        if self.options.tproxy:
            yield from self.tproxy_marks()

    def interfaces(self) -> Iterator[Line]:
        for nic in self.options.exclude_interfaces:
            for table in ("nat", *(("mangle",) if self.options.tproxy else ())):
                yield Line(table, f"-A PREROUTING -i {nic} -j RETURN")
                yield Line(table, f"-A OUTPUT -o {nic} -j RETURN")
        for nic in self.options.kube_virt_interfaces:
            yield Line("nat", f"-I PREROUTING 1 -i {nic} -j RETURN")

    def invalid(self) -> Iterator[Line]:
        if self.options.drop_invalid:
            yield Line("mangle", "-A PREROUTING -m conntrack --ctstate INVALID -j ISTIO_DROP")
            yield Line("mangle", "-A ISTIO_DROP -j DROP")

    def redirects(self) -> Iterator[Line]:
        yield Line("nat", f"-A ISTIO_INBOUND -p tcp --dport {self.options.inbound_tunnel_port} -j RETURN")
        yield Line("nat", f"-A ISTIO_REDIRECT -p tcp -j REDIRECT --to-ports {self.options.envoy_port}")
        yield Line("nat", f"-A ISTIO_IN_REDIRECT -p tcp -j REDIRECT --to-ports {self.options.inbound_capture_port}")

    def inbound(self) -> Iterator[Line]:
        if not self.options.inbound_ports:
            return
        table = "mangle" if self.options.tproxy else "nat"
        if self.options.tproxy:
            yield from self.tproxy_chains()
        yield Line(table, "-A PREROUTING -p tcp -j ISTIO_INBOUND")
        if self.options.inbound_ports == ALL:
            for port in self.options.local_exclude_ports:
                yield Line(table, f"-A ISTIO_INBOUND -p tcp --dport {port} -j RETURN")
            yield from self.captured_inbound("-p tcp")
        else:
            for port in self.options.inbound_ports:
                yield from self.captured_inbound(f"-p tcp --dport {port}")

    def captured_inbound(self, condition: str) -> Iterator[Line]:
        if self.options.tproxy:
            state = "-m conntrack --ctstate RELATED,ESTABLISHED"
            yield Line("mangle", f"-A ISTIO_INBOUND {condition} {state} -j ISTIO_DIVERT")
            yield Line("mangle", f"-A ISTIO_INBOUND {condition} -j ISTIO_TPROXY")
        else:
            yield Line("nat", f"-A ISTIO_INBOUND {condition} -j ISTIO_IN_REDIRECT")

    def tproxy_chains(self) -> Iterator[Line]:
        mark, port = self.options.inbound_tproxy_mark, self.options.inbound_capture_port
        yield Line("mangle", f"-A ISTIO_DIVERT -j MARK --set-mark {mark}")
        yield Line("mangle", "-A ISTIO_DIVERT -j ACCEPT")
        target = f"TPROXY --tproxy-mark {mark}/0xffffffff --on-port {port}"
        yield from self.each("mangle", f"-A ISTIO_TPROXY ! -d LOOPBACK -p tcp -j {target}")

    def outbound_exceptions(self) -> Iterator[Line]:
        yield Line("nat", "-A OUTPUT -j ISTIO_OUTPUT")
        for port in self.options.local_outbound_ports_exclude:
            for protocol in ("tcp", "udp"):
                yield Line("nat", f"-A ISTIO_OUTPUT -p {protocol} --dport {port} -j RETURN")
        yield from self.each("nat", "-A ISTIO_OUTPUT -o lo -s PASSTHROUGH -j RETURN")

    def proxy_itself(self) -> Iterator[Line]:
        tunnel = self.options.inbound_tunnel_port
        direct = "-o lo -p tcp ! --dport 53" if self.dns else "-o lo"
        for owner, is_user in self.owners:
            ports = f"-m multiport ! --dports 53,{tunnel}" if self.dns and is_user else f"! --dport {tunnel}"
            self_call = f"-o lo ! -d LOOPBACK -p tcp {ports} -m owner {owner}"
            yield from self.each("nat", f"-A ISTIO_OUTPUT {self_call} -j ISTIO_IN_REDIRECT")
            if not includes_loopback(self.options):
                yield Line("nat", f"-A ISTIO_OUTPUT {direct} -m owner ! {owner} -j RETURN")
            yield Line("nat", f"-A ISTIO_OUTPUT -m owner {owner} -j RETURN")

    def owner_groups(self) -> Iterator[Line]:
        if self.options.outbound_owner_groups == ALL:
            for group in self.options.outbound_owner_groups_exclude:
                yield Line("nat", f"-A ISTIO_OUTPUT -m owner --gid-owner {group} -j RETURN")
        else:  # no group named: nobody's connections are captured
            others = "".join(f"-m owner ! --gid-owner {group} " for group in self.options.outbound_owner_groups)
            yield Line("nat", f"-A ISTIO_OUTPUT {others}-j RETURN")

    def dns_queries(self) -> Iterator[Line]:
        if self.queries:
            for asked in self.asked():
                yield Line("nat", "-A ISTIO_OUTPUT -j ISTIO_OUTPUT_DNS", asked)
        for protocol, option in (("tcp", "--to-ports"), ("udp", "--to-port")):
            for family, server in self.queries:
                condition = f"-p {protocol} --dport 53{_address('-d', family, server)}"
                yield Line("nat", f"-A ISTIO_OUTPUT_DNS {condition} -j REDIRECT {option} {DNS_PORT}", family)
        yield from self.dns_zones()

    def dns_zones(self) -> Iterator[Line]:
        """Conntrack zones that keep the application's queries and the agent's own apart."""
        yield Line("raw", "-A OUTPUT -j ISTIO_OUTPUT_DNS")
        for owner, _ in self.owners:
            yield Line("raw", f"-A ISTIO_OUTPUT_DNS -p udp --dport 53 -m owner {owner} -j CT --zone 1")
            yield Line("raw", f"-A ISTIO_OUTPUT_DNS -p udp --sport {DNS_PORT} -m owner {owner} -j CT --zone 2")
        if self.queries:
            for asked in self.asked():
                yield Line("raw", "-A PREROUTING -j ISTIO_INBOUND", asked)
        for family, server in self.queries:
            to, back = _address("-d", family, server), _address("-s", family, server)
            yield Line("raw", f"-A ISTIO_OUTPUT_DNS -p udp --dport 53{to} -j CT --zone 2", family)
            yield Line("raw", f"-A ISTIO_INBOUND -p udp --sport 53{back} -j CT --zone 1", family)

    def destinations(self) -> Iterator[Line]:
        options = self.options
        yield from self.each("nat", "-A ISTIO_OUTPUT -d LOOPBACK -j RETURN")
        for family in self.families:
            for cidr in networks(options.service_exclude_cidr, family):
                yield Line("nat", f"-A ISTIO_OUTPUT -d {cidr} -j RETURN", family)
        for port in options.outbound_ports:
            yield Line("nat", f"-A ISTIO_OUTPUT -p tcp --dport {port} -j ISTIO_REDIRECT")
        if options.service_cidr == ALL:
            yield Line("nat", "-A ISTIO_OUTPUT -j ISTIO_REDIRECT")
            for nic in options.kube_virt_interfaces:
                yield Line("nat", f"-I PREROUTING 1 -i {nic} -j ISTIO_REDIRECT")
            return
        for family in self.families:
            for cidr in networks(options.service_cidr, family):
                for nic in options.kube_virt_interfaces:
                    yield Line("nat", f"-I PREROUTING 1 -i {nic} -d {cidr} -j ISTIO_REDIRECT", family)
                yield Line("nat", f"-A ISTIO_OUTPUT -d {cidr} -j ISTIO_REDIRECT", family)

    def tproxy_marks(self) -> Iterator[Line]:
        mark = self.options.inbound_tproxy_mark
        yield Line("mangle", f"-A PREROUTING -p tcp -m mark --mark {mark} -j CONNMARK --save-mark")
        yield Line("mangle", f"-A OUTPUT -p tcp -o lo -m mark --mark {mark} -j RETURN")
        for owner, _ in self.owners:
            condition = f"! -d LOOPBACK -p tcp -o lo -m owner {owner}"
            yield from self.each("mangle", f"-A OUTPUT {condition} -j MARK --set-mark {OUTBOUND_MARK}")
        yield Line("mangle", f"-A OUTPUT -p tcp -m connmark --mark {mark} -j CONNMARK --restore-mark")
        yield Line("mangle", f"-I ISTIO_INBOUND 1 -p tcp -m mark --mark {mark} -j RETURN")
        yield from self.each("mangle", "-I ISTIO_INBOUND 2 -p tcp -s PASSTHROUGH -i lo -j RETURN")
        yield Line("mangle", f"-I ISTIO_INBOUND 3 -p tcp -i lo -m mark ! --mark {OUTBOUND_MARK} -j RETURN")


def _address(option: str, family: Family | None, server: str) -> str:
    return f" {option} {server}/{32 if family == 'ipv4' else 128}" if server else ""
