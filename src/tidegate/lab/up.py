"""Building a lab: the control plane, the network, the name servers, the hosts, then the workloads."""

import asyncio
import shutil
import sys
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

import msgspec

from tidegate.kit.errors import TidegateError
from tidegate.lab import dns_server, namespaces, network, objects, processes, publish, settle
from tidegate.lab.launch import Order, Started, environment, own_environment, start
from tidegate.lab.plan import Member, Plan
from tidegate.lab.spec import Command, Workload
from tidegate.lab.state import Folders, LabFolder, State
from tidegate.store.client import KubeStore

READY_SECONDS = 60.0
POLL_SECONDS = 0.05
AT_ONCE = 4
"""Sidecars that start at the same time: each costs a second of processor time."""
TAIL_LINES = 8


Reporter = Callable[[str], None]
"""Told what stands already."""


class Builder:
    """Builds one lab. Every namespace is written down before it is made, every process once it runs; between the two
    a process is found by its mark."""

    def __init__(self, plan: Plan, folders: Folders, state: State, report: Reporter) -> None:
        self.plan, self.folders, self.state, self.report = plan, folders, state, report
        self.folder: LabFolder = folders.lab(plan.spec.name)
        self.mark = settle.mark(folders, plan.spec.name)

    async def build(self) -> None:
        """Everything, in order. Raises TidegateError, leaving what was built for ``down``."""
        own = publish.read_objects(self.plan)
        await asyncio.to_thread(network.create, self.plan)
        self._write_private_files()
        self.report(f"network {self.plan.spec.network.cidr}: {len(self.plan.members)} namespaces")
        await self._start_control_plane()
        async with KubeStore.from_kubeconfig(self.folder.kubeconfig) as store:
            await publish.publish(store, self.plan, own)
            self.report(f"store: {len(own)} objects of your files, {len(self.plan.workloads)} Pods")
            await self._start_names()
            await self._start_hosts()
            await self._start_discovery()
            await self._start_workloads(store)
        self.state.complete = True
        self.state.save(self.folder)

    async def _start_control_plane(self) -> None:
        port = str(self.plan.spec.control_plane.api_port)
        order = self._own_order("apiserver", "--state-dir", str(self.folder.store), "--port", port)
        await self._until_ready("apiserver", order)
        self.report(f"API server: {self.folder.kubeconfig}")

    async def _start_discovery(self) -> None:
        port = str(self.plan.spec.control_plane.monitoring_port)
        places = ("--kubeconfig", str(self.folder.kubeconfig), "--run-dir", str(self.folders.run))
        order = self._own_order("discovery", *places, "--monitoring-port", port)
        await self._until_ready("discovery", order)
        self.report("control plane")

    async def _start_names(self) -> None:
        outside = self.plan.dns
        inner = dns_server.Order(
            netns=self.plan.net,
            address=self.plan.gateway,
            kubeconfig=str(self.folder.kubeconfig),
            upstream=outside.address if outside else "",
        )
        await self._start_name_server("dns", inner)
        if outside is not None:
            outer = dns_server.Order(netns=outside.netns, address=outside.address, records=self.plan.outside_records)
            await self._start_name_server("outside-dns", outer)
        self.report("name servers")

    async def _start_name_server(self, name: str, order: dns_server.Order) -> None:
        file = self.folder.path / f"{name}.json"
        file.write_bytes(msgspec.json.encode(order))
        argv = (sys.executable, "-m", "tidegate.lab.dns_server", str(file))
        await self._until_ready(name, Order(argv=argv, env=own_environment(self.mark)))

    async def _start_hosts(self) -> None:
        for host, commands, member in self.plan.hosts:
            binds = settle.etc_binds(self.folder.member(member.key))
            for command in commands:
                name = f"{host}/{command.name}"
                await self._start_program(name, command, member, binds, command.ports)
            self.report(f"host {host} {member.address}")

    async def _start_workloads(self, store: KubeStore) -> None:
        limit = asyncio.Semaphore(AT_ONCE)

        async def one(workload: Workload, member: Member) -> None:
            async with limit:
                await self._start_workload(store, workload, member)

        await _all(one(workload, member) for workload, member in self.plan.workloads)

    async def _start_workload(self, store: KubeStore, workload: Workload, member: Member) -> None:
        binds = settle.etc_binds(self.folder.member(member.key))
        await publish.mark_pod(store, self.plan, workload, member, ready=False)
        if workload.capture is not None:
            await self._start_sidecar(store, workload, member, binds)
        ports = [port.container_port for port in workload.ports if port.protocol == "TCP"]
        await self._start_program(f"{workload.key}/app", workload, member, binds, ports)
        await publish.mark_pod(store, self.plan, workload, member, ready=True)
        self.report(f"workload {workload.key} {member.address}{' with sidecar' if workload.capture else ''}")

    async def _start_sidecar(
        self, store: KubeStore, workload: Workload, member: Member, binds: tuple[tuple[str, str], ...]
    ) -> None:
        """Capture first, then the proxy: held back, the application never sees a network without both."""
        assert workload.capture is not None  # noqa: S101 - the caller looked
        await self._capture(member, objects.capture_arguments(workload.capture))
        folder = self.folder.member(workload.key)
        token, hold = folder / "token", folder / "hold"
        token.touch(mode=0o600)
        token.write_text(await publish.token_for(store, workload))
        arguments = {
            "--name": workload.name,
            "--namespace": workload.namespace,
            "--address": member.address,
            "--run-dir": str(self.folders.run),
            "--state-dir": str(self.folder.path),
            "--token-file": str(token),
            "--hold-file": str(hold),
        }
        base = self._own_order("agent", *(part for pair in arguments.items() for part in pair))
        name = f"{workload.key}/agent"
        agent = self._start(name, msgspec.structs.replace(base, netns=member.netns, binds=binds))
        await self._wait(name, agent, hold.exists, "its proxy did not become ready")

    async def _capture(self, member: Member, arguments: list[str]) -> None:
        order = self._own_order("iptables", *arguments)
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

    def _write_private_files(self) -> None:
        """Each member's resolv.conf and hosts; they are put over /etc's for its programs alone."""
        aliases = {workload.key: workload.host_aliases for workload, _ in self.plan.workloads}
        for member in self.plan.members:
            folder = self.folder.member(member.key)
            folder.mkdir(mode=0o711, parents=True, exist_ok=True)
            settle.write_etc(self.plan, member, folder, aliases.get(member.key, ()))

    async def _start_program(
        self,
        name: str,
        program: Workload | Command,
        member: Member,
        binds: tuple[tuple[str, str], ...],
        ports: Iterable[int],
    ) -> None:
        home = self.folder.home(name)
        settle.make_home(home, program, Path(self.plan.base))
        env = environment(self.mark, HOME=str(home), HOSTNAME=member.key.partition(".")[0], **program.env)
        order = Order(argv=program.command, env=env, netns=member.netns, binds=binds, uid=program.uid, cwd=str(home))
        started = self._start(name, order)
        wanted = set(ports)
        await self._wait(
            name,
            started,
            lambda: wanted <= processes.listening(started.pid),
            f"it does not listen on all of its ports {sorted(wanted)}",
        )

    def _own_order(self, *arguments: str) -> Order:
        return Order(argv=(sys.executable, "-m", "tidegate", *arguments), env=own_environment(self.mark))

    def _start(self, name: str, order: Order) -> Started:
        try:
            started = start(order, self.folder.log(name))
        except TidegateError as error:
            raise TidegateError(f"{name}: {error}") from error
        self.state.processes[name] = started
        self.state.save(self.folder)
        return started

    async def _until_ready(self, name: str, order: Order) -> None:
        """Start one of tidegate's own and wait for its line beginning ``ready``."""
        started, log = self._start(name, order), self.folder.log(name)
        await self._wait(name, started, lambda: _says_ready(log), "it did not become ready")

    async def _wait(self, name: str, process: Started, done: Callable[[], bool], complaint: str) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not done():
            ended = not processes.alive(process)
            if ended or time.monotonic() > deadline:
                why = "it ended" if ended else f"{complaint} within {READY_SECONDS:.0f} s"
                raise TidegateError(f"{name}: {why}; {_tail(self.folder.log(name))}")
            await asyncio.sleep(POLL_SECONDS)


def _says_ready(log: Path) -> bool:
    return any(line.startswith("ready") for line in log.read_text(errors="replace").splitlines())


def _tail(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()[-TAIL_LINES:] if log.exists() else []
    return f"its log {log} " + ("is empty" if not lines else "ends:\n  " + "\n  ".join(lines))


async def _all(jobs: Iterable[Awaitable[None]]) -> None:
    """Run all; the first failure stops the others and is raised."""
    tasks = [asyncio.ensure_future(job) for job in jobs]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def missing_tools() -> list[str]:
    """Programs of packages.txt that the lab itself needs and that are not there."""
    return [tool for tool in ("iptables-restore", "iptables-save") if shutil.which(tool) is None]
