"""Ending the client's TLS: what a filter chain's transport socket asks for, and what comes out of it."""

from tidegate.dump.config.listener import FilterChain
from tidegate.dump.config.parts import Extension
from tidegate.dump.config.tls import DownstreamTls, Wrapping
from tidegate.explain.connection import TlsHello
from tidegate.explain.logic import any_of
from tidegate.explain.matchers import string
from tidegate.explain.trace import End
from tidegate.explain.walk import Walk

_TLS = "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext"
_RAW = "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer"
_TAP = "envoy.extensions.transport_sockets.tap.v3.Tap"


def accept(walk: Walk, chain: FilterChain, where: str) -> Walk | End:
    """Pass the chain's transport socket. An End where the handshake cannot succeed."""
    socket = chain.transport_socket
    for _ in range(4):  # sockets around sockets
        if socket is None or socket.type == _RAW or not (socket.type or socket.name):
            return walk
        if socket.type != _TAP:
            break
        socket = walk.notes.read(Wrapping, socket.typed_config, where).transport_socket
    if socket is None or socket.type != _TLS:
        walk.unsure(where, f"transport socket {_shown(socket)} is not known here: taken to change nothing")
        return walk
    context = walk.notes.read(DownstreamTls, socket.typed_config, f"{where} transportSocket")
    return _handshake(_told(walk, context), context)


def _shown(socket: Extension | None) -> str:
    return (socket.type or socket.name) if socket else "?"


def _told(walk: Walk, context: DownstreamTls) -> Walk:
    common = context.common_tls_context
    verifies = bool(common.roots or common.validation.trusted_ca)
    mode = "mutual" if context.require_client_certificate else "optional_mutual" if verifies else "simple"
    facts = {
        "tls": mode,
        "requireClientCertificate": context.require_client_certificate,
        "certificates": list(common.certificates),
        "roots": list(common.roots),
        "alpnProtocols": list(common.alpn_protocols),
    }
    return walk.step("downstream_tls", "DownstreamTlsContext", why=f"ends the client's TLS ({mode})", facts=facts)


def _handshake(walk: Walk, context: DownstreamTls) -> Walk | End:
    hello = walk.connection.tls
    if walk.payload == "silence":
        return walk.end("waits", "the chain expects TLS and the client sends nothing: the handshake never begins")
    common = context.common_tls_context
    awaited = [each for each in (*common.certificates, *common.roots) if each in walk.config.awaited_secrets]
    if awaited:
        return walk.end("tls_error", f"the secret {awaited[0]} was never delivered: the chain has no TLS to speak")
    if walk.payload != "tls" or hello is None:
        return walk.end("tls_error", "the chain expects TLS, the client speaks plain text")
    if context.require_client_certificate and not hello.mutual:
        return walk.end("tls_error", "the chain demands a client certificate and the client has none")
    if context.require_sni and not hello.sni:
        return walk.end("tls_error", "the chain demands a server name and the client sends none")
    if hello.mutual and hello.principal and _refused(context, hello):
        return walk.end(
            "tls_error", f"the client's certificate is for {hello.principal}, which the chain does not take"
        )
    return walk.with_(ended_tls=True, negotiated=_agreed(context, hello))


def _refused(context: DownstreamTls, hello: TlsHello) -> bool:
    common = context.common_tls_context
    names = common.validation.sans
    return bool(names) and any_of(string(each, hello.principal) for each in names) is False


def _agreed(context: DownstreamTls, hello: TlsHello) -> str:
    """The server's list decides; nothing in common means nothing agreed."""
    offered = context.common_tls_context.alpn_protocols
    return next((each for each in offered if each in hello.alpn), "")
