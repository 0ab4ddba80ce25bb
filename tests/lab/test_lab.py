"""A real lab: what it gives, and that nothing of it stays behind, however it ended."""

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tidegate.lab import namespaces, processes, settle
from tidegate.lab.plan import netns_prefix
from tidegate.lab.state import Folders, read_state

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
    pytest.mark.skipif(shutil.which("iptables-restore") is None, reason="iptables is not installed"),
]

SECONDS = 120
LAB = """
name: {name}
controlPlane: {{monitoringPort: {port}}}
dns: {{address: 10.122.24.53, records: {{extra.example: [10.122.24.99]}}}}
objects: [objects.yaml]
hosts:
- name: web
  address: 10.122.24.139
  dns: [www.site-a.example]
  commands:
  - {{name: http, command: [/usr/bin/python3, -m, http.server, "80"], ports: [80], files: {{hello.txt: hello.txt}}}}
workloads:
- name: plain
  command: [sleep, infinity]
  sidecar: false
  env: {{COLOUR: "$(blue)"}}
  hostAliases: [{{ip: 10.122.24.139, hostnames: [alias.example]}}]
- name: client
  namespace: entry
  command: [/usr/bin/python3, -m, http.server, "9102"]
  ports: [{{containerPort: 9102}}]
  labels: {{app: client}}
  annotations: {{prometheus.io/port: "9102", prometheus.io/path: /own.txt}}
  files: {{own.txt: own.txt}}
"""
OBJECTS = """
apiVersion: v1
kind: Service
metadata: {name: front}
spec: {clusterIP: 10.96.77.7, ports: [{port: 80}], selector: {app: client}}
"""


class Lab:
    """A lab with folders and a name of its own."""

    def __init__(self, base: Path) -> None:
        self.base, self.name = base, f"t{secrets.token_hex(4)}"
        self.folders = Folders(base / "run", base / "state")
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.file = base / "lab.yaml"
        self.file.write_text(LAB.format(name=self.name, port=port))
        (base / "objects.yaml").write_text(OBJECTS)
        (base / "hello.txt").write_text("hello\n")
        (base / "own.txt").write_text("own_total 7\n")

    def command(self, *arguments: str) -> list[str]:
        places = ["--run-dir", str(self.folders.run), "--state-dir", str(self.folders.state)]
        return [sys.executable, "-m", "tidegate", "lab", *places, *arguments]

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.command(*arguments), capture_output=True, text=True, timeout=SECONDS)

    def must(self, *arguments: str) -> str:
        done = self(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def inside(self, workload: str, *command: str) -> str:
        return self.must("exec", workload, "--", *command)

    def left_behind(self) -> list[str]:
        mark = settle.mark(self.folders, self.name)
        found = [str(process.pid) for process in processes.belonging(mark, [])]
        found += namespaces.existing(netns_prefix(self.name))
        found += [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if self.name in line]
        return found + [str(path) for path in (self.folders.run, self.folders.state) if path.exists()]


@pytest.fixture
def lab() -> Iterator[Lab]:
    base = Path(tempfile.mkdtemp(prefix="tglab"))
    base.chmod(0o755)
    made = Lab(base)
    try:
        yield made
    finally:
        made("down", "--name", made.name)
        shutil.rmtree(base)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_lab_gives_what_its_file_says_and_leaves_nothing(lab: Lab) -> None:
    lab.must("up", "-f", str(lab.file))
    _programs(lab)
    _names(lab)
    _status(lab)
    _refusals(lab)
    lab.must("down", "-f", str(lab.file))
    assert lab.left_behind() == []
    assert "nothing to remove" in lab.must("down", "-f", str(lab.file))


def _programs(lab: Lab) -> None:
    assert lab("exec", "plain", "--", "sh", "-c", "exit 7").returncode == 7
    assert lab.inside("plain", "id", "-u").strip() == "1000"
    assert lab.inside("plain", "printenv", "COLOUR").strip() == "$(blue)"
    assert lab("exec", "plain", "no-such-program").returncode == 127
    rules = subprocess.run(
        ["ip", "netns", "exec", f"{netns_prefix(lab.name)}client.entry", "iptables-save"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "-A ISTIO_REDIRECT -p tcp -j REDIRECT --to-ports 15001" in rules.stdout
    assert lab.inside("plain", "curl", "-sS", "http://www.site-a.example/hello.txt") == "hello\n"
    assert lab.inside("client", "curl", "-sS", "http://www.site-a.example/hello.txt") == "hello\n"
    assert "GET /hello.txt" in lab.must("logs", "web")
    told = lab.inside("client", "curl", "-sS", "http://127.0.0.1:15020/stats/prometheus")
    assert "own_total 7" in told and "envoy_server_live" in told


def _names(lab: Lab) -> None:
    assert lab.inside("plain", "getent", "hosts", "front.default.svc").split()[0] == "10.96.77.7"
    assert lab.inside("client", "getent", "hosts", "front.default").split()[0] == "10.96.77.7"
    assert lab.inside("plain", "getent", "hosts", "extra.example").split()[0] == "10.122.24.99"
    assert lab.inside("plain", "getent", "hosts", "alias.example").split()[0] == "10.122.24.139"
    assert lab("exec", "plain", "getent", "hosts", "no-such.example").returncode == 2


def _status(lab: Lab) -> None:
    status = json.loads(lab.must("status", "-o", "json"))
    assert status["complete"] and all(status["processes"].values())
    assert {row["workload"]: row["ready"] for row in status["members"]} == {
        "plain": "1/1",
        "client": "2/2",
        "web": "1/1",
    }
    assert "client" in lab.must("status")


def _refusals(lab: Lab) -> None:
    again = lab("up", "-f", str(lab.file))
    assert again.returncode == 1 and "is up" in again.stderr
    other = lab.base / "other.yaml"
    other.write_text("name: other\nworkloads: [{name: a, command: [sleep, '1']}]\n")
    refused = lab("up", "-f", str(other))
    assert refused.returncode == 1 and f"lab {lab.name} has the run folder" in refused.stderr


def _namespaces_made(lab: Lab) -> bool:
    return bool(namespaces.existing(netns_prefix(lab.name)))


def _started(process: str) -> Callable[[Lab], bool]:
    def look(lab: Lab) -> bool:
        state = read_state(lab.folders.lab(lab.name))
        return state is not None and process in state.processes

    return look


@pytest.mark.parametrize(
    "moment",
    [_namespaces_made, _started("apiserver"), _started("web/http"), _started("client.entry/agent")],
    ids=["network", "apiserver", "host", "sidecar"],
)
def test_nothing_stays_of_an_up_that_was_killed(lab: Lab, moment: Callable[[Lab], bool]) -> None:
    building = subprocess.Popen(
        lab.command("up", "-f", str(lab.file)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    until(lambda: moment(lab) or building.poll() is not None)
    building.send_signal(signal.SIGKILL)
    assert building.wait() == -signal.SIGKILL
    refused = lab("up", "-f", str(lab.file))
    assert refused.returncode == 1 and "half-built" in refused.stderr
    lab.must("down", "-f", str(lab.file))
    assert lab.left_behind() == []


_AGAIN = {"plain": 1, "client": 1, "web": 0}
"""How often the programs of workloads, and their sidecars' agents, are started again: discovery is not."""


def _rows(lab: Lab) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(lab.must("status", "-o", "json"))["members"]
    return found


def test_nothing_stays_when_parts_were_killed_and_the_state_is_lost(lab: Lab) -> None:
    lab.must("up", "-f", str(lab.file))
    folder = lab.folders.lab(lab.name)
    state = read_state(folder)
    assert state is not None
    for name in ("client.entry/agent", "discovery", "plain.default/app"):
        os.kill(state.processes[name].pid, signal.SIGKILL)
    until(lambda: {row["workload"]: row["restarts"] for row in _rows(lab)} | {"web": 0} == _AGAIN)
    folder.state_file.unlink()
    lab.must("down", "--name", lab.name)
    assert lab.left_behind() == []


def test_a_program_that_ends_or_does_not_listen_fails_the_lab_with_its_log(lab: Lab) -> None:
    lab.file.write_text(lab.file.read_text().replace('-m, http.server, "80"', "-c, print('no luck')"))
    failed = lab("up", "-f", str(lab.file))
    assert failed.returncode == 1
    assert "web/http: it ended" in failed.stderr and "no luck" in failed.stderr and "half-built" in failed.stderr
    lab.must("down", "-f", str(lab.file))
    assert lab.left_behind() == []


@pytest.fixture
def small_disk(lab: Lab) -> Iterator[Path]:
    """The lab's state folder on a disk of its own, a few MiB large."""
    lab.folders.state.mkdir(parents=True)
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m,mode=755", "tmpfs", str(lab.folders.state)], check=True, timeout=10
    )
    try:
        yield lab.folders.state
    finally:
        lab("down", "--name", lab.name)
        subprocess.run(["umount", "--lazy", str(lab.folders.state)], check=True, timeout=10)
        lab.folders.state.rmdir()


@pytest.mark.parametrize("free", [0, 64, 1024], ids=lambda kib: f"{kib} KiB free")
def test_a_full_disk_leaves_nothing_behind(lab: Lab, small_disk: Path, free: int) -> None:
    filler = small_disk / "filler"
    with filler.open("wb") as file:
        statistics = os.statvfs(small_disk)
        file.write(b"x" * max(0, statistics.f_bavail * statistics.f_frsize - free * 1024))
    done = lab("up", "-f", str(lab.file))
    if done.returncode:
        assert "Traceback" not in done.stderr
        assert done.stderr.strip(), "a lab that does not come up says why"
    else:
        filler.write_bytes(b"x" * 8192)  # the disk of a running lab fills up
    filler.unlink()
    assert lab("down", "--name", lab.name).returncode == 0
    found = [each for each in lab.left_behind() if str(small_disk) not in each]
    assert not found
