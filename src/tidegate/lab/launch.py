"""Starting processes that outlive this one, and becoming one."""

import fcntl
import json
import os
import select
import sys
import time
from pathlib import Path

import msgspec

from tidegate.agent import procfs
from tidegate.capture.namespace import enter, inside
from tidegate.kit.errors import TidegateError
from tidegate.lab import launcher
from tidegate.lab.namespaces import NETNS_DIR

MARK = "TIDEGATE_LAB"
"""Environment variable of every process of a lab, inherited by its children: how ``down`` finds those whose pid could
not be written down any more."""
START_SECONDS = 20.0
_BASE_ENV = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What to start, and where."""

    argv: tuple[str, ...]
    env: dict[str, str]
    netns: str = ""
    """Name of the namespace; "" for this one."""
    binds: tuple[tuple[str, str], ...] = ()
    """(file, the file it hides)."""
    uid: int = 0
    cwd: str = ""


class Started(msgspec.Struct, frozen=True):
    """A process, told apart from a later one with the same pid by its start time."""

    pid: int
    started: int
    """Clock ticks after boot."""


def environment(mark: str, **further: str) -> dict[str, str]:
    """The environment of a program of a lab: nothing of the caller's."""
    return {**_BASE_ENV, **further, MARK: mark}


def own_environment(mark: str) -> dict[str, str]:
    """The environment of tidegate's own processes: the caller's, marked."""
    return {**os.environ, MARK: mark, "PYTHONUNBUFFERED": "1"}


def start(order: Order, log: Path) -> Started:
    """Start a process in a session of its own, its output appended to ``log``.

    Returns when the program itself runs. Raises TidegateError when it could not be started.
    """
    reader, writer = os.pipe()
    order_fd = _above_standard(_written(order))
    status_fd = _above_standard(writer)
    try:
        # A child is in the network namespace of the thread that makes it.
        pid = inside(_netns(order), lambda: _spawned(log, order_fd, status_fd))
        started = Started(pid, procfs.start_ticks(pid))
    except OSError as error:
        os.close(reader)
        raise TidegateError(f"cannot start {order.argv[0]}: {error.strerror}") from error
    finally:
        os.close(order_fd)
        os.close(status_fd)
    _await_exec(reader, order.argv[0])
    return started


def _spawned(log: Path, order_fd: int, status_fd: int) -> int:
    return os.posix_spawn(
        sys.executable,
        [sys.executable, "-I", "-S", str(launcher.PATH), "3", "4"],
        dict(os.environ),
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640),
            (os.POSIX_SPAWN_DUP2, 1, 2),
            (os.POSIX_SPAWN_DUP2, order_fd, 3),
            (os.POSIX_SPAWN_DUP2, status_fd, 4),
        ],
        setsid=True,
    )


def _netns(order: Order) -> str | None:
    return str(NETNS_DIR / order.netns) if order.netns else None


def become(order: Order) -> None:
    """Replace this process by the ordered program; its exit code is then this process's."""
    fd = _written(order)
    if (path := _netns(order)) is not None:
        enter(path)
    os.set_inheritable(fd, True)
    os.execv(sys.executable, [sys.executable, "-I", "-S", str(launcher.PATH), str(fd)])  # noqa: S606


def _written(order: Order) -> int:
    """The order in an anonymous file: an environment does not belong on a command line that everyone can read."""
    fd = os.memfd_create("order")
    os.write(fd, json.dumps(msgspec.to_builtins(order)).encode())
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def _above_standard(fd: int) -> int:
    """A copy above the numbers that the child's files get, so that none of them overwrites it."""
    copy = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10)
    os.close(fd)
    return copy


def _await_exec(reader: int, program: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    try:
        ready, _, _ = select.select([reader], [], [], max(0.0, deadline - time.monotonic()))
        message = os.read(reader, 4096).decode(errors="replace") if ready else f"{program} did not start in time"
    finally:
        os.close(reader)
    if message:
        raise TidegateError(message)
