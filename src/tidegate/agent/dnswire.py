"""DNS messages as bytes (RFC 1035): reading the one question of a query, and writing answers to it.

Only what the agent answers by itself is made here; whatever else a message holds passes through as it is.
"""

import ipaddress
import struct

import msgspec

A, CNAME, AAAA, OPT = 1, 5, 28, 41
IN = 1
NOERROR, SERVFAIL = 0, 2
HEADER = 12
TTL = 30
"""Seconds; Istio's."""
UDP_SIZE = 512
"""Bytes of a datagram that every client takes."""
OUR_UDP_SIZE = 1232
"""What we tell of ourselves; it passes every path unbroken (dnsflagday.net, 2020)."""

_QR_AA, _TC = 0x8400, 0x0200
_KEPT = 0x7910
"""Of the query's flags: opcode, recursion desired, checking disabled."""
_RA = 0x0080
_MOST_LABELS = 128
_NAME_AT_QUESTION = b"\xc0\x0c"
_OUR_OPT = struct.pack("!BHHIH", 0, OPT, OUR_UDP_SIZE, 0, 0)


class Question(msgspec.Struct, frozen=True, gc=False):
    """The one question of a standard query."""

    end: int
    """Where it ends in the message."""
    key: bytes
    """The question as bytes, in lower case: equal questions, equal keys."""
    kind: int
    """Type of the records that are asked for."""
    size: int
    """Bytes that the client takes in one datagram."""
    edns: bool


def question(data: bytes) -> Question | None:
    """The question of a standard query of class IN; None for any other bytes, which are not answered here."""
    if len(data) < HEADER + 5:
        return None
    flags, questions, answers, authorities, extras = struct.unpack_from("!5H", data, 2)
    if flags & 0xF800 or questions != 1 or answers or authorities or extras > 1:
        return None
    end = _name_end(data, HEADER)
    if end is None or end + 4 > len(data):
        return None
    kind, group = struct.unpack_from("!HH", data, end)
    if group != IN:
        return None
    end += 4
    size, edns = UDP_SIZE, False
    if extras:
        found = _opt_size(data, end)
        if found is None:
            return None
        size, edns = max(UDP_SIZE, found), True
    return Question(end, data[HEADER:end].lower(), kind, size, edns)


def _name_end(data: bytes, at: int) -> int | None:
    """Behind a name without compression; None for what is none."""
    for _ in range(_MOST_LABELS):
        if at >= len(data):
            return None
        length = data[at]
        at += 1
        if length == 0:
            return at if at - HEADER <= 255 else None
        if length > 63:
            return None
        at += length
    return None


def _opt_size(data: bytes, at: int) -> int | None:
    """The size that an OPT record (RFC 6891) names, where it is the last of the message."""
    if len(data) < at + 11 or data[at] != 0:
        return None
    kind, size, ttl, length = struct.unpack_from("!HHIH", data, at + 1)
    version = ttl >> 16 & 0xFF
    return size if kind == OPT and not version and at + 11 + length == len(data) else None


def name_of(key: bytes) -> str:
    """The name of a question's key, without the last dot. Labels that hold a dot, or are no ASCII, have no equal
    among hosts and become text that none is written as."""
    labels, at = [], 0
    while key[at]:
        label = key[at + 1 : at + 1 + key[at]]
        labels.append(label.replace(b".", b"\\.").decode("ascii", "backslashreplace"))
        at += 1 + key[at]
    return ".".join(labels)


def encode_name(name: str) -> bytes | None:
    """A host name as labels; None for one that is too long for DNS, or holds what no label can."""
    out = bytearray()
    for label in name.rstrip(".").split("."):
        data = label.encode("utf-8")
        if not 0 < len(data) < 64:
            return None
        out.append(len(data))
        out += data
    out.append(0)
    return bytes(out) if len(out) <= 255 else None


def address_records(addresses: tuple[str, ...], owner: bytes = _NAME_AT_QUESTION) -> bytes:
    """Records of addresses of one family. ``owner``: a name, by default that of the question."""
    parts = []
    for address in addresses:
        packed = ipaddress.ip_address(address).packed
        kind = A if len(packed) == 4 else AAAA
        parts.append(owner + struct.pack("!HHIH", kind, IN, TTL, len(packed)) + packed)
    return b"".join(parts)


def alias_record(target: bytes) -> bytes:
    """The question's name is another name of ``target``."""
    return _NAME_AT_QUESTION + struct.pack("!HHIH", CNAME, IN, TTL, len(target)) + target


def reply(query: bytes, asked: Question, count: int, records: bytes, limit: int) -> bytes:
    """An answer with ``count`` records. One longer than ``limit`` bytes comes empty and marked as truncated: the
    client asks again over TCP."""
    flags = int.from_bytes(query[2:4], "big") & _KEPT | _QR_AA | _RA
    opt = _OUR_OPT if asked.edns else b""
    if asked.end + len(records) + len(opt) > limit:
        flags, count, records = flags | _TC, 0, b""
    head = struct.pack("!5H", flags, 1, count, 0, 1 if opt else 0)
    return query[:2] + head + query[HEADER : asked.end] + records + opt


def failure(query: bytes) -> bytes:
    """SERVFAIL to any query, with its question where it can be read."""
    flags = int.from_bytes(query[2:4], "big") & _KEPT | 0x8000 | _RA | SERVFAIL
    asked = question(query)
    shown = query[HEADER : asked.end] if asked else b""
    return query[:2] + struct.pack("!5H", flags, 1 if asked else 0, 0, 0, 0) + shown


def is_query(data: bytes) -> bool:
    """Whether bytes have the head of a query."""
    return len(data) >= HEADER and not data[2] & 0x80
