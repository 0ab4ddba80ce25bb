"""A real Envoy as a workload's sidecar: what the agent starts it with, and what `tidegate compile` sends it."""

import contextlib
import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

from click.testing import CliRunner

from tests.packets.wire import Network
from tidegate.agent.bootstrap import bootstrap
from tidegate.agent.process import as_user
from tidegate.agent.settings import Settings
from tidegate.cli.main import cli
from tidegate.kit import envoy_binary

PATIENCE = 20.0
T = TypeVar("T")
Json = dict[str, Any]
ADMIN = {"act": "once", "host": "127.0.0.1", "port": 15000, "speaks": "http", "uid": 0, "gid": 0}
"""A question to Envoy itself, but for its path."""
LOG = {
    "source": "%DOWNSTREAM_REMOTE_ADDRESS%",
    "to": "%DOWNSTREAM_LOCAL_ADDRESS%",
    "cluster": "%UPSTREAM_CLUSTER_RAW%",
    "host": "%UPSTREAM_HOST%",
}


class Sidecar:
    """The running Envoy, its access log and its counters."""

    def __init__(self, network: Network, log: Path) -> None:
        self._network, self._log, self._from = network, log, 0

    def watch(self) -> None:
        """What is logged so far counts no more."""
        self._from = self._log.stat().st_size

    def logged(self, address: str, port: int) -> Json:
        """The line of a connection to this place; waits for it.

        Its source tells nothing: the kernel gives it another port where the same one was redirected before.
        """
        where = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
        return next(found for found in self._lines() if found["to"] == where)

    def _lines(self) -> Iterator[Json]:
        """Line after line, those that are yet to be written too."""
        deadline, whole = time.monotonic() + PATIENCE, ""
        with self._log.open() as log:
            log.seek(self._from)
            while time.monotonic() < deadline:
                whole += log.readline()
                if whole.endswith("\n"):
                    yield json.loads(whole)
                    whole = ""
                else:
                    time.sleep(0.005)
        raise AssertionError(f"Envoy did not log it: {self._log.read_text()[-2000:]}")

    def taken(self) -> int:
        """How many connections came to Envoy's listeners, its own interface's aside."""
        told = self._network.inside.ask({**ADMIN, "path": "/stats?filter=^listener.*downstream_cx_total$"})
        counters = dict(line.split(": ") for line in told["body"].splitlines())
        return sum(int(value) for name, value in counters.items() if ".worker_" not in name and ".admin." not in name)


def until(look: Callable[[], T], good: Callable[[T], bool]) -> T:
    """Look until it is good; the last look when time is over."""
    deadline = time.monotonic() + PATIENCE
    while not good(seen := look()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return seen


@contextlib.contextmanager
def sidecar(
    network: Network, mode: Any, change: Callable[[Json], object] = lambda _config: None, **mesh: Any
) -> Iterator[Sidecar]:
    """Envoy in the workload's namespace, as the user and with the rights that the agent gives it.

    ``change`` may alter its configuration; ``mesh`` are settings of MeshConfig.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tgpkt")))
        folder.chmod(0o777)
        settings = Settings(
            name="app-0",
            namespace="shop",
            address=network.places.pod,
            run_dir=folder,
            state_dir=folder,
            token_file=folder / "token",
            upstream=folder / "discovery.sock",
            envoy=envoy_binary.find(),
            interception_mode=mode,
        )
        config = _config(settings, network, folder, mesh)
        change(config)
        (folder / "envoy.json").write_text(json.dumps(config))
        command = ["nsenter", f"--net=/run/netns/{network.pod}", "--", *as_user(settings), str(settings.envoy)]
        options = ["-c", str(folder / "envoy.json"), "--concurrency", "1", "--disable-hot-restart", "-l", "error"]
        with (folder / "envoy.log").open("wb") as log:
            flush = ["--file-flush-interval-msec", "10"]
            process = subprocess.Popen([*command, *options, *flush], stdout=log, stderr=log)
        stack.callback(_end, process)
        _until_listening(network, process, folder / "envoy.log")
        (folder / "access.log").touch()
        yield Sidecar(network, folder / "access.log")


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.wait(PATIENCE)


def _until_listening(network: Network, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while network.inside.ask({**ADMIN, "path": "/ready"}).get("status") != 200:
        assert process.poll() is None and time.monotonic() < deadline, log.read_text()
        time.sleep(0.02)


def _config(settings: Settings, network: Network, folder: Path, mesh: Json) -> Json:
    """The agent's own bootstrap, with what discovery would send in its place, and every counter kept."""
    found = bootstrap(settings)
    dump = compiled(network, settings.interception_mode, folder, mesh)
    endpoints = {each["clusterName"]: each for each in _of(dump, "dynamicEndpointConfigs", "endpointConfig")}
    static = found["static_resources"]
    static["clusters"] += [_resolved(each, endpoints) for each in _of(dump, "dynamicActiveClusters", "cluster")]
    listeners = [each["activeState"]["listener"] for each in _entries(dump, "dynamicListeners")]
    static["listeners"] += [{key: value for key, value in each.items() if key != "@type"} for each in listeners]
    del found["dynamic_resources"], found["stats_config"]["stats_matcher"]
    return found


def _entries(dump: Json, group: str) -> list[Json]:
    return [entry for part in dump["configs"] for entry in part.get(group, ())]


def _of(dump: Json, group: str, kind: str) -> list[Json]:
    return [{k: v for k, v in entry[kind].items() if k != "@type"} for entry in _entries(dump, group)]


def _resolved(cluster: Json, endpoints: dict[str, Json]) -> Json:
    """With its endpoints in it, where discovery would send them."""
    if cluster.get("type") != "EDS":
        return cluster
    rest = {key: value for key, value in cluster.items() if key not in ("edsClusterConfig", "type")}
    return {**rest, "type": "STATIC", "loadAssignment": endpoints[cluster["name"]]}


def compiled(network: Network, mode: str, folder: Path, settings: Json) -> Json:
    """The configuration dump of the workload's sidecar in a small mesh of plain TCP."""
    mesh, spec = folder / "mesh.yaml", folder / "proxy.yaml"
    access = {"accessLogFile": str(folder / "access.log"), "accessLogEncoding": "JSON"}
    mesh.write_text(json.dumps({**settings, **access, "accessLogFormat": json.dumps(LOG)}))
    about = {"name": "app-0", "namespace": "shop", "ip": network.places.pod, "metadata": {"INTERCEPTION_MODE": mode}}
    spec.write_text(json.dumps(about))
    options = ["--mesh-config", str(mesh), "--proxy-spec", str(spec), "--no-certificates"]
    given = "\n---\n".join(map(json.dumps, _objects(network)))
    result = CliRunner().invoke(cli, ["compile", "-f", "-", *options], input=given)
    assert result.exit_code == 0, (result.output, result.exception)
    dump: Json = json.loads(result.stdout)
    return dump


def _objects(network: Network) -> Iterator[Json]:
    places = network.places
    yield _pod("app-0", places.pod)
    yield _pod("web-0", places.other)
    services = {"web": places.service, "app": places.own_service, "empty": places.empty_service}
    for name, address in services.items():
        ports = [{"name": "tcp", "port": 80, "targetPort": 9080}]
        ranges = {"clusterIP": address, "clusterIPs": [address], "ipFamilies": ["IPv6" if ":" in address else "IPv4"]}
        spec = {**ranges, "selector": {"app": name}, "ports": ports}
        yield {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "shop"}, "spec": spec}


def _pod(name: str, address: str) -> Json:
    meta = {"name": name, "namespace": "shop", "labels": {"app": name.partition("-")[0]}}
    ready = {"type": "Ready", "status": "True"}
    status = {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}], "conditions": [ready]}
    spec = {"containers": [{"name": "app", "ports": [{"containerPort": 9080}]}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec, "status": status}
