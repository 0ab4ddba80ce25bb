"""Cluster IPs: given, honoured, refused, kept and freed."""

from typing import Any

import pytest

from tidegate.controllers.clusterip import ClusterIPs, assign
from tidegate.kit.errors import InvalidObjectError

Json = dict[str, Any]


def service(name: str = "orders", **spec: Any) -> Json:
    return {"kind": "Service", "metadata": {"name": name, "namespace": "shop"}, "spec": spec}


def test_an_address_follows_from_the_name_and_skips_taken_ones() -> None:
    first = assign(service(), ())["spec"]
    assert first["clusterIP"].startswith("10.96.")
    assert first["clusterIPs"] == [first["clusterIP"]]
    assert assign(service(), ())["spec"] == first
    assert assign(service(), {first["clusterIP"]})["spec"]["clusterIP"] != first["clusterIP"]


def test_a_block_is_used_up_to_its_last_address_and_then_refuses() -> None:
    ips, given = ClusterIPs(block="10.0.0.0/29"), set()
    for n in range(5):
        given.add(ips("create", service(f"s{n}"), None)["spec"]["clusterIP"])
    assert given == {f"10.0.0.{n}" for n in range(2, 7)}
    with pytest.raises(InvalidObjectError, match=r"no address of 10\.0\.0\.0/29 is free"):
        ips("create", service("one-more"), None)


@pytest.mark.parametrize("spec", [{"type": "ExternalName", "externalName": "a.example"}, {"clusterIP": "None"}])
def test_services_that_have_no_address_get_none(spec: Json) -> None:
    assert assign(service(**spec), ())["spec"].get("clusterIP", "None") == "None"


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ({"clusterIP": "10.96.0.9"}, "spec.clusterIP: is another Service's"),
        ({"clusterIP": "192.0.2.1"}, "spec.clusterIP: must be an address of the service range 10.96.0.0/16"),
        ({"clusterIP": "nonsense"}, "spec.clusterIP: must be empty"),
        ({"clusterIP": "10.96.0.7", "clusterIPs": ["10.96.0.8"]}, "spec.clusterIPs: must hold the one address"),
        ({"type": "ExternalName", "clusterIP": "10.96.0.7"}, "spec.clusterIP: must be empty"),
    ],
)
def test_a_wanted_address_that_cannot_be_is_refused_by_field(spec: Json, path: str) -> None:
    with pytest.raises(InvalidObjectError, match=r"Service shop/orders is invalid") as refused:
        assign(service(**spec), {"10.96.0.9"})
    assert path in str(refused.value)


def test_an_update_keeps_the_address_and_a_deletion_frees_it() -> None:
    ips = ClusterIPs()
    made = ips("create", service(clusterIP="10.96.0.7"), None)
    assert ips("update", service(ports=[]), made)["spec"]["clusterIP"] == "10.96.0.7"
    with pytest.raises(InvalidObjectError, match=r"cannot change from 10\.96\.0\.7"):
        ips("update", service(clusterIP="10.96.0.8"), made)
    with pytest.raises(InvalidObjectError, match="is another Service's"):
        ips("create", service("other", clusterIP="10.96.0.7"), None)
    ips("delete", made, None)
    assert ips("create", service("other", clusterIP="10.96.0.7"), None)["spec"]["clusterIP"] == "10.96.0.7"


def test_becoming_an_external_name_gives_the_address_back() -> None:
    ips = ClusterIPs([service(clusterIP="10.96.0.7")])
    changed = service(type="ExternalName", externalName="a.example", clusterIP="10.96.0.7", clusterIPs=["10.96.0.7"])
    made = ips("update", changed, service(clusterIP="10.96.0.7"))
    assert "clusterIP" not in made["spec"]
    assert ips("create", service("other", clusterIP="10.96.0.7"), None)["spec"]["clusterIP"] == "10.96.0.7"


def test_other_kinds_pass() -> None:
    pod = {"kind": "Pod", "metadata": {"name": "p"}}
    assert ClusterIPs()("create", pod, None) is pod
