"""The transport socket towards an endpoint: plain or TLS, with which names and secrets."""

from typing import NamedTuple

from tidegate.dump.config.cluster import Cluster
from tidegate.dump.config.matching import StringMatcher
from tidegate.dump.config.parts import Extension
from tidegate.dump.config.tls import UpstreamTls as TlsContext
from tidegate.dump.config.tls import Wrapping
from tidegate.dump.model import Metadata
from tidegate.explain.trace import UpstreamTls
from tidegate.explain.walk import Walk

_TLS = "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"
_RAW = "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer"
_PROXY_PROTOCOL = "envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport"
_AROUND = frozenset(
    {
        _PROXY_PROTOCOL,
        "envoy.extensions.transport_sockets.internal_upstream.v3.InternalUpstreamTransport",
        "envoy.extensions.transport_sockets.tap.v3.Tap",
        "envoy.extensions.transport_sockets.tcp_stats.v3.Config",
        "envoy.extensions.transport_sockets.http_11_proxy.v3.Http11ProxyUpstreamTransport",
    }
)
_MATCH_KEY = "envoy.transport_socket_match"


class Socket(NamedTuple):
    tls: UpstreamTls
    proxy_protocol: str = ""
    host_sni: bool = False
    """The server name is the endpoint's host name."""


def socket_for(walk: Walk, cluster: Cluster, endpoint: Metadata, locality: Metadata) -> Socket:
    """The socket that Envoy takes for an endpoint: the first entry of transportSocketMatches whose whole match is in
    the endpoint's metadata (else the locality's), otherwise the cluster's own."""
    if cluster.transport_socket_matcher is not None:
        walk.unsure(f"Cluster {cluster.name}", "transportSocketMatcher is not judged here")
        return Socket(UpstreamTls(mode="unknown"))
    of_endpoint = endpoint.filter_metadata.get(_MATCH_KEY)
    labels = of_endpoint if of_endpoint is not None else locality.filter_metadata.get(_MATCH_KEY) or {}
    for number, each in enumerate(cluster.transport_socket_matches):
        if all(key in labels and labels[key] == value for key, value in each.match.items()):
            shown = each.name or f"transportSocketMatches[{number}]"
            return _read(walk, cluster, each.transport_socket, shown)
    return _read(walk, cluster, cluster.transport_socket, "")


def _read(walk: Walk, cluster: Cluster, socket: Extension | None, match: str) -> Socket:
    where, proxy_protocol = f"Cluster {cluster.name} transportSocket", ""
    for _ in range(6):  # sockets around sockets
        if socket is None or socket.type not in _AROUND:
            break
        around = walk.notes.read(Wrapping, socket.typed_config, where)
        if socket.type == _PROXY_PROTOCOL:
            proxy_protocol = around.config.version if around.config else "V1"
        socket = around.transport_socket
    if socket is None or socket.type == _RAW or not (socket.type or socket.name):
        return Socket(UpstreamTls(match=match), proxy_protocol)
    if socket.type != _TLS:
        walk.unsure(where, f"transport socket {socket.type or socket.name} is not known here")
        return Socket(UpstreamTls(mode="unknown", match=match), proxy_protocol)
    context = walk.notes.read(TlsContext, socket.typed_config, where)
    return Socket(_tls(context, match), proxy_protocol, context.auto_host_sni)


def _tls(context: TlsContext, match: str) -> UpstreamTls:
    common = context.common_tls_context
    return UpstreamTls(
        mode="mutual" if common.has_certificate else "tls",
        sni=context.sni,
        sans=tuple(_as_text(each) for each in common.validation.sans),
        certificates=common.certificates,
        roots=common.roots,
        alpn=common.alpn_protocols,
        match=match,
    )


def _as_text(matcher: StringMatcher) -> str:
    if matcher.exact is not None:
        return matcher.exact
    if matcher.safe_regex is not None:
        return f"regex {matcher.safe_regex.regex}"
    for kind in ("prefix", "suffix", "contains"):
        if getattr(matcher, kind) is not None:
            return f"{kind} {getattr(matcher, kind)}"
    return "?"
