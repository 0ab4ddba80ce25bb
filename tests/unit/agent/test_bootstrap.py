import json
import re
import subprocess
from pathlib import Path

import msgspec
import pytest

from tidegate.agent.bootstrap import bootstrap, encoded
from tidegate.agent.settings import Settings
from tidegate.kit.envoy_binary import EnvoyNotFoundError, find


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        name="web-1",
        namespace="shop",
        address="10.0.0.7",
        run_dir=tmp_path / "run",
        state_dir=tmp_path / "state",
        token_file=tmp_path / "token",
        upstream=tmp_path / "run/xds.sock",
        envoy=tmp_path / "envoy",
        metadata={"DNS_CAPTURE": "true", "NAMESPACE": "elsewhere"},
    )


def test_node_says_who_and_how(settings: Settings) -> None:
    node = bootstrap(settings)["node"]
    assert node["id"] == "sidecar~10.0.0.7~web-1.shop~shop.svc.cluster.local"
    assert node["metadata"]["DNS_CAPTURE"] == "true"
    assert node["metadata"]["INTERCEPTION_MODE"] == "REDIRECT"
    assert node["metadata"]["NAMESPACE"] == "shop", "further metadata never overrides who the proxy is"


def test_ports_and_sockets(settings: Settings) -> None:
    text = json.dumps(bootstrap(settings))
    assert {int(port) for port in re.findall(r'"port_value": (\d+)', text)} == {15000, 15020, 15021, 15090}
    assert str(settings.run_dir / "proxies/web-1.shop/xds.sock") in text


def test_cluster_names_with_dots_become_one_tag(settings: Settings) -> None:
    tag = bootstrap(settings)["stats_config"]["stats_tags"][0]
    found = re.match(tag["regex"], "cluster.outbound|80|v1|a.b.svc.cluster.local.upstream_rq_total")
    assert found is not None and found[2] == "outbound|80|v1|a.b.svc.cluster.local"


def test_envoy_accepts_it_without_a_word(settings: Settings, tmp_path: Path) -> None:
    try:
        binary = find()
    except EnvoyNotFoundError as error:
        pytest.skip(str(error))
    path = tmp_path / "bootstrap.json"
    path.write_bytes(encoded(msgspec.structs.replace(settings, interception_mode="TPROXY")))
    done = subprocess.run(
        [binary, "--mode", "validate", "-c", path, "-l", "warning"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_gateway_says_that_it_is_one(settings: Settings) -> None:
    node = bootstrap(msgspec.structs.replace(settings, type="router"))["node"]
    assert node["id"] == "router~10.0.0.7~web-1.shop~shop.svc.cluster.local"
    assert "INTERCEPTION_MODE" not in node["metadata"]


def test_a_proxy_that_is_to_know_its_peers(settings: Settings, tmp_path: Path) -> None:
    """Zone-aware routing needs three things in the bootstrap: the cluster, its name, and where the proxy is."""
    labels = {"topology.istio.io/locality": "eu.z1.rack"}
    asking = msgspec.structs.replace(settings, metadata={"ENABLE_SELF_DISCOVERY": "true", "LABELS": labels})
    made = bootstrap(asking)
    assert made["node"]["locality"] == {"region": "eu", "zone": "z1", "sub_zone": "rack"}
    assert made["cluster_manager"]["local_cluster_name"] == "local_cluster"
    assert [c["type"] for c in made["static_resources"]["clusters"] if c["name"] == "local_cluster"] == ["EDS"]
    try:
        binary = find()
    except EnvoyNotFoundError as error:
        pytest.skip(str(error))
    path = tmp_path / "bootstrap.json"
    path.write_bytes(encoded(asking))
    done = subprocess.run(
        [binary, "--mode", "validate", "-c", path, "-l", "warning"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_others_have_no_such_cluster(settings: Settings) -> None:
    made = bootstrap(settings)
    assert "cluster_manager" not in made and "locality" not in made["node"]
    assert "local_cluster" not in json.dumps(made)


def test_where_kubernetes_says_a_pod_is(settings: Settings) -> None:
    labels = {"topology.kubernetes.io/region": "eu", "topology.kubernetes.io/zone": "z1"}
    made = bootstrap(msgspec.structs.replace(settings, metadata={"LABELS": labels}))
    assert made["node"]["locality"] == {"region": "eu", "zone": "z1"}
