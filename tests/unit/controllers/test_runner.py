"""The runner against a store in memory."""

import asyncio
import copy
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from tidegate.controllers.runner import run
from tidegate.store.model import Listing, StoreError, WatchEvent, WatchType

Json = dict[str, Any]
Key = tuple[str, str, str]


class MemoryStore:
    """As much of a Kubernetes API as the runner uses; ``refusals`` writes fail first."""

    def __init__(self, *objects: Json, refusals: int = 0) -> None:
        self.objects: dict[Key, Json] = {}
        self.events: list[tuple[str, WatchEvent]] = []
        self.changed = asyncio.Event()
        self.writes: list[str] = []
        self.refusals = refusals
        for obj in objects:
            self.put(obj)

    def put(self, obj: Json) -> Json:
        obj = copy.deepcopy(obj)
        meta = obj["metadata"]
        key = (obj["kind"], meta.get("namespace", ""), meta["name"])
        kind = WatchType.MODIFIED if key in self.objects else WatchType.ADDED
        meta["resourceVersion"], meta["uid"] = str(len(self.events) + 1), meta.get("uid", "/".join(key))
        self.objects[key] = obj
        self._tell(kind, obj)
        return obj

    def remove(self, *key: str) -> None:
        obj = copy.deepcopy(self.objects.pop((key[0], key[1], key[2])))
        obj["metadata"]["resourceVersion"] = str(len(self.events) + 1)
        self._tell(WatchType.DELETED, obj)

    def _tell(self, type_: WatchType, obj: Json) -> None:
        self.events.append((obj["kind"], WatchEvent(type_, obj)))
        self.changed.set()
        self.changed = asyncio.Event()

    def of(self, kind: str) -> list[Json]:
        return [obj for key, obj in self.objects.items() if key[0] == kind]

    async def get(self, kind: str, namespace: str, name: str) -> Json:
        if (kind, namespace, name) not in self.objects:
            raise StoreError(404, "NotFound", f"no {kind} {namespace}/{name}")
        return self.objects[kind, namespace, name]

    async def list(self, kind: str, namespace: str = "", *, label_selector: str = "") -> Listing:
        return Listing(tuple(self.of(kind)), str(len(self.events)))

    async def watch(self, kind: str, resource_version: str, namespace: str = "") -> AsyncIterator[WatchEvent]:
        at = int(resource_version)
        while True:
            changed = self.changed
            while at < len(self.events):
                at += 1
                if self.events[at - 1][0] == kind:
                    yield self.events[at - 1][1]
            await changed.wait()

    def _write(self, verb: str, obj: Json) -> None:
        if self.refusals:
            self.refusals -= 1
            raise StoreError(500, "InternalError", "try again")
        self.writes.append(f"{verb} {obj['kind']}")

    async def create(self, obj: Json, *, dry_run: bool = False) -> Json:
        self._write("create", obj)
        return self.put(obj)

    async def update(self, obj: Json, *, subresource: str = "") -> Json:
        self._write("update", obj)
        return self.put(obj)

    async def delete(self, kind: str, namespace: str, name: str, *, uid: str = "") -> None:
        self._write("delete", {"kind": kind})
        self.remove(kind, namespace, name)


@asynccontextmanager
async def running(store: MemoryStore) -> AsyncIterator[None]:
    task = asyncio.create_task(run(store))  # type: ignore[arg-type]
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 -- what is waited for has no event
            await asyncio.sleep(0.005)


def service(name: str) -> Json:
    spec = {"selector": {"app": name}, "ports": [{"port": 80}]}
    return {"kind": "Service", "metadata": {"name": name, "namespace": "shop"}, "spec": spec}


def pod(name: str, address: str) -> Json:
    meta = {"name": f"{name}-1", "namespace": "shop", "labels": {"app": name}}
    return {"kind": "Pod", "metadata": meta, "spec": {}, "status": {"phase": "Running", "podIP": address}}


def addresses(store: MemoryStore) -> set[str]:
    return {e["addresses"][0] for s in store.of("EndpointSlice") for e in s["endpoints"]}


async def test_slices_follow_pods_and_services_and_nothing_else_is_written() -> None:
    store = MemoryStore(service("a"), service("b"), pod("a", "10.0.0.1"), pod("b", "10.0.0.2"))
    async with running(store):
        await until(lambda: addresses(store) == {"10.0.0.1", "10.0.0.2"} and len(store.writes) == 4)
        assert sorted(store.writes) == [
            "create ConfigMap",
            "create EndpointSlice",
            "create EndpointSlice",
            "create Namespace",
        ]
        store.writes.clear()
        store.put(pod("a", "10.0.0.9"))
        await until(lambda: addresses(store) == {"10.0.0.9", "10.0.0.2"})
        store.remove("Service", "shop", "b")
        await until(lambda: addresses(store) == {"10.0.0.9"})
        assert store.writes == ["update EndpointSlice", "delete EndpointSlice"]


async def test_a_slice_that_somebody_deletes_comes_back() -> None:
    store = MemoryStore(service("a"), pod("a", "10.0.0.1"))
    async with running(store):
        await until(lambda: bool(store.of("EndpointSlice")))
        made = store.of("EndpointSlice")[0]["metadata"]
        store.remove("EndpointSlice", "shop", made["name"])
        await until(lambda: bool(store.of("EndpointSlice")))


async def test_failed_writes_are_tried_again() -> None:
    store = MemoryStore(service("a"), pod("a", "10.0.0.1"), refusals=2)
    async with running(store):
        await until(lambda: addresses(store) == {"10.0.0.1"} and bool(store.of("ConfigMap")))
    assert store.refusals == 0
