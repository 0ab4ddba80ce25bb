"""Envoy itself accepts what security policies become: filters of Istio's own cases, and every mode of mutual TLS."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from envoy.config.bootstrap.v3 import bootstrap_pb2

from tests.unit.envoy import given
from tidegate.api import decode, meshconfig
from tidegate.api.security import MutualTLSMode as Mode
from tidegate.envoy import filters, inbound, protos, security
from tidegate.envoy.inputs import SecurityInput
from tidegate.envoy.tls import SDS_CLUSTER
from tidegate.kit import envoy_binary
from tidegate.registry.model import labels_of
from tidegate.scope.authentication import PeerModes
from tidegate.scope.proxy import Interception

pytestmark = pytest.mark.envoy
HTTPBIN = ("foo", labels_of({"app": "httpbin", "version": "v1"}))


def validate(bootstrap: Any, folder: Path) -> None:
    bootstrap.node.id, bootstrap.node.cluster = "test", "test"
    file = folder / "bootstrap.pb"
    file.write_bytes(bootstrap.SerializeToString())
    command = [str(envoy_binary.find()), "--mode", "validate", "-c", str(file), "-l", "error"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr + done.stdout


def cases(shared: Path) -> list[dict[str, Any]]:
    folders = sorted((shared / "conformance/authz/cases").iterdir())
    return [{**json.loads((f / "case.json").read_text()), "folder": f} for f in folders]


def made(case: dict[str, Any]) -> list[Any]:
    text = (case["folder"] / case["input"]).read_text()
    policies = [decode.stored(raw) for raw in yaml.safe_load_all(text) if raw]
    mesh = meshconfig.parse(json.dumps(case["mesh"] or {}))
    domains = tuple(case["trust_domains"])
    return security.filters(policies, HTTPBIN, domains, mesh, case["filter_type"], case["custom_actions_only"])


def test_the_filters_of_policies(shared: Path, tmp_path: Path) -> None:
    bootstrap = bootstrap_pb2.Bootstrap()
    for number, case in enumerate(cases(shared)):
        found = bootstrap.static_resources.listeners.add(name=case["name"])
        found.address.CopyFrom(protos.socket_address("127.0.0.1", 10000 + number))
        chain = found.filter_chains.add()
        if case["filter_type"] == "tcp":
            chain.filters.extend([*made(case), filters.black_hole()])
            continue
        options = filters.HttpOptions(
            direction="inbound", stat_prefix="t", defaults=given.listener_defaults(), proxy=given.proxy()
        )
        routes = protos.RouteConfiguration(name="r", validate_clusters=protos.boolean(False))
        chain.filters.append(filters.http_connection_manager(options, routes, made(case)))
    for name in ("outbound|9000||my-custom-ext-authz.foo.svc.cluster.local", "BlackHoleCluster"):
        cluster = bootstrap.static_resources.clusters.add(name=name)
        cluster.connect_timeout.seconds = 1
    validate(bootstrap, tmp_path)


@pytest.mark.parametrize("mode", [Mode.PERMISSIVE, Mode.STRICT, Mode.DISABLE])
def test_modes_of_mutual_tls(mode: Mode, tmp_path: Path) -> None:
    peers = PeerModes(mode, ((7777, Mode.STRICT), (8080, Mode.DISABLE)))
    targets = [given.target(port) for port in (given.HTTP, given.TCP, given.AUTO)]
    proxy = given.proxy(mtls=True, interception=Interception.TPROXY)
    item = given.inbound(*targets, proxy=proxy, security=SecurityInput(peers=peers))
    bootstrap = bootstrap_pb2.Bootstrap()
    found = inbound.virtual_inbound(item)
    assert found is not None
    bootstrap.static_resources.listeners.append(protos.Listener.FromString(found.body))
    bodies = [each.body for each in inbound.inbound_clusters(item)]
    bootstrap.static_resources.clusters.extend(protos.Cluster.FromString(body) for body in bodies)
    for name in (SDS_CLUSTER, "InboundPassthroughCluster", "BlackHoleCluster"):
        cluster = bootstrap.static_resources.clusters.add(name=name)
        cluster.connect_timeout.seconds = 1
    validate(bootstrap, tmp_path)
