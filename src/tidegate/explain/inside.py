"""A connection that goes on through a listener inside the same proxy: what that listener sees."""

from tidegate.explain.clusters import Inside
from tidegate.explain.connection import Connection, HttpRequest
from tidegate.explain.hosts import port_of, without_port
from tidegate.explain.matchers import as_ip
from tidegate.explain.walk import Walk


def inner_connection(inside: Inside) -> Walk:
    """The walk as it begins at the inner listener. Steps, probability and delay go on; what listener filters saw and
    what the client's TLS was does not: the outer listener has dealt with it."""
    walk, want = inside.walk, inside.want
    connection = _connection(walk.connection, inside, walk)
    ip, port = _address(walk, want.tunnel.host if want.tunnel else "")
    return walk.with_(
        connection=connection,
        ip=ip,
        port=port,
        hops=walk.hops + 1,
        transport="",
        sni="",
        alpn=(),
        ended_tls=False,
        negotiated="",
    )


def _connection(before: Connection, inside: Inside, walk: Walk) -> Connection:
    want = inside.want
    tls = None if walk.ended_tls else before.tls
    http = before.http
    if want.tunnel is not None:
        method = want.tunnel.method
        http, tls = HttpRequest("1.1", method, want.tunnel.host, "" if method == "CONNECT" else "/"), None
    elif want.http and http is not None:
        http = HttpRequest(http.version, http.method, want.authority, want.path, want.headers)
    return Connection(
        direction="gateway",
        ip=before.ip,
        port=before.port,
        source_ip=before.source_ip,
        source_port=before.source_port,
        tls=tls,
        http=http,
        server_first=before.server_first and want.tunnel is None,
    )


def _address(walk: Walk, authority: str) -> tuple[str, int]:
    host, port = without_port(authority).strip("[]"), port_of(authority)
    return (host, port) if port is not None and as_ip(host) else (walk.ip, walk.port)
