"""Which protocol a service port speaks, from what its object says of it."""

from tidegate.api.core import ServicePort
from tidegate.registry.model import Protocol

_WORDS = {p.value.lower(): p for p in Protocol if p is not Protocol.AUTO}
_APP_PROTOCOLS = {
    "kubernetes.io/h2c": Protocol.HTTP2,
    "kubernetes.io/ws": Protocol.HTTP,
    "kubernetes.io/wss": Protocol.HTTPS,
}
_SERVER_SPEAKS_FIRST = frozenset({25, 53, 3306, 27017})
"""SMTP, DNS, MySQL, MongoDB: waiting for the client's first bytes would hang them."""


def from_word(word: str) -> Protocol:
    """A ServiceEntry's or Sidecar's ``protocol``; AUTO for words that Istio does not know."""
    return _WORDS.get(word.lower(), Protocol.AUTO)


def from_name(name: str) -> Protocol:
    """The protocol that a port name (``grpc-web``, ``http-metrics``) or an appProtocol stands for."""
    name = name.lower()
    if name.startswith("grpc-web"):
        return Protocol.GRPC_WEB
    return _WORDS.get(name.partition("-")[0], Protocol.AUTO)


def of_service_port(port: ServicePort) -> Protocol:
    """Istio's order for a Kubernetes Service: UDP, then appProtocol, then the name, then well-known TCP ports."""
    if port.protocol == "UDP":
        return Protocol.UDP
    told = port.app_protocol.lower()
    found = _APP_PROTOCOLS.get(told) or from_name(told or port.name)
    if found is Protocol.AUTO and port.port in _SERVER_SPEAKS_FIRST:
        return Protocol.TCP
    return found
