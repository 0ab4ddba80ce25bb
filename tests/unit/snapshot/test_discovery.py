"""discoverySelectors: which namespaces' objects there are, and what a change of labels or selectors costs."""

from tests.worlds import entry, gone, made, mesh, policy, put, routing, service
from tidegate.api.decode import stored
from tidegate.api.objects import Object, Ref
from tidegate.snapshot.state import Snapshot
from tidegate.snapshot.world import Changed

TEAM_ONE = "discoverySelectors: [{matchLabels: {team: one}}]"
NOT_SEEN = (
    "is not seen: namespace shop is not selected by discoverySelectors of the mesh configuration; "
    "label the Namespace as one of them asks, or add a selector"
)
RULE = Ref("DestinationRule", "shop", "orders")


def namespace(name: str, **labels: str) -> Object:
    return made("Namespace", name, labels=labels)


def shop() -> list[Object]:
    return [
        service("shop/orders"),
        entry("shop/pay", "pay.example"),
        routing("shop/pay", ["pay.example"], "pay.example"),
        policy("shop/orders", "orders", connections=1),
    ]


def world(*objects: Object) -> Snapshot:
    return Snapshot.empty().apply(map(put, objects))[0]


def hosts(found: Snapshot) -> set[str]:
    return {key.host for key in found.services}


def test_only_namespaces_that_a_selector_matches_are_seen():
    found = world(*shop(), entry("other/more", "more.example"), namespace("shop"), namespace("other", team="one"))
    assert hosts(found) == {"orders.shop.svc.cluster.local", "pay.example", "more.example"}
    assert not found.problems()
    found, _ = found.apply([put(mesh(TEAM_ONE))])
    assert hosts(found) == {"more.example"}
    assert not found.virtual_services
    assert not found.destination_rules
    assert found.problems_of(RULE) == (NOT_SEEN,)
    assert {ref.kind for ref in found.problems()} == {"Service", "ServiceEntry", "VirtualService", "DestinationRule"}


def test_one_of_several_selectors_is_enough_and_all_of_one_must_hold():
    either = "discoverySelectors: [{matchLabels: {team: one}}, {matchLabels: {team: two}}]"
    both = "discoverySelectors: [{matchLabels: {team: one}, matchExpressions: [{key: old, operator: DoesNotExist}]}]"
    objects = (entry("shop/pay", "pay.example"), entry("other/more", "more.example"))
    spaces = (namespace("shop", team="one"), namespace("other", team="two"))
    assert hosts(world(*objects, *spaces, mesh(either))) == {"pay.example", "more.example"}
    assert hosts(world(*objects, *spaces, mesh(both))) == {"pay.example"}
    assert not hosts(world(*objects, namespace("shop", team="one", old="yes"), mesh(both)))


def test_a_namespace_without_an_object_is_not_selected_even_by_what_it_lacks():
    absent = "discoverySelectors: [{matchExpressions: [{key: old, operator: DoesNotExist}]}]"
    assert not hosts(world(*shop(), mesh(absent)))
    assert hosts(world(*shop(), namespace("shop"), mesh(absent)))
    assert not hosts(world(*shop(), mesh("discoverySelectors: [{}]")))
    assert hosts(world(*shop(), namespace("shop"), mesh("discoverySelectors: [{}]")))


def test_the_control_planes_namespace_is_no_exception_but_its_mesh_configuration_is():
    sidecar = made("Sidecar", "istio-system/default", egress=[{"hosts": ["./*"]}])
    found = world(sidecar, namespace("istio-system"), mesh(TEAM_ONE + "\noutboundTrafficPolicy: {mode: REGISTRY_ONLY}"))
    assert not found.sidecars
    assert found.mesh.outbound_traffic_policy.mode == "REGISTRY_ONLY"
    assert "istio-system" in found.namespaces


def test_a_label_brings_a_namespaces_objects_in_and_out_and_costs_what_is_in_it():
    many = [entry(f"other/{n}", f"{n}.example") for n in range(50)]
    before = world(*shop(), *many, namespace("shop"), namespace("other", team="one"), mesh(TEAM_ONE))
    seen, changed = before.apply([put(namespace("shop", team="one"))])
    assert hosts(seen) - hosts(before) == {"orders.shop.svc.cluster.local", "pay.example"}
    assert RULE in changed.destination_rules
    assert RULE in changed.told
    assert not seen.problems_of(RULE)
    assert int(seen.derived) < 10
    after, changed = seen.apply([gone(namespace("shop"))])
    assert hosts(after) == hosts(before)
    assert {key.host for key in changed.services} == {"orders.shop.svc.cluster.local", "pay.example"}
    assert int(after.derived) < 10


def test_what_changes_where_nobody_looks_changes_nothing_but_is_there_later():
    found = world(namespace("shop"), mesh(TEAM_ONE))
    found, changed = found.apply([put(entry("shop/pay", "pay.example"))])
    assert changed == Changed(told=frozenset({Ref("ServiceEntry", "shop", "pay")}))
    found, changed = found.apply([put(entry("shop/pay", "new.example"))])
    assert changed == Changed()
    found, _ = found.apply([put(namespace("shop", team="one"))])
    assert hosts(found) == {"new.example"}


def test_what_goes_where_nobody_looks_does_not_come_back():
    found = world(*shop(), namespace("shop"), mesh(TEAM_ONE))
    found, _ = found.apply([gone(each) for each in shop()])
    assert not found.problems()
    found, changed = found.apply([put(mesh(""))])
    assert changed == Changed(mesh=True)
    assert not hosts(found)


def test_one_step_may_select_a_namespace_and_delete_in_it():
    found = world(*shop(), made("PeerAuthentication", "shop/strict"), namespace("shop"), mesh(TEAM_ONE))
    _, changed = found.apply([put(namespace("shop", team="one")), gone(Ref("PeerAuthentication", "shop", "strict"))])
    assert not changed.policies


def test_without_selectors_nothing_is_kept_twice():
    found = world(*shop(), mesh(TEAM_ONE))
    assert len(found.given["shop"]) == len(shop())
    found, _ = found.apply([put(mesh(""))])
    assert not found.given
    assert not found.problems()
    assert RULE in found.destination_rules


def test_an_invalid_object_is_told_as_such_once_its_namespace_is_seen():
    wrong = made("VirtualService", "shop/wrong", hosts=["a.example"], http=[{}])
    found = world(wrong, namespace("shop"))
    assert found.problems_of(wrong.ref)[0].startswith("left out: ")
    found, _ = found.apply([put(mesh(TEAM_ONE))])
    assert found.problems_of(wrong.ref) == (NOT_SEEN,)
    found, _ = found.apply([put(namespace("shop", team="one"))])
    assert found.problems_of(wrong.ref)[0].startswith("left out: ")


def test_what_ingresses_stand_for_goes_and_comes_with_them():
    backend = {"service": {"name": "orders", "port": {"number": 80}}}
    rule = {"host": "a.example", "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}
    found = world(
        stored(
            {
                "apiVersion": "networking.k8s.io/v1",
                "kind": "Ingress",
                "metadata": {"name": "in", "namespace": "shop"},
                "spec": {"ingressClassName": "istio", "rules": [rule]},
            }
        ),
        *shop(),
        namespace("istio-system", team="one"),
        namespace("shop"),
        mesh("ingressControllerMode: STRICT\ningressClass: istio"),
    )
    made_of_it = found.policies("Gateway")
    assert len(made_of_it) == 1
    for _ in range(2):
        found, _ = found.apply([put(mesh(TEAM_ONE + "\ningressControllerMode: STRICT\ningressClass: istio"))])
        assert not found.policies("Gateway")
        found, _ = found.apply([put(namespace("shop", team="one"))])
        assert found.policies("Gateway") == made_of_it
        found, _ = found.apply([put(namespace("shop"))])


def test_selectors_that_cannot_be_read_leave_those_before_in_force():
    found = world(*shop(), namespace("shop"), mesh(TEAM_ONE))
    broken = "discoverySelectors: [{matchExpressions: [{key: team, operator: Is, values: [one]}]}]"
    after, _ = found.apply([put(mesh(broken))])
    assert not hosts(after)
    (text,) = after.problems_of(Ref("ConfigMap", "istio-system", "istio"))
    assert text == (
        "data.mesh.discoverySelectors[0].matchExpressions[0].operator: must be one of In, NotIn, Exists, DoesNotExist, "
        "not 'Is'; the discoverySelectors before stay in force"
    )
