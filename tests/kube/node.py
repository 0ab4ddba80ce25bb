"""A cluster of one real node: kubelet, kube-proxy, containerd and CoreDNS, apart from the machine that they run on.

All of it hangs on three things: a control group that holds every process, a network namespace that holds every address
and rule, and a mount namespace that holds every mount. Killing the first, deleting the second and leaving the third is
the whole clean-up; what an interrupted run left is found by its lock, which nobody holds any more.
"""

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tests.kube import kubetest
from tests.kube.cluster import Cluster, eventually

COMPONENTS = kubetest.HERE / "node-components"
TEMPLATES = kubetest.HERE / "node-configuration"
PREFIX = "tgkube-"
RUNS = Path("/run/tidegate-tests")
"""Sockets, whose paths must be short; one folder a run."""
CGROUPS = Path("/sys/fs/cgroup")
_CONTROLLERS = ("cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids", "systemd")
_TRACKED = "pids"
NAME, ADDRESS, OUTSIDE, PODS = "worker", "10.253.0.2", "203.0.113.7", "10.244.0.0/24"
"""The node; OUTSIDE is an address of no mesh, where tests put servers."""
PAUSE = "localhost/pause:1"
_COVERED = ("/run/netns", "/run/containerd", "/var/lib/cni", "/var/lib/kubelet", "/var/log/containers", "/var/log/pods")
"""Where components write whatever they are told: empty folders of the node's own lie over them."""
_HOLD = 'for each; do mkdir -p "$each" && mount -t tmpfs tmpfs "$each" || exit; done; touch "$0"; exec sleep infinity'
_PROGRAMS = ("containerd", "ctr", "runc", "nsenter", "setpriv", "unshare", "buildah", "mmdebstrap")


def unavailable() -> str:
    """Why there can be no real node here; "" when there can."""
    if os.geteuid() != 0:
        return "no real node: needs root"
    if missing := [each for each in _PROGRAMS if not shutil.which(each)]:
        return f"no real node: {', '.join(missing)} not installed; scripts/setup --tests installs them"
    if not Path("/usr/lib/cni/bridge").exists() or not Path("/bin/busybox").exists():
        return (
            "no real node: containernetworking-plugins or busybox-static not installed; scripts/setup --tests does it"
        )
    if absent := [each for each in _CONTROLLERS if not (CGROUPS / each).is_dir()]:
        return f"no real node: control groups of version 1 are not mounted here: {', '.join(absent)}"
    return kubetest.unavailable() or kubetest.unavailable(COMPONENTS)


@dataclass(frozen=True)
class Node:
    """A node that runs."""

    name: str
    """Of its network namespace and control group."""
    state: Path
    """What it keeps, and its logs."""
    sockets: Path
    cluster: Cluster

    @property
    def within(self) -> tuple[str, ...]:
        """The command that runs another in the node's network, to end with this process."""
        return ("setpriv", "--pdeathsig", "KILL", "nsenter", f"--net=/run/netns/{self.name}")

    def import_image(self, archive: Path) -> None:
        command = ["ctr", "-a", self.sockets / "containerd.sock", "-n", "k8s.io", "images", "import", archive]
        subprocess.run(command, check=True, capture_output=True, timeout=300)

    def told(self) -> str:
        """The ends of the components' logs."""
        logs = sorted(self.state.glob("*.log"))
        return "\n".join(f"== {each.name}\n{each.read_text(errors='replace')[-3000:]}" for each in logs)


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Node]:
    """A cluster of one node, ready for pods, with its state in ``folder``."""
    sweep()
    name = PREFIX + secrets.token_hex(3)
    sockets = RUNS / name
    sockets.mkdir(parents=True)
    with (sockets / "lock").open("w") as lock, contextlib.ExitStack() as stack:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stack.callback(discard, name)
        _make_network(name)
        _make_cgroup(name)
        cluster = Cluster(folder / "state" / "kubeconfig", ("nsenter", f"--net=/run/netns/{name}"))
        node = Node(name, folder, sockets, cluster)
        start = _Start(node, stack)
        start.containerd()
        stack.enter_context(
            kubetest.control_plane(
                folder, "--scheduler", "--bind-address", ADDRESS, "--advertise-address", ADDRESS, within=node.within
            )
        )
        start.kubernetes()
        yield node


def sweep() -> None:
    """Discard what runs left that were interrupted: their locks are free."""
    for folder in RUNS.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError), (folder / "lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            discard(folder.name)


def discard(name: str) -> None:
    """End every process of a node, and take away its namespaces and groups."""
    for _ in range(100):
        found = [int(pid) for each in _groups(name, _TRACKED) for pid in _text(each / "cgroup.procs").split()]
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if not found:
            break
        time.sleep(0.05)
    subprocess.run(["ip", "netns", "delete", name], capture_output=True, timeout=30)
    for controller in (*_CONTROLLERS, "unified"):
        for group in _groups(name, controller):
            with contextlib.suppress(OSError):
                group.rmdir()
    shutil.rmtree(RUNS / name, ignore_errors=True)


def _groups(name: str, controller: str) -> list[Path]:
    """A node's control groups, innermost first."""
    return [Path(folder) for folder, _, _ in os.walk(CGROUPS / controller / name, topdown=False)]


def _text(path: Path) -> str:
    with contextlib.suppress(OSError):
        return path.read_text()
    return ""


def _run(*command: str | Path) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)


def _make_network(name: str) -> None:
    inside = ("ip", "-n", name)
    _run("ip", "netns", "add", name)
    for words in (
        "link set lo up",
        "link add eth0 type bridge",
        "link set eth0 up",
        f"address add {ADDRESS}/24 dev eth0",
        f"address add {OUTSIDE}/32 dev eth0",
        "route add default via 10.253.0.1",
    ):
        _run(*inside, *words.split())
    _run("ip", "netns", "exec", name, "sysctl", "-qw", "net.ipv4.ip_forward=1")


def _make_cgroup(name: str) -> None:
    """A group for the pods, and one in it for what runs them. A new cpuset is empty: nothing may enter it."""
    for controller in _CONTROLLERS:
        for group in (CGROUPS / controller / name, CGROUPS / controller / name / "system"):
            group.mkdir()
            if controller == "cpuset":
                for file in ("cpuset.cpus", "cpuset.mems"):
                    (group / file).write_text((group.parent / file).read_text())


class _Start:
    """Starts the components, one after another."""

    def __init__(self, node: Node, stack: contextlib.ExitStack) -> None:
        self._node, self._stack = node, stack
        self._values = {
            "@STATE@": str(node.state),
            "@SOCKETS@": str(node.sockets),
            "@CONTROL_PLANE@": str(node.state / "state"),
            "@NODE@": NAME,
            "@NODE_IP@": ADDRESS,
            "@POD_CIDR@": PODS,
            "@CGROUP@": f"/{node.name}",
        }
        mounted = node.sockets / "mounted"
        hold = ("sh", "-c", _HOLD, mounted, *_COVERED)
        self._holder = self._spawn("mounts", "unshare", "--mount", "--propagation", "private", *hold)
        eventually(mounted.exists, told=node.told)

    def containerd(self) -> None:
        node = self._node
        (node.state / "cni").mkdir()
        self._written("cni.conflist", node.state / "cni")
        self._spawn("containerd", *self._entered(), "containerd", "-c", self._written("containerd.toml", node.state))
        command = ["ctr", "-a", node.sockets / "containerd.sock", "-n", "k8s.io", "images", "list"]
        eventually(lambda: subprocess.run(command, capture_output=True, timeout=30).returncode == 0, told=node.told)
        with tempfile.TemporaryDirectory() as folder:
            archive = Path(folder) / "pause.tar"
            _run("python3", COMPONENTS.parent / "pauseimage.py", archive, PAUSE)
            node.import_image(archive)

    def kubernetes(self) -> None:
        node, program = self._node, kubetest.binary(COMPONENTS)
        kubelet = [f"--config={self._written('kubelet.yaml', node.state)}", f"--root-dir={node.state / 'kubelet'}"]
        kubelet += [f"--kubeconfig={node.cluster.kubeconfig}", f"--hostname-override={NAME}", f"--node-ip={ADDRESS}"]
        self._spawn("kubelet", *self._entered(), program, "kubelet", *kubelet)
        proxy = f"--config={self._written('kube-proxy.yaml', node.state)}"
        self._spawn("kube-proxy", *self._entered(), program, "kube-proxy", proxy)
        corefile = self._written("Corefile", node.state)
        self._spawn("coredns", *self._entered(), program, "coredns", "-conf", corefile)
        eventually(self._ready, seconds=120, told=node.told)

    def _ready(self) -> bool:
        done = self._node.cluster.tried("get", "node", NAME, "-o", "json")
        if done.returncode:
            return False
        conditions = json.loads(done.stdout)["status"].get("conditions", ())
        return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)

    def _written(self, name: str, folder: Path) -> Path:
        text = (TEMPLATES / name).read_text()
        for key, value in self._values.items():
            text = text.replace(key, value)
        (folder / name).write_text(text)
        return folder / name

    def _entered(self) -> tuple[str, ...]:
        holder = f"/proc/{self._holder.pid}/ns/mnt"
        return ("nsenter", f"--net=/run/netns/{self._node.name}", f"--mount={holder}")

    def _spawn(self, name: str, *command: str | Path) -> "subprocess.Popen[bytes]":
        """Start a component in the node's control group; it ends with this process, or when the node does."""
        entered = CGROUPS / _TRACKED / self._node.name / "system" / "cgroup.procs"
        shell = ("sh", "-c", 'echo $$ >"$0" && exec "$@"', entered, "setpriv", "--pdeathsig", "KILL")
        log: IO[bytes] = self._stack.enter_context((self._node.state / f"{name}.log").open("wb"))
        process = subprocess.Popen([*shell, *command], stdout=log, stderr=log)
        self._stack.callback(_ended, process)
        return process


def _ended(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(10)
