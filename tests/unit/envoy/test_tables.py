"""Shared route configurations and listeners that follow single hosts: the way there does not show in the result."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.worlds import Shop, entry, gone, put, routing, service, sidecar
from tidegate.envoy.cache import Builders
from tidegate.envoy.contribution import Claim, Seat, Surroundings
from tidegate.envoy.resource import LISTENER
from tidegate.envoy.tables import ListenerTable, RouteTable

SHOP = Shop(
    entry("shop/a", "a.example", day=3, addresses=["10.9.0.1"]),
    entry("shop/b", "b.example", day=2, addresses=["10.9.0.1", "10.9.0.2"]),
    entry("shop/c", "c.example", day=1, addresses=["10.9.0.2"]),
    entry("shop/w", "web.shop", day=9),
    entry("shop/upper", "UPPER.example", day=9),
    service("shop/web", address="10.96.0.1", day=1),
    routing("shop/r", ["a.example"], "b.example", day=9),
    entry("shop/t", "t.example", (80, "TLS"), day=5),
    entry("shop/u", "u.example", (80, "TLS"), day=4),
    entry("shop/auto", "auto.example", (80, ""), day=6),
)
CLAIMS: dict[str, Claim] = {
    host: claim for host, found in SHOP.view._contributions.items() for claim in found.claims if claim.table == "80"
}
SEATS: list[Seat] = [
    seat
    for found in SHOP.view._contributions.values()
    for seat in found.seats
    if (seat.bind, seat.port) == ("0.0.0.0", 80)
]
AROUND: Surroundings = SHOP.view._around


def filled(claims: dict[str, Claim]) -> RouteTable:
    table = RouteTable("80")
    for host, claim in claims.items():
        table.put((host, 80), claim)
    return table


@given(st.lists(st.tuples(st.sampled_from(sorted(CLAIMS)), st.booleans(), st.booleans())))
def test_a_route_table_is_that_of_who_is_in_it(steps: list[tuple[str, bool, bool]]) -> None:
    """Each step puts or withdraws a host; some are assembled on the way, some not."""
    table, held, builders = RouteTable("80"), dict[str, Claim](), Builders()
    for host, there, assembled in steps:
        table.put((host, 80), CLAIMS[host] if there else None)
        held.pop(host, None)
        if there:
            held[host] = CLAIMS[host]
        if assembled:
            table.assemble(AROUND, builders)
    assert table.assemble(AROUND, builders).body == filled(held).assemble(AROUND, Builders()).body
    assert bool(table) is bool(held)
    assert not table._stale


def test_every_domain_has_one_host() -> None:
    """Envoy refuses a route configuration in which a domain stands twice, whatever its letter case."""
    domains = [d.lower() for listed in SHOP.domains("80").values() for d in listed]
    assert len(domains) == len(set(domains))


@given(st.lists(st.tuples(st.integers(0, len(SEATS) - 1), st.booleans()), max_size=20))
def test_a_listener_is_that_of_who_sits_there(steps: list[tuple[int, bool]]) -> None:
    table, held = ListenerTable("0.0.0.0", 80), dict[int, Seat]()
    for number, there in steps:
        if there and number not in held:
            held[number] = SEATS[number]
            table.put(SEATS[number])
        elif not there and number in held:
            table.drop(held.pop(number))
    assert bool(table) is bool(held)
    if held:
        fresh = ListenerTable("0.0.0.0", 80)
        for seat in held.values():
            fresh.put(seat)
        mine, other = (t.build(AROUND, Builders()) for t in (table, fresh))
        assert mine is not None
        assert other is not None
        assert mine.body == other.body


def test_the_sample_has_seats_of_every_sort() -> None:
    assert {seat.member is None for seat in SEATS} == {True, False}
    assert len(SEATS) >= 8


@pytest.mark.parametrize("first", ["explicit", "catch-all"])
def test_a_listener_of_an_explicit_port_takes_the_catch_alls_when_that_goes(first: str) -> None:
    explicit: Any = {"hosts": ["./*"], "port": {"number": 80, "name": "p", "protocol": "HTTP"}}
    own, other = entry("shop/a", "a.example"), entry("other/b", "b.example", (80, "TLS"))
    limited = sidecar("shop/s", explicit, ["*/*"])
    shop = Shop(*([limited, own, other] if first == "explicit" else [other, own, limited]))
    assert b"b.example" not in shop.view.resources[LISTENER]["0.0.0.0_80"].body
    shop.advance(gone(own))
    assert b"b.example" in shop.view.resources[LISTENER]["0.0.0.0_80"].body
    shop.advance(put(own))
    assert b"b.example" not in shop.view.resources[LISTENER]["0.0.0.0_80"].body
