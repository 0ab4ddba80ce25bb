"""Parts of the control plane die while edits go on: whoever is connected ends with the last state."""

import asyncio
import contextlib
import random

import grpc

from tests.envoy.test_control_plane import DEADLINE, NODE, Plane, populate, sidecar
from tests.scale.planes import endpoint_is, moved, reference, whole
from tidegate.store.client import KubeStore
from tidegate.store.model import StoreError
from tidegate.xds.client import DeltaClient, Subscriber
from tidegate.xds.types import CLUSTER, ENDPOINT

KILLS = 10
SEED = 20260101
LOST = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL}
"""How a stream ends whose server has died; INTERNAL is the library's word when it was writing just then."""


async def editing(store: KubeStore, done: asyncio.Event) -> int:
    """Move the endpoint without pause; the number of the last edit."""
    number = 0
    while not done.is_set():
        number += 1
        await moved(store, "a", f"10.50.{number // 250}.{number % 250 + 1}")
    return number


async def staying(plane: Plane, subscriber: Subscriber, token: str, ends: list[grpc.StatusCode]) -> None:
    """A client that comes again, with what it holds, whenever its stream ends; notes how it did."""
    while True:
        async with DeltaClient(plane.target, subscriber, token) as client:
            await client.until(lambda _: False, 10 * DEADLINE)
            assert client.ended is not None
            ends.append(client.ended.code())
        await asyncio.sleep(0.05)


async def held(subscriber: Subscriber, look: object) -> None:
    async with asyncio.timeout(DEADLINE):
        while not look(subscriber):  # type: ignore[operator]  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_discovery_killed_at_any_moment_of_an_edit(plane: Plane) -> None:
    moments = random.Random(SEED)
    async with plane.store() as store:
        token = await populate(store)
        subscriber, done, ends = sidecar(NODE), asyncio.Event(), list[grpc.StatusCode]()
        stay = asyncio.create_task(staying(plane, subscriber, token, ends))
        await held(subscriber, whole(["a"]))
        clusters = dict(subscriber.tables[CLUSTER].bodies)
        edits = asyncio.create_task(editing(store, done))
        for _ in range(KILLS):
            before = subscriber.tables[ENDPOINT].received
            await held(subscriber, lambda s, before=before: s.tables[ENDPOINT].received > before + 1)
            await asyncio.sleep(moments.uniform(0, 0.02))
            plane.discovery.kill()
            plane.discovery = await asyncio.to_thread(plane.start_discovery)
        done.set()
        last = await edits
        await held(subscriber, endpoint_is("a", f"10.50.{last // 250}.{last % 250 + 1}"))
        assert subscriber.tables[CLUSTER].bodies == clusters
        assert len(ends) >= KILLS and set(ends) <= LOST, ends
        assert not stay.done()
        stay.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await stay


async def test_the_store_restarts_under_watch(plane: Plane) -> None:
    """Killed while edits are under way: what was answered is kept, the client's stream goes on, it misses nothing."""
    port = plane.kubeconfig.read_text().partition("server: https://127.0.0.1:")[2].split()[0]
    async with plane.store() as store:
        token = await populate(store)
        async with reference(plane, token) as client:
            for number in range(1, 4):
                edits = asyncio.create_task(until_refused(store, number))
                await client.until(endpoint_is("a", f"10.60.{number}."), DEADLINE)
                plane.api.kill()
                answered = await edits
                plane.api = await asyncio.to_thread(plane.start_api, port)
                found = await store.get("ServiceEntry", "shop", "a")
                kept = int(found["spec"]["endpoints"][0]["address"].rpartition(".")[2])
                assert kept in (answered, answered + 1), "what was answered is on disk"
                await moved(store, "a", f"10.61.{number}.1")
                await client.until(endpoint_is("a", f"10.61.{number}.1"), DEADLINE)
            assert client.ended is None


async def until_refused(store: KubeStore, round_: int) -> int:
    """Edit until the server is gone; the number of the last edit that it answered."""
    number = 0
    while number < 250:
        try:
            await moved(store, "a", f"10.60.{round_}.{number + 1}")
        except StoreError:
            return number
        number += 1
    raise AssertionError("the server was not killed")
