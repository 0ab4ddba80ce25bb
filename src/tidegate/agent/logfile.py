"""Keeps Envoy's output bounded: it goes to a file, so that Envoy can write when no agent lives."""

import asyncio
import logging
import shutil
from pathlib import Path

log = logging.getLogger(__name__)

MAX_SIZE = 32 * 1024 * 1024
"""Bytes after which the file is moved aside; twice as much is kept in all."""
LOOK_SECONDS = 10.0


def rotate(path: Path, max_size: int = MAX_SIZE) -> bool:
    """Copy a file that has grown too large to ``<name>.1`` and empty it.

    Envoy appends, so it goes on at the new end. What it writes between the two steps is lost: a few lines at most.
    """
    try:
        if path.stat().st_size <= max_size:
            return False
        old = path.with_name(path.name + ".1")
        with path.open("rb") as source, old.open("wb") as copy:
            old.chmod(0o640)
            shutil.copyfileobj(source, copy)
        with path.open("r+b") as file:
            file.truncate(0)
    except FileNotFoundError:
        return False
    except OSError as error:
        log.warning("%s could not be rotated: %s", path, error)
        with path.open("r+b") as file:
            file.truncate(0)
    return True


async def keep_small(path: Path) -> None:
    """Rotate for as long as the agent runs."""
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        await asyncio.to_thread(rotate, path)
