"""Where ``tidegate kube-inject`` takes its settings from: files, an operator's file, a cluster's ConfigMaps."""

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from tests.unit.cli.test_injection_commands import WEB
from tidegate.cli.main import cli
from tidegate.kit.errors import TidegateError

TEMPLATE = """\
metadata:
  labels: {from: "{{ .Values.global.tag }}-{{ .MeshConfig.trustDomain }}-{{ .Revision }}"}
spec:
  containers: [{name: own, image: "{{ .ProxyImage }}"}]
"""
INJECTOR = yaml.dump({"templates": {"sidecar": TEMPLATE}, "policy": "enabled"})
API = "/api/v1/namespaces/{}/configmaps/{}"


@pytest.fixture(autouse=True)
def _no_cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


class Cluster(http.server.BaseHTTPRequestHandler):
    """An API server as far as it is asked: ConfigMaps and Services."""

    server: "Server"

    def do_GET(self) -> None:
        found = self.server.objects.get(self.path.partition("?")[0])
        body = json.dumps(found or {"kind": "Status", "code": 404, "reason": "NotFound", "message": "not found"})
        self.send_response(200 if found else 404)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: Any) -> None:
        pass


class Server(http.server.ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Cluster)
        service = {"metadata": {"name": "db", "namespace": "far"}, "spec": {"clusterIP": "10.96.0.9"}}
        self.objects: dict[str, Any] = {"/api/v1/services": {"kind": "ServiceList", "items": [service]}}

    def put(self, name: str, namespace: str = "istio-system", **data: str) -> None:
        found = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}
        self.objects[API.format(namespace, name)] = found


@pytest.fixture
def cluster() -> Iterator[Server]:
    server = Server()
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def kubeconfig(cluster: Server, tmp_path: Path) -> str:
    host, port = cluster.server_address[:2]
    entries = {
        "clusters": [{"name": "c", "cluster": {"server": f"http://{host!s}:{port}"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c"}}],
    }
    file = tmp_path / "kubeconfig"
    file.write_text(json.dumps({"current-context": "x", **entries}))
    return str(file)


def run(*arguments: str, given: str = WEB, **env: str) -> Result:
    return CliRunner().invoke(cli, ["kube-inject", "-f", "-", *arguments], input=given, env=env)


def pod(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.output
    (found,) = (each for each in yaml.safe_load_all(result.stdout) if each)
    template: dict[str, Any] = found["spec"]["template"]
    return template


def written(folder: Path, **files: str) -> dict[str, str]:
    for name, text in files.items():
        (folder / name).write_text(text)
    return {name: str(folder / name) for name in files}


class TestFiles:
    def test_the_three_that_istio_users_save_from_a_cluster(self, tmp_path: Path) -> None:
        values = json.dumps({"global": {"hub": "example.com/mesh", "tag": "v7"}})
        files = written(tmp_path, config=INJECTOR, mesh="trustDomain: example.org", values=values)
        made = pod(
            run(
                "--injectConfigFile",
                files["config"],
                "--meshConfigFile",
                files["mesh"],
                "--valuesFile",
                files["values"],
            )
        )
        assert made["metadata"]["labels"]["from"] == "v7-example.org-default"
        assert {"name": "own", "image": "example.com/mesh/proxyv2:v7"} in made["spec"]["containers"]

    def test_the_template_alone(self, tmp_path: Path) -> None:
        files = written(tmp_path, template=TEMPLATE)
        made = pod(run("--injectConfigFile", files["template"]))
        assert [each["name"] for each in made["spec"]["containers"]] == ["own", "app"]

    def test_an_operators_file_wins_over_others(self, tmp_path: Path) -> None:
        spec = {"hub": "one.example/a", "tag": "v8", "meshConfig": {"trustDomain": "two.org"}, "revision": "canary"}
        operator = yaml.dump({"kind": "IstioOperator", "spec": {**spec, "values": {"global": {"logAsJson": True}}}})
        files = written(
            tmp_path, operator=operator, mesh="trustDomain: one.org", values="global: {tag: v1}", config=INJECTOR
        )
        made = pod(
            run(
                *("--operatorFileName", files["operator"], "--meshConfigFile", files["mesh"]),
                *("--valuesFile", files["values"], "--injectConfigFile", files["config"]),
            )
        )
        assert made["metadata"]["labels"]["from"] == "v8-two.org-canary"

    def test_the_mesh_configuration_in_values(self, tmp_path: Path) -> None:
        files = written(tmp_path, values="meshConfig: {defaultConfig: {holdApplicationUntilProxyStarts: true}}")
        made = pod(run("--valuesFile", files["values"], "--no-native-sidecars"))
        assert made["spec"]["containers"][0]["name"] == "istio-proxy"

    def test_policy_and_selectors_choose_among_those_that_nobody_chose(self) -> None:
        made = pod(run("--set", "global.proxy.autoInject=disabled"))
        assert "initContainers" in made["spec"]

    @pytest.mark.parametrize(
        ("name", "text", "expected"),
        [
            ("--valuesFile", "global: 3", "global: expected a mapping, got 3"),
            ("--valuesFile", "global: {hub: {a: b}}", "global.hub: expected one value, got a mapping"),
            ("--valuesFile", "sidecarInjectorWebhook: {templates: []}", "templates: expected a mapping"),
            ("--valuesFile", "- a", "expected values, or an IstioOperator"),
            ("--valuesFile", "meshConfig: {trustDomain: [a]}", "trustDomain"),
            ("--injectConfigFile", "templates: 3", "templates: expected a mapping, got 3"),
            ("--injectConfigFile", "{{ .Vales }}", ".Vales: there is no such field"),
        ],
    )
    def test_what_cannot_be_used_is_named(self, tmp_path: Path, name: str, text: str, expected: str) -> None:
        result = run(name, written(tmp_path, given=text)["given"])
        assert isinstance(result.exception, TidegateError), result.output
        assert expected in str(result.exception)

    def test_names_that_nothing_reads_are_told(self, tmp_path: Path) -> None:
        values = "global: {proxy: {loglevel: info}, proxy_init: {}}\npilot: {autoscaleEnabled: true}"
        files = written(tmp_path, mesh="trustDomian: a", values=values)
        told = run("--meshConfigFile", files["mesh"], "--valuesFile", files["values"]).stderr.splitlines()
        assert told[:2] == [
            "warning: mesh configuration: trustDomian: unknown field",
            "warning: values: global.proxy.loglevel: unknown value; did you mean global.proxy.logLevel?",
        ]


class TestCluster:
    def test_what_no_file_gives_is_read(self, cluster: Server, kubeconfig: str) -> None:
        cluster.put("istio", mesh="trustDomain: live.org")
        cluster.put("istio-sidecar-injector", config=INJECTOR, values='{"global": {"tag": "v9"}}')
        assert pod(run("--kubeconfig", kubeconfig))["metadata"]["labels"]["from"] == "v9-live.org-default"
        assert pod(run(KUBECONFIG=kubeconfig))["metadata"]["labels"]["from"] == "v9-live.org-default"

    def test_a_file_wins(self, cluster: Server, kubeconfig: str, tmp_path: Path) -> None:
        cluster.put("istio", mesh="trustDomain: live.org")
        cluster.put("istio-sidecar-injector", config=INJECTOR, values='{"global": {"tag": "v9"}}')
        files = written(tmp_path, mesh="trustDomain: file.org")
        made = pod(run("--kubeconfig", kubeconfig, "--meshConfigFile", files["mesh"]))
        assert made["metadata"]["labels"]["from"] == "v9-file.org-default"

    def test_a_revision_and_a_namespace_have_maps_of_their_own(self, cluster: Server, kubeconfig: str) -> None:
        cluster.put("istio-canary", "mesh-system", mesh="trustDomain: canary.org")
        cluster.put("istio-sidecar-injector-canary", "mesh-system", config=INJECTOR, values="{}")
        made = pod(run("--kubeconfig", kubeconfig, "--revision", "canary", "-i", "mesh-system"))
        assert made["metadata"]["labels"]["from"].endswith("-canary.org-canary")

    def test_maps_by_name(self, cluster: Server, kubeconfig: str) -> None:
        cluster.put("own-mesh", mesh="trustDomain: own.org")
        cluster.put("own-injector", config=INJECTOR)
        options = ("--meshConfigMapName", "own-mesh", "--injectConfigMapName", "own-injector")
        assert "-own.org-" in pod(run("--kubeconfig", kubeconfig, *options))["metadata"]["labels"]["from"]

    def test_without_an_installation_defaults_count_and_that_is_told(self, kubeconfig: str) -> None:
        result = run("--kubeconfig", kubeconfig)
        assert pod(result)["spec"]["initContainers"][0]["name"] == "istio-init"
        assert "no ConfigMap istio-system/istio:" in result.stderr
        assert "no ConfigMap istio-system/istio-sidecar-injector:" in result.stderr

    def test_services_of_the_cluster_are_named_where_ranges_leave_them_out(self, kubeconfig: str) -> None:
        assert "db.far: connections to them bypass the sidecar" in run("--kubeconfig", kubeconfig).stderr

    @pytest.mark.parametrize("option", ["--meshConfigMapName", "--injectConfigMapName"])
    def test_a_map_that_is_named_must_be_there(self, kubeconfig: str, option: str) -> None:
        result = run("--kubeconfig", kubeconfig, option, "absent")
        assert isinstance(result.exception, TidegateError) and kubeconfig in str(result.exception)

    def test_its_key_must_be_there(self, cluster: Server, kubeconfig: str) -> None:
        cluster.put("own", other="x")
        result = run("--kubeconfig", kubeconfig, "--meshConfigMapName", "own")
        assert "ConfigMap own: data.mesh: expected it to be set; there are other" in str(result.exception)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--webhookConfig", "istio-sidecar-injector"), "--webhookConfig: sidecars are made here"),
        (("--xds-address", "istiod:15012"), "--xds-address: no control plane is asked"),
        (("--insecure",), "--insecure: no control plane is asked"),
        (("--meshConfigMapName", "istio"), "--meshConfigMapName: which cluster?"),
        (("--injectConfigFile", __file__, "--injectConfigMapName", "x"), "leave one out"),
    ],
)
def test_options_that_cannot_mean_anything_are_refused_by_name(arguments: tuple[str, ...], expected: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2 and expected in result.stderr


def test_the_result_goes_to_a_file(tmp_path: Path) -> None:
    result = run("-o", str(tmp_path / "out.yaml"))
    assert result.stdout == "" and "istio-init" in (tmp_path / "out.yaml").read_text()
