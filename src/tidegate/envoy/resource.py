"""What a builder returns."""

import hashlib
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import msgspec

from tidegate.api.objects import Ref
from tidegate.kit.varint import varint

CLUSTER = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
ENDPOINT = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
LISTENER = "type.googleapis.com/envoy.config.listener.v3.Listener"
ROUTE = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"
FILTER_CHAIN = "type.googleapis.com/envoy.config.listener.v3.FilterChain"
VIRTUAL_HOST = "type.googleapis.com/envoy.config.route.v3.VirtualHost"
EXTENSION = "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig"
SECRET = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"


class Origin(msgspec.Struct, frozen=True, gc=False):
    """Which object and field a part of a resource comes from.

    path: protobuf path within the resource, ``virtual_hosts[2].routes[0].route.timeout``, "" for all of it.
    """

    path: str
    ref: Ref
    field: str
    """``spec.http[0].timeout``; "" for the object as a whole."""


class Decision(msgspec.Struct, frozen=True, gc=False):
    """A choice among objects, kept for explain: who won, who lost, by which rule."""

    subject: str
    """What was decided: ``domain reviews in route 9080``, ``listener 0.0.0.0_443``."""
    rule: str
    """In a few words: ``oldest wins``, ``exact host before wildcard``."""
    winner: Ref
    """The object that won; where something was hidden or left out, the object that says so, and may be the loser."""
    losers: tuple[Ref, ...] = ()
    field: str = ""
    """Which field of the winner decided, where it is one: ``spec.exportTo``."""


class Resource(msgspec.Struct, frozen=True, weakref=True):
    """One xDS resource, or a fragment of one (a virtual host, a filter chain), serialized deterministically."""

    name: str
    type_url: str
    body: bytes
    """The message itself (not wrapped in Any)."""
    version: str
    """Hash of ``body``, or of the versions of the parts that it was assembled from: other bytes, other version."""
    origins: tuple[Origin, ...] = ()
    decisions: tuple[Decision, ...] = ()
    parts: tuple["Resource", ...] = ()
    """Fragments that the body was assembled from, in order."""
    part_field: str = ""
    """Repeated field that ``parts`` stand in: ``virtual_hosts``. "" for a group that is no message of its own."""

    def all_origins(self) -> Iterator[Origin]:
        """Origins of the resource and of every part, with paths from the resource's own root."""
        yield from self.origins
        for index, part in enumerate(self.parts):
            at = f"{self.part_field}[{index}]"
            for each in part.all_origins():
                yield Origin(f"{at}.{each.path}" if each.path else at, each.ref, each.field)

    def all_decisions(self) -> Iterator[Decision]:
        yield from self.decisions
        for part in self.parts:
            yield from part.all_decisions()


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


_MOST_PREFIXES = 16384


class Fragments:
    """Puts a message together from the bytes of others, none of which is parsed or serialized again.

    Protobuf allows the fields of a message in any order, and repeated elements keep theirs.
    https://protobuf.dev/programming-guides/encoding/#order
    """

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._versions: list[str] = []

    def put(self, number: int, body: bytes) -> None:
        """Append field ``number`` with a string or a serialized message."""
        self._pieces += (_prefixes(number)[len(body)], body)
        self._versions.append(hashlib.blake2b(body, digest_size=8).hexdigest())

    def put_all(self, number: int, parts: Sequence[Resource]) -> None:
        """Append repeated field ``number``, one element a part."""
        prefixes, append = _prefixes(number), self._pieces.append
        for part in parts:  # thousands of them at every change of one: this is most of what the change costs
            body = part.body
            append(prefixes[len(body)])
            append(body)
        if parts:
            self._versions.append(f"{number}:" + f"/{number}:".join([part.version for part in parts]))

    def merge(self, body: bytes, version: str) -> None:
        """Append the fields of a message of the same type."""
        self._pieces.append(body)
        self._versions.append(version)

    def finish(self) -> tuple[bytes, str]:
        """The bytes and the version, which is made from the fragments' versions: no byte is hashed twice."""
        version = hashlib.blake2b("/".join(self._versions).encode(), digest_size=8).hexdigest()
        return b"".join(self._pieces), version


class _Prefixes(dict[int, bytes]):
    """Tag and length of one length-delimited field, by the length."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self._tag = varint(number << 3 | 2)

    def __missing__(self, length: int) -> bytes:
        if len(self) >= _MOST_PREFIXES:
            self.clear()
        found = self[length] = self._tag + varint(length)
        return found


@lru_cache(maxsize=16)
def _prefixes(number: int) -> _Prefixes:
    return _Prefixes(number)
