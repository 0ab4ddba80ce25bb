"""Who has the port at which a connection is taken."""

from collections.abc import Iterator

from tidegate.answer.absence import Absence
from tidegate.answer.case import Case, egress_policy, inbound_policy, targets_of
from tidegate.answer.gateways import gateway_of
from tidegate.api.objects import Ref
from tidegate.api.security import MutualTLSMode
from tidegate.registry.model import Protocol
from tidegate.scope.authentication import peer_modes
from tidegate.scope.visibility import visible


def detector(case: Case) -> Ref:
    """Why the proxy waits for the client's first bytes: inbound for mutual TLS, outbound for the port's protocol."""
    if case.connection.direction == "inbound":
        return inbound_policy(case)
    return receiver_of(case)


def detecting(case: Case) -> Iterator[Absence]:
    """What makes the proxy look at the client's first bytes, and what would keep it from that."""
    if case.connection.direction == "inbound":
        modes = peer_modes(case.world, case.proxy.kind.namespace, case.proxy.labels)
        if modes.of(case.connection.port) is MutualTLSMode.PERMISSIVE:
            words = "takes mutual TLS and plain text, told apart by the first bytes: STRICT or DISABLE waits for none"
            yield Absence(inbound_policy(case), "spec.mtls", words, strong=False)
        return
    taker, number = receiver_of(case), case.connection.port
    words = f"has port {number} {_spoken(case, taker)}: where the server speaks first it has to be TCP"
    yield Absence(taker, "spec.ports", f"{words} (name tcp-…, appProtocol or protocol)", strong=False)


def _spoken(case: Case, taker: Ref) -> str:
    """What the taker's port is declared to speak."""
    ports = (s.port(case.connection.port) for s in case.world.services.values() if taker in s.sources)
    declared = next((port.protocol for port in ports if port is not None), Protocol.AUTO)
    return f"declared {declared}" if declared is not Protocol.AUTO else "without a protocol"


def receiver_of(case: Case) -> Ref:
    """Who has the port at which the connection was taken: the meant service where it has it, else the oldest one."""
    if case.connection.direction == "inbound":
        return next((t.service.sources[0] for t in targets_of(case)), inbound_policy(case))
    if case.connection.direction == "gateway":
        return gateway_of(case) or egress_policy(case)
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
    return min(having, key=lambda s: s.age_key).sources[0] if having else egress_policy(case)
