"""Allocated addresses of ServiceEntries."""

from ipaddress import ip_address
from typing import Any

import pytest

from tidegate.controllers.addresses import BLOCKS, LABEL, Addresses, allocate

Json = dict[str, Any]


def entry(name: str, *hosts: str, created: str = "2026-01-01T00:00:00Z", status: Any = None, **spec: Any) -> Json:
    labels = spec.pop("labels", {})
    meta = {"name": name, "namespace": "shop", "creationTimestamp": created, "labels": labels}
    made = {"kind": "ServiceEntry", "metadata": meta, "spec": {"hosts": list(hosts), "resolution": "DNS", **spec}}
    return made | ({"status": status} if status is not None else {})


def addresses(entry: Json) -> list[str]:
    return [each["value"] for each in entry["status"]["addresses"]]


def known(*entries: Json) -> Addresses:
    made = Addresses()
    for each in entries:
        made.put("ServiceEntry", each)
    return made


def test_each_host_gets_one_address_of_each_family() -> None:
    (made,) = allocate([entry("a", "a.example", "b.example")])
    found = made["status"]["addresses"]
    assert [each["host"] for each in found] == ["a.example", "a.example", "b.example", "b.example"]
    assert all(ip_address(each["value"]) in BLOCKS[index % 2] for index, each in enumerate(found))
    assert len(set(addresses(made))) == 4


@pytest.mark.parametrize(
    "spec",
    [
        {"addresses": ["10.0.0.1"]},
        {"resolution": "NONE"},
        {"resolution": ""},
        {"labels": {LABEL: "false"}},
        {"hosts": ["*.example"]},
        {"hosts": []},
    ],
)
def test_entries_that_need_none(spec: Json) -> None:
    assert list(allocate([entry("a", "a.example", **spec)])) == []


def test_wildcards_that_are_resolved_when_they_are_asked_for() -> None:
    (made,) = allocate([entry("a", "*.example", resolution="DYNAMIC_DNS")])
    assert len(addresses(made)) == 2


def test_what_was_allocated_stays() -> None:
    (made,) = allocate([entry("a", "a.example")])
    assert known(made).plan(("shop", "a")) == []
    (grown,) = allocate([{**made, "spec": {**made["spec"], "hosts": ["new.example", "a.example"]}}])
    assert addresses(grown)[2:] == addresses(made)


def test_the_same_address_again_when_it_is_made_again() -> None:
    assert list(allocate([entry("a", "a.example")])) == list(allocate([entry("a", "a.example")]))


def test_no_address_is_given_twice() -> None:
    made = list(allocate([entry(f"e{i}", f"h{i}.example") for i in range(3000)]))
    assert len({a for each in made for a in addresses(each)}) == 6000


def test_of_two_with_one_address_the_older_keeps_it() -> None:
    status = {"addresses": [{"value": "240.240.0.5", "host": "h"}]}
    old, young = entry("z", "h", status=status), entry("a", "h", created="2026-02-01T00:00:00Z", status=status)
    both = known(young)
    assert both.put("ServiceEntry", old) == {("shop", "z"), ("shop", "a")}
    kept, moved = both.plan(("shop", "z"))[0].object, both.plan(("shop", "a"))[0].object
    assert addresses(kept)[0] == "240.240.0.5" and addresses(moved)[0] != "240.240.0.5"


@pytest.mark.parametrize("written", ["{}", "{}/32", "240.240.128.0/17", "240.240.0.0/17"])
def test_a_written_address_wins(written: str) -> None:
    (made,) = allocate([entry("a", "a.example")])
    mine = addresses(made)[0]
    user = entry("u", "u.example", addresses=[written.format(mine)])
    both = known(made)
    looked_at = both.put("ServiceEntry", user)
    inside = "/17" not in written or (int(mine.split(".")[2]) >= 128) == ("128.0" in written)
    assert (("shop", "a") in looked_at) == inside
    assert bool(both.plan(("shop", "a"))) == inside


def test_a_network_around_the_block_takes_nothing() -> None:
    made = list(allocate([entry("all", "x.example", addresses=["0.0.0.0/0"]), entry("a", "a.example")]))
    assert [len(addresses(each)) for each in made] == [2]


def test_addresses_that_are_needed_no_more_are_taken_back() -> None:
    status = {"addresses": [{"value": "240.240.0.5", "host": "h"}], "conditions": []}
    (action,) = known(entry("a", "h", addresses=["10.0.0.1"], status=status)).plan(("shop", "a"))
    assert action.object["status"] == {"conditions": []} and action.guarded


def test_an_address_of_what_is_gone_is_free() -> None:
    (made,) = allocate([entry("a", "a.example")])
    both = known(made)
    both.drop("ServiceEntry", ("shop", "a"))
    assert both.plan(("shop", "a")) == []
    both.put("ServiceEntry", entry("a", "a.example"))
    assert addresses(both.plan(("shop", "a"))[0].object) == addresses(made)


@pytest.mark.parametrize("status", [{"addresses": [{"value": "nonsense"}]}, {"addresses": "text"}, "text", {}])
def test_a_status_that_is_none_is_replaced(status: Any) -> None:
    (action,) = known(entry("a", "h", status=status)).plan(("shop", "a"))
    assert len(addresses(action.object)) == 2
