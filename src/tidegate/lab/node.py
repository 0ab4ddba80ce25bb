"""The lab's node, one process: ``python -m tidegate.lab.node ORDER``. What a kubelet is on a cluster's node.

It runs Pods that come while the lab is up, each in a network namespace of its own and with its sidecar; starts again
what ends; and renews the tokens of the sidecars.
"""

import asyncio
import base64
import contextlib
import ipaddress
import logging
import shutil
import signal
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import msgspec

from tidegate.kit.errors import TidegateError
from tidegate.lab import lives, network, objects, pods, processes, publish
from tidegate.lab.checks import free_addresses
from tidegate.lab.launch import Started
from tidegate.lab.lives import Kept
from tidegate.lab.objects import APP, PROXY, Life
from tidegate.lab.plan import Member, Plan, netns_prefix
from tidegate.lab.spec import Command, Workload
from tidegate.lab.starter import AT_ONCE, Starter, tcp_ports
from tidegate.lab.state import Folders, State, read_grown, read_state
from tidegate.store import informer
from tidegate.store.client import KubeStore
from tidegate.store.model import Json, StoreError, WatchType
from tidegate.store.strategy import timestamp, utc_now

log = logging.getLogger(__name__)

RENEW_SECONDS = 10.0
"""Between looks at the tokens."""
_RENEW_AT = 0.8
"""Of a token's life, as kubelets do."""
_SPREAD_SECONDS = 1.0
"""Between a Pod's leaving the store and SIGTERM: others' proxies learn meanwhile not to ask it any more."""
_GRACE_SECONDS = 30.0
_RETRY_SECONDS = 1.0
_MERGE = "application/merge-patch+json"


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """Which lab it is the node of."""

    lab: str
    run_dir: str
    state_dir: str


class PodStatus:
    """Writes a Pod's status, as often as it takes; what is told meanwhile is written next."""

    def __init__(self, write: Callable[[Mapping[str, Life], bool], Json], store: KubeStore, workload: Workload) -> None:
        self._write, self._store, self._workload = write, store, workload
        self._main = objects.main_container(workload)
        self._lives: dict[str, Life] = {}
        self._ready, self._wake = False, asyncio.Event()

    def starts_ready(self) -> None:
        """What is written already: nothing to tell."""
        self._ready, self._lives[self._main] = True, Life()

    def tell(self, container: str, life: Life, ready: bool) -> None:
        self._lives[container] = life
        if container == self._main:
            self._ready = ready
        self._wake.set()

    async def run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            status = self._write(dict(self._lives), self._ready)
            try:
                await publish.set_status(self._store, "Pod", self._workload.namespace, self._workload.name, status)
            except StoreError as failure:
                if failure.code == 404:
                    return
                log.warning("status of Pod %s: %s", self._workload.key, failure)
                self._wake.set()
                await asyncio.sleep(_RETRY_SECONDS)


class Running:
    """A Pod that runs, or tries to."""

    def __init__(self, uid: str, pod: Json) -> None:
        self.uid, self.pod = uid, pod
        self.task: asyncio.Task[None] | None = None


class Node:
    """Keeps one lab going."""

    def __init__(self, state: State, folders: Folders, store: KubeStore) -> None:
        self.plan: Plan = state.plan
        self.folders, self.store = folders, store
        self.folder = folders.lab(state.name)
        self.grown = read_grown(self.folder)
        self.starter = Starter(self.plan, folders, self._record)
        self.name = objects.node_name(self.plan)
        self._processes = dict(state.processes)
        self._static = {workload.key for workload, _ in self.plan.workloads}
        self._pods: dict[str, Running] = {}
        self._leaving: dict[str, asyncio.Task[None]] = {}
        self._namespaces: dict[str, dict[str, str]] = {}
        self._last_address = 0
        self._limit = asyncio.Semaphore(AT_ONCE)

    def _record(self, name: str, started: Started) -> None:
        self.grown.processes[name] = started
        self.grown.save(self.folder)

    def _restarted(self, name: str, times: int) -> None:
        self.grown.restarts[name] = times
        self.grown.save(self.folder)

    async def run(self, ready: Callable[[], None]) -> None:
        """Until cancelled; ``ready`` is called once the Pods that exist were looked at."""
        try:
            async with asyncio.TaskGroup() as group:
                for workload, member in self.plan.workloads:
                    group.create_task(self._keep_workload(workload, member))
                for host, commands, member in self.plan.hosts:
                    for command in commands:
                        name = f"{host}/{command.name}"
                        kept = self._kept(name, command, member, lambda _life, _ready: None)
                        group.create_task(lives.keep(kept, self._processes.get(name)))
                group.create_task(self._follow(ready))
                group.create_task(self._renew_tokens())
        finally:
            for task in [*(r.task for r in self._pods.values() if r.task), *self._leaving.values()]:
                task.cancel()

    # What the lab file has

    async def _keep_workload(self, workload: Workload, member: Member) -> None:
        status = PodStatus(partial(self._status, workload, member), self.store, workload)
        status.starts_ready()
        await self._keep(workload, member, status, self._processes)

    def _status(self, workload: Workload, member: Member, found: Mapping[str, Life], ready: bool) -> Json:
        return objects.pod_status(self.plan, member, workload, ready=ready, lives=found)

    async def _keep(
        self, workload: Workload, member: Member, status: PodStatus, running: Mapping[str, Started]
    ) -> None:
        """The program and the sidecar's agent, and what is told of both."""
        app, agent = f"{workload.key}/app", f"{workload.key}/agent"
        kept = []
        if not workload.is_gateway:
            kept.append((self._kept(app, workload, member, partial(status.tell, APP)), running.get(app)))
        if workload.proxied:
            start = partial(self.starter.agent, workload, member)
            tell, restarted = partial(status.tell, PROXY), partial(self._restarted, agent)
            kept.append((Kept(agent, start, lambda _: True, tell, restarted), running.get(agent)))
        writing = asyncio.create_task(status.run())
        try:
            await asyncio.gather(*(lives.keep(each, now, self.grown.restarts.get(each.name, 0)) for each, now in kept))
            await writing  # the program has ended for good, and so much is to be told
        finally:
            writing.cancel()

    def _kept(self, name: str, program: Workload | Command, member: Member, tell: Callable[[Life, bool], None]) -> Kept:
        wanted = tcp_ports(program)
        return Kept(
            name=name,
            start=partial(self.starter.program, name, program, member),
            serves=lambda started: wanted <= processes.listening(started.pid),
            tell=tell,
            restarted=partial(self._restarted, name),
            always=program.restart_policy == "Always",
        )

    # Pods that come and go

    async def _follow(self, ready: Callable[[], None]) -> None:
        for key in list(self.grown.pods):
            await self._remove(key)  # of a node that was there before: they are started anew
        waiting, synced = list[informer.Change](), False
        async for batch in informer.follow(self.store, ("Namespace", "Pod")):
            for change in batch.changes:
                if change.kind == "Namespace":
                    meta = change.object["metadata"]
                    self._namespaces[meta["name"]] = dict(meta.get("labels") or {})
            waiting += (change for change in batch.changes if change.kind == "Pod")
            if not (synced or batch.synced):
                continue  # a Pod's namespace may say that it is to have no sidecar
            for change in waiting:
                self._take(change.object, change.type is WatchType.DELETED)
            waiting.clear()
            if not synced:
                synced = True
                ready()

    def _take(self, pod: Json, gone: bool) -> None:
        meta = pod["metadata"]
        key = f"{meta['name']}.{meta['namespace']}"
        if key in self._static:
            return
        here, present = not gone and pods.runs_here(pod, self.name), self._pods.get(key)
        if present is not None and (not here or present.uid != meta["uid"]):
            self._stop(key)
            present = None
        if here and present is None:
            made = self._pods[key] = Running(meta["uid"], pod)
            made.task = asyncio.create_task(self._live(key, made))
            made.task.add_done_callback(partial(_complain, key))

    def _stop(self, key: str) -> None:
        task = self._pods.pop(key).task
        leaving = self._leaving[key] = asyncio.create_task(self._leave(key, task, self._leaving.get(key)))
        leaving.add_done_callback(partial(_complain, key))

    async def _leave(self, key: str, task: "asyncio.Task[None] | None", before: "asyncio.Task[None] | None") -> None:
        for other in filter(None, (before, task)):
            if other is task:
                other.cancel()
            await asyncio.wait([other])
        if key in self.grown.pods:
            await asyncio.sleep(_SPREAD_SECONDS)
            await self._remove(key)
        if self._leaving.get(key) is asyncio.current_task():
            del self._leaving[key]

    async def _live(self, key: str, running: Running) -> None:
        """A Pod from its beginning until it is stopped."""
        if (leaving := self._leaving.get(key)) is not None:
            await asyncio.wait([leaving])
        pod, backoff = running.pod, lives.Backoff()
        while True:
            try:
                found = pods.read(pod, self._namespaces.get(pod["metadata"]["namespace"], {}), self.plan.spec)
                async with self._limit:
                    member = await self._prepare(pod, found)
                break
            except (TidegateError, OSError) as error:
                await self._refuse(pod, str(error))
                if key not in self.grown.pods:
                    return  # what cannot be read stays so
                await self._remove(key)
                await asyncio.sleep(max(backoff.pause(0), lives.FIRST_PAUSE))
                pod = await self._again(pod)
        workload = found.workload
        status = PodStatus(
            lambda seen, ready: pods.named(self._status(workload, member, seen, ready), pod), self.store, workload
        )
        agent = f"{key}/agent"
        there = {agent: self.grown.processes[agent]} if workload.proxied else {}
        if workload.is_gateway:
            status.tell(PROXY, Life(), True)  # its agent was waited for; a sidecar's Pod is as ready as its program
        await self._keep(workload, member, status, there)

    async def _again(self, pod: Json) -> Json:
        """The Pod as it is now; as it was where the store does not answer."""
        meta = pod["metadata"]
        try:
            return await self.store.get("Pod", meta["namespace"], meta["name"])
        except StoreError:
            return pod

    async def _prepare(self, pod: Json, found: pods.Found) -> Member:
        """All that has to be there before the program: namespace, address, sidecar. Raises TidegateError."""
        workload = found.workload
        member = self._place(workload)
        self.grown.pods[workload.key] = (workload, member)
        self.grown.save(self.folder)
        await asyncio.to_thread(network.join, self.plan, member)
        self.starter.settle(member, workload)
        meta = pod["metadata"]
        bound = pods.bound(pod, self.name, workload)
        await self.store.patch("Pod", meta["namespace"], meta["name"], bound, content_type=_MERGE)
        image = pod["spec"]["containers"][0].get("image")
        what = "a gateway" if workload.is_gateway else " ".join(workload.command)
        told = f"runs {what} at {member.address}; image {image} is not pulled, a lab has none"
        await self._event(pod, "Normal", "Scheduled", told)
        for note in found.notes:
            await self._event(pod, "Warning", "NotActedOn", note)
        status = pods.named(self._status(workload, member, {}, False), pod)
        await publish.set_status(self.store, "Pod", workload.namespace, workload.name, status)
        await self.starter.proxy(self.store, workload, member)
        return member

    def _place(self, workload: Workload) -> Member:
        """A member with the next address after the last one given: one that was in use lately rests longest."""
        spec, others = self.plan.spec, [member for _, member in self.grown.pods.values()]
        taken = [member.address for member in (*self.plan.members, *others)]
        free = list(free_addresses(spec.network.cidr, taken))
        if not free:
            raise TidegateError(f"network.cidr {spec.network.cidr} has no free address: scale down, or enlarge it")
        address = next((each for each in free if _number(each) > self._last_address), free[0])
        self._last_address = _number(address)
        links = {member.link for member in others}
        link = next(name for name in (f"p{number}" for number in range(len(links) + 1)) if name not in links)
        prefix = int(spec.network.cidr.partition("/")[2])
        netns = f"{netns_prefix(spec.name)}{workload.key}"
        return Member(workload.key, netns, link, address, prefix)

    async def _refuse(self, pod: Json, message: str) -> None:
        meta = pod["metadata"]
        log.warning("Pod %s/%s: %s", meta["namespace"], meta["name"], message)
        with contextlib.suppress(StoreError):
            await self._event(pod, "Warning", "Failed", message)
            await publish.set_status(self.store, "Pod", meta["namespace"], meta["name"], pods.refused(pod, message))

    async def _event(self, pod: Json, kind: str, reason: str, message: str) -> None:
        with contextlib.suppress(StoreError):
            await self.store.create(pods.event(pod, kind, reason, message, timestamp(utc_now())))

    async def _remove(self, key: str) -> None:
        """End what runs for a Pod, and take away all that was made for it."""
        workload, member = self.grown.pods[key]
        own = [name for name in self.grown.processes if name.rpartition("/")[0] == key]
        first = [self.grown.processes[name] for name in own]
        find = partial(processes.inside, member.netns)
        left = await asyncio.to_thread(processes.end_gently, first, find, _GRACE_SECONDS)
        for process in first:
            lives.reap(process.pid)
        if left:
            log.error("Pod %s: processes %s cannot be ended", key, [process.pid for process in left])
        network.remove(member.netns)
        self._clear_folders(key)
        for name in own:
            del self.grown.processes[name]
            self.grown.restarts.pop(name, None)
        del self.grown.pods[workload.key]
        self.grown.save(self.folder)

    def _clear_folders(self, key: str) -> None:
        app = f"{key}/app"
        made = (
            self.folder.member(key),
            self.folder.home(app),
            self.folder.proxy_log(key).parent,
            self.folders.run / "proxies" / key,
        )
        for path in made:
            shutil.rmtree(path, ignore_errors=True)
        for name in (app, f"{key}/agent"):
            self.folder.log(name).unlink(missing_ok=True)

    # Tokens

    async def _renew_tokens(self) -> None:
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            for workload, _ in (*self.plan.workloads, *self.grown.pods.values()):
                path = self.folder.token(workload.key)
                if not workload.proxied or not path.exists() or not is_due(path.read_text(), time.time()):
                    continue
                try:
                    await publish.write_token(self.store, workload, path)
                except (StoreError, OSError) as failure:
                    log.warning("token of %s: %s", workload.key, failure)


def is_due(token: str, now: float) -> bool:
    """Whether a token (a JWT) should be renewed. By the wall clock, as its issuer counts."""
    try:
        payload = token.split(".")[1]
        claims = msgspec.json.decode(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return bool(now >= claims["iat"] + _RENEW_AT * (claims["exp"] - claims["iat"]))
    except (IndexError, KeyError, TypeError, ValueError, msgspec.DecodeError):
        return True


def _number(address: str) -> int:
    return int(ipaddress.ip_address(address))


def _complain(key: str, task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("Pod %s is looked after no more", key, exc_info=error)


async def serve(order: Order, ready: Callable[[], None]) -> None:
    """Until SIGTERM; what runs goes on without it."""
    folders = Folders(Path(order.run_dir), Path(order.state_dir))
    state = read_state(folders.lab(order.lab))
    if state is None:
        raise TidegateError(f"lab {order.lab} has no state in {folders.lab(order.lab).path}")
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - this is one
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    async with KubeStore.from_kubeconfig(folders.lab(order.lab).kubeconfig) as store:
        await Node(state, folders, store).run(ready)


def main() -> None:
    """Entry point of the process; says ``ready`` once it looks after the lab."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    order = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Order)
    with contextlib.suppress(asyncio.CancelledError):
        asyncio.run(serve(order, lambda: print("ready", flush=True)))


if __name__ == "__main__":
    main()
