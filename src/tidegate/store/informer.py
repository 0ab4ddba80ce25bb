"""List, then watch, for ever: a stream of changes of some kinds, whatever happens to the connection."""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable, Iterable

import msgspec

from tidegate.store.model import Expired, Json, Listing, Store, StoreError, WatchEvent, WatchType

log = logging.getLogger(__name__)

_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0
_WAITING = 10_000

Name = tuple[str, str]


class Change(msgspec.Struct, frozen=True):
    """One object added, modified or deleted. Of an object whose deletion was not seen only identity is known."""

    type: WatchType
    kind: str
    object: Json


class Batch(msgspec.Struct, frozen=True):
    """Changes that had arrived together, in the order in which each kind's came.

    ``synced`` is False until every kind was listed once; the first batch with ``synced`` completes the picture.
    """

    changes: tuple[Change, ...]
    synced: bool


class _Follower:
    """One kind: what is known of it, and the task that keeps it known."""

    def __init__(self, store: Store, kind: str, out: "asyncio.Queue[Change | None]") -> None:
        self._store, self._kind, self._out = store, kind, out
        self._known: dict[Name, tuple[str, str]] = {}
        """(namespace, name) to (uid, resourceVersion)."""
        self._version = ""
        self.listed = False

    async def run(self, jitter: Callable[[], float]) -> None:
        pause = _FIRST_PAUSE
        while True:
            try:
                if not self._version:
                    await self._list()
                if await self._watch():
                    pause = _FIRST_PAUSE
                    continue
            except Expired:
                log.info("%s: the last seen version is gone; listing again", self._kind)
                self._version = ""
            except StoreError as failure:
                log.warning("%s: %s; trying again in about %.1f s", self._kind, failure, pause)
            await asyncio.sleep(pause * (0.5 + jitter()))
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def _list(self) -> None:
        listing = await self._store.list(self._kind)
        for change in self._difference(listing):
            await self._out.put(change)
        self._version, self.listed = listing.resource_version, True
        await self._out.put(None)

    def _difference(self, listing: Listing) -> Iterable[Change]:
        """What happened between what is known and the listing."""
        now = {_name(obj): obj for obj in listing.items}
        for name in [name for name in self._known if name not in now]:
            yield Change(WatchType.DELETED, self._kind, self._gone(name))
        for name, obj in now.items():
            known, found = self._known.get(name), _identity(obj)
            if known is not None and known[0] != found[0]:
                yield Change(WatchType.DELETED, self._kind, self._gone(name))
                known = None
            if known != found:
                self._known[name] = found
                yield Change(WatchType.MODIFIED if known else WatchType.ADDED, self._kind, obj)

    def _gone(self, name: Name) -> Json:
        """An object that went unseen: its identity."""
        uid, version = self._known.pop(name)
        meta = {"namespace": name[0], "name": name[1], "uid": uid, "resourceVersion": version}
        return {"kind": self._kind, "metadata": {k: v for k, v in meta.items() if v}}

    async def _watch(self) -> bool:
        """Follow until the server ends it; True when anything was told."""
        told = False
        events = self._store.watch(self._kind, self._version)
        try:
            async for event in events:
                told = True
                await self._take(event)
        finally:
            if (close := getattr(events, "aclose", None)) is not None:
                await close()
        return told

    async def _take(self, event: WatchEvent) -> None:
        obj = event.object
        self._version = str(obj["metadata"]["resourceVersion"])
        if event.type is WatchType.BOOKMARK:
            return
        if event.type is WatchType.DELETED:
            self._known.pop(_name(obj), None)
        else:
            self._known[_name(obj)] = _identity(obj)
        await self._out.put(Change(event.type, self._kind, obj))


async def follow(
    store: Store, kinds: Iterable[str], *, jitter: Callable[[], float] = random.random
) -> AsyncIterator[Batch]:
    """Yield what happens to objects of ``kinds``, beginning with all that exist.

    Watches resume by version, lists are repeated (and compared with what is known) when a version has expired, and
    failures are met with a growing pause; a caller sees none of it. What has arrived while the caller worked comes as
    one batch; a lone change comes at once. Cancel or close the iterator to stop.
    """
    out: asyncio.Queue[Change | None] = asyncio.Queue(_WAITING)
    followers = [_Follower(store, kind, out) for kind in kinds]
    tasks = [asyncio.create_task(follower.run(jitter)) for follower in followers]
    told_synced = False
    try:
        while True:
            changes = _drained(await _next(out, tasks), out)
            synced = all(follower.listed for follower in followers)
            if changes or synced is not told_synced:
                told_synced = synced
                yield Batch(tuple(changes), synced)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _next(out: "asyncio.Queue[Change | None]", tasks: "list[asyncio.Task[None]]") -> Change | None:
    """The next change; a follower that died takes the stream with it rather than leave a kind unwatched."""
    getter = asyncio.ensure_future(out.get())
    try:
        await asyncio.wait([getter, *tasks], return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task.done():
                task.result()
        return await getter
    finally:
        getter.cancel()


def _drained(first: Change | None, out: "asyncio.Queue[Change | None]") -> list[Change]:
    """``first`` and all that is already there. None marks the end of a kind's list."""
    changes = [first] if first is not None else []
    while not out.empty():
        more = out.get_nowait()
        if more is not None:
            changes.append(more)
    return changes


def _name(obj: Json) -> Name:
    meta = obj["metadata"]
    return (str(meta.get("namespace", "")), str(meta["name"]))


def _identity(obj: Json) -> tuple[str, str]:
    meta = obj["metadata"]
    return (str(meta.get("uid", "")), str(meta.get("resourceVersion", "")))
