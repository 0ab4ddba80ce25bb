"""A lab as the tests use it: brought up with a name and folders of its own, asked from inside, and looked into."""

import contextlib
import http.client
import json
import os
import secrets
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest
import yaml

from tidegate.lab import namespaces, processes, settle
from tidegate.lab.launch import Order, Started, start
from tidegate.lab.plan import netns_prefix
from tidegate.lab.state import Folders, State, read_state

T = TypeVar("T")
Json = dict[str, Any]

HERE = Path(__file__).resolve().parent
PATIENCE = 30.0
"""Seconds within which anything expected must have come about."""
UP_SECONDS = 240
ANSWER_SECONDS = 120.0
"""For one question to a probe, of up to 1,000 requests."""
NEEDS = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
    pytest.mark.skipif(shutil.which("iptables-restore") is None, reason="iptables is not installed"),
]
OUTSIDE_WEB, OUTSIDE_ECHO = "10.122.24.139", "10.122.24.142"
VIP, SELF_VIP = "10.96.60.1", "10.96.60.2"

_SPEC = """
name: {name}
controlPlane: {{apiPort: {api_port}, monitoringPort: {port}}}
objects: [objects.yaml]
dns: {{address: 10.122.24.53}}
hosts:
- name: site
  address: {web}
  dns: [www.site.example]
  commands:
  - name: web
    command: [/usr/bin/python3, server.py, "8000"]
    env: {{VERSION: outside}}
    files: {{server.py: {programs}/server.py}}
    ports: [8000]
- name: echo
  address: {echo}
  dns: [echo.ext.example]
  commands:
  - {{name: tcp, command: [/usr/bin/python3, echo.py, "9000"], files: {{echo.py: {programs}/echo.py}}, ports: [9000]}}
workloads:
- name: client
  namespace: front
  labels: {{app: client}}
  command: [sleep, infinity]
- &server
  name: v1
  namespace: shop
  labels: {{app: web, version: v1}}
  command: [/usr/bin/python3, server.py, "8000"]
  env: {{VERSION: v1}}
  files: {{server.py: {programs}/server.py}}
  ports: [{{name: http, containerPort: 8000}}]
- <<: *server
  name: v2
  labels: {{app: web, version: v2}}
  env: {{VERSION: v2}}
"""
_OBJECTS = f"""
apiVersion: v1
kind: Namespace
metadata: {{name: shop}}
---
apiVersion: v1
kind: Service
metadata: {{name: web, namespace: shop}}
spec: {{clusterIP: {VIP}, selector: {{app: web}}, ports: [{{name: http, port: 8000}}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: self, namespace: shop}}
spec: {{clusterIP: {SELF_VIP}, selector: {{version: v1}}, ports: [{{name: http, port: 8000}}]}}
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def until(look: Callable[[], T], good: Callable[[T], bool] = bool, *, pause: float = 0.05) -> T:
    """Look until it is good; fails with the last look when time is over."""
    deadline = time.monotonic() + PATIENCE
    while not good(seen := look()):
        assert time.monotonic() < deadline, f"it stayed so: {seen!r}"
        time.sleep(pause)
    return seen


class Probe:
    """A program inside a workload that asks as its application would."""

    def __init__(self, lab: "Lab", workload: str) -> None:
        self._process = subprocess.Popen(
            lab.command("lab", "exec", workload, "--", "/usr/bin/python3", str(lab.base / "programs" / "probe.py")),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, **question: Any) -> Any:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        ready, _, _ = select.select([self._process.stdout], [], [], ANSWER_SECONDS)
        assert ready, f"the probe does not answer {question}"
        return json.loads(self._process.stdout.readline())

    def get(self, url: str, **headers: str) -> Json:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        answer: Json = self.ask(do="get", url=url, headers=named)[0]
        return answer

    def many(self, url: str, count: int, *, keep: bool = True, **headers: str) -> list[Json]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        answers: list[Json] = self.ask(do="get", url=url, headers=named, count=count, keep=keep)
        return answers

    def tcp(self, host: str, port: int, send: str) -> Json:
        answer: Json = self.ask(do="tcp", host=host, port=port, send=send)
        return answer

    def close(self) -> None:
        with self._process as process:
            process.terminate()


class _Unix(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=PATIENCE)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(str(self._path))


class Lab:
    """One lab: client.front, v1.shop and v2.shop with sidecars, a web server and an echo server outside."""

    def __init__(self, base: Path, spec: str = _SPEC, objects: str = _OBJECTS) -> None:
        self.base, self.name, self.port = base, f"t{secrets.token_hex(4)}", free_port()
        self.folders = Folders(base / "run", base / "state")
        self.file = base / "lab.yaml"
        shutil.copytree(HERE / "programs", base / "programs")
        places = {"web": OUTSIDE_WEB, "echo": OUTSIDE_ECHO, "programs": "programs", "api_port": free_port()}
        self.file.write_text(spec.format(name=self.name, port=self.port, **places))
        (base / "objects.yaml").write_text(objects)
        self._probes: dict[str, Probe] = {}
        self._again: dict[str, Started] = {}
        """Processes that run in place of the lab's own."""

    def command(self, *arguments: str) -> list[str]:
        if arguments[0] == "lab":
            places = ("--run-dir", str(self.folders.run), "--state-dir", str(self.folders.state))
            arguments = ("lab", *places, *arguments[1:])
        return [sys.executable, "-m", "tidegate", *arguments]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.command(*arguments), capture_output=True, text=True, timeout=UP_SECONDS)

    def must(self, *arguments: str) -> str:
        done = self.run(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def up(self) -> None:
        self.must("lab", "up", "-f", str(self.file))

    def down(self) -> None:
        """Also of a lab that is half-built, or down already."""
        for probe in self._probes.values():
            probe.close()
        self._probes.clear()
        self.must("lab", "down", "--name", self.name)

    def probe(self, workload: str) -> Probe:
        if workload not in self._probes:
            self._probes[workload] = Probe(self, workload)
        return self._probes[workload]

    # The store

    def kubectl(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        binary = Path(sys.executable).parent / "kubectl"
        return subprocess.run(
            [str(binary) if binary.exists() else "kubectl", *arguments],
            input=stdin,
            env=os.environ | {"KUBECONFIG": str(self.folders.lab(self.name).kubeconfig)},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )

    def apply(self, manifest: str) -> None:
        done = self.kubectl("apply", "-f", "-", stdin=manifest)
        assert done.returncode == 0, done.stderr

    def delete(self, manifest: str) -> None:
        done = self.kubectl("delete", "--ignore-not-found", "-f", "-", stdin=manifest)
        assert done.returncode == 0, done.stderr

    @contextlib.contextmanager
    def applied(self, manifest: str) -> Iterator[None]:
        self.apply(manifest)
        try:
            yield
        finally:
            self.delete(manifest)

    @contextlib.contextmanager
    def mesh(self, config: Json) -> Iterator[None]:
        """Fields of the mesh configuration, as it was again at the end."""
        shown = self.kubectl("get", "configmap", "istio", "-n", "istio-system", "-o", "json")
        before = json.loads(shown.stdout)["data"]["mesh"]
        done = self.replace_mesh(yaml.safe_dump((yaml.safe_load(before) or {}) | config))
        assert done.returncode == 0, done.stderr
        try:
            yield
        finally:
            assert self.replace_mesh(before).returncode == 0

    def replace_mesh(self, mesh: str) -> subprocess.CompletedProcess[str]:
        """kubectl replace of the ConfigMap istio, with this text as the mesh configuration."""
        meta = {"name": "istio", "namespace": "istio-system"}
        found = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"mesh": mesh}}
        return self.kubectl("replace", "-f", "-", stdin=json.dumps(found))

    # The proxies

    def agent(self, workload: str, path: str) -> bytes:
        """What a workload's agent answers; fails unless it is 200."""
        connection = _Unix(self.folders.run / "proxies" / workload / "agent.sock")
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            body = response.read()
        finally:
            connection.close()
        assert response.status == 200, body
        return body

    def stats(self, workload: str, pattern: str) -> dict[str, int]:
        lines = self.agent(workload, f"/envoy/stats?filter={pattern}").decode().splitlines()
        pairs = (line.rpartition(": ") for line in lines if line)
        return {name: int(value) for name, _, value in pairs if value.isdigit()}

    def versions(self, workload: str) -> dict[str, tuple[str, str]]:
        """Every dynamic resource of an Envoy: name to its version and when it came."""
        dump = json.loads(self.agent(workload, "/envoy/config_dump?include_eds"))
        found = {}
        for section in dump["configs"]:
            for group, items in section.items():
                if group.startswith("dynamic"):
                    for item in items:
                        state = item.get("active_state") or item
                        name = f"{group}/{_name(item)}"
                        found[name] = (str(state.get("version_info", "")), str(state.get("last_updated", "")))
        return found

    def log(self, workload: str) -> list[str]:
        """The sidecar's access log so far."""
        path = self.folders.lab(self.name).proxy_log(workload)
        return path.read_text(errors="replace").splitlines()

    def logged(self, workload: str, *words: str, after: int = 0) -> list[str]:
        """The lines that hold all words; waits for the first, as Envoy writes its log a little later."""
        return until(lambda: [x for x in self.log(workload)[after:] if all(word in x for word in words)])

    def debug(self, path: str) -> Any:
        """The control plane's debug port."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            body = response.read()
        finally:
            connection.close()
        assert response.status == 200, body
        return json.loads(body)

    def synced(self) -> bool:
        """Whether every proxy is connected and has acknowledged all it was sent."""
        try:
            found = self.debug("/debug/syncz")
        except (OSError, http.client.HTTPException, AssertionError):
            return False
        rows = [resource for proxy in found for resource in proxy["resources"].values()]
        return len(found) == 3 and all(row["state"] == "SYNCED" for row in rows)

    # The processes

    @property
    def state(self) -> State:
        found = read_state(self.folders.lab(self.name))
        assert found is not None
        return found

    def envoy_pid(self, workload: str) -> int:
        return int(json.loads(self.agent(workload, "/status"))["envoy"]["pid"])

    @contextlib.contextmanager
    def killed(self, name: str) -> Iterator[Callable[[], None]]:
        """SIGKILL to one of the lab's processes; it runs again, by the command it had, at the latest at the end.

        Yields what starts it. The node does so for agents, and is held up meanwhile.
        """
        if name.endswith("/agent"):
            with self._held_up(self.running("node")) as go_on:
                kill(self.running(name))
                yield go_on
            return
        process = self.running(name)
        order = self._order(name, process.pid)
        back = Back(lambda: self._start(name, order))
        kill(process)
        try:
            yield back
        finally:
            back()

    @contextlib.contextmanager
    def _held_up(self, process: Started) -> Iterator[Callable[[], None]]:
        """A process stands still, until what is yielded is called, at the latest at the end."""
        go_on = Back(lambda: os.kill(process.pid, signal.SIGCONT))
        os.kill(process.pid, signal.SIGSTOP)
        try:
            yield go_on
        finally:
            go_on()

    def running(self, name: str) -> Started:
        return self._again.get(name) or self.state.processes[name]

    def start_again(self, name: str, **environment: str) -> None:
        """Kill one of the lab's own processes and start it by the command it had, with further variables."""
        process = self.running(name)
        order = self._order(name, process.pid)
        kill(process)
        self._start(name, msgspec.structs.replace(order, env=order.env | environment))

    def _order(self, name: str, pid: int) -> Order:
        """The command with which a process runs, and where."""
        proc = Path(f"/proc/{pid}")
        argv = tuple(proc.joinpath("cmdline").read_bytes().decode().rstrip("\0").split("\0"))
        env = dict(x.split("=", 1) for x in proc.joinpath("environ").read_bytes().decode().rstrip("\0").split("\0"))
        workload = name.rpartition("/")[0]
        if not workload:
            return Order(argv=argv, env=env)
        folder = self.folders.lab(self.name).member(workload)
        return Order(argv=argv, env=env, netns=netns_prefix(self.name) + workload, binds=settle.etc_binds(folder))

    def _start(self, name: str, order: Order) -> None:
        self._again[name] = start(order, self.folders.lab(self.name).log(name))

    def left_behind(self) -> list[str]:
        mark = settle.mark(self.folders, self.name)
        found = [str(process.pid) for process in processes.belonging(mark, [])]
        found += namespaces.existing(netns_prefix(self.name))
        found += [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if self.name in line]
        return found + [str(path) for path in (self.folders.run, self.folders.state) if path.exists()]


class Back:
    """Starts once, however often it is called."""

    def __init__(self, begin: Callable[[], None]) -> None:
        self._begin: Callable[[], None] | None = begin

    def __call__(self) -> None:
        begin, self._begin = self._begin, None
        if begin is not None:
            begin()


def kill(process: Started | int) -> None:
    """SIGKILL, and wait until it has gone."""
    pid = process if isinstance(process, int) else process.pid
    os.kill(pid, signal.SIGKILL)
    until(lambda: not _runs(pid))


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def _name(item: Json) -> str:
    """A dumped resource's name; listeners carry theirs outside, the others within."""
    for part in ("cluster", "route_config", "endpoint_config"):
        if part in item:
            return str(item[part].get("name") or item[part].get("cluster_name"))
    return str(item["name"])


@contextlib.contextmanager
def running_lab(
    spec: str = _SPEC, objects: str = _OBJECTS, prepare: Callable[[Path], None] = lambda _base: None
) -> Iterator[Lab]:
    """A lab that is up, and gone without trace afterwards. ``prepare`` puts files beside its lab.yaml."""
    base = Path(tempfile.mkdtemp(prefix="tgm"))
    base.chmod(0o755)
    lab = Lab(base, spec, objects)
    prepare(base)
    try:
        lab.up()
        yield lab
    finally:
        lab.down()
        shutil.rmtree(base, ignore_errors=True)
