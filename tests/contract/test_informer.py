"""What feeds the control plane: lists, then changes, over whatever happens to the server."""

import asyncio
import contextlib

import pytest

from tidegate.store.client import KubeStore
from tidegate.store.informer import follow
from tidegate.store.kubeconfig import load


@contextlib.asynccontextmanager
async def following(store, *kinds):
    """A queue of the batches."""
    batches: asyncio.Queue = asyncio.Queue()

    async def collect():
        async for batch in follow(store, kinds, jitter=lambda: 0.0):
            await batches.put(batch)

    task = asyncio.create_task(collect())
    try:
        yield batches
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def changes_until(batches, wanted, seconds=60):
    """All changes up to the one of the wanted (type, name), as (type, kind, name)."""
    found = []
    async with asyncio.timeout(seconds):
        while True:
            batch = await batches.get()
            found += [(c.type.value, c.kind, c.object["metadata"]["name"]) for c in batch.changes]
            if wanted in [(kind, name) for kind, _, name in found]:
                return found


async def synced(batches):
    changes = []
    async with asyncio.timeout(60):
        while True:
            batch = await batches.get()
            changes += batch.changes
            if batch.synced:
                return changes


async def test_first_everything_then_changes(api, ns, config_map, service_entry):
    await api.create(config_map(ns, "there"))
    await api.create(service_entry(ns, "there"))
    async with following(api, "ConfigMap", "ServiceEntry") as batches:
        first = {(c.type.value, c.kind, c.object["metadata"]["name"]) for c in await synced(batches)}
        assert {("ADDED", "ConfigMap", "there"), ("ADDED", "ServiceEntry", "there")} <= first
        asked = service_entry(ns, "new")
        asked["metadata"]["labels"] = {"networking.istio.io/enable-autoallocate-ip": "false"}  # nobody else writes it
        made = await api.create(asked)
        assert ("ADDED", "ServiceEntry", "new") in await changes_until(batches, ("ADDED", "new"))
        made["spec"]["hosts"] = ["b.example.com"]
        await api.update(made)
        await changes_until(batches, ("MODIFIED", "new"))
        await api.delete("ServiceEntry", ns, "new")
        await changes_until(batches, ("DELETED", "new"))


async def test_what_arrived_together_is_one_batch(api, ns, config_map):
    for n in range(20):
        await api.create(config_map(ns, f"n{n}"))
    async with following(api, "ConfigMap") as batches:
        first = await asyncio.wait_for(batches.get(), 60)
    assert first.synced and len(first.changes) >= 20


@pytest.mark.parametrize("history", [10_000, 1])
async def test_changes_unseen_during_an_outage(tmp_path, embedded_server, config_map, history):
    """Resumed from the log while it reaches back (10,000), by comparing a new list where it does not (1)."""
    arguments = ("--history", str(history))
    with embedded_server(tmp_path, *arguments) as (kubeconfig, _):
        access = load(kubeconfig)
        async with KubeStore(access) as api:
            for name in ("gone", "changed", "same"):
                await api.create(config_map("default", name))
    port = access.server.rpartition(":")[2]
    store = KubeStore(access)
    async with store, following(store, "ConfigMap") as batches:
        with embedded_server(tmp_path, *arguments, "--port", port):
            await synced(batches)
        with embedded_server(tmp_path, *arguments) as (kubeconfig, _):
            async with KubeStore.from_kubeconfig(kubeconfig) as api:
                await api.delete("ConfigMap", "default", "gone")
                await api.update(config_map("default", "changed", data={"k": "2"}))
                await api.create(config_map("default", "new"))
        with embedded_server(tmp_path, *arguments, "--port", port) as (kubeconfig, _):
            found = await changes_until(batches, ("ADDED", "new"))
    kinds = {(kind, name) for kind, _, name in found}
    assert {("DELETED", "gone"), ("MODIFIED", "changed"), ("ADDED", "new")} <= kinds
    assert not any(name == "same" for _, name in kinds)
