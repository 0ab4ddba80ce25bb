"""Probes of the application, asked in the kubelet's stead: what injection led to ``/app-health/…`` is asked here.

https://kubernetes.io/docs/concepts/configuration/liveness-readiness-startup-probes/ says what counts as healthy.
"""

import asyncio
import contextlib
import errno
import ipaddress
import os
import secrets
import ssl
from collections.abc import AsyncIterator, Mapping
from typing import Any, Literal

import grpc
import h11
import msgspec

from tidegate.agent.http import Response
from tidegate.kit.errors import TidegateError
from tidegate.kit.injected import PROBES

LOCALHOST = "REWRITE_PROBE_LEGACY_LOCALHOST_DESTINATION"
SOURCE = {4: "127.0.0.6", 6: "::6"}
"""The address that the packet rules let pass to the application."""
_HEALTHY = range(200, 400)
_CHUNK = 65536
_SERVING = 1
_HOP = ("connection", "content-length", "transfer-encoding", "host")


class Header(msgspec.Struct, frozen=True):
    """A header of an HTTP probe."""

    name: str
    value: str = ""


class HttpGet(msgspec.Struct, frozen=True, rename="camel"):
    """core/v1 HTTPGetAction."""

    port: int | str
    path: str = "/"
    host: str = ""
    scheme: Literal["", "HTTP", "HTTPS"] = ""
    http_headers: tuple[Header, ...] = ()


class TcpSocket(msgspec.Struct, frozen=True):
    """core/v1 TCPSocketAction."""

    port: int | str
    host: str = ""


class Grpc(msgspec.Struct, frozen=True):
    """core/v1 GRPCAction."""

    port: int | str
    service: str | None = ""


class Probe(msgspec.Struct, frozen=True, rename="camel"):
    """One probe of the application."""

    http_get: HttpGet | None = None
    tcp_socket: TcpSocket | None = None
    grpc: Grpc | None = None
    timeout_seconds: int = 1


class AppProbes:
    """The probes of one pod, by the path under which the kubelet asks for them."""

    def __init__(self, probes: Mapping[str, Probe], address: str) -> None:
        self._probes, self._address = probes, address

    async def answer(self, path: str) -> Response:
        """What the application says: 200, its own status, or 503 with the reason."""
        probe = self._probes.get(path)
        if probe is None:
            return Response(404, f"{path} is no probe of this pod\n".encode())
        if isinstance(name := _port(probe), str):
            return Response(503, f"the container has no port named {name!r}\n".encode())
        try:
            return await asyncio.wait_for(self._ask(probe), max(probe.timeout_seconds, 1))
        except TimeoutError:
            return Response(503, f"no answer within {max(probe.timeout_seconds, 1)} s\n".encode())
        except (OSError, h11.ProtocolError) as error:
            return Response(503, f"the application does not answer: {error}\n".encode())

    async def _ask(self, probe: Probe) -> Response:
        if probe.http_get is not None:
            return await self._http(probe.http_get)
        if probe.grpc is not None:
            return await self._grpc(probe.grpc)
        if probe.tcp_socket is not None:
            _, writer = await self._open(probe.tcp_socket.host, probe.tcp_socket.port)
            await _closed(writer)
        return Response()

    async def _open(
        self, host: str, port: int | str, context: ssl.SSLContext | None = None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """From the address that the rules let pass; where there are none, lo may lack that of IPv6: then from any."""
        where = host or self._address
        source = _source(where)
        try:
            return await asyncio.open_connection(where, port, ssl=context, local_addr=(source, 0) if source else None)
        except OSError as error:
            if source != SOURCE[6] or error.errno != errno.EADDRNOTAVAIL:
                raise
        return await asyncio.open_connection(where, port, ssl=context)

    async def _http(self, wanted: HttpGet) -> Response:
        reader, writer = await self._open(wanted.host, wanted.port, _unverified() if wanted.scheme == "HTTPS" else None)
        try:
            connection = h11.Connection(h11.CLIENT)
            writer.write(connection.send(_request(wanted, self._address)) or b"")
            writer.write(connection.send(h11.EndOfMessage()) or b"")
            while not isinstance(event := connection.next_event(), h11.Response):
                if event is h11.NEED_DATA:
                    connection.receive_data(await reader.read(_CHUNK))
                elif not isinstance(event, h11.InformationalResponse):
                    return Response(503, b"the application ended the connection without an answer\n")
            healthy = event.status_code in _HEALTHY
            return Response(
                200 if healthy else event.status_code, b"" if healthy else b"the application's own status\n"
            )
        finally:
            await _closed(writer)

    async def _grpc(self, wanted: Grpc) -> Response:
        """grpc.health.v1.Health/Check; a request's only field is the service's name."""
        name = (wanted.service or "").encode()[:127]
        request = b"\x0a" + bytes([len(name)]) + name if name else b""
        async with (
            self._passage(wanted.port) as target,
            grpc.aio.insecure_channel(target, options=_GRPC_OPTIONS) as channel,
        ):
            check = channel.unary_unary("/grpc.health.v1.Health/Check", None, None)
            try:
                answer: bytes = await check(request)
            except grpc.aio.AioRpcError as error:
                return Response(503, f"the application's health check failed: {error.code().name}\n".encode())
        if answer[:2] == bytes((8, _SERVING)):
            return Response()
        return Response(503, b"the application says that it does not serve\n")

    @contextlib.asynccontextmanager
    async def _passage(self, port: int | str) -> AsyncIterator[str]:
        """A socket of this process' own that leads to the application: gRPC cannot choose where it comes from."""
        name = f"tidegate-probe-{os.getpid()}-{secrets.token_hex(8)}"

        async def lead(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError), contextlib.closing(writer):
                far_reader, far_writer = await self._open("", port)
                with contextlib.closing(far_writer):
                    await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))

        async with await asyncio.start_unix_server(lead, f"\0{name}"):
            yield f"unix-abstract:{name}"


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(_CHUNK):
        writer.write(data)
        await writer.drain()
    writer.close()


_GRPC_OPTIONS = (("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1))


def _port(probe: Probe) -> int | str:
    """Where the probe goes; a name is one that its container has not."""
    handler = probe.http_get or probe.tcp_socket or probe.grpc
    return handler.port if handler is not None else 0


def _request(wanted: HttpGet, address: str) -> h11.Request:
    given = [(each.name, each.value) for each in wanted.http_headers]
    own = next((value for name, value in given if name.lower() == "host"), "")
    host = own or f"{wanted.host or address}:{wanted.port}"
    headers = [("host", host), ("user-agent", "kube-probe/tidegate"), ("connection", "close")]
    kept = [(name, value) for name, value in given if name.lower() not in _HOP]
    path = wanted.path if wanted.path.startswith("/") else f"/{wanted.path}"
    return h11.Request(method="GET", target=path, headers=[*headers, *kept])


def _source(host: str) -> str:
    """Where connections to an address of this machine come from; "" for names and other machines' addresses."""
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        return ""
    return SOURCE[found.version]


def _unverified() -> ssl.SSLContext:
    """The kubelet checks no certificate of a probe, nor does this."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


async def _closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError, ssl.SSLError, TimeoutError):
        await asyncio.wait_for(writer.wait_closed(), 1.0)


def parse(environment: Mapping[str, str]) -> dict[str, Probe]:
    """The probes that injection wrote into the environment. Raises TidegateError for what is none."""
    text = environment.get(PROBES, "")
    if not text:
        return {}
    try:
        found: Any = msgspec.json.decode(text, type=dict[str, Probe])
    except msgspec.MsgspecError as error:
        raise TidegateError(f"{PROBES}: expected probes by path, as injection writes them: {error}") from error
    return dict(found)


def address_of(environment: Mapping[str, str], address: str) -> str:
    """Whom probes ask: the pod's address, or loopback where the mesh's inbound traffic goes there."""
    loopback = "::1" if ":" in address else "127.0.0.1"
    return loopback if environment.get(LOCALHOST, "").lower() == "true" else address
