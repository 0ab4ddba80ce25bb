"""proxy-config and proxy-status from files: tables, filters, output forms, errors."""

import json
import socket
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from tidegate.cli.proxy_config import proxy_config
from tidegate.cli.proxy_status import proxy_status
from tidegate.kit.errors import TidegateError

LISTENER = "type.googleapis.com/envoy.config.listener.v3.Listener"
HCM = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
TCP = "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"


def listener(name: str, address: str, port: int) -> dict[str, Any]:
    chain = {
        "filter_chain_match": {"transport_protocol": "raw_buffer", "application_protocols": ["http/1.1", "h2c"]},
        "filters": [{"name": "hcm", "typed_config": {"@type": HCM, "rds": {"route_config_name": str(port)}}}],
    }
    fallback = {"filters": [{"name": "tcp", "typed_config": {"@type": TCP, "cluster": "PassthroughCluster"}}]}
    body = {
        "@type": LISTENER,
        "name": name,
        "address": {"socket_address": {"address": address, "port_value": port}},
        "filter_chains": [chain],
        "default_filter_chain": fallback,
    }
    return {"name": name, "active_state": {"version_info": "1", "listener": body}}


@pytest.fixture
def dump(tmp_path: Path) -> Path:
    admin = "type.googleapis.com/envoy.admin.v3."
    route = {"match": {"prefix": "/"}, "route": {"cluster": "outbound|80||a.example"}, "name": "default"}
    vhost = {"name": "a.example:80", "domains": ["a.example", "a.example.", "10.9.0.1"], "routes": [route]}
    metadata = {
        "filter_metadata": {"istio": {"config": "/apis/networking.istio.io/v1/namespaces/shop/destination-rule/a"}}
    }
    configs = [
        {
            "@type": admin + "ListenersConfigDump",
            "dynamic_listeners": [listener("0.0.0.0_80", "0.0.0.0", 80), listener("0.0.0.0_8080", "0.0.0.0", 8080)],
        },
        {
            "@type": admin + "ClustersConfigDump",
            "dynamic_active_clusters": [
                {"cluster": {"name": "outbound|80|v1|a.example", "type": "EDS", "metadata": metadata}},
                {"cluster": {"name": "BlackHoleCluster", "type": "STATIC"}},
            ],
        },
        {
            "@type": admin + "RoutesConfigDump",
            "dynamic_route_configs": [{"route_config": {"name": "80", "virtual_hosts": [vhost]}}],
        },
    ]
    file = tmp_path / "dump.json"
    file.write_text(json.dumps({"configs": configs}))
    return file


def run(*args: str) -> str:
    result = CliRunner().invoke(proxy_config, list(args), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_listener_table(dump: Path) -> None:
    assert run("listener", "-f", str(dump), "--port", "80") == (
        "ADDRESSES PORT MATCH                                DESTINATION\n"
        "0.0.0.0   80   Trans: raw_buffer; App: http/1.1,h2c Route: 80\n"
        "0.0.0.0   80   ALL                                  PassthroughCluster\n"
    )


def test_listener_by_name_and_type(dump: Path) -> None:
    assert "8080" in run("listener", "-f", str(dump), "--name", "0.0.0.0_8080", "--no-verbose")
    assert run("listener", "-f", str(dump), "--type", "TCP").count("\n") == 1
    assert "HTTP+TCP" in run("l", "-f", str(dump), "--no-verbose")


def test_cluster_table_names_the_rule(dump: Path) -> None:
    text = run("cluster", "-f", str(dump), "--fqdn", "a.example", "--direction", "outbound")
    assert text.splitlines()[1].split() == ["a.example", "80", "v1", "outbound", "EDS", "a.shop"]


def test_route_table_folds_domains(dump: Path) -> None:
    assert run("route", "-f", str(dump), "--name", "80").splitlines()[1].split("  ")[0] == "80"
    assert "a.example, 10.9.0.1 " in run("route", "-f", str(dump))


@pytest.mark.parametrize("read", [("json", json.loads), ("yaml", yaml.safe_load)], ids=["json", "yaml"])
def test_structured_output_has_field_names_in_camel_case(dump: Path, read: tuple[str, Any]) -> None:
    name, load = read
    found = load(run("listener", "-f", str(dump), "--port", "8080", "-o", name))
    assert [each["name"] for each in found] == ["0.0.0.0_8080"]
    assert found[0]["filterChains"][0]["filterChainMatch"]["transportProtocol"] == "raw_buffer"


def test_endpoints_from_the_clusters_answer(tmp_path: Path) -> None:
    def host(port: int, **health: Any) -> dict[str, Any]:
        return {
            "address": {"socket_address": {"address": "10.0.0.9", "port_value": port}},
            "health_status": {"eds_health_status": "HEALTHY", **health},
        }

    answer = {
        "cluster_statuses": [
            {"name": "outbound|80||a.example", "host_statuses": [host(8092, failed_outlier_check=True), host(8091)]}
        ]
    }
    file = tmp_path / "clusters.json"
    file.write_text(json.dumps(answer))
    lines = run("endpoint", "-f", str(file)).splitlines()
    assert [line.split() for line in lines[1:]] == [
        ["10.0.0.9:8091", "HEALTHY", "OK", "outbound|80||a.example"],
        ["10.0.0.9:8092", "UNHEALTHY", "FAILED", "outbound|80||a.example"],
    ]
    assert run("ep", "-f", str(file), "--status", "unhealthy").count("outbound|80") == 1
    assert run("ep", "-f", str(file), "--port", "1").count("\n") == 1


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"configs": 3}', "\x00\x01", '{"configs": [{"@type": 3}]}'])
def test_a_file_that_is_no_dump_is_refused_in_words(tmp_path: Path, text: str) -> None:
    file = tmp_path / "dump.json"
    file.write_text(text)
    with pytest.raises(TidegateError, match=r"configuration dump|no configuration type"):
        CliRunner().invoke(proxy_config, ["listener", "-f", str(file)], catch_exceptions=False)


def test_a_missing_file_and_an_unknown_proxy_are_told(tmp_path: Path) -> None:
    with pytest.raises(TidegateError, match="cannot read"):
        run("listener", "-f", str(tmp_path / "none.json"))
    with pytest.raises(TidegateError, match=r"no proxy client\.entry on this machine"):
        run("listener", "client.entry", "--run-dir", str(tmp_path))


def syncz(tmp_path: Path) -> Path:
    cds = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
    lds = "type.googleapis.com/envoy.config.listener.v3.Listener"
    proxy = {
        "cluster_id": "Kubernetes",
        "proxy": "sidecar~10.0.0.2~client.entry~entry.svc.cluster.local",
        "istio_version": "0.1.0",
        "resources": {cds: {"sent": "1", "acked": "1"}, lds: {"sent": "2", "acked": "1", "lastError": "bad listener"}},
    }
    file = tmp_path / "syncz.json"
    file.write_text(json.dumps([proxy]))
    return file


def status(*args: str) -> str:
    result = CliRunner().invoke(proxy_status, list(args), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_proxy_status_by_type(tmp_path: Path) -> None:
    text = status("-f", str(syncz(tmp_path)), "-v", "1")
    assert text.splitlines()[0].split()[:4] == ["NAME", "CLUSTER", "CDS", "LDS"]
    assert text.splitlines()[1].split()[:4] == ["client.entry", "Kubernetes", "SYNCED", "ERROR"]
    assert "client.entry: LDS: bad listener" in text


def test_proxy_status_short_and_empty(tmp_path: Path) -> None:
    assert "2 (CDS,LDS)" in status("-f", str(syncz(tmp_path)))
    assert "No proxy other.entry is connected" in status("-f", str(syncz(tmp_path)), "other.entry")
    assert json.loads(status("-f", str(syncz(tmp_path)), "-o", "json"))[0]["cluster_id"] == "Kubernetes"


def test_the_control_plane_of_the_run_folder_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (tmp_path / "discovery.url").write_text(f"http://127.0.0.1:{port}\n")
    monkeypatch.setenv("TIDEGATE_RUN_DIR", str(tmp_path))
    with pytest.raises(TidegateError, match=rf"control plane at 127\.0\.0\.1:{port} does not answer"):
        status()
    with pytest.raises(TidegateError, match=r"control plane at 127\.0\.0\.1:1 does not answer"):
        status("--xds-address", "http://127.0.0.1:1")
