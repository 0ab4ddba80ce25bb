"""The sidecar's own DNS: names that no name server knows, addresses of their own for hosts on one port."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.lab.labs import NEEDS, Lab, running_lab, until

pytestmark = NEEDS

CLIENT, PLAIN = "client.front", "plain.front"
ONE, OTHER = "10.122.24.139", "10.122.24.140"
FIXED = "10.122.30.1"
SPEC = """
name: {name}
controlPlane: {{apiPort: {api_port}, monitoringPort: {port}}}
objects: [objects.yaml]
dns: {{address: 10.122.24.53, records: {{fixed.ext.example: [10.122.24.140]}}}}
hosts:
- name: one
  address: 10.122.24.139
  dns: [one.ext.example]
  commands:
  - &web
    name: web
    command: [/usr/bin/python3, server.py, "9000"]
    env: {{VERSION: one}}
    files: {{server.py: programs/server.py}}
    ports: [9000]
- name: other
  address: 10.122.24.140
  dns: [other.ext.example]
  commands:
  - {{<<: *web, env: {{VERSION: other}}}}
workloads:
- &client
  name: client
  namespace: front
  command: [sleep, infinity]
  annotations: {{proxy.istio.io/config: "proxyMetadata: {{ISTIO_META_DNS_CAPTURE: 'true'}}"}}
- {{name: plain, namespace: front, command: [sleep, infinity]}}
"""
OBJECTS = """
apiVersion: v1
kind: Namespace
metadata: {name: front}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: front}
spec: {clusterIP: 10.96.60.1, selector: {app: none}, ports: [{name: http, port: 80}]}
"""


def entry(name: str, host: str, address: str, **spec: Any) -> dict[str, Any]:
    """A TCP server outside of the mesh; the registry alone knows where it is."""
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "ServiceEntry",
        "metadata": {"name": name, "namespace": "front"},
        "spec": {
            "hosts": [host],
            "location": "MESH_EXTERNAL",
            "resolution": "STATIC",
            "ports": [{"number": 9000, "name": "tcp", "protocol": "TCP"}],
            "endpoints": [{"address": address}],
            **spec,
        },
    }


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with running_lab(SPEC, OBJECTS) as made:
        yield made


def resolved(lab: Lab, workload: str, host: str, family: str = "AF_INET") -> list[str]:
    """What the C library of a workload makes of a name; nothing when there is no such name."""
    program = (
        "import json, socket, sys\n"
        "try: found = socket.getaddrinfo(sys.argv[1], 0, getattr(socket, sys.argv[2]), socket.SOCK_STREAM)\n"
        "except socket.gaierror: found = []\n"
        "print(json.dumps(sorted({each[4][0] for each in found})))"
    )
    shown = lab.must("lab", "exec", workload, "--", "/usr/bin/python3", "-c", program, host, family)
    found: list[str] = json.loads(shown)
    return found


def allocated(lab: Lab, name: str) -> list[str]:
    shown = json.loads(lab.kubectl("get", "serviceentry", name, "-n", "front", "-o", "json").stdout)
    return [str(each["value"]) for each in (shown.get("status") or {}).get("addresses") or ()]


def applied(lab: Lab, *entries: dict[str, Any]) -> Any:
    return lab.applied("\n---\n".join(json.dumps(each) for each in entries))


def answer(lab: Lab, workload: str, host: str) -> str:
    return str(lab.probe(workload).get(f"http://{host}:9000/").get("body", ""))


def test_a_host_that_no_name_server_knows_is_resolved_and_reached(lab: Lab) -> None:
    with applied(lab, entry("ledger", "ledger.nowhere.example", ONE)):
        first = until(lambda: allocated(lab, "ledger"))
        assert [a.partition(".")[0] for a in first] == ["240", first[1]]
        until(lambda: resolved(lab, CLIENT, "ledger.nowhere.example"), lambda found: found == first[:1])
        until(lambda: answer(lab, CLIENT, "ledger.nowhere.example"), lambda body: "one" in body)
        assert resolved(lab, PLAIN, "ledger.nowhere.example") == []
    until(lambda: resolved(lab, CLIENT, "ledger.nowhere.example"), lambda found: found == [])


def test_two_tcp_hosts_on_one_port_are_told_apart(lab: Lab) -> None:
    with applied(lab, entry("first", "first.nowhere.example", ONE), entry("second", "second.nowhere.example", OTHER)):
        until(lambda: answer(lab, CLIENT, "first.nowhere.example"), lambda body: "one" in body)
        until(lambda: answer(lab, CLIENT, "second.nowhere.example"), lambda body: "other" in body)
        clusters = lab.logged(CLIENT, "outbound|9000||second.nowhere.example")
        assert clusters


def test_written_addresses_are_answered_only_where_dns_is_captured(lab: Lab) -> None:
    """An application asks its name server; ``addresses`` reach it only by way of a sidecar that answers in between."""
    with applied(lab, entry("fixed", "fixed.ext.example", ONE, addresses=[FIXED])):
        until(lambda: resolved(lab, CLIENT, "fixed.ext.example"), lambda found: found == [FIXED])
        until(lambda: answer(lab, CLIENT, "fixed.ext.example"), lambda body: "one" in body)
        assert resolved(lab, PLAIN, "fixed.ext.example") == [OTHER]
        assert allocated(lab, "fixed") == []
    until(lambda: resolved(lab, CLIENT, "fixed.ext.example"), lambda found: found == [OTHER])


@pytest.mark.parametrize("name", ["web", "web.front", "web.front.svc", "WEB.front.svc.cluster.local"])
def test_short_forms_of_services_are_found(lab: Lab, name: str) -> None:
    assert resolved(lab, CLIENT, name) == ["10.96.60.1"]


def test_what_the_mesh_does_not_know_is_asked_of_the_name_server(lab: Lab) -> None:
    assert resolved(lab, CLIENT, "one.ext.example") == [ONE]
    assert resolved(lab, CLIENT, "gone.ext.example") == []


def test_names_outlive_the_control_plane(lab: Lab) -> None:
    with applied(lab, entry("kept", "kept.nowhere.example", ONE)):
        until(lambda: resolved(lab, CLIENT, "kept.nowhere.example"))
        with lab.killed("discovery"):
            assert resolved(lab, CLIENT, "kept.nowhere.example")
            with lab.killed(f"{CLIENT}/agent"):
                pass
            until(lambda: resolved(lab, CLIENT, "kept.nowhere.example"))
