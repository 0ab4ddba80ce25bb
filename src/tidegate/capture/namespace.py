"""Work inside a network namespace without a process of its own: a thread enters it and ends.

A fork of a process with threads, which is how pyroute2 would do it, can hang or crash.
"""

import ctypes
import os
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_NEWNET = 0x40000000
"""CLONE_NEWNET, setns(2)."""


def inside(path: str | None, function: Callable[[], T]) -> T:
    """Call ``function`` in the namespace of this file; None: in the caller's own.

    Raises OSError when the namespace cannot be entered, and whatever the function raises.
    """
    return function() if path is None else in_thread(lambda: enter(path), function)


def in_thread(enter: Callable[[], object], function: Callable[[], T]) -> T:
    """Let a thread ``enter`` something that it never leaves, and call ``function`` in it."""
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            enter()
            results.append(function())
        except BaseException as error:  # handed to the caller
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def enter(path: str) -> None:
    """Let the calling thread enter the namespace of this file. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if ctypes.CDLL(None, use_errno=True).setns(descriptor, _NEWNET):
            number = ctypes.get_errno()
            raise OSError(number, f"entering the network namespace: {os.strerror(number)}", path)
    finally:
        os.close(descriptor)
