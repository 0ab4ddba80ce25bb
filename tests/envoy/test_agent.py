"""A real agent and a real Envoy in a network namespace, against the discovery server of the xds room."""

import asyncio
import contextlib
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.extensions.access_loggers.file.v3 import file_pb2
from envoy.extensions.filters.http.router.v3 import router_pb2  # noqa: F401 (known to json_format by its import)
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2
from google.protobuf.json_format import ParseDict

from tidegate.agent.lastgood import LastGood
from tidegate.kit.envoy_binary import find
from tidegate.xds.fixed import FixedView, Item
from tidegate.xds.mailbox import Mailbox
from tidegate.xds.server import DiscoveryServer, Identity
from tidegate.xds.types import CLUSTER, LISTENER

pytestmark = [
    pytest.mark.envoy,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root for a network namespace"),
]

NETNS = f"tgagent{os.getpid()}"
HOLD = """
import socket, sys
peer = socket.create_connection(("127.0.0.1", 8080))
peer.sendall(b"GET / HTTP/1.1\\r\\nhost: x\\r\\n")
print("open", flush=True)
sys.stdin.read()
"""
NO_STATUS: dict[str, Any] = {"accepted": {}, "envoy": {}, "relay": {"source": "", "connectedSince": None}}
PATIENCE = 20.0
"""Seconds within which anything expected must have come about."""


class ControlPlane:
    """A control plane that gives every proxy the same resources and remembers how it was asked."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self.tokens: list[str] = []
        self.resources_sent = 0
        self.server: DiscoveryServer | None = None
        self.view = FixedView("none", {})
        self.mailboxes: list[Mailbox] = []

    async def start(self) -> None:
        self.server = DiscoveryServer(self._authenticate, self._attach, self)  # type: ignore[arg-type]
        await self.server.start(self.socket)

    async def stop(self) -> None:
        if self.server is not None:
            await self.server.stop(0)
            self.server = None

    def show(self, body: str) -> None:
        """Serve one listener on 8080 that answers so, and the cluster it does not need."""
        listener, cluster = item(page(body)), item(cluster_pb2.Cluster(name="spare", connect_timeout={"seconds": 1}))
        self.view = FixedView(body, {LISTENER: [listener], CLUSTER: [cluster]})
        for mailbox in self.mailboxes:
            mailbox.publish(self.view, None)

    async def _authenticate(self, metadata: Any) -> Identity | None:
        self.tokens.append(metadata.get("authorization", ""))
        return Identity("shop", "default", "web") if self.tokens[-1].startswith("Bearer token") else None

    async def _attach(self, identity: Identity, node: Any) -> Mailbox:
        self.mailboxes.append(Mailbox(self.view))
        return self.mailboxes[-1]

    # ServerObserver

    def sent(self, connection: Any, send: Any, seconds: float) -> None:
        self.resources_sent += send.resources

    def __getattr__(self, name: str) -> Callable[..., None]:
        if name in ("connected", "disconnected", "converged", "refused", "expired_nonce", "received"):
            return lambda *_: None
        raise AttributeError(name)


def item(message: Any) -> Item:
    body = message.SerializeToString(deterministic=True)
    return Item(message.name, body, hashlib.sha256(body).hexdigest()[:16])


def page(body: str) -> Any:
    route = {"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": body}}}
    manager = {
        "@type": f"type.googleapis.com/{http_connection_manager_pb2.HttpConnectionManager.DESCRIPTOR.full_name}",
        "stat_prefix": "page",
        "access_log": [
            {
                "name": "file",
                "typed_config": {
                    "@type": f"type.googleapis.com/{file_pb2.FileAccessLog.DESCRIPTOR.full_name}",
                    "path": "/dev/stdout",
                    "log_format": {"text_format_source": {"inline_string": "asked for %REQ(:PATH)%\n"}},
                },
            }
        ],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
            }
        ],
    }
    listener = {
        "name": "page",
        "address": {"socket_address": {"address": "0.0.0.0", "port_value": 8080}},
        "filter_chains": [{"filters": [{"name": "hcm", "typed_config": manager}]}],
    }
    return ParseDict(listener, listener_pb2.Listener())


class Workload:
    """A namespace with an agent in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.run, self.state = folder / "run", folder / "state"
        self.hold, self.token = folder / "hold", folder / "token"
        self.files = self.state / "proxies" / "web.shop"
        self.agent: subprocess.Popen[bytes] | None = None
        for part in (self.run, self.state):
            part.mkdir()
        self.token.write_text("token-1\n")

    def start(self, *more: str) -> None:
        command = [sys.executable, "-m", "tidegate", "agent", "--name", "web", "--namespace", "shop"]
        command += ["--address", "127.0.0.1", "--run-dir", self.run, "--state-dir", self.state]
        command += ["--token-file", self.token, "--hold-file", self.hold, "--drain", "0.2", *more]
        with (self.folder / "agent.log").open("ab") as log:
            self.agent = subprocess.Popen(["ip", "netns", "exec", NETNS, *command], stdout=log, stderr=log)

    def kill(self) -> None:
        assert self.agent is not None
        self.agent.kill()
        self.agent.wait()

    def finish(self) -> int:
        assert self.agent is not None
        self.agent.terminate()
        return self.agent.wait(PATIENCE)

    def curl(self, url: str) -> str:
        command = ["ip", "netns", "exec", NETNS, "curl", "-s", "--max-time", "2", url]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout

    def status(self) -> dict[str, Any]:
        path = self.run / "proxies" / "web.shop" / "agent.sock"
        done = subprocess.run(
            ["curl", "-s", "--max-time", "2", "--unix-socket", path, "http://agent/status"],
            capture_output=True,
            check=False,
        )
        return dict(json.loads(done.stdout)) if done.stdout else NO_STATUS

    def envoy_pid(self) -> int | None:
        with contextlib.suppress(FileNotFoundError):
            return int(json.loads((self.files / "envoy.pid").read_bytes())["pid"])
        return None

    def log(self) -> str:
        return (self.folder / "agent.log").read_text()


@pytest.fixture
def workload() -> Iterator[Workload]:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    folder = Path(tempfile.mkdtemp(prefix="tgagent"))
    folder.chmod(0o755)
    subprocess.run(["ip", "netns", "add", NETNS], check=True)
    subprocess.run(["ip", "-n", NETNS, "link", "set", "lo", "up"], check=True)
    found = Workload(folder)
    try:
        yield found
    finally:
        if found.agent is not None:
            found.agent.kill()
            found.agent.wait()
        left = subprocess.run(["ip", "netns", "pids", NETNS], capture_output=True, text=True, check=True)
        for pid in left.stdout.split():
            os.kill(int(pid), signal.SIGKILL)
        subprocess.run(["ip", "netns", "del", NETNS], check=True)
        shutil.rmtree(folder)


@pytest.fixture
async def control(workload: Workload) -> AsyncIterator[ControlPlane]:
    plane = ControlPlane(workload.run / "xds.sock")
    plane.show("first")
    await plane.start()
    try:
        yield plane
    finally:
        await plane.stop()


async def until(workload: Workload, wanted: Callable[[], bool], what: str) -> None:
    """Poll without blocking the control plane, which lives on this loop."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if await asyncio.to_thread(wanted):
            return
        await asyncio.sleep(0.05)
    pytest.fail(f"{what} did not come about; the agent says:\n{workload.log()}\nEnvoy says:\n{envoy_log(workload)}")


def owner_and_session(pid: int | None) -> tuple[int, int]:
    return Path(f"/proc/{pid}").stat().st_uid, os.getsid(pid or 0)


def owner_and_group(pid: int | None) -> tuple[int, int]:
    found = Path(f"/proc/{pid}").stat()
    return found.st_uid, found.st_gid


def hold_a_connection() -> "subprocess.Popen[bytes]":
    command = ["ip", "netns", "exec", NETNS, sys.executable, "-c", HOLD]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def same_device(one: Path, other: Path) -> bool:
    return one.stat().st_dev == other.stat().st_dev


def capabilities(pid: int | None) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("CapEff:")).split()[1], 16)


def runs(pid: int | None) -> bool:
    """A process that nobody has waited for yet does not run any more."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def envoy_log(workload: Workload) -> str:
    path = workload.files / "envoy.log"
    return path.read_text()[-3000:] if path.exists() else ""


async def until_served(workload: Workload, body: str) -> None:
    await until(workload, lambda: workload.curl("http://127.0.0.1:8080/") == body, f'the page "{body}"')


async def test_ready_configured_and_drained(workload: Workload, control: ControlPlane) -> None:
    workload.start()
    await until_served(workload, "first")
    await until(workload, workload.hold.exists, "the hold file")
    assert await asyncio.to_thread(workload.curl, "http://127.0.0.1:15021/healthz/ready") == ""
    status = await asyncio.to_thread(workload.status)
    assert status["ready"] and status["relay"]["source"] == "the control plane"
    assert status["accepted"] == {CLUSTER: 1, LISTENER: 1}
    metrics = await asyncio.to_thread(workload.curl, "http://127.0.0.1:15020/stats/prometheus")
    assert "tidegate_agent_upstream_connected 1" in metrics and "envoy_server_live" in metrics
    assert control.tokens == ["Bearer token-1"]
    control.show("second")
    await until_served(workload, "second")
    pid = workload.envoy_pid()
    assert owner_and_session(pid) == (1337, pid)
    assert await asyncio.to_thread(workload.finish) == 0
    assert not runs(pid)


async def test_access_log_on_standard_output_reaches_the_log_file(workload: Workload, control: ControlPlane) -> None:
    workload.start()
    await until_served(workload, "first")
    await asyncio.to_thread(workload.curl, "http://127.0.0.1:8080/some/path")
    await until(workload, lambda: "asked for /some/path\n" in envoy_log(workload), "the access log")


async def test_transparent_interception_keeps_the_right_it_needs(workload: Workload, control: ControlPlane) -> None:
    workload.start("--interception-mode", "TPROXY")
    await until_served(workload, "first")
    assert capabilities(workload.envoy_pid()) == 1 << 12, "CAP_NET_ADMIN and no other"
    assert owner_and_group(workload.envoy_pid()) == (0, 1337), "the packet rules know it by its group"
    await asyncio.to_thread(workload.finish)
    workload.start()
    await until_served(workload, "first")
    assert capabilities(workload.envoy_pid()) == 0
    assert owner_and_group(workload.envoy_pid()) == (1337, 1337)


async def test_an_envoy_that_only_root_can_reach(workload: Workload, control: ControlPlane) -> None:
    """As with a virtual environment below /root."""
    folder = workload.folder / "private"
    folder.mkdir(mode=0o700)
    os.link(find(), folder / "envoy") if same_device(find(), folder) else shutil.copy(find(), folder / "envoy")
    workload.start("--envoy", str(folder / "envoy"))
    await until_served(workload, "first")
    assert owner_and_session(workload.envoy_pid())[0] == 1337


async def test_an_envoy_that_cannot_start_is_tried_again_and_told(workload: Workload, control: ControlPlane) -> None:
    binary = workload.folder / "envoy"
    binary.write_text("#!/bin/sh\necho the reason for it\nexit 3\n")
    binary.chmod(0o755)
    workload.start("--envoy", str(binary))
    told = "Envoy exited with code 3"
    await until(workload, lambda: told in workload.log() and "starting Envoy again in" in workload.log(), "the reason")
    assert "its last words: the reason for it" in workload.log()
    assert await asyncio.to_thread(workload.finish) == 0


async def test_envoy_killed_is_started_again(workload: Workload, control: ControlPlane) -> None:
    workload.start()
    await until_served(workload, "first")
    before = workload.envoy_pid()
    assert before is not None
    os.kill(before, signal.SIGKILL)
    await until(workload, lambda: workload.envoy_pid() not in (None, before), "another Envoy")
    await until_served(workload, "first")
    status = await asyncio.to_thread(workload.status)
    assert "SIGKILL" in status["envoy"]["lastExit"]


async def test_agent_killed_leaves_envoy_and_the_next_adopts_it(workload: Workload, control: ControlPlane) -> None:
    workload.start()
    await until_served(workload, "first")
    pid = workload.envoy_pid()
    await asyncio.to_thread(workload.kill)
    assert await asyncio.to_thread(workload.curl, "http://127.0.0.1:8080/") == "first"
    workload.token.write_text("token-2\n")
    control.show("second")
    sent = control.resources_sent
    workload.start()
    await until_served(workload, "second")
    assert workload.envoy_pid() == pid
    assert (await asyncio.to_thread(workload.status))["envoy"] == {"pid": pid, "starts": 0, "lastExit": None}
    assert control.tokens[-1] == "Bearer token-2"
    assert control.resources_sent == sent + 1, "only the changed listener is sent to an Envoy that has the rest"
    assert await asyncio.to_thread(workload.finish) == 0
    assert not runs(pid)


async def test_agent_killed_before_it_wrote_the_pid_file(workload: Workload, control: ControlPlane) -> None:
    workload.start()
    await until_served(workload, "first")
    pid = workload.envoy_pid()
    await asyncio.to_thread(workload.kill)
    (workload.files / "envoy.pid").unlink()
    workload.start()
    await until(workload, lambda: workload.status()["envoy"].get("pid") == pid, "the adoption")


async def test_last_accepted_set_while_the_control_plane_is_away(workload: Workload, control: ControlPlane) -> None:
    workload.start()
    await until_served(workload, "first")
    await until(workload, lambda: workload.status()["accepted"] == {CLUSTER: 1, LISTENER: 1}, "the acceptance")
    await control.stop()
    await until(workload, lambda: "what it holds" in workload.status()["relay"]["source"], "the loss")
    assert await asyncio.to_thread(workload.curl, "http://127.0.0.1:8080/") == "first"
    before = workload.envoy_pid()
    assert before is not None
    os.kill(before, signal.SIGKILL)
    await until(workload, lambda: workload.envoy_pid() not in (None, before), "another Envoy")
    await until_served(workload, "first")
    assert "Envoy goes on with the last accepted set" in workload.log()
    sent = control.resources_sent
    await control.start()
    await until(workload, lambda: workload.status()["relay"]["connectedSince"] is not None, "the way back")
    assert control.resources_sent == sent, "Envoy came back with its versions: nothing is sent again"
    control.show("second")
    await until_served(workload, "second")


async def test_an_envoy_that_has_more_than_was_kept_is_left_alone(workload: Workload, control: ControlPlane) -> None:
    """The last accepted set is emptied behind the agent's back, as a full disk might: nothing is taken from Envoy."""
    workload.start()
    await until_served(workload, "first")
    await until(workload, lambda: workload.status()["accepted"] == {CLUSTER: 1, LISTENER: 1}, "the acceptance")
    await asyncio.to_thread(workload.kill)
    await control.stop()
    store = LastGood(workload.files / "lastgood.db")
    for type_url in (CLUSTER, LISTENER):
        store.accept(type_url, (), (), whole=True)
    store.close()
    workload.start()
    await until(workload, lambda: "what it holds;" in workload.status()["relay"]["source"], "the loss")
    await control.start()
    await until(workload, lambda: workload.status()["relay"]["connectedSince"] is not None, "the way back")
    assert await asyncio.to_thread(workload.curl, "http://127.0.0.1:8080/") == "first"
    assert control.resources_sent == 2, "Envoy still had both"


async def test_a_control_plane_that_refuses_the_token(workload: Workload, control: ControlPlane) -> None:
    workload.start()
    await until_served(workload, "first")
    await asyncio.to_thread(workload.finish)
    workload.token.write_text("wrong\n")
    workload.start()
    await until_served(workload, "first")
    await until(workload, lambda: "UNAUTHENTICATED" in workload.status()["relay"]["source"], "the reason")
    assert "Envoy goes on with the last accepted set" in workload.log()
    workload.token.write_text("token-3\n")
    await until(workload, lambda: workload.status()["relay"]["source"] == "the control plane", "the way back")


async def test_a_control_plane_that_says_nothing(workload: Workload, control: ControlPlane) -> None:
    workload.start()
    await until_served(workload, "first")
    await asyncio.to_thread(workload.finish)
    await control.stop()
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(control.socket))
        silent.listen()
        workload.start()
        await until_served(workload, "first")
        assert "no answer within" in workload.log()


async def test_an_envoy_left_behind_in_its_drain_is_replaced(workload: Workload, control: ControlPlane) -> None:
    workload.start("--drain", "3600")
    await until_served(workload, "first")
    pid = workload.envoy_pid()
    assert workload.agent is not None
    workload.agent.terminate()
    await until(workload, lambda: "draining for" in workload.log(), "the drain")
    await asyncio.to_thread(workload.kill)
    workload.start()
    await until(workload, lambda: workload.envoy_pid() not in (None, pid), "another Envoy")
    await until_served(workload, "first")


async def test_the_drain_ends_when_no_connection_is_open(workload: Workload, control: ControlPlane) -> None:
    workload.start("--drain", "3600", "--exit-on-zero-active-connections")
    await until_served(workload, "first")
    pid = workload.envoy_pid()
    assert await asyncio.to_thread(workload.finish) == 0
    assert "draining for 3600" in workload.log() and not runs(pid)


async def test_an_open_connection_outlives_the_drain_only_so_long(workload: Workload, control: ControlPlane) -> None:
    workload.start("--drain", "3600", "--exit-on-zero-active-connections")
    await until_served(workload, "first")
    holder = hold_a_connection()
    assert holder.stdin is not None and holder.stdout is not None and workload.agent is not None
    with holder, holder.stdout, holder.stdin:
        assert await asyncio.to_thread(holder.stdout.readline) == b"open\n"
        workload.agent.terminate()
        await until(workload, lambda: "draining for" in workload.log(), "the drain")
        url = "http://127.0.0.1:15020/healthz/ready"
        await until(workload, lambda: "draining" in workload.curl(url), "the refusal of the probe")
        assert runs(workload.envoy_pid()) and workload.agent.poll() is None
        holder.kill()
        assert await asyncio.to_thread(workload.agent.wait, PATIENCE) == 0


async def test_nothing_accepted_and_no_control_plane_is_not_ready(workload: Workload) -> None:
    workload.start()
    url = "http://127.0.0.1:15020/healthz/ready"
    await until(workload, lambda: "nothing received" in workload.curl(url), "the reason")
    assert not workload.hold.exists()


async def test_a_second_agent_of_the_same_workload_is_refused(workload: Workload, control: ControlPlane) -> None:
    workload.start()
    await until_served(workload, "first")
    first = workload.agent
    workload.start()
    second, workload.agent = workload.agent, first
    assert second is not None and await asyncio.to_thread(second.wait, PATIENCE) == 1
    assert "another agent of web.shop is running" in workload.log()
    assert (await asyncio.to_thread(workload.status))["ready"], "the first one is as it was"


async def test_damaged_store_is_set_aside(workload: Workload, control: ControlPlane) -> None:
    workload.files.mkdir(parents=True)
    (workload.files / "lastgood.db").write_bytes(b"not a database, but long enough to look at" * 200)
    workload.start()
    await until_served(workload, "first")
    assert "cannot be read" in workload.log()
    assert len(list(workload.files.glob("lastgood.db.damaged-*"))) == 1
    await asyncio.to_thread(workload.finish)
    store = LastGood(workload.files / "lastgood.db")
    assert store.counts() == {CLUSTER: 1, LISTENER: 1}
    store.close()
