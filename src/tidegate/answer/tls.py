"""One TLS layer too many, or one too few: between the client, its proxy, and what answers behind it."""

from collections.abc import Iterator

from tidegate.answer.case import (
    Case,
    Fault,
    chosen_endpoints,
    egress_policy,
    inbound_policy,
    owner_of,
    policy_rule,
    rule_of,
    targets_of,
)
from tidegate.answer.gateways import gateway_of, rule_for
from tidegate.answer.interception import left_alone, refuser
from tidegate.answer.provenance import last
from tidegate.answer.receiver import receiver_of
from tidegate.api.networking import ClientTLSSettingsMode, Server
from tidegate.api.objects import Ref
from tidegate.api.security import MutualTLSMode
from tidegate.explain.trace import UpstreamTls
from tidegate.kit import naming
from tidegate.registry.model import Endpoint, Port, Service
from tidegate.registry.workloads import TLS_MODE
from tidegate.scope.authentication import TLS_ISTIO, peer_modes

_FIELD = "spec.trafficPolicy.tls"
MTLS = "spec.mtls"
_SECURE_PORTS = frozenset({443, 8443, 6443, 9443})
"""Where a server is taken to speak TLS although its port is declared to be plain HTTP."""
_PLAIN = UpstreamTls()
_ALPN = "istio"
"""Offered by mutual TLS of the mesh, and by nothing else."""


def fault(case: Case, service: Service | None) -> Fault | None:
    """What is wrong with the TLS of a connection that is sent on."""
    if case.connection.direction == "inbound":
        return _at_application(case)
    upstream = case.end.upstream_tls or _PLAIN
    if case.end.far_side is not None and case.end.far_side.client_tls:
        return _wrapped(case, service, upstream) or _opaque(case, service)
    if upstream.mode == "none":
        return _bare(case, service)
    return _unread(case, service, upstream)


def unmanaged_fault(case: Case) -> Fault | None:
    """What passes through unmanaged reaches, as the client sends it, those who take mutual TLS of the mesh only."""
    if case.connection.direction == "inbound" or (case.end.upstream_tls or _PLAIN).mode != "none":
        return None
    strict = refuser(case.world, case.connection.ip, case.connection.port)
    if strict is None or case.connection.ip in case.proxy.addresses:
        return None
    to = f"{case.connection.ip}:{case.connection.port}"
    return f"passes through, unmanaged, to {to}, where {strict} demands mutual TLS", strict, MTLS


def unaccepted(case: Case) -> Fault | None:
    """Why no filter chain takes a connection that comes in: each of them wants TLS and it is plain text, or the other
    way round."""
    step = last(case.end.steps, "filter_chain")
    lost = " ".join(each.why for each in step.rejected) if step is not None else ""
    if case.connection.tls is None:
        if "another transport protocol" in lost or "another server name" in lost:
            gateway = gateway_of(case)
            return "plain text comes to a port that takes TLS only", gateway or inbound_policy(case), _field(gateway)
    elif case.connection.direction == "inbound" and "another transport protocol" in lost:
        return "TLS that is not the mesh's comes to a port that takes plain text beside it", receiver_of(case), ""
    return None


def _field(gateway: Ref | None) -> str:
    return "spec.servers" if gateway is not None else MTLS


# The client's own TLS


def _at_application(case: Case) -> Fault | None:
    """TLS that is not the mesh's comes to an application whose port is declared to speak plain HTTP."""
    if case.end.far_side is None or not case.end.far_side.client_tls:
        return None
    target = next(targets_of(case), None)
    if target is None or not target.port.protocol.is_http or case.connection.port in _SECURE_PORTS:
        return None
    return f"the caller's TLS comes to a port that is declared {target.port.protocol}", target.service.sources[0], ""


def _wrapped(case: Case, service: Service | None, upstream: UpstreamTls) -> Fault | None:
    if upstream.mode == "tls" or (upstream.mode == "mutual" and not _mesh(upstream)):
        return "the client's own TLS is wrapped in another one, which the server does not expect", _ruler(case), _FIELD
    if _mesh(upstream) and service is not None and not _speak_mesh(case, service):
        words = "the client's own TLS is wrapped in the mesh's, which the server does not expect"
        return words, _ruler(case), _FIELD
    return None


def _opaque(case: Case, service: Service | None) -> Fault | None:
    """The client's TLS goes through unopened, to a port that is declared plain HTTP."""
    port = _port(case, service)
    if port is None or not port.protocol.is_http or _secure(case, port):
        return None
    words = f"the client's TLS goes through unopened to a port that is declared {port.protocol}"
    return words, rule_of(case) or rule_for(case) or _ruler(case), ""


# No TLS


def _bare(case: Case, service: Service | None) -> Fault | None:
    """Plain text leaves the proxy."""
    strict = _demanded(case, service)
    if strict is not None:
        rule = policy_rule(case)
        words = f"plain text reaches a workload where {strict} demands mutual TLS"
        return (words, rule, _FIELD) if rule is not None else (words, strict, MTLS)
    if service is not None and (unread := _plain_to_gateway(case, service)) is not None:
        return unread
    if service is not None and _expects_tls(case, service):
        rule = policy_rule(case)
        if rule is not None and _asks_for_none(case, rule):
            return f"plain text, as {rule} wants it, reaches a port that expects TLS", rule, _FIELD
        return "plain text reaches a port that expects TLS", rule_of(case) or _ruler(case), ""
    return None


def _plain_to_gateway(case: Case, service: Service) -> Fault | None:
    """A gateway behind the service takes TLS only at the port that is meant."""
    servers = list(_servers(case, service))
    if not servers or not all(_reads_tls(server) for _, server in servers):
        return None
    gateway, rule = servers[0][0], policy_rule(case)
    words = f"plain text reaches a gateway where {gateway} takes TLS only"
    return (words, rule, _FIELD) if rule is not None else (words, gateway, "spec.servers")


def _asks_for_none(case: Case, ref: Ref) -> bool:
    """Whether a DestinationRule switches TLS off, rather than leaving it unsaid."""
    rule = case.world.destination_rules.get(ref)
    policy = rule.spec.traffic_policy if rule is not None else None
    return policy is not None and policy.tls is not None and policy.tls.mode is ClientTLSSettingsMode.DISABLE


def _demanded(case: Case, service: Service | None) -> Ref | None:
    """The PeerAuthentication that refuses plain text at every endpoint that may be chosen."""
    ends = chosen_endpoints(case, service)
    found = [(e, peer_modes(case.world, e.workload_namespace, e.labels)) for e in ends if e.tls_mode == TLS_ISTIO]
    if not found or len(found) < len(ends) or not all(m.of(e.port) is MutualTLSMode.STRICT for e, m in found):
        return None
    return next(iter(found[0][1].strict), None)


def _expects_tls(case: Case, service: Service) -> bool:
    port = _port(case, service)
    if port is None or case.connection.http is None:
        return False
    if port.protocol.is_tls:
        return True
    ends = case.end.endpoints
    return service.external and bool(ends) and all(e.address.endswith(":443") for e in ends) and port.number != 443


# TLS of the proxy's own


def _unread(case: Case, service: Service | None, upstream: UpstreamTls) -> Fault | None:
    """The proxy begins TLS towards something that speaks none, or not this one."""
    if service is None:
        return None
    if _mesh(upstream):
        if (fault := _uncaptured(case, service)) is not None:
            return fault
        if _speak_mesh(case, service):
            return None
        return "the server behind it does not speak the mesh's mutual TLS", _ruler(case), _FIELD
    port = _port(case, service)
    if port is None or not port.protocol.is_http or _secure(case, port):
        return None
    if service.external and not all(end.address.endswith(":80") for end in case.end.endpoints):
        return None
    return f"the proxy begins TLS towards a port that speaks plain {port.protocol}", _ruler(case), _FIELD


def _uncaptured(case: Case, service: Service) -> Fault | None:
    """The mesh's mutual TLS comes to Pods whose proxies are kept from the port, so that nobody takes it off."""
    found: Fault | None = None
    for end in chosen_endpoints(case, service):
        workload = case.world.workloads.get(end.source) if end.source is not None else None
        field = left_alone(workload, end.port) if workload is not None else ""
        if workload is None or not field:
            return None
        words = f"comes to port {end.port}, which {workload.ref} keeps from its proxy: nobody reads it"
        found = found or (f"the mesh's mutual TLS {words}", workload.ref, field)
    return found


def _mesh(upstream: UpstreamTls) -> bool:
    """Whether it is the mesh's own mutual TLS rather than one that a rule brings certificates for."""
    return upstream.mode == "mutual" and any(each.startswith(_ALPN) for each in upstream.alpn)


def _speak_mesh(case: Case, service: Service) -> bool:
    """Whether any endpoint that may be chosen takes mutual TLS of the mesh; so too where none is known."""
    ends = list(chosen_endpoints(case, service))
    if not ends:
        return not service.external
    return any(_takes(case, end) for end in ends) or any(_reads_tls(each) for _, each in _servers(case, service))


def _takes(case: Case, end: Endpoint) -> bool:
    if peer_modes(case.world, end.workload_namespace, end.labels).of(end.port) is MutualTLSMode.DISABLE:
        return False
    return end.tls_mode == TLS_ISTIO or any(_labelled(case, ref) for ref in case.world.by_address.get(end.address, ()))


def _labelled(case: Case, ref: Ref) -> bool:
    return dict(case.world.workloads[ref].labels).get(TLS_MODE) == TLS_ISTIO


def _servers(case: Case, service: Service) -> Iterator[tuple[Ref, Server]]:
    """The servers, with their Gateways, that take what comes to the chosen endpoints."""
    ends, port = chosen_endpoints(case, service), _port(case, service)
    behind = [dict(end.labels) for end in ends] or [dict(service.selector)]
    numbers = {end.port for end in ends} | ({port.number} if port is not None else set())
    every = (gateway for _, group in case.world.policies("Gateway").items() for gateway in group)
    for gateway in every:
        wanted = gateway.spec.selector.items()
        if wanted and any(wanted <= mine.items() for mine in behind):
            listed = (each for each in gateway.spec.servers if each.port is not None)
            yield from ((gateway.ref, each) for each in listed if each.port.number in numbers)


def _reads_tls(server: Server) -> bool:
    return server.port is not None and server.port.protocol.upper() in ("HTTPS", "TLS")


# Who and where


def _ruler(case: Case) -> Ref:
    return policy_rule(case) or owner_of(case) or egress_policy(case)


def _port(case: Case, service: Service | None) -> Port | None:
    """The port of the service that the chosen cluster stands for."""
    parsed = naming.parse_cluster(case.end.cluster)
    return service.port(parsed.port) if service is not None and parsed is not None else None


def _secure(case: Case, port: Port) -> bool:
    return port.number in _SECURE_PORTS or any(number in _SECURE_PORTS for number in _numbers(case))


def _numbers(case: Case) -> Iterator[int]:
    for end in case.end.endpoints:
        number = end.address.rpartition(":")[2]
        if number.isdigit():
            yield int(number)
