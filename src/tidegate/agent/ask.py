"""Questions to a proxy of this machine or container from beside it: hooks of its container, people with a shell."""

import http.client
import time
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

from tidegate.kit.errors import TidegateError

_CHUNK = 65536


class NotReadyError(TidegateError):
    """The proxy did not become ready in time."""


class Patience(NamedTuple):
    """Seconds."""

    whole: float
    """To wait in all."""
    request: float
    """For one answer."""
    period: float
    """Between questions."""


def wait_until_ready(url: str, patience: Patience) -> None:
    """Ask until the answer is 200. Raises NotReadyError with the last reason, TidegateError for a URL that is none."""
    target = _target(url)
    end = time.monotonic() + patience.whole
    while (problem := _problem(target, patience.request)) and time.monotonic() + patience.period < end:
        time.sleep(patience.period)
    if problem:
        raise NotReadyError(f"the proxy did not become ready within {patience.whole:g} s: {url}: {problem}")


def _target(url: str) -> SplitResult:
    target = urlsplit(url)
    try:
        if target.scheme == "http" and target.hostname and target.port != 0:
            return target
    except ValueError:
        pass
    raise TidegateError(f"--url {url}: expected http://HOST:PORT/PATH")


def _problem(target: SplitResult, seconds: float) -> str:
    connection = http.client.HTTPConnection(target.hostname or "", target.port or 80, timeout=seconds)
    try:
        connection.request("GET", target.path or "/")
        answer = connection.getresponse()
        said = answer.read(_CHUNK).decode(errors="replace").strip()
        return "" if answer.status == 200 else f"it answers {answer.status}: {said}"
    except (OSError, http.client.HTTPException) as error:
        return str(error) or type(error).__name__
    finally:
        connection.close()


def ask(port: int, method: str, path: str, body: str, seconds: float) -> Iterator[bytes]:
    """The body of a port's answer on loopback, as it comes. Raises TidegateError, also for a status above 299."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)
    target = path if path.startswith("/") else f"/{path}"
    try:
        connection.request(method, target, body.encode() or None)
        answer = connection.getresponse()
        if answer.status > 299:
            said = answer.read(_CHUNK).decode(errors="replace").strip()
            raise TidegateError(f"{method} {target} on port {port} is answered {answer.status}: {said}")
        while chunk := answer.read(_CHUNK):
            yield chunk
    except (OSError, http.client.HTTPException, UnicodeError) as error:
        reason = str(error) or type(error).__name__
        raise TidegateError(f"{method} {target} on port {port} is not answered: {reason}") from None
    finally:
        connection.close()
