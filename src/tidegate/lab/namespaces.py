"""Network namespaces by name: which there are, which processes are in one, and entering it."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from tidegate.capture.namespace import in_thread, inside
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
    in_thread(lambda: launcher.name_new_namespace(str(path)), lambda: None)


def run_inside(name: str, function: Callable[[], T]) -> T:
    """Call ``function`` in a namespace, which only a thread of its own enters."""
    return inside(str(NETNS_DIR / name), function)


def inode(name: str) -> int:
    """What /proc/PID/ns/net shows of processes in the namespace; 0 when there is no such namespace."""
    try:
        return os.stat(NETNS_DIR / name).st_ino  # noqa: PTH116 - Path.stat would do the same
    except OSError:
        return 0
