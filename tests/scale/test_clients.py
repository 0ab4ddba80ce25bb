"""A thousand sidecars at once, in a process of their own, each with a channel and a token of its own."""

import asyncio
import time
from typing import Any

import pytest

from bench.swarm import Swarm, digest
from tests.envoy.test_control_plane import DEADLINE, NODE, Plane, entry, holds, populate, sidecar
from tests.scale.planes import SERVICES, endpoint_is, memory, moved, reference, services, shown, sidecars, whole
from tidegate.app.discovery.heap import SETTLING_SECONDS
from tidegate.store.client import KubeStore
from tidegate.xds.client import DeltaClient

NEAR, FAR = 900, 100
"""Sidecars in the namespace of the services, and in another."""


async def elsewhere(store: KubeStore) -> list[tuple[str, str]]:
    await store.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "far"}})
    deadline = time.monotonic() + DEADLINE
    while not (await store.list("ServiceAccount", "far")).items:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    return await sidecars(store, "far", range(FAR + 1))


async def acknowledged(plane: Plane, count: int) -> list[dict[str, Any]]:
    """Wait until so many are connected and each has acknowledged all it was sent."""
    deadline = time.monotonic() + DEADLINE
    while True:
        rows: list[dict[str, Any]] = await asyncio.to_thread(plane.json, "/debug/syncz")
        states = {each["state"] for row in rows for each in row["resources"].values()}
        if len(rows) == count and states <= {"SYNCED"}:
            return rows
        assert time.monotonic() < deadline, (len(rows), states)
        await asyncio.sleep(0.1)


async def test_a_thousand_clients_at_once(plane: Plane, capsys: pytest.CaptureFixture[str]) -> None:
    async with plane.store() as store:
        token = await populate(store)
        await services(store)
        near = await sidecars(store, "shop", range(1000, 1000 + NEAR))
        (node, far_token), *far = await elsewhere(store)
        names = ["a", *(f"s{n}" for n in range(SERVICES))]
        async with (
            reference(plane, token, names) as client,
            DeltaClient(plane.target, sidecar(node), far_token) as other,
        ):
            await other.until(whole(names), DEADLINE)
            rows = await acknowledged(plane, 2)
            assert {row["proxy"] for row in rows} == {"web.shop", "p0.far"}
            before, sizes = memory(plane.discovery), []
            for _ in range(2):
                async with Swarm(plane.target, plane.folder / "swarm", near + far) as swarm:
                    await swarm.current("shop", digest(client.subscriber))
                    await swarm.current("far", digest(other.subscriber))
                    await acknowledged(plane, NEAR + FAR + 2)
                    sizes.append(memory(plane.discovery))
                    await one_edit_reaches_those_who_see_it(store, swarm, client, other)
                    await store.delete("ServiceEntry", "shop", "private")
                    await client.until(lambda s: not holds("outbound|80||private.example")(s), DEADLINE)
                await acknowledged(plane, 2)
                await asyncio.sleep(2 * SETTLING_SECONDS)  # what the streams left is cleared away by then
            with capsys.disabled():
                print(f"\ndiscovery: {shown(before)} with 2 clients, {', '.join(map(shown, sizes))} with a thousand")
            assert sizes[1] - before < 2 * (sizes[0] - before), "those who come later use what the first left"
            assert (client.ended, other.ended) == (None, None)
    assert "Traceback" not in plane.discovery.errors.read_text()


async def one_edit_reaches_those_who_see_it(
    store: KubeStore, swarm: Swarm, client: DeltaClient, other: DeltaClient
) -> None:
    """And nobody else; each is sent what the reference client is sent, once."""
    start = {space: await swarm.ask(space) for space in ("shop", "far")}
    received = sum(table.received for table in client.subscriber.tables.values())
    await store.create(entry("private", exportTo=["."]))
    await client.until(whole(["a", "private"]), DEADLINE)
    await swarm.current("shop", digest(client.subscriber))
    await moved(store, "private", "10.8.1.1")
    await client.until(endpoint_is("private", "10.8.1.1"), DEADLINE)
    after = await swarm.current("shop", digest(client.subscriber))
    told = sum(table.received for table in client.subscriber.tables.values()) - received
    assert after["received"] - start["shop"]["received"] == NEAR * told
    assert await swarm.ask("far") == {**start["far"], "at": pytest.approx(after["at"], abs=DEADLINE)}
    assert after["streams"] == start["shop"]["streams"], "nobody had to come again"
    assert not holds("outbound|80||private.example")(other.subscriber)


async def test_who_cannot_be_reviewed_now_is_told_to_come_again(plane: Plane) -> None:
    """Not that its token is bad: a sidecar would have to think that for ever."""
    async with plane.store() as store:
        token = await populate(store)
    plane.api.kill()
    async with DeltaClient(plane.target, sidecar(NODE), token) as client:
        await client.until(lambda _: False, DEADLINE)
        assert client.ended is not None
        assert client.ended.code().name == "UNAVAILABLE"
        assert "could not be reviewed" in str(client.ended.details())
