"""Which protocol a port speaks."""

import pytest

from tidegate.api.core import ServicePort
from tidegate.registry.model import Protocol
from tidegate.registry.protocols import from_word, of_service_port


@pytest.mark.parametrize(
    ("port", "expected"),
    [
        (ServicePort(name="http", port=80), Protocol.HTTP),
        (ServicePort(name="HTTP2-api", port=80), Protocol.HTTP2),
        (ServicePort(name="grpc-web-x", port=80), Protocol.GRPC_WEB),
        (ServicePort(name="grpc-websocket", port=80), Protocol.GRPC_WEB),
        (ServicePort(name="http_proxy", port=80), Protocol.HTTP_PROXY),
        (ServicePort(name="metrics", port=80), Protocol.AUTO),
        (ServicePort(name="", port=3306), Protocol.TCP),
        (ServicePort(name="http", port=3306), Protocol.HTTP),
        (ServicePort(name="http", port=53, protocol="UDP"), Protocol.UDP),
        (ServicePort(name="tcp", port=80, app_protocol="kubernetes.io/h2c"), Protocol.HTTP2),
        (ServicePort(name="tcp", port=80, app_protocol="kubernetes.io/wss"), Protocol.HTTPS),
        (ServicePort(name="http", port=80, app_protocol="vendor.example/own"), Protocol.AUTO),
        (ServicePort(name="http", port=27017, app_protocol="vendor.example/own"), Protocol.TCP),
    ],
)
def test_a_service_port_by_app_protocol_name_and_number(port: ServicePort, expected: Protocol) -> None:
    assert of_service_port(port) is expected


@pytest.mark.parametrize(
    ("word", "expected"), [("gRPC-Web", Protocol.GRPC_WEB), ("", Protocol.AUTO), ("x", Protocol.AUTO)]
)
def test_a_word(word: str, expected: Protocol) -> None:
    assert from_word(word) is expected
