"""Finding and ending a lab's processes."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tidegate.agent import procfs
from tidegate.lab import namespaces
from tidegate.lab.launch import MARK, Started

_PROC = Path("/proc")
_LISTEN = "0A"
POLL_SECONDS = 0.05


def alive(process: Started | None) -> bool:
    """Whether this very process still runs; one that only waits to be reaped does not."""
    if process is None:
        return False
    return _state(process.pid) == (process.started, True)


def _state(pid: int) -> tuple[int, bool]:
    try:
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        return procfs.start_ticks(pid), fields[0] not in "ZX"
    except (OSError, IndexError):
        return 0, False


def uptime(process: Started) -> float:
    """Seconds since the process started."""
    return procfs.uptime() - process.started / os.sysconf("SC_CLK_TCK")


def belonging(mark: str, netns: list[str]) -> list[Started]:
    """Running processes that carry the lab's mark or are in one of its namespaces."""
    inodes = {namespaces.inode(name) for name in netns} - {0}
    wanted = f"{MARK}={mark}".encode()
    found = []
    for pid in _pids():
        started, running = _state(pid)
        if running and pid != os.getpid() and (_netns(pid) in inodes or wanted in _environment(pid)):
            found.append(Started(pid, started))
    return found


def inside(netns: str) -> list[Started]:
    """Running processes in a namespace."""
    wanted = namespaces.inode(netns)
    found = []
    for pid in _pids() if wanted else ():
        started, running = _state(pid)
        if running and _netns(pid) == wanted:
            found.append(Started(pid, started))
    return found


def _pids() -> Iterator[int]:
    return (int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit())


def _netns(pid: int) -> int:
    try:
        return int((_PROC / str(pid) / "ns/net").readlink().name.partition("[")[2].rstrip("]"))
    except (OSError, ValueError):
        return -1


def _environment(pid: int) -> list[bytes]:
    try:
        return (_PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return []


def end(find: Callable[[], list[Started]], grace: float, give_up: float = 10.0) -> list[Started]:
    """SIGTERM to what ``find`` finds, SIGKILL after ``grace`` seconds and to all that appears later.

    Returns what is still there after ``give_up`` further seconds: empty, but for processes that the kernel holds.
    """
    remaining = find()
    _signal(remaining, signal.SIGTERM)
    if not _gone(remaining, grace):
        _signal(remaining, signal.SIGKILL)
    deadline = time.monotonic() + give_up
    while (remaining := find()) and time.monotonic() < deadline:
        _signal(remaining, signal.SIGKILL)
        _gone(remaining, 1.0)
    return remaining


def end_gently(first: list[Started], find: Callable[[], list[Started]], grace: float) -> list[Started]:
    """SIGTERM to ``first``; what ``find`` finds when these have ended, or after ``grace`` seconds, is killed."""
    _signal(first, signal.SIGTERM)
    _gone(first, grace)
    return end(find, 0.0)


def _gone(processes: list[Started], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while any(alive(process) for process in processes):
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def _signal(processes: list[Started], number: signal.Signals) -> None:
    for process in processes:
        try:
            fd = os.pidfd_open(process.pid)
        except OSError:
            continue
        try:
            if alive(process):
                signal.pidfd_send_signal(fd, number)
        except ProcessLookupError:
            pass
        finally:
            os.close(fd)


def listening(pid: int) -> set[int]:
    """TCP ports on which something listens in the network namespace of this process."""
    ports = set()
    for table in ("tcp", "tcp6"):
        try:
            lines = (_PROC / str(pid) / "net" / table).read_text().splitlines()[1:]
        except OSError:
            continue
        fields = (line.split() for line in lines)
        ports |= {int(row[1].rpartition(":")[2], 16) for row in fields if row[3] == _LISTEN}
    return ports
