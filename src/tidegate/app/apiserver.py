"""The ``apiserver`` process: storage, server, controllers and TLS composed over one state folder."""

import asyncio
import base64
import contextlib
import fcntl
import logging
import os
import signal
import socket
import ssl
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType

import msgspec
import uvicorn
import yaml

from tidegate.api.decode import admit
from tidegate.api.schema import openapi_schemas
from tidegate.app import files
from tidegate.app.shadowing import Shadowing
from tidegate.controllers import runner
from tidegate.controllers.clusterip import ClusterIPs
from tidegate.kit.errors import TidegateError
from tidegate.store import pki, strategy
from tidegate.store.auth import Authenticator
from tidegate.store.client import KubeStore
from tidegate.store.server import ApiServer
from tidegate.store.sqlite import Storage

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
_GRACE_SECONDS = 5
_KEEP_ALIVE_SECONDS = 75
_RESTART_SECONDS = 2.0


class StateLock(AbstractContextManager["StateLock"]):
    """Only one server at a time works on a state folder."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "lock"
        self._descriptor = -1

    def __enter__(self) -> "StateLock":
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._descriptor)
            text = f"another apiserver works on {self._path.parent}: stop it, or give another --state-dir"
            raise TidegateError(text) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)


class _Server(uvicorn.Server):
    """uvicorn, with watches ended before it waits for connections, and a word when it serves."""

    def __init__(self, config: uvicorn.Config, *, ready: Callable[[], None], stop: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready, self._stop = ready, stop

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """SIGTERM and SIGINT end the process with status 0; uvicorn would raise them again."""
        loop = asyncio.get_running_loop()
        signals = (signal.SIGTERM, signal.SIGINT)
        for number in signals:
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in signals:
                loop.remove_signal_handler(number)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._stop()
        for server in self.servers:
            server.close()
        if tasks := set(self.server_state.tasks):
            await asyncio.wait(tasks, timeout=_GRACE_SECONDS)
        for connection in list(self.server_state.connections):
            connection.transport.abort()  # idle: a TLS goodbye would wait for the client's
        await super().shutdown(sockets)


async def serve(state_dir: Path, port: int, *, history: int = 20_000) -> None:
    """Serve until SIGTERM or SIGINT. ``port`` 0 is any free one; ``history`` is how many changes watches can resume
    over."""
    with StateLock(state_dir):
        keys = pki.load(state_dir / "pki", strategy.utc_now())
        listener = _listen(port)
        storage = Storage(state_dir / "store.db", history)
        try:
            await _serve(state_dir, keys, listener, storage)
        finally:
            await storage.close()
            listener.close()


async def _serve(state_dir: Path, keys: pki.Pki, listener: socket.socket, storage: Storage) -> None:
    authenticator = Authenticator(keys.admin_token, keys.signing_key, storage.read)
    services = [msgspec.json.decode(body) for body in (await storage.page("Service")).bodies]
    entries = [msgspec.json.decode(body) for body in (await storage.page("ServiceEntry")).bodies]
    shadowing = Shadowing([*services, *entries])
    server = ApiServer(
        storage,
        authenticator,
        admission=admit,
        schemas=openapi_schemas,
        hooks=(ClusterIPs(services), shadowing),
        advice=shadowing.advise,
    )
    await server.prepare()
    path = state_dir / "kubeconfig"
    pki.write_private(path, kubeconfig(keys, listener.getsockname()[1]))

    controllers: list[asyncio.Task[None]] = []

    def ready() -> None:
        controllers.append(asyncio.create_task(_run_controllers(path)))
        controllers.append(asyncio.create_task(server.collect()))
        sys.stdout.write(f"ready KUBECONFIG={path}\n")
        sys.stdout.flush()

    def stop() -> None:
        server.stop()
        for task in controllers:
            task.cancel()

    try:
        await _Server(_config(server, keys), ready=ready, stop=stop).serve([listener])
    finally:
        stop()
        await asyncio.gather(*controllers, return_exceptions=True)


def _config(server: ApiServer, keys: pki.Pki) -> uvicorn.Config:
    return uvicorn.Config(
        server.app,
        http="httptools",
        loop="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        ssl_context_factory=lambda _config, _default: _tls(keys),
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )


async def _run_controllers(path: Path) -> None:
    """The controllers are clients like any other; should one fail, the server goes on and they start again."""
    async with KubeStore.from_kubeconfig(path) as store:
        while True:
            try:
                await runner.run(store)
            except Exception:
                log.exception("the controllers failed; starting them again in %.0f s", _RESTART_SECONDS)
            await asyncio.sleep(_RESTART_SECONDS)


def _listen(port: int) -> socket.socket:
    # asyncio sends at once (TCP_NODELAY) only where the socket names its protocol
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
    except OSError as error:
        listener.close()
        raise TidegateError(f"cannot listen on {HOST}:{port}: {error.strerror}; give another --port") from error
    return listener


def _tls(keys: pki.Pki) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(keys.cert_file, keys.key_file)
    return context


def kubeconfig(keys: pki.Pki, port: int) -> bytes:
    """A kubeconfig with the administrator's token."""
    cluster = {
        "server": f"https://{HOST}:{port}",
        "certificate-authority-data": base64.b64encode(keys.ca_pem).decode(),
    }
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "tidegate", "cluster": cluster}],
        "users": [{"name": "tidegate-admin", "user": {"token": keys.admin_token}}],
        "contexts": [{"name": "tidegate", "context": {"cluster": "tidegate", "user": "tidegate-admin"}}],
        "current-context": "tidegate",
    }
    return yaml.safe_dump(document, sort_keys=False).encode()


def run(state_dir: Path, port: int, history: int) -> None:
    """Entry point of the command."""
    import uvloop

    files.allow_many()
    os.umask(0o077)
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(state_dir.resolve(), port, history=history))
