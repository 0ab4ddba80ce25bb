import asyncio
import gc
import weakref
from collections.abc import Iterator

import pytest

from tidegate.app.discovery import heap


@pytest.fixture(autouse=True)
def collector() -> Iterator[None]:
    before = gc.get_threshold()
    gc.set_threshold(700, 10, 10)  # Python's own, whatever ran before
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


def test_the_collector_looks_less_often() -> None:
    before = gc.get_threshold()[0]
    heap.spare()
    assert gc.get_threshold()[0] > before
    assert gc.isenabled()


def test_what_is_held_is_not_walked_again() -> None:
    kept = [{"list": []}]
    before = gc.get_freeze_count()
    heap.settle()
    assert gc.get_freeze_count() > before
    assert not any(each is kept for each in gc.get_objects())


class Node:
    """Refers to itself, so that only the collector can free it."""

    def __init__(self) -> None:
        self.own = self


async def test_what_streams_leave_is_collected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heap, "SETTLING_SECONDS", 0.0)
    gc.disable()
    try:
        litter, left = heap.Litter(), [weakref.ref(Node()) for _ in range(3)]
        for _ in range(heap.MANY - 1):
            litter.note()
        await asyncio.sleep(0.01)
        assert all(each() is not None for each in left), "a few are not worth a walk"
        litter.note()
        async with asyncio.timeout(10):
            while any(each() is not None for each in left):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    finally:
        gc.enable()
