import pytest

from tidegate.api.kinds import KINDS
from tidegate.store import fieldsets
from tidegate.store.model import StoreError


def by(manager, force=False, subresource=""):
    return fieldsets.Application(manager, "v1", force, "2024-01-01T00:00:00Z", subresource)


def service(*ports, **spec):
    return {"metadata": {"name": "s"}, "spec": {"ports": [{"port": p} for p in ports], **spec}}


def apply(live, applied, manager, **options):
    return fieldsets.apply(live, applied, KINDS["Service"], by(manager, **options))


BARE = {"metadata": {"name": "s"}}


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
