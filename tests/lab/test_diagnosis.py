"""``tidegate logs --explain`` and ``tidegate describe`` on a lab, with stock objects and real connections."""

import json
from collections.abc import Iterator

import pytest

from tests.lab.labs import NEEDS, OUTSIDE_WEB, VIP, Lab, running_lab, until
from tidegate.app.diagnosis.reading import service_names

pytestmark = NEEDS

ABORT = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: shop}
spec:
  hosts: [web]
  http:
  - fault: {abort: {httpStatus: 555, percentage: {value: 100}}}
    route: [{destination: {host: web}}]
"""
SUBSETS = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web, namespace: shop}
spec:
  host: web
  subsets: [{name: v1, labels: {version: v1}}, {name: v3, labels: {version: v3}}]
"""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with running_lab() as made:
        yield made


def ask(lab: Lab, *command: str) -> str:
    return lab.must(*command, "--run-dir", str(lab.folders.run), "--state-dir", str(lab.folders.state))


def test_what_a_proxy_logged_is_told_in_words(lab: Lab) -> None:
    with lab.applied(ABORT):
        url = f"http://{VIP}:8000/"
        until(lambda: lab.probe("client.front").get(url)["status"], lambda status: status == 555)
        lab.logged("client.front", "fault_filter_abort")
    told = ask(lab, "logs", "client.front", "--explain", "--errors")
    assert "FI: a fault rule aborted the request on purpose" in told
    assert "fault_filter_abort: a fault rule of a VirtualService aborted it" in told
    rows = [json.loads(line) for line in ask(lab, "logs", "client", "-n", "front", "-o", "json").splitlines()]
    assert any(row["response_code"] == 555 and row["response_flags"] == "FI" for row in rows)


def test_every_code_of_real_traffic_has_words(lab: Lab) -> None:
    probe = lab.probe("client.front")
    assert probe.get(f"http://{VIP}:8000/")["status"] == 200
    assert probe.get(f"http://{OUTSIDE_WEB}:8000/")["status"] == 200
    lab.logged("client.front", "PassthroughCluster")
    told = ask(lab, "logs", "client.front", "--explain")
    assert "via_upstream: the server itself gave this answer" in told
    assert "to host web.shop.svc.cluster.local, service port 8000" in told
    assert "newer Envoy" not in told


def test_names_of_services_complete_from_the_store(lab: Lab) -> None:
    assert {"web.shop", "self.shop"} <= set(service_names(lab.folders.lab(lab.name).kubeconfig))


def test_a_workload_and_a_service_are_described_from_the_store(lab: Lab) -> None:
    address = ("--xds-address", f"http://127.0.0.1:{lab.port}")
    kubeconfig = ("--kubeconfig", str(lab.folders.lab(lab.name).kubeconfig))
    with lab.applied(SUBSETS):
        workload = json.loads(lab.must("describe", "workload", "v1.shop", *address, *kubeconfig, "-o", "json"))
        service = json.loads(ask(lab, "describe", "service", "web.shop", "--lab", lab.name, "-o", "json"))
        words = lab.must("describe", "workload", "v1.shop", *address, *kubeconfig)
    assert workload["object"] == "Pod/shop/v1"
    assert {each["objects"][0] for each in workload["services"]} == {"Service/shop/web", "Service/shop/self"}
    assert set(workload["sync"].values()) == {"SYNCED"}
    assert {e["workload"] for e in service["endpoints"]} == {"v1.shop", "v2.shop"}
    assert service["service"]["destinationRule"]["object"] == "DestinationRule/shop/web"
    assert any("subset v3 of DestinationRule/shop/web has no endpoint" in text for text in service["warnings"])
    assert "Subsets of this workload: v1 (version=v1: 1)" in words
    assert "Port: http 8000/HTTP targets workload port 8000; in route 8000" in words
