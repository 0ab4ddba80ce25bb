"""Which connections a TCP port without addresses takes from other objects, in the words of the warning."""

import pytest

from tests.worlds import entry, service
from tidegate.registry.shadowing import NAMED, ports, shadowed, takers

HOLDS = "ServiceEntry data/redis: port 7000 without addresses takes every connection to port 7000"


def redis(resolution="DNS", **spec):
    return entry("data/redis", "redis.example", (7000, "TCP"), resolution=resolution, **spec)


def other(**spec):
    spec = {"endpoints": [{"address": "10.0.0.6"}], "day": 2, **spec}
    return entry("x/y", "y.example", (7000, "TCP"), **spec)


def test_both_objects_are_named_with_the_address_that_is_lost():
    assert shadowed(redis(), [other()]) == [f"{HOLDS}, also those to ServiceEntry x/y (10.0.0.6:7000)"]


def test_the_younger_of_two_is_told_who_has_the_port():
    told = shadowed(other(), [redis()])
    assert told == [f"ServiceEntry x/y port 7000 (10.0.0.6:7000) is taken by {HOLDS}; set addresses there"]


@pytest.mark.parametrize("resolution", ["DNS", "DNS_ROUND_ROBIN", "STATIC", "NONE"])
def test_every_resolution_takes(resolution):
    assert shadowed(redis(resolution), [other()])[0].startswith(HOLDS)


def test_a_warning_fits_into_what_kubectl_shows():
    many = [entry(f"x/e{i:02}", f"e{i}.example", (7000, "TCP"), day=2) for i in range(NAMED)]
    assert len(shadowed(redis(), many)[0]) <= 256


def test_of_an_http_service_only_what_is_not_http_is_taken():
    web = service("other/some-http-svc", (7000, "http-7000"), address="10.96.0.115")
    told = shadowed(redis(), [web])
    assert told == [f"{HOLDS}, also those to Service other/some-http-svc (10.96.0.115:7000, what is not HTTP)"]
    assert "is taken by ServiceEntry data/redis" in shadowed(web, [redis()])[0]


@pytest.mark.parametrize(
    "unharmed",
    [
        service("other/db", (7000, "tcp"), address="10.96.0.5"),
        service("other/web", (7001, "http"), address="10.96.0.5"),
        entry("x/tls", "y.example", (7000, "TLS"), resolution="DNS"),
        entry("x/own", "y.example", (7000, "TCP"), resolution="DNS", addresses=["10.0.0.9"]),
        entry("x/private", "y.example", (7000, "TCP"), day=2, exportTo=["elsewhere"]),
    ],
    ids=lambda o: o.ref.name,
)
def test_listeners_of_their_own_and_objects_nobody_sees_beside_it_are_unharmed(unharmed):
    assert shadowed(redis(exportTo=["data", "x"]), [unharmed]) == []


def test_endpoints_behind_an_address_are_lost_to_those_who_ask_them_directly():
    told = shadowed(redis(), [other(addresses=["10.9.9.9"])])
    assert "ServiceEntry x/y (10.0.0.6:7000, asked directly)" in told[0]


def test_with_addresses_nothing_is_taken():
    given = redis(addresses=["10.0.0.1"])
    assert takers(given) == ()
    assert ports(redis()) == takers(redis()) == (7000,)
    assert shadowed(given, [other(endpoints=[{"address": "10.0.0.6"}], addresses=["10.9.9.9"])]) == []


def test_private_entries_of_two_namespaces_do_not_meet():
    assert shadowed(redis(exportTo=["."]), [other(exportTo=["."])]) == []
    assert shadowed(redis(exportTo=["."]), [other(exportTo=["data"])])
    assert shadowed(redis(exportTo=["~"]), [other()]) == []


def test_many_are_counted():
    many = [entry(f"x/e{i:02}", f"e{i}.example", (7000, "TCP"), day=2) for i in range(NAMED + 3)]
    assert shadowed(redis(), many)[0].endswith(" and 3 more")


def test_an_object_does_not_shadow_itself():
    assert shadowed(redis(), [redis()]) == []
