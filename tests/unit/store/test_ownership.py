import pytest

from tidegate.api.kinds import KINDS
from tidegate.store import ownership
from tidegate.store.model import StoreError

BARE = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}}


def by(manager, force=False, subresource=""):
    return ownership.Writer(manager, "v1", "2024-01-01T00:00:00Z", subresource, force)


def service(*ports, **spec):
    return {**BARE, "spec": {"ports": [{"port": p} for p in ports], **spec}}


def apply(live, applied, manager, **options):
    return ownership.applied(live, applied, KINDS["Service"], by(manager, **options))


def update(live, new, manager, **options):
    kept = {**new["metadata"]}
    if live and "managedFields" in live["metadata"]:
        kept.setdefault("managedFields", live["metadata"]["managedFields"])
    return ownership.updated({**new, "metadata": kept}, live, KINDS["Service"], by(manager, **options))


def owners(obj):
    return [(e["manager"], e["operation"]) for e in obj["metadata"].get("managedFields", [])]


def ports(obj):
    return [p["port"] for p in obj["spec"].get("ports", [])]


def test_elements_belong_to_who_applied_them():
    one = apply(BARE, service(80), "one")
    both = apply(one, service(81), "two")
    assert ports(both) == [80, 81]
    assert ports(apply(both, service(), "one")) == [81]
    assert {e["manager"] for e in both["metadata"]["managedFields"]} == {"one", "two"}


def test_fields_no_longer_applied_go():
    first = apply(BARE, service(80, type="NodePort"), "one")
    assert "type" not in apply(first, service(80), "one")["spec"]


def test_fields_shared_with_another_stay():
    one = apply(BARE, service(80, type="NodePort"), "one")
    both = apply(one, service(type="NodePort"), "two")
    assert apply(both, service(80), "one")["spec"]["type"] == "NodePort"


def test_fields_of_nobody_stay():
    live = {**BARE, "spec": {"clusterIP": "10.0.0.1"}, "status": {"a": 1}}
    after = apply(live, service(80), "one")
    assert after["spec"]["clusterIP"] == "10.0.0.1" and after["status"] == {"a": 1}


def test_conflicts_name_the_fields_and_force_takes_them():
    one = apply(BARE, service(type="NodePort"), "one")
    with pytest.raises(StoreError) as caught:
        apply(one, service(type="ClusterIP"), "two")
    assert caught.value.code == 409
    assert [c["field"] for c in caught.value.details["causes"]] == [".spec.type"]
    forced = apply(one, service(type="ClusterIP"), "two", force=True)
    assert forced["spec"]["type"] == "ClusterIP"
    assert apply(forced, service(), "one")["spec"]["type"] == "ClusterIP"


def test_the_same_value_is_no_conflict():
    one = apply(BARE, service(type="NodePort"), "one")
    assert apply(one, service(type="NodePort"), "two")["spec"]["type"] == "NodePort"


def test_status_is_applied_apart():
    after = apply(BARE, {"status": {"x": 1}, "spec": {"type": "Z"}, "metadata": {}}, "one", subresource="status")
    assert after["status"] == {"x": 1} and "spec" not in after
    (entry,) = after["metadata"]["managedFields"]
    assert entry["subresource"] == "status"


def test_inputs_are_not_changed():
    live, applied = apply(BARE, service(80), "one"), service(80, 81)
    before = repr((live, applied))
    apply(live, applied, "one")
    assert repr((live, applied)) == before


def test_updates_own_what_they_change():
    made = update(None, service(80, type="NodePort"), "one")
    changed = update(made, service(80, type="ClusterIP"), "two")
    assert owners(changed) == [("one", "Update"), ("two", "Update")]
    one, two = (e["fieldsV1"]["f:spec"] for e in changed["metadata"]["managedFields"])
    assert "f:type" not in one and two == {"f:type": {}}


def test_an_apply_conflicts_with_an_update():
    made = update(None, service(type="NodePort"), "one")
    with pytest.raises(StoreError) as caught:
        apply(made, service(type="ClusterIP"), "two")
    assert caught.value.details["causes"][0]["message"] == 'conflict with "one"'
    assert owners(apply(made, service(type="ClusterIP"), "two", force=True)) == [("two", "Apply"), ("one", "Update")]


def test_removing_a_field_takes_it_from_all():
    made = apply(BARE, service(type="NodePort", clusterIP="None"), "one")
    changed = update(made, service(clusterIP="None"), "two")
    (entry,) = changed["metadata"]["managedFields"]
    assert "f:type" not in entry["fieldsV1"]["f:spec"] and "f:clusterIP" in entry["fieldsV1"]["f:spec"]


def test_a_repeated_write_changes_nothing():
    made = update(None, service(80), "one")
    later = ownership.Writer("one", "v1", "2030-01-01T00:00:00Z")
    assert ownership.updated(made, made, KINDS["Service"], later) == made


def test_managed_fields_that_are_sent_count():
    made = update(None, service(type="NodePort"), "kubectl-client-side-apply")
    (entry,) = made["metadata"]["managedFields"]
    mine = {**made["metadata"], "managedFields": [{**entry, "manager": "kubectl", "operation": "Apply"}]}
    moved = update(made, {**made, "metadata": mine}, "migration")
    assert owners(moved) == [("kubectl", "Apply")]
    assert "type" not in apply(moved, service(80), "kubectl")["spec"]


def test_fields_from_before_ownership_have_an_owner():
    with pytest.raises(StoreError) as caught:
        apply(service(type="NodePort"), service(type="ClusterIP"), "one")
    assert "before-first-apply" in caught.value.details["causes"][0]["message"]


def test_many_updaters_stay_few_entries():
    live = update(None, service(), "m0")
    for number in range(1, 30):
        live = update(
            live, service(**{f"x{number}": 1}, **{k: v for k, v in live["spec"].items() if k != "ports"}), f"m{number}"
        )
    assert len(live["metadata"]["managedFields"]) <= 11
    assert ("ancient-changes", "Update") in owners(live)
