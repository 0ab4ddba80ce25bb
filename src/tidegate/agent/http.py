"""A small HTTP/1.1 server and client on asyncio: h11 reads and writes the protocol, this file bounds it.

Made for a handful of probes, scrapes and administrative questions, in a process that many workloads pay for.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from urllib.parse import SplitResult, urlsplit

import h11
import msgspec

log = logging.getLogger(__name__)

IDLE_SECONDS = 60.0
"""How long a connection may say nothing."""
WRITE_SECONDS = 30.0
MAX_BODY = 65536
"""Bytes of a request's body that are read."""
_CHUNK = 65536


class Request(msgspec.Struct, frozen=True):
    """A request, as far as handlers look at it."""

    method: str
    path: str
    query: str
    peer: str
    """The client's address; empty on a Unix socket."""
    headers: Mapping[str, str] = {}
    """By name in small letters."""

    @property
    def target(self) -> str:
        return f"{self.path}?{self.query}" if self.query else self.path


class Response(msgspec.Struct, frozen=True):
    """An answer; its body is bytes or a stream of them."""

    status: int = 200
    body: bytes | AsyncGenerator[bytes, None] = b""
    content_type: str = "text/plain; charset=utf-8"


Handler = Callable[[Request], Awaitable[Response]]


class UpstreamHttpError(Exception):
    """The other side did not answer as HTTP."""


async def serve_connection(handler: Handler, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer requests until either side ends the connection."""
    peer = writer.get_extra_info("peername")
    address = peer[0] if isinstance(peer, tuple) else ""
    connection = h11.Connection(h11.SERVER)
    try:
        while True:
            request = await _request(connection, reader, address)
            if request is None:
                break
            await _send(connection, writer, request, await _answer(handler, request))
            if connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
                break
            connection.start_next_cycle()
    except (TimeoutError, ConnectionError, h11.ProtocolError) as error:
        log.debug("connection from %s ended: %r", address, error)
    finally:
        await _close(writer)


async def _request(connection: h11.Connection, reader: asyncio.StreamReader, peer: str) -> Request | None:
    head: h11.Request | None = None
    size = 0
    while True:
        event = await _next_event(connection, reader)
        if isinstance(event, h11.Request):
            head = event
        elif isinstance(event, h11.Data):
            size += len(event.data)
            if size > MAX_BODY:
                raise h11.RemoteProtocolError("the request's body is too large", 413)
        elif isinstance(event, h11.EndOfMessage) and head is not None:
            target = _target(head)
            headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in head.headers}
            return Request(head.method.decode("ascii"), target.path, target.query, peer, headers)
        else:
            return None


def _target(head: h11.Request) -> SplitResult:
    try:
        return urlsplit(head.target.decode("ascii", "replace"))
    except ValueError as error:
        raise h11.RemoteProtocolError(f"the request's target cannot be read: {error}", 400) from error


async def _next_event(connection: h11.Connection, reader: asyncio.StreamReader) -> object:
    while (event := connection.next_event()) is h11.NEED_DATA:
        connection.receive_data(await asyncio.wait_for(reader.read(_CHUNK), IDLE_SECONDS))
    return event


async def _answer(handler: Handler, request: Request) -> Response:
    try:
        return await handler(request)
    except UpstreamHttpError as error:
        return Response(502, f"{error}\n".encode())
    except Exception:
        log.exception("%s %s failed", request.method, request.path)
        return Response(500, b"internal error; the agent's log tells more\n")


async def _send(connection: h11.Connection, writer: asyncio.StreamWriter, request: Request, response: Response) -> None:
    headers = [("content-type", response.content_type)]
    if isinstance(response.body, bytes):
        headers.append(("content-length", str(len(response.body))))
    await _write(writer, connection.send(h11.Response(status_code=response.status, headers=headers)))
    async with contextlib.aclosing(_parts(response.body)) as parts:
        async for data in parts:
            if request.method != "HEAD":
                await _write(writer, connection.send(h11.Data(data=data)))
    await _write(writer, connection.send(h11.EndOfMessage()))


async def _parts(body: bytes | AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    if isinstance(body, bytes):
        if body:
            yield body
        return
    async with contextlib.aclosing(body) as parts:
        async for part in parts:
            yield part


async def _write(writer: asyncio.StreamWriter, data: bytes | None) -> None:
    if data:
        writer.write(data)
        await asyncio.wait_for(writer.drain(), WRITE_SECONDS)


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(ConnectionError, TimeoutError):
        await asyncio.wait_for(writer.wait_closed(), 1.0)


_NONE: Mapping[str, str] = {}


class Client:
    """Asks one HTTP server, a connection a question."""

    def __init__(self, host: str, port: int, timeout: float = 5.0) -> None:
        self.host, self.port, self.timeout = host, port, timeout

    async def get(self, target: str, limit: int) -> tuple[int, bytes]:
        """Status and body of at most ``limit`` bytes. Raises UpstreamHttpError."""
        return await self._whole("GET", target, limit)

    async def post(self, target: str, limit: int = MAX_BODY) -> tuple[int, bytes]:
        return await self._whole("POST", target, limit)

    async def stream(
        self, target: str, limit: int, headers: Mapping[str, str] = _NONE
    ) -> tuple[int, str, AsyncGenerator[bytes, None]]:
        """Status, content type and the body as it comes, cut with an error after ``limit`` bytes."""
        reader, writer, connection = await self._ask("GET", target, headers)
        try:
            head = await self._event(connection, reader)
        except BaseException:
            await _close(writer)
            raise
        if not isinstance(head, h11.Response):
            await _close(writer)
            raise UpstreamHttpError(f"{self} did not answer")
        told = {k: v.decode("latin-1") for k, v in head.headers}
        if (coding := told.get(b"content-encoding", "identity")) != "identity":
            await _close(writer)
            raise UpstreamHttpError(f"{self} answers in encoding {coding!r}, which was not asked for")
        kind = told.get(b"content-type", "text/plain")
        return head.status_code, kind, self._body(connection, reader, writer, limit)

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    async def _whole(self, method: str, target: str, limit: int) -> tuple[int, bytes]:
        reader, writer, connection = await self._ask(method, target)
        try:
            head = await self._event(connection, reader)
        except BaseException:
            await _close(writer)
            raise
        body = b"".join([part async for part in self._body(connection, reader, writer, limit)])
        if not isinstance(head, h11.Response):
            raise UpstreamHttpError(f"{self} did not answer")
        return head.status_code, body

    async def _ask(
        self, method: str, target: str, more: Mapping[str, str] = _NONE
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, h11.Connection]:
        connection = h11.Connection(h11.CLIENT)
        host = f"[{self.host}]" if ":" in self.host else self.host
        headers = [("host", host), ("connection", "close"), ("content-length", "0"), *more.items()]
        try:
            reader, writer = await asyncio.wait_for(asyncio.open_connection(self.host, self.port), self.timeout)
            await _write(writer, connection.send(h11.Request(method=method, target=target, headers=headers)))
            await _write(writer, connection.send(h11.EndOfMessage()))
        except (OSError, TimeoutError, h11.LocalProtocolError) as error:
            raise UpstreamHttpError(f"{self} cannot be asked: {error or type(error).__name__}") from error
        return reader, writer, connection

    async def _event(self, connection: h11.Connection, reader: asyncio.StreamReader) -> object:
        try:
            while (event := connection.next_event()) is h11.NEED_DATA:
                connection.receive_data(await asyncio.wait_for(reader.read(_CHUNK), self.timeout))
        except (OSError, TimeoutError, h11.RemoteProtocolError) as error:
            raise UpstreamHttpError(f"{self} broke off: {error or type(error).__name__}") from error
        return event

    async def _body(
        self, connection: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, limit: int
    ) -> AsyncGenerator[bytes, None]:
        size = 0
        try:
            while isinstance(event := await self._event(connection, reader), h11.Data):
                size += len(event.data)
                if size > limit:
                    raise UpstreamHttpError(f"the answer of {self} is larger than {limit} bytes")
                yield bytes(event.data)
        finally:
            await _close(writer)
