"""Carries out the controllers' plans against a store."""

import asyncio
import logging
from collections.abc import Callable

from tidegate.api import meshconfig
from tidegate.controllers import defaults, endpointslices
from tidegate.controllers.cache import KINDS, Cache, Name, name_of
from tidegate.controllers.plan import Action
from tidegate.store.informer import Batch, follow
from tidegate.store.model import Json, Store, StoreError, WatchType

log = logging.getLogger(__name__)

_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 15.0


async def run(store: Store) -> None:
    """Keep EndpointSlices in line with Services, Pods and Endpoints, and see to the default mesh configuration.

    Runs until cancelled; failures of the store are logged and tried again with a growing pause.
    """
    runner = _Runner(store)
    async with asyncio.TaskGroup() as group:
        group.create_task(_ensure_defaults(store))
        group.create_task(runner.follow())
        group.create_task(runner.work())


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
    (namespace, name), kind = name_of(action.object), action.object["kind"]
    try:
        await store.delete(kind, namespace, name, uid=action.object["metadata"].get("uid", ""))
    except StoreError as failure:
        if failure.code != 404:
            raise
    return None


class _Runner:
    """Two tasks: one takes changes in, one works off the Services that they concern."""

    def __init__(self, store: Store) -> None:
        self._store, self._cache = store, Cache()
        self._due: dict[Name, float] = {}
        self._pauses: dict[Name, float] = {}
        self._synced, self._wake = False, asyncio.Event()

    async def follow(self) -> None:
        async for batch in follow(self._store, KINDS):
            self.take(batch)

    def take(self, batch: Batch) -> None:
        """Nothing is planned before everything was listed once: half a picture would delete slices."""
        for change in batch.changes:
            if change.type is WatchType.DELETED:
                concerned = self._cache.drop(change.kind, name_of(change.object))
            else:
                concerned = self._cache.put(change.kind, change.object)
            self._due.update(dict.fromkeys(concerned, 0.0))
        self._synced = batch.synced
        self._wake.set()

    async def work(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            await self._wait(clock)
            now = clock()
            for name in [name for name, at in self._due.items() if at <= now]:
                del self._due[name]
                await self._reconcile(name, clock)

    async def _wait(self, clock: Callable[[], float]) -> None:
        while not self._synced or min(self._due.values(), default=float("inf")) > clock():
            at = min(self._due.values(), default=0.0) if self._synced else 0.0
            self._wake.clear()
            try:
                async with asyncio.timeout(max(at - clock(), 0.001) if at else None):
                    await self._wake.wait()
            except TimeoutError:
                return

    async def _reconcile(self, name: Name, clock: Callable[[], float]) -> None:
        try:
            for action in endpointslices.plan(self._cache.observed(name)):
                made = await _write(self._store, action)
                if made is not None:
                    self._cache.put("EndpointSlice", made)
                else:
                    self._cache.drop("EndpointSlice", name_of(action.object))
        except StoreError as failure:
            pause = self._pauses.get(name, _FIRST_PAUSE)
            log.warning("EndpointSlices of %s/%s: %s; trying again in %.1f s", *name, failure, pause)
            self._pauses[name] = min(pause * 2, _LONGEST_PAUSE)
            self._due.setdefault(name, clock() + pause)
        except (KeyError, TypeError, ValueError):
            log.exception("EndpointSlices of %s/%s: its objects cannot be read; waiting for a change", *name)
        else:
            self._pauses.pop(name, None)
