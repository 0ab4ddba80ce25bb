"""Envoy's life: deciding what to do next from what is seen, and doing it.

Envoy runs in a session of its own and writes to a file, so that it goes on when this agent dies; the next agent finds
it by its pid file or by its command line and adopts it.
"""

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Literal

import msgspec

from tidegate.agent import procfs
from tidegate.agent.http import MAX_BODY, Client, UpstreamHttpError
from tidegate.agent.settings import Settings
from tidegate.kit.errors import TidegateError

log = logging.getLogger(__name__)

HEALTHY_SECONDS = 10.0
"""A life at least this long ends a series of failures."""
MAX_DELAY = 30.0
"""Seconds between starts of an Envoy that dies at once."""
END_SECONDS = 5.0
"""How long Envoy may take to end after SIGTERM."""
SHOWN_LINES = 5


class EnvoyStartError(TidegateError):
    """Envoy could not be started."""


class Exit(msgspec.Struct, frozen=True):
    """How an Envoy ended."""

    code: int | None
    """None when it was adopted: only a parent is told."""
    lived: float
    """Seconds."""
    last_lines: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.code is None:
            how = "ended (an adopted process: its exit code is not known)"
        elif self.code < 0:
            how = f"was killed by {_signal_name(-self.code)}"
        else:
            how = f"exited with code {self.code}"
        said = f"; its last words: {' | '.join(self.last_lines)}" if self.last_lines and self.code != -9 else ""
        return f"Envoy {how} after {self.lived:.1f} s{said}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


class Observed(msgspec.Struct, frozen=True):
    """What the plan is made from."""

    running: bool = False
    found: int | None = None
    """Pid of an Envoy of this workload that another agent left behind."""
    exit: Exit | None = None
    """How the last one ended; None before the first start."""
    failures: int = 0
    """Short lives in a row, the last one included."""
    since_exit: float = 0.0
    """Seconds."""
    stopping: bool = False


class Action(msgspec.Struct, frozen=True):
    """What to do next, and why."""

    kind: Literal["start", "adopt", "wait", "nothing"]
    reason: str
    delay: float = 0.0
    """Seconds to wait before looking again."""


def plan(observed: Observed) -> Action:
    """What to do about Envoy. Pure: the same sight, the same decision."""
    if observed.stopping:
        return Action("nothing", "the agent is ending")
    if observed.running:
        return Action("nothing", "Envoy is running")
    if observed.found is not None:
        return Action("adopt", f"an Envoy of this workload is running already (pid {observed.found})")
    if observed.exit is None:
        return Action("start", "no Envoy is running yet")
    left = delay_after(observed.failures) - observed.since_exit
    if left > 0:
        return Action("wait", f"{observed.exit}; {observed.failures} short lives in a row", left)
    return Action("start", str(observed.exit))


def delay_after(failures: int) -> float:
    """Seconds to wait after so many short lives in a row: none after the first, then 1, 2, 4 and so on."""
    return 0.0 if failures <= 1 else min(MAX_DELAY, 2.0 ** (failures - 2))


class Envoy:
    """One workload's Envoy: starts, adopts, watches and ends it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.running: procfs.Process | None = None
        self._admin = Client("127.0.0.1", settings.ports.admin)
        self.starts = 0
        self.failures = 0
        self.last_exit: Exit | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._ended_at = 0.0
        self.stopping = False

    def observe(self) -> Observed:
        """Look once."""
        found = None if self.running else procfs.find(self.settings.pid_file, str(self.settings.bootstrap_file))
        since = time.monotonic() - self._ended_at
        pid = found.pid if found else None
        return Observed(self.running is not None, pid, self.last_exit, self.failures, since, self.stopping)

    async def run(self) -> None:
        """Keep an Envoy running until ``stopping``."""
        while not self.stopping:
            action = plan(self.observe())
            if action.kind == "start":
                log.info("starting Envoy: %s", action.reason)
                self._start()
            elif action.kind == "adopt":
                log.info("adopting Envoy: %s", action.reason)
                await self._adopt()
            elif action.kind == "wait":
                log.warning("starting Envoy again in %.1f s: %s", action.delay, action.reason)
                await asyncio.sleep(action.delay)
            await self._until_it_ends()

    async def end(self) -> None:
        """SIGTERM, and SIGKILL to one that does not end."""
        self.stopping = True
        process = self.running
        if process is None:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            process.send(number)
            if await process.ended(END_SECONDS):
                break
            log.warning("Envoy (pid %d) did not end within %.0f s of %s", process.pid, END_SECONDS, number.name)
        self.settings.pid_file.unlink(missing_ok=True)

    async def _adopt(self) -> None:
        """Take over an Envoy; one whose agent died while draining it takes no connections any more and is ended."""
        self.running = procfs.find(self.settings.pid_file, str(self.settings.bootstrap_file))
        if self.running is None:
            return
        procfs.keep(self.settings.pid_file, self.running)
        try:
            _, state = await self._admin.get("/ready", MAX_BODY)
        except UpstreamHttpError as error:
            log.warning("the adopted Envoy does not answer yet: %s", error)
            return
        if state.startswith(b"DRAINING"):
            log.warning("the adopted Envoy was being drained; ending it")
            self.running.send(signal.SIGTERM)

    def _start(self) -> None:
        self.starts += 1
        with self._output() as output, reachable(self.settings.envoy) as (path, binary):
            # No preexec_fn, user or group: they would make this a fork, which gRPC's threads do not survive.
            self._child = subprocess.Popen(
                [*as_user(self.settings), *arguments(self.settings, path)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                pass_fds=(binary,),
                cwd="/",
            )
        self.running = procfs.Process.of(self._child.pid)
        procfs.keep(self.settings.pid_file, self.running)

    @contextlib.contextmanager
    def _output(self) -> Iterator[IO[bytes] | None]:
        """Where Envoy writes: its log file, or None for where the agent itself does."""
        if not self.settings.own_log_file:
            yield None
            return
        with self.settings.log_file.open("ab", buffering=0) as output:
            # Envoy opens /dev/stdout again as its own user, so the file behind it has to be its own.
            give(self.settings.log_file, self.settings.identity)
            yield output

    async def _until_it_ends(self) -> None:
        if self.running is None:
            return
        await self.running.ended(None)
        code = self._child.wait() if self._child and self._child.pid == self.running.pid else None
        lived = max(0.0, procfs.uptime() - self.running.started_at)
        self._ended_at = time.monotonic()
        self.failures = 1 if lived >= HEALTHY_SECONDS else self.failures + 1
        self.last_exit = Exit(code, lived, last_lines(self.settings.log_file))
        self.running.close()
        self.running = None
        self.settings.pid_file.unlink(missing_ok=True)
        if not self.stopping:
            log.error("%s", self.last_exit)


@contextlib.contextmanager
def reachable(binary: Path) -> Iterator[tuple[str, int]]:
    """The path by which Envoy's user reaches the binary, and a descriptor to pass on for it.

    Raises EnvoyStartError where it cannot be opened, or what is done within fails as starting a program does.
    """
    try:
        descriptor = os.open(binary, os.O_RDONLY)
        try:
            yield (str(binary) if open_to_all(binary) else f"/proc/self/fd/{descriptor}"), descriptor
        finally:
            os.close(descriptor)
    except OSError as error:
        raise EnvoyStartError(f"Envoy {binary} could not be started: {error}") from error


def arguments(settings: Settings, binary: str, config: Path | None = None) -> list[str]:
    """Envoy's command line; ``config``: another bootstrap than the one that it runs with."""
    return [
        binary,
        "--config-path",
        str(config or settings.bootstrap_file),
        "--concurrency",
        str(settings.concurrency),
        "--log-level",
        settings.log_level,
        "--log-format",
        _JSON_FORMAT if settings.log_as_json else _TEXT_FORMAT,
        "--local-address-ip-version",
        "v6" if settings.ipv6 else "v4",
        "--drain-time-s",
        str(settings.envoy_drain_seconds),
        "--drain-strategy",
        "immediate",
        "--file-flush-interval-msec",
        str(round(settings.flush_seconds * 1000)),
        "--disable-hot-restart",
        *(("--component-log-level", settings.component_log_level) if settings.component_log_level else ()),
        *(("--file-flush-min-size-kb", str(settings.flush_kilobytes)) if settings.flush_kilobytes else ()),
        *_override(settings.bootstrap_override),
    ]


_TEXT_FORMAT = "%Y-%m-%dT%T.%fZ\t%l\tenvoy %n %g:%#\t%v\tthread=%t"
_JSON_FORMAT = '{"level":"%l","time":"%Y-%m-%dT%T.%fZ","scope":"envoy %n","msg":"%j","caller":"%g:%#","thread":"%t"}'


def _override(path: Path | None) -> list[str]:
    """A further bootstrap, which Envoy merges over the file's. Raises EnvoyStartError when it cannot be read."""
    if path is None:
        return []
    try:
        return ["--config-yaml", path.read_text()]
    except (OSError, UnicodeDecodeError) as error:
        raise EnvoyStartError(f"bootstrap override {path} cannot be read: {error}") from error


def as_user(settings: Settings) -> list[str]:
    """The command in front of Envoy's that gives up root; empty when this agent is not root.

    TPROXY sockets need CAP_NET_ADMIN, which is kept then, and no other: user 0 is not privileged by itself.
    """
    if settings.identity is None or os.geteuid() != 0:
        return []
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise EnvoyStartError("setpriv was not found; install the Debian package util-linux")
    kept = "-all,+net_admin" if settings.interception_mode == "TPROXY" else "-all"
    user, group = map(str, settings.identity)
    identity = ["--reuid", user, "--regid", group, "--clear-groups", "--securebits", "+noroot,+noroot_locked"]
    return [setpriv, *identity, "--inh-caps", kept, "--ambient-caps", kept, "--bounding-set", kept, "--"]


def open_to_all(path: Path) -> bool:
    """Whether another user can reach the file; one below /root is reached by descriptor instead."""
    return all(folder.stat().st_mode & 0o001 for folder in path.resolve().parents)


def last_lines(path: Path, lines: int = SHOWN_LINES, size: int = 16384) -> tuple[str, ...]:
    """The end of a log, at most ``size`` bytes of it."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - size))
            text = file.read(size).decode(errors="replace")
    except OSError:
        return ()
    return tuple(line for line in text.splitlines() if line.strip())[-lines:]


def give(path: Path, identity: tuple[int, int] | None) -> None:
    """Let Envoy's user have a file, and nobody else read it."""
    path.chmod(0o640)
    if identity is not None and os.geteuid() == 0:
        os.chown(path, *identity)
