"""Lab files: what is accepted, and what is said about what is not."""

from pathlib import Path

import pytest

from tidegate.kit.errors import InvalidObjectError, TidegateError
from tidegate.lab.labfile import load
from tidegate.lab.spec import LabSpec, Sidecar

MINIMAL = "name: small\nworkloads:\n- {name: client, command: [sleep, infinity]}\n"


def loaded(folder: Path, text: str) -> LabSpec:
    file = folder / "lab.yaml"
    file.write_text(text)
    return load(file)


def refused(folder: Path, text: str) -> dict[str, str]:
    with pytest.raises(InvalidObjectError) as caught:
        loaded(folder, text)
    return {error.path: error.message for error in caught.value.errors}


def test_defaults(tmp_path: Path) -> None:
    workload = loaded(tmp_path, MINIMAL).workloads[0]
    assert (workload.key, workload.uid, workload.service_account) == ("client.default", 1000, "default")
    assert workload.capture == Sidecar()


@pytest.mark.parametrize(
    ("sidecar", "expected"),
    [
        ("false", None),
        ("true", Sidecar()),
        ("{excludeOutboundPorts: '22,25'}", Sidecar(exclude_outbound_ports="22,25")),
        ("{includeOutboundIPRanges: 10.0.0.0/8}", Sidecar(include_outbound_ip_ranges="10.0.0.0/8")),
        ("{includeInboundPorts: ''}", Sidecar(include_inbound_ports="")),
        ("{interceptionMode: TPROXY}", Sidecar(interception_mode="TPROXY")),
    ],
)
def test_sidecar(tmp_path: Path, sidecar: str, expected: Sidecar | None) -> None:
    text = f"name: small\nworkloads:\n- {{name: a, command: [x], sidecar: {sidecar}}}\n"
    assert loaded(tmp_path, text).workloads[0].capture == expected


def test_proxy_metadata_is_the_agents_environment(tmp_path: Path) -> None:
    said = "proxy.istio.io/config: 'proxyMetadata: {ISTIO_META_HTTP10: \"1\"}'"
    text = f"name: small\nworkloads:\n- {{name: a, command: [x], annotations: {{{said}}}}}\n"
    assert loaded(tmp_path, text).workloads[0].proxy_metadata == {"ISTIO_META_HTTP10": "1"}


@pytest.mark.parametrize(
    ("entry", "path"),
    [
        ("name: A", "workloads[0].name"),
        ("namespace: -x", "workloads[0].namespace"),
        ("command: []", "workloads[0].command"),
        ("uid: 1337", "workloads[0].uid"),
        ("uid: -1", "workloads[0].uid"),
        ("address: 10.9.9.9", "workloads[0].address"),
        ("sidecar: {interceptionMode: BPF}", "workloads[0].sidecar.interceptionMode"),
        ("annotations: {proxy.istio.io/config: '['}", "workloads[0].annotations[proxy.istio.io/config]"),
        (
            "annotations: {proxy.istio.io/config: 'proxyMetadata: [a]'}",
            "workloads[0].annotations[proxy.istio.io/config]",
        ),
        ("annotations: {proxy.istio.io/config: 'just text'}", "workloads[0].annotations[proxy.istio.io/config]"),
        (
            "annotations: {proxy.istio.io/config: 'proxyMetadata: {a=b: c}'}",
            "workloads[0].annotations[proxy.istio.io/config].proxyMetadata",
        ),
        ("address: 10.244.0.1", "workloads[0].address"),
        ("address: 10.244.0.255", "workloads[0].address"),
        ("ports: [{containerPort: 0}]", "workloads[0].ports[0].containerPort"),
        ("ports: [{containerPort: 1, name: UP}]", "workloads[0].ports[0].name"),
        ("ports: [{containerPort: 1, protocol: SCTP}]", "workloads[0].ports[0].protocol"),
        ("ports: [{containerPort: 1, name: a}, {containerPort: 2, name: a}]", "workloads[0].ports[1].name"),
        ("hostAliases: [{ip: nowhere}]", "workloads[0].hostAliases[0].ip"),
        ("hostAliases: [{ip: 10.0.0.1, hostnames: ['a b']}]", "workloads[0].hostAliases[0].hostnames[0]"),
        ("files: {../x: y}", "workloads[0].files"),
        ("files: {/etc/passwd: y}", "workloads[0].files"),
        ("env: {'A=B': c}", "workloads[0].env"),
        ("sidecar: {excludeInboundPorts: '70000'}", "workloads[0].sidecar.excludeInboundPorts"),
        ("sidecar: {excludeOutboundIPRanges: '*'}", "workloads[0].sidecar.excludeOutboundIPRanges"),
    ],
)
def test_a_bad_value_is_refused_with_its_path(tmp_path: Path, entry: str, path: str) -> None:
    fields = {"name": "name: a", "command": "command: [x]"} | {entry.partition(":")[0]: entry}
    text = "name: small\nworkloads:\n- " + "\n  ".join(fields.values()) + "\n"
    assert path in refused(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("name: has-hyphen\nworkloads: [{name: a, command: [x]}]", "name"),
        ("name: small", "workloads"),
        ("name: small\nnetwork: {cidr: 10.0.0.0/30}\nworkloads: [{name: a, command: [x]}]", "network.cidr"),
        ("name: small\nhosts: [{name: net, address: 10.1.1.1}]", "hosts[0].name"),
        ("name: small\nhosts: [{name: h, address: 10.1.1.1, dns: [a.example]}]", "hosts[0].dns"),
        ("name: small\ndns: {address: x}\nhosts: [{name: h, address: 10.1.1.1}]", "dns.address"),
        ("name: small\ndns: {address: 10.1.1.1}\nhosts: [{name: h, address: 10.1.1.1}]", "dns.address"),
        ("name: small\ncontrolPlane: {apiPort: -1}\nhosts: [{name: h, address: 10.1.1.1}]", "controlPlane.apiPort"),
        ("name: small\nhosts: [{name: h, address: 10.1.1.1, uid: 3}]", "hosts[0]"),
        ("name: small\nworklods: []", "(the whole file)"),
        ("- a list", "(the whole file)"),
    ],
)
def test_a_bad_lab_is_refused_with_its_path(tmp_path: Path, text: str, path: str) -> None:
    assert path in refused(tmp_path, text)


def test_every_finding_is_told_at_once(tmp_path: Path) -> None:
    text = "name: small\nworkloads:\n- {name: A, command: []}\n- {name: b, command: [x], uid: 1337}\n"
    expected = {"workloads[0].name", "workloads[0].command", "workloads[1].uid"}
    assert set(refused(tmp_path, text)) == expected


def test_names_and_addresses_must_differ(tmp_path: Path) -> None:
    entry = "- {name: a, command: [x], address: 10.244.0.9}\n"
    found = refused(tmp_path, f"name: small\nworkloads:\n{entry}{entry}")
    assert set(found) == {"workloads[1].name", "workloads[1].address"}


def test_an_unreadable_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(TidegateError, match=r"nowhere\.yaml"):
        load(tmp_path / "nowhere.yaml")
    with pytest.raises(TidegateError, match="is not YAML"):
        loaded(tmp_path, "a: [")


def test_a_gateway_is_a_proxy_without_a_program(tmp_path: Path) -> None:
    found = loaded(tmp_path, "name: small\nworkloads:\n- {name: gw, type: router}\n").workloads[0]
    assert (found.is_gateway, found.proxied, found.capture) == (True, True, None)


@pytest.mark.parametrize(
    ("entry", "path"),
    [
        ("type: gateway, command: [x]", "workloads[0].type"),
        ("type: router, command: [x]", "workloads[0].command"),
        ("type: router, env: {A: b}", "workloads[0].env"),
        ("type: router, sidecar: false", "workloads[0].sidecar"),
        ("type: router, annotations: {proxy.istio.io/config: '['}", "workloads[0].annotations[proxy.istio.io/config]"),
    ],
)
def test_what_a_gateway_cannot_have(tmp_path: Path, entry: str, path: str) -> None:
    assert path in refused(tmp_path, f"name: small\nworkloads:\n- {{name: gw, {entry}}}\n")
