"""The world: what one change derives, what it reports, and what depends on what."""

from typing import Any

import pytest
import yaml

from tidegate.api.decode import stored
from tidegate.api.objects import Ref
from tidegate.registry.model import Service, ServiceKey
from tidegate.snapshot.state import Snapshot
from tidegate.snapshot.world import Changed, Event, Verb

ISTIO = "networking.istio.io/v1"
API = {
    "Namespace": "v1",
    "Node": "v1",
    "Pod": "v1",
    "Service": "v1",
    "ConfigMap": "v1",
    "EndpointSlice": "discovery.k8s.io/v1",
}


def put(kind: str, name: str, text: str = "", *, namespace: str = "shop", created: str = "", **meta: Any) -> Event:
    """An event for an object whose body (beside metadata) is the YAML ``text``."""
    where = {} if kind in ("Namespace", "Node") else {"namespace": namespace}
    body = yaml.safe_load(text) or {}
    metadata = {"name": name, "creationTimestamp": created, **where, **meta}
    obj = stored({"apiVersion": API.get(kind, ISTIO), "kind": kind, "metadata": metadata, **body})
    return Event(Verb.PUT, obj.ref, obj)


def delete(kind: str, name: str, namespace: str = "shop") -> Event:
    return Event(Verb.DELETE, Ref(kind, namespace, name))


def world(*events: Event) -> Snapshot:
    return Snapshot.empty().apply(events)[0]


def entry(name: str, host: str, address: str = "192.0.2.1", *, created: str = "", port: int = 80) -> Event:
    spec = f"""
    spec:
      hosts: [{host}]
      resolution: STATIC
      ports: [{{number: {port}, name: http-{port}, protocol: HTTP}}]
      endpoints: [{{address: {address}}}]"""
    return put("ServiceEntry", name, spec, created=created)


POD = """
spec: {nodeName: n1, serviceAccountName: orders}
status: {phase: Running, podIP: 10.0.0.1, conditions: [{type: Ready, status: 'True'}]}"""
SERVICE = """
spec: {clusterIP: 10.96.0.9, selector: {app: orders}, ports: [{name: http, port: 80, targetPort: web}]}"""
SLICE = """
addressType: IPv4
ports: [{name: http, port: 8080}]
endpoints: [{addresses: [10.0.0.1], targetRef: {kind: Pod, name: orders-1}}]"""
ORDERS = ServiceKey("shop", "orders.shop.svc.cluster.local")
MINE = {"labels": {"kubernetes.io/service-name": "orders"}}


def test_a_changed_service_entry_derives_itself_alone_however_many_there_are() -> None:
    full = world(*(entry(f"e{n}", f"h{n}.example") for n in range(2000)))
    after, changed = full.apply([entry("e7", "h7.example", "192.0.2.9")])
    assert changed == Changed(endpoints=frozenset({ServiceKey("shop", "h7.example")}))
    assert (after.derived.services, after.derived.endpoints, int(after.derived)) == (1, 1, 2)
    assert full.endpoints[ServiceKey("shop", "h7.example")][0].address == "192.0.2.1", "the old world stands"


def test_an_object_that_is_put_again_changes_nothing() -> None:
    first = world(entry("e", "h.example"))
    after, changed = first.apply([entry("e", "h.example")])
    assert not changed
    assert (after.version, int(after.derived)) == (first.version, 0)


def test_a_pod_may_come_after_the_slice_that_lists_it() -> None:
    before = world(put("Service", "orders", SERVICE), put("EndpointSlice", "orders-a", SLICE, **MINE))
    assert before.endpoints[ORDERS] == ()
    after, changed = before.apply([put("Pod", "orders-1", POD)])
    assert changed == Changed(endpoints=frozenset({ORDERS}), workloads=frozenset({Ref("Pod", "shop", "orders-1")}))
    [endpoint] = after.endpoints[ORDERS]
    assert (endpoint.address, endpoint.port, endpoint.service_account) == ("10.0.0.1", 8080, "orders")


def test_a_node_that_moves_takes_its_pods_with_it() -> None:
    service, pod = put("Service", "orders", SERVICE), put("Pod", "orders-1", POD)
    before = world(service, pod, put("EndpointSlice", "orders-a", SLICE, **MINE))
    labels = {"topology.kubernetes.io/region": "north", "topology.kubernetes.io/zone": "n-1"}
    after, changed = before.apply([put("Node", "n1", labels=labels)])
    assert changed.endpoints == {ORDERS}
    assert after.endpoints[ORDERS][0].locality == "north/n-1"


CONTAINER = "containers: [{name: c, ports: [{name: web, containerPort: 9000}]}]"


def test_targets_know_a_pod_before_its_slice() -> None:
    waiting = POD.replace("'True'", "'False'").replace("nodeName: n1", CONTAINER)
    state = world(put("Service", "orders", SERVICE), put("Pod", "orders-1", waiting, labels={"app": "orders"}))
    [target] = state.targets(state.workloads[Ref("Pod", "shop", "orders-1")])
    assert (target.service.key, target.port.number, target.endpoint_port) == (ORDERS, 80, 9000)


def test_two_workload_entries_of_one_address_serve_their_own_ports() -> None:
    select = """
    spec:
      hosts: [nginx.example]
      resolution: STATIC
      ports: [{number: 80, name: http, protocol: HTTP, targetPort: 8091}]
      workloadSelector: {labels: {app: nginx}}"""
    one = "spec: {address: 10.1.1.1, labels: {app: nginx, version: spec}}"
    two = "spec: {address: 10.1.1.1, ports: {http: 8092}, labels: {app: nginx}}"
    state = world(
        put("ServiceEntry", "nginx", select),
        put("WorkloadEntry", "w1", one, labels={"version": "meta"}),
        put("WorkloadEntry", "w2", two),
    )
    found = state.endpoints[ServiceKey("shop", "nginx.example")]
    assert [(e.workload_name, e.port) for e in found] == [("w1", 8091), ("w2", 8092)]
    assert dict(found[0].labels)["version"] == "meta"
    ports = [[t.endpoint_port for t in state.targets(state.workloads[r])] for r in state.by_address["10.1.1.1"]]
    assert ports == [[8091], [8092]]


def test_one_host_declared_twice_in_a_namespace_is_one_service_with_the_ports_and_endpoints_of_both() -> None:
    younger = entry("b", "rates.example", "192.0.2.92", created="2026-02-02T00:00:00Z", port=8080)
    state = world(younger, entry("a", "rates.example", "192.0.2.91", created="2026-02-01T00:00:00Z"))
    service: Service = state.services[ServiceKey("shop", "rates.example")]
    assert [p.number for p in service.ports] == [80, 8080]
    assert [s.name for s in service.sources] == ["a", "b"]
    assert [(e.address, e.port) for e in state.endpoints[service.key]] == [("192.0.2.91", 80), ("192.0.2.92", 8080)]


def test_hosts_come_oldest_definition_first_whatever_their_letter_case() -> None:
    old = put("ServiceEntry", "z", "spec: {hosts: [A.example], ports: [{number: 80, name: p}]}", namespace="b")
    state = world(entry("a", "a.example", created="2026-02-02T00:00:00Z"), old)
    assert [k.namespace for k in state.by_host["a.example"]] == ["b", "shop"]


RULE = "spec: {host: rates.example, subsets: [{name: %s, labels: {v: '1'}}], exportTo: %s}"


def test_rules_of_one_host_merge_and_a_changed_default_export_undoes_it() -> None:
    state = world(
        put("DestinationRule", "b", RULE % ("two", "[]"), created="2026-02-02T00:00:00Z"),
        put("DestinationRule", "a", RULE % ("one", "['*']"), created="2026-02-01T00:00:00Z"),
    )
    [rule] = state.destination_rules_for("shop", "rates.example")
    assert [s.name for s in rule.spec.subsets] == ["one", "two"]
    assert [r.name for r in state.members_of(rule.ref)] == ["a", "b"]
    mesh = put(
        "ConfigMap", "istio", "data: {mesh: \"defaultDestinationRuleExportTo: ['.']\"}", namespace="istio-system"
    )
    after, changed = state.apply([mesh])
    assert changed.mesh
    assert [r.ref.name for r in after.destination_rules_for("shop", "rates.example")] == ["a", "b"]
    assert {ref.name for ref in changed.destination_rules} == {"a", "b"}


def test_the_most_specific_rule_and_route_come_first() -> None:
    rule, routes = "spec: {host: '%s'}", "spec: {hosts: ['%s'], http: [{route: [{destination: {host: x.y}}]}]}"
    hosts = ("*.example", "*.b.example", "a.b.example", "other.example")
    state = world(
        *(put("DestinationRule", f"r{n}", rule % host) for n, host in enumerate(hosts)),
        *(put("VirtualService", f"v{n}", routes % host) for n, host in enumerate(hosts)),
    )
    assert [r.ref.name for r in state.destination_rules_for("shop", "A.b.example")] == ["r2", "r1", "r0"]
    assert [v.ref.name for v in state.virtual_services_for("a.b.example")] == ["v2", "v1", "v0"]
    assert [v.ref.name for v in state.virtual_services_for("*.b.example")] == ["v2", "v1", "v0"]
    assert [v.ref.name for v in state.virtual_services_for("*")] == ["v3", "v2", "v1", "v0"]


DELEGATE = """
spec:
  http:
  - match: [{uri: {prefix: /orders/v2}}]
    name: inner
    route: [{destination: {host: orders}}]
  - match: [{uri: {prefix: /elsewhere}}]
    route: [{destination: {host: orders}}]"""
ROOT = """
spec:
  hosts: [front]
  http:
  - name: outer
    match: [{uri: {prefix: /orders}, headers: {x-edge: {exact: '1'}}}]
    timeout: 2s
    delegate: {name: parts, namespace: other}
  - route: [{destination: {host: orders}}]"""


def test_a_delegates_routes_stand_in_its_roots_place_narrowed_and_resolved_in_its_own_namespace() -> None:
    before = world(put("VirtualService", "root", ROOT))
    root = Ref("VirtualService", "shop", "root")
    assert len(before.virtual_services[root].spec.http) == 1
    assert "there is no such VirtualService" in before.problems()[root][0]
    after, changed = before.apply([put("VirtualService", "parts", DELEGATE, namespace="other")])
    assert changed == Changed(virtual_services=frozenset({root}), told=frozenset({root}))
    spec = after.virtual_services[root].spec
    inner, last = spec.http
    assert spec.hosts == ("front.shop.svc.cluster.local",)
    assert (inner.name, str(inner.timeout), inner.match[0].uri.prefix) == ("outer-inner", "2s", "/orders/v2")
    assert inner.match[0].headers["x-edge"].exact == "1"
    assert inner.route[0].destination.host == "orders.other.svc.cluster.local"
    assert last.route[0].destination.host == "orders.shop.svc.cluster.local"
    assert after.problems()[root] == (
        "VirtualService/other/parts spec.http[1] is left out: its match is not within the root's",
    )


def test_an_invalid_object_is_left_out_told_and_stops_no_other() -> None:
    broken = put(
        "ServiceEntry", "bad", "spec: {hosts: [bad.example], resolution: STATIC, endpoints: [{address: no ip}]}"
    )
    state = world(broken, entry("good", "good.example"))
    assert list(state.by_host) == ["good.example"]
    assert all(text.startswith("left out: spec.") for text in state.problems()[broken.ref])
    mended, _ = state.apply([entry("bad", "bad.example")])
    assert not mended.problems()


@pytest.mark.parametrize("text", ["outboundTrafficPolicy: {mode: SOMETIMES}", "{"])
def test_a_mesh_configuration_that_cannot_be_read_leaves_the_one_before_it(text: str) -> None:
    def mesh(body: str) -> Event:
        obj = stored(
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": "istio", "namespace": "istio-system"},
                "data": {"mesh": body},
            }
        )
        return Event(Verb.PUT, obj.ref, obj)

    good = world(mesh("connectTimeout: 3s"))
    both, _ = good.apply([mesh("connectTimeout: 4s"), mesh(text)])
    assert str(both.mesh.connect_timeout) == "4s"
    after, changed = good.apply([mesh(text)])
    assert not changed
    assert str(after.mesh.connect_timeout) == "3s"
    assert "the one before it stays" in after.problems()[Ref("ConfigMap", "istio-system", "istio")][0]
    gone, changed = after.apply([delete("ConfigMap", "istio", "istio-system")])
    assert changed.mesh
    assert str(gone.mesh.connect_timeout) == "10s"
    assert not gone.problems()


def test_objects_that_select_workloads_stand_by_kind_and_namespace_oldest_first() -> None:
    spec = "spec: {selector: {app: edge}, servers: [{hosts: ['*'], port: {number: 80, name: http, protocol: HTTP}}]}"
    young, old = put("Gateway", "a", spec, created="2026-01-02"), put("Gateway", "b", spec, created="2026-01-01")
    first, changed = Snapshot.empty().apply([young, old])
    assert [each.ref.name for each in first.policies_in("Gateway", "shop")] == ["b", "a"]
    assert changed == Changed(policies=frozenset({young.ref, old.ref}))
    second, changed = first.apply([delete("Gateway", "b"), delete("Gateway", "a")])
    assert changed.policies == {young.ref, old.ref}
    assert not second.policies("Gateway")
    assert first.policies("Gateway")["shop"], "the world before stays as it was"
