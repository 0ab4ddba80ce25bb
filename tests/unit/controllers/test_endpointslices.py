"""EndpointSlice plans, carried out on the value they were made for."""

from typing import Any

import msgspec

from tidegate.controllers.endpointslices import FROM_PODS, MANAGED_BY, MAX_ENDPOINTS, MIRROR, Observed, plan
from tidegate.controllers.plan import Action

Json = dict[str, Any]


def service(**spec: Any) -> Json:
    ports = [{"name": "http", "port": 80, "targetPort": "web"}]
    meta = {"name": "orders", "namespace": "shop", "uid": "u1", "labels": {"team": "one"}}
    return {"kind": "Service", "metadata": meta, "spec": {"selector": {"app": "orders"}, "ports": ports, **spec}}


def pod(number: int, *, web: int = 8080, ready: bool = True, phase: str = "Running", **meta: Any) -> Json:
    return {
        "kind": "Pod",
        "metadata": {"name": f"orders-{number:03}", "namespace": "shop", "labels": {"app": "orders"}, **meta},
        "spec": {"nodeName": "n1", "containers": [{"ports": [{"name": "web", "containerPort": web}]}]},
        "status": {
            "phase": phase,
            "podIP": f"10.0.{number // 200}.{number % 200 + 1}",
            "conditions": [{"type": "Ready", "status": str(ready)}],
        },
    }


def carried_out(seen: Observed, actions: list[Action]) -> Observed:
    slices = {s["metadata"]["name"]: s for s in seen.slices}
    for action in actions:
        name = action.object["metadata"]["name"]
        assert (action.verb == "create") == (name not in slices), str(action)
        slices.pop(name, None)
        if action.verb != "delete":
            slices[name] = action.object
    return msgspec.structs.replace(seen, slices=tuple(slices.values()))


def settled(seen: Observed) -> Observed:
    after = carried_out(seen, plan(seen))
    assert plan(after) == [], "a plan that was carried out leaves nothing to do"
    return after


def test_a_slice_says_what_kubernetes_says() -> None:
    [made] = settled(Observed(service(), (pod(1), pod(2, ready=False)))).slices
    assert made["metadata"]["labels"] == {"kubernetes.io/service-name": "orders", MANAGED_BY: FROM_PODS, "team": "one"}
    assert made["metadata"]["ownerReferences"][0]["uid"] == "u1"
    assert made["ports"] == [{"name": "http", "port": 8080, "protocol": "TCP"}]
    assert [e["conditions"]["ready"] for e in made["endpoints"]] == [True, False]
    assert made["endpoints"][0]["targetRef"]["name"] == "orders-001"


def test_pods_whose_named_port_differs_stand_in_slices_of_their_own() -> None:
    made = settled(Observed(service(), (pod(1), pod(2, web=9090)))).slices
    assert sorted(s["ports"][0]["port"] for s in made) == [8080, 9090]


def test_only_selected_pods_with_an_address_that_are_not_done_count() -> None:
    foreign = pod(3, labels={"app": "other"})
    unnamed = pod(4)
    unnamed["spec"]["containers"] = []
    bare = pod(5)
    del bare["status"]["podIP"]
    assert plan(Observed(service(), (pod(1, phase="Succeeded"), foreign, unnamed, bare))) == []


def test_a_terminating_pod_serves_but_is_not_ready() -> None:
    [made] = settled(Observed(service(), (pod(1, deletionTimestamp="2026-01-01T00:00:00Z"),))).slices
    assert made["endpoints"][0]["conditions"] == {"ready": False, "serving": True, "terminating": True}
    [made] = settled(Observed(service(publishNotReadyAddresses=True), (pod(1, ready=False),))).slices
    assert made["endpoints"][0]["conditions"]["ready"]


def test_a_new_pod_touches_one_slice_however_many_there_are() -> None:
    seen = settled(Observed(service(), tuple(pod(n) for n in range(1, 251))))
    assert sorted(len(s["endpoints"]) for s in seen.slices) == [50, MAX_ENDPOINTS, MAX_ENDPOINTS]
    [action] = plan(msgspec.structs.replace(seen, pods=(pod(0), *seen.pods)))
    assert (action.verb, action.reason) == ("update", "1 endpoint(s) came, 0 went, 0 changed")
    assert len(action.object["endpoints"]) == 51


def test_slices_go_with_the_last_endpoint_and_with_the_service_but_never_another_managers() -> None:
    seen = settled(Observed(service(), (pod(1),)))
    foreign = {"kind": "EndpointSlice", "metadata": {"name": "mine", "labels": {MANAGED_BY: "me"}}, "endpoints": []}
    seen = msgspec.structs.replace(seen, slices=(*seen.slices, foreign))
    for changed in (
        msgspec.structs.replace(seen, pods=()),
        msgspec.structs.replace(seen, service=None),
        msgspec.structs.replace(seen, service=service(type="ExternalName")),
    ):
        [action] = plan(changed)
        assert action.verb == "delete"
        assert action.object["metadata"]["name"] != "mine"


def test_endpoints_of_a_service_without_selector_are_mirrored() -> None:
    legacy = {
        "kind": "Endpoints",
        "metadata": {"name": "orders", "namespace": "shop", "uid": "u2"},
        "subsets": [
            {
                "addresses": [{"ip": "192.0.2.1"}],
                "notReadyAddresses": [{"ip": "192.0.2.2"}],
                "ports": [{"name": "http", "port": 8091}],
            }
        ],
    }
    seen = settled(Observed(service(selector={}), endpoints=legacy))
    [made] = seen.slices
    assert made["metadata"]["labels"][MANAGED_BY] == MIRROR
    assert [(e["addresses"], e["conditions"]["ready"]) for e in made["endpoints"]] == [
        (["192.0.2.1"], True),
        (["192.0.2.2"], False),
    ]
    legacy["metadata"]["labels"] = {"endpointslice.kubernetes.io/skip-mirror": "true"}
    assert [a.verb for a in plan(seen)] == ["delete"]
    assert plan(Observed(service(), endpoints=legacy)) == [], "pods are looked for, not mirrored"


def test_without_named_families_a_service_has_those_of_its_addresses() -> None:
    both = pod(1)
    both["status"]["podIPs"] = [{"ip": "10.0.0.2"}, {"ip": "fd00::2"}]
    families = [
        sorted(s["addressType"] for s in settled(Observed(service(**spec), (both,))).slices)
        for spec in ({}, {"clusterIP": "fd00::1"}, {"clusterIPs": ["10.96.0.1", "fd00::1"]}, {"clusterIP": "None"})
    ]
    assert families == [["IPv4"], ["IPv6"], ["IPv4", "IPv6"], ["IPv4"]]
