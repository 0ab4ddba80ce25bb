"""Numbers as protobuf's wire format writes them. https://protobuf.dev/programming-guides/encoding/#varints"""


def varint(value: int) -> bytes:
    """Base-128 encoding of a number that is not negative."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
