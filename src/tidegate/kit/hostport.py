"""``HOST:PORT`` as a user writes it: an IPv6 address stands in brackets, the port may be left out."""

from typing import NamedTuple

from tidegate.kit.addresses import is_ip
from tidegate.kit.errors import TidegateError

_LARGEST = 65535


class HostPort(NamedTuple):
    """A host, which may be an address, and a port."""

    host: str
    """Without brackets."""
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse(text: str, default_port: int, where: str) -> HostPort:
    """Read it. Raises TidegateError that names ``where`` the text was given."""
    host, port = _parted(text.strip())
    if not host or any(each.isspace() or each in "[]/@" for each in host) or (":" in host and not is_ip(host)):
        raise _wrong(where, text)
    if port is None:
        return HostPort(host, default_port)
    if not (port.isascii() and port.isdigit() and len(port) <= len(str(_LARGEST)) and int(port) <= _LARGEST):
        raise _wrong(where, text)
    return HostPort(host, int(port))


def _parted(text: str) -> tuple[str, str | None]:
    if text.startswith("["):
        host, end, rest = text[1:].partition("]")
        return (host if end and rest[:1] in ("", ":") else "", rest[1:] if rest else None)
    if text.count(":") > 1:
        return text, None
    host, colon, port = text.partition(":")
    return host, port if colon else None


def _wrong(where: str, text: str) -> TidegateError:
    return TidegateError(
        f"{where} {text[:200]!r}: expected HOST:PORT, such as istiod.istio-system.svc:15012 or [::1]:15012"
    )
