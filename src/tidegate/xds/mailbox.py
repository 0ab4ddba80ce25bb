"""Where a hub leaves changes for one session: publishing costs one step, however busy the session is."""

import asyncio

from tidegate.xds.source import Delta, SubscriptionEnded, Update, View


def merge(older: Delta | None, newer: Delta | None) -> Delta | None:
    """The names of both; None (anything may differ) swallows all."""
    if older is None or newer is None:
        return None
    return {url: older.get(url, frozenset()) | newer.get(url, frozenset()) for url in {*older, *newer}}


class Mailbox:
    """A :class:`tidegate.xds.source.Subscription` that holds at most one merged Update.

    View and Delta are shared objects: a thousand mailboxes hold a thousand references. Only a session that is still
    busy with the change before gets sets of its own. To be used on one event loop.
    """

    def __init__(self, view: View) -> None:
        self._view = view
        self._waiting: Update | None = None
        self._ended: str | None = None
        self._wake = asyncio.Event()

    @property
    def view(self) -> View:
        return self._view

    def publish(self, view: View, delta: Delta | None, since: float | None = None) -> None:
        """Leave a change; since is the time.monotonic() of what caused it."""
        self._view = view
        if self._waiting is not None:
            delta = merge(self._waiting.delta, delta)
            since = since if self._waiting.since is None else self._waiting.since
        self._waiting = Update(view, delta, since)
        self._wake.set()

    def end(self, reason: str) -> None:
        """Let the stream end, telling the client why."""
        self._ended = reason
        self._wake.set()

    async def next(self) -> Update:
        await self._wake.wait()
        if self._ended is not None:
            raise SubscriptionEnded(self._ended)
        update, self._waiting = self._waiting, None
        self._wake.clear()
        if update is None:
            raise AssertionError("a mailbox woke up without an update")
        return update

    def close(self) -> None:
        self._waiting = None
