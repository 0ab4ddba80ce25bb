"""The rules that capture a workload's traffic, in Istio's order (which is their meaning).

A rule is written here as iptables writes it and read by the one parser of :mod:`tidegate.rules.text`, so that this
file can be laid beside the output of iptables-save.
"""

from collections.abc import Iterator

from tidegate.rules.model import CHAIN_PREFIX, TABLE_ORDER, Family, Rule, RuleSet, Table
from tidegate.rules.options import ALL, CaptureOptions, Surroundings, check, includes_loopback, networks
from tidegate.rules.text import parse_rule

DNS_PORT = 15053
PASSTHROUGH_SOURCE = {"ipv4": "127.0.0.6/32", "ipv6": "::6/128"}
"""The source address Envoy gives the connections it passes in to the application."""

Line = tuple[str, str]
"""A table and a rule in iptables' words."""


def rule_set(options: CaptureOptions, surroundings: Surroundings, family: Family = "ipv4") -> RuleSet:
    """The rules that capture what the options say, for one address family.

    Empty for IPv6 when the surroundings have none. Raises InvalidCaptureOptionsError.
    """
    check(options)
    if family == "ipv6" and not surroundings.ipv6:
        return RuleSet(family)
    rules: dict[str, list[Rule]] = {}
    for table, line in _Writer(options, surroundings, family).lines():
        rules.setdefault(table, []).append(parse_rule(line))
    names = sorted(rules, key=TABLE_ORDER.index)
    return RuleSet(family, tuple(Table(name, _chains(rules[name]), tuple(rules[name])) for name in names))


def _chains(rules: list[Rule]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(rule.chain for rule in rules if rule.chain.startswith(CHAIN_PREFIX)))


class _Writer:
    """The lines for one family; each method is one group of rules of the same purpose."""

    def __init__(self, options: CaptureOptions, surroundings: Surroundings, family: Family) -> None:
        self.options = options
        self.family: Family = family
        self.loopback = options.ipv4_loopback_cidr if family == "ipv4" else "::1/128"
        self.passthrough = PASSTHROUGH_SOURCE[family]
        self.servers = surroundings.dns_servers(family)
        any_server = surroundings.dns_servers_v4 or surroundings.dns_servers_v6
        self.dns = options.redirect_dns and (options.capture_all_dns or bool(any_server))
        self.queries = ("",) if options.capture_all_dns else tuple(f"{server}" for server in self.servers)
        self.owners = [(f"--uid-owner {uid}", True) for uid in options.proxy_uid]
        self.owners += [(f"--gid-owner {gid}", False) for gid in options.proxy_gid]

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
                yield table, f"-A PREROUTING -i {nic} -j RETURN"
                yield table, f"-A OUTPUT -o {nic} -j RETURN"
        for nic in self.options.kube_virt_interfaces:
            yield "nat", f"-I PREROUTING 1 -i {nic} -j RETURN"

    def invalid(self) -> Iterator[Line]:
        if self.options.drop_invalid:
            yield "mangle", "-A PREROUTING -m conntrack --ctstate INVALID -j ISTIO_DROP"
            yield "mangle", "-A ISTIO_DROP -j DROP"

    def redirects(self) -> Iterator[Line]:
        yield "nat", f"-A ISTIO_INBOUND -p tcp --dport {self.options.inbound_tunnel_port} -j RETURN"
        yield "nat", f"-A ISTIO_REDIRECT -p tcp -j REDIRECT --to-ports {self.options.envoy_port}"
        yield "nat", f"-A ISTIO_IN_REDIRECT -p tcp -j REDIRECT --to-ports {self.options.inbound_capture_port}"

    def inbound(self) -> Iterator[Line]:
        if not self.options.inbound_ports:
            return
        table = "mangle" if self.options.tproxy else "nat"
        if self.options.tproxy:
            yield from self.tproxy_chains()
        yield table, "-A PREROUTING -p tcp -j ISTIO_INBOUND"
        if self.options.inbound_ports == ALL:
            for port in self.options.local_exclude_ports:
                yield table, f"-A ISTIO_INBOUND -p tcp --dport {port} -j RETURN"
            yield from self.captured_inbound("-p tcp")
        else:
            for port in self.options.inbound_ports:
                yield from self.captured_inbound(f"-p tcp --dport {port}")

    def captured_inbound(self, condition: str) -> Iterator[Line]:
        if self.options.tproxy:
            state = "-m conntrack --ctstate RELATED,ESTABLISHED"
            yield "mangle", f"-A ISTIO_INBOUND {condition} {state} -j ISTIO_DIVERT"
            yield "mangle", f"-A ISTIO_INBOUND {condition} -j ISTIO_TPROXY"
        else:
            yield "nat", f"-A ISTIO_INBOUND {condition} -j ISTIO_IN_REDIRECT"

    def tproxy_chains(self) -> Iterator[Line]:
        mark, port = self.options.inbound_tproxy_mark, self.options.inbound_capture_port
        yield "mangle", f"-A ISTIO_DIVERT -j MARK --set-mark {mark}"
        yield "mangle", "-A ISTIO_DIVERT -j ACCEPT"
        target = f"TPROXY --tproxy-mark {mark}/0xffffffff --on-port {port}"
        yield "mangle", f"-A ISTIO_TPROXY ! -d {self.loopback} -p tcp -j {target}"

    def outbound_exceptions(self) -> Iterator[Line]:
        yield "nat", "-A OUTPUT -j ISTIO_OUTPUT"
        for port in self.options.local_outbound_ports_exclude:
            for protocol in ("tcp", "udp"):
                yield "nat", f"-A ISTIO_OUTPUT -p {protocol} --dport {port} -j RETURN"
        yield "nat", f"-A ISTIO_OUTPUT -o lo -s {self.passthrough} -j RETURN"

    def proxy_itself(self) -> Iterator[Line]:
        tunnel = self.options.inbound_tunnel_port
        direct = "-o lo -p tcp ! --dport 53" if self.dns else "-o lo"
        for owner, is_user in self.owners:
            ports = f"-m multiport ! --dports 53,{tunnel}" if self.dns and is_user else f"! --dport {tunnel}"
            yield (
                "nat",
                (f"-A ISTIO_OUTPUT -o lo ! -d {self.loopback} -p tcp {ports} -m owner {owner} -j ISTIO_IN_REDIRECT"),
            )
            if not includes_loopback(self.options):
                yield "nat", f"-A ISTIO_OUTPUT {direct} -m owner ! {owner} -j RETURN"
            yield "nat", f"-A ISTIO_OUTPUT -m owner {owner} -j RETURN"

    def owner_groups(self) -> Iterator[Line]:
        if self.options.outbound_owner_groups == ALL:
            for group in self.options.outbound_owner_groups_exclude:
                yield "nat", f"-A ISTIO_OUTPUT -m owner --gid-owner {group} -j RETURN"
        elif self.options.outbound_owner_groups:
            others = " ".join(f"-m owner ! --gid-owner {group}" for group in self.options.outbound_owner_groups)
            yield "nat", f"-A ISTIO_OUTPUT {others} -j RETURN"

    def dns_queries(self) -> Iterator[Line]:
        if self.queries:
            yield "nat", "-A ISTIO_OUTPUT -j ISTIO_OUTPUT_DNS"
        for protocol, option in (("tcp", "--to-ports"), ("udp", "--to-port")):
            for server in self.queries:
                condition = f"-p {protocol} --dport 53{self.address('-d', server)}"
                yield "nat", f"-A ISTIO_OUTPUT_DNS {condition} -j REDIRECT {option} {DNS_PORT}"
        yield "raw", "-A OUTPUT -j ISTIO_OUTPUT_DNS"
        for owner, _ in self.owners:
            yield "raw", f"-A ISTIO_OUTPUT_DNS -p udp --dport 53 -m owner {owner} -j CT --zone 1"
            yield "raw", f"-A ISTIO_OUTPUT_DNS -p udp --sport {DNS_PORT} -m owner {owner} -j CT --zone 2"
        if self.queries:
            yield "raw", "-A PREROUTING -j ISTIO_INBOUND"
        for server in self.queries:
            yield "raw", f"-A ISTIO_OUTPUT_DNS -p udp --dport 53{self.address('-d', server)} -j CT --zone 2"
            yield "raw", f"-A ISTIO_INBOUND -p udp --sport 53{self.address('-s', server)} -j CT --zone 1"

    def address(self, option: str, server: str) -> str:
        return f" {option} {server}/{32 if self.family == 'ipv4' else 128}" if server else ""

    def destinations(self) -> Iterator[Line]:
        options = self.options
        yield "nat", f"-A ISTIO_OUTPUT -d {self.loopback} -j RETURN"
        for cidr in networks(options.service_exclude_cidr, self.family):
            yield "nat", f"-A ISTIO_OUTPUT -d {cidr} -j RETURN"
        for port in options.outbound_ports:
            yield "nat", f"-A ISTIO_OUTPUT -p tcp --dport {port} -j ISTIO_REDIRECT"
        if options.service_cidr == ALL:
            yield "nat", "-A ISTIO_OUTPUT -j ISTIO_REDIRECT"
            for nic in options.kube_virt_interfaces:
                yield "nat", f"-I PREROUTING 1 -i {nic} -j ISTIO_REDIRECT"
            return
        for cidr in networks(options.service_cidr, self.family):
            for nic in options.kube_virt_interfaces:
                yield "nat", f"-I PREROUTING 1 -i {nic} -d {cidr} -j ISTIO_REDIRECT"
            yield "nat", f"-A ISTIO_OUTPUT -d {cidr} -j ISTIO_REDIRECT"

    def tproxy_marks(self) -> Iterator[Line]:
        mark = self.options.inbound_tproxy_mark
        yield "mangle", f"-A PREROUTING -p tcp -m mark --mark {mark} -j CONNMARK --save-mark"
        yield "mangle", f"-A OUTPUT -p tcp -o lo -m mark --mark {mark} -j RETURN"
        for owner, _ in self.owners:
            condition = f"! -d {self.loopback} -p tcp -o lo -m owner {owner}"
            yield "mangle", f"-A OUTPUT {condition} -j MARK --set-mark {mark + 1}"
        yield "mangle", f"-A OUTPUT -p tcp -m connmark --mark {mark} -j CONNMARK --restore-mark"
        yield "mangle", f"-I ISTIO_INBOUND 1 -p tcp -m mark --mark {mark} -j RETURN"
        yield "mangle", f"-I ISTIO_INBOUND 2 -p tcp -s {self.passthrough} -i lo -j RETURN"
        yield "mangle", f"-I ISTIO_INBOUND 3 -p tcp -i lo -m mark ! --mark {mark + 1} -j RETURN"
