"""A delta client that speaks the protocol by hand, as a sidecar does: for tests and for load."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from types import TracebackType
from typing import Any, Self

import grpc
import grpc.aio
from envoy.config.listener.v3 import listener_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2 as hcm_pb2
from envoy.service.discovery.v3 import discovery_pb2

from tidegate.xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE
from tidegate.xds.wire import eds_service_name

METHOD = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"


@lru_cache(maxsize=65536)
def route_names(listener: bytes) -> tuple[str, ...]:
    """Names of the route configurations that a serialized Listener asks for."""
    message = listener_pb2.Listener.FromString(listener)
    names: list[str] = []
    for chain in (*message.filter_chains, message.default_filter_chain):
        for each in chain.filters:
            manager = hcm_pb2.HttpConnectionManager()
            if each.typed_config.Unpack(manager) and manager.HasField("rds"):
                names.append(manager.rds.route_config_name)
    return tuple(dict.fromkeys(names))


Judge = Callable[[str, dict[str, bytes]], str | None]
"""Type URL and the bodies of one response by name to the reason for refusing it whole, None to accept it."""


@dataclass
class Table:
    """Resources of one type that the client holds."""

    bodies: dict[str, bytes] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    subscribed: set[str] = field(default_factory=set)
    responses: int = 0
    received: int = 0
    """Resources in all responses, also those held already."""


class Subscriber:
    """The client side of the protocol without I/O: responses in, requests out."""

    def __init__(self, node: discovery_pb2.DeltaDiscoveryRequest, judge: Judge | None = None) -> None:
        self._node = node
        self._judge = judge or (lambda _type_url, _bodies: None)
        self.tables: dict[str, Table] = {url: Table() for url in (CLUSTER, ENDPOINT, LISTENER, ROUTE)}

    def begin(self) -> list[Any]:
        """First requests of a stream. What is held from an earlier one is told by version."""
        first = self._request(CLUSTER)
        first.node.CopyFrom(self._node.node)
        requests = [first, self._request(LISTENER)]
        asked = {url: sorted(self.tables[url].subscribed) for url in (ENDPOINT, ROUTE)}
        requests.extend(self._request(url, subscribe=names) for url, names in asked.items() if names)
        for request in requests:
            request.initial_resource_versions.update(self.tables[request.type_url].versions)
        return requests

    def on_response(self, data: bytes) -> list[Any]:
        """The answer, and what follows from it for other types."""
        response = discovery_pb2.DeltaDiscoveryResponse.FromString(data)
        table = self.tables.setdefault(response.type_url, Table())
        bodies = {each.name: each.resource.value for each in response.resources}
        table.responses += 1
        table.received += len(bodies)
        answer = self._request(response.type_url)
        answer.response_nonce = response.nonce
        if reason := self._judge(response.type_url, bodies):
            answer.error_detail.code = 13
            answer.error_detail.message = reason
            return [answer]
        table.bodies.update(bodies)
        table.versions.update({each.name: each.version for each in response.resources})
        for name in response.removed_resources:
            table.bodies.pop(name, None)
            table.versions.pop(name, None)
        return [answer, *self._follow(response.type_url)]

    def _follow(self, type_url: str) -> list[Any]:
        if type_url == CLUSTER:
            found = (eds_service_name(body) for body in self.tables[CLUSTER].bodies.values())
            return self._ask(ENDPOINT, {name for name in found if name is not None})
        if type_url == LISTENER:
            listeners = self.tables[LISTENER].bodies.values()
            return self._ask(ROUTE, {name for body in listeners for name in route_names(body)})
        return []

    def _ask(self, type_url: str, names: set[str]) -> list[Any]:
        """Subscribe to exactly these names."""
        table = self.tables[type_url]
        added, dropped = sorted(names - table.subscribed), sorted(table.subscribed - names)
        table.subscribed = names
        for name in dropped:
            table.bodies.pop(name, None)
            table.versions.pop(name, None)
        return [self._request(type_url, subscribe=added, unsubscribe=dropped)] if added or dropped else []

    def _request(self, type_url: str, subscribe: Iterable[str] = (), unsubscribe: Iterable[str] = ()) -> Any:
        return discovery_pb2.DeltaDiscoveryRequest(
            type_url=type_url, resource_names_subscribe=subscribe, resource_names_unsubscribe=unsubscribe
        )


def first_node(node_id: str, metadata: dict[str, Any] | None = None) -> discovery_pb2.DeltaDiscoveryRequest:
    """A request that carries only the node."""
    request = discovery_pb2.DeltaDiscoveryRequest()
    request.node.id = node_id
    request.node.metadata.update(metadata or {})
    return request


class DeltaClient:
    """An asynchronous context manager: connected and answering while it is entered.

    target: a gRPC target (``unix:/run/tidegate/xds.sock``). A Subscriber may be handed from one client to the next.
    """

    def __init__(self, target: str, subscriber: Subscriber, token: str = "") -> None:
        self.subscriber = subscriber
        self._target = target
        self._metadata = (("authorization", f"Bearer {token}"),) if token else ()
        self._outgoing: asyncio.Queue[Any] = asyncio.Queue()
        self._changed = asyncio.Condition()
        self.ended: grpc.aio.AioRpcError | None = None
        """Why the stream ended, when the server ended it."""

    async def __aenter__(self) -> Self:
        self._channel = grpc.aio.insecure_channel(
            self._target, options=[("grpc.max_receive_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
        )
        call = self._channel.stream_stream(METHOD, None, None)(self._requests(), metadata=self._metadata)
        first, *rest = self.subscriber.begin()
        self._outgoing.put_nowait(first)
        self._task = asyncio.create_task(self._read(call, rest))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self._channel.close(None)

    async def until(self, holds: Callable[[Subscriber], bool], timeout: float = 30.0) -> None:  # noqa: ASYNC109
        """Wait until the client's tables are as wanted, or its stream has ended. Raises TimeoutError."""
        async with asyncio.timeout(timeout), self._changed:
            await self._changed.wait_for(lambda: self.ended is not None or holds(self.subscriber))

    async def _requests(self) -> AsyncIterator[bytes]:
        while True:
            yield (await self._outgoing.get()).SerializeToString()

    async def _read(self, call: Any, later: list[Any]) -> None:
        """``later`` is sent after the first response: grpc.aio calls it an internal error, and loses the server's
        reason, when a message is written to a stream that the server has refused."""
        with contextlib.closing(_Cancelling(call)):
            try:
                async for data in call:
                    for request in (*self.subscriber.on_response(data), *later):
                        self._outgoing.put_nowait(request)
                    later = []
                    await self._tell()
            except grpc.aio.AioRpcError as error:
                self.ended = error
                await self._tell()

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()


class _Cancelling:
    def __init__(self, call: Any) -> None:
        self._call = call

    def close(self) -> None:
        self._call.cancel()
