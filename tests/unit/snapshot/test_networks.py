"""Networks in the world: what makes gateways, and what a change of them concerns."""

from tests.worlds import Shop, entry, gone, made, mesh, put, world
from tidegate.api.objects import Object, Ref
from tidegate.envoy import protos
from tidegate.envoy.resource import ENDPOINT
from tidegate.snapshot.state import Snapshot

LABEL = "topology.istio.io/network"
HOST = "orders.example.com"


def gateway(address: str = "192.0.2.1") -> Object:
    ports = [{"name": "tls", "port": 15443}]
    labels = {LABEL: "far"}
    return made("Service", "istio-system/eastwest", labels=labels, ports=ports, externalIPs=[address])


def networks(text: str) -> Object:
    return made("ConfigMap", "istio-system/istio", data={"mesh": "", "meshNetworks": text})


def orders() -> Object:
    far = {"address": "10.1.0.1", "network": "far", "labels": {"security.istio.io/tlsMode": "istio"}}
    return entry("shop/orders", HOST, (80, "HTTP"), endpoints=[{"address": "10.0.0.1"}, far], location="MESH_INTERNAL")


def called(shop: Shop) -> list[str]:
    resource = shop.view.resources[ENDPOINT][f"outbound|80||{HOST}"]
    message = protos.ClusterLoadAssignment.FromString(resource.body)
    return [m.endpoint.address.socket_address.address for p in message.endpoints for m in p.lb_endpoints]


def test_a_gateway_that_comes_and_goes_changes_who_is_called():
    shop = Shop(orders(), network="near", mtls=True)
    assert called(shop) == ["10.0.0.1", "10.1.0.1"]
    told = shop.advance(put(gateway()))
    assert f"outbound|80||{HOST}" in told[ENDPOINT]
    assert called(shop) == ["10.0.0.1", "192.0.2.1"]
    shop.advance(put(gateway("192.0.2.2")))
    assert called(shop) == ["10.0.0.1", "192.0.2.2"]
    shop.advance(gone(gateway()))
    assert called(shop) == ["10.0.0.1", "10.1.0.1"]


def test_a_workload_entry_without_address_is_behind_its_networks_gateway():
    far = made("WorkloadEntry", "shop/far", network="far", serviceAccount="orders", labels={"app": "orders"})
    selecting = entry(
        "shop/orders",
        HOST,
        (80, "HTTP"),
        endpoints=[],
        workloadSelector={"labels": {"app": "orders"}},
        location="MESH_INTERNAL",
    )
    assert called(Shop(selecting, far, gateway(), network="near", mtls=True)) == ["192.0.2.1"]
    assert called(Shop(selecting, far, network="near", mtls=True)) == []


def test_the_system_namespaces_label_places_every_address():
    found = world(made("Namespace", "istio-system", labels={LABEL: "near"}), orders())
    assert [e.network for each in found.endpoints.values() for e in each] == ["near", "far"]
    after, changed = found.apply([put(made("Namespace", "istio-system"))])
    assert changed.endpoints
    assert [e.network for each in after.endpoints.values() for e in each] == ["", "far"]


def test_networks_that_cannot_be_read_change_nothing():
    right = "networks: {far: {gateways: [{address: 192.0.2.9, port: 15443}]}}"
    found = world(networks(right))
    after, changed = found.apply([put(networks("networks: ["))])
    assert not changed
    assert after.networks == found.networks
    (text,) = after.problems()[Ref("ConfigMap", "istio-system", "istio")]
    assert text.startswith("data.meshNetworks is left out")
    emptied, changed = after.apply([put(mesh(""))])
    assert changed.networks
    assert not emptied.networks.gateways


def test_what_leads_nowhere_is_told():
    found, _ = Snapshot.empty().apply(
        [put(networks("networks: {far: {endpoints: [{fromRegistry: east}], gateways: [{address: gw.ex, port: 1}]}}"))]
    )
    told = found.problems()[Ref("ConfigMap", "istio-system", "istio")]
    assert any("fromRegistry: east is no cluster" in text for text in told)
    assert any("gw.ex is left out" in text for text in told)
