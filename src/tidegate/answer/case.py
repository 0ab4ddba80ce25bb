"""One connection with everything that its answer is taken from, and who of the objects had a hand in it."""

from collections.abc import Iterator, Mapping

import msgspec

from tidegate.answer.absence import Absence, LeftOut, absences, refused, set_aside
from tidegate.answer.ineffective import ineffective
from tidegate.answer.intent import Intent, declares
from tidegate.answer.pods import PodFacts
from tidegate.answer.provenance import config_of, last, policy_of, services_of
from tidegate.answer.removals import removals
from tidegate.api.networking import OutboundTrafficPolicyMode
from tidegate.api.objects import Ref
from tidegate.explain.connection import Connection
from tidegate.explain.hosts import without_port
from tidegate.explain.trace import End, Step, Trace
from tidegate.kit import hosts
from tidegate.registry.model import Endpoint, Service, ServiceKey, ServiceTarget
from tidegate.scope import choice
from tidegate.scope.authentication import peer_modes
from tidegate.scope.proxy import Proxy
from tidegate.snapshot.world import World

POLICY = Ref("MeshConfig", "", "outboundTrafficPolicy")
PERMISSIVE = Ref("Default", "", "mtls-permissive")
LOCALITY = Ref("MeshConfig", "", "localityLbSetting")

_OF_WORKLOADS = ("Sidecar", "AuthorizationPolicy", "PeerAuthentication", "RequestAuthentication", "EnvoyFilter")

Fault = tuple[str, Ref, str]
"""What is wrong with a connection that is sent on: in words, the object that decides it, and its field."""


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """A connection, what its proxy does with it, and the world that it happens in."""

    world: World
    proxy: Proxy
    connection: Connection
    intent: Intent
    trace: Trace
    left_out: tuple[LeftOut, ...] = ()
    pods: Mapping[Ref, PodFacts] = {}
    """What manifests tell of Pods beyond what decides their configuration."""

    @property
    def end(self) -> End:
        return self.trace.end


def chosen_endpoints(case: Case, service: Service | None, *, anywhere: bool = False) -> tuple[Endpoint, ...]:
    """The world's endpoints of the service that the connection may be sent to.

    anywhere: with those of its other ends, which the same cluster treats otherwise (by TLS, by priority).
    """
    alike = [each for each in case.trace.ends if anywhere and each.cluster == case.end.cluster] or [case.end]
    chosen = {endpoint.address for each in alike for endpoint in each.endpoints}
    ends = case.world.endpoints.get(service.key, ()) if service is not None else ()
    return tuple(
        end for end in ends if f"{end.address}:{end.port}" in chosen or f"[{end.address}]:{end.port}" in chosen
    )


def reasons(case: Case, applied: Ref | None = None) -> tuple[Absence, ...]:
    """Why the service that the caller means does not answer; of what a workload receives nothing is meant.

    applied: the rule that was asked, where no route of it leads on.
    """
    inbound = case.connection.direction == "inbound"
    gone = removals(case.world, case.proxy, case.intent, case.end, inbound=inbound)
    if inbound:
        return (*_misnumbered(case), *gone)
    world, kind = case.world, case.proxy.kind
    return (
        *absences(world, kind, case.intent, case.left_out),
        *_misdeclared(case),
        *gone,
        *_invalid(case),
        *ineffective(world, kind, case.intent, case.connection, applied or rule_of(case)),
    )


def idle(case: Case) -> tuple[Absence, ...]:
    """Objects that speak of what is called, and have no part in it: refused ones, and rules that do not apply."""
    if case.connection.direction == "inbound":
        return tuple(_misnumbered(case))
    world, kind = case.world, case.proxy.kind
    return (
        *refused(case.intent, case.left_out),
        *set_aside(case.intent, case.left_out),
        *_invalid(case),
        *ineffective(world, kind, case.intent, case.connection, rule_of(case)),
    )


def _invalid(case: Case) -> Iterator[Absence]:
    """Refused objects that would hold for the workload by their namespace, whatever it calls."""
    spaces = {case.proxy.kind.namespace, case.world.mesh.root_namespace}
    for each in case.left_out:
        if each.ref.kind in _OF_WORKLOADS and each.ref.namespace in spaces:
            yield Absence(each.ref, "spec", f"is not valid and counts for nothing: {each.reason}", strong=False)


def _misdeclared(case: Case) -> Iterator[Absence]:
    """The port that is meant is declared to speak something else than the client does."""
    meant, connection = case.intent.preferred, case.connection
    port = meant.port(connection.port) if meant is not None and meant.sources else None
    if meant is None or port is None or connection.transport != "tcp":
        return
    declared = f"declares port {port.number} as {port.protocol}"
    if port.protocol.is_http and connection.tls is not None:
        yield Absence(meant.sources[0], "spec.ports", f"{declared}, and the client speaks TLS")
    elif (
        port.protocol.is_tls and connection.tls is not None and not hosts.covers(meant.host, connection.tls.sni.lower())
    ):
        sni = connection.tls.sni or "none"
        yield Absence(
            meant.sources[0], "spec.hosts", f"{declared}: told by the server name, which is {sni}", strong=False
        )
    elif port.protocol.is_tls and connection.tls is None:
        words = f"{declared}, and the client does not begin with TLS; one that negotiates it later needs TCP"
        yield Absence(meant.sources[0], "spec.ports", words)
    elif port.protocol.is_tcp and connection.http is not None and _as_http(case) and not _addressed(case, meant):
        words = f"{declared}, and other services have HTTP there: requests are routed by their Host, not to it"
        yield Absence(meant.sources[0], "spec.ports", words)
    elif _as_http(case) and not declares(meant, without_port(authority(case)), case.world.domain):
        words = f"is called by Host {authority(case)}, which is no name of it, and HTTP is routed by its Host"
        yield Absence(meant.sources[0], "", words, strong=False)
    elif connection.http is not None and connection.http.version == "1.0" and not _as_http(case):
        words = f"{declared}, and HTTP/1.0 is not recognised: it is carried as bytes (PILOT_HTTP10 accepts it)"
        yield Absence(meant.sources[0], "spec.ports", words, strong=False)


def _addressed(case: Case, service: Service) -> bool:
    """Whether the proxy knows a service by addresses of its own."""
    return bool(service.addresses or (case.proxy.kind.dns_capture and service.auto_addresses))


def _as_http(case: Case) -> bool:
    """Whether the connection was taken as HTTP."""
    return any(step.kind == "HttpConnectionManager" for step in case.end.steps)


def _misnumbered(case: Case) -> Iterator[Absence]:
    """Mutual TLS is set for the Service's port, and counts by the workload's own."""
    modes = peer_modes(case.world, case.proxy.kind.namespace, case.proxy.labels)
    listed = {number for number, _ in modes.ports}
    if modes.port_source is None or case.connection.port in listed:
        return
    for target in targets_of(case):
        if target.port.number in listed:
            own = f"it counts by the workload's own, {target.endpoint_port}"
            words = f"names port {target.port.number}, the Service's; {own}"
            yield Absence(modes.port_source, "spec.portLevelMtls", words, strong=False)


def blamed(case: Case) -> tuple[Ref, str]:
    """What keeps the meant service away; without such a thing, the policy for what is not registered."""
    for absence in reasons(case):
        if absence.strong:
            return absence.ref, absence.field
    return egress_policy(case), ""


def egress_policy(case: Case) -> Ref:
    """Who says what becomes of unregistered destinations."""
    sidecar = choice.sidecar(case.world, case.proxy.kind.namespace, case.proxy.labels)
    return sidecar.ref if sidecar is not None and sidecar.spec.outbound_traffic_policy is not None else POLICY


def registered_only(case: Case) -> bool:
    """Whether the workload's proxy lets nothing out that is not registered."""
    sidecar = choice.sidecar(case.world, case.proxy.kind.namespace, case.proxy.labels)
    own = sidecar.spec.outbound_traffic_policy if sidecar is not None else None
    policy = own or case.world.mesh.outbound_traffic_policy
    return policy is not None and policy.mode.value == OutboundTrafficPolicyMode.REGISTRY_ONLY.value


def inbound_policy(case: Case) -> Ref:
    """The PeerAuthentication that holds for the workload's port; none written: the mesh's default, PERMISSIVE."""
    modes = peer_modes(case.world, case.proxy.kind.namespace, case.proxy.labels)
    of_port = modes.port_source if any(port == case.connection.port for port, _ in modes.ports) else None
    return of_port or modes.source or PERMISSIVE


def targets_of(case: Case) -> Iterator[ServiceTarget]:
    """Services of the workload on the port that an inbound connection comes to."""
    workload = case.world.workloads.get(case.proxy.workload) if case.proxy.workload is not None else None
    for target in case.world.targets(workload) if workload is not None else ():
        if target.endpoint_port == case.connection.port and target.service.sources:
            yield target


def authority(case: Case) -> str:
    return case.connection.http.authority if case.connection.http is not None else case.intent.to


def cluster_services(case: Case) -> tuple[ServiceKey, ...]:
    step = last(case.end.steps, "cluster")
    return services_of(step.istio) if step is not None else ()


def service_of(case: Case) -> Service | None:
    """The service that the chosen cluster stands for, as the world defines it."""
    for key in cluster_services(case):
        found = case.world.services.get(key)
        if found is not None:
            return found
    return None


def owner_of(case: Case) -> Ref | None:
    """The object that declares the service which took the connection."""
    service = service_of(case)
    return service.sources[0] if service is not None else None


def _steps(case: Case, *stages: str) -> Iterator[Step]:
    return (step for step in reversed(case.end.steps) if step.stage in stages)


def rule_of(case: Case) -> Ref | None:
    """The VirtualService that chose the way, or the AuthorizationPolicy that closed it."""
    if case.end.kind == "denied":
        for step in _steps(case, "http_filter", "network_filter"):
            if (policy := policy_of(step.name)) is not None:
                return policy
    for step in _steps(case, "route", "filter_chain", "network_filter"):
        if (found := config_of(step.istio)) is not None and found.kind != "DestinationRule":
            return found
    return None


def policy_rule(case: Case) -> Ref | None:
    """The DestinationRule of the cluster."""
    for step in _steps(case, "cluster"):
        if (found := config_of(step.istio)) is not None:
            return found
    return None
