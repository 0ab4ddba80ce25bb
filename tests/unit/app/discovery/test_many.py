"""Numbers: what many proxies and many objects cost, and that nothing of them stays."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.worlds import entry, gone, pod, policy, put
from tidegate.app.discovery.hub import Hub, Shown
from tidegate.app.discovery.proxies import Node
from tidegate.envoy.resource import ENDPOINT

SIZES = (1, 1000)


def attach(hub: Hub, count: int) -> list[Shown]:
    addresses = [f"10.1.{n // 250}.{n % 250 + 1}" for n in range(count)]
    hub.apply([put(pod(f"shop/p{n}", address)) for n, address in enumerate(addresses)])
    nodes = (
        Node(name=f"p{n}.shop", namespace="shop", pod=f"p{n}", service_account="default", address=address)
        for n, address in enumerate(addresses)
    )
    return [hub.attach(node) for node in nodes]


def edits() -> Iterator[Any]:
    yield entry("shop/a", "a.example", endpoints=[{"address": "10.8.0.2"}])
    yield entry("shop/b", "b.example")
    yield policy("shop/p", "a.example", connections=7)
    yield entry("shop/a", "other.example")


class TestManyProxies:
    def test_builders_run_as_often_for_a_thousand_proxies_as_for_one(self) -> None:
        built = []
        for size in SIZES:
            hub = Hub()
            hub.apply([put(entry("shop/a", "a.example"))])
            shown = attach(hub, size)
            counts = [hub.builders.built.copy()]
            for edit in edits():
                hub.apply([put(edit)])
                counts.append(hub.builders.built.copy())
            assert all(each.mailbox._waiting is not None for each in shown)
            built.append(counts)
        assert built[0] == built[1]

    async def test_all_are_told_of_the_same_resource(self) -> None:
        hub = Hub()
        hub.apply([put(entry("shop/a", "a.example"))])
        shown = attach(hub, SIZES[-1])
        hub.apply([put(next(edits()))])
        updates = [await each.mailbox.next() for each in shown]
        assert {(u.delta or {}).get(ENDPOINT) for u in updates} == {frozenset({"outbound|80||a.example"})}
        assert len({id(u.view.get(ENDPOINT, "outbound|80||a.example")) for u in updates}) == 1

    def test_none_of_them_stays(self) -> None:
        hub = Hub()
        hub.apply([put(entry("shop/a", "a.example"))])
        left = []
        for _ in range(3):
            for shown in attach(hub, 50):
                hub.detach(shown)
            assert (hub.attached(), hub._kinds, dict(hub._of_pod)) == ([], {}, {})
            left.append(hub.builders.remembered())
        assert left == [left[0]] * 3


class TestManyObjects:
    @pytest.mark.parametrize("size", [400])
    def test_caches_shrink_with_what_is_shown(self, size: int) -> None:
        """They would otherwise keep the inputs of thousands of services that are gone."""
        hub = Hub()
        (shown,) = attach(hub, 1)
        hub.apply([put(entry("shop/first", "first.example"))])
        start = hub.builders.remembered()
        hub.apply([put(entry(f"shop/e{n}", f"e{n}.example")) for n in range(size)])
        assert hub.builders.remembered() > size
        for n in range(size):
            hub.apply([gone(entry(f"shop/e{n}", f"e{n}.example"))])
            shown.mailbox.close()
        assert hub.builders.remembered() < start + size / 10
