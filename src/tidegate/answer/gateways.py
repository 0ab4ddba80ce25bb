"""Which Gateway took a connection at a gateway's proxy, and which object keeps it from being routed there."""

from collections.abc import Iterable, Iterator

from tidegate.answer.case import Case, authority, targets_of
from tidegate.api.networking import Gateway, Server, VirtualService
from tidegate.api.objects import Object, Ref
from tidegate.kit import hosts
from tidegate.registry.model import Service


def gateway_of(case: Case) -> Ref | None:
    """The Gateway whose server takes the connection, by the server name or else by the host asked for; without one, the
    Gateway that has the port."""
    if case.connection.direction != "gateway":
        return None
    return next((gateway.ref for gateway, _ in _serving(case)), None) or next(
        (gateway.ref for gateway, _ in _listening(case)), None
    )


def rule_for(case: Case) -> Ref | None:
    """The VirtualService that routes TLS or bytes for the server name, where nothing else tells it."""
    if case.connection.direction != "gateway":
        return None
    taking = {_names(gateway) for gateway, _ in _serving(case)}
    for rule in _rules(case, _server_name(case)):
        if (rule.spec.tls or rule.spec.tcp) and taking & set(rule.spec.gateways):
            return rule.ref
    return None


def unrouted_by(case: Case) -> Ref | None:
    """Who keeps the connection or request from being routed: the rule that is bound to nothing that listens, the
    Gateway that does not list the host, or whose selector means other proxies."""
    serving = [gateway for gateway, _ in _serving(case)]
    rules = list(_rules(case, authority(case).partition(":")[0].lower()))
    for rule in rules:
        if any(_names(gateway) in rule.spec.gateways for gateway in serving):
            admitted = any(_admits(gateway, server, rule) for gateway, server in _serving(case))
            return rule.ref if admitted else serving[0].ref
    if serving and (not rules or any(_elsewhere(case, rule) for rule in rules)):
        return serving[0].ref
    for rule in rules:
        if (bound := _bound(case, rule)) is not None:
            return bound
    return rules[0].ref if rules else gateway_of(case) or _naming(case)


def returns(case: Case, service: Service) -> bool:
    """Whether a gateway sends on to a service that it serves itself: a loop."""
    workload = case.world.workloads.get(case.proxy.workload) if case.proxy.workload is not None else None
    if case.connection.direction != "gateway" or workload is None:
        return False
    return any(target.service.key == service.key for target in case.world.targets(workload))


def _bound(case: Case, rule: Object[VirtualService]) -> Ref | None:
    """The Gateway that a rule is bound to, and that does not bring it to this proxy."""
    return next((gateway.ref for gateway in _gateways(case) if _names(gateway) in rule.spec.gateways), None)


def _elsewhere(case: Case, rule: Object[VirtualService]) -> bool:
    """Whether a rule is bound to a Gateway of this proxy that serves its host, and that did not take the connection."""
    name = authority(case).partition(":")[0].lower()
    for gateway in _selected(case):
        if _names(gateway) in rule.spec.gateways and any(_lists(server, name) for server in gateway.spec.servers):
            return True
    return False


def _naming(case: Case) -> Ref | None:
    """A Gateway that lists the host, whichever proxies it means."""
    name = authority(case).partition(":")[0].lower()
    return next((g.ref for g in _gateways(case) if any(_lists(server, name) for server in g.spec.servers)), None)


def _rules(case: Case, name: str) -> Iterator[Object[VirtualService]]:
    """VirtualServices for a host, whatever they are bound to."""
    for rule in case.world.virtual_services_for(name):
        if any(hosts.covers(pattern, name) for pattern in rule.spec.hosts):
            yield rule


def _gateways(case: Case) -> Iterable[Object[Gateway]]:
    found = [each for _, group in case.world.policies("Gateway").items() for each in group]
    return sorted(found, key=lambda each: each.age_key)


def _selected(case: Case) -> Iterator[Object[Gateway]]:
    """Gateways that mean this proxy, the oldest first."""
    mine = dict(case.proxy.labels)
    for gateway in _gateways(case):
        if gateway.spec.selector.items() <= mine.items():
            yield gateway


def _listening(case: Case) -> Iterator[tuple[Object[Gateway], Server]]:
    """Servers of this proxy on the port: the proxy's own, or the one of its Service that leads there."""
    ports = {case.connection.port, *(target.port.number for target in targets_of(case))}
    for gateway in _selected(case):
        for server in gateway.spec.servers:
            if server.port is not None and server.port.number in ports:
                yield gateway, server


def _serving(case: Case) -> Iterator[tuple[Object[Gateway], Server]]:
    """Of those the ones that list the server name, or the host asked for."""
    name = _server_name(case)
    return ((gateway, server) for gateway, server in _listening(case) if _lists(server, name))


def _server_name(case: Case) -> str:
    hello = case.connection.tls
    return (hello.sni if hello is not None and hello.sni else authority(case)).partition(":")[0].lower()


def _lists(server: Server, name: str) -> bool:
    """Hosts of a server, each with or without a namespace before it."""
    return any(hosts.covers(each.rpartition("/")[2], name) for each in server.hosts)


def _admits(gateway: Object[Gateway], server: Server, rule: Object[VirtualService]) -> bool:
    """Whether a server's hosts take in rules of the rule's namespace."""
    scopes = {_scope(each) for each in server.hosts}
    return bool(scopes & {"", "*", rule.ref.namespace}) or (
        "." in scopes and rule.ref.namespace == gateway.ref.namespace
    )


def _scope(host: str) -> str:
    return host.rpartition("/")[0]


def _names(gateway: Object[Gateway]) -> str:
    """As VirtualServices name it."""
    return f"{gateway.ref.namespace}/{gateway.ref.name}"
