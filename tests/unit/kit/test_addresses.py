import ipaddress

import pytest

from tidegate.kit.addresses import is_ip, network


def known_to_the_standard_library(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize(
    "text",
    [
        "10.0.0.1",
        "0.0.0.0",
        "255.255.255.255",
        "::1",
        "::ffff:10.0.0.1",
        "fe80::1%eth0",
        "",
        "10.0.0",
        "10.0.0.1.2",
        "10.0.0.256",
        "10.0.0.01",
        " 10.0.0.1",
        "10.0.0.1\n",
        "10.0.0.1\0",
        "10.0.0.1/32",
        "0x0a.0.0.1",
        "١.0.0.1",
        "\ud800.0.0.1",
        "orders.shop",
        "a:b",
    ],
)
def test_an_address_is_what_the_standard_library_reads(text: str) -> None:
    assert is_ip(text) is known_to_the_standard_library(text)


@pytest.mark.parametrize(
    ("text", "found"),
    [("10.0.0.7/8", "10.0.0.0/8"), ("10.0.0.7", "10.0.0.7/32"), ("2001:db8::1", "2001:db8::1/128"), ("orders", "None")],
)
def test_networks_lose_their_host_bits(text: str, found: str) -> None:
    assert str(network(text)) == found
