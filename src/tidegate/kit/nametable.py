"""The name table's messages as bytes: what one host name resolves to.

``istio.networking.nds.v1.NameTable``. Each name is a resource of its own, called like the host, whose body has
``name_info = 2 {ips = 1, registry = 2, shortname = 3, namespace = 4}``; a whole table has ``table = 1`` instead, a map
from names to the same message, and is read too.
"""

from collections.abc import Iterator, Mapping

import msgspec

from tidegate.kit.varint import varint

TYPE_URL = "type.googleapis.com/istio.networking.nds.v1.NameTable"

_VARINT, _EIGHT, _LENGTH, _FOUR = 0, 1, 2, 5
_LONGEST = 10
"""Bytes of a varint."""


class NameTableError(ValueError):
    """Bytes that are no name table."""


class NameInfo(msgspec.Struct, frozen=True, gc=False):
    """What is known of one name. ``shortname`` and ``namespace`` are those of a Kubernetes Service, else empty."""

    ips: tuple[str, ...]
    registry: str
    shortname: str = ""
    namespace: str = ""


def encode(info: NameInfo) -> bytes:
    """The body of the resource of one name."""
    parts = [_text(1, ip) for ip in info.ips]
    texts = ((2, info.registry), (3, info.shortname), (4, info.namespace))
    parts += [_text(number, text) for number, text in texts if text]
    return _field(2, b"".join(parts))


def decode(name: str, body: bytes) -> Mapping[str, NameInfo]:
    """The names of one resource that is called ``name``. Raises NameTableError."""
    found: dict[str, NameInfo] = {}
    for number, value in _fields(body):
        if number == 1:
            key, info = _entry(value)
            found[key] = info
        elif number == 2:
            found[name] = _info(value)
    return found


def _entry(data: bytes) -> tuple[str, NameInfo]:
    parts = dict(_fields(data))
    return _string(parts.get(1, b"")), _info(parts.get(2, b""))


def _info(data: bytes) -> NameInfo:
    ips: list[str] = []
    texts = {2: "", 3: "", 4: ""}
    for number, value in _fields(data):
        if number == 1:
            ips.append(_string(value))
        elif number in texts:
            texts[number] = _string(value)
    return NameInfo(tuple(ips), texts[2], texts[3], texts[4])


def _string(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise NameTableError("a text that is not UTF-8") from None


def _text(number: int, value: str) -> bytes:
    return _field(number, value.encode())


def _field(number: int, data: bytes) -> bytes:
    return varint(number << 3 | _LENGTH) + varint(len(data)) + data


def _fields(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Fields with a length, of a serialized message; others are passed over."""
    at = 0
    while at < len(data):
        key, at = _read_varint(data, at)
        wire_type = key & 7
        if wire_type == _VARINT:
            _, at = _read_varint(data, at)
            continue
        if wire_type == _LENGTH:
            size, at = _read_varint(data, at)
        elif wire_type in (_EIGHT, _FOUR):
            size = 8 if wire_type == _EIGHT else 4
        else:
            raise NameTableError(f"wire type {wire_type}")
        if at + size > len(data):
            raise NameTableError("it ends within a field")
        if wire_type == _LENGTH:
            yield key >> 3, data[at : at + size]
        at += size


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for index, byte in enumerate(data[at : at + _LONGEST]):
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return value, at + index + 1
    raise NameTableError("it ends within a number")
