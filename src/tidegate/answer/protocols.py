"""Requests that are sent on in a protocol which the server behind does not speak, as far as objects tell."""

from collections.abc import Iterator

from tidegate.answer.absence import Absence
from tidegate.answer.case import (
    Case,
    Fault,
    chosen_endpoints,
    egress_policy,
    owner_of,
    policy_rule,
    rule_of,
    service_of,
)
from tidegate.answer.receiver import receiver_of
from tidegate.api.networking import H2UpgradePolicy
from tidegate.api.objects import Ref
from tidegate.explain.hosts import without_port
from tidegate.kit import hosts, naming
from tidegate.registry.model import Protocol, Service
from tidegate.scope.authentication import TLS_ISTIO

H2_UPGRADE = Ref("MeshConfig", "", "h2UpgradePolicy")
UPGRADE = Ref("Envoy", "", "upgrade")
"""Stands for what no object decides: Envoy refuses an upgrade that its configuration does not name."""
_GRPC = "application/grpc"
_PORTS = "spec.ports"


def fault(case: Case, service: Service | None) -> Fault | None:
    """gRPC that is sent on as HTTP/1.1; HTTP/1.1 made HTTP/2 for a server that is declared to speak the former."""
    far, request = case.end.far_side, case.connection.http
    if far is None or request is None or service is None or far.client_tls:
        return None
    owner = owner_of(case) or egress_policy(case)
    grpc = any(value.startswith(_GRPC) for value in request.values("content-type"))
    if grpc and far.protocol == "http/1.1":
        return (
            "gRPC is sent on as HTTP/1.1, which a gRPC server refuses: the port is not declared grpc",
            owner,
            _PORTS,
        )
    if case.connection.direction != "outbound" or far.protocol != "h2" or request.version == "2":
        return None
    if not _declared_http1(case, service) or not _direct(case, service):
        return None
    rule = policy_rule(case)
    deciding = rule if rule is not None and _upgrades(case, rule) else H2_UPGRADE
    return "HTTP/1.1 is made HTTP/2 for a server that is declared to speak HTTP/1.1", deciding, ""


def upgrade(case: Case) -> Fault | None:
    """A request that asks for another protocol than the proxies are configured to change to."""
    request, end = case.connection.http, case.end
    if request is None or end.kind != "protocol_error" or end.http_status != 403 or not request.values("upgrade"):
        return None
    asked = ", ".join(request.values("upgrade"))
    return f"asks to upgrade to {asked}, which Envoy refuses with 403: proxies are set up for websocket", UPGRADE, ""


def foreign_host(case: Case) -> Iterator[Absence]:
    """A rule sends a request to an outside host, which is asked for by the name that the caller used."""
    service, rule, far = service_of(case), rule_of(case), case.end.far_side
    if service is None or not service.external or rule is None or far is None or not far.authority:
        return
    name = without_port(far.authority)
    if not hosts.covers(service.host, name.lower()):
        words = f"sends Host {name} to {service.host}, which may not know it: rewrite.authority changes it"
        yield Absence(rule, "spec.http", words, strong=False)


def unproxied(case: Case) -> Fault | None:
    """A request for a forward proxy comes to a port that is declared HTTP: routes do not answer CONNECT."""
    request, meant, number = case.connection.http, case.intent.preferred, case.connection.port
    if request is None or request.method != "CONNECT":
        return None
    port = meant.port(number) if meant is not None else None
    if meant is not None and port is not None and meant.sources:
        words = f"CONNECT is for a forward proxy, and port {number} is declared {port.protocol}: declare it TCP"
        return words, meant.sources[0], _PORTS
    taker = receiver_of(case)
    words = (
        f"CONNECT is for a forward proxy, and {taker} makes HTTP on port {number} a matter of routes, for all addresses"
    )
    return words, taker, _PORTS if taker.kind in ("Service", "ServiceEntry") else ""


def _declared_http1(case: Case, service: Service) -> bool:
    parsed = naming.parse_cluster(case.end.cluster)
    port = service.port(parsed.port) if parsed is not None else None
    return port is not None and port.protocol is Protocol.HTTP


def _direct(case: Case, service: Service) -> bool:
    """Whether no sidecar stands before the server, which would make it HTTP/1.1 again."""
    ends = chosen_endpoints(case, service)
    return not any(end.tls_mode == TLS_ISTIO for end in ends)


def _upgrades(case: Case, ref: Ref) -> bool:
    rule = case.world.destination_rules.get(ref)
    policy = rule.spec.traffic_policy if rule is not None else None
    pool = policy.connection_pool if policy is not None else None
    return pool is not None and pool.http is not None and pool.http.h2_upgrade_policy is H2UpgradePolicy.UPGRADE
