"""The application's own statistics, asked for in the stead of whoever scrapes the agent."""

import asyncio
import logging
from collections.abc import Mapping

import msgspec

from tidegate.agent.exposition import Part, is_open_metrics, negotiated
from tidegate.agent.http import Client, Request, UpstreamHttpError
from tidegate.kit.errors import TidegateError
from tidegate.kit.injected import PROXY_PORTS, SCRAPES

log = logging.getLogger(__name__)

TIMEOUT_HEADER = "x-prometheus-scrape-timeout-seconds"
DEFAULT_SECONDS, LONGEST_SECONDS = 10.0, 60.0
_SHARE = 0.9
"""Of the time that the asker gives: what is left is for the answer."""
MAX_BODY = 32 * 1024 * 1024
"""Bytes that one application may tell."""


class Target(msgspec.Struct, frozen=True):
    """Where an application tells its statistics."""

    port: int
    path: str = "/metrics"

    def __str__(self) -> str:
        return f"port {self.port}, path {self.path}"


class _Told(msgspec.Struct, frozen=True):
    """As injection writes it: annotations are text."""

    scrape: str = ""
    port: str = ""
    path: str = ""
    targets: tuple["_Told", ...] = ()


class Applications:
    """The targets of one pod."""

    def __init__(self, targets: tuple[Target, ...], host: str) -> None:
        self._targets, self._host = targets, host

    async def ask(self, request: Request) -> tuple[list[Part], int]:
        """What each target tells within the time that the asker gives, and how many failed."""
        accept, seconds = negotiated(request.headers.get("accept", "")), seconds_of(request)
        asked = (self._one(each, accept, seconds) for each in self._targets)
        found = await asyncio.gather(*asked)
        parts = [part for part in found if part is not None]
        return parts, len(found) - len(parts)

    async def _one(self, target: Target, accept: str, seconds: float) -> Part | None:
        try:
            async with asyncio.timeout(seconds):
                return await self._body(target, accept, seconds)
        except TimeoutError:
            reason = f"no whole answer within {seconds:.1f} s"
        except UpstreamHttpError as error:
            reason = str(error)
        log.warning("the application's statistics (%s) are left out: %s", target, reason)
        return None

    async def _body(self, target: Target, accept: str, seconds: float) -> Part:
        client = Client(self._host, target.port, seconds)
        status, kind, chunks = await client.stream(target.path, MAX_BODY, {"accept": accept})
        body = b"".join([chunk async for chunk in chunks])
        if status != 200:
            raise UpstreamHttpError(f"{client} answers {status}; expected 200")
        form = is_open_metrics(kind)
        if form is None:
            raise UpstreamHttpError(f"{client} answers {kind[:100]!r}; expected text/plain or OpenMetrics")
        return Part(body, form)


def seconds_of(request: Request) -> float:
    """How long applications may take: most of what the asker gives."""
    try:
        given = float(request.headers.get(TIMEOUT_HEADER, DEFAULT_SECONDS))
    except ValueError:
        given = DEFAULT_SECONDS
    return min(given, LONGEST_SECONDS) * _SHARE if given > 0 else DEFAULT_SECONDS


def targets(environment: Mapping[str, str], own_port: int) -> tuple[Target, ...]:
    """What injection told of the application's statistics; none where it told nothing, or that there are none.

    Raises TidegateError for what cannot be asked.
    """
    text = environment.get(SCRAPES, "")
    if not text:
        return ()
    try:
        told = msgspec.json.decode(text, type=_Told, strict=False)
    except msgspec.MsgspecError as error:
        raise TidegateError(f"{SCRAPES}: expected scrape, port and path as injection writes them: {error}") from error
    if told.scrape.lower() == "false":
        return ()
    found = tuple(_target(each) for each in told.targets or (told,))
    for each in found:
        if each.port in {*PROXY_PORTS, own_port}:
            raise TidegateError(
                f"{SCRAPES}: port {each.port} is the proxy's own; expected the application's: "
                "correct the annotation prometheus.io/port or prometheus.istio.io/scrape-targets"
            )
    return found


def _target(told: _Told) -> Target:
    port, path = told.port or "80", told.path or "/metrics"
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and 0 < int(port) <= 65535):
        raise TidegateError(f"{SCRAPES}: port {told.port!r}: expected a number from 1 to 65535")
    return Target(int(port), path if path.startswith("/") else f"/{path}")
