"""What an injected container is started with becomes the agent's settings."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from tidegate.agent.bootstrap import bootstrap
from tidegate.agent.environment import KUBERNETES_ROOTS, ROOTS, SYSTEM_ROOTS, TOKEN, Flags, Machine, Told, told
from tidegate.agent.process import arguments
from tidegate.agent.settings import Network, Settings
from tidegate.inject.context import Place
from tidegate.inject.objects import inject_object
from tidegate.inject.settings import settings as injector
from tidegate.kit.errors import TidegateError

MACHINE = Machine(hostname="vm-1", addresses=("10.0.0.7", "fd00::7"), cpus=8)
POD = {"POD_NAME": "web-1", "POD_NAMESPACE": "shop", "INSTANCE_IP": "10.1.2.3"}


def read(environment: dict[str, str] | None = None, machine: Machine = MACHINE, **flags: Any) -> Told:
    return told(Flags(**{"type": "sidecar", **flags}), POD if environment is None else POD | environment, machine)


def settings(environment: dict[str, str] | None = None, machine: Machine = MACHINE, **flags: Any) -> Settings:
    return read(environment, machine, **flags).settings


def config(**fields: Any) -> dict[str, str]:
    return {"PROXY_CONFIG": json.dumps(fields)}


@pytest.mark.parametrize(
    ("given", "asks"),
    [
        ({}, False),
        ({"BOOTSTRAP_XDS_AGENT": "true"}, True),
        ({"BOOTSTRAP_XDS_AGENT": "false"}, False),
        (config(proxyMetadata={"BOOTSTRAP_XDS_AGENT": "true"}), True),
    ],
)
def test_who_asks_for_its_bootstrap(given: dict[str, str], asks: bool) -> None:
    found = settings(given)
    assert found.asks_bootstrap is asks
    assert bootstrap(found)["node"]["metadata"].get("BOOTSTRAP_XDS_AGENT") == ("true" if asks else None)


def test_an_injected_pod() -> None:
    """The variables of the container as injection makes them."""
    annotations = {
        "proxy.istio.io/config": '{"concurrency": 3, "terminationDrainDuration": "7s", "runtimeValues": {"a": "1"}}'
    }
    meta = {"annotations": annotations, "labels": {"app": "web"}, "name": "web-1", "namespace": "shop"}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": {"containers": [{"name": "app", "image": "x"}]}}
    spec = inject_object(pod, injector(), Place()).object["spec"]
    proxy = next(each for each in spec["initContainers"] if each["name"] == "istio-proxy")
    plain = {each["name"]: each["value"] for each in proxy["env"] if "value" in each}
    found = read(plain | {"ISTIO_CPU_LIMIT": "2"}, domain="shop.svc.cluster.local")
    made = found.settings
    assert (made.full_name, made.address, made.concurrency, made.drain_seconds) == ("web-1.shop", "10.1.2.3", 3, 7.0)
    assert isinstance(made.upstream, Network)
    assert (str(made.upstream.address), made.upstream.roots) == ("istiod.istio-system.svc:15012", ROOTS)
    assert made.upstream.server_name == "istiod.istio-system.svc"
    assert (made.token_file, made.sockets, made.files) == (TOKEN, Path("/etc/istio/proxy"), Path("/var/lib/istio/data"))
    assert made.proxy_id is None and not made.own_log_file
    node = bootstrap(made)["node"]
    assert node["metadata"]["CLUSTER_ID"] == "Kubernetes"
    assert node["metadata"]["PROXY_CONFIG"]["concurrency"] == 3
    assert node["metadata"]["INSTANCE_IPS"] == "10.1.2.3,10.0.0.7,fd00::7"
    assert bootstrap(made)["layered_runtime"]["layers"][0]["static_layer"]["a"] == "1"
    assert [line for line in found.notes if "CA_ADDR" in line] == [
        "not acted on: CA_ADDR, TRUST_DOMAIN: workload certificates are not issued yet"
    ]


@pytest.mark.parametrize(
    ("environment", "flags", "workers"),
    [
        (config(concurrency=4), {}, 4),
        (config(concurrency=4), {"concurrency": 6}, 6),
        (config(concurrency=0), {}, 8),
        ({"ISTIO_CPU_LIMIT": "2"}, {}, 2),
        ({"ISTIO_CPU_LIMIT": "1.2"}, {}, 2),
        ({"ISTIO_CPU_LIMIT": "64"}, {}, 8),
        ({}, {}, 8),
    ],
)
def test_workers(environment: dict[str, str], flags: dict[str, Any], workers: int) -> None:
    assert settings(environment, **flags).concurrency == workers


def test_a_drain_by_time_or_by_connections() -> None:
    assert settings().drain_seconds == 5.0
    assert settings(config(drainDuration="2s")).envoy_drain_seconds == 2
    waits = settings({"EXIT_ON_ZERO_ACTIVE_CONNECTIONS": "true", "MINIMUM_DRAIN_DURATION": "3s"})
    assert (waits.exit_on_zero_connections, waits.minimum_drain_seconds) == (True, 3.0)
    assert waits.drain_seconds > 600


@pytest.mark.parametrize(
    ("environment", "flags", "address", "roots", "name"),
    [
        (config(discoveryAddress="cp.example:443"), {}, "cp.example:443", ROOTS, "cp.example"),
        (config(discoveryAddress="cp.example"), {}, "cp.example:15012", ROOTS, "cp.example"),
        ({}, {"discovery_address": "[::1]:9"}, "[::1]:9", ROOTS, "::1"),
        (
            {"ISTIOD_SAN": "a.svc", "XDS_ROOT_CA": "./r.pem"},
            {},
            "istiod.istio-system.svc:15012",
            Path("/r.pem"),
            "a.svc",
        ),
        (
            {"PILOT_CERT_PROVIDER": "kubernetes"},
            {},
            "istiod.istio-system.svc:15012",
            KUBERNETES_ROOTS,
            "istiod.istio-system.svc",
        ),
        ({"XDS_ROOT_CA": "SYSTEM"}, {"discovery_name": "b"}, "istiod.istio-system.svc:15012", SYSTEM_ROOTS, "b"),
    ],
)
def test_where_the_control_plane_is(
    environment: dict[str, str], flags: dict[str, Any], address: str, roots: Path, name: str
) -> None:
    found = settings(environment, **flags).upstream
    assert isinstance(found, Network)
    assert (str(found.address), found.roots, found.server_name) == (address, roots, name)


def test_a_control_plane_of_this_machine() -> None:
    assert settings(discovery_address="unix:///run/tidegate/xds.sock").upstream == Path("/run/tidegate/xds.sock")


def test_annotations_move_the_agents_port_and_the_control_plane() -> None:
    given = {"status.sidecar.istio.io/port": "16020", "sidecar.istio.io/discoveryAddress": "old.example:15012"}
    found = settings(machine=Machine(hostname="h", annotations=given))
    assert found.ports.status == 16020
    assert str(found.upstream.address) == "old.example:15012"  # type: ignore[union-attr]


def test_node_metadata_of_every_form() -> None:
    found = settings(
        {
            "ISTIO_META_DNS_CAPTURE": "true",
            "ISTIO_METAJSON_LABELS": '{"app": "web"}',
            "ISTIO_METAJSON_MORE": '{"PLATFORM_METADATA": {"zone": "a"}}',
            "SERVICE_ACCOUNT": "seller",
            **config(meshId="m1", proxyMetadata={"ISTIO_META_HTTP10": "1", "ISTIO_META_DNS_CAPTURE": "false"}),
        }
    )
    said = found.metadata
    assert said["LABELS"] == {"app": "web"} and said["PLATFORM_METADATA"] == {"zone": "a"}
    assert (said["SERVICE_ACCOUNT"], said["MESH_ID"], said["HTTP10"]) == ("seller", "m1", "1")
    assert found.answers_dns, "the container's own variables win over proxyMetadata"


def test_a_machine_that_is_told_nothing_but_its_namespace() -> None:
    machine = Machine(hostname="vm-1", addresses=("10.0.0.7",), cpus=2, changes_user=True)
    found = told(Flags(type="router", domain="edge.svc.example.org"), {}, machine).settings
    assert found.node_id == "router~10.0.0.7~vm-1.edge~edge.svc.example.org"
    assert found.own_log_file and found.proxy_id == 1337


def test_the_machines_own_configuration_stands_below_the_proxys() -> None:
    machine = Machine(hostname="h", mesh_config='{"discoveryAddress": "vm.example:1", "concurrency": 1}')
    found = settings(config(concurrency=2), machine)
    assert (str(found.upstream.address), found.concurrency) == ("vm.example:1", 2)  # type: ignore[union-attr]


def test_ipv6_is_listened_on_and_spoken() -> None:
    found = settings({"INSTANCE_IP": "fd00::9"})
    listener = bootstrap(found)["static_resources"]["listeners"][0]
    assert listener["address"]["socket_address"] == {"address": "::", "port_value": 15090, "ipv4_compat": True}
    assert arguments(found, "envoy")[arguments(found, "envoy").index("--local-address-ip-version") + 1] == "v6"
    assert found.loopback == "::1"


def test_envoys_own_flags() -> None:
    words = arguments(
        settings(
            config(fileFlushInterval="1s", fileFlushMinSizeKb=64),
            log_level="debug",
            component_log_level="misc:error",
            log_as_json=True,
            outlier_log_path="/dev/stdout",
        ),
        "envoy",
    )
    pairs = dict(pairwise(words[1:]))
    assert pairs["--file-flush-interval-msec"] == "1000" and pairs["--file-flush-min-size-kb"] == "64"
    assert pairs["--log-level"] == "debug" and pairs["--component-log-level"] == "misc:error"
    shown = pairs["--log-format"].replace("%j", 'a \\"word\\"')
    assert json.loads(shown)["msg"] == 'a "word"'
    made = bootstrap(settings(config(statsCompression=False), outlier_log_path="/dev/stdout"))
    assert made["cluster_manager"]["outlier_detection"] == {"event_log_path": "/dev/stdout"}
    assert "compressor" not in json.dumps(made)


def test_a_bootstrap_override_is_merged_by_envoy(tmp_path: Path) -> None:
    path = tmp_path / "custom_bootstrap.json"
    path.write_text('{"stats_flush_interval": "1s"}')
    words = arguments(settings({"ISTIO_BOOTSTRAP_OVERRIDE": str(path)}), "envoy")
    assert words[-2:] == ["--config-yaml", '{"stats_flush_interval": "1s"}']


def test_what_is_not_acted_on_is_named_once_and_with_a_reason() -> None:
    notes = read(
        {
            **config(
                tracing={"zipkin": {"address": "z:1"}},
                extraStatTags=["a"],
                surprise=1,
                holdApplicationUntilProxyStarts=True,
            ),
            "GOMEMLIMIT": "1",
            "XDS_HEADER_A": "b",
            "COMPLIANCE_POLICY": "fips-140-2",
            "TRUST_DOMAIN": "",
        }
    ).notes
    text = "\n".join(notes)
    assert "extraStatTags" in text and "PROXY_CONFIG: surprise: unknown field" in text
    assert "GOMEMLIMIT" in text and "XDS_HEADER_A" in text and "COMPLIANCE_POLICY" in text
    assert "holdApplication" not in text and "TRUST_DOMAIN" not in text
    assert read().notes == ()


@pytest.mark.parametrize(
    ("environment", "flags", "expected"),
    [
        ({"PROXY_CONFIG": "concurrency: many"}, {}, "PROXY_CONFIG is no ProxyConfig: concurrency: "),
        ({"PROXY_CONFIG": "[" * 500}, {}, "PROXY_CONFIG: expected a ProxyConfig as YAML or JSON"),
        ({"PROXY_CONFIG": "[1]"}, {}, "PROXY_CONFIG is no ProxyConfig"),
        ({"ISTIO_METAJSON_X": "[1]"}, {}, "ISTIO_METAJSON_X: expected a JSON object"),
        ({"ISTIO_CPU_LIMIT": "lots"}, {}, "ISTIO_CPU_LIMIT 'lots': expected a number"),
        ({"ISTIO_CPU_LIMIT": "inf"}, {}, "ISTIO_CPU_LIMIT 'inf': expected a number"),
        ({"ISTIO_META_INTERCEPTION_MODE": "SOME"}, {}, "expected REDIRECT, TPROXY or NONE"),
        ({"ENVOY_STATUS_PORT": "x"}, {}, "ENVOY_STATUS_PORT 'x': expected a port number"),
        ({"EXIT_ON_ZERO_ACTIVE_CONNECTIONS": "true", "MINIMUM_DRAIN_DURATION": "x"}, {}, "MINIMUM_DRAIN_DURATION 'x'"),
        ({"DISABLE_ENVOY": "true"}, {}, "use|template sidecar"),
        ({}, {"domain": "else.svc.cluster.local"}, r"--domain .*: expected shop\.svc\."),
        ({}, {"discovery_address": "http://x"}, "discovery address 'http://x': expected HOST:PORT"),
    ],
)
def test_what_cannot_be_used_is_told_with_its_name(
    environment: dict[str, str], flags: dict[str, Any], expected: str
) -> None:
    with pytest.raises(TidegateError, match=expected):
        settings(environment, **flags)


def test_no_address_at_all() -> None:
    with pytest.raises(TidegateError, match="set INSTANCE_IP"):
        told(Flags(type="sidecar"), {"POD_NAMESPACE": "shop"}, Machine(hostname="h"))


def test_defaults_of_istio_are_no_news() -> None:
    """All that injection's own mesh configuration says by default is acted on or told to nobody."""
    text = yaml.safe_dump(injector().proxy_defaults)
    assert read({"PROXY_CONFIG": text}).notes == ()


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        ("{}", True),
        ('{"topology.istio.io/locality": "eu.z1"}', False),
        ('{"topology.kubernetes.io/zone": "z1"}', False),
    ],
)
def test_zones_need_to_know_where_the_pod_is(labels: str, told: bool) -> None:
    asking = {"ISTIO_META_ENABLE_SELF_DISCOVERY": "true", "ISTIO_METAJSON_LABELS": labels}
    assert any("topology.istio.io/locality" in note for note in read(asking).notes) is told
