"""Deployments on a lab: Pods that run, serve, are replaced and go; and programs that are started again."""

import contextlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab.labs import NEEDS, Lab, kill, running_lab, until
from tidegate.lab import namespaces
from tidegate.lab.plan import netns_prefix

pytestmark = NEEDS

NS = "front"
URL = "http://api.front:8000/"
CLIENT = "client.front"
SERVER = """
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = os.environ["VERSION"].encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *arguments):
        pass
http.server.ThreadingHTTPServer(("", 8000), Handler).serve_forever()
"""


def deployment(name: str = "api", *, replicas: int = 2, **container: Any) -> str:
    """A Deployment, and the Service before it."""
    own = {
        "name": "main",
        "image": "registry.example/api:1",
        "command": ["/usr/bin/python3", "-c", SERVER],
        "env": [{"name": "VERSION", "value": "one"}],
        "ports": [{"containerPort": 8000, "name": "http"}],
        **container,
    }
    labels = {"app": name}
    spec = {
        "replicas": replicas,
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": [own]}},
    }
    meta = {"name": name, "namespace": NS}
    service = {"selector": labels, "ports": [{"name": "http", "port": 8000}]}
    items = [
        {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": service},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": spec},
    ]
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items})


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with running_lab() as made:
        yield made


@contextlib.contextmanager
def deployed(lab: Lab, manifest: str) -> Iterator[None]:
    """Applied, and gone with all that it made at the end."""
    with lab.applied(manifest):
        yield
    until(lambda: pods(lab), lambda found: found == [])
    until(lambda: [n for n in namespaces.existing(netns_prefix(lab.name)) if "-api-" in n], lambda found: found == [])


def folders(lab: Lab) -> list[Path]:
    """Of the Deployment's proxies and programs, of those that have ended as well."""
    return [*lab.folders.run.glob("proxies/api-*"), *lab.folders.state.glob("labs/*/*/api-*")]


def pods(lab: Lab, name: str = "api") -> list[dict[str, Any]]:
    done = lab.kubectl("get", "pods", "-n", NS, "-l", f"app={name}", "-o", "json")
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)["items"]
    return found


def rolled_out(lab: Lab) -> None:
    done = lab.kubectl("rollout", "status", "-n", NS, "deploy/api", "--timeout=25s")
    assert done.returncode == 0 and "successfully rolled out" in done.stdout, done.stdout + done.stderr


def endpoints(lab: Lab) -> set[str]:
    """Of the Deployment's cluster, as the client's Envoy has them."""
    shown = json.loads(lab.agent(CLIENT, "/envoy/clusters?format=json"))
    (found,) = [c for c in shown["cluster_statuses"] if c["name"] == "outbound|8000||api.front.svc.cluster.local"]
    return {host["address"]["socket_address"]["address"] for host in found.get("host_statuses", ())}


def bodies(lab: Lab) -> set[str]:
    return {str(answer.get("body", answer)) for answer in lab.probe(CLIENT).many(URL, 20)}


def status(lab: Lab) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(lab.must("lab", "status", "-o", "json"))["members"]
    return found


def test_replicas_come_serve_and_go(lab: Lab) -> None:
    with deployed(lab, deployment()):
        rolled_out(lab)
        addresses = {pod["status"]["podIP"] for pod in pods(lab)}
        assert len(addresses) == 2
        until(lambda: endpoints(lab) == addresses)
        assert bodies(lab) == {"one"}
        names = {pod["metadata"]["name"] for pod in pods(lab)}
        assert {row["workload"]: row["ready"] for row in status(lab) if row["workload"] in names} == dict.fromkeys(
            names, "2/2"
        )
        first = min(names)
        assert lab.must("lab", "exec", f"{first}.{NS}", "--", "hostname", "-I").split()[0] in addresses
        lab.kubectl("scale", "-n", NS, "deploy/api", "--replicas=3")
        rolled_out(lab)
        until(lambda: len(endpoints(lab)) == 3)
        lab.kubectl("scale", "-n", NS, "deploy/api", "--replicas=1")
        until(lambda: len(endpoints(lab)) == 1)
        until(lambda: sum(row["workload"].startswith("api-") for row in status(lab)) == 1)
    until(lambda: folders(lab), lambda found: found == [])


def test_a_pod_has_its_sidecar_and_says_what_the_lab_left_out(lab: Lab) -> None:
    with deployed(lab, deployment(replicas=1, resources={"limits": {"cpu": "1"}})):
        rolled_out(lab)
        (pod,) = pods(lab)
        assert [c["name"] for c in pod["spec"]["containers"]] == ["main", "istio-proxy"]
        name = pod["metadata"]["name"]
        assert len([p for p in lab.debug("/debug/syncz") if p["proxy"] == f"{name}.{NS}"]) == 1
        told = lab.kubectl("describe", "pod", "-n", NS, name).stdout
        assert "is not pulled" in told and "not acted on by a lab: container resources" in told


def test_no_request_fails_while_a_rollout_goes_on(lab: Lab) -> None:
    with deployed(lab, deployment()):
        rolled_out(lab)
        until(lambda: len(endpoints(lab)) == 2)
        probe = lab.probe("v1.shop")
        until(lambda: probe.get(URL)["status"], lambda code: code == 200)
        probe.ask(do="load", url=URL, clients=2)
        try:
            assert lab.kubectl("set", "env", "-n", NS, "deploy/api", "VERSION=two").returncode == 0
            rolled_out(lab)
            until(lambda: bodies(lab) == {"two"})
            assert lab.kubectl("rollout", "restart", "-n", NS, "deploy/api").returncode == 0
            rolled_out(lab)
            time.sleep(2)
        finally:
            seen = probe.ask(do="stop")
        assert seen["errors"] == [] and set(seen["statuses"]) == {"200"}, seen
        assert lab.kubectl("rollout", "undo", "-n", NS, "deploy/api", "--to-revision=1").returncode == 0
        until(lambda: bodies(lab) == {"one"})


BAD = [
    ({"command": []}, "CreateContainerConfigError", "under images: of the lab file"),
    ({"command": ["/no/such/program"]}, "RunContainerError", "No such file"),
    ({"command": ["sh", "-c", "exit 3"]}, "CrashLoopBackOff", "is started again"),
    ({"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "x"}}}]}, "CreateContainerConfigError", "env A"),
    ({"securityContext": {"runAsUser": 1337}}, "CreateContainerConfigError", "expected another user"),
]


@pytest.mark.parametrize(("container", "reason", "told"), BAD, ids=[reason for _, reason, _ in BAD])
def test_what_cannot_run_is_told(lab: Lab, container: dict[str, Any], reason: str, told: str) -> None:
    with deployed(lab, deployment(replicas=1, **container)):

        def waits() -> bool:
            found = [s for pod in pods(lab) for s in pod["status"].get("containerStatuses", ()) if s["name"] == "main"]
            waiting = [s["state"].get("waiting", {}) for s in found]
            return any(w.get("reason") == reason and told in w["message"] for w in waiting)

        until(waits)
        assert reason in lab.kubectl("get", "pods", "-n", NS).stdout
        assert lab.kubectl("get", "deploy", "-n", NS, "api", "--no-headers").stdout.split()[1] == "0/1"


def test_a_program_that_ends_is_started_again_and_that_is_told(lab: Lab) -> None:
    before = lab.state.processes["v2.shop/app"]
    kill(before)
    until(lambda: lab.state.processes["v2.shop/app"] != before)
    rows = until(lambda: {row["workload"]: row for row in status(lab)}, lambda found: found["v2"]["ready"] == "2/2")
    assert (rows["v2"]["restarts"], rows["v1"]["restarts"]) == (1, 0)
    until(lambda: lab.kubectl("get", "pod", "-n", "shop", "v2", "--no-headers").stdout.split()[1:4:2], _is_ready_again)
    until(lambda: lab.probe("v2.shop").get("http://127.0.0.1:8000/")["status"], lambda code: code == 200)


def _is_ready_again(cells: list[str]) -> bool:
    return cells == ["2/2", "1"]


def test_a_program_of_a_host_is_started_again(lab: Lab) -> None:
    before = lab.state.processes["echo/tcp"]
    kill(before)
    until(lambda: lab.state.processes["echo/tcp"] != before)
    until(lambda: lab.probe(CLIENT).tcp("10.122.24.142", 9000, "hello")["received"] == "hello")


def test_a_killed_agent_is_started_again_and_adopts_its_envoy(lab: Lab) -> None:
    envoy, before = lab.envoy_pid(CLIENT), lab.state.processes[f"{CLIENT}/agent"]
    kill(before)
    until(lambda: lab.state.processes[f"{CLIENT}/agent"] != before)

    def adopted() -> bool:
        with contextlib.suppress(OSError, AssertionError, KeyError, TypeError):
            return lab.envoy_pid(CLIENT) == envoy
        return False

    until(adopted)
    assert {row["workload"]: row["restarts"] for row in status(lab)}["client"] == 1


def test_a_token_is_renewed_in_time_and_never_half_written(lab: Lab) -> None:
    token: Path = lab.folders.lab(lab.name).token(CLIENT)
    before, inode = token.read_text(), token.stat().st_ino
    token.write_text(before.rpartition(".")[0])  # without its signature, but with its times: nothing is due
    time.sleep(0.1)
    token.write_text("no token")
    fresh = until(token.read_text, lambda text: text.count(".") == 2)
    assert fresh != before and token.stat().st_ino != inode
    assert token.stat().st_mode & 0o777 == 0o600 and token.stat().st_uid == os.getuid()


def test_nothing_stays_of_a_lab_with_deployments() -> None:
    with running_lab() as made:
        made.apply(deployment())
        until(lambda: len(pods(made)) == 2 and any(row["workload"].startswith("api-") for row in status(made)))
        made.down()
        assert made.left_behind() == []
