"""Ending a proxy without cutting what is under way."""

import asyncio
import logging
import re
from urllib.parse import quote

from tidegate.agent.bootstrap import OPEN_CONNECTIONS
from tidegate.agent.http import Client, UpstreamHttpError

log = logging.getLogger(__name__)

POLL_SECONDS = 0.25
_ACTIVE = re.compile(rb"^listener\.(\S+)\.downstream_cx_active: ([1-9]\d*)$", re.MULTILINE)
_NOT_COUNTED = re.compile(rb"_15021$|_15090$")
"""Probes and scrapes go on to the end."""
_QUESTION = f"/stats?usedonly&filter={quote(f'^{OPEN_CONNECTIONS}$')}"
_MAX = 4 * 1024 * 1024


async def drain(admin: Client, seconds: float, *, until_idle: bool, at_least: float = 0.0) -> None:
    """Fail Envoy's health check, let its listeners close gently, and wait.

    ``until_idle`` ends the wait as soon as no connection is open, but not before ``at_least`` seconds.
    """
    for target in ("/healthcheck/fail", "/drain_listeners?graceful"):
        try:
            await admin.post(target)
        except UpstreamHttpError as error:
            log.warning("Envoy is not drained: %s", error)
            return
    log.info("draining for %s s", seconds)
    try:
        await asyncio.wait_for(_until_idle(admin, at_least) if until_idle else asyncio.sleep(seconds), seconds)
    except TimeoutError:
        return


async def _until_idle(admin: Client, at_least: float) -> None:
    await asyncio.sleep(at_least)
    while not await _idle(admin):  # noqa: ASYNC110 (Envoy sends no event for it)
        await asyncio.sleep(POLL_SECONDS)


async def _idle(admin: Client) -> bool:
    try:
        _, body = await admin.get(_QUESTION, _MAX)
    except UpstreamHttpError:
        return True
    return all(_NOT_COUNTED.search(name) for name, _ in _ACTIVE.findall(body))
