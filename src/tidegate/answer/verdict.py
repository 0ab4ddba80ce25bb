"""In which class of outcome a connection ends, and which object decides it.

The classes are those that operators use when they report an incident; what Envoy does is one thing, whether it is what
the caller meant is another, and only the second has a name such as "captured by another service".
"""

import enum
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any

import msgspec

from tidegate.answer import denials, emptiness, gateways, localities, protocols, reach, strangers, subsets, taking, tls
from tidegate.answer.absence import PORTS, Absence, absences
from tidegate.answer.case import (
    Case,
    Fault,
    authority,
    blamed,
    cluster_services,
    egress_policy,
    idle,
    inbound_policy,
    owner_of,
    reasons,
    registered_only,
    rule_of,
    service_of,
)
from tidegate.answer.gateways import gateway_of, rule_for, unrouted_by
from tidegate.answer.intent import Intent, declares, holds
from tidegate.answer.provenance import config_of, last, policy_of, rule_field
from tidegate.answer.receiver import detecting, detector, receiver_of
from tidegate.api.objects import Object, Ref
from tidegate.api.security import Action
from tidegate.explain.hosts import without_port
from tidegate.kit import hosts, naming
from tidegate.registry.addresses import is_ip
from tidegate.registry.model import Registry, Resolution, Service
from tidegate.scope import choice
from tidegate.scope.policies import holding

_NEAR = 3
"""Hosts of a like name that are told."""


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


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The answer in one line, and what it hangs on."""

    outcome: Outcome
    words: str
    deciding: Ref
    field: str = ""
    reasons: tuple[Absence, ...] = ()
    """Why the meant service did not answer, where it did not."""


def verdict(case: Case) -> Verdict:
    """Class and deciding object of the likeliest end."""
    kind = case.end.kind
    if kind == "forwarded":
        return _forwarded(case)
    if kind == "no_listener" and case.connection.direction == "gateway":
        return _unrouted(case)
    if kind in ("closed", "no_endpoints", "no_listener", "dropped"):
        return _closed(case)
    if kind in ("direct_response", "redirect"):
        return _answered(case)
    if kind == "no_cluster":
        return _no_cluster(case)
    if kind in ("no_route", "no_virtual_host", "no_filter_chain"):
        return _unrouted(case)
    if kind == "waits":
        words = "hangs: the proxy waits for the client's first bytes, and the client for the server's"
        return _because(_said(case, Outcome.HANGS, words, detector(case)), detecting(case))
    if kind == "denied":
        return _denied(case)
    if kind in ("protocol_error", "tls_error"):
        return _refused(case)
    return _said(
        case,
        Outcome.UNKNOWN,
        f"is not known to end: {case.end.why}",
        rule_of(case) or owner_of(case) or receiver_of(case),
    )


def _said(case: Case, outcome: Outcome, words: str, deciding: Ref, field: str = "") -> Verdict:
    return Verdict(outcome=outcome, words=words, deciding=deciding, field=field, reasons=reasons(case))


def _because(found: Verdict, more: Iterable[Absence]) -> Verdict:
    return msgspec.structs.replace(found, reasons=tuple(dict.fromkeys((*found.reasons, *more))))


# Forwarded


def _forwarded(case: Case) -> Verdict:
    end, service = case.end, service_of(case)
    if service is None and not cluster_services(case):
        return _forwarded_unmanaged(case)
    if end.cluster_type == "STATIC" and not end.endpoints:
        return _closed(case)
    if (proxied := _by_egress_proxy(case)) is not None:
        return _said(case, Outcome.REACHES, f"goes to {end.cluster}, as all that is unknown", *proxied)
    for outcome, judge in _FAULTS:
        fault = judge(case, service)
        if fault is not None:
            words, deciding, field = fault
            found = _said(case, outcome, _LEADS.get(outcome, "") + words, deciding, field)
            return _because(found, taking.taken(case)) if outcome is Outcome.CAPTURED_BY_OTHER else found
    return _reached(case, _sender(case))


def _by_egress_proxy(case: Case) -> tuple[Ref, str] | None:
    """The Sidecar that sends what is not registered to a proxy, where it does so with this."""
    sidecar = choice.sidecar(case.world, case.proxy.kind.namespace, case.proxy.labels)
    parsed = naming.parse_cluster(case.end.cluster)
    policy = sidecar.spec.outbound_traffic_policy if sidecar is not None else None
    proxy = policy.egress_proxy if policy is not None else None
    if sidecar is None or proxy is None or parsed is None or case.connection.direction != "outbound":
        return None
    host = hosts.resolve_short(proxy.host, case.proxy.kind.namespace, case.world.domain)
    same = parsed.host == host and parsed.subset == proxy.subset
    unmeant = parsed.host.lower() not in case.intent.hosts and rule_of(case) is None
    return (sidecar.ref, "spec.outboundTrafficPolicy") if same and unmeant else None


def _reached(case: Case, deciding: Ref) -> Verdict:
    """What hides a service from a connection that reaches it hides nothing; rules may still be idle."""
    told = (*idle(case), *subsets.unmirrored(case), *protocols.foreign_host(case))
    return Verdict(outcome=Outcome.REACHES, words=f"reaches {case.end.cluster}", deciding=deciding, reasons=told)


def _sender(case: Case) -> Ref:
    return rule_of(case) or rule_for(case) or owner_of(case) or egress_policy(case)


def _captured(case: Case, service: Service | None) -> Fault | None:
    if case.connection.direction == "outbound" and not _meant(case, service):
        taker = owner_of(case) or _sender(case)
        return f"is taken by {taker} ({case.end.cluster}), though {case.intent.to} is called", taker, ""
    if service is not None and gateways.returns(case, service):
        words = f"comes back to this gateway itself, by {case.end.cluster}: what sends it here holds at the gateway too"
        return words, _sender(case), ""
    if service is not None and _foreign(case, service):
        owner = owner_of(case) or _sender(case)
        return f"goes to the endpoints that {owner}, of another namespace, gives {service.host}", owner, ""
    return None


_FAULTS: tuple[tuple[Outcome, Callable[[Case, Service | None], Fault | None]], ...] = (
    (Outcome.TLS_MISMATCH, tls.fault),
    (Outcome.CAPTURED_BY_OTHER, _captured),
    (Outcome.WRONG_ENDPOINTS, strangers.fault),
    (Outcome.UPSTREAM_UNREACHABLE, reach.fault),
    (Outcome.PROTOCOL_ERROR, protocols.fault),
    (Outcome.NO_FAILOVER, localities.fault),
)
"""What may be wrong with a connection that the proxy does send on, the first that holds being told."""


_LEADS = {
    Outcome.TLS_MISMATCH: "fails: ",
    Outcome.WRONG_ENDPOINTS: "may meet a wrong server: ",
    Outcome.UPSTREAM_UNREACHABLE: "fails: ",
    Outcome.PROTOCOL_ERROR: "fails: ",
    Outcome.NO_FAILOVER: "has no failover: ",
}
"""With what the sentence about a connection begins whose fault is told of something else than the connection."""


def _forwarded_unmanaged(case: Case) -> Verdict:
    """To the dialled address, by a cluster that stands for no service."""
    end, inbound = case.end, case.connection.direction == "inbound"
    rule = rule_of(case)
    if inbound and (fault := reach.inbound_fault(case)) is not None:
        words, deciding, field = fault
        return _said(case, Outcome.UPSTREAM_UNREACHABLE, f"fails: {words}", deciding, field)
    if end.cluster_type != "ORIGINAL_DST":
        return _reached(case, rule or _received(case))
    deciding, field = (_received(case), "") if inbound else blamed(case)
    if reach.nobody_at_dialled(case):
        deciding = _giver(case) or deciding
        words = f"passes through to {case.connection.ip}, an address that only the mesh gives out: no host has it"
        return _said(case, Outcome.UPSTREAM_UNREACHABLE, words, deciding, field)
    if (refused := tls.unmanaged_fault(case)) is not None:
        return _said(case, Outcome.TLS_MISMATCH, *refused)
    words = f"passes through, unmanaged, to {case.connection.ip}:{case.connection.port}"
    return _said(case, Outcome.PASSTHROUGH, words, rule or deciding, field)


def _giver(case: Case) -> Ref | None:
    """Who has the dialled address by allocation."""
    dialled = case.connection.ip
    every: Iterator[Service] = chain(case.intent.services, case.world.services.values())
    for service in every:
        if dialled in service.auto_addresses and service.sources:
            of_part = [n for n, part in enumerate(service.parts) if dialled in part.auto_addresses]
            return service.sources[of_part[0] if of_part and len(service.parts) == len(service.sources) else 0]
    return None


def _received(case: Case) -> Ref:
    """Of what passes through: at a workload the Sidecar that lists its ports, or who has the port."""
    if case.connection.direction != "inbound":
        return egress_policy(case)
    sidecar = choice.sidecar(case.world, case.proxy.kind.namespace, case.proxy.labels)
    return sidecar.ref if sidecar is not None and sidecar.spec.ingress else receiver_of(case)


def _meant(case: Case, service: Service | None) -> bool:
    """Whether the service is what the caller asked for, by name or by address, or a rule for that sends it there."""
    intent = case.intent
    if service is None or service.host.lower() in intent.hosts | _aliased(intent):
        return True
    if declares(service, intent.to, case.world.domain):
        return True
    if is_ip(intent.to) and holds((*service.addresses, *service.auto_addresses), intent.to):
        return True
    if is_ip(intent.to) and not intent.services and declares(service, without_port(authority(case)), case.world.domain):
        return True  # nobody's address, called by a name
    return (rule := rule_of(case)) is not None and _speaks_for(case, rule)


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


# Not forwarded


def _closed(case: Case) -> Verdict:
    end = case.end
    if cluster_services(case):
        deciding = localities.distributor(case) or owner_of(case) or rule_of(case) or egress_policy(case)
        found = _said(case, Outcome.NO_ENDPOINTS, f"finds nobody: {end.cluster} has no endpoint", deciding)
        return _because(found, emptiness.empty(case))
    if end.kind == "closed" and not end.cluster:
        return _said(case, Outcome.BLACKHOLE, f"is closed: {end.why}", rule_of(case) or egress_policy(case))
    deciding, field = blamed(case)
    if end.kind in ("no_listener", "dropped"):
        return _said(case, Outcome.BLACKHOLE, f"is taken by nobody: {end.why}", deciding, field)
    ip, port, hello = case.connection.ip, case.connection.port, case.connection.tls
    what = f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"
    what += f" or server name {hello.sni}" if hello is not None and hello.sni else ""
    return _said(case, Outcome.BLACKHOLE, f"is closed: {_unregistered(case, what)}", deciding, field)


def _unregistered(case: Case, what: str) -> str:
    """Why a connection or a request is not let out."""
    mode = " (REGISTRY_ONLY)" if registered_only(case) else ""
    return f"nothing that this proxy knows of matches {what}{mode}"


def _answered(case: Case) -> Verdict:
    end = case.end
    status = end.http_status or "no status"
    if (rule := rule_of(case)) is not None:
        where = f" to {end.location}" if end.location else ""
        return _said(case, Outcome.DIRECT_RESPONSE, f"is answered {status}{where} by a route of {rule}", rule)
    if case.connection.direction == "gateway" and end.kind == "redirect" and (taking := gateway_of(case)) is not None:
        return _said(case, Outcome.DIRECT_RESPONSE, f"is sent to {end.location} by {taking}", taking, "spec.servers")
    deciding, field = blamed(case)
    return _said(
        case,
        Outcome.DIRECT_RESPONSE,
        f"is refused with {status}: {_unregistered(case, authority(case))}",
        deciding,
        field,
    )


def _no_cluster(case: Case) -> Verdict:
    """A route names a cluster that the proxy has not got."""
    end, rule = case.end, rule_of(case)
    parsed = naming.parse_cluster(end.cluster)
    words = f"is sent to {end.cluster}, which this proxy has not got"
    missing = tuple(_missing(case, parsed)) if parsed is not None else ()
    if not missing:
        cut = next((each for each in reasons(case) if each.strong and each.ref.kind == "EnvoyFilter"), None)
        deciding, field = (cut.ref, cut.field) if cut is not None else (rule or egress_policy(case), "")
        return _because(_said(case, Outcome.NO_CLUSTER, words, deciding, field), _undefined(case, parsed))
    first = missing[0]
    if first.field == PORTS and rule is not None:  # the rule has only to name a port that is there
        return _because(_said(case, Outcome.NO_CLUSTER, words, rule), missing)
    return _because(_said(case, Outcome.NO_CLUSTER, words, first.ref, first.field), missing)


def _undefined(case: Case, wanted: naming.ClusterName | None) -> Iterable[Absence]:
    if wanted is None:
        return ()
    if not wanted.subset:
        return (*_aliases(case, wanted.host), *_undeclared(case, wanted.host))
    seen = choice.service_candidates(case.world, case.proxy.kind, wanted.host)
    return subsets.undefined(case, wanted, seen[0] if seen else None)


def _undeclared(case: Case, host: str) -> Iterator[Absence]:
    """A destination that nothing declares, with hosts of the same first name in other namespaces."""
    rule = rule_of(case)
    if rule is None or host.lower() in case.world.by_host:
        return
    short = host.partition(".")[0]
    near = sorted(each for each in case.world.by_host if each.partition(".")[0] == short)[:_NEAR]
    hint = f"; there is {', '.join(near)}" if near else ""
    yield Absence(rule, "", f"leads to {host}, which no Service or ServiceEntry declares{hint}", strong=False)


def _aliases(case: Case, host: str) -> Iterator[Absence]:
    """Other names of a host that nothing declares."""
    for service in case.world.services.values():
        if service.resolution is Resolution.ALIAS and service.external_name.lower() == host.lower():
            words = f"is another name of {host} (ExternalName), which no Service or ServiceEntry declares"
            yield Absence(service.sources[0], "spec.externalName", words, strong=False)


def _missing(case: Case, wanted: naming.ClusterName) -> Iterator[Absence]:
    """Why a host, port or subset has no cluster: the object at fault first."""
    kind = case.proxy.kind
    meant = Intent(to=wanted.host, ip="", port=wanted.port)
    keys = case.world.by_host.get(wanted.host.lower(), ())
    seen = choice.service_candidates(case.world, kind, wanted.host)
    services = (*seen, *(case.world.services[k] for k in keys if case.world.services[k] not in seen))
    meant = msgspec.structs.replace(meant, services=services, visible=len(seen))
    yield from absences(case.world, kind, meant, case.left_out)
    if wanted.subset:
        yield from subsets.without(case, wanted, meant.preferred)


def _unrouted(case: Case) -> Verdict:
    direction, end = case.connection.direction, case.end
    if direction != "outbound" and end.kind == "no_filter_chain" and (fault := tls.unaccepted(case)) is not None:
        words, deciding, field = fault
        return _said(case, Outcome.TLS_MISMATCH, f"fails: {words}", deciding, field)
    if direction == "outbound" and (fault := protocols.unproxied(case)) is not None:
        words, deciding, field = fault
        return _said(case, Outcome.NO_ROUTE, f"is refused: {words}", deciding, field)
    rule = rule_of(case) or (unrouted_by(case) if direction == "gateway" else _host_rule(case))
    if rule is None and direction == "inbound":
        rule = inbound_policy(case)
    found = _said(case, Outcome.NO_ROUTE, _unmatched(case), rule or blamed(case)[0])
    return _because(msgspec.structs.replace(found, reasons=reasons(case, rule)), gateways.unbound(case))


def _unmatched(case: Case) -> str:
    """With what of the request no route has to do, where it is a route that lacks."""
    end, request = case.end, case.connection.http
    if end.kind != "no_route" or request is None:
        return f"is refused: {end.why}"
    asked = f"{request.method} {request.path}"
    return f"is refused with {end.http_status or 404}: no route for {authority(case)} takes {asked}"


def _host_rule(case: Case) -> Ref | None:
    """The VirtualService, or else the Gateway, that speaks for the host without matching the request."""
    for step in reversed(case.end.steps):
        if (found := config_of(step.istio)) is not None:
            return found
    names = (authority(case), case.intent.to, *case.intent.hosts)
    for name in names:
        for rule in case.world.virtual_services_for(name.partition(":")[0].lower()):
            if choice.covers_host(rule, name.partition(":")[0].lower()):
                return rule.ref
    return None


def _refused(case: Case) -> Verdict:
    """By the codec or the handshake. TLS that nobody takes off is one layer too many rather than a wrong protocol."""
    end, inbound = case.end, case.connection.direction == "inbound"
    hello = case.connection.tls
    unopened = hello is not None and last(end.steps, "downstream_tls") is None
    if end.kind == "protocol_error" and unopened and (case.connection.direction == "gateway" or _mesh_hello(case)):
        deciding = gateway_of(case) or inbound_policy(case)
        return _said(
            case, Outcome.TLS_MISMATCH, f"fails: TLS comes to a port that takes plain text ({end.why})", deciding
        )
    if end.kind == "tls_error":
        deciding = inbound_policy(case) if inbound else gateway_of(case) or receiver_of(case)
        return _said(case, Outcome.TLS_MISMATCH, f"fails: {end.why}", deciding)
    fault = protocols.upgrade(case) or (f"fails: {end.why}", rule_of(case) or owner_of(case) or receiver_of(case), "")
    return _said(case, Outcome.PROTOCOL_ERROR, *fault)


def _mesh_hello(case: Case) -> bool:
    hello = case.connection.tls
    return hello is not None and hello.mutual


def _denied(case: Case) -> Verdict:
    """By a policy that matches, or because no ALLOW policy does; by a token that is missing."""
    ruled = rule_of(case)
    if ruled is None or ruled.kind != "AuthorizationPolicy":
        kinds = ("RequestAuthentication",) if case.end.http_status == 401 else ("AuthorizationPolicy",)
        found = [p for kind in kinds for p in _holding(case, kind)]
        allowing = [p for p in found if getattr(p.spec, "action", Action.ALLOW) is Action.ALLOW]
        ruled = allowing[-1].ref if allowing else ruled
        denied = _said(case, Outcome.REJECTED_BY_POLICY, f"is refused: {case.end.why}", ruled or inbound_policy(case))
        return _because(denied, denials.unmatchable(case))
    field = next((f for step in case.end.steps if policy_of(step.name) == ruled and (f := rule_field(step.name))), "")
    words = f"is refused{_status(case)}: {ruled} denies it"
    return _said(case, Outcome.REJECTED_BY_POLICY, words, ruled, field)


def _status(case: Case) -> str:
    return f" with {case.end.http_status}" if case.end.http_status else ""


def _holding(case: Case, kind: str) -> tuple[Object[Any], ...]:
    return holding(case.world, kind, case.proxy.kind.namespace, case.proxy.labels)
