"""Processes by pid and start time: a number that the kernel gave to another process meanwhile is never mistaken."""

import asyncio
import logging
import os
import select
import signal
from pathlib import Path

import msgspec

log = logging.getLogger(__name__)

_PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK")


class PidFile(msgspec.Struct, frozen=True):
    """What is kept on disk about a running Envoy."""

    pid: int
    started: int
    """Clock ticks after the machine's boot, as /proc tells."""
    boot: str
    """The boot's id: ticks of another boot mean nothing."""


class Process:
    """A process that is watched, child or not."""

    def __init__(self, pid: int, started: int, pidfd: int) -> None:
        self.pid, self.started, self._pidfd = pid, started, pidfd

    @classmethod
    def of(cls, pid: int) -> "Process":
        """The process that has this pid now. Raises OSError when there is none."""
        pidfd = os.pidfd_open(pid)
        try:
            return cls(pid, start_ticks(pid), pidfd)
        except OSError:
            os.close(pidfd)
            raise

    @property
    def started_at(self) -> float:
        """Seconds after the machine's boot."""
        return self.started / _TICKS

    def send(self, number: signal.Signals) -> None:
        """Send a signal; nothing happens to a process that is gone."""
        try:
            signal.pidfd_send_signal(self._pidfd, number)
        except ProcessLookupError:
            pass

    def alive(self) -> bool:
        return not select.select([self._pidfd], [], [], 0)[0]

    async def ended(self, timeout: float | None) -> bool:  # noqa: ASYNC109 (a bound for the answer, not a cancellation)
        """Wait until the process is gone; False when it is still there after ``timeout`` seconds."""
        loop = asyncio.get_running_loop()
        gone = asyncio.Event()
        copy = os.dup(self._pidfd)
        loop.add_reader(copy, gone.set)
        try:
            await asyncio.wait_for(gone.wait(), timeout)
        except TimeoutError:
            return False
        finally:
            loop.remove_reader(copy)
            os.close(copy)
        return True

    def close(self) -> None:
        os.close(self._pidfd)


def find(pid_file: Path, argument: str) -> Process | None:
    """The running process that the pid file names, else one that has ``argument`` on its command line.

    The second way finds a process whose agent was killed before it could write the file.
    """
    named = _named(pid_file)
    candidates = [named.pid] if named else [int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit()]
    for pid in candidates:
        if argument not in arguments(pid)[1:]:
            continue
        try:
            process = Process.of(pid)
        except OSError:
            continue
        same = named is None or process.started == named.started
        if same and process.alive() and argument in arguments(pid)[1:] and not _is_zombie(pid):
            return process
        process.close()
    return None


def keep(pid_file: Path, process: Process) -> None:
    """Write down which process it is; by rename, so that a reader sees all of it or nothing.

    A full disk is told and nothing more: ``find`` knows the process by its command line too.
    """
    fresh = pid_file.with_suffix(".new")
    try:
        fresh.write_bytes(msgspec.json.encode(PidFile(process.pid, process.started, boot_id())))
        fresh.replace(pid_file)
    except OSError as error:
        log.error("the process %d is not kept in a file: %s", process.pid, error)


def arguments(pid: int) -> list[str]:
    """A process's command line; empty when it is gone."""
    try:
        return (_PROC / str(pid) / "cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return []


def start_ticks(pid: int) -> int:
    """When a process started, in clock ticks after boot. Raises OSError when it is gone."""
    return int(_stat(pid)[19])


def uptime() -> float:
    """Seconds since the machine's boot."""
    return float((_PROC / "uptime").read_text().split()[0])


def boot_id() -> str:
    return (_PROC / "sys/kernel/random/boot_id").read_text().strip()


def _is_zombie(pid: int) -> bool:
    try:
        return _stat(pid)[0] == "Z"
    except OSError:
        return True


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the name, which may itself hold blanks and brackets."""
    return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()


def _named(pid_file: Path) -> PidFile | None:
    try:
        found = msgspec.json.decode(pid_file.read_bytes(), type=PidFile)
    except (OSError, msgspec.DecodeError):
        return None
    if found.boot != boot_id() or not arguments(found.pid):
        return None
    return found
