"""Which Gateway took a connection at a gateway's proxy, and which object keeps it from being routed there."""

from collections.abc import Iterable, Iterator

from tidegate.answer.absence import Absence
from tidegate.answer.case import Case, authority, targets_of
from tidegate.api.networking import Gateway, Server, ServerTLSSettingsMode, VirtualService
from tidegate.api.objects import Object, Ref
from tidegate.kit import hosts
from tidegate.registry.model import Service

_UNOPENED = (ServerTLSSettingsMode.PASSTHROUGH, ServerTLSSettingsMode.AUTO_PASSTHROUGH)
_MOST = 3
"""Objects of a kind that are told."""


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


def unbound(case: Case) -> Iterator[Absence]:
    """What lacks between the Gateways of this proxy and the rules for the host, where a gateway has no route for it."""
    if case.connection.direction != "gateway":
        return
    name = authority(case).partition(":")[0].lower()
    serving = list({gateway.ref: gateway for gateway, _ in _serving(case)}.values())
    rules = list(_rules(case, name))
    if not serving:
        yield from _unlisted(case, name)
        return
    for gateway in serving[:_MOST]:
        if not rules:
            yield Absence(gateway.ref, "", f"serves {name}, and no VirtualService binds {name} to it", strong=False)
    for rule in rules[:_MOST]:
        yield from _missed(case, name, serving, rule)


def _missed(case: Case, name: str, serving: list[Object[Gateway]], rule: Object[VirtualService]) -> Iterator[Absence]:
    """Why a rule for the host gives the Gateways that serve it no route."""
    if not any(_names(gateway) in rule.spec.gateways for gateway in serving):
        bound = ", ".join(rule.spec.gateways) or "mesh"
        words = f"routes {name} for {bound} and not for {serving[0].ref}, which takes it here"
        yield Absence(rule.ref, "spec.gateways", words, strong=False)
    elif not any(_admits(gateway, server, rule) for gateway, server in _serving(case)):
        words = f"takes no rules of namespace {rule.ref.namespace} for {name}: {rule.ref} is left out"
        yield Absence(serving[0].ref, "spec.servers", words, strong=False)
    else:
        yield from _of_other_layer(case, rule)


def _of_other_layer(case: Case, rule: Object[VirtualService]) -> Iterator[Absence]:
    """A server that hands on TLS unopened takes tls routes, one that hands on bytes tcp routes, and neither others."""
    for gateway, server in _serving(case):
        if _names(gateway) not in rule.spec.gateways or server.port is None:
            continue
        unopened = server.tls is not None and server.tls.mode in _UNOPENED
        wanted, having = ("tls", rule.spec.tls) if unopened else ("tcp", rule.spec.tcp)
        if (unopened or server.port.protocol.upper() in ("TCP", "TLS")) and not having:
            how = "unopened" if unopened else "as bytes"
            words = f"has no {wanted} routes, and {gateway.ref} hands on {server.port.protocol} {how} there"
            yield Absence(rule.ref, "spec", words, strong=False)


def _unlisted(case: Case, name: str) -> Iterator[Absence]:
    """Gateways that serve the host or the port, and not both at this proxy."""
    listed: dict[Ref, list[str]] = {}
    for gateway, server in _listening(case):
        listed.setdefault(gateway.ref, []).extend(server.hosts)
    for ref, found in list(listed.items())[:_MOST]:
        yield Absence(ref, "spec.servers", f"lists {', '.join(found)} on the port, and not {name}", strong=False)
    mine = {gateway.ref for gateway in _selected(case)}
    named = [g for g in _gateways(case) if any(_lists(server, name) for server in g.spec.servers)]
    for gateway in named[:_MOST]:
        if gateway.ref not in mine:
            asked = ", ".join(f"{key}={value}" for key, value in gateway.spec.selector.items())
            yield Absence(gateway.ref, "spec.selector", f"is for proxies with {asked}, unlike this one", strong=False)
        else:
            ports = ", ".join(sorted({str(s.port.number) for s in gateway.spec.servers if s.port is not None}))
            words = f"serves {name} on port {ports}; the connection comes to port {case.connection.port}"
            yield Absence(gateway.ref, "spec.servers", words, strong=False)


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
    """Of those the ones that list the host asked for; of TLS the one that takes the server name."""
    name = _server_name(case)
    found = [(gateway, server) for gateway, server in _listening(case) if _lists(server, name)]
    if case.connection.tls is None or not found:
        yield from found
        return
    nearest = max(_nearness(server, name) for _, server in found)
    yield next((gateway, server) for gateway, server in found if _nearness(server, name) == nearest)


def _nearness(server: Server, name: str) -> tuple[bool, int]:
    """How closely the nearest of a server's hosts names a server name: Envoy takes the exact one before wildcards,
    of those the longest, and each belongs to one Gateway alone, the oldest."""
    fits = [host for each in server.hosts if hosts.covers(host := each.rpartition("/")[2], name)]
    return max((not host.startswith("*"), len(host)) for host in fits)


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
