import ipaddress

import pytest

from tidegate.capture.kernel import CaptureError
from tidegate.capture.surroundings import name_servers, speaks_ipv6


@pytest.mark.parametrize(
    ("addresses", "dual_stack", "expected"),
    [
        (["127.0.0.1", "10.0.0.1"], False, False),
        (["127.0.0.1", "::1", "fe80::1", "2001:db8::1", "10.0.0.1"], False, True),
        (["10.0.0.1", "2001:db8::1"], False, False),
        (["10.0.0.1", "2001:db8::1"], True, True),
        (["10.0.0.1", "fe80::1"], True, False),
    ],
)
def test_ipv6_by_the_first_usable_address(addresses: list[str], dual_stack: bool, expected: bool) -> None:
    assert speaks_ipv6(map(ipaddress.ip_address, addresses), dual_stack) is expected


def test_no_address_is_an_error() -> None:
    with pytest.raises(CaptureError, match="give the interface an address"):
        speaks_ipv6([ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("fe80::1")], dual_stack=True)


def test_name_servers() -> None:
    text = "search a b\nnameserver 10.0.0.53 # local\nnameserver fe80::1%eth0\nnameserver nonsense\noptions ndots:5\n"
    assert [str(server) for server in name_servers(text)] == ["10.0.0.53", "fe80::1"]
