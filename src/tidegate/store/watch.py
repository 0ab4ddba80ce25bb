"""Watches: a cursor in the log of changes, and what of it a client asked for.

A watcher holds no queue: however slow its client, it costs a cursor, and is told 410 when the log has moved on.
"""

import asyncio
from collections.abc import AsyncIterator

import msgspec

from tidegate.store import status
from tidegate.store.model import StoreError, WatchType
from tidegate.store.rendering import Renderer
from tidegate.store.selectors import Predicate
from tidegate.store.sqlite import Event, Storage

BOOKMARK_SECONDS = 30.0


class Watch:
    """One watch request. ``start`` is the version after which changes are told, None to begin with what is there."""

    def __init__(
        self,
        storage: Storage,
        renderer: Renderer,
        keep: Predicate | None,
        *,
        start: int | None,
        bookmarks: bool,
        seconds: float,
    ) -> None:
        self._storage, self._renderer, self._keep = storage, renderer, keep
        self._cursor, self._bookmarks, self._seconds = start, bookmarks, seconds
        self._told = False

    async def lines(self, stopping: asyncio.Event, *, initial_end: bool = False) -> AsyncIterator[bytes]:
        """JSON lines until the time is over, the server stops or the log no longer reaches back to the cursor.

        ``initial_end``: a bookmark marks the end of what was there at the start (sendInitialEvents).
        """
        try:
            if self._cursor is None:
                for line in await self._initial():
                    yield line
                if initial_end and self._cursor is not None:
                    yield self._renderer.bookmark(self._cursor, initial_end=True)
            async for line in self._following(stopping):
                yield line
        except StoreError as failure:
            yield b'{"type":"ERROR","object":' + msgspec.json.encode(status.as_json(failure)) + b"}\n"

    async def _initial(self) -> list[bytes]:
        target = self._renderer.target
        keep = self._keep
        page = await self._storage.page(
            target.kind.kind,
            target.namespace,
            keep=None if keep is None else lambda body: keep(msgspec.json.decode(body)),
        )
        self._cursor = page.version
        return [self._line(WatchType.ADDED, body) for body in page.bodies]

    async def _following(self, stopping: asyncio.Event) -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        end = loop.time() + self._seconds
        cursor = self._cursor or 0
        while not stopping.is_set():
            events = await self._storage.events(cursor)
            for event in events:
                if line := self._shown(event):
                    yield line
                cursor = event.version
            if events:
                continue
            now = loop.time()
            woken = await self._wait(cursor, stopping, min(end - now, BOOKMARK_SECONDS))
            if not woken and self._bookmarks:
                yield self._renderer.bookmark(max(cursor, self._storage.version))
            if loop.time() >= end:
                return

    async def _wait(self, cursor: int, stopping: asyncio.Event, seconds: float) -> bool:
        """Whether something happened in the time given."""
        waits = [asyncio.ensure_future(self._storage.changed(cursor)), asyncio.ensure_future(stopping.wait())]
        try:
            done, _ = await asyncio.wait(waits, timeout=max(seconds, 0), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        return bool(done)

    def _shown(self, event: Event) -> bytes | None:
        """The event as this watch sees it: coming into a selector is ADDED, leaving it is DELETED."""
        target = self._renderer.target
        if event.key.kind != target.kind.kind or (target.namespace and event.key.namespace != target.namespace):
            return None
        if self._keep is None:
            return self._line(event.type, event.body)
        was = event.previous is not None and self._keep(msgspec.json.decode(event.previous))
        is_now = event.type is not WatchType.DELETED and self._keep(msgspec.json.decode(event.body))
        if not was and not is_now:
            return None
        kind = WatchType.DELETED if not is_now else WatchType.MODIFIED if was else WatchType.ADDED
        return self._line(kind, event.body)

    def _line(self, kind: WatchType, body: bytes) -> bytes:
        first, self._told = not self._told, True
        return self._renderer.event(kind.value, body, first=first)
