"""Building a lab: the control plane, the network, the name servers, the hosts, then the workloads."""

import asyncio
import shutil
import sys
from collections.abc import Awaitable, Callable, Iterable

import msgspec

from tidegate.lab import dns_server, network, node, publish
from tidegate.lab.launch import Order, Started, own_environment
from tidegate.lab.plan import Member, Plan
from tidegate.lab.spec import Workload
from tidegate.lab.starter import AT_ONCE, Starter
from tidegate.lab.state import Folders, State
from tidegate.store.client import KubeStore

Reporter = Callable[[str], None]
"""Told what stands already."""


class Builder:
    """Builds one lab. Every namespace is written down before it is made, every process once it runs; between the two
    a process is found by its mark."""

    def __init__(self, plan: Plan, folders: Folders, state: State, report: Reporter) -> None:
        self.plan, self.folders, self.state, self.report = plan, folders, state, report
        self.starter = Starter(plan, folders, self._record)
        self.folder = self.starter.folder

    def _record(self, name: str, started: Started) -> None:
        self.state.processes[name] = started
        self.state.save(self.folder)

    async def build(self) -> None:
        """Everything, in order. Raises TidegateError, leaving what was built for ``down``."""
        own = publish.read_objects(self.plan)
        await asyncio.to_thread(network.create, self.plan)
        self._settle_members()
        self.report(f"network {self.plan.spec.network.cidr}: {len(self.plan.members)} namespaces")
        await self._start_control_plane()
        async with KubeStore.from_kubeconfig(self.folder.kubeconfig) as store:
            await publish.publish(store, self.plan, own)
            self.report(f"store: {len(own)} objects of your files, {len(self.plan.workloads)} Pods")
            await self._start_names()
            await self._start_hosts()
            await self._start_discovery()
            await self._start_workloads(store)
        await self._start_node()
        self.state.complete = True
        self.state.save(self.folder)

    def _settle_members(self) -> None:
        workloads = {workload.key: workload for workload, _ in self.plan.workloads}
        for member in self.plan.members:
            self.starter.settle(member, workloads.get(member.key))

    async def _start_control_plane(self) -> None:
        port = str(self.plan.spec.control_plane.api_port)
        order = self.starter.own_order("apiserver", "--state-dir", str(self.folder.store), "--port", port)
        await self.starter.until_ready("apiserver", order)
        self.report(f"API server: {self.folder.kubeconfig}")

    async def _start_discovery(self) -> None:
        port = str(self.plan.spec.control_plane.monitoring_port)
        places = ("--kubeconfig", str(self.folder.kubeconfig), "--run-dir", str(self.folders.run))
        order = self.starter.own_order("discovery", *places, "--monitoring-port", port)
        await self.starter.until_ready("discovery", order)
        self.report("control plane")

    async def _start_names(self) -> None:
        outside = self.plan.dns
        inner = dns_server.Order(
            netns=self.plan.net,
            address=self.plan.gateway,
            kubeconfig=str(self.folder.kubeconfig),
            upstream=outside.address if outside else "",
        )
        await self._start_own("dns", "dns_server", inner)
        if outside is not None:
            outer = dns_server.Order(netns=outside.netns, address=outside.address, records=self.plan.outside_records)
            await self._start_own("outside-dns", "dns_server", outer)
        self.report("name servers")

    async def _start_node(self) -> None:
        """Last: it looks after what runs by then."""
        order = node.Order(lab=self.plan.spec.name, run_dir=str(self.folders.run), state_dir=str(self.folders.state))
        await self._start_own("node", "node", order)
        self.report("node: runs Pods of Deployments, starts again what ends")

    async def _start_own(self, name: str, module: str, order: msgspec.Struct) -> None:
        """A process of a module of the lab's, which reads its order from a file."""
        file = self.folder.path / f"{name}-order.json"
        file.write_bytes(msgspec.json.encode(order))
        argv = (sys.executable, "-m", f"tidegate.lab.{module}", str(file))
        await self.starter.until_ready(name, Order(argv=argv, env=own_environment(self.starter.mark)))

    async def _start_hosts(self) -> None:
        for host, commands, member in self.plan.hosts:
            for command in commands:
                name = f"{host}/{command.name}"
                await self.starter.listening(name, self.starter.program(name, command, member), command)
            self.report(f"host {host} {member.address}")

    async def _start_workloads(self, store: KubeStore) -> None:
        limit = asyncio.Semaphore(AT_ONCE)

        async def one(workload: Workload, member: Member) -> None:
            async with limit:
                await self.starter.workload(store, workload, member)
            what = " with sidecar" if workload.capture else " gateway" if workload.is_gateway else ""
            self.report(f"workload {workload.key} {member.address}{what}")

        await _all(one(workload, member) for workload, member in self.plan.workloads)


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
