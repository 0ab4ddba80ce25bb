"""A question as people ask it, and the connection that it is about."""

from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple

import msgspec

from tidegate.answer.intent import Intent, intent
from tidegate.api.objects import Ref
from tidegate.api.security import MutualTLSMode
from tidegate.explain.connection import Connection, HttpRequest, TlsHello
from tidegate.kit.errors import FieldError, TidegateError
from tidegate.registry.addresses import is_ip
from tidegate.registry.model import Endpoint, Registry, Service
from tidegate.registry.workloads import TLS_MODE
from tidegate.scope.authentication import TLS_ISTIO, peer_modes
from tidegate.scope.proxy import Proxy
from tidegate.snapshot.world import World

Protocol = Literal["http", "https", "http2", "grpc", "tls", "tcp", "udp"]
PROTOCOLS: tuple[Protocol, ...] = ("http", "https", "http2", "grpc", "tls", "tcp", "udp")
NameServer = Callable[[str], tuple[str, ...] | None]
"""The addresses that a proxy's own name server answers with; None: it does not know the name and passes queries on."""
USER = 1000
"""User id of a process of which nothing else is known."""
SOMEWHERE = "192.0.0.8"
"""Stands for an address that only DNS knows: the dummy address of RFC 7600, which no listener names."""


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """Who calls what, and how. Whatever is left empty is what an ordinary client would send."""

    to: str
    """Name or address."""
    port: int
    protocol: Protocol = "http"
    ip: str = ""
    """The dialled address, where it is known: what DNS gave the client."""
    sni: str = ""
    host: str = ""
    path: str = "/"
    method: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    http_version: Literal["", "1.0", "1.1", "2"] = ""
    server_first: bool = False
    direction: Literal["outbound", "inbound", "gateway"] = "outbound"
    """Of a sidecar's connections; a router's are always gateway."""
    source_ip: str = ""
    principal: str = ""
    """The caller's identity in mutual TLS, ``spiffe://…``; for inbound connections."""
    caller: str = ""
    """The workload that calls, ``NAME.NAMESPACE``, for inbound connections: it tells the source's address and, where
    the caller has a sidecar and the called port does not refuse mutual TLS, its identity."""
    unresolved: bool = False
    """The name has no address, as far as the caller knows."""
    user: int | None = None
    """User id of the calling process: the proxy's own is not captured. None: what its Pod says, else 1000."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A question made exact."""

    question: Question
    connection: Connection
    intent: Intent
    resolved: str
    """How the name became the address, in words."""
    known_address: bool = True
    """False: only DNS knows it, and :data:`SOMEWHERE` stands for it."""
    others: tuple[str, ...] = ()
    """Further addresses that the name has: a client may dial any of them instead."""


def ask(world: World, proxy: Proxy, question: Question, names: NameServer | None = None) -> Asked:
    """The connection that the question is about.

    names: what the proxy answers the workload's own queries with, where it does.
    Raises TidegateError that names the part of the question that cannot be.
    """
    _check(question)
    if proxy.kind.router:
        question = msgspec.structs.replace(question, direction="gateway")
    question = _called_by(world, proxy, question)
    meant = intent(world, proxy.kind, question.to, question.ip, question.port)
    found = _resolve(world, proxy, question, meant, names)
    address = found.addresses[0] if found.addresses else ""
    meant = msgspec.structs.replace(meant, ip=address)
    connection, words = _connection(question, address), ""
    if connection.direction == "gateway" or (connection.direction == "inbound" and not _dialled(question)):
        connection, words = _through_service(world, proxy, connection)
    return Asked(
        question=question,
        connection=connection,
        intent=meant,
        resolved=found.words + words,
        known_address=found.known,
        others=found.addresses[1:],
    )


def _dialled(question: Question) -> bool:
    """Whether the question gives the address itself, at which a port is what it is."""
    return bool(question.ip) or is_ip(question.to)


def at(question: Question, address: str) -> Question:
    """The same question about another address of the name that is called."""
    return msgspec.structs.replace(question, ip=address)


def _check(question: Question) -> None:
    wrong = []
    if not 0 < question.port < 65536:
        wrong.append(FieldError("to", "must have a port from 1 to 65535", question.port))
    if not question.to:
        wrong.append(FieldError("to", "must be HOST:PORT or IP:PORT"))
    for name, value in (("ip", question.ip), ("source-ip", question.source_ip)):
        if value and not is_ip(value):
            wrong.append(FieldError(name, "must be an IP address", value))
    if question.protocol not in PROTOCOLS:
        wrong.append(FieldError("protocol", f"must be one of {', '.join(PROTOCOLS)}", question.protocol))
    if wrong:
        raise TidegateError("; ".join(map(str, wrong)))


# The caller


def _called_by(world: World, proxy: Proxy, question: Question) -> Question:
    """The question with what the caller's workload tells. Raises TidegateError for one that is not there."""
    if not question.caller or question.direction != "inbound":
        return question
    name, _, namespace = question.caller.partition(".")
    refs = (Ref(kind, namespace or proxy.kind.namespace, name) for kind in ("Pod", "WorkloadEntry"))
    caller = next((world.workloads[ref] for ref in refs if ref in world.workloads), None)
    if caller is None:
        raise TidegateError(
            str(FieldError("caller", "must be NAME.NAMESPACE of a Pod or WorkloadEntry", question.caller))
        )
    refused = peer_modes(world, proxy.kind.namespace, proxy.labels).of(question.port) is MutualTLSMode.DISABLE
    meshed = dict(caller.labels).get(TLS_MODE) == TLS_ISTIO and not refused
    identity = f"spiffe://{world.mesh.trust_domain}/ns/{caller.namespace}/sa/{caller.service_account or 'default'}"
    return msgspec.structs.replace(
        question,
        source_ip=question.source_ip or next(iter(caller.addresses), ""),
        principal=question.principal or (identity if meshed else ""),
    )


# The address


class _Resolved(NamedTuple):
    """What a name leads to, the address that is dialled first, how it is known, and whether it is known at all."""

    addresses: tuple[str, ...]
    words: str
    known: bool = True


def _resolve(world: World, proxy: Proxy, question: Question, meant: Intent, names: NameServer | None) -> _Resolved:
    if question.direction == "inbound" and not question.ip:
        address = question.to if is_ip(question.to) else proxy.addresses[0]
        return _Resolved((address,), f"{address} is the workload's own")
    if question.ip:
        return _Resolved((question.ip,), f"{question.to} is {question.ip}, as the question says")
    if is_ip(question.to):
        return _Resolved((question.to,), f"{question.to} is dialled by its address")
    if question.direction == "gateway":
        return _Resolved((proxy.addresses[0],), f"{proxy.addresses[0]} is the gateway's own")
    answered = names(question.to) if names is not None else None
    if answered is not None:
        return _answered(question, meant, answered)
    return _by_name(world, proxy, question, meant, answers=proxy.kind.dns_capture and names is None)


def _answered(question: Question, meant: Intent, answered: tuple[str, ...]) -> _Resolved:
    """What the proxy's own name server says."""
    owner = next((s for s in meant.services if {*s.addresses, *s.auto_addresses} & {*answered}), None)
    if not answered:
        return _Resolved((), f"{question.to} has no address: the proxy's name server knows it without one")
    if owner is None or not owner.sources:
        return _named(question, answered, "as the proxy's name server answers")
    allocated = answered[0] in owner.auto_addresses and answered[0] not in owner.addresses
    return _named(question, answered, f"{'allocated to' if allocated else 'the address of'} {owner.sources[0]}")


def _named(question: Question, addresses: Iterable[str], how: str) -> _Resolved:
    first, *others = dict.fromkeys(addresses)
    more = f" (or {', '.join(others)})" if others else ""
    return _Resolved((first, *others), f"{question.to} is {first}{more}, {how}")


def _by_name(world: World, proxy: Proxy, question: Question, meant: Intent, *, answers: bool) -> _Resolved:
    """answers: the proxy answers queries itself, and with what is not told."""
    service = meant.services[0] if meant.services else None
    cluster_dns = service is not None and service.registry is Registry.KUBERNETES
    if question.unresolved and not proxy.kind.dns_capture and not cluster_dns:
        return _Resolved((), f"{question.to} has no address", known=False)
    unknown = f"only DNS knows the address of {question.to}: one that no service has is assumed"
    if service is None:
        return _Resolved(() if question.unresolved else (SOMEWHERE,), unknown, known=False)
    listed = _of_family(proxy, (each for each in service.addresses if is_ip(each)))
    if listed and (cluster_dns or answers):
        return _named(question, listed, f"the address of {service.sources[0]}")
    if answers and service.auto_addresses:
        return _named(question, _of_family(proxy, service.auto_addresses), f"allocated to {service.sources[0]}")
    if service.headless and (pod := _member(world, service, question.to)) is not None:
        return _named(question, (pod.address,), f"a member of {service.sources[0]}")
    if service.headless and service.selector:
        return _Resolved((), f"{question.to} has no address: no member of {service.sources[0]} is ready", known=False)
    if listed:
        words = f"{listed[0]} of {service.sources[0]} is assumed for {question.to}: DNS may give another one"
        return _Resolved(listed[:1], words)
    if question.unresolved:
        return _Resolved((), f"{question.to} has no address: the proxy's DNS has none for it either", known=False)
    return _Resolved((SOMEWHERE,), unknown, known=False)


def _of_family(proxy: Proxy, addresses: Iterable[str]) -> tuple[str, ...]:
    """Those that the workload can dial first: of its own address families."""
    found = tuple(addresses)
    return tuple(sorted(found, key=lambda each: not (proxy.kind.ipv6 if ":" in each else proxy.kind.ipv4)))


def _member(world: World, service: Service, name: str) -> Endpoint | None:
    """The member that a pod's name means, else the first one."""
    ends = world.endpoints.get(service.key, ())
    first = name.partition(".")[0]
    return next((end for end in ends if end.hostname == first), ends[0] if ends else None)


# The bytes


def _connection(question: Question, address: str) -> Connection:
    return Connection(
        direction=question.direction,
        ip=address,
        port=question.port,
        source_ip=question.source_ip,
        transport="udp" if question.protocol == "udp" else "tcp",
        tls=_tls(question),
        http=_http(question),
        server_first=question.server_first,
        plain_bytes=question.protocol in ("tcp", "udp") and not question.server_first,
    )


def _through_service(world: World, proxy: Proxy, connection: Connection) -> tuple[Connection, str]:
    """A connection to the port of a Service as it comes to the gateway or workload behind it, and how in words."""
    workload = world.workloads.get(proxy.workload) if proxy.workload is not None else None
    if workload is None:
        return connection, ""
    targets = world.targets(workload)
    if any(target.endpoint_port == connection.port for target in targets):
        return connection, ""
    for target in targets:
        if target.port.number == connection.port and target.service.sources:
            arrived = msgspec.structs.replace(connection, ip=proxy.addresses[0], port=target.endpoint_port)
            words = f"; port {connection.port} of {target.service.sources[0]} leads to its port {arrived.port}"
            return arrived, words
    return connection, ""


def _tls(question: Question) -> TlsHello | None:
    mutual = bool(question.principal)
    if question.protocol not in ("https", "tls") and not mutual:
        return None
    name = question.sni or (question.host.partition(":")[0] if question.host else question.to)
    offered = ("h2", "http/1.1") if question.protocol == "https" else ()
    alpn = _mesh_protocols(question) if mutual else offered
    return TlsHello(sni="" if is_ip(name) else name, alpn=alpn, mutual=mutual, principal=question.principal)


def _mesh_protocols(question: Question) -> tuple[str, ...]:
    """What a sidecar offers to another one: by the request's own protocol, or that it carries bytes."""
    request = _http(question)
    if request is None:
        return ("istio-peer-exchange", "istio")
    return ("istio-h2" if request.version == "2" else f"istio-http/{request.version}", "istio")


def _http(question: Question) -> HttpRequest | None:
    if question.protocol in ("tls", "tcp", "udp"):
        return None
    two = question.protocol in ("http2", "grpc")
    headers = question.headers
    if question.protocol == "grpc" and not any(name.lower() == "content-type" for name, _ in headers):
        headers = (*headers, ("content-type", "application/grpc"))
    return HttpRequest(
        version=question.http_version or ("2" if two else "1.1"),
        method=question.method or ("POST" if question.protocol == "grpc" else "GET"),
        authority=question.host or _authority(question),
        path=question.path or "/",
        headers=headers,
    )


def _authority(question: Question) -> str:
    """What clients write: the port only where it is not the scheme's own."""
    usual = 443 if question.protocol == "https" else 80
    name = f"[{question.to}]" if ":" in question.to else question.to
    return name if question.port == usual else f"{name}:{question.port}"
