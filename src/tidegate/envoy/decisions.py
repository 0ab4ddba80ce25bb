"""What was decided about one host among the objects that speak of it: who won, who lost, and by which rule. Pure.

Nothing here is kept while configuration is made: it is worked out when somebody asks, by the same functions that
decided.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

from tidegate.api.networking import DestinationRule, Sidecar, VirtualService
from tidegate.api.objects import Object, Ref
from tidegate.envoy import matches, routes
from tidegate.envoy.contribution import Surroundings
from tidegate.envoy.resource import Decision
from tidegate.kit import hosts
from tidegate.registry.model import Port, Protocol, Registry, Service
from tidegate.scope import choice
from tidegate.scope.egress import EgressListener
from tidegate.scope.visibility import visible

MESH = Ref("ConfigMap", "istio-system", "istio")
"""Holds the mesh configuration, whose defaults stand in for an exportTo that is not written."""

OWN_NAMESPACE = "a definition in the client's own namespace before others"
KUBERNETES = "a Kubernetes Service before a ServiceEntry of the same host"
OLDEST = "the oldest wins"
SPECIFIC = "the more specific host wins"
NO_ROUTE = "none of its routes holds for this client and port"
SELECTED = "a workloadSelector that takes in the client before rules without one"
NOT_SELECTED = "its workloadSelector does not take in the client"
NAMESPACES = "the client's namespace before the service's, that before the root namespace"
UNIMPORTED = "the Sidecar does not import it"
HIDDEN = "exportTo hides it from namespace"
"""With which a rule begins."""
EVERYTHING = "every connection"
CLOSED = "an egress listener with a port of its own holds nothing but what it imports itself"

_TAKEN = frozenset({"listener", "domain", "inbound", "routes"})
"""First words of decisions in which the loser has lost something that its author counts on. Scopes and precedence
between namespaces are meant as they are written."""
_SERVER = "spec.servers["
"""With which a decision about a Gateway's server begins."""
_MEANT = (SPECIFIC, NO_ROUTE, UNIMPORTED)
"""Rules by which a VirtualService stands back as its author, or a Sidecar's, wrote it."""

Rule = Object[VirtualService]


def about(around: Surroundings, host: str) -> Iterator[Decision]:
    """Every choice among objects that concerns a host (lower case) for one kind of proxy."""
    sidecar = choice.sidecar(around.world, around.kind.namespace, around.kind.labels)
    found = [*_hidden_services(around, host), *_definitions(around, host), *_policies(around, host)]
    if not around.kind.router:  # what holds for gateways is told by their servers
        found += _unimported(around, host, sidecar)
        found += _closed_ports(around, host, sidecar)
        found += _hidden_rules(around, host)
        found += _routing(around, host, sidecar)
    yield from dict.fromkeys(found)


def losses(decision: Decision) -> Iterator[tuple[Ref, str]]:
    """Who lost something to another by a decision, and what, in words."""
    taken = decision.subject.partition(" ")[0] in _TAKEN or decision.subject.startswith(_SERVER)
    if not taken or decision.rule in _MEANT or decision.rule.startswith(HIDDEN):
        return
    for loser in decision.losers:
        if loser != decision.winner:
            yield loser, f"loses {decision.subject} to {decision.winner}: {decision.rule}"


def routing(around: Surroundings, host: str) -> Iterator[Decision]:
    """What VirtualServices of a host (lower case) take from one another, for one kind of sidecar."""
    if not around.kind.router:
        sidecar = choice.sidecar(around.world, around.kind.namespace, around.kind.labels)
        yield from dict.fromkeys(_routing(around, host, sidecar))


def _source(service: Service) -> Ref:
    return service.sources[0] if service.sources else Ref("Service", service.namespace, service.name or service.host)


def _grouped(subject: str, winner: Ref, lost: Iterable[tuple[str, Ref]], field: str = "") -> Iterator[Decision]:
    """One decision for each rule by which some lost."""
    by_rule: dict[str, list[Ref]] = {}
    for rule, loser in lost:
        by_rule.setdefault(rule, []).append(loser)
    for rule, losers in by_rule.items():
        yield Decision(subject, rule, winner, tuple(dict.fromkeys(losers)), field)


# Services


def _hidden_services(around: Surroundings, host: str) -> Iterator[Decision]:
    world, viewer = around.world, around.kind.namespace
    for key in world.by_host.get(host, ()):
        service = world.services[key]
        if visible(service.export_to, world.mesh.default_service_export_to, key.namespace, viewer):
            continue
        rule, source = f"{HIDDEN} {viewer}", _source(service)
        if service.export_capped:
            yield Decision(f"host {host}", rule, MESH, (source,), "data.mesh.serviceEntryVisibility")
        elif service.export_to is None:
            yield Decision(f"host {host}", rule, MESH, (source,), "data.mesh.defaultServiceExportTo")
        else:
            field = "spec.exportTo" if source.kind == "ServiceEntry" else "metadata.annotations"
            yield Decision(f"host {host}", rule, source, (source,), field)


def _unimported(around: Surroundings, host: str, sidecar: Object[Sidecar] | None) -> Iterator[Decision]:
    candidates = choice.service_candidates(around.world, around.kind, host)
    lost = [s for s in candidates if not any(e.imported(s.namespace, s.host) for e in around.egress)]
    if lost and sidecar is not None:
        losers = tuple(_source(s) for s in lost)
        yield Decision(f"host {host}", UNIMPORTED, sidecar.ref, losers, "spec.egress")


def _definitions(around: Surroundings, host: str) -> Iterator[Decision]:
    for listener in around.egress:
        chosen = choice.imported_service(around.world, around.kind, listener, host)
        if chosen and chosen[1]:
            winner, others = chosen
            lost = [(_preference(around, winner, other), _source(other)) for other in others]
            yield from _grouped(f"definition of {host}", _source(winner), lost)


def _preference(around: Surroundings, winner: Service, loser: Service) -> str:
    if (winner.namespace == around.kind.namespace) != (loser.namespace == around.kind.namespace):
        return OWN_NAMESPACE
    return KUBERNETES if winner.registry is not loser.registry and winner.registry is Registry.KUBERNETES else OLDEST


def _closed_ports(around: Surroundings, host: str, sidecar: Object[Sidecar] | None) -> Iterator[Decision]:
    """Ports of hosts of the catch-all that an egress listener of the same number takes."""
    ports = {e.port: e for e in around.egress if e.port}
    for listener in around.egress if sidecar is not None and ports else ():
        chosen = choice.imported_service(around.world, around.kind, listener, host) if listener.port is None else None
        for port in chosen[0].ports if chosen else ():
            owner = ports.get(port.number)
            if chosen and sidecar and owner and not owner.imported(chosen[0].namespace, chosen[0].host):
                subject, field = f"port {port.number} of {host}", f"spec.egress[{owner.index}]"
                yield Decision(subject, CLOSED, sidecar.ref, (_source(chosen[0]),), field)


# VirtualServices


def _hidden_rules(around: Surroundings, host: str) -> Iterator[Decision]:
    world, viewer = around.world, around.kind.namespace
    default = world.mesh.default_virtual_service_export_to
    for rule in world.virtual_services_for(host):
        if not (choice.covers_host(rule, host) and choice.mesh_bound(rule)):
            continue
        if not visible(rule.spec.export_to or None, default, rule.ref.namespace, viewer):
            yield _hidden(
                f"routes of {host}", rule.ref, bool(rule.spec.export_to), "defaultVirtualServiceExportTo", viewer
            )


def _hidden(subject: str, ref: Ref, written: bool, default: str, viewer: str) -> Decision:
    rule = f"{HIDDEN} {viewer}"
    if written:
        return Decision(subject, rule, ref, (ref,), "spec.exportTo")
    return Decision(subject, rule, MESH, (ref,), f"data.mesh.{default}")


def _routing(around: Surroundings, host: str, sidecar: Object[Sidecar] | None) -> Iterator[Decision]:
    seen = [
        rule
        for rule in around.world.virtual_services_for(host)
        if choice.covers_host(rule, host) and choice.sees_virtual_service(around.world, around.kind, rule)
    ]
    if not seen:
        return
    lost = {r.ref for r in seen}
    for listener in around.egress:
        rules = choice.virtual_services(around.world, around.kind, listener, host)
        lost -= {r.ref for r in rules}
        chosen = choice.imported_service(around.world, around.kind, listener, host)
        if chosen is not None:
            yield from _routes(around, listener, chosen[0], rules)
            yield from _opaque(around, chosen[0], rules)
    if lost and sidecar is not None:
        losers = tuple(sorted(lost))
        yield Decision(f"routes of {host}", UNIMPORTED, sidecar.ref, losers, "spec.egress")


def _routes(
    around: Surroundings, listener: EgressListener, service: Service, rules: Sequence[Rule]
) -> Iterator[Decision]:
    http = [r for r in rules if r.spec.http]
    for port in service.ports if http else ():
        if listener.port not in (None, 0, port.number) or not (port.protocol.is_http or port.protocol is Protocol.AUTO):
            continue
        number = port.number

        def holds(rule: Rule, number: int = number) -> bool:
            return routes.has_routes(rule, number, around.kind)

        winner = choice.http_rule(rules, service.host, holds)
        lost = [(_why_not(service.host, winner, r, holds), r.ref) for r in http if r is not winner]
        subject = f"routes of {service.host.lower()}:{number}"
        yield from _grouped(subject, winner.ref if winner is not None else _source(service), lost)


def _opaque(around: Surroundings, service: Service, rules: Sequence[Rule]) -> Iterator[Decision]:
    """TCP and TLS routes that no connection reaches, since an earlier VirtualService takes what they match."""
    for port in service.ports:
        if port.protocol.is_http or port.protocol is Protocol.UDP:
            continue
        taken: dict[object, Rule] = {}
        for rule in rules:
            what = _matched(around, rule, port)
            owner = next((taken[each] for each in (EVERYTHING, *what) if each in taken), None)
            if owner is not None and what and all(EVERYTHING in taken or each in taken for each in what):
                reason = OLDEST if _same_host(owner, rule, service.host) else SPECIFIC
                yield Decision(f"routes of {service.host.lower()}:{port.number}", reason, owner.ref, (rule.ref,))
            for each in what:
                taken.setdefault(each, rule)


def _matched(around: Surroundings, rule: Rule, port: Port) -> list[object]:
    """What a VirtualService's TLS or TCP routes match on a port for this client."""
    if port.protocol.is_tls:
        holding = [m for r in rule.spec.tls for m in r.match if matches.holds(m, port.number, around.kind)]
        return [(m.sni_hosts, m.destination_subnets) for m in holding]
    found: list[object] = []
    for route in rule.spec.tcp:
        held = [m for m in route.match if matches.holds(m, port.number, around.kind)]
        if not route.match or any(not m.destination_subnets for m in held):
            found.append(EVERYTHING)
        found += [m.destination_subnets for m in held if m.destination_subnets]
    return found


def _same_host(one: Rule, other: Rule, host: str) -> bool:
    return _nearest_host(one, host) == _nearest_host(other, host)


def _why_not(host: str, winner: Rule | None, loser: Rule, holds: Callable[[Rule], bool]) -> str:
    if winner is None or (_same_host(winner, loser, host) and not holds(loser)):
        return NO_ROUTE if not holds(loser) else SPECIFIC
    return OLDEST if _same_host(winner, loser, host) else SPECIFIC


def _nearest_host(rule: Rule, host: str) -> tuple[int, int]:
    return min(hosts.specificity(pattern) for pattern in rule.spec.hosts if hosts.covers(pattern, host))


# DestinationRules


def _policies(around: Surroundings, host: str) -> Iterator[Decision]:
    world, kind = around.world, around.kind
    chosen = choice.service_candidates(world, kind, host)
    owner = chosen[0].namespace if chosen else ""
    winner = choice.destination_rule_for(world, kind, host, owner)
    spaces = dict.fromkeys(filter(None, (kind.namespace, owner, world.mesh.root_namespace)))
    rules = [rule for namespace in spaces for rule in world.destination_rules_for(namespace, host)]
    candidates = list(choice.rule_candidates(world, kind, host, owner))
    open_to = {rule.ref for group in candidates for rule in group}
    default = world.mesh.default_destination_rule_export_to
    lost = []
    for rule in rules:
        if rule is winner:
            continue
        if rule.ref not in open_to and not visible(
            rule.spec.export_to or None, default, rule.ref.namespace, kind.namespace
        ):
            written = bool(rule.spec.export_to)
            yield _hidden(f"policy of {host}", rule.ref, written, "defaultDestinationRuleExportTo", kind.namespace)
        else:
            lost.append((_why_not_policy(around, winner, rule), rule.ref))
    if winner is not None:
        yield from _grouped(f"policy of {host}", winner.ref, lost)
    else:
        yield from (
            Decision(f"policy of {host}", NOT_SELECTED, ref, (ref,), "spec.workloadSelector") for _, ref in lost
        )


def _why_not_policy(
    around: Surroundings, winner: Object[DestinationRule] | None, loser: Object[DestinationRule]
) -> str:
    if winner is None or not choice.selects(loser, around.kind):
        return NOT_SELECTED
    if winner.ref.namespace != loser.ref.namespace:
        return NAMESPACES
    if winner.spec.host.lower() != loser.spec.host.lower():
        return SPECIFIC
    return SELECTED if winner.spec.workload_selector is not None else OLDEST
