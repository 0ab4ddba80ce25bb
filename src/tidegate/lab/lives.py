"""Programs that are started again when they end, later each time, as a kubelet does."""

import asyncio
import os
import time
from collections.abc import Callable

import msgspec

from tidegate.kit.errors import TidegateError
from tidegate.lab import processes
from tidegate.lab.launch import Started
from tidegate.lab.objects import Life

FIRST_PAUSE, LAST_PAUSE = 1.0, 60.0
"""Seconds. A kubelet waits from 10 s to 5 min; a lab is looked at by somebody who waits."""
LONG_LIFE = 60.0
"""Seconds after which a program counts as one that works: its next end is the first again."""
BACK_OFF, FAILED_START = "CrashLoopBackOff", "RunContainerError"
_POLL = 0.1
_SIGNALLED = 128


class Backoff:
    """How long to wait before each start: not at all, then longer after each end that comes soon."""

    def __init__(self) -> None:
        self._next = 0.0

    def pause(self, lived: float) -> float:
        """Seconds to wait after an end; ``lived`` is how long the program ran."""
        if lived >= LONG_LIFE:
            self._next = 0.0
        now = self._next
        self._next = min(max(now * 2, FIRST_PAUSE), LAST_PAUSE)
        return now


async def ended(process: Started) -> int | None:
    """Wait until the process has ended; its exit code (128 and the signal's number) where it is a child of ours."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except OSError:
        return reap(process.pid)
    loop, gone = asyncio.get_running_loop(), asyncio.Event()
    try:
        if processes.alive(process):
            loop.add_reader(descriptor, gone.set)
            try:
                await gone.wait()
            finally:
                loop.remove_reader(descriptor)
    finally:
        os.close(descriptor)
    return reap(process.pid)


def reap(pid: int) -> int | None:
    """The exit code of a child that has ended, which leaves no zombie; None for other processes."""
    try:
        done, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return None
    if not done:
        return None
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else _SIGNALLED - code


class Kept(msgspec.Struct, frozen=True):
    """A program that is kept alive."""

    name: str
    start: Callable[[], Started]
    """May raise TidegateError."""
    serves: Callable[[Started], bool]
    """Whether it listens on all that it should."""
    tell: Callable[[Life, bool], None]
    """Told what became of it, and whether it is ready."""
    restarted: Callable[[int], None]
    """Told how often it was started again."""
    always: bool = True
    """False: its first end is its last."""


async def keep(kept: Kept, running: Started | None, restarts: int = 0) -> None:
    """Start the program, unless it is ``running``, and again whenever it ends; returns when that is not wanted."""
    backoff, life = Backoff(), Life(restarts=restarts)
    while True:
        began, problem = time.monotonic(), ""
        try:
            code = await _lived(kept, running, life)
            lived = time.monotonic() - began
        except TidegateError as error:
            code, lived, problem = None, 0.0, str(error)
        running = None
        life = Life(restarts=life.restarts, ended=True, code=code)
        kept.tell(life, False)
        if not kept.always:
            return
        if pause := backoff.pause(lived):
            message = problem or f"it ended; {kept.name} is started again {pause:.0f} s after its end"
            kept.tell(
                msgspec.structs.replace(life, waiting=FAILED_START if problem else BACK_OFF, message=message), False
            )
            await asyncio.sleep(pause)
        life = Life(restarts=life.restarts + 1, code=code)
        kept.restarted(life.restarts)


async def _lived(kept: Kept, running: Started | None, life: Life) -> int | None:
    """One life of the program, and its exit code."""
    if running is None:
        running = kept.start()
        kept.tell(life, False)
        while processes.alive(running) and not kept.serves(running):  # noqa: ASYNC110 - nobody else tells
            await asyncio.sleep(_POLL)
        if processes.alive(running):
            kept.tell(life, True)
    return await ended(running)
