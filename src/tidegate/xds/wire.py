"""Requests read with protobuf, responses put together from bytes that exist already.

A response copies each resource's body once and never parses or serializes it. Field numbers are those of
envoy/service/discovery/v3/discovery.proto.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError

from tidegate.kit.varint import varint
from tidegate.xds.source import Resource

MAX_REQUEST = 4 * 1024 * 1024
"""Bytes; istiod's limit for one received message."""
_MAX_TEXT = 4096
_VARINT, _LENGTH = 0, 2


class WireError(ValueError):
    """A message that cannot be read as what it should be."""


@dataclass(frozen=True, slots=True)
class Node:
    """Who a client says it is. Only told, never trusted: see docs/architecture.md, Identity."""

    id: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    build: str = ""
    """Version of the client's software."""


@dataclass(frozen=True, slots=True)
class DeltaRequest:
    type_url: str
    node: Node | None = None
    subscribe: tuple[str, ...] = ()
    unsubscribe: tuple[str, ...] = ()
    initial_versions: Mapping[str, str] = field(default_factory=dict)
    nonce: str = ""
    error: str | None = None
    """The client's reason for refusing the response of that nonce."""


@dataclass(frozen=True, slots=True)
class SotwRequest:
    type_url: str
    node: Node | None = None
    names: tuple[str, ...] = ()
    nonce: str = ""
    error: str | None = None


def parse_delta(data: bytes) -> DeltaRequest:
    """Raises WireError."""
    message = _parse(discovery_pb2.DeltaDiscoveryRequest, data)
    return DeltaRequest(
        type_url=message.type_url,
        node=_node(message),
        subscribe=tuple(message.resource_names_subscribe),
        unsubscribe=tuple(message.resource_names_unsubscribe),
        initial_versions=dict(message.initial_resource_versions),
        nonce=message.response_nonce,
        error=_error(message),
    )


def parse_sotw(data: bytes) -> SotwRequest:
    """Raises WireError."""
    message = _parse(discovery_pb2.DiscoveryRequest, data)
    return SotwRequest(
        type_url=message.type_url,
        node=_node(message),
        names=tuple(message.resource_names),
        nonce=message.response_nonce,
        error=_error(message),
    )


def _parse(kind: Any, data: bytes) -> Any:
    if len(data) > MAX_REQUEST:
        raise WireError(f"a discovery request of {len(data)} bytes; at most {MAX_REQUEST} are read")
    try:
        message = kind.FromString(data)
    except DecodeError as error:
        raise WireError(f"not a {kind.DESCRIPTOR.name}: {error}") from None
    if not message.type_url:
        raise WireError(f"a {kind.DESCRIPTOR.name} without type_url")
    return message


def _node(message: Any) -> Node | None:
    if not message.HasField("node"):
        return None
    node = message.node
    version = node.user_agent_build_version.version
    build = f"{node.user_agent_name} {version.major_number}.{version.minor_number}.{version.patch}"
    try:
        metadata = MessageToDict(node.metadata)
    except ValueError as error:
        raise WireError(f"node metadata cannot be read: {error}") from None
    return Node(node.id, metadata, build)


def _error(message: Any) -> str | None:
    if not message.HasField("error_detail"):
        return None
    return str(message.error_detail.message)[:_MAX_TEXT] or f"code {message.error_detail.code}, no reason given"


def delta_response(
    type_url: str, nonce: str, version: str, resources: Iterable[Resource], removed: Iterable[str]
) -> bytes:
    """A DeltaDiscoveryResponse."""
    parts = [_text(1, version), _text(4, type_url), _text(5, nonce)]
    for resource in resources:
        parts.append(_delta_head(type_url, resource.name, resource.version, len(resource.body)))
        parts.append(resource.body)
    parts.extend(_text(6, name) for name in removed)
    return b"".join(parts)


def sotw_response(type_url: str, nonce: str, version: str, resources: Iterable[Resource]) -> bytes:
    """A DiscoveryResponse."""
    parts = [_text(1, version), _text(4, type_url), _text(5, nonce)]
    for resource in resources:
        parts.append(_sotw_head(type_url, len(resource.body)))
        parts.append(resource.body)
    return b"".join(parts)


@lru_cache(maxsize=65536)
def _delta_head(type_url: str, name: str, version: str, size: int) -> bytes:
    """All of ``resources { name version resource { type_url value } }`` that stands before the body."""
    wrapped = _any_head(type_url, size)
    inner = _text(3, name) + _text(1, version) + _key(2, _LENGTH) + varint(len(wrapped) + size) + wrapped
    return _key(2, _LENGTH) + varint(len(inner) + size) + inner


@lru_cache(maxsize=16384)
def _sotw_head(type_url: str, size: int) -> bytes:
    wrapped = _any_head(type_url, size)
    return _key(2, _LENGTH) + varint(len(wrapped) + size) + wrapped


def _any_head(type_url: str, size: int) -> bytes:
    return _text(1, type_url) + _key(2, _LENGTH) + varint(size)


def _text(number: int, value: str) -> bytes:
    data = value.encode()
    return _key(number, _LENGTH) + varint(len(data)) + data


def _key(number: int, wire_type: int) -> bytes:
    return varint(number << 3 | wire_type)


_EDS = 3  # Cluster.DiscoveryType


@lru_cache(maxsize=65536)
def eds_service_name(cluster: bytes) -> str | None:
    """The name under which an EDS cluster asks for its endpoints, None for a cluster of another kind.

    Reads four fields of a serialized Cluster: name = 1, type = 2, eds_cluster_config = 3 {service_name = 2}.
    """
    name, kind, service = b"", 0, b""
    try:
        for number, value in _fields(cluster):
            if number == 1 and isinstance(value, bytes):
                name = value
            elif number == 2 and isinstance(value, int):
                kind = value
            elif number == 3 and isinstance(value, bytes):
                service = next((v for n, v in _fields(value) if n == 2 and isinstance(v, bytes)), b"")
    except (IndexError, WireError):
        return None
    return (service or name).decode(errors="replace") if kind == _EDS else None


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Top-level fields of a serialized message."""
    at = 0
    while at < len(data):
        key, at = _read_varint(data, at)
        number, wire_type = key >> 3, key & 7
        if wire_type == _VARINT:
            value, at = _read_varint(data, at)
            yield number, value
        elif wire_type == _LENGTH:
            size, at = _read_varint(data, at)
            yield number, data[at : at + size]
            at += size
        elif wire_type in (1, 5):
            at += 8 if wire_type == 1 else 4
        else:
            raise WireError(f"wire type {wire_type}")


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
