"""Looking at a lab that is up: its members, logs and state, and a command inside."""

import http.client
import os
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import msgspec

from tidegate.kit.errors import TidegateError
from tidegate.lab import processes, settle
from tidegate.lab.launch import Order, Started, become, environment
from tidegate.lab.plan import Member, Plan
from tidegate.lab.state import Folders, LabFolder, State

READY_SECONDS = 2.0
FOLLOW_SECONDS = 0.1
OWN = ("apiserver", "discovery", "dns", "outside-dns", "node")
"""The lab's own processes."""
_KEPT = ("TERM", "COLUMNS", "LINES")


class Row(msgspec.Struct, frozen=True, rename="camel"):
    """One workload or host, as ``status`` shows it."""

    workload: str
    namespace: str
    """"" for a host."""
    address: str
    ready: str
    """Containers that are ready / all, as kubectl counts them: a sidecar is one."""
    pid: int | None
    """None when no program of it runs."""
    uptime: float | None
    """Seconds."""
    restarts: int = 0
    """How often its programs, and its sidecar's agent, were started again."""


class Status(msgspec.Struct, frozen=True, rename="camel"):
    lab: str
    complete: bool
    """False when ``up`` was interrupted."""
    kubeconfig: str
    processes: dict[str, bool]
    """The lab's own processes, and whether each runs."""
    members: tuple[Row, ...]


def find_member(plan: Plan, name: str) -> Member:
    """The workload NAME[.NS], or the host. Raises TidegateError when there is none or more than one."""
    named = [member for member in plan.members if member.key == name]
    named = named or [member for _, member in plan.workloads if member.key.partition(".")[0] == name]
    if len(named) == 1:
        return named[0]
    keys = ", ".join(member.key for member in (named or plan.members))
    what = f"{name} is the name of several workloads" if named else f"lab {plan.spec.name} has no workload {name}"
    raise TidegateError(f"{what}; expected one of {keys}")


def programs(plan: Plan, member: Member) -> list[str]:
    """Names of the member's processes, the application's first; a gateway has none besides its proxy."""
    for workload, found in plan.workloads:
        if found == member:
            return [] if workload.is_gateway else [f"{workload.key}/app"]
    for host, commands, found in plan.hosts:
        if found == member:
            return [f"{host}/{command.name}" for command in commands]
    return ["outside-dns"]


def execute(plan: Plan, folders: Folders, member: Member, command: tuple[str, ...]) -> NoReturn:
    """Become a command inside a member: in its network, with its /etc files, as its user."""
    folder = folders.lab(plan.spec.name)
    uid, further = _user_and_env(plan, member)
    home = folder.home(next(iter(programs(plan, member)), f"{member.key}/proxy"))
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    env = environment(settle.mark(folders, plan.spec.name), HOME=str(home), **kept, **further)
    binds = settle.etc_binds(folder.member(member.key)) if folder.member(member.key).is_dir() else ()
    cwd = str(home) if home.is_dir() else "/"
    become(Order(argv=command, env=env, netns=member.netns, binds=binds, uid=uid, cwd=cwd))
    raise AssertionError  # become never returns


def _user_and_env(plan: Plan, member: Member) -> tuple[int, dict[str, str]]:
    for workload, found in plan.workloads:
        if found == member:
            return workload.uid, workload.env
    for _, commands, found in plan.hosts:
        if found == member and commands:
            return commands[0].uid, commands[0].env
    return 0, {}


def status(plan: Plan, folders: Folders, state: State) -> Status:
    folder = folders.lab(plan.spec.name)
    running = {name: processes.alive(state.processes[name]) for name in OWN if name in state.processes}
    rows = [
        _row(workload.name, workload.namespace, member, programs(plan, member), state, folders)
        for workload, member in plan.workloads
    ]
    rows += [_row(host, "", member, programs(plan, member), state, folders) for host, _, member in plan.hosts]
    return Status(state.name, state.complete, str(folder.kubeconfig), running, tuple(rows))


def _row(name: str, namespace: str, member: Member, names: list[str], state: State, folders: Folders) -> Row:
    found = [state.processes.get(program) for program in names]
    containers = [processes.alive(process) for process in found]
    if member.key in state.plan.proxies:
        containers.append(_proxy_ready(folders.run / "proxies" / member.key / "agent.sock"))
    shown = found or [state.processes.get(f"{member.key}/agent")]
    first: Started | None = next((process for process in shown if processes.alive(process)), None)
    return Row(
        workload=name,
        namespace=namespace,
        address=member.address,
        ready=f"{sum(containers)}/{len(containers)}",
        pid=first.pid if first else None,
        uptime=round(processes.uptime(first), 1) if first else None,
        restarts=sum(state.restarts.get(program, 0) for program in (*names, f"{member.key}/agent")),
    )


class _Unix(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=READY_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(READY_SECONDS)
        self.sock.connect(str(self._path))


def _proxy_ready(agent_socket: Path) -> bool:
    """Whether the workload's Envoy says that it is live, by way of its agent."""
    connection = _Unix(agent_socket)
    try:
        connection.request("GET", "/envoy/ready")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def log_file(plan: Plan, folder: LabFolder, name: str, which: str) -> Path:
    """The log of a workload's ``app``, ``agent`` or ``proxy``, of HOST[/COMMAND] or of one of the lab's processes."""
    if which == "app" and name in OWN:
        return folder.log(name)
    wanted, _, command = name.partition("/")
    member = find_member(plan, wanted)
    if which == "app" and any(found == member and workload.is_gateway for workload, found in plan.workloads):
        which = "proxy"
    if which == "app":
        known = programs(plan, member)
        chosen = f"{member.key}/{command}" if command else known[0] if known else ""
        if chosen not in known:
            raise TidegateError(f"{name}: no such program; expected one of {', '.join(known) or '(none)'}")
        return folder.log(chosen)
    if not any(found == member and workload.proxied for workload, found in plan.workloads):
        raise TidegateError(f"{member.key} has no sidecar, so no log of one")
    return folder.proxy_log(member.key) if which == "proxy" else folder.log(f"{member.key}/agent")


def read_log(path: Path, follow: bool) -> Iterator[bytes]:
    """A log's bytes; with ``follow`` also what is appended, until the caller stops."""
    try:
        with path.open("rb") as stream:
            while True:
                if chunk := stream.read(1 << 16):
                    yield chunk
                elif not follow:
                    return
                else:
                    time.sleep(FOLLOW_SECONDS)
    except FileNotFoundError:
        raise TidegateError(f"there is no log {path} yet") from None
    except OSError as error:
        raise TidegateError(f"cannot read {path}: {error.strerror}") from error


def write_stdout(chunk: bytes) -> None:
    sys.stdout.buffer.write(chunk)
    sys.stdout.buffer.flush()
