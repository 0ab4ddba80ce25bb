import sqlite3
from datetime import UTC, datetime, timedelta

import pytest

from tidegate.api.decode import admit
from tidegate.api.kinds import KINDS
from tidegate.store import events
from tidegate.store.sqlite import Key, Storage
from tidegate.store.writes import Options, Target, Writes

START = datetime(2026, 1, 1, tzinfo=UTC)
EVENT = {
    "apiVersion": "v1",
    "kind": "Event",
    "metadata": {"name": "e"},
    "involvedObject": {"kind": "Pod", "name": "p", "namespace": "n"},
    "reason": "Started",
}


@pytest.fixture
async def storage(tmp_path):
    made = Storage(tmp_path / "store.db")
    yield made
    await made.close()


def target(kind, namespace="", name=""):
    return Target(KINDS[kind], "v1", namespace, name)


async def test_events_go_after_their_time(storage):
    now, ticks = [START], [0.0]
    writes = Writes(admit, clock=lambda: now[0], ticks=lambda: ticks[0])
    space = {"metadata": {"name": "n"}}
    await storage.write(lambda tx: writes.create(tx, target("Namespace"), space, Options()))
    await storage.write(lambda tx: writes.create(tx, target("Event", "n"), EVENT, Options()))
    now[0] = START + timedelta(minutes=50)
    again = {**EVENT, "count": 2}
    await storage.write(lambda tx: writes.update(tx, target("Event", "n", "e"), again, Options()))
    for minutes, there in ((100, True), (111, False)):
        now[0] = START + timedelta(minutes=minutes)
        ticks[0] += events.SWEEP_SECONDS
        assert writes.has_garbage
        await storage.write(writes.collect)
        assert not writes.has_garbage
        assert (storage.read(Key("Event", "n", "e")) is not None) is there


async def test_old_events_are_looked_for_whatever_the_clock_does(storage):
    now, ticks = [START], [0.0]
    writes = Writes(admit, clock=lambda: now[0], ticks=lambda: ticks[0])
    await storage.write(writes.collect)
    now[0] = START + timedelta(days=1)
    assert not writes.has_garbage
    ticks[0], now[0] = events.SWEEP_SECONDS, START - timedelta(days=400)
    assert writes.has_garbage


def test_an_event_with_a_time_that_is_none_stays():
    broken = {"metadata": {"creationTimestamp": "2020-01-01T00:00:00Z", "managedFields": [{"time": "yesterday"}]}}
    assert list(events.outlived([broken], START)) == []


async def test_an_owner_in_another_group_is_not_known(storage):
    writes = Writes(admit, clock=lambda: START)
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d", "uid": "u"}
    space = {"metadata": {"name": "n", "ownerReferences": [reference]}}
    await storage.write(lambda tx: writes.create(tx, target("Namespace"), space, Options()))
    assert not writes.orphaned


async def test_a_store_without_an_index_of_owners_gets_one(tmp_path):
    key = Key("ConfigMap", "n", "a")
    meta = {"name": "a", "namespace": "n", "ownerReferences": [{"uid": "u"}]}
    first = Storage(tmp_path / "store.db")
    await first.write(lambda tx: tx.put(key, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta}))
    await first.close()
    with sqlite3.connect(tmp_path / "store.db") as db:
        db.execute("DELETE FROM owners")
        db.execute("DELETE FROM counters WHERE name='owners'")
    db.close()
    again = Storage(tmp_path / "store.db")
    assert await again.write(lambda tx: tx.dependents("u")) == [key]
    await again.close()
