"""Which ports a workload is reached on, and where each leads: from its services, or from its Sidecar's ingress."""

import re
from collections.abc import Iterator

import msgspec

from tidegate.api.networking import (
    CaptureMode,
    ConnectionPoolSettings,
    IstioIngressListener,
    RetryBudget,
    ServerTLSSettings,
    Sidecar,
)
from tidegate.api.objects import Object, Ref
from tidegate.api.security import MutualTLSMode
from tidegate.envoy.clusters import config_path
from tidegate.envoy.inputs import InboundInput
from tidegate.envoy.resource import Decision, Origin
from tidegate.registry.addresses import is_ip
from tidegate.registry.model import Port, Protocol, Service, ServiceTarget
from tidegate.registry.protocols import from_word
from tidegate.scope.proxy import Interception

LOCALHOST_V4, LOCALHOST_V6 = "127.0.0.1", "::1"
_PORT = re.compile(r"[0-9]{1,5}")
_WILDCARDS = ("0.0.0.0", "[::]")  # noqa: S104 -- a word of defaultEndpoint that stands for the workload's address


class InboundPort(msgspec.Struct, frozen=True, kw_only=True):
    """One port on which the application takes connections."""

    number: int
    """The port that callers reach, at the workload."""
    protocol: Protocol
    bind: str
    """First part of chain and stat names, and the address of a listener that binds."""
    service_port: int
    operation: str
    """Host part of what traces call requests to it."""
    services: tuple[Service, ...] = ()
    port: Port | None = None
    endpoint: str = ""
    """Sidecar defaultEndpoint: ``127.0.0.1:80``, ``unix:///path``; "" for where the caller was going."""
    pool: ConnectionPoolSettings | None = None
    retry_budget: RetryBudget | None = None
    rule: Ref | None = None
    """The DestinationRule that holds for the port's service."""
    pooled: bool = False
    """``pool`` comes from that rule."""
    config: str = ""
    """Path of the Sidecar, for Envoy metadata."""
    captured: bool = True
    tls: ServerTLSSettings | None = None
    """TLS that is ended with a certificate of the listener's own."""
    origin: Origin | None = None
    losers: tuple[Ref, ...] = ()
    """Objects whose ports lead to the same number and do not count."""

    @property
    def decision(self) -> Decision | None:
        if not self.losers or self.origin is None:
            return None
        return Decision(f"inbound port {self.number}", "oldest wins", self.origin.ref, self.losers)


def ports_of(given: InboundInput) -> tuple[InboundPort, ...]:
    """Ports in rising order. A Sidecar that lists ingress listeners replaces what services say, or (``merge_ingress``)
    what they say of the same ports; without it nothing is listened on where nothing is captured."""
    sidecar, captures = given.sidecar, given.proxy.interception is not Interception.NONE
    listed = sidecar is not None and bool(sidecar.spec.ingress)
    found = list(_from_sidecar(given, sidecar)) if sidecar is not None and listed else []
    if captures and (given.merge_ingress or not listed):
        taken = {port.number for port in found}
        found += [port for port in _from_services(given) if port.number not in taken]
    return tuple(sorted(found, key=lambda p: (p.number, p.bind)))


def _from_services(given: InboundInput) -> Iterator[InboundPort]:
    by_number: dict[int, list[ServiceTarget]] = {}
    for target in given.targets:
        if target.port.protocol is not Protocol.UDP:
            by_number.setdefault(target.endpoint_port, []).append(target)
    pools, budgets, rules = dict(given.pools), dict(given.budgets), dict(given.pool_rules)
    own = given.sidecar.spec.inbound_connection_pool if given.sidecar else None
    mesh = _mesh_pool(given)
    for number, targets in by_number.items():
        first = targets[0]
        keyed, budget = pools.get(number), budgets.get(number)
        yield InboundPort(
            number=number,
            protocol=first.port.protocol,
            bind=given.proxy.wildcard,
            service_port=first.port.number,
            operation=first.service.host,
            services=_sharing(targets),
            port=first.port,
            pool=own if own is not None else (keyed.value if keyed else mesh),
            retry_budget=budget.value if budget else None,
            rule=rules.get(number),
            pooled=own is None and keyed is not None,
            origin=_service_origin(first),
            losers=_losers(targets),
        )


def _mesh_pool(given: InboundInput) -> ConnectionPoolSettings | None:
    """The mesh's connection pool, where neither a rule nor a Sidecar has one."""
    mesh = given.defaults.cluster.traffic_policy
    return mesh.value.connection_pool if mesh else None


def _sharing(targets: list[ServiceTarget]) -> tuple[Service, ...]:
    """The service that decides, and those of the same port number that lead to the same target."""
    number = targets[0].port.number
    return tuple({t.service.host: t.service for t in reversed(targets) if t.port.number == number}.values())[::-1]


def _service_origin(target: ServiceTarget) -> Origin | None:
    if not target.service.sources:
        return None
    index = next((i for i, port in enumerate(target.service.ports) if port == target.port), 0)
    return Origin("", target.service.sources[0], f"spec.ports[{index}]")


def _losers(targets: list[ServiceTarget]) -> tuple[Ref, ...]:
    winner = targets[0].service.sources[:1]
    others = (ref for target in targets[1:] for ref in target.service.sources[:1] if (ref,) != winner)
    return tuple(dict.fromkeys(others))


def _from_sidecar(given: InboundInput, sidecar: Object[Sidecar]) -> Iterator[InboundPort]:
    """The first of several listeners on one port counts."""
    seen: dict[int, None] = {}
    for index, listener in enumerate(sidecar.spec.ingress):
        if listener.port is not None and listener.port.number not in seen:
            seen[listener.port.number] = None
            yield _of_listener(given, sidecar, index, listener, listener.port.number)


def _of_listener(
    given: InboundInput, sidecar: Object[Sidecar], index: int, listener: IstioIngressListener, number: int
) -> InboundPort:
    bound = given.proxy.interception is Interception.NONE or listener.capture_mode is CaptureMode.NONE
    served = next((t for t in given.targets if t.endpoint_port == number), None)
    pools, budget = dict(given.pools), dict(given.budgets).get(number)
    own = listener.connection_pool or sidecar.spec.inbound_connection_pool
    ruled = pools[number].value if served and number in pools else None
    return InboundPort(
        number=number,
        protocol=_protocol(given, listener),
        bind=listener.bind or given.address or given.proxy.wildcard,
        service_port=number,
        operation=f"{sidecar.ref.name}.{sidecar.ref.namespace}",
        services=(served.service,) if served else (),
        port=_named(served.port, listener) if served else None,
        endpoint=_endpoint(listener.default_endpoint, given.address),
        pool=own or ruled or _mesh_pool(given),
        retry_budget=budget.value if served and budget else None,
        rule=dict(given.pool_rules).get(number) if served else None,
        pooled=own is None and ruled is not None,
        config=config_path(sidecar),
        captured=not bound,
        tls=listener.tls if _opens(given, number) else None,
        origin=Origin("", sidecar.ref, f"spec.ingress[{index}]"),
    )


def _protocol(given: InboundInput, listener: IstioIngressListener) -> Protocol:
    """What the port declares; where TLS settings of its own count, what is in the TLS."""
    declared = from_word(listener.port.protocol if listener.port else "")
    inside = {Protocol.HTTPS: Protocol.HTTP, Protocol.TLS: Protocol.TCP}
    return inside.get(declared, declared) if given.ingress_tls and listener.tls is not None else declared


def _opens(given: InboundInput, number: int) -> bool:
    """Whether a listener's own TLS counts: only where the port takes no mutual TLS of the mesh."""
    takes_mesh_tls = given.proxy.mtls and given.security.peers.of(number) is not MutualTLSMode.DISABLE
    return given.ingress_tls and not takes_mesh_tls


def _named(served: Port, listener: IstioIngressListener) -> Port:
    """The service's port under the name that the listener gives it, which statistics may be called after."""
    name = listener.port.name if listener.port else ""
    return msgspec.structs.replace(served, name=name or served.name)


def _endpoint(text: str, address: str) -> str:
    """defaultEndpoint with the workload's own address in place of the wildcard one; "" for what names no address."""
    if text.startswith("unix://"):
        return text if text != "unix://" else ""
    host, colon, port = text.rpartition(":")
    if host in _WILDCARDS and address:
        host = f"[{address}]" if ":" in address else address
    usable = is_ip(host.strip("[]")) and _PORT.fullmatch(port) and 0 < int(port) < 65536
    return f"{host}{colon}{port}" if usable else ""


def split_endpoint(text: str) -> tuple[str, int]:
    """Address and port of ``127.0.0.1:80`` or ``[::1]:80``; (path, 0) of ``unix:///path``."""
    if text.startswith("unix://"):
        return text.removeprefix("unix://"), 0
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)
