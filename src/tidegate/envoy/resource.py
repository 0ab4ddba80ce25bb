"""What a builder returns."""

import hashlib
from typing import Any

import msgspec

from tidegate.api.objects import Ref

CLUSTER = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
ENDPOINT = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
LISTENER = "type.googleapis.com/envoy.config.listener.v3.Listener"
ROUTE = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"
VIRTUAL_HOST = "type.googleapis.com/envoy.config.route.v3.VirtualHost"
SECRET = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"


class Origin(msgspec.Struct, frozen=True):
    """Which object and field a part of a resource comes from.

    path: protobuf path within the resource, ``virtual_hosts[2].routes[0].route.timeout``, "" for all of it.
    """

    path: str
    ref: Ref
    field: str
    """``spec.http[0].timeout``; "" for the object as a whole."""


class Decision(msgspec.Struct, frozen=True):
    """A choice among objects, kept for explain: who won, who lost, by which rule."""

    subject: str
    """What was decided: ``domain reviews in route 9080``, ``listener 0.0.0.0_443``."""
    rule: str
    """In a few words: ``oldest wins``, ``exact host before wildcard``."""
    winner: Ref
    losers: tuple[Ref, ...] = ()


class Resource(msgspec.Struct, frozen=True):
    """One xDS resource, or a fragment of one (a virtual host, a filter chain), serialized deterministically."""

    name: str
    type_url: str
    body: bytes
    """The message itself (not wrapped in Any)."""
    version: str
    """Hash of ``body``: equal bytes, equal version."""
    origins: tuple[Origin, ...] = ()
    decisions: tuple[Decision, ...] = ()


def resource(
    name: str,
    type_url: str,
    message: Any,
    origins: tuple[Origin, ...] = (),
    decisions: tuple[Decision, ...] = (),
) -> Resource:
    """Serialize a protobuf message deterministically and give it its version."""
    return of_bytes(name, type_url, message.SerializeToString(deterministic=True), origins, decisions)


def of_bytes(
    name: str,
    type_url: str,
    body: bytes,
    origins: tuple[Origin, ...] = (),
    decisions: tuple[Decision, ...] = (),
) -> Resource:
    version = hashlib.blake2b(body, digest_size=8).hexdigest()
    return Resource(name, type_url, body, version, origins, decisions)
