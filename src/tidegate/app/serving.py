"""HTTP on loopback inside a process that has a loop and signals of its own."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import uvicorn

from tidegate.kit.errors import TidegateError


class _Server(uvicorn.Server):
    """Leaves the signals to the process."""

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield


@contextlib.asynccontextmanager
async def serving(app: Any, listener: socket.socket) -> AsyncIterator[None]:
    """Serve an ASGI application on a listening socket for as long as the block runs."""
    config = uvicorn.Config(app, log_level="warning", lifespan="off", timeout_graceful_shutdown=1, server_header=False)
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield
    finally:
        server.should_exit = True
        await task


def loopback(port: int, option: str) -> socket.socket:
    """A socket that listens on 127.0.0.1, made here since uvicorn leaves the process where an address is taken.

    Raises TidegateError that names ``option``, the one that moves the port.
    """
    # asyncio sends at once (TCP_NODELAY) only where the socket names its protocol
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
        listener.listen()
    except OSError as error:
        listener.close()
        text = f"127.0.0.1:{port} cannot be listened on: {error.strerror}; free it or give another {option}"
        raise TidegateError(text) from None
    return listener
