"""One object edited a thousand times by fifty writers at once, under optimistic concurrency."""

import asyncio
import random
import time

import pytest

from tests.envoy.test_control_plane import DEADLINE, NODE, Plane, populate, sidecar
from tests.scale.planes import endpoint_is, memory, reference, shown, whole
from tidegate.store.client import KubeStore
from tidegate.store.model import StoreError
from tidegate.xds.client import DeltaClient, Subscriber
from tidegate.xds.types import ENDPOINT

WRITERS, EDITS_EACH = 50, 20
TOTAL = WRITERS * EDITS_EACH
CLUSTER = "outbound|80||a.example"
CONFLICT = 409


def address(count: int) -> str:
    return f"10.40.{count // 250}.{count % 250 + 1}"


class Deaf(Subscriber):
    """Acknowledges no endpoints once it has heard some."""

    def on_response(self, data: bytes) -> list[object]:
        answers = super().on_response(data)
        return [each for each in answers if each.type_url != ENDPOINT or not each.response_nonce]


async def count_up(store: KubeStore) -> int:
    """Read, add one, write; from the start again where another was faster. The number of conflicts."""
    conflicts = 0
    while True:
        found = await store.get("ServiceEntry", "shop", "a")
        count = int(found["metadata"].get("annotations", {}).get("count", "0")) + 1
        meta = {**found["metadata"], "annotations": {"count": str(count)}}
        spec = {**found["spec"], "endpoints": [{"address": address(count)}]}
        try:
            await store.update({**found, "metadata": meta, "spec": spec})
            return conflicts
        except StoreError as error:
            assert error.code == CONFLICT, error
        conflicts += 1
        await asyncio.sleep(random.uniform(0, 0.03 * min(conflicts, 8)))


async def writer(store: KubeStore) -> int:
    return sum([await count_up(store) for _ in range(EDITS_EACH)])


async def test_the_last_state_wins_and_no_edit_is_lost(plane: Plane, capsys: pytest.CaptureFixture[str]) -> None:
    async with plane.store() as store:
        token = await populate(store)
        deaf = Deaf(sidecar(NODE)._node)
        async with reference(plane, token) as client, DeltaClient(plane.target, deaf, token) as silent:
            await silent.until(whole(["a"]), DEADLINE)
            heard = deaf.tables[ENDPOINT].responses
            before = [memory(each) for each in (plane.discovery, plane.api)]
            responses = client.subscriber.tables[ENDPOINT].responses
            start = time.monotonic()
            conflicts = sum(await asyncio.gather(*(writer(store) for _ in range(WRITERS))))
            took = time.monotonic() - start
            last = await store.get("ServiceEntry", "shop", "a")
            assert last["metadata"]["annotations"]["count"] == str(TOTAL)
            assert last["metadata"]["generation"] == TOTAL + 1
            await client.until(endpoint_is("a", address(TOTAL)), DEADLINE)
            after = [memory(each) for each in (plane.discovery, plane.api)]
            told = client.subscriber.tables[ENDPOINT].responses - responses
            with capsys.disabled():
                print(f"\n{TOTAL} edits in {took:.1f} s, {conflicts} conflicts, {told} responses;", end=" ")
                print(f"discovery {shown(before[0])} -> {shown(after[0])}, API server {shown(after[1])}")
            assert 0 < told <= TOTAL
            assert conflicts > 0, "the writers did meet"
            assert deaf.tables[ENDPOINT].responses == heard, "one response is on its way; what follows waits as one"
            assert after[0] < 1.5 * before[0]
            assert (client.ended, silent.ended) == (None, None)
