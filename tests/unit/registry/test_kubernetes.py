"""Services, EndpointSlices and Endpoints."""

from typing import Any

import pytest

from tidegate.api.core import EndpointsBody, EndpointSliceBody
from tidegate.api.decode import stored
from tidegate.api.objects import Object, Ref
from tidegate.registry import kubernetes
from tidegate.registry.model import Health, Labels, Resolution, Service, Workload

POD = Ref("Pod", "shop", "orders-1")
SLICE = Ref("EndpointSlice", "shop", "orders-a")


def obj(*, annotations: Any = None, **spec: Any) -> Object[Any]:
    ports = [{"name": "http", "port": 80, "targetPort": 8080}]
    meta = {"name": "orders", "namespace": "shop", "annotations": annotations or {}}
    return stored({"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": {"ports": ports, **spec}})


def service(**spec: Any) -> Service:
    return kubernetes.service(obj(**spec), "cluster.local", {})


def endpoints(item: dict[str, Any], labels: Labels = ()) -> list[Any]:
    known = Workload(POD, ("10.0.0.1",), labels, service_account="orders", locality="north", workload_name="orders")
    raw = {"endpoints": [item, item], "ports": [{"name": "http", "port": 8080}, {"name": "other", "port": 9}]}
    body = stored({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": {}, **raw}).spec
    assert isinstance(body, EndpointSliceBody)
    return list(kubernetes.slice_endpoints(service(), [(SLICE, body)], {POD: known}.get, "Kubernetes"))


def test_what_a_service_is() -> None:
    made = service(clusterIP="10.96.0.9", selector={"app": "orders"}, internalTrafficPolicy="Local")
    assert (made.host, made.addresses, made.resolution) == (
        "orders.shop.svc.cluster.local",
        ("10.96.0.9",),
        Resolution.CLIENT_SIDE,
    )
    assert made.node_local
    assert made.ports[0].target_port == 8080
    assert service(clusterIP="None").headless
    alias = service(type="ExternalName", externalName="a.example.", clusterIP="")
    assert (alias.resolution, alias.external_name, alias.external) == (Resolution.ALIAS, "a.example", True)


@pytest.mark.parametrize(
    ("spec", "own", "namespace", "expected"),
    [
        ("PreferSameNode", "PreferClose", "PreferSameZone", "PreferSameNode"),
        ("", "preferclose", "PreferSameZone", "PreferClose"),
        ("", "", "PreferSameZone", "PreferSameZone"),
        ("", "nonsense", "", ""),
    ],
)
def test_traffic_distribution_from_the_nearest_place(spec: str, own: str, namespace: str, expected: str) -> None:
    key = "networking.istio.io/traffic-distribution"
    raw = obj(annotations={key: own}, trafficDistribution=spec)
    assert kubernetes.service(raw, "cluster.local", {key: namespace}).traffic_distribution == expected


def test_export_to_from_the_annotation() -> None:
    raw = obj(annotations={"networking.istio.io/exportTo": "., other"})
    assert kubernetes.service(raw, "cluster.local", {}).export_to == {".", "other"}


@pytest.mark.parametrize(
    ("conditions", "health"),
    [
        ({}, Health.HEALTHY),
        ({"ready": True, "terminating": False}, Health.HEALTHY),
        ({"ready": False}, Health.UNHEALTHY),
        ({"ready": False, "serving": True, "terminating": True}, Health.DRAINING),
        ({"ready": False, "serving": False, "terminating": True}, None),
    ],
)
def test_health_of_a_listed_endpoint(conditions: Any, health: Health | None) -> None:
    found = endpoints({"addresses": ["192.0.2.1"], "conditions": conditions})
    assert [e.health for e in found] == ([health] if health else [])


def test_an_endpoint_has_its_pods_identity_once_for_each_port_of_the_service() -> None:
    [found] = endpoints({"addresses": ["10.0.0.1"], "targetRef": {"kind": "Pod", "name": "orders-1"}})
    assert (found.service_account, found.locality, found.workload_name, found.port) == (
        "orders",
        "north",
        "orders",
        8080,
    )
    assert dict(found.labels)["topology.istio.io/cluster"] == "Kubernetes"
    assert endpoints({"addresses": ["10.0.0.1"], "targetRef": {"kind": "Pod", "name": "unknown"}}) == []


def test_a_pod_that_is_told_to_drain_drains() -> None:
    item = {"addresses": ["10.0.0.1"], "targetRef": {"kind": "Pod", "name": "orders-1"}}
    assert [e.health for e in endpoints(item, (("istio.io/draining", ""),))] == [Health.DRAINING]


def test_legacy_endpoints_have_the_shape_of_slices() -> None:
    subsets = [{"addresses": [{"ip": "1.1.1.1"}], "notReadyAddresses": [{"ip": "2.2.2.2"}], "ports": [{"port": 80}]}]
    body = stored({"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "orders"}, "subsets": subsets}).spec
    assert isinstance(body, EndpointsBody)
    [made] = kubernetes.endpoints_as_slice(body)
    assert [(e.addresses, e.conditions.ready) for e in made.endpoints] == [(("1.1.1.1",), True), (("2.2.2.2",), False)]


def test_a_named_target_port_is_the_workloads_own() -> None:
    raw = obj(ports=[{"name": "http", "port": 80, "targetPort": "web"}, {"name": "tcp", "port": 5432}])
    made = kubernetes.service(raw, "cluster.local", {})
    entry = Workload(Ref("WorkloadEntry", "shop", "w"), ("10.0.0.1",), (), ports=(("tcp", 15432), ("web", 9000)))
    assert [kubernetes.target_port(raw, p, entry) for p in made.ports] == [9000, 15432]
    bare = Workload(POD, ("10.0.0.1",), ())
    assert [kubernetes.target_port(raw, p, bare) for p in made.ports] == [0, 5432]


def test_selected_workload_entries_that_slices_list_are_not_doubled() -> None:
    raw = obj(selector={"app": "orders"})
    made = kubernetes.service(raw, "cluster.local", {})
    entries = [Workload(Ref("WorkloadEntry", "shop", f"w{n}"), (f"10.0.0.{n}",), ()) for n in (1, 2)]
    listed = endpoints({"addresses": ["10.0.0.1"]})
    found = kubernetes.entry_endpoints(made, raw, entries, "Kubernetes", listed)
    assert [(e.address, e.port) for e in found] == [("10.0.0.2", 8080)]
