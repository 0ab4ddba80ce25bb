"""The agent process: everything around one workload's Envoy, composed."""

import asyncio
import contextlib
import fcntl
import json
import logging
import os
import signal
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import IO, Any

from tidegate.agent import appprobes, logfile, scrape
from tidegate.agent.appprobes import AppProbes
from tidegate.agent.bootstrap import encoded
from tidegate.agent.bootstrap_patch import write_patched
from tidegate.agent.dnsforward import read_resolv_conf
from tidegate.agent.dnsserver import DnsServer, DnsThread
from tidegate.agent.drain import drain
from tidegate.agent.http import Client
from tidegate.agent.lastgood import LastGood
from tidegate.agent.namefeed import NameFeed
from tidegate.agent.process import Envoy
from tidegate.agent.relay import Relay
from tidegate.agent.settings import Network, Settings
from tidegate.agent.status import Readiness, Status, serve_tcp, serve_unix
from tidegate.agent.upstream import upstream
from tidegate.kit.errors import TidegateError
from tidegate.kit.nametable import TYPE_URL as NAMES

log = logging.getLogger(__name__)

POLL_SECONDS = 0.1
RESOLV_CONF = Path("/etc/resolv.conf")
MAX_SOCKET_PATH = 107
"""Bytes, by unix(7)."""


def run(settings: Settings) -> None:
    """Run the agent until it is told to end. Raises TidegateError when it cannot start."""
    try:
        asyncio.run(Agent(settings).run())
    except OSError as error:
        raise TidegateError(f"the agent of {settings.full_name} cannot run: {error}") from error


class Agent:
    """One workload's agent."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.started, self._since = time.time(), time.monotonic()
        self.stop = asyncio.Event()
        self._startup: float | None = None
        """Seconds until the proxy was ready for the first time."""
        self._quitting = False
        self._draining: asyncio.Task[None] | None = None
        self._lock = prepare(settings)
        self.envoy = Envoy(settings)
        self.admin = Client("127.0.0.1", settings.ports.admin)
        self.readiness = Readiness(self.admin)
        self.status = Status(self.admin, Client("127.0.0.1", settings.ports.prometheus), self.readiness, self.report)
        self.dns = names_server(settings)
        asked = appprobes.address_of(os.environ, settings.address)
        self.status.application = AppProbes(appprobes.parse(os.environ), asked)
        self.status.metrics.applications = scrape.Applications(scraped(settings), settings.loopback)
        self.status.on_quit = self._quit
        self.status.on_drain = self._drain

    async def run(self) -> None:
        """Serve and supervise; returns when the agent was told to end and Envoy has ended."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop.set)
        settings = self.settings
        store = LastGood(settings.last_good_file)
        feed = NameFeed(self.dns.replace) if self.dns is not None else None
        use_proxy_group(settings)
        reached = upstream(settings.upstream)
        self.relay = Relay(reached, settings.token_file, store, feed)
        async with contextlib.AsyncExitStack() as stack:
            stack.callback(store.close)
            if self.dns is not None and feed is not None:
                feed.restore(store.everything().get(NAMES, ()))
                thread = DnsThread(self.dns)
                thread.start()
                stack.callback(thread.stop)
            await self.relay.start(settings.xds_socket)
            stack.push_async_callback(self.relay.stop)
            own(settings.xds_socket, settings.identity)
            local = await serve_unix(self.status.local, settings.agent_socket)
            stack.callback(local.close)
            own(settings.agent_socket, None)
            await local.start_serving()
            public = await serve_tcp(self.status.public, everywhere(settings), settings.ports.status)
            stack.callback(public.close)
            if settings.asks_bootstrap:
                await self._unless_stopped(write_patched(settings, reached))
            await self._supervise()
        forget_sockets(settings)
        self._lock.close()

    async def report(self) -> dict[str, Any]:
        """What ``GET /status`` tells."""
        running = self.envoy.running
        return {
            "name": self.settings.name,
            "namespace": self.settings.namespace,
            "pid": os.getpid(),
            "started": self.started,
            "uptime": time.monotonic() - self._since,
            "startup": self._startup,
            "ready": not await self.readiness.problem(),
            "envoy": {
                "pid": running.pid if running else None,
                "starts": self.envoy.starts,
                "lastExit": str(self.envoy.last_exit) if self.envoy.last_exit else None,
            },
            "relay": {
                "source": self.relay.state,
                "connectedSince": self.relay.connected_since,
                "counters": self.relay.counters,
            },
            "accepted": await self.relay.held(),
            **({"dns": {"names": self.dns.known, "counters": self.dns.counters}} if self.dns is not None else {}),
        }

    async def _unless_stopped(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something before Envoy starts, or leave it when the agent is told to end."""
        tasks = [asyncio.ensure_future(work), asyncio.ensure_future(self.stop.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if tasks[0].done():
                tasks[0].result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _supervise(self) -> None:
        life = asyncio.create_task(self.envoy.run())
        others = [asyncio.create_task(self._announce())]
        if self.settings.own_log_file:
            others.append(asyncio.create_task(logfile.keep_small(self.settings.log_file)))
        stopping: asyncio.Task[Any] = asyncio.create_task(self.stop.wait())
        try:
            await asyncio.wait({life, stopping, *others}, return_when=asyncio.FIRST_COMPLETED)
            for task in (life, *others):
                if task.done():
                    task.result()
            await self._end()
        finally:
            for task in (life, stopping, *others):
                task.cancel()
            await asyncio.gather(life, stopping, *others, return_exceptions=True)

    async def _end(self) -> None:
        self.envoy.stopping = True
        if not self._quitting and self.envoy.running is not None:
            await self._drain()
            await asyncio.gather(self._draining or asyncio.sleep(0), return_exceptions=True)
        await self.envoy.end()

    async def _drain(self) -> None:
        """Begin to drain, once; a pod's preStop hook asks for it, and its end waits for it."""
        self.readiness.draining = True
        if self._draining is None:
            settings = self.settings
            self._draining = asyncio.create_task(
                drain(
                    self.admin,
                    settings.drain_seconds,
                    until_idle=settings.exit_on_zero_connections,
                    at_least=settings.minimum_drain_seconds,
                )
            )

    def _quit(self) -> None:
        self._quitting = True
        self.stop.set()

    async def _announce(self) -> None:
        """Make the hold file once each Envoy is ready, and look at readiness anew when another Envoy runs."""
        seen: object = None
        while True:
            if self.envoy.running is not seen:
                seen = self.envoy.running
                self.readiness.reset()
                await self._until_ready()
            await asyncio.sleep(POLL_SECONDS)

    def _names_missing(self) -> str:
        """Why the application would not find the mesh's names yet; "" when it does, or DNS is not captured."""
        waits = self.dns is not None and self.dns.known is None
        return "no name table was received from the control plane" if waits else ""

    async def _until_ready(self) -> None:
        last = ""
        running = self.envoy.running
        while running is not None and self.envoy.running is running:
            problem = await self.readiness.problem() or self._names_missing()
            if not problem:
                log.info("the proxy is ready")
                self._startup = self._startup or time.monotonic() - self._since
                if self.settings.hold_file is not None:
                    release(self.settings.hold_file)
                return
            if problem != last:
                log.info("not ready: %s", problem)
            last = problem
            await asyncio.sleep(POLL_SECONDS)


def names_server(settings: Settings) -> DnsServer | None:
    """The workload's DNS server; None where its DNS is not captured."""
    if not settings.answers_dns:
        return None
    group = settings.proxy_id if os.geteuid() == 0 else None
    return DnsServer(settings.domain_of_names, read_resolv_conf(RESOLV_CONF), group)


def scraped(settings: Settings) -> tuple[scrape.Target, ...]:
    """The application's statistics; an annotation that is wrong costs them, and not the proxy."""
    try:
        return scrape.targets(os.environ, settings.ports.status)
    except TidegateError as error:
        log.error("the application's statistics are left out: %s", error)
        return ()


def everywhere(settings: Settings) -> list[str]:
    """All addresses of the workload's own namespace, where probes and scrapers come from."""
    return ["0.0.0.0", "::"] if settings.ipv6 else ["0.0.0.0"]  # noqa: S104


def use_proxy_group(settings: Settings) -> None:
    """Be of the proxy's group from now on, so that the packet rules let the agent reach a control plane in the network:
    led to Envoy, which waits for that very control plane, it would never get there.
    """
    if isinstance(settings.upstream, Network) and settings.proxy_id is not None and os.geteuid() == 0:
        os.setegid(settings.proxy_id)


def own(socket: Path, identity: tuple[int, int] | None) -> None:
    """Give a socket to the user who may open it, and to nobody else; None leaves it the agent's own."""
    socket.chmod(0o600)
    if identity is not None and os.geteuid() == 0:
        os.chown(socket, *identity)


def forget_sockets(settings: Settings) -> None:
    """Take away the sockets: the agent's own at its end, and those that a killed agent left."""
    for socket in (settings.agent_socket, settings.xds_socket):
        socket.unlink(missing_ok=True)


def prepare(settings: Settings) -> IO[bytes]:
    """Make the agent's folders, take the workload's lock (held until the returned file is closed) and write the
    bootstrap. Raises TidegateError when Envoy's user cannot reach the folders or another agent runs.
    """
    _make_folders(settings)
    lock = _locked(settings)
    fresh = settings.bootstrap_file.with_suffix(".new")
    fresh.write_bytes(encoded(settings))
    fresh.replace(settings.bootstrap_file)
    forget_sockets(settings)
    if settings.hold_file is not None:
        settings.hold_file.unlink(missing_ok=True)
    return lock


def _make_folders(settings: Settings) -> None:
    if len(os.fsencode(settings.agent_socket)) > MAX_SOCKET_PATH:
        raise TidegateError(
            f"socket {settings.agent_socket}: longer than the {MAX_SOCKET_PATH} bytes that Linux allows; "
            "choose a shorter --run-dir"
        )
    for folder in (settings.sockets, settings.files):
        folder.mkdir(parents=True, exist_ok=True)
        for made in (folder, folder.parent) if not settings.alone else ():
            made.chmod(0o755)
        for part in (folder, *folder.parents):
            if settings.proxy_id is not None and os.geteuid() == 0 and not part.stat().st_mode & 0o001:
                raise TidegateError(
                    f"folder {part} may not be entered by Envoy's user {settings.proxy_id}; allow it: chmod o+x {part}"
                )


def _locked(settings: Settings) -> IO[bytes]:
    """One agent a workload. The lock goes with its process, however that ends."""
    lock = (settings.files / "agent.lock").open("ab")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise TidegateError(
            f"another agent of {settings.full_name} is running with state folder {settings.state_dir}; end it first"
        ) from None
    return lock


def release(hold_file: Path) -> None:
    """Let the application go: the file appears whole or not at all."""
    fresh = hold_file.with_name(hold_file.name + ".new")
    fresh.write_text(json.dumps({"ready": time.time()}) + "\n")
    fresh.replace(hold_file)
