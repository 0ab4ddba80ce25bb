"""/debug/registryz: what it says of services, and of objects that were left out."""

import json
from typing import Any

import pytest

from tests.unit.app.discovery.test_debug import Caller, Server
from tests.worlds import entry, made, routing, service
from tidegate.api.objects import Object, Ref
from tidegate.app.discovery.debug import debug_app
from tidegate.app.discovery.metrics import Metrics
from tidegate.app.discovery.registryz import registry
from tidegate.snapshot.state import Snapshot
from tidegate.snapshot.world import Event, Verb


def world(*objects: Object[Any]) -> Snapshot:
    return Snapshot.empty().apply([Event(Verb.PUT, each.ref, each) for each in objects])[0]


def test_a_service_and_who_decides_it() -> None:
    given = world(
        service("shop/web", (80, "http"), address="10.96.0.1"),
        routing("shop/web", ["web"], "web"),
        routing("front/all", ["*.shop.svc.cluster.local"], "web.shop.svc.cluster.local"),
        made("DestinationRule", "shop/web", host="web"),
        made("DestinationRule", "front/web", host="*.svc.cluster.local"),
        made("DestinationRule", "front/other", host="other.example"),
    )
    (found,) = registry(given, {}, "", 10)["services"]
    assert found["host"] == "web.shop.svc.cluster.local"
    assert found["ports"] == [{"number": 80, "name": "http", "protocol": "HTTP"}]
    assert (found["addresses"], found["resolution"]) == (["10.96.0.1"], "ClientSideLB")
    assert found["sources"] == ["Service/shop/web"]
    assert found["virtualServices"] == ["VirtualService/shop/web", "VirtualService/front/all"]
    assert found["destinationRules"] == ["DestinationRule/front/web", "DestinationRule/shop/web"]


def test_rules_that_merge_are_all_named() -> None:
    given = world(
        entry("front/x", "x.example"),
        made("DestinationRule", "front/one", day=1, host="x.example"),
        made("DestinationRule", "front/two", day=2, host="x.example"),
    )
    (found,) = registry(given, {}, "", 10)["services"]
    assert found["destinationRules"] == ["DestinationRule/front/one", "DestinationRule/front/two"]


def test_a_search_and_a_limit() -> None:
    given = world(entry("front/a", "a.example"), entry("front/b", "b.example"), entry("back/c", "c.example"))
    assert [s["host"] for s in registry(given, {}, "", 2)["services"]] == ["a.example", "b.example"]
    assert registry(given, {}, "", 2)["total"] == 3
    assert [s["host"] for s in registry(given, {}, "B.EX", 9)["services"]] == ["b.example"]
    assert [s["host"] for s in registry(given, {}, "back", 9)["services"]] == ["c.example"]


def test_objects_left_out_are_told() -> None:
    given = world(routing("front/a", ["a.example"], "a.example", http=[{"delegate": {"name": "none"}}]))
    unread = {Ref("ServiceEntry", "front", "bad"): "spec.hosts: expected a list"}
    found = registry(given, unread, "", 10)["problems"]
    assert [each["object"] for each in found] == ["ServiceEntry/front/bad", "VirtualService/front/a"]
    assert found[0]["reasons"] == ["spec.hosts: expected a list"]


def test_it_is_json() -> None:
    assert json.loads(json.dumps(registry(world(entry("front/a", "a.example")), {}, "", 1)))["total"] == 1


async def ask(**query: str) -> tuple[int, str]:
    held = world(entry("front/a", "a.example"), entry("front/b", "b.example"))
    return await Caller(debug_app(Server(), Metrics(), lambda: True, lambda: (held, {}))).get(
        "/debug/registryz", **query
    )


async def test_over_http() -> None:
    status, text = await ask(search="a.ex", limit="5")
    assert (status, [each["host"] for each in json.loads(text)["services"]]) == (200, ["a.example"])


@pytest.mark.parametrize("limit", ["", "-1", "x", "1" * 10, "²"])
async def test_a_limit_that_is_no_number_is_refused(limit: str) -> None:
    status, text = await ask(limit=limit)
    assert (status, text.startswith("limit=")) == (400, True)
