"""The name table's bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.kit.nametable import NameInfo, NameTableError, decode, encode

INFO = NameInfo(("10.0.0.1", "fd00::1"), "Kubernetes", "orders", "shop")


@given(st.builds(NameInfo, st.lists(st.text()).map(tuple), st.text(), st.text(), st.text()))
def test_what_was_written_is_read(info: NameInfo) -> None:
    assert decode("a.example", encode(info)) == {"a.example": info}


def test_the_bytes_are_those_of_the_message() -> None:
    """Field numbers of istio.networking.nds.v1.NameTable: name_info = 2, ips = 1, registry = 2."""
    assert encode(NameInfo(("1.2.3.4",), "External")) == b"\x12\x13\x0a\x071.2.3.4\x12\x08External"


def test_a_whole_table_is_read() -> None:
    inner = encode(INFO)[2:]
    entry = b"\x0a\x05a.com\x12" + bytes([len(inner)]) + inner
    assert decode("", b"\x0a" + bytes([len(entry)]) + entry) == {"a.com": INFO}


@given(st.binary(max_size=200))
def test_other_bytes_are_refused_or_read(data: bytes) -> None:
    try:
        found = decode("a", data)
    except NameTableError:
        return
    assert all(isinstance(info, NameInfo) for info in found.values())


@pytest.mark.parametrize("data", [b"\x12\x05\x0a", b"\x12", b"\x13", b"\xff" * 12, b"\x12\x03\x0a\x01\xff"])
def test_what_is_no_table(data: bytes) -> None:
    with pytest.raises(NameTableError):
        decode("a", data)
