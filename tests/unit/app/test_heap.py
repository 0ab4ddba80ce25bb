import gc
from collections.abc import Iterator

import pytest

from tidegate.app import heap


@pytest.fixture(autouse=True)
def collector() -> Iterator[None]:
    before = gc.get_threshold()
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
