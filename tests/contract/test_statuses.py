"""The loser of a port is named in its status, by a server's own rules of status and generation."""

import asyncio
import contextlib
from pathlib import Path

from tidegate.app.discovery.plane import Discovery, Settings
from tidegate.app.discovery.proxies import Node
from tidegate.app.discovery.statuses import Pauses, Statuses

PORT = 7555


def entry(ns, name, port=PORT):
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "ServiceEntry",
        "metadata": {"name": name, "namespace": ns},
        "spec": {
            "hosts": [f"{name}.{ns}.example"],
            "exportTo": ["."],
            "ports": [{"number": port, "name": "tcp", "protocol": "TCP"}],
            "resolution": "STATIC",
            "endpoints": [{"address": "10.0.0.6"}],
        },
    }


@contextlib.asynccontextmanager
async def control_plane(api, ns, kubeconfig, folder):
    """One without sockets, which a proxy of the namespace is attached to."""
    plane = Discovery(Settings(kubeconfig=kubeconfig, run_dir=folder), api)
    plane.statuses = Statuses(api, plane.hub, plane.undecodable.get, Pauses(first=0, quiet=0.05))
    tasks = [asyncio.create_task(each) for each in (plane.follow(), plane.statuses.run())]
    try:
        async with asyncio.timeout(60):
            await plane.synced.wait()
        node = Node(name=f"client.{ns}", namespace=ns, pod="client", service_account="default", address="10.0.0.9")
        plane.hub.attach(node)
        plane.statuses.note()
        yield
    finally:
        for each in tasks:
            each.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_the_loser_of_a_port_is_told_and_told_no_more(api, ns, backend, eventually, tmp_path: Path):
    async def conditions(name):
        found = await api.get("ServiceEntry", ns, name)
        return (found.get("status") or {}).get("conditions") or []

    await api.create(entry(ns, "a"))
    await api.create(entry(ns, "b"))
    async with control_plane(api, ns, backend.kubeconfig, tmp_path):
        (condition,) = await eventually(lambda: conditions("b"))
        assert condition["type"] == "tidegate.io/Conflict"
        assert f"ServiceEntry/{ns}/a" in condition["message"]
        told = await api.get("ServiceEntry", ns, "b")
        assert condition["observedGeneration"] == told["metadata"]["generation"] == 1
        assert told["status"]["observedGeneration"] == 1
        assert await conditions("a") == []

        moved = {"spec": {"ports": [{"number": PORT + 1, "name": "tcp", "protocol": "TCP"}]}}
        await api.patch("ServiceEntry", ns, "b", moved, content_type="application/merge-patch+json")

        async def solved():
            return not await conditions("b")

        await eventually(solved)
