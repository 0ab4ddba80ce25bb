"""Envoy's validate mode accepts what ``tidegate compile`` prints, with routes and endpoints put in place."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tidegate.cli.main import cli
from tidegate.dump.read import parse
from tidegate.kit import envoy_binary

pytestmark = pytest.mark.envoy

Json = dict[str, Any]

MANIFESTS = """
apiVersion: v1
kind: Service
metadata: {name: orders, namespace: shop}
spec:
  clusterIP: 10.96.0.10
  selector: {app: orders}
  ports: [{name: http, port: 80, targetPort: 8080}, {name: tcp-raw, port: 9000}]
---
apiVersion: v1
kind: Pod
metadata: {name: orders-0, namespace: shop, labels: {app: orders}}
spec: {containers: [{name: app, ports: [{containerPort: 8080}]}]}
status: {phase: Running, podIP: 10.1.0.5, conditions: [{type: Ready, status: "True"}]}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: partner, namespace: shop}
spec:
  hosts: [partner.example.com]
  ports: [{number: 80, name: http, protocol: HTTP}, {number: 443, name: tls, protocol: TLS}]
  resolution: DNS
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: partner, namespace: shop}
spec:
  hosts: [partner.example.com]
  http:
  - match: [{uri: {prefix: /old}}]
    fault: {abort: {httpStatus: 410, percentage: {value: 50}}}
    route: [{destination: {host: partner.example.com}}]
  - timeout: 3s
    route: [{destination: {host: partner.example.com}}]
"""


def in_place(dump: Json) -> Json:
    """A bootstrap whose static resources are those of the dump: routes inside listeners, endpoints inside clusters, and
    secrets from the discovery service, for which validation does not wait."""
    read = parse(json.dumps(dump).encode())
    routes = {each["name"]: _plain(each) for each in read.raw_routes()}
    endpoints = {
        entry["endpointConfig"]["clusterName"]: _plain(entry["endpointConfig"])
        for part in dump["configs"]
        for entry in part.get("dynamicEndpointConfigs", ())
    }
    clusters = [_with_endpoints(_plain(each), endpoints) for each in read.raw_clusters()]
    listeners = [_with_routes(_plain(each), routes) for each in read.raw_listeners()]
    return {"node": {"id": "n", "cluster": "c"}, "staticResources": {"listeners": listeners, "clusters": clusters}}


def _plain(resource: Json) -> Json:
    return {key: value for key, value in resource.items() if key != "@type"}


def _with_endpoints(cluster: Json, endpoints: dict[str, Json]) -> Json:
    if cluster.get("type") != "EDS":
        return cluster
    found = {key: value for key, value in cluster.items() if key not in ("edsClusterConfig", "type")}
    return {**found, "type": "STATIC", "loadAssignment": endpoints[cluster["name"]]}


def _with_routes(value: Any, routes: dict[str, Json]) -> Any:
    if isinstance(value, list):
        return [_with_routes(each, routes) for each in value]
    if not isinstance(value, dict):
        return value
    out = {key: _with_routes(each, routes) for key, each in value.items() if key != "rds"}
    if str(out.get("@type")).endswith(".FileAccessLog"):
        out["path"] = "/dev/null"  # its folder is on the workload's machine only
    return {**out, "routeConfig": routes[value["rds"]["routeConfigName"]]} if "rds" in value else out


def compiled(*arguments: str, given: str | None = None) -> Json:
    result = CliRunner().invoke(cli, ["compile", *arguments], input=given)
    assert result.exit_code == 0, result.output
    found: Json = json.loads(result.stdout)
    return found


def assert_valid(dump: Json, folder: Path) -> None:
    file = folder / "envoy.json"
    file.write_text(json.dumps(in_place(dump)))
    command = [str(envoy_binary.find()), "--mode", "validate", "-c", str(file), "-l", "error"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr[-4000:]


def test_envoy_accepts_a_compiled_sidecar(tmp_path: Path) -> None:
    dump = compiled("-f", "-", "--proxy", "orders-0", "--no-certificates", given=MANIFESTS)
    assert_valid(dump, tmp_path)


GATEWAY = """
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge, namespace: shop}
spec:
  selector: {istio: edge}
  servers:
  - port: {number: 8080, name: http, protocol: HTTP}
    hosts: ["*"]
    tls: {httpsRedirect: true}
  - port: {number: 8443, name: https, protocol: HTTPS}
    hosts: [shop.example.com]
    tls: {mode: SIMPLE, credentialName: shop-cert}
  - port: {number: 9443, name: tls, protocol: TLS}
    hosts: ["*.pass.example.com"]
    tls: {mode: PASSTHROUGH}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: edge, namespace: shop}
spec:
  hosts: [shop.example.com]
  gateways: [edge]
  http: [{route: [{destination: {host: orders, port: {number: 80}}}]}]
"""
DUAL = """
---
apiVersion: v1
kind: Service
metadata: {name: both, namespace: shop}
spec:
  clusterIPs: [10.96.0.11, "fd00:96::11"]
  clusterIP: 10.96.0.11
  ipFamilies: [IPv4, IPv6]
  ipFamilyPolicy: RequireDualStack
  selector: {app: orders}
  ports: [{name: http, port: 81, targetPort: 8080}, {name: tcp, port: 9001}]
"""
PROXIES: dict[str, tuple[Json, tuple[str, ...]]] = {
    "sidecar": ({"ip": "10.1.0.9"}, ()),
    "router": ({"ip": "10.1.0.9", "type": "router", "labels": {"istio": "edge"}}, ()),
    "ipv6": ({"ip": "fd00::9"}, ()),
    "dual stack": ({"ips": ["10.1.0.9", "fd00::9"]}, ("--env=ISTIO_DUAL_STACK=true",)),
    "tproxy": ({"ip": "10.1.0.9", "metadata": {"INTERCEPTION_MODE": "TPROXY"}}, ()),
    "none": ({"ip": "10.1.0.9", "metadata": {"INTERCEPTION_MODE": "NONE"}}, ()),
}

_LISTENING = {"router": "8443", "ipv6": "::", "none": "127.0.0.1"}


@pytest.mark.parametrize("name", PROXIES)
def test_envoy_and_proxy_config_take_every_kind_of_proxy(tmp_path: Path, name: str) -> None:
    spec, options = PROXIES[name]
    file = tmp_path / "proxy.json"
    file.write_text(json.dumps({"name": "client", "namespace": "shop", **spec}))
    dump = compiled("-f", "-", "--proxy-spec", str(file), *options, given=MANIFESTS + GATEWAY + DUAL)
    assert_valid(dump, tmp_path)
    host = "shop.example.com" if name == "router" else "orders"
    shown = {kind: _table(kind, dump) for kind in ("listener", "route", "cluster", "endpoint")}
    assert host in shown["route"]
    assert "orders.shop.svc.cluster.local" in shown["cluster"]
    assert "10.1.0.5" in shown["endpoint"]
    assert _LISTENING.get(name, "0.0.0.0") in shown["listener"]


def _table(kind: str, dump: Json) -> str:
    result = CliRunner().invoke(cli, ["proxy-config", kind, "--file", "-"], input=json.dumps(dump))
    assert result.exit_code == 0, result.output
    return result.stdout


def scenarios() -> list[str]:
    root = Path(__file__).resolve().parents[3] / "shared" / "xds-goldens"
    return sorted(f.parent.name for f in root.glob("*/proxies.json"))


@pytest.mark.conformance
@pytest.mark.parametrize("name", scenarios() or ["absent"])
def test_envoy_accepts_compiled_scenarios(shared: Path, tmp_path: Path, name: str) -> None:
    folder = shared / "xds-goldens" / name
    mesh, env = folder / "mesh.yaml", folder / "env"
    for proxy in json.loads((folder / "proxies.json").read_text()):
        options = ["--mesh-config", str(mesh)] if mesh.exists() else []
        options += [f"--env={line}" for line in env.read_text().split()] if env.exists() else []
        dump = compiled(
            *("-f", str(folder / "config.yaml"), "--proxy-spec", str(folder / "proxies.json")),
            *("--proxy", proxy["name"], *options),
        )
        assert_valid(dump, tmp_path)
