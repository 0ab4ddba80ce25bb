"""Discovery between Envoy and the control plane: bytes pass through; what Envoy accepts is remembered.

A stream from Envoy is answered by the control plane when it answers, else from the last accepted set. When the control
plane goes away in mid-stream, Envoy keeps its stream and hears nothing; when it is back, Envoy's stream is ended, and
Envoy comes again with the versions it has, so that nothing is sent twice and no listener is drained.
"""

import asyncio
import contextlib
import logging
import random
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol, TypeVar

import grpc
import grpc.aio
from grpc.aio import EOF  # type: ignore[attr-defined]  # the stubs lack it

from tidegate.agent.acceptance import Acceptance, Change
from tidegate.agent.lastgood import LastGood
from tidegate.agent.namefeed import NameFeed, Received
from tidegate.agent.upstream import CONNECT_SECONDS, MAX_MESSAGE, Upstream
from tidegate.kit.errors import TidegateError
from tidegate.xds.session import ProtocolError
from tidegate.xds.wire import WireError

T = TypeVar("T")

log = logging.getLogger(__name__)

METHOD = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
ANSWER_SECONDS = 5.0
"""How long the control plane may say nothing to a new stream before the last accepted set answers."""
FIRST_DELAY, LAST_DELAY = 0.1, 10.0
"""Seconds between attempts to reach the control plane."""
MAX_TOKEN = 65536

_OPTIONS = (
    ("grpc.max_receive_message_length", MAX_MESSAGE),
    ("grpc.max_send_message_length", MAX_MESSAGE),
    ("grpc.use_local_subchannel_pool", 1),
)
_LAST_ACCEPTED = "the last accepted set"


class Context(Protocol):
    """What the relay needs of grpc.aio.ServicerContext."""

    async def read(self) -> Any: ...
    async def write(self, message: bytes) -> None: ...
    async def abort(self, code: grpc.StatusCode, details: str) -> Any: ...


class TokenError(TidegateError):
    """The bearer token cannot be read."""


class Downstream:
    """Envoy's side of one stream. Requests are kept until somebody has answered."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._waiting: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.unanswered: list[bytes] | None = []
        """The requests so far; None once a response was written."""
        self.ended = False

    async def read_all(self) -> None:
        """Take Envoy's requests until it ends the stream."""
        try:
            while (request := await self._context.read()) is not EOF:
                self._waiting.put_nowait(request)
        finally:
            self.ended = True
            self._waiting.put_nowait(None)

    async def next(self) -> bytes | None:
        """The next request; None at the end of the stream."""
        request = await self._waiting.get()
        if request is not None and self.unanswered is not None:
            self.unanswered.append(request)
        return request

    async def resumes(self) -> bool:
        """Whether Envoy says in its first requests that it has resources already; waits for the first of them."""
        if not self.unanswered:
            await self.next()
        return Acceptance.resumes(self.unanswered or ())

    def again(self) -> None:
        """Put the unanswered requests back, for somebody else to answer."""
        later = []
        while not self._waiting.empty():
            later.append(self._waiting.get_nowait())
        for request in (*(self.unanswered or ()), *later):
            self._waiting.put_nowait(request)
        self.unanswered = []

    async def write(self, response: bytes) -> None:
        self.unanswered = None
        await self._context.write(response)


class UpstreamCall:
    """The control plane's side of one stream: Envoy's requests and the agent's own are written one at a time."""

    def __init__(self, call: Any) -> None:
        self._call, self._writing = call, asyncio.Lock()

    async def read(self) -> Any:
        return await self._call.read()

    async def write(self, request: bytes) -> None:
        async with self._writing:
            await self._call.write(request)


class Relay:
    """The discovery server of one workload."""

    def __init__(self, upstream: Upstream, token_file: Path, store: LastGood, feed: NameFeed | None = None) -> None:
        self._upstream, self._token_file, self._store, self._feed = upstream, token_file, store, feed
        self._writer = ThreadPoolExecutor(1, "lastgood")
        self._server = grpc.aio.server(options=_OPTIONS)
        self._superseded = asyncio.Event()
        """The newest stream's: set when a newer one has come."""
        self._failures = 0
        self.connected_since: float | None = None
        self.state = "no stream"
        """Where Envoy's configuration comes from, in words."""
        self.counters = {"streams": 0, "requests": 0, "responses": 0, "rejected": 0, "upstream_failures": 0}

    async def start(self, socket: Path) -> None:
        """Serve Envoy on the socket, which must not exist yet."""
        service, _, method = METHOD[1:].partition("/")
        handlers = {method: grpc.stream_stream_rpc_method_handler(self._handle)}
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
        self._server.add_insecure_port(f"unix:{socket}")
        await self._server.start()

    async def stop(self) -> None:
        await self._server.stop(0)
        self._writer.shutdown(wait=True)

    async def held(self) -> dict[str, int]:
        """Type URL to the number of resources last accepted."""
        return await self._on_store(self._store.counts)

    async def _on_store(self, act: Callable[[], T]) -> T:
        """The store is used on one thread of its own: a large set takes a while to write."""
        return await asyncio.get_running_loop().run_in_executor(self._writer, act)

    async def _handle(self, _: AsyncIterator[bytes], context: Any) -> None:
        """One stream of Envoy's; a newer one ends the one before."""
        self._superseded.set()
        superseded = self._superseded = asyncio.Event()
        self.counters["streams"] += 1
        downstream = Downstream(context)
        reading = asyncio.create_task(downstream.read_all())
        code, why = grpc.StatusCode.UNAVAILABLE, "the control plane can be reached again; reconnect"
        try:
            await _first(self._serve(downstream), superseded.wait())
        except (WireError, ProtocolError) as error:
            code, why = grpc.StatusCode.INVALID_ARGUMENT, str(error)
        finally:
            reading.cancel()
            if self._superseded is superseded:
                self.connected_since = None
                self.state = "no stream" if downstream.ended else self.state
            await asyncio.gather(reading, return_exceptions=True)
        if not downstream.ended:
            await context.abort(code, why)

    async def _serve(self, downstream: Downstream) -> None:
        reason = await self._from_upstream(downstream)
        self.connected_since = None
        if downstream.ended:
            return
        self._failures += 1
        self.counters["upstream_failures"] += 1
        source = await self._substitute(downstream)
        self._told(source, reason)
        answering = self._from_store(downstream) if source == _LAST_ACCEPTED else _ignore(downstream)
        await _first(answering, self._until_back(source, reason))

    async def _substitute(self, downstream: Downstream) -> str:
        """What Envoy goes on with while the control plane is away.

        Only one that has nothing is answered: the last accepted set may lag behind what another one holds.
        """
        if downstream.unanswered is None or await downstream.resumes():
            return "what it holds"
        if not await self._on_store(self._store.usable):
            return "what it holds (nothing was accepted yet)"
        return _LAST_ACCEPTED

    async def _from_upstream(self, downstream: Downstream) -> str:
        """Relay until either side ends; tells why the control plane's side did."""
        try:
            token = read_token(self._token_file)
        except TokenError as error:
            return str(error)
        if problem := await self._upstream.problem():
            return problem
        try:
            opened = self._upstream.channel()
        except OSError as error:
            return str(error)
        async with opened as channel:
            call = channel.stream_stream(METHOD)(metadata=(("authorization", f"Bearer {token}"),))
            return await self._relayed(downstream, call)

    async def _relayed(self, downstream: Downstream, call: Any) -> str:
        acceptance, upstream = Acceptance(), UpstreamCall(call)
        try:
            await _first(
                self._to_upstream(downstream, upstream, acceptance),
                self._to_envoy(downstream, upstream, acceptance),
                self._silence(downstream),
            )
            return "the stream ended"
        except _SilentError:
            return f"no answer within {ANSWER_SECONDS:.0f} s"
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError) as error:
            return await _status(call, error)
        finally:
            call.cancel()

    async def _to_upstream(self, downstream: Downstream, upstream: UpstreamCall, acceptance: Acceptance) -> None:
        subscribed = self._feed is None
        while (request := await downstream.next()) is not None:
            self.counters["requests"] += 1
            change = acceptance.received(request)
            await upstream.write(request)
            if not subscribed and self._feed is not None:  # Envoy's first request tells who asks
                subscribed = True
                await upstream.write(self._feed.subscribe())
            if change is not None:
                await self._note(change)

    async def _to_envoy(self, downstream: Downstream, upstream: UpstreamCall, acceptance: Acceptance) -> None:
        while (response := await upstream.read()) is not EOF:
            if self.connected_since is None:
                self.connected_since, self._failures, self.state = time.time(), 0, "the control plane"
            if self._feed is not None and (received := self._feed.receive(response)) is not None:
                await upstream.write(received.request)
                await self._keep_names(received)
                continue
            self.counters["responses"] += 1
            acceptance.sent(response)
            await downstream.write(response)

    async def _silence(self, downstream: Downstream) -> None:
        """A new Envoy is not left without any answer while there is a last accepted set."""
        await asyncio.sleep(ANSWER_SECONDS)
        if (
            downstream.unanswered
            and not Acceptance.resumes(downstream.unanswered)
            and await self._on_store(self._store.usable)
        ):
            raise _SilentError
        await asyncio.Event().wait()

    async def _note(self, change: Change) -> None:
        """Remember what a request of Envoy's accepts."""
        if change.refused:
            self.counters["rejected"] += 1
            log.warning("Envoy refused %s: %s", change.type_url, change.refused)
            return
        try:
            await self._on_store(lambda: change.keep(self._store))
        except (sqlite3.Error, OSError) as error:
            log.error("what Envoy accepted could not be kept in %s: %s", self._store.path, error)

    async def _keep_names(self, received: Received) -> None:
        if received.refused:
            log.warning("names of the control plane were refused: %s", received.refused)
            return
        try:
            await self._on_store(lambda: received.keep(self._store))
        except (sqlite3.Error, OSError) as error:
            log.error("names could not be kept in %s: %s", self._store.path, error)

    async def _from_store(self, downstream: Downstream) -> None:
        from tidegate.agent.fallback import PATIENCE, Fallback

        downstream.again()
        fallback = Fallback(await self._on_store(self._store.everything))
        while True:
            try:
                request = await asyncio.wait_for(downstream.next(), PATIENCE if fallback.held_back else None)
            except TimeoutError:
                responses = fallback.go_on()
            else:
                if request is None:
                    return
                responses = fallback.answer(request)
            for response in responses:
                await downstream.write(response)

    async def _until_back(self, source: str, reason: str) -> None:
        """Wait, longer after each failure in a row, until the control plane can be reached."""
        while True:
            await asyncio.sleep(delay_after(self._failures, random.random()))  # noqa: S311 (spreads agents, hides nothing)
            problem = await self._upstream.problem()
            if not problem:
                return
            self._failures += 1
            if problem != reason:
                reason = problem
                self._told(source, reason)

    def _told(self, source: str, reason: str) -> None:
        self.state = f"{source}; control plane: {reason}"
        log.warning("control plane: %s; Envoy goes on with %s", reason, source)


class _SilentError(Exception):
    """The control plane took a stream and said nothing."""


def delay_after(failures: int, chance: float) -> float:
    """Seconds before the next attempt: doubled by each failure, then anything from half of it to all of it."""
    full = min(LAST_DELAY, FIRST_DELAY * 2.0 ** max(0, failures - 1))
    return full * (0.5 + chance / 2)


def read_token(path: Path) -> str:
    """The bearer token, read anew each time because it is replaced before it expires."""
    try:
        with path.open("rb") as file:
            token = file.read(MAX_TOKEN).strip().decode("ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise TokenError(f"token file {path} cannot be read: {error}") from error
    if not token or any(character.isspace() for character in token):
        raise TokenError(f"token file {path} holds no token; expected one line with a ServiceAccount token")
    return token


async def _status(call: Any, error: Exception) -> str:
    """How the control plane ended a stream; a write that met the end knows less than the call does."""
    try:
        code, details = await asyncio.wait_for(asyncio.gather(call.code(), call.details()), CONNECT_SECONDS)
    except TimeoutError:
        return str(error)
    return f"{code.name}: {details}" if code is not grpc.StatusCode.OK else "the stream ended"


async def _ignore(downstream: Downstream) -> None:
    while await downstream.next() is not None:
        pass


async def _first(*awaitables: Any) -> None:
    """Run until the first of them ends, and cancel the others; its error is raised."""
    tasks = [asyncio.ensure_future(awaitable) for awaitable in awaitables]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        if not task.cancelled():
            task.result()
