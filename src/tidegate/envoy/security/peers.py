"""The ways into a port, by the mutual TLS that it demands: filter chains of inbound listeners.

https://istio.io/latest/docs/reference/config/security/peer_authentication/#PeerAuthentication-MutualTLS-Mode
"""

import msgspec

from tidegate.api.security import MutualTLSMode
from tidegate.registry.model import Protocol

Mode = MutualTLSMode

MESH_HTTP = ("istio-http/1.0", "istio-http/1.1", "istio-h2")
MESH_TCP = ("istio-peer-exchange", "istio")
MESH_ANY = ("istio", "istio-peer-exchange", *MESH_HTTP)
PLAIN_HTTP = ("http/1.1", "h2c")
TLS, RAW = "tls", "raw_buffer"


class Shape(msgspec.Struct, frozen=True):
    """One way in: what a connection must look like, and what then becomes of it."""

    transport: str
    alpn: tuple[str, ...] = ()
    http: bool = False
    ends_tls: bool = False


_PERMISSIVE = {
    "auto": (
        Shape(TLS, MESH_HTTP, http=True, ends_tls=True),
        Shape(RAW, PLAIN_HTTP, http=True),
        Shape(TLS, MESH_TCP, ends_tls=True),
        Shape(RAW),
        Shape(TLS),
    ),
    "http": (Shape(TLS, MESH_ANY, http=True, ends_tls=True), Shape(RAW, http=True)),
    "tcp": (Shape(TLS, MESH_ANY, ends_tls=True), Shape(TLS), Shape(RAW)),
}
_STRICT = {
    "auto": (Shape(TLS, MESH_HTTP, http=True, ends_tls=True), Shape(TLS, ends_tls=True)),
    "http": (Shape(TLS, http=True, ends_tls=True),),
    "tcp": (Shape(TLS, ends_tls=True),),
}
_DISABLE = {
    "auto": (Shape(RAW, PLAIN_HTTP, http=True), Shape(RAW)),
    "http": (Shape(RAW, http=True),),
    "tcp": (Shape(RAW),),
}
_SHAPES = {Mode.PERMISSIVE: _PERMISSIVE, Mode.STRICT: _STRICT, Mode.DISABLE: _DISABLE}


def shapes(protocol: Protocol, mode: Mode) -> tuple[Shape, ...]:
    """The ways into a port of this protocol."""
    return _SHAPES[mode]["http" if protocol.is_http else "tcp" if protocol.is_tcp else "auto"]
