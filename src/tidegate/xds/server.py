"""The aggregated discovery service over gRPC: who may connect, and one session for each stream."""

import asyncio
import contextlib
import itertools
import logging
import os
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import grpc
import grpc.aio

from tidegate.kit.errors import TidegateError
from tidegate.xds.acceptance import ProxyMemory, Refusal
from tidegate.xds.delta import DeltaSession
from tidegate.xds.node import NodeId, NodeIdError, parse_node_id
from tidegate.xds.session import ProtocolError, Send
from tidegate.xds.sotw import SotwSession
from tidegate.xds.source import Subscription, SubscriptionEnded
from tidegate.xds.stream import PATIENCE, Stream
from tidegate.xds.types import short
from tidegate.xds.unix import SocketClaim
from tidegate.xds.wire import MAX_REQUEST, Node, WireError, parse_delta, parse_sotw

log = logging.getLogger(__name__)

SERVICE = "envoy.service.discovery.v3.AggregatedDiscoveryService"
_KEEPALIVE_MS, _KEEPALIVE_TIMEOUT_MS, _MIN_PING_MS = 30_000, 10_000, 15_000
_ATTACH_TIMEOUT = 10.0
_FIRST_REQUEST_TIMEOUT = 30.0
_REMEMBERED_PROXIES = 10_000


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a token says its bearer is."""

    namespace: str
    service_account: str
    pod: str = ""
    """"" when the token is not bound to a Pod."""


class AttachError(TidegateError):
    """The proxy cannot be served now; it should try again."""


Metadata = Mapping[str, str]
Authenticate = Callable[[Metadata], Awaitable[Identity | None]]
"""From a call's metadata (lower-case keys, text values) to an identity; None: not authenticated. Raises AttachError
where that cannot be told now."""
Attach = Callable[[Identity, Node], Awaitable[Subscription]]
"""The subscription of an authenticated proxy. Raises AttachError."""


class ServerObserver(Protocol):
    """Is told what happens, for metrics. Must not block or raise."""

    def connected(self, connection: "Connection") -> None: ...
    def disconnected(self, connection: "Connection") -> None: ...
    def sent(self, connection: "Connection", send: Send, seconds: float) -> None: ...
    def converged(self, seconds: float) -> None: ...
    def refused(self, connection: "Connection", type_url: str, refusals: list[Refusal], error: str) -> None: ...
    def expired_nonce(self, type_url: str) -> None: ...
    def received(self, size: int) -> None: ...


@dataclass(frozen=True, slots=True)
class Limits:
    streams: int = 10_000
    patience: float = PATIENCE
    """Seconds that listeners and routes wait for clusters to be warm."""


@dataclass(eq=False)
class Connection:
    """One authenticated stream."""

    id: str
    node: Node
    proxy: NodeId
    identity: Identity
    peer: str
    observer: "ServerObserver | None" = None
    session: DeltaSession | SotwSession = field(init=False)
    connected_at: float = field(default_factory=time.time)
    """Seconds since the epoch."""
    sent_at: dict[str, float] = field(default_factory=dict)
    """By type URL, seconds since the epoch."""

    def sent(self, send: Send, seconds: float) -> None:
        self.sent_at[send.type_url] = time.time()
        if self.observer:
            self.observer.sent(self, send, seconds)

    def converged(self, seconds: float) -> None:
        if self.observer:
            self.observer.converged(seconds)

    def refused(self, type_url: str, refusals: list[Refusal], error: str) -> None:
        names = ", ".join(refusal.resource.name for refusal in refusals) or "not told which, looking for it"
        log.warning("%s refused %s (%s): %s", self.id, short(type_url), names, error[:500])
        if self.observer:
            self.observer.refused(self, type_url, refusals, error)

    def expired_nonce(self, type_url: str) -> None:
        if self.observer:
            self.observer.expired_nonce(type_url)


class _Refused(Exception):
    """Ends a stream with a status."""

    def __init__(self, code: grpc.StatusCode, text: str) -> None:
        super().__init__(text)
        self.code, self.text = code, text


class DiscoveryServer:
    """Serves StreamAggregatedResources and DeltaAggregatedResources.

    A message that cannot be read, or one beyond 4 MiB, ends its stream and no other.
    """

    def __init__(
        self,
        authenticate: Authenticate,
        attach: Attach,
        observer: ServerObserver | None = None,
        limits: Limits | None = None,
    ) -> None:
        self._authenticate, self._attach, self._observer = authenticate, attach, observer
        self._limits = limits or Limits()
        self._connections: dict[str, Connection] = {}
        self._memories: OrderedDict[tuple[str, str], ProxyMemory] = OrderedDict()
        self._numbers = itertools.count(1)
        self._stopping = asyncio.Event()
        self._claim: SocketClaim | None = None
        self._server: grpc.aio.Server | None = None
        self.tcp_port: int | None = None
        """The port that was bound, when TCP was asked for."""

    def connections(self) -> Sequence[Connection]:
        return tuple(self._connections.values())

    async def start(
        self, socket_path: Path | None, tcp: str | None = None, credentials: grpc.ServerCredentials | None = None
    ) -> None:
        """Listen on a Unix socket (0600) and, if asked for, on a TCP address ``host:port``: with credentials (TLS), or
        on loopback without. Raises SocketPathError, OSError (address in use), ValueError."""
        if tcp is not None and credentials is None and not _is_loopback(tcp):
            raise ValueError(f"discovery address {tcp}: without TLS only a loopback address is served")
        server = grpc.aio.server(options=_OPTIONS, maximum_concurrent_rpcs=self._limits.streams)
        server.add_generic_rpc_handlers((self._handlers(),))
        if socket_path is not None:
            self._claim = SocketClaim(socket_path)
        try:
            if socket_path is not None:
                _bind_unix(server, socket_path)
            if tcp is not None:
                self.tcp_port = _bind_tcp(server, tcp, credentials)
            await server.start()
        except BaseException:
            self._release()
            raise
        self._server = server

    async def stop(self, grace: float = 5.0) -> None:
        """End all streams (clients are told UNAVAILABLE and come again elsewhere), then close the sockets."""
        self._stopping.set()
        if self._server is not None:
            await self._server.stop(grace)
            self._server = None
        self._release()

    def _release(self) -> None:
        if self._claim is not None:
            self._claim.release()
            self._claim = None

    def _handlers(self) -> Any:
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                "DeltaAggregatedResources": grpc.stream_stream_rpc_method_handler(self._delta),
                "StreamAggregatedResources": grpc.stream_stream_rpc_method_handler(self._sotw),
            },
        )

    async def _delta(self, messages: AsyncIterator[bytes], context: Any) -> None:
        await self._serve(messages, context, parse_delta, DeltaSession)

    async def _sotw(self, messages: AsyncIterator[bytes], context: Any) -> None:
        await self._serve(messages, context, parse_sotw, SotwSession)

    async def _serve(self, messages: AsyncIterator[bytes], context: Any, parse: Any, kind: Any) -> None:
        requests = self._parsed(messages, parse)
        code, text = grpc.StatusCode.UNAVAILABLE, "the server is stopping"
        try:
            await self._until_stopping(self._open(requests, context, kind))
        except* _Refused as group:
            code, text = _first(group).code, _first(group).text
        except* (WireError, ProtocolError) as group:
            code, text = grpc.StatusCode.INVALID_ARGUMENT, str(_first(group))
        except* SubscriptionEnded as group:
            code, text = grpc.StatusCode.UNAVAILABLE, str(_first(group))
        else:
            if not self._stopping.is_set():
                return
        await context.abort(code, text)

    async def _until_stopping(self, work: Any) -> None:
        """Run a stream's work; end it when the server stops."""
        task = asyncio.ensure_future(work)
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                task.result()
        finally:
            for each in (task, stopping):
                each.cancel()
            await asyncio.gather(task, stopping, return_exceptions=True)

    async def _parsed(self, messages: AsyncIterator[bytes], parse: Any) -> AsyncIterator[Any]:
        async for message in messages:
            if self._observer:
                self._observer.received(len(message))
            yield parse(message)

    async def _open(self, requests: AsyncIterator[Any], context: Any, kind: Any) -> None:
        identity = await self._identify(context)
        try:
            first = await asyncio.wait_for(anext(requests), _FIRST_REQUEST_TIMEOUT)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise _Refused(grpc.StatusCode.DEADLINE_EXCEEDED, "no discovery request came") from None
        proxy = _admit(identity, first.node)
        subscription = await self._subscribe(identity, first.node)
        connection = self._connection(first.node, proxy, identity, str(context.peer()))
        connection.session = kind(subscription.view, self._memory(first.node), connection)
        stream = Stream(
            connection.session, subscription, requests, context.write, connection, patience=self._limits.patience
        )
        with contextlib.closing(subscription), self._listed(connection):
            await stream.run(first)

    async def _identify(self, context: Any) -> Identity:
        metadata = {k: v for k, v in context.invocation_metadata() or () if isinstance(v, str)}
        try:
            identity = await asyncio.wait_for(self._authenticate(metadata), _ATTACH_TIMEOUT)
        except AttachError as error:
            raise _Refused(grpc.StatusCode.UNAVAILABLE, str(error)) from None
        except TimeoutError:
            raise _Refused(grpc.StatusCode.UNAVAILABLE, "the token could not be checked in time") from None
        if identity is None:
            raise _Refused(
                grpc.StatusCode.UNAUTHENTICATED, "expected metadata authorization: Bearer <token>, with a valid token"
            )
        return identity

    async def _subscribe(self, identity: Identity, node: Node) -> Subscription:
        try:
            return await asyncio.wait_for(self._attach(identity, node), _ATTACH_TIMEOUT)
        except AttachError as error:
            raise _Refused(grpc.StatusCode.UNAVAILABLE, str(error)) from None
        except TimeoutError:
            raise _Refused(grpc.StatusCode.UNAVAILABLE, "the configuration was not ready in time") from None

    def _memory(self, node: Node) -> ProxyMemory:
        """Kept across streams: what one build of Envoy refused it would refuse again."""
        key = (node.id, node.build)
        memory = self._memories.setdefault(key, ProxyMemory())
        self._memories.move_to_end(key)
        while len(self._memories) > _REMEMBERED_PROXIES:
            self._memories.popitem(last=False)
        return memory

    def _connection(self, node: Node, proxy: NodeId, identity: Identity, peer: str) -> Connection:
        return Connection(f"{node.id}-{next(self._numbers)}", node, proxy, identity, peer, self._observer)

    @contextlib.contextmanager
    def _listed(self, connection: Connection) -> Any:
        self._connections[connection.id] = connection
        if self._observer:
            self._observer.connected(connection)
        log.info("%s connected", connection.id)
        try:
            yield
        finally:
            del self._connections[connection.id]
            if self._observer:
                self._observer.disconnected(connection)
            log.info("%s disconnected", connection.id)


_OPTIONS = [
    ("grpc.max_receive_message_length", MAX_REQUEST),
    ("grpc.max_send_message_length", -1),
    ("grpc.keepalive_time_ms", _KEEPALIVE_MS),
    ("grpc.keepalive_timeout_ms", _KEEPALIVE_TIMEOUT_MS),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", _MIN_PING_MS),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", _MIN_PING_MS),
    ("grpc.so_reuseport", 0),
]


def _admit(identity: Identity, node: Node | None) -> NodeId:
    """What a client says it is must be what its token says."""
    if node is None or not node.id:
        raise _Refused(
            grpc.StatusCode.INVALID_ARGUMENT, "missing node information: the first request must have node.id"
        )
    try:
        proxy = parse_node_id(node.id)
    except NodeIdError as error:
        raise _Refused(grpc.StatusCode.INVALID_ARGUMENT, str(error)) from None
    if proxy.namespace != identity.namespace:
        raise _Refused(
            grpc.StatusCode.PERMISSION_DENIED,
            f"node.id is of namespace {proxy.namespace}, the token of namespace {identity.namespace}",
        )
    if identity.pod and proxy.pod != identity.pod:
        raise _Refused(
            grpc.StatusCode.PERMISSION_DENIED, f"node.id is of Pod {proxy.pod}, the token of Pod {identity.pod}"
        )
    return proxy


def _bind_unix(server: grpc.aio.Server, path: Path) -> None:
    before = os.umask(0o177)
    try:
        server.add_insecure_port(f"unix:{path}")
    except RuntimeError as error:
        raise OSError(f"socket path {path}: cannot be listened on: {error}") from None
    finally:
        os.umask(before)
    path.chmod(0o600)


def _bind_tcp(server: grpc.aio.Server, address: str, credentials: grpc.ServerCredentials | None) -> int:
    try:
        if credentials is not None:
            return int(server.add_secure_port(address, credentials))
        return int(server.add_insecure_port(address))
    except RuntimeError as error:
        raise OSError(f"discovery address {address}: cannot be listened on: {error}") from None


def _is_loopback(address: str) -> bool:
    return address.rpartition(":")[0] in ("127.0.0.1", "[::1]", "localhost")


def _first(group: BaseExceptionGroup[Any]) -> Any:
    """The first leaf of nested groups."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
