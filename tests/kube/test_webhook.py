"""The injection webhook as a real API server calls it."""

import contextlib
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.certificates import Authority
from tests.kube import kubetest
from tests.kube.cluster import TIDEGATE, Cluster, Json, eventually, listed, namespace
from tidegate.api.schema import crd_manifests

pytestmark = pytest.mark.kube

ENABLED = {"istio-injection": "enabled"}
INJECT = "sidecar.istio.io/inject"


@dataclass(frozen=True)
class Webhook:
    """A webhook that runs, and where it tells what it did."""

    port: int
    log: Path


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A control plane without nodes: pods are admitted and stay pending."""
    if reason := kubetest.unavailable():
        pytest.skip(reason)
    with kubetest.control_plane(tmp_path_factory.mktemp("cluster")) as kubeconfig:
        yield Cluster(kubeconfig)


@pytest.fixture(scope="module")
def webhook(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Webhook]:
    """A webhook beside the cluster, which calls it."""
    folder, authority = tmp_path_factory.mktemp("webhook"), Authority()
    pair = authority.issue("localhost")
    for kind, content in {"ca": authority.roots, "crt": pair.certificate, "key": pair.key}.items():
        (folder / f"tls.{kind}").write_bytes(content)
    command = [*TIDEGATE, "webhook", "--tls-cert", folder / "tls.crt", "--tls-key", folder / "tls.key"]
    command += ["--kubeconfig", cluster.kubeconfig]
    with (folder / "log").open("w") as log:
        more = ["--host", "127.0.0.1", "--port", "0"]
        process = subprocess.Popen([*command, *more], stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        line = kubetest.first_line(process, 60, (folder / "log").read_text)
        port = int(line.removesuffix("/inject").rpartition(":")[2])
        register(cluster, folder / "tls.ca", f"https://localhost:{port}")
        cluster.apply(namespace("shop", **ENABLED))
        yield Webhook(port, folder / "log")
    finally:
        process.terminate()
        process.wait(30)
        if process.stdout:
            process.stdout.close()


def register(cluster: Cluster, roots: Path, url: str, revision: str = "default") -> None:
    """Have pods sent to a webhook; returns once the API server does so."""
    command = [*TIDEGATE, "webhook", "manifest", "--ca", roots, "--url", url, "--revision", revision]
    manifest = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    cluster.kubectl("apply", "-f", "-", stdin=manifest)
    name = f"tidegate-probe-{revision}"
    cluster.apply(namespace(name, **{"istio.io/rev": revision}))
    spec = {"containers": [{"name": "app", "image": "localhost/app:1"}]}
    pod = json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "probe"}, "spec": spec})

    def called() -> bool:
        done = cluster.tried("create", "-n", name, "--dry-run=server", "-o", "json", "-f", "-", stdin=pod)
        return "istio-proxy" in done.stdout or "sidecar-injector.istio.io" in done.stderr

    eventually(called)


def a_pod(name: str, where: str = "shop", *, labels: Json | None = None, annotations: Json | None = None) -> Json:
    """A pod that says what the API server would otherwise add: both ways of injecting see the same."""
    container = {
        "name": "app",
        "image": "localhost/app:1",
        "ports": [{"containerPort": 8080, "protocol": "TCP"}],
        "readinessProbe": {"httpGet": {"path": "/ok", "port": 8080, "scheme": "HTTP"}, "timeoutSeconds": 1},
    }
    meta = {"name": name, "namespace": where, "labels": {"app": "web", **(labels or {})}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {**meta, "annotations": annotations or {}},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 0},
    }


def a_deployment(name: str, annotations: Json) -> Json:
    pod = a_pod(name, annotations=annotations)
    template = {"metadata": {k: pod["metadata"][k] for k in ("labels", "annotations")}, "spec": pod["spec"]}
    template["spec"]["terminationGracePeriodSeconds"] = 30
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "web"}}, "template": template},
    }


def injected(pod: Json) -> bool:
    return any(each["name"] == "istio-proxy" for each in pod["spec"].get("initContainers", ()))


def settled(pod: Json) -> Json:
    """What of a stored pod does not differ from one to the next."""
    kept = {part: pod["metadata"][part] for part in ("labels", "annotations")}
    text = json.dumps({**kept, "spec": pod["spec"]})
    access = next(each["name"] for each in pod["spec"]["volumes"] if each["name"].startswith("kube-api-access-"))
    found: Json = json.loads(text.replace(access, "kube-api-access"))
    return found


def test_a_pod_comes_out_as_kube_inject_makes_it(cluster: Cluster, webhook: Webhook) -> None:
    pod = a_pod("alike", annotations={"traffic.sidecar.istio.io/excludeOutboundPorts": "3306"})
    cluster.create(pod)
    by_webhook = cluster.get("pod", "alike", "shop")
    command = [*TIDEGATE, "kube-inject", "-f", "-"]
    done = subprocess.run(command, input=json.dumps(pod), capture_output=True, text=True, check=True, timeout=60)
    cluster.kubectl("delete", "pod", "alike", "-n", "shop", "--now")
    cluster.create(next(yaml.safe_load_all(done.stdout)))
    assert injected(by_webhook)
    assert settled(by_webhook) == settled(cluster.get("pod", "alike", "shop"))


WHO = {
    "enabled": (ENABLED, {}, True),
    "revision": ({"istio.io/rev": "default"}, {}, True),
    "disabled": ({"istio-injection": "disabled"}, {}, False),
    "disabled-though-asked": ({"istio-injection": "disabled"}, {INJECT: "true"}, False),
    "unlabelled": ({}, {}, False),
    "unlabelled-and-asked": ({}, {INJECT: "true"}, True),
    "unlabelled-pod-of-the-revision": ({}, {"istio.io/rev": "default"}, True),
    "enabled-and-refused": (ENABLED, {INJECT: "false"}, False),
    "another-revision": ({"istio.io/rev": "nobodys"}, {}, False),
}


@pytest.mark.parametrize("case", WHO)
def test_labels_choose_who_gets_a_sidecar(cluster: Cluster, webhook: Webhook, case: str) -> None:
    of_namespace, of_pod, expected = WHO[case]
    cluster.apply(namespace(case, **of_namespace))
    pod = a_pod("web", case, labels=of_pod)
    eventually(lambda: cluster.tried("get", "serviceaccount", "default", "-n", case).returncode == 0)
    cluster.create(pod)
    assert injected(cluster.get("pod", "web", case)) is expected


def test_a_pod_of_the_hosts_network_is_left_alone_with_the_reason_logged(cluster: Cluster, webhook: Webhook) -> None:
    pod = a_pod("on-the-host")
    pod["spec"]["hostNetwork"] = True
    cluster.create(pod)
    assert not injected(cluster.get("pod", "on-the-host", "shop"))
    said = [line for line in webhook.log.read_text().splitlines() if "shop/on-the-host" in line]
    assert said and "host network" in said[-1]


def test_the_pods_of_a_deployment_belong_to_it(cluster: Cluster, webhook: Webhook) -> None:
    cluster.apply(a_deployment("reviews", {}))
    pod = eventually(lambda: cluster.list("pods", "shop", "pod-template-hash"))[0]
    assert injected(pod)
    proxy = next(each for each in pod["spec"]["initContainers"] if each["name"] == "istio-proxy")
    variables = {each["name"]: each.get("value") for each in proxy["env"]}
    assert variables["ISTIO_META_WORKLOAD_NAME"] == "reviews"
    assert variables["ISTIO_META_OWNER"] == "kubernetes://apis/apps/v1/namespaces/shop/deployments/reviews"


BAD = {"traffic.sidecar.istio.io/includeOutboundIPRanges": "10.0.0.0/33"}


def test_bad_values_are_refused_in_words_that_kubectl_shows(cluster: Cluster, webhook: Webhook) -> None:
    said = cluster.create(a_pod("bad", annotations=BAD), code=1)
    assert "denied the request" in said
    assert "traffic.sidecar.istio.io/includeOutboundIPRanges" in said and "10.0.0.0/33" in said


def test_the_refused_pods_of_a_deployment_are_told_in_its_replica_set(cluster: Cluster, webhook: Webhook) -> None:
    cluster.apply(a_deployment("ratings", BAD))

    def refused() -> str:
        found = cluster.list("replicasets", "shop")
        own = [each for each in found if each["metadata"]["name"].startswith("ratings-")]
        told = [c["message"] for each in own for c in each.get("status", {}).get("conditions", ())]
        return next((text for text in told if "includeOutboundIPRanges" in text), "")

    assert "10.0.0.0/33" in eventually(refused)


def test_kubectl_shows_the_warnings(cluster: Cluster, webhook: Webhook) -> None:
    pod = a_pod("warned", annotations={"traffic.sidecar.istio.io/excludeOutboundPort": "3306"})
    done = cluster.tried("create", "-f", "-", stdin=json.dumps(pod))
    assert done.returncode == 0
    assert "Warning: " in done.stderr and "excludeOutboundPorts" in done.stderr


def test_services_that_ranges_leave_out_are_named(cluster: Cluster, webhook: Webhook) -> None:
    pod = a_pod("narrow", annotations={"traffic.sidecar.istio.io/includeOutboundIPRanges": "203.0.113.0/24"})

    def said() -> str:
        """The cluster is read while the webhook serves already."""
        return cluster.tried("create", "--dry-run=server", "-f", "-", stdin=json.dumps(pod)).stderr

    assert "kubernetes.default" in eventually(lambda: text if "lie outside" in (text := said()) else "")


def test_proxy_configs_count_once_the_cluster_has_the_kind(cluster: Cluster, webhook: Webhook) -> None:
    """The webhook has started without it, which its log tells."""
    assert "ProxyConfigs cannot be read" in webhook.log.read_text()
    defined = next(each for each in crd_manifests() if each["spec"]["names"]["kind"] == "ProxyConfig")
    cluster.apply(defined)
    cluster.kubectl("wait", "--for=condition=Established", f"crd/{defined['metadata']['name']}", "--timeout=60s")
    meta = {"name": "few", "namespace": "shop"}
    spec = {"selector": {"matchLabels": {"app": "web"}}, "concurrency": 3}
    cluster.apply({"apiVersion": "networking.istio.io/v1beta1", "kind": "ProxyConfig", "metadata": meta, "spec": spec})
    pod = json.dumps(a_pod("configured"))

    def told() -> bool:
        done = cluster.tried("create", "--dry-run=server", "-o", "json", "-f", "-", stdin=pod)
        return "concurrency" in done.stdout

    eventually(told)


def test_several_pods_at_once(cluster: Cluster, webhook: Webhook) -> None:
    pods = [a_pod(f"many-{number}", labels={"many": "yes"}) for number in range(20)]
    cluster.kubectl("create", "-f", "-", stdin=listed(*pods))
    found = cluster.list("pods", "shop", "many=yes")
    assert len(found) == 20 and all(map(injected, found))


def test_no_pod_slips_past_a_webhook_that_is_gone(cluster: Cluster, webhook: Webhook, tmp_path: Path) -> None:
    authority = tmp_path / "ca"
    authority.write_bytes(Authority().roots)
    register(cluster, authority, f"https://localhost:{webhook.port}", revision="gone")
    with contextlib.ExitStack() as stack:
        stack.callback(cluster.kubectl, "delete", "mutatingwebhookconfiguration", "istio-sidecar-injector-gone")
        cluster.apply(namespace("lost", **{"istio.io/rev": "gone"}))
        said = cluster.create(a_pod("web", "lost"), code=1)
        assert "failed calling webhook" in said and "rev.namespace.sidecar-injector.istio.io" in said
