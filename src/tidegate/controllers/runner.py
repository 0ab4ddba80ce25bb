"""Carries out the controllers' plans against a store."""

import asyncio
import logging
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from tidegate.api import meshconfig
from tidegate.controllers import defaults, endpointslices
from tidegate.controllers.addresses import Addresses
from tidegate.controllers.cache import KINDS, Cache, Name, name_of
from tidegate.controllers.owned import Workloads
from tidegate.controllers.plan import Action
from tidegate.store.informer import Batch, follow
from tidegate.store.model import Json, Store, StoreError, WatchType
from tidegate.store.strategy import timestamp, utc_now

log = logging.getLogger(__name__)

K = TypeVar("K", bound=tuple[str, ...])

_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 15.0


async def run(store: Store) -> None:
    """Keep EndpointSlices in line with Services, Pods and Endpoints, ReplicaSets and Pods with Deployments, give the
    hosts of ServiceEntries addresses, and see to the default mesh configuration.

    Runs until cancelled; failures of the store are logged and tried again with a growing pause.
    """
    slices = _Runner(store, _Slices())
    workloads = _Runner(store, Workloads(lambda: timestamp(utc_now())))
    addresses = _Runner(store, Addresses())
    async with asyncio.TaskGroup() as group:
        group.create_task(_ensure_defaults(store))
        for each in (
            *(slices.follow(), slices.work()),
            *(workloads.follow(), workloads.work()),
            *(addresses.follow(), addresses.work()),
        ):
            group.create_task(each)


async def _ensure_defaults(store: Store) -> None:
    pause = _FIRST_PAUSE
    while True:
        try:
            namespace = await _get(store, "Namespace", "", meshconfig.NAMESPACE)
            config = await _get(store, "ConfigMap", meshconfig.NAMESPACE, meshconfig.NAME)
            for action in defaults.plan(namespace, config):
                await _write(store, action)
            return
        except StoreError as failure:
            log.warning("default mesh configuration: %s; trying again in %.1f s", failure, pause)
        await asyncio.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE)


async def _get(store: Store, kind: str, namespace: str, name: str) -> Json | None:
    try:
        return await store.get(kind, namespace, name)
    except StoreError as failure:
        if failure.code == 404:
            return None
        raise


async def _write(store: Store, action: Action) -> Json | None:
    """The object as stored; None when it is gone."""
    log.info("%s", action)
    if action.verb == "create":
        return await store.create(action.object)
    if action.verb == "update":
        return await store.update(action.object)
    if action.verb == "status" and action.guarded:
        return await store.update(action.object, subresource="status")
    if action.verb == "status":
        meta = {k: v for k, v in action.object["metadata"].items() if k != "resourceVersion"}
        return await store.update({**action.object, "metadata": meta}, subresource="status")
    (namespace, name), kind = name_of(action.object), action.object["kind"]
    try:
        await store.delete(kind, namespace, name, uid=action.object["metadata"].get("uid", ""))
    except StoreError as failure:
        if failure.code != 404:
            raise
    return None


class _Slices(Cache):
    """EndpointSlices, by Service."""

    what = "EndpointSlices"
    kinds: tuple[str, ...] = KINDS

    def plan(self, key: Name) -> list[Action]:
        return endpointslices.plan(self.observed(key))

    def wrote(self, action: Action, made: Json | None) -> set[Name]:
        if made is not None:
            self.put("EndpointSlice", made)
        else:
            self.drop("EndpointSlice", name_of(action.object))
        return set()


class Controller(Protocol[K]):
    """What differs between controllers: which changes concern which keys, and what is to be written for a key."""

    what: str
    """In words for the log."""
    kinds: tuple[str, ...]

    def put(self, kind: str, obj: Json, /) -> set[K]: ...

    def drop(self, kind: str, name: Name, /) -> set[K]: ...

    def plan(self, key: K, /) -> list[Action]: ...

    def wrote(self, action: Action, made: Json | None, /) -> set[K]:
        """A planned write was done; the keys to look at because of it."""
        ...


class _Runner(Generic[K]):
    """Two tasks: one takes changes in, one works off the keys that they concern."""

    def __init__(self, store: Store, controller: Controller[K]) -> None:
        self._store, self._controller = store, controller
        self._due: dict[K, float] = {}
        self._pauses: dict[K, float] = {}
        self._synced, self._wake = False, asyncio.Event()

    async def follow(self) -> None:
        async for batch in follow(self._store, self._controller.kinds):
            self.take(batch)

    def take(self, batch: Batch) -> None:
        """Nothing is planned before everything was listed once: half a picture would delete what is needed."""
        for change in batch.changes:
            if change.type is WatchType.DELETED:
                concerned = self._controller.drop(change.kind, name_of(change.object))
            else:
                concerned = self._controller.put(change.kind, change.object)
            self._due.update(dict.fromkeys(concerned, 0.0))
        self._synced = batch.synced
        self._wake.set()

    async def work(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            await self._wait(clock)
            now = clock()
            for key in [key for key, at in self._due.items() if at <= now]:
                del self._due[key]
                await self._reconcile(key, clock)

    async def _wait(self, clock: Callable[[], float]) -> None:
        while not self._synced or min(self._due.values(), default=float("inf")) > clock():
            at = min(self._due.values(), default=0.0) if self._synced else 0.0
            self._wake.clear()
            try:
                async with asyncio.timeout(max(at - clock(), 0.001) if at else None):
                    await self._wake.wait()
            except TimeoutError:
                return

    async def _reconcile(self, key: K, clock: Callable[[], float]) -> None:
        what = self._controller.what
        try:
            for action in self._controller.plan(key):
                concerned = self._controller.wrote(action, await _write(self._store, action))
                self._due.update(dict.fromkeys(concerned, 0.0))
        except StoreError as failure:
            pause = self._pauses.get(key, _FIRST_PAUSE)
            log.warning("%s of %s: %s; trying again in %.1f s", what, "/".join(key), failure, pause)
            self._pauses[key] = min(pause * 2, _LONGEST_PAUSE)
            self._due[key] = clock() + pause
        except (KeyError, TypeError, ValueError):
            log.exception("%s of %s: its objects cannot be read; waiting for a change", what, "/".join(key))
        else:
            self._pauses.pop(key, None)
