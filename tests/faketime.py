"""Processes whose wall clock is set forward and back while they run (Debian's faketime)."""

from collections.abc import Iterator
from pathlib import Path

import pytest

LIBRARY = next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))), None)
NEEDED = pytest.mark.skipif(LIBRARY is None, reason="the Debian package faketime is not installed")
DAY = 24 * 3600


class Clock:
    """The clock of all processes that are started with its environment."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "clock"
        self.set(0)

    def set(self, seconds: int) -> None:
        """So many seconds after, or before, the machine's clock."""
        fresh = self._file.with_suffix(".new")
        fresh.write_text(f"{seconds:+d}\n")
        fresh.replace(self._file)

    @property
    def environment(self) -> dict[str, str]:
        """The monotonic clock stays as it is, as a kernel's does."""
        return {
            "LD_PRELOAD": str(LIBRARY),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }


def seconds_of_work(pid: int) -> float:
    """Processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def jumps() -> Iterator[int]:
    """Forward a day, back two, to the right time again, and a year forward."""
    yield from (DAY, -DAY, 0, 365 * DAY)
