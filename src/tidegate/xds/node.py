"""The node id of a proxy: ``<type>~<address>~<pod>.<namespace>~<namespace>.svc.<domain>``, as Istio writes it."""

import ipaddress
from dataclasses import dataclass

from tidegate.kit.errors import TidegateError

_TYPES = ("sidecar", "router")
_FORM = "<sidecar|router>~<address>~<pod>.<namespace>~<dns domain>"
_MAX_LENGTH = 1024


class NodeIdError(TidegateError):
    """A node id that does not follow the form."""


@dataclass(frozen=True, slots=True)
class NodeId:
    type: str
    address: str
    pod: str
    namespace: str
    dns_domain: str


def parse_node_id(text: str) -> NodeId:
    """Raises NodeIdError."""
    parts = text.split("~")
    if len(text) > _MAX_LENGTH or len(parts) != 4:
        raise _wrong(text, f"expected {_FORM}")
    kind, address, workload, domain = parts
    if kind not in _TYPES:
        raise _wrong(text, f"type {kind!r} is none of {', '.join(_TYPES)}")
    try:
        ipaddress.ip_address(address)
    except ValueError:
        raise _wrong(text, f"{address!r} is not an IP address") from None
    pod, dot, namespace = workload.rpartition(".")
    if not (pod and dot and namespace):
        raise _wrong(text, f"{workload!r} is not <pod>.<namespace>")
    return NodeId(kind, address, pod, namespace, domain)


def _wrong(text: str, reason: str) -> NodeIdError:
    return NodeIdError(f"node.id {text[:200]!r}: {reason}")
