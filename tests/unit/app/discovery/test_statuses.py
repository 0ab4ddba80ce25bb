"""Losers are told in their status, once, and it is taken back."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from tests.unit.controllers.test_runner import MemoryStore
from tidegate.api import decode
from tidegate.api.objects import Ref
from tidegate.app.discovery.hub import Hub, Shown
from tidegate.app.discovery.losses import Losses
from tidegate.app.discovery.proxies import Node
from tidegate.app.discovery.statuses import Pauses, Statuses
from tidegate.controllers.conditions import CONFLICT, LEFT_OUT
from tidegate.snapshot.world import Event, Verb
from tidegate.store.model import WatchEvent, WatchType

Json = dict[str, Any]
AT_ONCE = Pauses(first=0, quiet=0, failed=0)


def database(name: str, day: int, port: int = 5432) -> Json:
    """Two of one port without addresses want the same listener."""
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "ServiceEntry",
        "metadata": {
            "name": name,
            "namespace": "shop",
            "generation": 1,
            "creationTimestamp": f"2026-01-0{day}T00:00:00Z",
        },
        "spec": {
            "hosts": [f"{name}.example.com"],
            "location": "MESH_EXTERNAL",
            "ports": [{"number": port, "name": "tcp", "protocol": "TCP"}],
            "resolution": "DNS",
        },
    }


def routes(name: str, day: int) -> Json:
    to = {"route": [{"destination": {"host": "old.example.com", "port": {"number": 80}}}]}
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": name, "namespace": "shop", "creationTimestamp": f"2026-01-0{day}T00:00:00Z"},
        "spec": {"hosts": ["web.example.com"], "http": [to]},
    }


def client(hub: Hub, namespace: str = "shop") -> Shown:
    node = Node(
        name=f"client.{namespace}", namespace=namespace, pod="client", service_account="default", address="10.0.0.9"
    )
    return hub.attach(node)


def ref(obj: Json) -> Ref:
    return Ref(obj["kind"], obj["metadata"]["namespace"], obj["metadata"]["name"])


class Plane:
    """A store, a hub that follows it, and the writer of statuses between them."""

    def __init__(self, *objects: Json) -> None:
        self.store, self.hub = _Store(), Hub()
        self.statuses = Statuses(self.store, self.hub, lambda _: None, AT_ONCE)  # type: ignore[arg-type]
        self.read = 0
        for each in objects:
            self.store.put(each)

    def follow(self) -> None:
        """Take in what the store told since the last time."""
        for _, event in self.store.events[self.read :]:
            self._take(event)
        self.read = len(self.store.events)

    def _take(self, event: WatchEvent) -> None:
        about, gone = ref(event.object), event.type is WatchType.DELETED
        typed = None if gone else decode.stored(event.object)
        changed = self.hub.apply([Event(Verb.DELETE if gone else Verb.PUT, about, typed)])
        self.statuses.seen(about, None if gone else event.object)
        self.statuses.note(changed.told)

    async def settle(self) -> None:
        """Until nothing is written any more, with what is written followed."""
        for _ in range(200):
            self.follow()
            await asyncio.sleep(0)

    def told(self, kind: str, name: str) -> dict[str, str]:
        status = self.store.objects[kind, "shop", name].get("status") or {}
        return {c["type"]: c["message"] for c in status.get("conditions", ())}


class _Store(MemoryStore):
    async def update(self, obj: Json, *, subresource: str = "") -> Json:
        self.writes.append(f"{obj['kind']}/{obj['metadata']['name']}")
        return self.put(obj)


def run(plane: Plane, steps: Callable[[], Awaitable[None]]) -> None:
    async def both() -> None:
        async with asyncio.timeout(20):
            writing = asyncio.create_task(plane.statuses.run())
            try:
                await steps()
                assert not writing.done()
            finally:
                writing.cancel()
                await asyncio.gather(writing, return_exceptions=True)

    asyncio.run(both())


def test_the_loser_of_a_port_is_told_once_and_no_more_when_it_is_solved():
    plane = Plane(database("old", 1), database("new", 2))
    client(plane.hub)

    async def steps() -> None:
        await plane.settle()
        assert plane.told("ServiceEntry", "old") == {}
        told = plane.told("ServiceEntry", "new")
        assert list(told) == [CONFLICT]
        assert "listener 0.0.0.0_5432" in told[CONFLICT]
        assert "ServiceEntry/shop/old" in told[CONFLICT]
        await plane.settle()
        assert plane.store.writes == ["ServiceEntry/new"]
        plane.store.put({**database("old", 1, port=5433)})
        await plane.settle()
        assert plane.told("ServiceEntry", "new") == {}
        assert plane.store.writes == ["ServiceEntry/new"] * 2

    run(plane, steps)


def test_a_younger_virtual_service_of_one_host_is_told():
    plane = Plane(routes("first", 1), routes("second", 2))
    plane.store.put({**database("web", 3), "spec": {**database("web", 3)["spec"], "ports": HTTP}})
    client(plane.hub)

    async def steps() -> None:
        await plane.settle()
        assert "VirtualService/shop/first" in plane.told("VirtualService", "second")[CONFLICT]
        plane.store.remove("VirtualService", "shop", "first")
        await plane.settle()
        assert plane.told("VirtualService", "second") == {}

    run(plane, steps)


HTTP = [{"number": 80, "name": "http", "protocol": "HTTP"}]


def test_an_invalid_object_is_told_that_it_is_left_out():
    wrong = database("old", 1)
    wrong["spec"]["hosts"] = ["no host"]
    plane = Plane(wrong)

    async def steps() -> None:
        await plane.settle()
        assert "spec.hosts[0]" in plane.told("ServiceEntry", "old")[LEFT_OUT]

    run(plane, steps)


def test_what_an_earlier_control_plane_wrote_is_taken_back():
    stale = database("old", 1)
    condition = {"type": CONFLICT, "status": "True", "message": "x", "observedGeneration": 1}
    plane = Plane({**stale, "status": {"conditions": [condition]}})

    async def steps() -> None:
        await plane.settle()
        assert plane.told("ServiceEntry", "old") == {}
        assert plane.store.writes == ["ServiceEntry/old"]

    run(plane, steps)


def test_with_the_last_proxy_that_saw_it_a_loss_is_forgotten():
    hub = Hub()
    hub.apply([Event(Verb.PUT, ref(each), decode.stored(each)) for each in (database("old", 1), database("new", 2))])
    losses = Losses(hub)
    shown = client(hub)
    losses.note()
    assert losses.work(1000) == {Ref("ServiceEntry", "shop", "new")}
    assert losses.of(Ref("ServiceEntry", "shop", "new"))
    hub.detach(shown)
    assert losses.note() == {Ref("ServiceEntry", "shop", "new")}
    assert losses.of(Ref("ServiceEntry", "shop", "new")) == ()


def test_a_change_looks_at_what_it_touches_alone():
    hub = Hub()
    many = [database(f"e{n}", 1, port=6000 + n) for n in range(200)]
    hub.apply([Event(Verb.PUT, ref(each), decode.stored(each)) for each in many])
    losses = Losses(hub)
    client(hub)
    losses.note()
    losses.work(10_000)
    assert losses.idle
    hub.apply([Event(Verb.PUT, ref(each), decode.stored(each)) for each in [database("e7", 1, port=6008)]])
    losses.note()
    places = 0
    while not losses.idle:
        losses.work(1)
        places += 1
    assert 0 < places < 10
    assert losses.of(Ref("ServiceEntry", "shop", "e8")) or losses.of(Ref("ServiceEntry", "shop", "e7"))
