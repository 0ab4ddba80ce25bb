"""Networks: where an address lies, and the gateways by which a network is entered."""

import json

import msgspec
import pytest

from tests.worlds import made
from tidegate.api import meshconfig
from tidegate.api.core import LoadBalancerIngress, LoadBalancerStatus, ServiceStatus
from tidegate.api.objects import Object
from tidegate.registry import networks
from tidegate.registry.model import Endpoint
from tidegate.registry.networks import NetworkGateway

HOST = "eastwest.istio-system.svc.cluster.local"
NONE = meshconfig.parse_networks("")
FAR = {
    "endpoints": [{"fromCidr": "10.0.0.0/8"}, {"fromCidr": "10.9.0.0/16"}],
    "gateways": [{"address": "192.0.2.1", "port": 15443}, {"address": "gw.example.com", "port": 15443}],
}
NEAR = {"endpoints": [{"fromRegistry": "Kubernetes"}], "gateways": [{"registryServiceName": HOST, "port": 443}]}
MESH = meshconfig.parse_networks(json.dumps({"networks": {"near": NEAR, "far": FAR}}))


def gateway(labels=None, annotations=None, ingress=(), **spec):
    spec.setdefault("ports", [{"name": "tls", "port": 15443, "nodePort": 31443}])
    found = made("Service", "istio-system/eastwest", labels=labels, **spec)
    meta = msgspec.structs.replace(found.meta, annotations=annotations or {})
    status = ServiceStatus(LoadBalancerStatus(tuple(LoadBalancerIngress(**each) for each in ingress)))
    return Object(found.ref, meta, found.spec, found.digest, status)


def entrances(service, mesh=NONE, nodes=()):
    found = networks.of_service(service, HOST, mesh, "Kubernetes", nodes)
    return [(g.address, g.port, g.network, g.cluster) for g in found]


LABEL = {"topology.istio.io/network": "n1"}


def test_a_labelled_service_is_a_gateway_at_each_of_its_outer_addresses():
    service = gateway(LABEL, ingress=[{"ip": "198.51.100.1"}], type="LoadBalancer", externalIPs=["198.51.100.2"])
    assert entrances(service) == [
        ("198.51.100.1", 15443, "n1", "Kubernetes"),
        ("198.51.100.2", 15443, "n1", "Kubernetes"),
    ]


def test_another_port_is_named_by_a_label():
    labels = {**LABEL, "networking.istio.io/gatewayPort": "8443"}
    ports = [{"name": "tls", "port": 8443}]
    assert entrances(gateway(labels, externalIPs=["198.51.100.2"], ports=ports))[0][1] == 8443


def test_a_labelled_service_without_the_port_is_no_gateway_and_says_so():
    service = gateway(LABEL, externalIPs=["198.51.100.2"], ports=[{"name": "http", "port": 80}])
    assert entrances(service) == []
    (text,) = networks.problems(service, HOST, NONE)
    assert "no port 15443" in text


def test_a_status_counts_for_load_balancers_only_and_names_are_left_out():
    assert entrances(gateway(LABEL, ingress=[{"ip": "198.51.100.1"}])) == []
    named = gateway(LABEL, ingress=[{"hostname": "lb.example.com"}], type="LoadBalancer")
    assert entrances(named) == []
    (text,) = networks.problems(named, HOST, NONE)
    assert "lb.example.com" in text


def test_node_ports_at_the_selected_nodes():
    service = gateway(LABEL, {"traffic.istio.io/nodeSelector": "{}"}, type="NodePort")
    assert entrances(service, nodes=["203.0.113.9"]) == [("203.0.113.9", 31443, "n1", "Kubernetes")]
    assert entrances(gateway(LABEL, type="NodePort"), nodes=["203.0.113.9"]) == []


@pytest.mark.parametrize(
    ("selector", "expected"), [('{"edge": "yes"}', ("1",)), ("{}", ("1", "2")), ("", ("1", "2")), ("[", ())]
)
def test_nodes_are_selected_by_labels(selector, expected):
    assert networks.selected_nodes(selector, [((("edge", "yes"),), "1"), ((), "2")]) == expected


def test_a_service_that_the_mesh_names():
    assert entrances(gateway(externalIPs=["198.51.100.2"]), MESH) == [("198.51.100.2", 443, "near", "Kubernetes")]


def test_addresses_of_the_mesh_configuration():
    source = made("ConfigMap", "istio-system/istio", data={}).ref
    assert [(g.address, g.port, g.network) for g in networks.configured(MESH, source)] == [("192.0.2.1", 15443, "far")]
    told = list(networks.mesh_problems(MESH, "Kubernetes"))
    assert len(told) == 1 and "gw.example.com" in told[0]
    (text,) = [t for t in networks.mesh_problems(MESH, "other") if "fromRegistry" in t]
    assert "Kubernetes is no cluster" in text


def test_where_an_address_lies():
    assert networks.placing("n1", MESH, "other").of("10.9.0.1") == "n1"
    assert networks.placing("", MESH, "Kubernetes").of("10.9.0.1") == "near"
    far = networks.placing("", MESH, "other")
    assert (far.of("10.9.0.1"), far.of("192.168.0.1"), far.of("::1"), far.of("name")) == ("far", "", "", "")
    assert not networks.placing("", NONE, "other")


def test_an_endpoint_that_names_its_network_keeps_it():
    place = networks.placing("n1", NONE, "")
    assert place.endpoint(Endpoint("10.0.0.1", 80, "http")).labels == (("topology.istio.io/network", "n1"),)
    assert place.endpoint(Endpoint("10.0.0.1", 80, "http", network="n2")).network == "n2"


def test_gateways_of_the_endpoints_cluster_come_first_and_weights_divide():
    gateways = [
        NetworkGateway("192.0.2.2", 1, "n1", "a"),
        NetworkGateway("192.0.2.1", 1, "n1", "b"),
        NetworkGateway("192.0.2.3", 1, "n1", "b"),
        NetworkGateway("192.0.2.3", 1, "n1", "b"),
    ]
    found = networks.joined(gateways)
    assert [g.address for g in found.gateways] == ["192.0.2.1", "192.0.2.2", "192.0.2.3"]
    assert [g.address for g in found.entered_by("n1", "a")] == ["192.0.2.2"]
    assert len(found.entered_by("n1", "c")) == 3
    assert found.entered_by("n2", "a") == ()
    assert found.scale == 6, "of 3 in the network, and of 1 and 2 in its clusters"
