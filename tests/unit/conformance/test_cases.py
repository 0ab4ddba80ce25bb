"""Cases of simulation and xds_summary: objects and registry entries in one world."""

from typing import Any

import pytest

from conformance.cases import Case
from tidegate.envoy.resource import CLUSTER, LISTENER

PROXY = {
    "type": "sidecar",
    "id": "app.test",
    "namespace": "default",
    "ip_addresses": ["10.1.0.1"],
    "dns_domain": "default.svc.cluster.local",
    "labels": {},
    "metadata": {},
}
SERVICE = {
    "hostname": "a.example.com",
    "namespace": "other",
    "default_address": "10.9.0.1",
    "ports": [{"name": "tcp", "port": 9000, "protocol": "TCP"}],
    "resolution": "ClientSide",
}
INSTANCE = {
    "service": "a.example.com",
    "service_namespace": "other",
    "service_port": {"name": "tcp", "port": 9000, "protocol": "TCP"},
    "endpoint": {"addresses": ["10.1.0.1"], "port": 9001, "port_name": "tcp"},
}


def case(**raw: Any) -> Case:
    return Case({"name": "x", "proxy": PROXY, **raw}, {"accessLogFile": "/dev/stdout"})


class TestWorld:
    def test_entries_of_the_registry_become_clusters_and_listeners(self) -> None:
        compiled = case(services=[SERVICE], instances=[INSTANCE]).compiled()
        assert "outbound|9000||a.example.com" in compiled.resources(CLUSTER)
        assert "10.9.0.1_9000" in compiled.resources(LISTENER)

    def test_they_are_served_by_who_has_the_address_in_any_namespace(self) -> None:
        clusters = case(services=[SERVICE], instances=[INSTANCE]).compiled().resources(CLUSTER)
        assert "inbound|9001||" in clusters

    def test_two_entries_of_one_host_share_their_addresses(self) -> None:
        second = {**SERVICE, "default_address": "10.9.0.2"}
        world = case(services=[SERVICE, second]).world().hub.world
        assert [s.addresses for s in world.services.values()] == [("10.9.0.1", "10.9.0.2")]

    def test_objects_are_taken_as_a_store_has_them(self) -> None:
        entry = """
kind: VirtualService
apiVersion: networking.istio.io/v1
metadata:
  name: made
  annotations:
    internal.istio.io/parents: HTTPRoute/made.default
spec:
  hosts: [a.example.com]
  http: [{route: [{destination: {host: a.example.com}}], unknown: 1}]
"""
        made = case(config_yaml=entry).world()
        assert not made.findings
        assert len(made.hub.world.virtual_services) == 1

    def test_the_mesh_of_the_case_over_the_suites_default(self) -> None:
        found = case(mesh_overrides={"outboundTrafficPolicy": {"mode": "REGISTRY_ONLY"}})
        mesh = found.world().hub.world.mesh
        assert mesh.access_log_file == "/dev/stdout"
        assert mesh.outbound_traffic_policy is not None
        assert mesh.outbound_traffic_policy.mode.value == "REGISTRY_ONLY"

    def test_an_exact_mesh_counts_alone(self) -> None:
        assert case(mesh_exact={}).world().hub.world.mesh.access_log_file == ""

    def test_a_type_of_proxy_that_is_not_configured(self) -> None:
        with pytest.raises(ValueError, match="waypoint"):
            case(proxy={**PROXY, "type": "waypoint"}).spec()
