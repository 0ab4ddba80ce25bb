import asyncio

import msgspec
import pytest

from tidegate.kit.errors import TidegateError
from tidegate.store.model import Expired, StoreError
from tidegate.store.sqlite import Key, Storage


def obj(name, **more):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "n"}, **more}


def put(name, **more):
    return lambda tx: tx.put(Key("ConfigMap", "n", name), obj(name, **more))


def remove(name):
    return lambda tx: tx.remove(Key("ConfigMap", "n", name), obj(name))


@pytest.fixture
async def open_storage(tmp_path):
    opened = []

    def make(**options):
        opened.append(Storage(tmp_path / "store.db", **options))
        return opened[-1]

    yield make
    for storage in opened:
        await storage.close()


def names(page):
    return [msgspec.json.decode(body)["metadata"]["name"] for body in page.bodies]


async def test_versions_count_up_and_go_on_after_a_restart(open_storage, tmp_path):
    first = Storage(tmp_path / "store.db")
    assert (await first.write(put("a")))["metadata"]["resourceVersion"] == "1"
    await first.write(remove("a"))
    await first.close()
    storage = open_storage()
    assert storage.version == 2
    assert (await storage.write(put("b")))["metadata"]["resourceVersion"] == "3"


async def test_waiting_writes_share_a_commit_and_keep_their_own_outcome(open_storage):
    storage = open_storage()
    commits = []

    def fail(tx):
        put("bad")(tx)
        raise StoreError(409, "Conflict", "no")

    storage._db.set_trace_callback(lambda sql: commits.append(sql) if sql == "COMMIT" else None)
    writes = [storage.write(fail if n % 3 == 0 else put(f"o{n}")) for n in range(90)]
    outcomes = await asyncio.gather(*writes, return_exceptions=True)
    assert [isinstance(o, StoreError) for o in outcomes] == [n % 3 == 0 for n in range(90)]
    assert len(commits) < 30
    versions = [int(o["metadata"]["resourceVersion"]) for o in outcomes if not isinstance(o, StoreError)]
    assert versions == list(range(1, 61))
    assert storage.read(Key("ConfigMap", "n", "bad")) is None
    assert [e.version for e in await storage.events(0)] == versions


async def test_discarded_writes_leave_nothing(open_storage):
    storage = open_storage()
    told = []

    def work(tx):
        tx.after_commit.append(lambda: told.append("x"))
        return put("a")(tx)

    assert (await storage.write(work, discard=True))["metadata"]["name"] == "a"
    assert storage.version == 0 and storage.read(Key("ConfigMap", "n", "a")) is None and not told
    await storage.write(work)
    assert told == ["x"]


async def test_a_full_disk_refuses_writes_and_keeps_reads(open_storage):
    storage = open_storage()
    await storage.write(put("a"))
    pages = storage._db.execute("PRAGMA page_count").fetchone()[0]
    storage._db.execute(f"PRAGMA max_page_count={pages}")
    outcomes = await asyncio.gather(
        storage.write(put("big", data="x" * 100_000)), storage.write(put("small")), return_exceptions=True
    )
    assert isinstance(outcomes[0], StoreError) and outcomes[0].code == 507
    assert storage.read(Key("ConfigMap", "n", "big")) is None
    assert storage.read(Key("ConfigMap", "n", "a"))
    storage._db.execute("PRAGMA max_page_count=1000000")
    assert int((await storage.write(put("big")))["metadata"]["resourceVersion"]) == storage.version


async def test_lists_at_a_version(open_storage):
    storage = open_storage()
    for name in "bdf":
        await storage.write(put(name, data="old"))
    at = storage.version
    await storage.write(put("c"))
    await storage.write(put("d", data="new"))
    await storage.write(remove("f"))
    page = await storage.page("ConfigMap", "n", at=at)
    assert names(page) == ["b", "d", "f"] and page.version == at
    assert all(msgspec.json.decode(body)["data"] == "old" for body in page.bodies)
    assert names(await storage.page("ConfigMap", "n", at=at, after=("n", "b"), limit=1)) == ["d"]
    now = await storage.page("ConfigMap")
    assert names(now) == ["b", "c", "d"]
    assert names(await storage.page("ConfigMap", keep=lambda body: b"new" in body)) == ["d"]


async def test_the_log_is_bounded(open_storage):
    storage = open_storage(history=50)
    for n in range(300):
        await storage.write(put("a", data=n))
    with pytest.raises(Expired):
        await storage.events(1)
    with pytest.raises(Expired):
        await storage.page("ConfigMap", at=1)
    assert [e.version for e in await storage.events(290)] == list(range(291, 301))
    rows = storage._reader.execute("SELECT count(*) FROM events").fetchone()[0]
    assert 50 <= rows <= 60


async def test_events_are_read_from_the_file_after_a_restart(open_storage, tmp_path):
    first = Storage(tmp_path / "store.db")
    for name in "abc":
        await first.write(put(name))
    await first.close()
    storage = open_storage()
    assert [e.key.name for e in await storage.events(1)] == ["b", "c"]


async def test_waiting_for_a_change(open_storage):
    storage = open_storage()
    waiting = asyncio.create_task(storage.changed(0))
    await asyncio.sleep(0)
    assert not waiting.done()
    await storage.write(put("a"))
    async with asyncio.timeout(10):
        await waiting


async def test_a_file_that_is_no_store_is_named(tmp_path):
    path = tmp_path / "store.db"
    path.write_bytes(b"this is not a database, whatever its name says" * 100)
    with pytest.raises(TidegateError) as caught:
        Storage(path)
    assert str(path) in str(caught.value)
