"""Starting what a lab consists of: a program with its files, a sidecar, a workload; and waiting until it serves."""

import asyncio
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from tidegate.kit.errors import TidegateError
from tidegate.lab import metrics, namespaces, objects, processes, publish, settle
from tidegate.lab.launch import Order, Started, environment, own_environment, start
from tidegate.lab.plan import Member, Plan
from tidegate.lab.spec import Command, Workload
from tidegate.lab.state import Folders, LabFolder
from tidegate.store.client import KubeStore

READY_SECONDS = 60.0
POLL_SECONDS = 0.05
AT_ONCE = 4
"""Sidecars that start at the same time: each costs a second of processor time."""
TAIL_LINES = 8

Record = Callable[[str, Started], None]
"""Told of every process that was started, by its name, so that it is written down."""


class Starter:
    """Starts the parts of one lab."""

    def __init__(self, plan: Plan, folders: Folders, record: Record) -> None:
        self.plan, self.folders, self._record = plan, folders, record
        self.folder: LabFolder = folders.lab(plan.spec.name)
        self.mark = settle.mark(folders, plan.spec.name)
        self._merges = True

    def settle(self, member: Member, workload: Workload | None = None) -> None:
        """A member's resolv.conf and hosts; they are put over /etc's for its programs alone."""
        folder = self.folder.member(member.key)
        folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        settle.write_etc(self.plan, member, folder, workload.host_aliases if workload else ())

    async def workload(self, store: KubeStore, workload: Workload, member: Member) -> None:
        """A workload from its packet rules to its ports, and its Pod's status. Raises TidegateError."""
        await publish.mark_pod(store, self.plan, workload, member, ready=False)
        await self.proxy(store, workload, member)
        if not workload.is_gateway:
            name = f"{workload.key}/app"
            await self.listening(name, self.program(name, workload, member), workload)
        await publish.mark_pod(store, self.plan, workload, member, ready=True)

    async def proxy(self, store: KubeStore, workload: Workload, member: Member) -> None:
        """Capture first, then the proxy: held back, the application never sees a network without both. A gateway
        captures nothing."""
        if not workload.proxied:
            return
        if workload.capture is not None:
            await self._capture(member, objects.capture_arguments(workload.capture, dns=workload.captures_dns))
        await publish.write_token(store, workload, self.folder.token(member.key))
        self._merges = await metrics.merges(store)
        agent = self.agent(workload, member)
        await self.wait(f"{member.key}/agent", agent, self._hold(member).exists, "its proxy did not become ready")

    def agent(self, workload: Workload, member: Member) -> Started:
        """Start the proxy's agent; it adopts an Envoy that runs already."""
        arguments = {
            "--name": workload.name,
            "--namespace": workload.namespace,
            "--address": member.address,
            "--run-dir": str(self.folders.run),
            "--state-dir": str(self.folder.path),
            "--token-file": str(self.folder.token(member.key)),
            "--hold-file": str(self._hold(member)),
            "--type": workload.type,
        }
        if workload.capture is not None:
            arguments["--interception-mode"] = workload.capture.interception_mode
        order = self.own_order("agent", *(part for pair in arguments.items() for part in pair))
        env = order.env | workload.proxy_metadata | metrics.environment(workload, merged=self._merges)
        inside = msgspec.structs.replace(order, env=env, netns=member.netns, binds=self._binds(member))
        return self.start(f"{member.key}/agent", inside)

    def _hold(self, member: Member) -> Path:
        return self.folder.member(member.key) / "hold"

    def _binds(self, member: Member) -> tuple[tuple[str, str], ...]:
        return settle.etc_binds(self.folder.member(member.key))

    async def _capture(self, member: Member, arguments: list[str]) -> None:
        order = self.own_order("iptables", *arguments)
        process = await asyncio.create_subprocess_exec(
            *order.argv,
            *("--network-namespace", str(namespaces.NETNS_DIR / member.netns)),
            env=order.env,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await asyncio.wait_for(process.communicate(), READY_SECONDS)
        if process.returncode != 0:
            raise TidegateError(f"workload {member.key}: packet rules: {output.decode(errors='replace').strip()}")

    def program(self, name: str, program: Workload | Command, member: Member) -> Started:
        """Start a program in its member's network, with its files and as its user."""
        home = self.folder.home(name)
        settle.make_home(home, program, Path(self.plan.base))
        env = environment(self.mark, HOME=str(home), HOSTNAME=member.key.partition(".")[0], **program.env)
        binds = self._binds(member)
        order = Order(argv=program.command, env=env, netns=member.netns, binds=binds, uid=program.uid, cwd=str(home))
        return self.start(name, order)

    async def listening(self, name: str, started: Started, program: Workload | Command) -> None:
        """Wait for the program's TCP ports. Raises TidegateError when it ends before, or takes too long."""
        wanted = tcp_ports(program)
        complaint = f"it does not listen on all of its ports {sorted(wanted)}"
        await self.wait(name, started, lambda: wanted <= processes.listening(started.pid), complaint)

    def own_order(self, *arguments: str) -> Order:
        """One of tidegate's own commands."""
        return Order(argv=(sys.executable, "-m", "tidegate", *arguments), env=own_environment(self.mark))

    def start(self, name: str, order: Order) -> Started:
        try:
            started = start(order, self.folder.log(name))
        except TidegateError as error:
            raise TidegateError(f"{name}: {error}") from error
        self._record(name, started)
        return started

    async def until_ready(self, name: str, order: Order) -> None:
        """Start one of tidegate's own and wait for its line beginning ``ready``."""
        log = self.folder.log(name)
        await self.wait(name, self.start(name, order), lambda: _says_ready(log), "it did not become ready")

    async def wait(self, name: str, process: Started, done: Callable[[], bool], complaint: str) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not done():
            ended = not processes.alive(process)
            if ended or time.monotonic() > deadline:
                why = "it ended" if ended else f"{complaint} within {READY_SECONDS:.0f} s"
                raise TidegateError(f"{name}: {why}; {tail(self.folder.log(name))}")
            await asyncio.sleep(POLL_SECONDS)


def tcp_ports(program: Workload | Command) -> set[int]:
    """The ports on which the program has to listen before it counts as ready."""
    if isinstance(program, Command):
        return set(program.ports)
    return {port.container_port for port in program.ports if port.protocol == "TCP"}


def _says_ready(log: Path) -> bool:
    return any(line.startswith("ready") for line in log.read_text(errors="replace").splitlines())


def tail(log: Path) -> str:
    """The end of a log, for an error message."""
    lines = log.read_text(errors="replace").splitlines()[-TAIL_LINES:] if log.exists() else []
    return f"its log {log} " + ("is empty" if not lines else "ends:\n  " + "\n  ".join(lines))
