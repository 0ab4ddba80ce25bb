"""What injection writes into a pod, run as a container runs it: its arguments and variables, its user, no capability.

The control plane is the real process, reached over TLS through a link between two network namespaces.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.certificates import Authority, Pair
from tests.envoy.test_control_plane import Plane, Process, entry
from tidegate.inject.context import Place
from tidegate.inject.objects import inject_object
from tidegate.inject.settings import settings
from tidegate.kit.envoy_binary import find

pytestmark = [
    pytest.mark.envoy,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root for a network namespace"),
]

NAME = "istiod.istio-system.svc"
NETNS = f"tgpod{os.getpid()}"
LINK = f"h{NETNS[-12:]}"
NET = f"10.213.{os.getpid() % 250}"
HOST, POD = f"{NET}.1", f"{NET}.2"
PATIENCE = 30.0
PILOT_AGENT = Path(sys.executable).with_name("pilot-agent")
Json = dict[str, Any]

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata:
      labels: {app: web}
      annotations:
        prometheus.io/scrape: "true"
        prometheus.io/port: "9100"
        proxy.istio.io/config: '{terminationDrainDuration: 1s}'
    spec:
      containers:
      - name: app
        image: none
        ports: [{containerPort: 9100, name: http}]
        livenessProbe: {httpGet: {port: http, path: /live}}
"""
APPLICATION = """
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = b"sold_total 7\\n" if self.path == "/metrics" else self.client_address[0].encode()
        self.send_response(200)
        self.send_header("content-type", "text/plain; version=0.0.4")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
http.server.ThreadingHTTPServer(("0.0.0.0", %d), Handler).serve_forever()
"""


class NetworkPlane(Plane):
    """A control plane that serves over TLS too."""

    def __init__(self, folder: Path, pair: Pair) -> None:
        self.certificate, self.key = folder / "tls.crt", folder / "tls.key"
        self.address = f"{HOST}:0"
        self.show(pair)
        super().__init__(folder)
        self.address = self.discovery.ready.split("tls=")[1]

    def show(self, pair: Pair) -> None:
        """The certificate that the next connections see."""
        for path, text in ((self.certificate, pair.certificate), (self.key, pair.key)):
            fresh = path.with_suffix(".new")
            fresh.write_bytes(text)
            fresh.replace(path)

    def start_discovery(self, port: str = "0") -> Process:
        options = ["--kubeconfig", str(self.kubeconfig), "--run-dir", str(self.run_dir), "--monitoring-port", port]
        network = ["--tls-address", self.address, "--tls-cert", str(self.certificate), "--tls-key", str(self.key)]
        return Process(self.folder, "discovery", *options, *network)

    def restart(self) -> None:
        self.discovery.kill()
        self.discovery = self.start_discovery()


def injected() -> Json:
    """The pod's spec after injection."""
    found = inject_object(yaml.safe_load(DEPLOYMENT), settings(), Place())
    spec: Json = found.object["spec"]["template"]["spec"]
    return spec


def environment(container: Json) -> dict[str, str]:
    """The variables of a container as the kubelet resolves them."""
    fields = {"metadata.name": "web", "metadata.namespace": "shop", "status.podIP": POD, "status.hostIP": HOST}
    found = {"PATH": os.environ["PATH"]}
    for each in container.get("env") or ():
        source = each.get("valueFrom") or {}
        path = (source.get("fieldRef") or {}).get("fieldPath", "")
        found[each["name"]] = fields.get(path, "default") if path else "2" if source else each.get("value", "")
    return found


class Pod:
    """A network namespace in which the containers of an injected pod run."""

    def __init__(self, folder: Path, address: str, roots: bytes, token: str) -> None:
        self.folder, self.log_file = folder, folder / "proxy.log"
        self.token, self.roots = folder / "istio-token", folder / "root-cert.pem"
        self.containers = {each["name"]: each for each in injected()["initContainers"]}
        self.address = address
        self.agent: subprocess.Popen[bytes] | None = None
        self.write(self.token, token.encode())
        self.write(self.roots, roots)
        for name in ("run", "state"):
            (folder / name).mkdir()
            shutil.chown(folder / name, 1337, 1337)

    def write(self, path: Path, data: bytes) -> None:
        fresh = path.with_suffix(".new")
        fresh.write_bytes(data)
        fresh.chmod(0o644)
        fresh.replace(path)

    def command(self, *words: str, user: int | None = None) -> list[str]:
        """As a user who has no right but to reach an interpreter that lies below root's own folder; None is root."""
        kept = "-all,+dac_read_search"
        rights = ["--inh-caps", kept, "--ambient-caps", kept, "--bounding-set", kept]
        groups = ["--reuid", str(user), "--regid", str(user), "--clear-groups"]
        inside = ["ip", "netns", "exec", NETNS]
        return [*inside, *(["setpriv", *groups, *rights, "--"] if user is not None else []), *words]

    def run(self, *words: str, user: int | None = None, env: dict[str, str] | None = None) -> "Done":
        done = subprocess.run(
            self.command(*words, user=user), env=env, capture_output=True, text=True, check=False, timeout=PATIENCE
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def capture(self) -> None:
        init = self.containers["istio-init"]
        done = self.run(str(PILOT_AGENT), *init["args"], env=environment(init))
        assert done.code == 0, done

    def start(self, *more: str, user: int | None = 1337) -> None:
        proxy = self.containers["istio-proxy"]
        variables = environment(proxy) | {"ISTIOD_SAN": NAME, "TIDEGATE_ENVOY": str(find())}
        arguments = [word.replace("$(POD_NAMESPACE)", "shop") for word in proxy["args"]]
        arguments += ["--run-dir", str(self.folder / "run"), "--state-dir", str(self.folder / "state")]
        arguments += ["--token-file", str(self.token), "--discovery-root", str(self.roots)]
        arguments += ["--discovery-address", self.address, *more]
        with self.log_file.open("ab") as log:
            shutil.chown(self.log_file, user or 0)  # as a container's runtime does
            command = self.command(str(PILOT_AGENT), *arguments, user=user)
            self.agent = subprocess.Popen(command, env=variables, stdout=log, stderr=log)

    def ask(self, *words: str) -> "Done":
        return self.run(str(PILOT_AGENT), *words, user=1337)

    def curl(self, url: str, *more: str) -> str:
        """As the application's user."""
        return self.run("curl", "-s", "-i", "--max-time", "5", *more, url, user=1000).out

    def source(self) -> str:
        socket = str(self.folder / "run" / "agent.sock")
        out = self.run("curl", "-s", "--max-time", "5", "--unix-socket", socket, "http://agent/status").out
        return str(json.loads(out)["relay"]["source"]) if out else ""

    def log(self) -> str:
        return self.log_file.read_text()[-6000:]

    def until(self, wanted: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + PATIENCE
        while not wanted():
            assert time.monotonic() < end, f"{what} did not come about; the proxy says:\n{self.log()}"
            time.sleep(0.1)


class Done:
    """How a command ended."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    def __repr__(self) -> str:
        return f"exit code {self.code}, said {self.out!r} and {self.err!r}"


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


@pytest.fixture
def network() -> Iterator[None]:
    ip("netns", "add", NETNS)
    try:
        ip("link", "add", LINK, "type", "veth", "peer", "name", "eth0", "netns", NETNS)
        ip("addr", "add", f"{HOST}/30", "dev", LINK)
        ip("link", "set", LINK, "up")
        for words in (("link", "set", "lo", "up"), ("addr", "add", f"{POD}/30", "dev", "eth0")):
            ip("-n", NETNS, *words)
        ip("-n", NETNS, "link", "set", "eth0", "up")
        ip("-n", NETNS, "route", "add", "default", "via", HOST)
        yield
    finally:
        left = subprocess.run(["ip", "netns", "pids", NETNS], capture_output=True, text=True, check=True)
        for pid in left.stdout.split():
            os.kill(int(pid), signal.SIGKILL)
        ip("link", "del", LINK)  # its end in the namespace would keep the name for a while
        ip("netns", "del", NETNS)


@pytest.fixture
def authority() -> Authority:
    return Authority("first")


@pytest.fixture
def plane(network: None, authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NetworkPlane]:
    found = NetworkPlane(tmp_path_factory.mktemp("plane"), authority.issue(NAME))
    yield found
    found.stop()


async def token_of(plane: Plane) -> str:
    """Of a Pod that has the namespace's address."""
    async with plane.store() as store:
        await store.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
        meta = {"name": "web", "namespace": "shop", "labels": {"app": "web"}}
        spec = {"serviceAccountName": "default", "containers": [{"name": "app", "image": "none"}]}
        pod = await store.create({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec})
        pod = await store.update(
            {**pod, "status": {"phase": "Running", "podIP": POD, "podIPs": [{"ip": POD}]}}, subresource="status"
        )
        await store.create(entry("a"))
        return await store.create_token("shop", "default", audiences=("istio-ca",), pod=pod)


@pytest.fixture
def folder() -> Iterator[Path]:
    """One that other users may enter."""
    made = Path(tempfile.mkdtemp(prefix="tgpod"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.fixture
async def pod(plane: NetworkPlane, authority: Authority, folder: Path) -> AsyncIterator[Pod]:
    found = Pod(folder, plane.address, authority.roots, await token_of(plane))
    try:
        yield found
    finally:
        if found.agent is not None:
            found.agent.kill()
            found.agent.wait()


@pytest.fixture
def application(network: None) -> Iterator[None]:
    command = ["ip", "netns", "exec", NETNS, sys.executable, "-c", APPLICATION % 9100]
    with subprocess.Popen(command) as process:
        yield
        process.kill()


@pytest.fixture
def outside(network: None) -> Iterator[int]:
    """A server beyond the mesh, on the other end of the link."""
    port = 18080
    with subprocess.Popen([sys.executable, "-c", APPLICATION % port]) as process:
        yield port
        process.kill()


def test_an_injected_pod(pod: Pod, application: None, outside: int) -> None:
    pod.capture()
    pod.start()
    ready = pod.ask("wait", "--timeoutSeconds", "20")
    assert ready.code == 0, f"{ready}\n{pod.log()}"

    clusters = pod.ask("request", "GET", "clusters")
    assert "outbound|80||a.example::10.8.0.1:80" in clusters.out, clusters
    answer = pod.curl(f"http://{HOST}:{outside}/")
    assert answer.endswith(POD), answer
    pod.until(lambda: f'"{HOST}:{outside}" PassthroughCluster' in pod.log(), "the access log on standard output")

    probed = pod.curl("http://127.0.0.1:15020/app-health/app/livez")
    assert " 200 " in probed.splitlines()[0], probed
    metrics = pod.curl("http://127.0.0.1:15020/stats/prometheus")
    assert metrics.rstrip().endswith("sold_total 7") and "envoy_server_live" in metrics
    assert 'istio_agent_scrape_failures_total{type="application"} 0' in metrics

    assert pod.ask("request", "--debug-port=15020", "POST", "drain").code == 0
    assert " 503 " in pod.curl("http://127.0.0.1:15021/healthz/ready").splitlines()[0]
    assert pod.agent is not None
    pod.agent.terminate()
    assert pod.agent.wait(PATIENCE) == 0
    assert "not acted on: CA_ADDR, TRUST_DOMAIN: workload certificates are not issued yet" in pod.log()


async def test_a_control_plane_that_may_not_be_believed(pod: Pod, plane: NetworkPlane) -> None:
    """Another authority's certificate, a token that is none: told, nothing is lost, and it ends when they are right."""
    pod.start()
    pod.until(lambda: pod.source() == "the control plane", "the first connection")
    other, good = Authority("second"), pod.token.read_bytes()
    plane.show(other.issue(NAME))
    plane.restart()
    pod.until(lambda: "is not trusted: unable to get local issuer certificate" in pod.source(), "the distrust")
    assert "outbound|80||a.example" in pod.ask("request", "GET", "clusters").out
    pod.write(pod.token, b"e30.e30.e30")
    pod.write(pod.roots, other.roots)
    pod.until(lambda: "UNAUTHENTICATED" in pod.source(), "the refusal")
    pod.write(pod.token, good)
    pod.until(lambda: pod.source() == "the control plane", "the way back")
    plane.show(other.issue("another.name"))
    plane.restart()
    pod.until(lambda: "Hostname mismatch" in pod.source(), "the wrong name")
    plane.discovery.kill()
    pod.until(lambda: "cannot be reached over TLS" in pod.source(), "the absence")


IPV6_PROBE = """
import asyncio, json
from tidegate.agent.appprobes import AppProbes, parse
from tidegate.kit.injected import PROBES
async def main():
    peers = asyncio.Queue()
    def serve(_, writer):
        peers.put_nowait(writer.get_extra_info("peername")[0])
        writer.close()
    server = await asyncio.start_server(serve, "fd00::7", 9300)
    told = json.dumps({"/app-health/a/livez": {"tcpSocket": {"port": 9300}}})
    await AppProbes(parse({PROBES: told}), "fd00::7").answer("/app-health/a/livez")
    print(await asyncio.wait_for(peers.get(), 10))
asyncio.run(main())
"""


def test_probes_over_ipv6_come_from_the_address_that_the_rules_bring(network: None) -> None:
    ip("-n", NETNS, "addr", "add", "fd00::7/64", "dev", "eth0", "nodad")
    inside = ["ip", "netns", "exec", NETNS]
    subprocess.run(
        [*inside, sys.executable, "-m", "tidegate", "iptables", "-b", "*", "-i", "*", "--dual-stack"], check=True
    )
    done = subprocess.run([*inside, sys.executable, "-c", IPV6_PROBE], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "::6"


def test_as_root_of_a_machine(pod: Pod) -> None:
    """The agent runs Envoy as another user, and its own connections go around the Envoy that they are to configure."""
    pod.capture()
    pod.start(user=None)
    ready = pod.ask("wait", "--timeoutSeconds", "20")
    assert ready.code == 0, f"{ready}\n{pod.log()}"
    envoy = subprocess.run(["ip", "netns", "pids", NETNS], capture_output=True, text=True, check=True).stdout.split()
    owners = {Path(f"/proc/{pid}").stat().st_uid for pid in envoy if "envoy" in Path(f"/proc/{pid}/comm").read_text()}
    assert owners == {1337}
