"""Objects, their global version and the log of changes, durable in one SQLite file.

One thread writes. Writes that wait at the same time share a transaction, hence one fsync, and each keeps an outcome of
its own: a savepoint undoes a refused one alone. Nothing is acknowledged or shown to watchers before the commit.
Versions are consecutive integers over all kinds, and go on after a restart.
"""

import asyncio
import heapq
import queue
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec

from tidegate.kit.errors import TidegateError
from tidegate.store import status
from tidegate.store.model import Json, StoreError, WatchType

T = TypeVar("T")

_BATCH = 256
_RECENT = 4096
_SCHEMA = """
CREATE TABLE IF NOT EXISTS objects (
    kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL, body BLOB NOT NULL,
    PRIMARY KEY (kind, namespace, name)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS objects_by_namespace ON objects (namespace, kind, name);
CREATE TABLE IF NOT EXISTS events (
    version INTEGER PRIMARY KEY, type TEXT NOT NULL, kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
    body BLOB NOT NULL, previous BLOB);
CREATE TABLE IF NOT EXISTS owners (
    uid TEXT NOT NULL, kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
    PRIMARY KEY (uid, kind, namespace, name)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS owners_by_object ON owners (kind, namespace, name);
CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT OR IGNORE INTO counters VALUES ('version', 0), ('compacted', 0);
"""
_REFERENCES = b'"ownerReferences"'
_EVENT_COLUMNS = "version, type, kind, namespace, name, body, previous"


class Key(NamedTuple):
    kind: str
    namespace: str
    name: str


class Event(NamedTuple):
    """One change. ``previous`` is the object before it, None when it was created."""

    version: int
    type: WatchType
    key: Key
    body: bytes
    previous: bytes | None


class Page(NamedTuple):
    """Part of a list, as the world was at ``version``."""

    bodies: list[bytes]
    version: int
    after: tuple[str, str] | None
    """Namespace and name of the last object when more follow."""
    remaining: int = 0
    """How many follow; not told where a filter would have to look at them."""


def _owner_uids(obj: Json) -> set[str]:
    return {str(reference["uid"]) for reference in obj["metadata"].get("ownerReferences") or () if reference.get("uid")}


def _index_owners(db: sqlite3.Connection) -> None:
    """Fill the index of owners once, for a store from before there was one."""
    if db.execute("SELECT 1 FROM counters WHERE name='owners'").fetchone():
        return
    db.execute("BEGIN IMMEDIATE")
    found = db.execute(
        "SELECT kind, namespace, name, body FROM objects WHERE instr(body, ?)", (_REFERENCES,)
    ).fetchall()
    for *key, body in found:
        rows = [(uid, *key) for uid in _owner_uids(msgspec.json.decode(body))]
        db.executemany("INSERT OR IGNORE INTO owners VALUES (?,?,?,?)", rows)
    db.execute("INSERT INTO counters VALUES ('owners', 1)")
    db.execute("COMMIT")


def encode(obj: Json) -> bytes:
    """JSON with apiVersion first, so that an answer in another version of the API can exchange it cheaply."""
    head = {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "metadata": obj["metadata"]}
    try:
        return msgspec.json.encode({**head, **obj})
    except (OverflowError, RecursionError, TypeError) as error:
        raise status.error(400, f"the object cannot be stored as JSON: {error}") from error


class Transaction:
    """What one write may do. Used on the writer's thread only."""

    def __init__(self, connection: sqlite3.Connection, version: int) -> None:
        self._db, self.version = connection, version
        self.events: list[Event] = []
        self.after_commit: list[Callable[[], object]] = []
        """What is to be done once, and only if, this write is on disk; on the writer's thread."""

    def get(self, key: Key) -> Json | None:
        row = self._db.execute("SELECT body FROM objects WHERE kind=? AND namespace=? AND name=?", key).fetchone()
        return None if row is None else msgspec.json.decode(row[0])

    def put(self, key: Key, obj: Json) -> Json:
        """Create or replace the object, under a new resourceVersion, which the returned object carries."""
        previous = self._body(key)
        self.version += 1
        obj = {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(self.version)}}
        body = encode(obj)
        self._db.execute("INSERT OR REPLACE INTO objects VALUES (?,?,?,?)", (*key, body))
        self._log(WatchType.MODIFIED if previous else WatchType.ADDED, key, body, previous)
        self._own(key, _owner_uids(obj), previous)
        return obj

    def remove(self, key: Key, obj: Json) -> Json:
        """Delete the object; ``obj`` is its last state, for watchers."""
        previous = self._body(key)
        self.version += 1
        obj = {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(self.version)}}
        self._db.execute("DELETE FROM objects WHERE kind=? AND namespace=? AND name=?", key)
        self._log(WatchType.DELETED, key, encode(obj), previous)
        self._own(key, set(), previous)
        return obj

    def dependents(self, uid: str) -> list[Key]:
        """Objects whose ownerReferences name the uid."""
        rows = self._db.execute("SELECT kind, namespace, name FROM owners WHERE uid=?", (uid,))
        return [Key(*row) for row in rows]

    def keys(self, namespace: str, kind: str = "") -> list[Key]:
        """Every object of a namespace ("" for cluster-scoped ones), of one kind or of all."""
        where, values = "namespace=?", [namespace]
        if kind:
            where, values = where + " AND kind=?", [namespace, kind]
        rows = self._db.execute(f"SELECT kind, namespace, name FROM objects WHERE {where}", values)  # noqa: S608
        return [Key(*row) for row in rows]

    def all(self, kind: str) -> Iterator[Json]:
        """Every object of a kind in all namespaces."""
        for row in self._db.execute("SELECT body FROM objects WHERE kind=?", (kind,)):
            yield msgspec.json.decode(row[0])

    def _body(self, key: Key) -> bytes | None:
        row = self._db.execute("SELECT body FROM objects WHERE kind=? AND namespace=? AND name=?", key).fetchone()
        return row[0] if row else None

    def _own(self, key: Key, owners: set[str], previous: bytes | None) -> None:
        """Keep the index of owners; ``previous`` tells whether there can be anything to forget."""
        if previous is not None and _REFERENCES in previous:
            self._db.execute("DELETE FROM owners WHERE kind=? AND namespace=? AND name=?", key)
        self._db.executemany("INSERT INTO owners VALUES (?,?,?,?)", [(uid, *key) for uid in owners])

    def _log(self, kind: WatchType, key: Key, body: bytes, previous: bytes | None) -> None:
        self._db.execute("INSERT INTO events VALUES (?,?,?,?,?,?,?)", (self.version, kind, *key, body, previous))
        self.events.append(Event(self.version, kind, key, body, previous))


class _Job(NamedTuple):
    work: Callable[[Transaction], Any]
    future: "asyncio.Future[Any]"
    discard: bool


class _Outcome(NamedTuple):
    future: "asyncio.Future[Any]"
    value: Any
    error: BaseException | None


class Storage:
    """The store's file. Make it inside a running event loop; call :meth:`close` at the end.

    ``history`` is how many changes are kept for watches to resume over and lists to continue at; older versions are
    answered with 410 Expired.
    """

    def __init__(self, path: Path, history: int = 20_000) -> None:
        self._loop = asyncio.get_running_loop()
        self._path, self._history = path, history
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        try:
            self._db = self._connect()
            self._db.executescript(_SCHEMA)
            _index_owners(self._db)
        except sqlite3.DatabaseError as error:
            raise TidegateError(f"the store {path} cannot be opened: {error}; move it away to begin anew") from error
        self._reader = self._connect()
        self._lists = ThreadPoolExecutor(1, "store-list")
        self._list_db = self._connect()
        self.version = self._counter(self._reader, "version")
        """The last committed version."""
        self.compacted = self._counter(self._reader, "compacted")
        """Changes up to this version are no longer in the log."""
        self._recent: deque[Event] = deque(maxlen=_RECENT)
        self._wake: asyncio.Event = asyncio.Event()
        self._thread = threading.Thread(target=self._write_loop, name="store-write", daemon=True)
        self._thread.start()

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=30)
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        return db

    @staticmethod
    def _counter(db: sqlite3.Connection, name: str) -> int:
        value: int = db.execute("SELECT value FROM counters WHERE name=?", (name,)).fetchone()[0]
        return value

    async def write(self, work: Callable[[Transaction], T], *, discard: bool = False) -> T:
        """Run ``work`` in the writer's next transaction and return its result once that is on disk.

        What ``work`` raises is raised here, and only its own changes are undone. ``discard`` undoes them in any case
        (dry run). A commit that fails is a StoreError: 507 for a full disk, 500 for other I/O errors.
        """
        future: asyncio.Future[T] = self._loop.create_future()
        self._jobs.put(_Job(work, future, discard))
        return await future

    def read(self, key: Key) -> bytes | None:
        """The object's JSON as last committed."""
        query = "SELECT body FROM objects WHERE kind=? AND namespace=? AND name=?"
        row = self._reader.execute(query, key).fetchone()
        return row[0] if row else None

    async def page(
        self,
        kind: str,
        namespace: str = "",
        *,
        at: int | None = None,
        after: tuple[str, str] = ("", ""),
        limit: int = 0,
        keep: Callable[[bytes], bool] | None = None,
    ) -> Page:
        """Objects of a kind in order of namespace and name, as of version ``at`` (None for now)."""
        return await self._loop.run_in_executor(self._lists, self._page, kind, namespace, at, after, limit, keep)

    async def events(self, after: int) -> list[Event]:
        """Changes after a version, in order; raises Expired when the log no longer has them all."""
        if after >= self.version:
            return []
        if after < self.compacted:
            raise status.expired(after, self.compacted)
        if self._recent and self._recent[0].version <= after + 1:
            return [self._recent[i] for i in range(after + 1 - self._recent[0].version, len(self._recent))]
        return await self._loop.run_in_executor(self._lists, self._logged, after)

    async def changed(self, seen: int) -> None:
        """Return once a version later than ``seen`` is committed."""
        while self.version <= seen:
            await self._wake.wait()

    async def close(self) -> None:
        self._jobs.put(None)
        await self._loop.run_in_executor(None, self._thread.join)
        self._lists.shutdown()
        for db in (self._db, self._reader, self._list_db):
            db.close()

    def _logged(self, after: int) -> list[Event]:
        query = f"SELECT {_EVENT_COLUMNS} FROM events WHERE version>? ORDER BY version LIMIT ?"  # noqa: S608
        found = [_event(row) for row in self._list_db.execute(query, (after, _RECENT))]
        if not found or found[0].version != after + 1:
            raise status.expired(after, self.compacted)
        return found

    def _page(
        self,
        kind: str,
        namespace: str,
        at: int | None,
        after: tuple[str, str],
        limit: int,
        keep: Callable[[bytes], bool] | None,
    ) -> Page:
        db = self._list_db
        db.execute("BEGIN")
        try:
            version = self._counter(db, "version")
            changed: dict[tuple[str, str], bytes | None] = {}
            if at is not None and at < version:
                changed, version = self._changed_since(kind, at), at
            elif at is not None and at > version:
                raise status.version_too_large(at, version)
            rows = self._merged(kind, namespace, after, changed)
            return _take(rows, version, limit, keep)
        finally:
            db.execute("COMMIT")

    def _changed_since(self, kind: str, at: int) -> dict[tuple[str, str], bytes | None]:
        """Objects of a kind that changed after version ``at``, each as it was then."""
        compacted = self._counter(self._list_db, "compacted")
        if at < compacted:
            raise status.expired(at, compacted)
        query = "SELECT namespace, name, previous FROM events WHERE kind=? AND version>? ORDER BY version"
        then: dict[tuple[str, str], bytes | None] = {}
        for namespace, name, previous in self._list_db.execute(query, (kind, at)):
            then.setdefault((namespace, name), previous)
        return then

    def _merged(
        self, kind: str, namespace: str, after: tuple[str, str], changed: dict[tuple[str, str], bytes | None]
    ) -> Iterator[tuple[tuple[str, str], bytes]]:
        where, values = "kind=? AND (namespace, name) > (?,?)", [kind, *after]
        if namespace:
            where, values = where + " AND namespace=?", [*values, namespace]
        query = f"SELECT namespace, name, body FROM objects WHERE {where} ORDER BY namespace, name"  # noqa: S608
        rows = self._list_db.execute(query, values)
        unchanged = (((ns, name), body) for ns, name, body in rows if (ns, name) not in changed)
        then = sorted(
            (at, body) for at, body in changed.items() if body is not None and at > after and namespace in ("", at[0])
        )
        return heapq.merge(unchanged, then)

    def _write_loop(self) -> None:
        while (job := self._jobs.get()) is not None:
            batch, last = [job], False
            while len(batch) < _BATCH and not self._jobs.empty():
                more = self._jobs.get()
                if more is None:
                    last = True
                    break
                batch.append(more)
            self._write_batch(batch)
            if last:
                return

    def _write_batch(self, batch: list[_Job]) -> None:
        try:
            outcomes, events, version, compacted = self._commit(batch)
        except sqlite3.Error as error:
            self._undo()
            refusal = _storage_failure(error)
            outcomes = [_Outcome(job.future, None, refusal) for job in batch]
            events, version, compacted = [], self.version, self.compacted
        self._loop.call_soon_threadsafe(self._settle, outcomes, events, version, compacted)

    def _commit(self, batch: list[_Job]) -> tuple[list[_Outcome], list[Event], int, int]:
        db = self._db
        db.execute("BEGIN IMMEDIATE")
        transaction = Transaction(db, self._counter(db, "version"))
        outcomes = [self._attempt(job, transaction) for job in batch]
        compacted = self._counter(db, "compacted")
        if transaction.events:
            db.execute("UPDATE counters SET value=? WHERE name='version'", (transaction.version,))
            compacted = self._compact(transaction.version, compacted)
        db.execute("COMMIT")
        for done in transaction.after_commit:
            done()
        return outcomes, transaction.events, transaction.version, compacted

    def _attempt(self, job: _Job, transaction: Transaction) -> _Outcome:
        version, events, after = transaction.version, len(transaction.events), len(transaction.after_commit)
        self._db.execute("SAVEPOINT job")
        value, failure = None, None
        try:
            value = job.work(transaction)
        except sqlite3.Error:
            raise
        except Exception as error:
            failure = error
        if failure is not None or job.discard:
            self._db.execute("ROLLBACK TO job")
            transaction.version = version
            del transaction.events[events:]
            del transaction.after_commit[after:]
        self._db.execute("RELEASE job")
        return _Outcome(job.future, value, failure)

    def _compact(self, version: int, compacted: int) -> int:
        """Forget old changes, in steps so that not every write pays for it."""
        target = version - self._history
        if target - compacted < max(1, self._history // 8):
            return compacted
        self._db.execute("DELETE FROM events WHERE version<=?", (target,))
        self._db.execute("UPDATE counters SET value=? WHERE name='compacted'", (target,))
        return target

    def _undo(self) -> None:
        if self._db.in_transaction:
            try:
                self._db.execute("ROLLBACK")
            except sqlite3.Error:  # SQLite has rolled back by itself on some I/O errors
                pass

    def _settle(self, outcomes: Iterable[_Outcome], events: list[Event], version: int, compacted: int) -> None:
        self.version, self.compacted = version, compacted
        if events:
            self._recent.extend(events)
            self._wake.set()
            self._wake = asyncio.Event()
        for future, value, error in outcomes:
            if future.done():
                continue
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(value)


def _event(row: tuple[int, str, str, str, str, bytes, bytes | None]) -> Event:
    version, kind, *key, body, previous = row
    return Event(version, WatchType(kind), Key(*key), body, previous)


def _take(
    rows: Iterator[tuple[tuple[str, str], bytes]],
    version: int,
    limit: int,
    keep: Callable[[bytes], bool] | None,
) -> Page:
    bodies: list[bytes] = []
    last = None
    for at, body in rows:
        if keep is not None and not keep(body):
            continue
        if limit and len(bodies) == limit:
            return Page(bodies, version, last, 1 + sum(1 for _ in rows) if keep is None else 0)
        bodies.append(body)
        last = at
    return Page(bodies, version, None)


def _storage_failure(error: sqlite3.Error) -> StoreError:
    if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
        text = "the disk that holds the store is full; nothing was written. Free space there and try again"
        return StoreError(507, "InsufficientStorage", text)
    return StoreError(500, "InternalError", f"the store could not be written: {error}; nothing was changed")
