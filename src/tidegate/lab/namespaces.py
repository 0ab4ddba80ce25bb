"""Network namespaces by name: which there are, which processes are in one, and entering it."""

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from tidegate.lab import launcher

T = TypeVar("T")

NETNS_DIR = Path("/run/netns")


def existing(prefix: str) -> list[str]:
    """Names of namespaces on this machine that begin so."""
    if not NETNS_DIR.is_dir():
        return []
    return sorted(entry.name for entry in NETNS_DIR.iterdir() if entry.name.startswith(prefix))


def create(name: str) -> None:
    """Make a namespace with a name, as ``ip netns add`` does, without leaving this one. Raises OSError."""
    NETNS_DIR.mkdir(mode=0o755, exist_ok=True)
    launcher.share_mount(str(NETNS_DIR))
    path = NETNS_DIR / name
    os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444))
    _in_thread(lambda: launcher.name_new_namespace(str(path)))


def run_inside(name: str, function: Callable[[], T]) -> T:
    """Call ``function`` in a namespace, which only a thread of its own enters."""

    def enter() -> T:
        launcher.join_namespace(str(NETNS_DIR / name))
        return function()

    return _in_thread(enter)


def _in_thread(function: Callable[[], T]) -> T:
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(function())
        except BaseException as error:  # handed to the caller
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def inode(name: str) -> int:
    """What /proc/PID/ns/net shows of processes in the namespace; 0 when there is no such namespace."""
    try:
        return os.stat(NETNS_DIR / name).st_ino  # noqa: PTH116 - Path.stat would do the same
    except OSError:
        return 0
