"""Where an agent finds the control plane: a Unix socket of its own machine, or another machine over TLS."""

import asyncio
import os
import socket
import ssl
from pathlib import Path
from typing import Any, Protocol

import grpc
import grpc.aio
import msgspec

from tidegate.agent.settings import Network

CONNECT_SECONDS = 2.0
HANDSHAKE_SECONDS = 5.0
MAX_MESSAGE = 256 * 1024 * 1024
"""Bytes; a mesh of 10,000 services sends some 60 MB at once."""
MAX_ROOTS = 1 << 20
_PING_MS, _PING_TIMEOUT_MS = 30_000, 10_000
"""A peer that went away without a word is noticed; Istio's control plane allows a ping every 15 s."""

_OPTIONS = (
    ("grpc.max_receive_message_length", MAX_MESSAGE),
    ("grpc.max_send_message_length", MAX_MESSAGE),
    ("grpc.use_local_subchannel_pool", 1),
)


class Upstream(Protocol):
    """A control plane's address."""

    async def problem(self) -> str:
        """Why it cannot be reached now; "" when it can. In bounded time."""
        ...

    def channel(self) -> Any:
        """A channel for one stream: the next one starts without this one's back-off. Raises OSError."""
        ...


def upstream(where: Path | Network) -> Upstream:
    """The control plane at a socket's path, or at an address of the network."""
    return SocketUpstream(where) if isinstance(where, Path) else NetworkUpstream(where)


class SocketUpstream(msgspec.Struct, frozen=True):
    """The control plane of this machine."""

    path: Path

    async def problem(self) -> str:
        """A dead process' socket says no at once."""
        try:
            _, writer = await asyncio.wait_for(asyncio.open_unix_connection(self.path), CONNECT_SECONDS)
        except (OSError, TimeoutError):
            return f"{self.path} does not accept connections"
        writer.close()
        return ""

    def channel(self) -> Any:
        return grpc.aio.insecure_channel(f"unix:{self.path}", options=_OPTIONS)


class NetworkUpstream(msgspec.Struct, frozen=True):
    """A control plane elsewhere: it shows a certificate of the name that was asked for, from roots that are read anew
    for each stream, since they are replaced while agents run.
    """

    network: Network

    async def problem(self) -> str:
        """Connects as a stream would: TLS's own words about a certificate say more than gRPC passes on."""
        network = self.network
        try:
            context = _context(network.roots)
        except (OSError, ValueError) as error:
            return f"root certificates {network.roots} cannot be read: {_reason(error)}"
        try:
            await asyncio.wait_for(self._handshake(context), HANDSHAKE_SECONDS)
        except ssl.SSLCertVerificationError as error:
            return (
                f"the certificate of {network.address} is not trusted: {error.verify_message} "
                f"(expected name {network.server_name}, roots of {network.roots})"
            )
        except socket.gaierror as error:
            return f"the name {network.address.host} cannot be resolved: {error.strerror}"
        except TimeoutError:
            return f"{network.address} does not answer within {HANDSHAKE_SECONDS:.0f} s"
        except (OSError, ssl.SSLError) as error:
            return f"{network.address} cannot be reached over TLS: {_reason(error)}"
        return ""

    async def _handshake(self, context: ssl.SSLContext) -> None:
        address = self.network.address
        _, writer = await asyncio.open_connection(
            address.host, address.port, ssl=context, server_hostname=self.network.server_name
        )
        writer.transport.abort()  # a closing handshake would wait for the other side

    def channel(self) -> Any:
        credentials = grpc.ssl_channel_credentials(root_certificates=_content(self.network.roots))
        options = (
            *_OPTIONS,
            ("grpc.ssl_target_name_override", self.network.server_name),
            ("grpc.enable_http_proxy", 0),
            ("grpc.keepalive_time_ms", _PING_MS),
            ("grpc.keepalive_timeout_ms", _PING_TIMEOUT_MS),
        )
        return grpc.aio.secure_channel(str(self.network.address), credentials, options=options)


def _context(roots: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # as gRPC has it: a root may be an intermediate
    context.set_alpn_protocols(["h2"])
    context.load_verify_locations(cadata=_content(roots).decode("ascii", "ignore"))
    return context


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_ROOTS)


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return error.reason or str(error)
    return os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
