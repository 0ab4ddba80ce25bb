"""The agent's own subscription within Envoy's discovery stream: the name table. Sans-I/O.

Requests are put among Envoy's, responses are taken out of those to Envoy; what was accepted is kept with what Envoy
accepted, so that names are known while the control plane is away.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from tidegate.agent.lastgood import Accepted, LastGood
from tidegate.kit.nametable import TYPE_URL, NameInfo, NameTableError, decode

Table = Mapping[str, NameInfo]
WILDCARD = "*"
_INVALID_ARGUMENT = 3


class Received(msgspec.Struct, frozen=True):
    """What a response is answered with, and what it changes."""

    request: bytes
    resources: tuple[Accepted, ...] = ()
    removed: tuple[str, ...] = ()
    refused: str = ""

    def keep(self, store: LastGood) -> None:
        """Write down what was accepted."""
        store.accept(TYPE_URL, self.resources, self.removed, whole=False)


class NameFeed:
    """The names that one workload was told of. ``publish`` gets the whole table whenever it has changed."""

    def __init__(self, publish: Callable[[Table], None]) -> None:
        self._publish = publish
        self._held: dict[str, tuple[str, Table]] = {}
        """By resource: its version, and its names."""

    def restore(self, kept: Iterable[Accepted]) -> None:
        """Begin with what was accepted last; nothing is published where nothing was kept."""
        for each in kept:
            try:
                self._held[each.name] = each.version, decode(each.name, each.body)
            except NameTableError:
                continue
        if self._held:
            self._tell()

    def subscribe(self) -> bytes:
        """The first request of a stream."""
        versions = {name: version for name, (version, _) in self._held.items()}
        return _request(resource_names_subscribe=[WILDCARD], initial_resource_versions=versions)

    def receive(self, response: bytes) -> Received | None:
        """Take a response; None when it is not one of names, but Envoy's."""
        from envoy.service.discovery.v3 import discovery_pb2

        message = discovery_pb2.DeltaDiscoveryResponse.FromString(response)
        if message.type_url != TYPE_URL:
            return None
        try:
            fresh = {r.name: (r.version, decode(r.name, r.resource.value)) for r in message.resources}
        except NameTableError as error:
            return Received(_refusal(message.nonce, str(error)), refused=str(error))
        self._held.update(fresh)
        for name in message.removed_resources:
            self._held.pop(name, None)
        self._tell()
        accepted = tuple(Accepted(r.name, r.version, r.resource.value) for r in message.resources)
        return Received(_request(response_nonce=message.nonce), accepted, tuple(message.removed_resources))

    def _tell(self) -> None:
        self._publish({name: info for _, names in self._held.values() for name, info in names.items()})


def _request(**fields: Any) -> bytes:
    from envoy.service.discovery.v3 import discovery_pb2

    data: bytes = discovery_pb2.DeltaDiscoveryRequest(type_url=TYPE_URL, **fields).SerializeToString()
    return data


def _refusal(nonce: str, why: str) -> bytes:
    from google.rpc.status_pb2 import Status

    return _request(response_nonce=nonce, error_detail=Status(code=_INVALID_ARGUMENT, message=why))
