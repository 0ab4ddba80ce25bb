"""The ``webhook`` process: AdmissionReviews over HTTPS, with settings and a certificate that follow their files."""

import asyncio
import contextlib
import json
import logging
import re
import signal
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from tidegate.app.clusterfacts import ClusterFacts
from tidegate.app.keypair import KeyPair
from tidegate.inject import review
from tidegate.inject.context import Place
from tidegate.inject.settings import Json, Settings
from tidegate.kit.errors import TidegateError
from tidegate.store.client import KubeStore

log = logging.getLogger(__name__)

MAX_BODY = 4 * 1024 * 1024
"""Bytes of a review; an API server's largest object has 3 MiB."""
BODY_SECONDS = 10.0
RELOAD_SECONDS = 2.0
"""How often the certificate's files are looked at."""
_GRACE_SECONDS = 5
_CLUSTER, _NETWORK = "ISTIO_META_CLUSTER_ID", "ISTIO_META_NETWORK"
_VARIABLES = {"cluster": _CLUSTER, "net": _NETWORK}
"""Words of paths, and the variable of the proxy that each stands for; another word is a variable's name itself."""
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")


class Listening(msgspec.Struct, frozen=True):
    """Where the webhook listens, and as whom."""

    host: str
    port: int
    certificate: Path
    key: Path


class TooLargeError(TidegateError):
    """A body of more than MAX_BODY bytes."""


class Followed(Protocol):
    """Settings that may become others."""

    @property
    def settings(self) -> Settings: ...

    def refresh(self) -> object: ...


class Cluster(msgspec.Struct, frozen=True):
    """A cluster to keep up with."""

    kubeconfig: Path
    facts: ClusterFacts


def application(followed: Followed, facts: ClusterFacts | None = None) -> Starlette:
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
        return Response(json.dumps(_answer(asked, followed.settings, place, facts)), media_type="application/json")

    async def ready(_request: Request) -> Response:
        if facts is not None and not facts.ready:
            return PlainTextResponse("the cluster is being read\n", 503)
        return PlainTextResponse("ready\n")

    return Starlette(
        routes=[
            Route("/inject", inject, methods=["POST"]),
            Route("/inject/{where:path}", inject, methods=["POST"]),
            Route("/ready", ready),
        ]
    )


def _answer(asked: Json, settings: Settings, place: Place, facts: ClusterFacts | None) -> Json:
    """The answer; what nobody foresaw denies this one pod, and is logged."""
    try:
        made = _made(asked, settings, place, facts)
    except Exception:
        log.exception("a review could not be answered")
        said = "the sidecar could not be injected: an internal error, which the webhook's log tells"
        return review.denial(asked, said)
    if made.reason:
        log.info("%s", made.reason)
    return made.review


def _made(asked: Json, settings: Settings, place: Place, facts: ClusterFacts | None) -> review.Answer:
    if facts is None:
        return review.answer(asked, settings, place)
    request = asked["request"]
    place = facts.placed(place, str(request.get("namespace") or ""))
    return review.answer(asked, facts.suited(settings, request.get("object") or {}), place, facts.services)


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
    """What a path such as ``cluster/east/net/one`` says: cluster, network, and further variables of the proxy by
    their names. A slash within a value is written ``--slash--``. Raises TidegateError for another path."""
    words = [word for word in path.split("/") if word]
    names = [_VARIABLES.get(word, word.upper()) for word in words[::2]]
    if len(words) % 2 or not all(map(_VARIABLE.fullmatch, names)):
        raise TidegateError(
            f"path /inject/{path}: expected /inject/cluster/NAME/net/NAME, a part of it, or VARIABLE/VALUE in pairs"
        )
    values = (value.replace("--slash--", "/") for value in words[1::2])
    found = dict(zip(names, values, strict=True))
    return Place(cluster=found.pop(_CLUSTER, ""), network=found.pop(_NETWORK, ""), variables=found)


class Certificate:
    """The server's certificate and key, read again when their files change; a bad pair leaves the old one in use."""

    def __init__(self, listening: Listening) -> None:
        """Raises TidegateError when the files hold no pair."""
        self._listening = listening
        self._pair = KeyPair(listening.certificate, listening.key)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._load()

    def refresh(self) -> bool:
        """Read the files if they changed; whether another pair serves now."""
        return self._pair.refresh() and self._load()

    def _load(self) -> bool:
        try:
            self.context.load_cert_chain(self._listening.certificate, self._listening.key)
        except (OSError, ssl.SSLError) as error:  # replaced once more since the pair was read: the next look sees it
            log.error("the certificate %s cannot be used: %s", self._listening.certificate, error)
            return False
        return True


async def _follow(*followed: Callable[[], object]) -> None:
    """Look at the files for as long as the process serves."""
    while True:
        await asyncio.sleep(RELOAD_SECONDS)
        for refresh in followed:
            await asyncio.to_thread(refresh)


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


async def serve(
    followed: Followed, listening: Listening, ready: Callable[[int], None], cluster: Cluster | None = None
) -> None:
    """Serve until SIGTERM or SIGINT; ``ready`` is told the port. Raises TidegateError when it cannot start."""
    certificate = Certificate(listening)
    store = KubeStore.from_kubeconfig(cluster.kubeconfig) if cluster else None
    listener = _listener(listening)
    port = listener.getsockname()[1]
    config = uvicorn.Config(
        application(followed, cluster.facts if cluster else None),
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        ssl_context_factory=lambda _config, _default: certificate.context,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    watching = [asyncio.create_task(_follow(certificate.refresh, followed.refresh))]
    if cluster is not None and store is not None:
        for follow in (cluster.facts.follow, cluster.facts.follow_configs):
            watching.append(asyncio.create_task(follow(store)))
            watching[-1].add_done_callback(_complain)
    try:
        await _Server(config, lambda: ready(port)).serve([listener])
    finally:
        for task in watching:
            task.cancel()
        await asyncio.gather(*watching, return_exceptions=True)
        if store is not None:
            await store.close()


def _complain(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("the cluster is not followed any more: %s", error)


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
