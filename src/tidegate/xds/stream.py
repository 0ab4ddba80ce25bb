"""One gRPC stream around one session: reads requests, waits for changes, writes responses."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from tidegate.xds.session import Send
from tidegate.xds.source import Delta, Subscription, View

Write = Callable[[bytes], Awaitable[None]]
Request = TypeVar("Request", contravariant=True)

PATIENCE = 5.0
"""Seconds that listeners and routes wait for clusters to be warm."""
_MAX_OUTBOX = 8


class RequestSession(Protocol[Request]):
    """Either variant of :class:`tidegate.xds.session.Session`."""

    @property
    def held_back(self) -> bool: ...
    def on_request(self, request: Request) -> list[Send]: ...
    def on_publish(self, view: View, delta: Delta | None) -> list[Send]: ...
    def on_timeout(self) -> list[Send]: ...


class PushObserver(Protocol):
    """Is told of what was sent."""

    def sent(self, send: Send, seconds: float) -> None:
        """A response was handed to the transport, ``seconds`` after it was made."""
        ...

    def converged(self, seconds: float) -> None:
        """All responses that a change asked for at once are out; seconds since the change."""
        ...


@dataclass
class Stream(Generic[Request]):
    """A slow client blocks only itself: while responses wait to be written neither further requests are read nor
    changes taken, and those are merged in the subscription."""

    session: RequestSession[Request]
    subscription: Subscription
    requests: AsyncIterator[Request]
    write: Write
    observer: PushObserver
    patience: float = PATIENCE
    _outbox: deque[tuple[Send, float]] = field(default_factory=deque)
    _moved: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def run(self, first: Request) -> None:
        """Until the client ends the stream. Raises what ends it otherwise."""
        async with asyncio.TaskGroup() as tasks:
            others = [
                tasks.create_task(work) for work in (self._write_responses(), self._follow(), self._watch_patience())
            ]
            await self._handle(lambda: self.session.on_request(first))
            async for request in self.requests:
                await self._room()
                await self._handle(lambda request=request: self.session.on_request(request))  # type: ignore[misc]
            for task in others:
                task.cancel()

    async def _handle(self, step: Callable[[], list[Send]]) -> None:
        sends = step()
        made = time.monotonic()
        async with self._moved:
            self._outbox.extend((send, made) for send in sends)
            self._moved.notify_all()

    async def _room(self) -> None:
        async with self._moved:
            await self._moved.wait_for(lambda: len(self._outbox) < _MAX_OUTBOX)

    async def _drained(self) -> None:
        async with self._moved:
            await self._moved.wait_for(lambda: not self._outbox)

    async def _write_responses(self) -> None:
        while True:
            async with self._moved:
                await self._moved.wait_for(lambda: bool(self._outbox))
                send, made = self._outbox[0]
            await self.write(send.data)
            self.observer.sent(send, time.monotonic() - made)
            async with self._moved:
                self._outbox.popleft()
                self._moved.notify_all()

    async def _follow(self) -> None:
        while True:
            await self._drained()
            update = await self.subscription.next()
            await self._handle(lambda update=update: self.session.on_publish(update.view, update.delta))  # type: ignore[misc]
            if update.since is not None:
                await self._drained()
                self.observer.converged(time.monotonic() - update.since)

    async def _watch_patience(self) -> None:
        """Let go of what has been held back for the whole of ``patience``."""
        while True:
            async with self._moved:
                await self._moved.wait_for(lambda: self.session.held_back)
            if not await self._let_go_in_time():
                await self._handle(self.session.on_timeout)

    async def _let_go_in_time(self) -> bool:
        try:
            async with asyncio.timeout(self.patience), self._moved:
                await self._moved.wait_for(lambda: not self.session.held_back)
        except TimeoutError:
            return False
        return True
