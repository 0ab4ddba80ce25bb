"""The garbage collector of a process that holds a large, almost immutable heap.

The core's values form trees without cycles and go by reference count; walking all of them again and again finds
nothing, and costs a first configuration of thousands of services a tenth of its time.
"""

import asyncio
import gc
import time

YOUNG = 50_000
"""Container objects that may come to be before the collector looks; Python's own 700 are soon reached."""


def spare() -> None:
    """Let the collector look less often. Cycles (of exceptions, of tasks) are still found."""
    gc.set_threshold(YOUNG, 20, 20)


def settle() -> None:
    """After the store was read: what is held now is no garbage, and is not walked again."""
    gc.collect()
    gc.freeze()


MANY = 100
"""Streams that began or ended, each of which may leave some 100 kB."""
SETTLING_SECONDS = 1.0
_REST = 100
"""Collecting takes at most one part of so many of the time."""


class Litter:
    """Collects what ended streams leave behind: their tasks and exceptions refer to each other, and a collector that
    looks as seldom as :func:`spare` makes it would let them pile up to gigabytes. To be used on one event loop."""

    def __init__(self) -> None:
        self._noted = 0
        self._timer: asyncio.TimerHandle | None = None
        self._rest = SETTLING_SECONDS

    def note(self) -> None:
        """A stream began or ended."""
        self._noted += 1
        if self._noted >= MANY and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._rest, self._collect)

    def _collect(self) -> None:
        self._timer, self._noted = None, 0
        start = time.monotonic()
        gc.collect()
        self._rest = max(SETTLING_SECONDS, _REST * (time.monotonic() - start))
