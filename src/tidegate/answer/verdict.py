"""In which class of outcome a connection ends, and which object decides it.

The classes are those that operators use when they report an incident; what Envoy does is one thing, whether it is what
the caller meant is another, and only the second has a name such as "captured by another service".
"""

import enum
import ipaddress
from collections.abc import Iterator
from typing import Any

import msgspec

from tidegate.answer.absence import PORTS, Absence, LeftOut, absences
from tidegate.answer.intent import Intent, declares, holds
from tidegate.answer.provenance import config_of, last, policy_of, services_of
from tidegate.api.networking import DestinationRule
from tidegate.api.objects import Object, Ref
from tidegate.api.security import Action, MutualTLSMode
from tidegate.explain.connection import Connection
from tidegate.explain.trace import End, Step, Trace
from tidegate.kit import hosts, naming
from tidegate.registry.addresses import is_ip
from tidegate.registry.model import Registry, Resolution, Service, ServiceKey, ServiceTarget
from tidegate.scope import choice
from tidegate.scope.authentication import TLS_ISTIO, peer_modes
from tidegate.scope.policies import holding
from tidegate.scope.proxy import Proxy
from tidegate.scope.visibility import visible
from tidegate.snapshot.world import World


class Outcome(enum.StrEnum):
    REACHES = "reaches"
    PASSTHROUGH = "passthrough"
    BLACKHOLE = "blackhole"
    DIRECT_RESPONSE = "direct_response"
    NO_ROUTE = "no_route"
    NO_CLUSTER = "no_cluster"
    NO_ENDPOINTS = "no_endpoints"
    CAPTURED_BY_OTHER = "captured_by_other"
    WRONG_ENDPOINTS = "wrong_endpoints"
    TLS_MISMATCH = "tls_mismatch"
    HANGS = "hangs"
    PROTOCOL_ERROR = "protocol_error"
    REJECTED_BY_POLICY = "rejected_by_policy"
    UPSTREAM_UNREACHABLE = "upstream_unreachable"
    NO_FAILOVER = "no_failover"
    NOT_INTERCEPTED = "not_intercepted"
    NAME_NOT_RESOLVED = "name_not_resolved"
    UNKNOWN = "unknown"


POLICY = Ref("MeshConfig", "", "outboundTrafficPolicy")
PERMISSIVE = Ref("Default", "", "mtls-permissive")
LOCALITY = Ref("MeshConfig", "", "localityLbSetting")

_UNROUTABLE = ipaddress.ip_network("240.0.0.0/4")
"""Reserved (RFC 1112): no host answers there. Addresses that a mesh allocates for names lie in it."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The answer in one line, and what it hangs on."""

    outcome: Outcome
    words: str
    deciding: Ref
    field: str = ""
    reasons: tuple[Absence, ...] = ()
    """Why the meant service did not answer, where it did not."""


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """A connection, what its proxy does with it, and the world that it happens in."""

    world: World
    proxy: Proxy
    connection: Connection
    intent: Intent
    trace: Trace
    left_out: tuple[LeftOut, ...] = ()

    @property
    def end(self) -> End:
        return self.trace.end


def verdict(case: Case) -> Verdict:
    """Class and deciding object of the likeliest end."""
    kind = case.end.kind
    if kind == "forwarded":
        return _forwarded(case)
    if kind == "no_listener" and case.connection.direction == "gateway":
        return _unrouted(case)
    if kind in ("closed", "no_endpoints", "no_listener"):
        return _closed(case)
    if kind in ("direct_response", "redirect"):
        return _answered(case)
    if kind == "no_cluster":
        return _no_cluster(case)
    if kind in ("no_route", "no_virtual_host", "no_filter_chain"):
        return _unrouted(case)
    if kind == "waits":
        return _said(case, Outcome.HANGS, "both sides wait: no protocol is ever detected", _detector(case))
    if kind == "denied":
        return _denied(case)
    outcome = {
        "protocol_error": Outcome.PROTOCOL_ERROR,
        "tls_error": Outcome.TLS_MISMATCH,
    }.get(kind, Outcome.UNKNOWN)
    return _said(case, outcome, case.end.why, _rule(case) or _owner(case) or _receiver(case))


def _said(case: Case, outcome: Outcome, words: str, deciding: Ref, field: str = "") -> Verdict:
    return Verdict(outcome=outcome, words=words, deciding=deciding, field=field, reasons=_reasons(case))


# Forwarded


def _forwarded(case: Case) -> Verdict:
    end, service = case.end, _service(case)
    if service is None and not _cluster_services(case):
        return _forwarded_unmanaged(case)
    if end.cluster_type == "STATIC" and not end.endpoints:
        return _closed(case)
    name, owner = end.cluster, _rule(case) or _owner(case) or _policy(case)
    if (fault := _tls_fault(case, service)) is not None:
        return _said(case, Outcome.TLS_MISMATCH, *fault)
    if case.connection.direction == "outbound" and not _meant(case, service):
        taker = _owner(case) or owner
        words = f"goes to {name} of {taker}, which is not meant by {case.intent.to}"
        return _said(case, Outcome.CAPTURED_BY_OTHER, words, taker)
    if service is not None and _foreign(case, service):
        words = f"goes to the endpoints that {_owner(case)} of another namespace gives {service.host}"
        return _said(case, Outcome.CAPTURED_BY_OTHER, words, _owner(case) or owner)
    if end.endpoints and all(_unroutable(e.address) for e in end.endpoints):
        return _said(case, Outcome.UPSTREAM_UNREACHABLE, f"no host answers at {end.endpoints[0].address}", owner)
    if service is not None and (locality := _stuck_locality(case, service)) is not None:
        words = "endpoints elsewhere are never used: failover needs outlierDetection"
        return _said(case, Outcome.NO_FAILOVER, words, locality)
    return _said(case, Outcome.REACHES, f"reaches {name}", owner)


def _forwarded_unmanaged(case: Case) -> Verdict:
    """To the dialled address, by a cluster that stands for no service."""
    end = case.end
    rule = _rule(case)
    if end.cluster_type != "ORIGINAL_DST":
        return _said(case, Outcome.REACHES, f"reaches {end.cluster}", rule or _policy(case))
    deciding, field = _blamed(case)
    if _nobody_there(case):
        words = f"passes through to {case.connection.ip}, an address that only the mesh gives out: no host has it"
        return _said(case, Outcome.UPSTREAM_UNREACHABLE, words, deciding, field)
    words = f"passes through, unmanaged, to {case.connection.ip}:{case.connection.port}"
    return _said(case, Outcome.PASSTHROUGH, words, rule or deciding, field)


def _nobody_there(case: Case) -> bool:
    given = case.connection.ip
    allocated = {a for s in case.intent.services for a in s.auto_addresses}
    return bool(given) and (given in allocated or _unroutable(given))


def _unroutable(address: str) -> bool:
    """Of an address, with or without a port."""
    host = (address if is_ip(address) else address.rpartition(":")[0]).strip("[]")
    return is_ip(host) and ipaddress.ip_address(host) in _UNROUTABLE


def _meant(case: Case, service: Service | None) -> bool:
    """Whether the service is what the caller asked for, by name or by address, or a rule for that sends it there."""
    intent = case.intent
    if service is None or service.host.lower() in intent.hosts | _aliased(intent):
        return True
    if declares(service, intent.to, case.world.domain):
        return True
    if is_ip(intent.to) and holds((*service.addresses, *service.auto_addresses), intent.to):
        return True
    return (rule := _rule(case)) is not None and _speaks_for(case, rule)


def _aliased(intent: Intent) -> frozenset[str]:
    """The hosts that what the caller asked for is only another name of."""
    return frozenset(each.external_name.lower() for each in intent.services if each.resolution is Resolution.ALIAS)


def _speaks_for(case: Case, ref: Ref) -> bool:
    """Whether a VirtualService names what the caller asked for."""
    found = case.world.virtual_services.get(ref)
    if found is None:
        return False
    names = {case.intent.to.lower(), *case.intent.hosts}
    return any(hosts.covers(pattern, name) for pattern in found.spec.hosts for name in names)


def _foreign(case: Case, service: Service) -> bool:
    """An outside host whose endpoints another namespace has set, for everyone."""
    if service.registry is Registry.KUBERNETES or service.resolution is not Resolution.CLIENT_SIDE:
        return False
    mine = {case.proxy.kind.namespace, case.world.mesh.root_namespace}
    return service.external and service.namespace not in mine and not service.addresses and not is_ip(case.intent.to)


# TLS


def _tls_fault(case: Case, service: Service | None) -> tuple[str, Ref, str] | None:
    """One TLS layer too many, or one too few."""
    end, upstream = case.end, case.end.upstream_tls
    mode = upstream.mode if upstream is not None else "none"
    through = end.far_side is not None and end.far_side.client_tls
    owner = _policy_rule(case) or _owner(case) or _policy(case)
    if through and mode == "tls":
        return "the client's own TLS is wrapped in another one, which the server does not expect", owner, _TLS_FIELD
    if through and mode == "mutual" and service is not None and service.external:
        return (
            "the client's own TLS is wrapped in the mesh's, which an outside server does not expect",
            owner,
            _TLS_FIELD,
        )
    plain = case.connection.tls is None and mode == "none"
    if plain and (strict := _demanded(case, service)) is not None:
        rule = _policy_rule(case)
        words = f"plain text reaches a workload where {strict} demands mutual TLS"
        return (words, rule, _TLS_FIELD) if rule is not None else (words, strict, "spec.mtls")
    if plain and case.connection.direction != "inbound" and service is not None and _expects_tls(case, service):
        return "plain text reaches a port that expects TLS", owner, ""
    return None


def _demanded(case: Case, service: Service | None) -> Ref | None:
    """The PeerAuthentication that refuses plain text at every endpoint that may be chosen."""
    if case.connection.direction == "inbound" or service is None:
        return None
    chosen = {end.address for end in case.end.endpoints}
    ends = [e for e in case.world.endpoints.get(service.key, ()) if f"{e.address}:{e.port}" in chosen]
    found = [(e, peer_modes(case.world, e.workload_namespace, e.labels)) for e in ends if e.tls_mode == TLS_ISTIO]
    if not found or len(found) < len(ends) or not all(m.of(e.port) is MutualTLSMode.STRICT for e, m in found):
        return None
    return next(iter(found[0][1].strict), None)


_TLS_FIELD = "spec.trafficPolicy.tls"


def _expects_tls(case: Case, service: Service) -> bool:
    step = last(case.end.steps, "cluster")
    parsed = naming.parse_cluster(case.end.cluster) if step is not None else None
    port = service.port(parsed.port) if parsed is not None else None
    if port is None or case.connection.http is None:
        return False
    if port.protocol.is_tls:
        return True
    ends = case.end.endpoints
    return service.external and bool(ends) and all(e.address.endswith(":443") for e in ends) and port.number != 443


# Locality


def _stuck_locality(case: Case, service: Service) -> Ref | None:
    """Failover that is asked for and cannot happen, because nothing ever calls an endpoint unhealthy."""
    rule = choice.destination_rule(case.world, case.proxy.kind, service)
    setting, deciding = case.world.mesh.locality_lb_setting, LOCALITY
    policy = rule.spec.traffic_policy if rule is not None else None
    if policy is not None and policy.outlier_detection is not None:
        return None
    if rule is not None and policy is not None and policy.load_balancer is not None:
        own = policy.load_balancer.locality_lb_setting
        setting, deciding = (own, rule.ref) if own is not None else (setting, deciding)
    if setting is None or not (setting.failover or setting.failover_priority):
        return None
    found = {end.locality for ends in (case.world.endpoints.get(service.key, ()),) for end in ends}
    return deciding if len(found) > 1 else None


# Not forwarded


def _closed(case: Case) -> Verdict:
    end = case.end
    if _cluster_services(case):
        deciding = _owner(case) or _rule(case) or _policy(case)
        words = f"{end.cluster} has no endpoint that can be chosen"
        return _said(case, Outcome.NO_ENDPOINTS, words, _distributor(case) or deciding)
    if end.kind == "closed" and not end.cluster:
        return _said(case, Outcome.BLACKHOLE, end.why, _rule(case) or _policy(case))
    deciding, field = _blamed(case)
    return _said(case, Outcome.BLACKHOLE, "is closed: nothing that is registered matches", deciding, field)


def _distributor(case: Case) -> Ref | None:
    """The rule whose locality weights leave no endpoint, where the service has some."""
    service = _service(case)
    if service is None or not case.world.endpoints.get(service.key):
        return None
    rule = _policy_rule(case)
    return rule if rule is not None and case.end.endpoints else None


def _answered(case: Case) -> Verdict:
    end = case.end
    status = end.http_status or "no status"
    if (rule := _rule(case)) is not None:
        where = f" to {end.location}" if end.location else ""
        return _said(case, Outcome.DIRECT_RESPONSE, f"is answered {status}{where} by a route of {rule}", rule)
    deciding, field = _blamed(case)
    words = f"is refused with {status}: nothing that is registered matches {_authority(case)}"
    return _said(case, Outcome.DIRECT_RESPONSE, words, deciding, field)


def _authority(case: Case) -> str:
    return case.connection.http.authority if case.connection.http is not None else case.intent.to


def _no_cluster(case: Case) -> Verdict:
    """A route names a cluster that the proxy has not got."""
    end, rule = case.end, _rule(case)
    parsed = naming.parse_cluster(end.cluster)
    words = f"the route names {end.cluster}, which this proxy has not got"
    if parsed is None:
        return _said(case, Outcome.NO_CLUSTER, words, rule or _policy(case))
    for ref, why, written in _missing(case, parsed):
        return _said(case, Outcome.NO_CLUSTER, f"{words}: {why}", rule if written and rule is not None else ref)
    return _said(case, Outcome.NO_CLUSTER, words, rule or _policy(case))


def _missing(case: Case, wanted: naming.ClusterName) -> Iterator[tuple[Ref, str, bool]]:
    """Why a host, port or subset has no cluster: the object at fault first, and whether the rule has only to name
    something else."""
    kind = case.proxy.kind
    meant = Intent(to=wanted.host, ip="", port=wanted.port)
    keys = case.world.by_host.get(wanted.host.lower(), ())
    seen = choice.service_candidates(case.world, kind, wanted.host)
    services = (*seen, *(case.world.services[k] for k in keys if case.world.services[k] not in seen))
    meant = msgspec.structs.replace(meant, services=services, visible=len(seen))
    for absence in absences(case.world, kind, meant, case.left_out):
        yield absence.ref, f"{absence.ref} {absence.words}", absence.field == PORTS
    if wanted.subset:
        for rule in case.world.destination_rules.values():
            if hosts.covers(rule.spec.host, wanted.host) and _has_subset(rule, wanted.subset):
                words = f"subset {wanted.subset} is defined by {rule.ref}, where this proxy does not look"
                yield rule.ref, words, False


def _has_subset(rule: Object[DestinationRule], name: str) -> bool:
    return any(subset.name == name for subset in rule.spec.subsets)


def _unrouted(case: Case) -> Verdict:
    rule = _rule(case) or _gateway(case) or _host_rule(case)
    if rule is None and case.connection.direction == "inbound":
        rule = _inbound_policy(case)
    return _said(case, Outcome.NO_ROUTE, case.end.why, rule or _blamed(case)[0])


def _gateway(case: Case) -> Ref | None:
    """At a gateway: the Gateway whose server took the connection, by the server name or else by the host asked for."""
    if case.connection.direction != "gateway":
        return None
    hello = case.connection.tls
    name = (hello.sni if hello is not None and hello.sni else _authority(case)).partition(":")[0].lower()
    mine = dict(case.proxy.labels)
    taking = []
    for found in case.world.policies("Gateway").values():
        for each in found:
            if all(mine.get(key) == value for key, value in each.spec.selector.items()):
                taking += [(each.age_key, each.ref) for server in each.spec.servers if _serves(server.hosts, name)]
    return min(taking)[1] if taking else None


def _serves(listed: tuple[str, ...], name: str) -> bool:
    """Hosts of a Gateway's server, each with or without a namespace before it."""
    return any(hosts.covers(each.rpartition("/")[2], name) for each in listed)


def _host_rule(case: Case) -> Ref | None:
    """The VirtualService, or else the Gateway, that speaks for the host without matching the request."""
    for step in reversed(case.end.steps):
        if (found := config_of(step.istio)) is not None:
            return found
    names = (_authority(case), case.intent.to, *case.intent.hosts)
    for name in names:
        for rule in case.world.virtual_services_for(name.partition(":")[0].lower()):
            if choice.covers_host(rule, name.partition(":")[0].lower()):
                return rule.ref
    return None


# Who


def _reasons(case: Case) -> tuple[Absence, ...]:
    return absences(case.world, case.proxy.kind, case.intent, case.left_out)


def _blamed(case: Case) -> tuple[Ref, str]:
    """What keeps the meant service away; without such a thing, the policy for what is not registered."""
    for absence in _reasons(case):
        if absence.strong:
            return absence.ref, absence.field
    return _policy(case), ""


def _policy(case: Case) -> Ref:
    """Who says what becomes of unregistered destinations."""
    sidecar = choice.sidecar(case.world, case.proxy.kind.namespace, case.proxy.labels)
    return sidecar.ref if sidecar is not None and sidecar.spec.outbound_traffic_policy is not None else POLICY


def _inbound_policy(case: Case) -> Ref:
    """The PeerAuthentication that holds for the workload's port; none written: the mesh's default, PERMISSIVE."""
    modes = peer_modes(case.world, case.proxy.kind.namespace, case.proxy.labels)
    of_port = modes.port_source if any(port == case.connection.port for port, _ in modes.ports) else None
    return of_port or modes.source or PERMISSIVE


def _detector(case: Case) -> Ref:
    """Why the proxy waits for the client's first bytes: inbound for mutual TLS, outbound for the port's protocol."""
    if case.connection.direction == "inbound":
        return _inbound_policy(case)
    return _receiver(case)


def _receiver(case: Case) -> Ref:
    """Who has the port at which the connection was taken: the meant service where it has it, else the oldest one."""
    if case.connection.direction == "inbound":
        return next((t.service.sources[0] for t in _targets(case)), _inbound_policy(case))
    if case.connection.direction == "gateway":
        return _gateway(case) or _policy(case)
    port, kind = case.connection.port, case.proxy.kind
    meant = case.intent.preferred
    if meant is not None and meant.port(port) is not None:
        return meant.sources[0]
    default = case.world.mesh.default_service_export_to
    having = [
        service
        for service in case.world.services.values()
        if service.port(port) is not None
        and service.sources
        and visible(service.export_to, default, service.namespace, kind.namespace)
    ]
    return min(having, key=lambda s: s.age_key).sources[0] if having else _policy(case)


def _targets(case: Case) -> Iterator[ServiceTarget]:
    """Services of the workload on the port that an inbound connection comes to."""
    workload = case.world.workloads.get(case.proxy.workload) if case.proxy.workload is not None else None
    for target in case.world.targets(workload) if workload is not None else ():
        if target.endpoint_port == case.connection.port and target.service.sources:
            yield target


def _denied(case: Case) -> Verdict:
    """By a policy that matches, or because no ALLOW policy does; by a token that is missing."""
    ruled = _rule(case)
    if ruled is None or ruled.kind != "AuthorizationPolicy":
        kinds = ("RequestAuthentication",) if case.end.http_status == 401 else ("AuthorizationPolicy",)
        found = [p for kind in kinds for p in _holding(case, kind)]
        allowing = [p for p in found if getattr(p.spec, "action", Action.ALLOW) is Action.ALLOW]
        ruled = allowing[-1].ref if allowing else ruled
    return _said(case, Outcome.REJECTED_BY_POLICY, case.end.why, ruled or _inbound_policy(case))


def _holding(case: Case, kind: str) -> tuple[Object[Any], ...]:
    return holding(case.world, kind, case.proxy.kind.namespace, case.proxy.labels)


def _cluster_services(case: Case) -> tuple[ServiceKey, ...]:
    step = last(case.end.steps, "cluster")
    return services_of(step.istio) if step is not None else ()


def _service(case: Case) -> Service | None:
    """The service that the chosen cluster stands for, as the world defines it."""
    for key in _cluster_services(case):
        found = case.world.services.get(key)
        if found is not None:
            return found
    return None


def _owner(case: Case) -> Ref | None:
    """The object that declares the service which took the connection."""
    service = _service(case)
    return service.sources[0] if service is not None else None


def _steps(case: Case, *stages: str) -> Iterator[Step]:
    return (step for step in reversed(case.end.steps) if step.stage in stages)


def _rule(case: Case) -> Ref | None:
    """The VirtualService that chose the way, or the AuthorizationPolicy that closed it."""
    if case.end.kind == "denied":
        for step in _steps(case, "http_filter", "network_filter"):
            if (policy := policy_of(step.name)) is not None:
                return policy
    for step in _steps(case, "route", "filter_chain", "network_filter"):
        if (found := config_of(step.istio)) is not None and found.kind != "DestinationRule":
            return found
    return None


def _policy_rule(case: Case) -> Ref | None:
    """The DestinationRule of the cluster."""
    for step in _steps(case, "cluster"):
        if (found := config_of(step.istio)) is not None:
            return found
    return None
