"""``tidegate kube-inject`` and ``tidegate webhook``."""

from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from tests.certificates import Authority
from tidegate.cli.main import cli
from tidegate.kit.errors import TidegateError

WEB = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  template:
    metadata: {labels: {app: web}, annotations: {traffic.sidecar.istio.io/excludeOutboundIPRanges: 10.96.0.0/16}}
    spec: {containers: [{name: app, image: app}]}
"""
SERVICE = """\
apiVersion: v1
kind: Service
metadata: {name: db, namespace: shop}
spec: {clusterIP: 10.96.0.7, ports: [{port: 80}]}
"""


def run(*arguments: str, given: str = WEB) -> Result:
    return CliRunner().invoke(cli, ["kube-inject", "-f", "-", *arguments], input=given)


def test_manifests_come_out_with_sidecars_in_their_order() -> None:
    result = run(given=f"{SERVICE}---\n{WEB}")
    assert result.exit_code == 0, result.output
    service, web = (each for each in yaml.safe_load_all(result.stdout) if each)
    assert service == yaml.safe_load(SERVICE)
    assert [c["name"] for c in web["spec"]["template"]["spec"]["initContainers"]] == ["istio-init", "istio-proxy"]


def test_injecting_what_came_out_changes_nothing() -> None:
    once = run().stdout
    again = run(given=once)
    assert again.stdout == once
    assert "nothing was changed" in again.stderr


def test_values_the_mesh_configuration_and_the_kind_of_sidecar_are_options(tmp_path: Path) -> None:
    values, mesh = tmp_path / "values.yaml", tmp_path / "mesh.yaml"
    values.write_text("global: {proxy: {logLevel: debug}}")
    mesh.write_text("trustDomain: example.org")
    options = ("--values", str(values), "--mesh-config", str(mesh), "--set", "global.tag=v9", "--no-native-sidecars")
    found = yaml.safe_load(run(*options).stdout.removesuffix("---\n"))
    proxy = found["spec"]["template"]["spec"]["containers"][1]
    assert "--proxyLogLevel=debug" in proxy["args"]
    assert proxy["image"].endswith(":v9")
    assert {"name": "TRUST_DOMAIN", "value": "example.org"} in proxy["env"]


def test_services_that_a_range_leaves_out_are_named() -> None:
    assert "db.shop: connections to them bypass the sidecar" in run(given=f"{SERVICE}---\n{WEB}").stderr


def test_explain_prints_reasons_alone() -> None:
    result = run("--explain", given=WEB.replace("spec: {containers", "spec: {hostNetwork: true, containers"))
    assert result.stdout == 'Skipping injection because Deployment "shop/web" has host networking enabled\n'


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("{", "<stdin>:2"),
        ("- a", "expected a Kubernetes object"),
        (WEB.replace("10.96.0.0/16", "everywhere"), "excludeOutboundIPRanges"),
        (WEB.replace("[{name: app, image: app}]", "app"), "spec.containers: expected a list"),
    ],
)
def test_bad_manifests_are_refused_and_nothing_is_printed(given: str, expected: str) -> None:
    result = run(given=given)
    assert isinstance(result.exception, TidegateError)
    assert expected in str(result.exception)
    assert result.stdout == ""


def test_the_webhooks_manifest(tmp_path: Path) -> None:
    ca = tmp_path / "ca.crt"
    ca.write_bytes(Authority().issue("x").certificate)
    result = CliRunner().invoke(cli, ["webhook", "manifest", "--ca", str(ca), "--url", "https://192.0.2.1:15017"])
    assert result.exit_code == 0, result.output
    assert yaml.safe_load(result.stdout)["kind"] == "MutatingWebhookConfiguration"


@pytest.mark.parametrize("url", ["http://192.0.2.1", "192.0.2.1"])
def test_a_webhook_is_called_over_https_only(tmp_path: Path, url: str) -> None:
    ca = tmp_path / "ca.crt"
    ca.write_bytes(Authority().issue("x").certificate)
    result = CliRunner().invoke(cli, ["webhook", "manifest", "--ca", str(ca), "--url", url])
    assert result.exit_code == 2
    assert "expected https://HOST:PORT" in result.stderr


def test_the_webhook_wants_a_certificate() -> None:
    result = CliRunner().invoke(cli, ["webhook"])
    assert result.exit_code == 2
    assert "--tls-cert and --tls-key are required" in result.stderr
