"""One connection, as the one who opens it knows it."""

from typing import Literal

import msgspec

Payload = Literal["tls", "http", "bytes", "silence"]


class TlsHello(msgspec.Struct, frozen=True):
    """What the client's TLS says: the server name, the protocols offered, whether it shows a certificate."""

    sni: str = ""
    alpn: tuple[str, ...] = ()
    mutual: bool = False
    """The client presents a certificate."""
    principal: str = ""
    """The URI of that certificate, such as ``spiffe://cluster.local/ns/shop/sa/cart``; "" where it is not known."""


class HttpRequest(msgspec.Struct, frozen=True):
    version: Literal["1.0", "1.1", "2"] = "1.1"
    method: str = "GET"
    authority: str = ""
    """The Host header or :authority, with the port if the client sends one."""
    path: str = "/"
    headers: tuple[tuple[str, str], ...] = ()

    def values(self, name: str) -> tuple[str, ...]:
        return tuple(value for key, value in self.headers if key.lower() == name)

    @property
    def is_grpc(self) -> bool:
        """By its content type: ``application/grpc``, or that with a message format behind it."""
        kind = ",".join(self.values("content-type"))
        return kind == "application/grpc" or kind.startswith("application/grpc+")


class Connection(msgspec.Struct, frozen=True):
    """A connection as it is dialled. An HTTP request inside TLS stays opaque unless the proxy ends the TLS."""

    direction: Literal["outbound", "inbound", "gateway"] = "outbound"
    """outbound: from the workload, redirected to its proxy. inbound: to the workload, redirected to its proxy.
    gateway: to an address that the proxy itself listens on."""
    ip: str = ""
    port: int = 0
    source_ip: str = ""
    """"" where it is not known: nothing that asks for a source address can be judged then."""
    source_port: int = 0
    transport: Literal["tcp", "udp"] = "tcp"
    tls: TlsHello | None = None
    http: HttpRequest | None = None
    server_first: bool = False
    """The server speaks first and the client waits for it."""
    captured: bool = True
    """Packet rules redirect it to the proxy. False: it comes to a listener that is bound to the dialled address."""
    transparent: bool = False
    """By TPROXY: where no listener takes them, its packets are dropped and not refused (iptables-extensions(8))."""
    plain_bytes: bool = False
    """The client speaks first, and it is neither TLS nor HTTP; so it is also where nothing else is said."""

    def payload(self, ended_tls: bool) -> Payload:
        """What the first bytes are, seen from the wire or, where the proxy ended the TLS, inside of it."""
        if self.tls is not None and not ended_tls:
            return "tls"
        if self.http is not None:
            return "http"
        return "silence" if self.server_first else "bytes"
