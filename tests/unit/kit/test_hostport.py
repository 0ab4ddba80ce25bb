import pytest

from tidegate.kit.errors import TidegateError
from tidegate.kit.hostport import HostPort, parse


@pytest.mark.parametrize(
    ("text", "host", "port", "shown"),
    [
        ("istiod.istio-system.svc:15012", "istiod.istio-system.svc", 15012, "istiod.istio-system.svc:15012"),
        ("cp.example", "cp.example", 99, "cp.example:99"),
        (" 10.0.0.1:0 ", "10.0.0.1", 0, "10.0.0.1:0"),
        ("[::1]:15012", "::1", 15012, "[::1]:15012"),
        ("[fd00::7]", "fd00::7", 99, "[fd00::7]:99"),
        ("fd00::7", "fd00::7", 99, "[fd00::7]:99"),
    ],
)
def test_what_is_read(text: str, host: str, port: int, shown: str) -> None:
    found = parse(text, 99, "--there")
    assert found == HostPort(host, port)
    assert str(found) == shown


@pytest.mark.parametrize(
    "text",
    ["", ":15012", "a:", "a:b", "a:65536", "a:-1", "a:٣", "[::1]x", "[::1", "http://a:1", "a b:1", "a:1x", "a:1:x"],
)
def test_what_is_none_is_told_with_its_place(text: str) -> None:
    with pytest.raises(TidegateError, match=r"^--there .*expected HOST:PORT"):
        parse(text, 99, "--there")
