"""The ``webhook`` process: AdmissionReviews over HTTPS, with a certificate that is read again when it changes."""

import asyncio
import contextlib
import json
import logging
import signal
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from tidegate.inject import review
from tidegate.inject.context import Place
from tidegate.inject.settings import Json, Settings
from tidegate.kit.errors import TidegateError

log = logging.getLogger(__name__)

MAX_BODY = 4 * 1024 * 1024
"""Bytes of a review; an API server's largest object has 3 MiB."""
BODY_SECONDS = 10.0
RELOAD_SECONDS = 2.0
"""How often the certificate's files are looked at."""
_GRACE_SECONDS = 5
_PLACES = {"cluster": "cluster", "net": "network"}


class Listening(msgspec.Struct, frozen=True):
    """Where the webhook listens, and as whom."""

    host: str
    port: int
    certificate: Path
    key: Path


class TooLargeError(TidegateError):
    """A body of more than MAX_BODY bytes."""


def application(settings: Settings) -> Starlette:
    """``POST /inject`` and ``/inject/cluster/NAME/net/NAME``; ``GET /ready``."""

    async def inject(request: Request) -> Response:
        try:
            body = await asyncio.wait_for(_body(request), BODY_SECONDS)
            asked = review.decoded(body)
            place = place_of(request.path_params.get("where", ""))
        except (TimeoutError, ClientDisconnect):
            return PlainTextResponse(f"expected the whole request within {BODY_SECONDS:.0f} s\n", 408)
        except TooLargeError as error:
            return PlainTextResponse(f"{error}\n", 413)
        except TidegateError as error:
            log.warning("refused: %s", error)
            return PlainTextResponse(f"{error}\n", 400)
        return Response(json.dumps(_answer(asked, settings, place)), media_type="application/json")

    async def ready(_request: Request) -> Response:
        return PlainTextResponse("ready\n")

    return Starlette(
        routes=[
            Route("/inject", inject, methods=["POST"]),
            Route("/inject/{where:path}", inject, methods=["POST"]),
            Route("/ready", ready),
        ]
    )


def _answer(asked: Json, settings: Settings, place: Place) -> Json:
    """The answer; what nobody foresaw denies this one pod, and is logged."""
    try:
        made = review.answer(asked, settings, place)
    except Exception:
        log.exception("a review could not be answered")
        said = "the sidecar could not be injected: an internal error, which the webhook's log tells"
        return review.denial(asked, said)
    if made.reason:
        log.info("%s", made.reason)
    return made.review


async def _body(request: Request) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > MAX_BODY:
            raise TooLargeError(f"the body is larger than {MAX_BODY} bytes")
        parts.append(part)
    return b"".join(parts)


def place_of(path: str) -> Place:
    """What a path such as ``cluster/east/net/one`` says. Raises TidegateError for another."""
    words = [word for word in path.split("/") if word]
    names = words[::2]
    if len(words) % 2 or any(name not in _PLACES for name in names):
        raise TidegateError(f"path /inject/{path}: expected /inject/cluster/NAME/net/NAME, or a part of it")
    return Place(**{_PLACES[name]: value for name, value in zip(names, words[1::2], strict=True)})  # type: ignore[arg-type]


class Certificate:
    """The server's certificate and key, read again when their files change; a bad pair leaves the old one in use."""

    def __init__(self, listening: Listening) -> None:
        self._files = (listening.certificate, listening.key)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._seen: Any = None
        if problem := self.refresh():
            raise TidegateError(problem)

    def refresh(self) -> str:
        """Read the files if they changed; why they could not be used, or ""."""
        certificate, key = self._files
        try:
            seen = tuple((s.st_mtime_ns, s.st_ino, s.st_size) for s in (each.stat() for each in self._files))
            if seen == self._seen:
                return ""
            trial = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            trial.load_cert_chain(certificate, key)
            self.context.load_cert_chain(certificate, key)
        except (OSError, ssl.SSLError) as error:
            return f"certificate {certificate} with key {key} cannot be used: {error}; give a pair in PEM"
        first, self._seen = self._seen is None, seen
        if not first:
            log.info("the certificate was read again from %s", certificate)
        return ""

    async def watch(self) -> None:
        """Look at the files for as long as the process serves."""
        while True:
            await asyncio.sleep(RELOAD_SECONDS)
            if problem := self.refresh():
                log.error("%s", problem)


class _Server(uvicorn.Server):
    """Tells when it serves; leaves the signals to the process."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield


async def serve(settings: Settings, listening: Listening, ready: Callable[[int], None]) -> None:
    """Serve until SIGTERM or SIGINT; ``ready`` is told the port. Raises TidegateError when it cannot start."""
    certificate = Certificate(listening)
    listener = _listener(listening)
    port = listener.getsockname()[1]
    config = uvicorn.Config(
        application(settings),
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        ssl_context_factory=lambda _config, _default: certificate.context,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    watching = asyncio.create_task(certificate.watch())
    try:
        await _Server(config, lambda: ready(port)).serve([listener])
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


def _listener(listening: Listening) -> socket.socket:
    family = socket.AF_INET6 if ":" in listening.host else socket.AF_INET
    # With the protocol named asyncio switches Nagle's algorithm off; else each answer waits for a delayed ACK.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((listening.host, listening.port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        where = f"{listening.host}:{listening.port}"
        raise TidegateError(
            f"{where} cannot be listened on: {error.strerror}; free it or give another --port"
        ) from None
    return listener
