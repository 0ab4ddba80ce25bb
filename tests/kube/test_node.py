"""A mesh on a real node: the image, the control plane from `tidegate manifest`, pods that the webhook injected."""

import contextlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tidegate
from tests.kube import kubetest, node
from tests.kube.cluster import TIDEGATE, Cluster, Json, eventually, listed, namespace
from tests.kube.node import Node

pytestmark = [pytest.mark.kube, pytest.mark.lab]

PROGRAMS = kubetest.HERE / "programs"
SYSTEM, SHOP = "istio-system", "shop"
ROOT = "root-cert.pem"
PYTHON = "/opt/tidegate/bin/python"
KINDS = {
    "native": {},
    "classic": {
        "sidecar.istio.io/nativeSidecar": "false",
        "proxy.istio.io/config": '{"holdApplicationUntilProxyStarts": true}',
    },
    "tproxy": {"sidecar.istio.io/interceptionMode": "TPROXY"},
}
"""How the sidecar runs: annotations of the pod."""
NAMES = ("native", "classic", "tproxy", "nftables")
"""Each is a server, and a client of the others."""
IMAGE = f"localhost/tidegate/proxyv2:{tidegate.__version__}"
OUTSIDE_PORT = 8000


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node with the image, and the control plane in it."""
    if reason := node.unavailable():
        pytest.skip(reason)
    archive = tmp_path_factory.mktemp("image") / "image.tar"
    command = [kubetest.ROOT / "scripts" / "image", "--docker", archive]
    building = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        with node.running(tmp_path_factory.mktemp("node")) as found:
            said, _ = building.communicate(timeout=1200)
            assert building.returncode == 0, said
            found.import_image(archive)
            archive.unlink()
            install(found)
            yield found
    finally:
        building.terminate()
        building.wait(60)


def install(found: Node) -> None:
    """What a user does by hand: docs/kubernetes.md."""
    pki, cluster = found.state / "pki", found.cluster
    told("certificate", "--dir", pki, "--name", f"istiod.{SYSTEM}.svc")
    cluster.kubectl("create", "namespace", SYSTEM)
    pair = (f"--cert={pki / 'tls.crt'}", f"--key={pki / 'tls.key'}")
    cluster.kubectl("create", "secret", "tls", "istiod-tls", "-n", SYSTEM, *pair)
    cluster.kubectl("apply", "--server-side", "-f", "-", stdin=told("manifest", "--ca", pki / ROOT))
    cluster.rolled_out("istiod", SYSTEM)


def told(*words: str | Path) -> str:
    """What a command of tidegate prints."""
    return subprocess.run([*TIDEGATE, *words], capture_output=True, text=True, check=True, timeout=60).stdout


@pytest.fixture(scope="module")
def cluster(running: Node) -> Cluster:
    """The cluster with a pod of each kind."""
    cluster = running.cluster
    roots = {ROOT: (running.state / "pki" / ROOT).read_text()}
    programs = {each.name: each.read_text() for each in PROGRAMS.iterdir() if each.suffix == ".py"}
    cluster.apply(
        namespace(SHOP, **{"istio-injection": "enabled"}),
        config_map("istio-ca-root-cert", roots),
        config_map("programs", programs),
        *(each for kind in KINDS for each in server(kind, KINDS[kind])),
    )
    cluster.kubectl("apply", "-f", "-", stdin=injected_by_hand(server("nftables", {})))
    for name in NAMES:
        cluster.rolled_out(name, SHOP, running.told)
    return cluster


def injected_by_hand(objects: list[Json]) -> str:
    """What `tidegate kube-inject` makes; the webhook leaves such pods as they are."""
    command = [*TIDEGATE, "kube-inject", "--set", "global.nativeNftables=true", "-f", "-"]
    return subprocess.run(
        command, input=listed(*objects), capture_output=True, text=True, check=True, timeout=60
    ).stdout


def config_map(name: str, data: dict[str, str]) -> Json:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": SHOP}, "data": data}


def server(name: str, annotations: Json) -> list[Json]:
    made = workload(name, annotations, ["server.py", "0.0.0.0", "8080"])
    container = made["spec"]["template"]["spec"]["containers"][0]
    container["readinessProbe"] = {"httpGet": {"path": "/ok", "port": 8080}, "periodSeconds": 1, "failureThreshold": 1}
    ports = [{"name": "http", "port": 80, "targetPort": 8080}]
    meta = {"name": name, "namespace": SHOP}
    return [
        {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": {"selector": {"app": name}, "ports": ports}},
        made,
    ]


def workload(name: str, annotations: Json, program: list[str]) -> Json:
    template = {"metadata": {"labels": {"app": name}, "annotations": annotations}, "spec": pod_of(program)}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": SHOP},
        "spec": {"selector": {"matchLabels": {"app": name}}, "template": template},
    }


def pod_of(program: list[str]) -> Json:
    container = {
        "name": "app",
        "image": IMAGE,
        "command": [PYTHON, f"/programs/{program[0]}", *program[1:]],
        "ports": [{"containerPort": 8080}],
        "securityContext": {"runAsUser": 1000, "runAsGroup": 1000},
        "volumeMounts": [{"name": "programs", "mountPath": "/programs"}],
    }
    return {"containers": [container], "volumes": [{"name": "programs", "configMap": {"name": "programs"}}]}


def get(cluster: Cluster, url: str, client: str = "native") -> Json:
    """What a client's request comes to."""
    found: Json = json.loads(cluster.kubectl(*asking(url, client)))
    return found


def asking(url: str, client: str = "native") -> tuple[str, ...]:
    return ("exec", "-n", SHOP, f"deploy/{client}", "-c", "app", "--", PYTHON, "/programs/client.py", url)


def pods(cluster: Cluster, name: str) -> list[Json]:
    return cluster.list("pods", SHOP, f"app={name}")


def logs(cluster: Cluster, name: str, container: str) -> str:
    return cluster.kubectl("logs", "-n", SHOP, f"deploy/{name}", "-c", container)


def test_the_control_plane_has_the_rights_that_it_needs_and_no_others(running: Node) -> None:
    def may(verb: str, what: str, *more: str) -> str:
        account = f"--as=system:serviceaccount:{SYSTEM}:istiod"
        return running.cluster.tried("auth", "can-i", verb, what, account, "-A", *more).stdout.strip()

    entries = "serviceentries.networking.istio.io"
    assert (
        may("list", "secrets") == may("watch", entries) == may("create", "tokenreviews.authentication.k8s.io") == "yes"
    )
    assert (may("update", entries, "--subresource=status"), may("update", entries)) == ("yes", "no")
    others = [("create", "pods"), ("get", "secrets"), ("delete", "services"), ("list", "deployments.apps")]
    assert [may(*each) for each in others] == ["no"] * len(others)


@pytest.mark.parametrize("name", NAMES)
def test_the_init_step_puts_the_rules_in(cluster: Cluster, name: str) -> None:
    said = logs(cluster, name, "istio-init")
    assert "rules applied and verified" in said
    assert ("native nftables" in said) is (name == "nftables")


@pytest.mark.parametrize("kind", KINDS)
def test_the_sidecar_runs_where_it_should(cluster: Cluster, kind: str) -> None:
    (pod,) = pods(cluster, kind)
    parts = {part: [each["name"] for each in pod["spec"][part]] for part in ("containers", "initContainers")}
    native = kind != "classic"
    assert ("istio-proxy" in parts["initContainers"]) is native
    assert ("istio-proxy" in parts["containers"]) is not native
    states = [*pod["status"]["containerStatuses"], *pod["status"]["initContainerStatuses"]]
    assert {each["name"]: each["restartCount"] for each in states if each["restartCount"]} == {}


@pytest.mark.parametrize(
    ("client", "name"),
    [
        ("native", "classic"),
        ("native", "nftables"),
        ("classic", "native"),
        ("classic", "nftables"),
        ("nftables", "native"),
        ("tproxy", "native"),
    ],
)
def test_a_request_passes_both_sidecars(cluster: Cluster, client: str, name: str) -> None:
    found = get(cluster, f"http://{name}.{SHOP}.svc.cluster.local/hello", client)
    assert (found["status"], found["headers"]["server"]) == (200, "envoy")
    assert found["body"]["headers"]["x-envoy-attempt-count"] == "1", "the client's sidecar"
    assert found["body"]["peer"] == "127.0.0.6", "the server's sidecar"


def test_tproxy_keeps_the_callers_address(cluster: Cluster) -> None:
    found = get(cluster, "http://tproxy/hello")
    (client,) = pods(cluster, "native")
    assert (found["status"], found["body"]["peer"]) == (200, client["status"]["podIP"])
    assert found["body"]["headers"]["x-envoy-attempt-count"] == "1"


def test_the_control_plane_knows_the_proxies_by_their_tokens(cluster: Cluster) -> None:
    words = ("exec", "-n", SYSTEM, "deploy/istiod", "-c", "discovery", "--", "tidegate", "proxy-status", "-o", "json")
    text = cluster.kubectl(*words)
    for name in NAMES:
        (pod,) = pods(cluster, name)
        assert f"{pod['metadata']['name']}.{SHOP}" in text


def test_probes_reach_the_application(cluster: Cluster) -> None:
    (pod,) = pods(cluster, "classic")
    probe = next(each for each in pod["spec"]["containers"] if each["name"] == "app")["readinessProbe"]["httpGet"]
    assert (probe["path"], probe["port"]) == ("/app-health/app/readyz", 15020)

    def ready() -> list[bool]:
        (found,) = pods(cluster, "classic")
        return [each["ready"] for each in found["status"]["containerStatuses"] if each["name"] == "app"]

    assert ready() == [True]
    get(cluster, f"http://{pod['status']['podIP']}:8080/break")
    eventually(lambda: ready() == [False])
    get(cluster, f"http://{pod['status']['podIP']}:8080/mend")
    eventually(lambda: ready() == [True])


@contextlib.contextmanager
def outside_server(running: Node) -> Iterator[str]:
    """A server of no mesh; its URL."""
    command = [*running.within, "python3", PROGRAMS / "server.py", node.OUTSIDE, str(OUTSIDE_PORT)]
    process = subprocess.Popen(command)
    try:
        yield f"http://{node.OUTSIDE}:{OUTSIDE_PORT}/"
    finally:
        process.terminate()
        process.wait(10)


def test_what_may_leave_the_mesh_is_changed_with_kubectl(running: Node, cluster: Cluster) -> None:
    closed = {"mesh": "outboundTrafficPolicy: {mode: REGISTRY_ONLY}\n"}
    policy = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "istio", "namespace": SYSTEM}}
    with outside_server(running) as url:
        eventually(lambda: get(cluster, url)["status"] == 200)
        cluster.apply({**policy, "data": closed})
        eventually(lambda: get(cluster, url)["status"] == 0)
        cluster.apply(entry("outside"))
        found = eventually(lambda: reached if (reached := get(cluster, url))["status"] else None)
        assert (found["status"], found["headers"]["server"]) == (200, "envoy")
        cluster.kubectl("delete", "serviceentry", "outside", "-n", SHOP)
        eventually(lambda: get(cluster, url)["status"] == 0)
    cluster.apply({**policy, "data": {"mesh": "{}\n"}})


def entry(name: str) -> Json:
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "ServiceEntry",
        "metadata": {"name": name, "namespace": SHOP},
        "spec": {
            "hosts": [f"{name}.example.com"],
            "addresses": [node.OUTSIDE],
            "ports": [{"number": OUTSIDE_PORT, "name": "http", "protocol": "HTTP"}],
            "resolution": "STATIC",
            "location": "MESH_EXTERNAL",
            "endpoints": [{"address": node.OUTSIDE}],
        },
    }


def test_an_object_says_in_its_status_what_is_wrong_with_it(cluster: Cluster) -> None:
    first, second = entry("first"), entry("second")
    cluster.apply(first, second)
    eventually(lambda: cluster.get("serviceentry", "second", SHOP).get("status", {}).get("conditions"))
    cluster.kubectl("delete", "serviceentry", "first", "second", "-n", SHOP)


def test_a_job_ends_with_its_application(cluster: Cluster) -> None:
    """The native sidecar is there before the application, and goes after it."""
    spec = pod_of(["client.py", "http://native/job"])
    meta = {"name": "once", "namespace": SHOP}
    quick = {"proxy.istio.io/config": '{"terminationDrainDuration": "1s"}'}
    labelled = {"labels": {"app": "once"}, "annotations": quick}
    template = {"metadata": labelled, "spec": {**spec, "restartPolicy": "Never"}}
    cluster.apply({"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, "spec": {"template": template}})
    cluster.kubectl("wait", "-n", SHOP, "--for=condition=complete", "--timeout=60s", "job/once")
    said = json.loads(cluster.kubectl("logs", "-n", SHOP, "job/once", "-c", "app"))
    assert (said["status"], said["headers"]["server"]) == (200, "envoy")


def test_requests_outlive_the_deletion_of_their_pods(cluster: Cluster) -> None:
    """The application ends with its last request, and a sidecar not before it."""
    found = [pods(cluster, name)[0] for name in ("native", "classic")]
    names = [pod["metadata"]["name"] for pod in found]
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(asking_slowly(cluster, pod["status"]["podIP"])) for pod in found]
        for name in names:
            eventually(lambda name=name: "slow" in cluster.kubectl("logs", name, "-n", SHOP, "-c", "app"))
        cluster.kubectl("delete", "pod", *names, "-n", SHOP, "--wait=false")
        said = [each.communicate(timeout=60)[0] for each in slow]
    assert [json.loads(each)["status"] for each in said] == [200, 200]
    cluster.kubectl("wait", "-n", SHOP, "--for=delete", *(f"pod/{name}" for name in names), "--timeout=60s")


@contextlib.contextmanager
def asking_slowly(cluster: Cluster, address: str) -> "Iterator[subprocess.Popen[str]]":
    """A request that takes two seconds, while it is made."""
    command = cluster.command(*asking(f"http://{address}:8080/slow", "nftables"))
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait(10)


def test_what_the_image_holds(cluster: Cluster) -> None:
    def said(*command: str) -> Any:
        return cluster.tried("exec", "-n", SHOP, "deploy/nftables", "-c", "istio-proxy", "--", *command)

    assert said("id", "-u").stdout == "1337\n"
    assert "1.40" in said("envoy", "--version").stdout
    assert "tidegate" in said("tidegate", "--version").stdout
    for program in ("pilot-agent", "iptables-legacy", "iptables-nft", "ip6tables-nft", "nft", "ip"):
        assert said("sh", "-c", f"command -v {program}").returncode == 0, program
    assert said("touch", "/etc/changed").returncode != 0, "the root file system is read-only"
    assert said("sh", "-c", "command -v pip").returncode != 0, "nothing that builds is left"
