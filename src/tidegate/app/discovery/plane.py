"""The control plane: follows the store, keeps the hub, serves discovery and the debug port."""

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec

from tidegate.api import decode
from tidegate.api.objects import Ref
from tidegate.app import files
from tidegate.app.discovery import heap
from tidegate.app.discovery.debug import debug_app, origins
from tidegate.app.discovery.hub import Hub, Shown
from tidegate.app.discovery.metrics import Metrics
from tidegate.app.discovery.proxies import Node, read_metadata
from tidegate.app.discovery.statuses import Statuses
from tidegate.app.keypair import KeyPair
from tidegate.app.serving import loopback, serving
from tidegate.kit.errors import InvalidObjectError, TidegateError
from tidegate.kit.features import DEFAULTS, Features
from tidegate.kit.hostport import HostPort
from tidegate.kit.places import DISCOVERY_ADDRESS
from tidegate.snapshot.world import WATCHED, Event, Verb
from tidegate.store.client import KubeStore
from tidegate.store.informer import Batch, Change, follow
from tidegate.store.model import StoreError, WatchType
from tidegate.xds.acceptance import Refusal
from tidegate.xds.node import parse_node_id
from tidegate.xds.server import AttachError, Connection, DiscoveryServer, Identity
from tidegate.xds.server import Metadata as CallMetadata
from tidegate.xds.source import Subscription, Update, View
from tidegate.xds.wire import Node as WireNode

log = logging.getLogger(__name__)

AUDIENCE = "istio-ca"
_BEARER = "bearer "
_REVIEWS_AT_ONCE = 64
"""Tokens under review together: a thousand proxies that come at once must not open a thousand connections."""


class Network(msgspec.Struct, frozen=True):
    """Where proxies of other machines reach the control plane, over TLS, and the files of its certificate."""

    address: HostPort
    certificate: Path
    key: Path


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How one control plane runs."""

    kubeconfig: Path
    run_dir: Path
    monitoring_port: int = 15014
    """On 127.0.0.1; 0 for any free port."""
    domain: str = "cluster.local"
    features: Features = DEFAULTS
    network: Network | None = None
    """None: the Unix socket alone."""


class _Notices(Metrics):
    """Metrics, a line in the log for each refused resource that names the objects it was made from, and what ended
    streams leave is cleared away."""

    def __init__(self, litter: heap.Litter) -> None:
        super().__init__()
        self._litter = litter

    def disconnected(self, connection: Connection) -> None:
        super().disconnected(connection)
        self._litter.note()

    def refused(self, connection: Connection, type_url: str, refusals: list[Refusal], error: str) -> None:
        super().refused(connection, type_url, refusals, error)
        for each in refusals:
            made_from = ", ".join(origins(each.resource)) or "no object"
            log.warning("%s keeps its last %s: made from %s", connection.proxy.pod, each.resource.name, made_from)


class _Attached:
    """A :class:`Subscription` that leaves the hub when its stream ends."""

    def __init__(self, hub: Hub, shown: Shown, left: Callable[[], None]) -> None:
        self._hub, self._shown, self._left = hub, shown, left

    @property
    def view(self) -> View:
        return self._shown.mailbox.view

    async def next(self) -> Update:
        return await self._shown.mailbox.next()

    def close(self) -> None:
        self._hub.detach(self._shown)
        self._shown.mailbox.close()
        self._left()


class Discovery:
    """One control plane on one event loop."""

    def __init__(self, settings: Settings, store: KubeStore) -> None:
        self.settings, self._store = settings, store
        self.hub = Hub(settings.domain, settings.features)
        self._litter = heap.Litter()
        self.metrics = _Notices(self._litter)
        self.server = DiscoveryServer(self._authenticate, self._attach, self.metrics)
        self.synced = asyncio.Event()
        self.undecodable: dict[Ref, str] = {}
        self.statuses = Statuses(store, self.hub, self.undecodable.get)
        self._reviews = asyncio.Semaphore(_REVIEWS_AT_ONCE)

    # Who connects

    async def _authenticate(self, metadata: CallMetadata) -> Identity | None:
        self._litter.note()
        header = metadata.get("authorization", "")
        if not header.lower().startswith(_BEARER):
            return None
        try:
            async with self._reviews:
                found = await self._store.review_token(header[len(_BEARER) :].strip(), audiences=(AUDIENCE,))
        except StoreError as error:
            log.warning("a token could not be reviewed: %s", error)
            raise AttachError("the token could not be reviewed: the API server gave no answer") from None
        if found is None or not found.service_account:
            return None
        return Identity(found.namespace, found.service_account, found.pod)

    async def _attach(self, identity: Identity, node: WireNode) -> Subscription:
        if not self.synced.is_set():
            raise AttachError("the control plane has not read the store yet")
        proxy = parse_node_id(node.id)
        shown = self.hub.attach(
            Node(
                name=f"{proxy.pod}.{identity.namespace}",
                namespace=identity.namespace,
                pod=identity.pod or proxy.pod,
                service_account=identity.service_account,
                address=proxy.address,
                router=proxy.type == "router",
                **read_metadata(node.metadata),
            )
        )
        self.statuses.note()
        return _Attached(self.hub, shown, self.statuses.note)

    # What changes

    def told(self) -> dict[Ref, str]:
        """Objects that cannot be typed, and those that do nothing for the proxies at hand, with the reason."""
        return {**{ref: "; ".join(texts) for ref, texts in self.hub.problems().items()}, **self.undecodable}

    async def follow(self) -> None:
        """Bring every change of the store into the hub, for ever."""
        async for batch in follow(self._store, WATCHED):
            self._take(batch)

    def _take(self, batch: Batch) -> None:
        events = [e for each in batch.changes if (e := self._event(each)) is not None]
        changed = self.hub.apply(events, time.monotonic())
        for each in batch.changes:
            self.statuses.seen(_ref(each), None if each.type is WatchType.DELETED else each.object)
        self.statuses.note(changed.told)
        self.metrics.services(len(self.hub.world.services), len(self.hub.world.virtual_services))
        self.metrics.inbound_update("config", len(batch.changes))
        if batch.synced and not self.synced.is_set():
            self.synced.set()

    def _event(self, each: Change) -> Event | None:
        """A stored object as an event. One that cannot be typed is left out, and remembered why."""
        ref = _ref(each)
        if each.type is WatchType.DELETED:
            self.undecodable.pop(ref, None)
            return Event(Verb.DELETE, ref)
        try:
            found = decode.stored(each.object)
        except InvalidObjectError as error:
            log.warning("left out: %s", error)
            self.undecodable[ref] = str(error)
            return Event(Verb.DELETE, ref)
        self.undecodable.pop(ref, None)
        return Event(Verb.PUT, found.ref, found)


def _ref(change: Change) -> Ref:
    meta = change.object.get("metadata") or {}
    return Ref(change.kind, str(meta.get("namespace") or ""), str(meta.get("name") or ""))


async def run(settings: Settings, on_ready: Callable[[str, str], None]) -> None:
    """Run a control plane until SIGTERM or SIGINT. ``on_ready`` gets the debug port's address, and HOST:PORT of
    discovery over TLS, "" without it.

    Raises TidegateError when it cannot start.
    """
    heap.spare()
    files.allow_many()
    pair = KeyPair(settings.network.certificate, settings.network.key) if settings.network is not None else None
    store = KubeStore.from_kubeconfig(settings.kubeconfig)
    plane = Discovery(settings, store)
    settings.run_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    try:
        async with _monitoring(plane) as address:
            await _until(stopping, _serve(plane, pair, lambda: _announce(plane, address, on_ready)))
    finally:
        (settings.run_dir / DISCOVERY_ADDRESS).unlink(missing_ok=True)
        await plane.server.stop()
        await store.close()


def _announce(plane: Discovery, address: str, on_ready: Callable[[str, str], None]) -> None:
    """Leave the debug port's address where the command line looks for it, then say that all is ready."""
    settings, port = plane.settings, plane.server.tcp_port
    (settings.run_dir / DISCOVERY_ADDRESS).write_text(address + "\n")
    on_ready(address, str(settings.network.address._replace(port=port)) if settings.network and port else "")


async def _serve(plane: Discovery, pair: KeyPair | None, ready: Callable[[], None]) -> None:
    """Follow the store; listen once it was read whole."""
    following = asyncio.create_task(plane.follow())
    try:
        await _first_of(following, plane.synced.wait())
        heap.settle()
        await _listen(plane, pair)
        ready()
        await _first_of(following, plane.statuses.run())
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


async def _first_of(task: asyncio.Task[None], other: Coroutine[Any, Any, Any]) -> None:
    """Wait for ``other``; a task that fails before is an error."""
    waiting = asyncio.create_task(other)
    try:
        await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
    finally:
        waiting.cancel()


async def _listen(plane: Discovery, pair: KeyPair | None) -> None:
    network, socket = plane.settings.network, plane.settings.run_dir / "xds.sock"
    if network is None or pair is None:
        await plane.server.start(socket)
        return
    try:
        await plane.server.start(socket, str(network.address), pair.credentials())
    except OSError as error:
        raise TidegateError(f"{error}; free it or give another --tls-address") from None


async def _until(stopping: asyncio.Event, work: Awaitable[None]) -> None:
    task, stop = asyncio.ensure_future(work), asyncio.ensure_future(stopping.wait())
    try:
        await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
    finally:
        for each in (task, stop):
            each.cancel()
        await asyncio.gather(task, stop, return_exceptions=True)


@contextlib.asynccontextmanager
async def _monitoring(plane: Discovery) -> AsyncIterator[str]:
    """Serve the debug port on loopback; yields its address."""
    listener = loopback(plane.settings.monitoring_port, "--monitoring-port")
    app = debug_app(plane.server, plane.metrics, plane.synced.is_set, lambda: (plane.hub.world, plane.told()))
    async with serving(app, listener):
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
