"""Connection pools, of clients and of servers."""

import enum
from typing import Annotated

from tidegate.api.fields import Duration, Int32, Message, UInt32, doc


class H2UpgradePolicy(enum.StrEnum):
    DEFAULT = "DEFAULT"
    DO_NOT_UPGRADE = "DO_NOT_UPGRADE"
    UPGRADE = "UPGRADE"


class TcpKeepalive(Message, frozen=True):
    """networking.v1alpha3.ConnectionPoolSettings.TCPSettings.TcpKeepalive."""

    probes: Annotated[UInt32, doc("unanswered probes")] = 0
    time: Annotated[Duration | None, doc("idle before probes")] = None
    interval: Annotated[Duration | None, doc("time between probes")] = None


class TCPSettings(Message, frozen=True):
    """networking.v1alpha3.ConnectionPoolSettings.TCPSettings."""

    max_connections: Annotated[Int32, doc("connections per destination")] = 0
    connect_timeout: Annotated[Duration | None, doc("connect limit")] = None
    tcp_keepalive: Annotated[TcpKeepalive | None, doc("SO_KEEPALIVE settings")] = None
    max_connection_duration: Annotated[Duration | None, doc("connection age limit")] = None
    idle_timeout: Annotated[Duration | None, doc("idle limit")] = None


class ConnectionKeepalive(Message, frozen=True):
    """networking.v1alpha3.ConnectionPoolSettings.HTTPSettings.ConnectionKeepalive."""

    interval: Annotated[Duration | None, doc("PING interval")] = None
    timeout: Annotated[Duration | None, doc("PING timeout")] = None


class HTTPSettings(Message, frozen=True):
    """networking.v1alpha3.ConnectionPoolSettings.HTTPSettings."""

    http1_max_pending_requests: Annotated[Int32, doc("queued requests")] = 0
    http2_max_requests: Annotated[Int32, doc("active requests")] = 0
    max_requests_per_connection: Annotated[Int32, doc("0 unlimited, 1 disables keep alive")] = 0
    max_retries: Annotated[Int32, doc("concurrent retries")] = 0
    idle_timeout: Annotated[Duration | None, doc("upstream connection idle limit")] = None
    h2_upgrade_policy: Annotated[H2UpgradePolicy, doc("upgrade HTTP/1.1 to h2")] = H2UpgradePolicy.DEFAULT
    use_client_protocol: Annotated[bool, doc("keep client's protocol")] = False
    max_concurrent_streams: Annotated[Int32, doc("h2 streams per connection")] = 0
    http2_keep_alive: Annotated[ConnectionKeepalive | None, doc("h2 PING keepalive")] = None


class ConnectionPoolSettings(Message, frozen=True):
    """networking.v1alpha3.ConnectionPoolSettings."""

    tcp: Annotated[TCPSettings | None, doc("L4 settings")] = None
    http: Annotated[HTTPSettings | None, doc("L7 settings")] = None
