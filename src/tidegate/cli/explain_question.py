"""What ``tidegate explain`` is asked: its options as a question, and what of them cannot be."""

import ipaddress
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from urllib.parse import urlsplit

import click

if TYPE_CHECKING:
    from tidegate.answer.question import Protocol, Question

PROTOCOLS = ("http", "https", "http2", "grpc", "tls", "tcp", "udp")
_PORTS = {"http": 80, "http2": 80, "grpc": 80, "https": 443, "tls": 443}
"""Of protocols that have one of their own."""
_WITHOUT_HTTP = ("tls", "tcp", "udp")
_OF_REQUESTS = ("host", "method", "headers", "http_version")
_HOST = re.compile(
    r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)*\.?"
)
_LONGEST_HOST = 253
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""A header's or a method's name: RFC 9110, 5.6.2."""


class Target(NamedTuple):
    """What is called, taken apart; what is not said is empty."""

    host: str
    port: int = 0
    protocol: str = ""
    path: str = ""


def question(given: dict[str, Any]) -> "Question":
    """The question that the options ask. Raises click.UsageError for what cannot be."""
    from tidegate.answer.question import Question

    target = target_of(given["target"])
    protocol = _protocol(given, target)
    _check(given, protocol)
    return Question(
        to=target.host,
        port=target.port or _port(given["target"], protocol),
        protocol=protocol,
        ip=given["ip"],
        sni=given["sni"],
        host=given["host"],
        path=given["path"] if given["path"] != "/" else target.path or "/",
        method=given["method"],
        headers=tuple(_header(text) for text in given["headers"]),
        http_version=given["http_version"] or "",
        server_first=given["server_first"],
        direction="inbound" if given["inbound"] else "outbound",
        source_ip=given["source_ip"],
        principal=given["principal"],
        caller=given["caller"],
        user=given["from_user"],
    )


def target_of(text: str) -> Target:
    """HOST, HOST:PORT, IP:PORT, [IPv6]:PORT, or a URL. Raises click.UsageError."""
    if "://" in text:
        return _url(text)
    bare = text.count(":") > 1 and not text.startswith("[")
    host, colon, port = (text, "", "") if bare else text.rpartition(":") if _ported(text) else (text, "", "")
    if colon and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise click.UsageError(f"--to {_short(text)}: the port must be a number from 1 to 65535")
    return Target(_named(host, text), int(port or 0))


def _ported(text: str) -> bool:
    return ":" in text.rpartition("]")[2]


def _url(text: str) -> Target:
    try:
        parts = urlsplit(text)
        port = parts.port or 0
    except ValueError as error:
        raise click.UsageError(f"--to {_short(text)}: is no URL: {error}") from error
    if parts.scheme not in PROTOCOLS:
        raise click.UsageError(f"--to {_short(text)}: the scheme must be one of {', '.join(PROTOCOLS)}")
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    return Target(_named(parts.hostname or "", text), port, parts.scheme, path)


def _named(host: str, text: str) -> str:
    """The name or address. Only an address ends in a number: 10.0.0.300 is neither."""
    found = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        return str(ipaddress.ip_address(found))
    except ValueError:
        pass
    numeric = found.rstrip(".").rpartition(".")[2].isdigit()
    if len(found) > _LONGEST_HOST or numeric or not _HOST.fullmatch(found):
        raise click.UsageError(f"--to {_short(text)}: must be a host name or an address, HOST[:PORT] or [IPv6]:PORT")
    return found


def _short(text: str) -> str:
    return text if len(text) <= 120 else f"{text[:120]}…"


def _protocol(given: dict[str, Any], target: Target) -> "Protocol":
    if given["protocol"] is None and given["server_first"] and not target.protocol:
        return "tcp"
    usual = "https" if target.port == _PORTS["https"] else "http"
    return cast("Protocol", given["protocol"] or target.protocol or usual)


def _port(text: str, protocol: str) -> int:
    if protocol not in _PORTS:
        raise click.UsageError(
            f"--to {_short(text)}: must be HOST:PORT or IP:PORT, for {protocol} has no port of its own"
        )
    return _PORTS[protocol]


def _check(given: dict[str, Any], protocol: str) -> None:
    """Refuse what would be read and not counted."""
    if given["caller"] and not given["inbound"]:
        raise click.UsageError("--caller: tells who calls with --inbound; without it the caller is --from")
    if given["path"][:1] not in ("/", "*"):
        raise click.UsageError(f"--path {_short(given['path'])}: must begin with /")
    if given["method"] and not _TOKEN.fullmatch(given["method"]):
        raise click.UsageError(f"--method {_short(given['method'])}: must be the name of a method, such as GET")
    for name in _idle(given, protocol):
        click.echo(f"note: --{name} says nothing of a connection of protocol {protocol}", err=True)


def _idle(given: dict[str, Any], protocol: str) -> Iterator[str]:
    if protocol in _WITHOUT_HTTP:
        yield from (name.removesuffix("s").replace("_", "-") for name in _OF_REQUESTS if given[name])
        yield from ["path"] if given["path"] != "/" else []
    if given["sni"] and protocol not in ("https", "tls"):
        yield "sni"


def _header(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not _TOKEN.fullmatch(name):
        raise click.UsageError(f"--header {_short(text)}: must be NAME=VALUE")
    return name, value
