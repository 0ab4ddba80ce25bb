"""The configuration that Envoy last accepted, on disk: what it is given while the control plane is away."""

import logging
import sqlite3
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from tidegate.xds.types import CLUSTER, LISTENER

log = logging.getLogger(__name__)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS resource (
  type TEXT NOT NULL, name TEXT NOT NULL, version TEXT NOT NULL, body BLOB NOT NULL, PRIMARY KEY (type, name)
);
CREATE TABLE IF NOT EXISTS answered (type TEXT PRIMARY KEY) WITHOUT ROWID;
"""
_PUT = """
INSERT INTO resource (type, name, version, body) VALUES (?, ?, ?, ?)
ON CONFLICT (type, name) DO UPDATE SET version = excluded.version, body = excluded.body
WHERE version <> excluded.version
"""


class Accepted(msgspec.Struct, frozen=True):
    """One resource that Envoy accepted."""

    name: str
    version: str
    body: bytes


class LastGood:
    """The accepted resources by type URL and name.

    Every change is one transaction in a write-ahead log: it survives the death of this process at any moment. A file
    that cannot be read is set aside beside it and told, for it is only a convenience: the control plane has the truth.
    To be used by one thread at a time.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._database = _opened(path)
        except sqlite3.DatabaseError as error:
            aside = _set_aside(path)
            log.error("%s cannot be read (%s): it was moved to %s; starting without it", path, error, aside.name)
            self._database = _opened(path)

    def accept(self, type_url: str, resources: Iterable[Accepted], removed: Iterable[str], *, whole: bool) -> None:
        """Keep resources of one type and forget others; ``whole`` means that nothing else of the type is held."""
        with self._database as transaction:
            kept = list(resources)
            if whole:
                names = {resource.name for resource in kept}
                gone = [name for name in self.versions(type_url) if name not in names]
            else:
                gone = list(removed)
            transaction.executemany("DELETE FROM resource WHERE type = ? AND name = ?", ((type_url, n) for n in gone))
            transaction.execute("INSERT OR IGNORE INTO answered (type) VALUES (?)", (type_url,))
            transaction.executemany(_PUT, ((type_url, r.name, r.version, r.body) for r in kept))

    def forget(self, type_url: str, names: Iterable[str]) -> None:
        """Drop resources that Envoy no longer asks for."""
        with self._database as transaction:
            rows = ((type_url, name) for name in names)
            transaction.executemany("DELETE FROM resource WHERE type = ? AND name = ?", rows)

    def usable(self) -> bool:
        """Whether Envoy has accepted clusters and listeners, were it none of them.

        With less an unconfigured proxy would look ready.
        """
        answered = {row[0] for row in self._database.execute("SELECT type FROM answered")}
        return {CLUSTER, LISTENER} <= answered

    def versions(self, type_url: str) -> Mapping[str, str]:
        """Name to version of what is held."""
        return dict(self._database.execute("SELECT name, version FROM resource WHERE type = ?", (type_url,)))

    def everything(self) -> dict[str, list[Accepted]]:
        """All that is held, by type URL, each type in the order of names."""
        found: dict[str, list[Accepted]] = {}
        rows = self._database.execute("SELECT type, name, version, body FROM resource ORDER BY type, name")
        for type_url, name, version, body in rows:
            found.setdefault(type_url, []).append(Accepted(name, version, body))
        return found

    def counts(self) -> dict[str, int]:
        """Type URL to the number of resources held."""
        return dict(self._database.execute("SELECT type, count(*) FROM resource GROUP BY type"))

    def close(self) -> None:
        self._database.close()


def _opened(path: Path) -> sqlite3.Connection:
    path.touch(mode=0o600)
    path.chmod(0o600)
    database = sqlite3.connect(path, check_same_thread=False)
    try:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")
        database.executescript(_SCHEMA)
        damage = database.execute("PRAGMA quick_check(1)").fetchone()[0]
        if damage != "ok":
            raise sqlite3.DatabaseError(damage)
        database.execute("SELECT type, name, version, body FROM resource LIMIT 1").fetchone()
    except sqlite3.DatabaseError:
        database.close()
        raise
    return database


def _set_aside(path: Path) -> Path:
    aside = path.with_name(f"{path.name}.damaged-{time.time_ns()}")
    path.replace(aside)
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    return aside
