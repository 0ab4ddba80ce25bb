"""What Envoy has accepted on one delta stream, learned from the requests and responses that pass.

Only the framing is read (type, nonce, names, versions); the bodies stay bytes. Protocol: xDS, "Incremental xDS".
"""

from collections.abc import Iterable
from typing import Any

import msgspec

from tidegate.agent.lastgood import Accepted, LastGood
from tidegate.xds.wire import parse_delta

WILDCARD = "*"


class Change(msgspec.Struct, frozen=True):
    """What one request of Envoy's tells about what it holds."""

    type_url: str
    response: bytes = b""
    """The accepted response; empty when only subscriptions ended."""
    unsubscribed: tuple[str, ...] = ()
    whole: bool = False
    """The response is everything of its type that Envoy holds."""
    refused: str = ""
    """Envoy's reason for refusing a response."""

    def keep(self, store: LastGood) -> None:
        """Write it down."""
        if self.response:
            resources, removed = _contents(self.response)
            store.accept(self.type_url, resources, removed, whole=self.whole)
        if self.unsubscribed:
            store.forget(self.type_url, self.unsubscribed)


class Acceptance:
    """One stream's bookkeeping."""

    def __init__(self) -> None:
        self._sent: dict[str, bytes] = {}
        """Responses that Envoy has not answered yet, by nonce."""
        self._fresh: dict[str, bool] = {}
        """Type to whether its first response, still to be accepted, is all that Envoy will hold."""

    def sent(self, response: bytes) -> None:
        """A response went to Envoy."""
        self._sent[_nonce(response)] = response

    def received(self, request: bytes) -> Change | None:
        """A request came from Envoy; None when it changes nothing that is held."""
        asked = parse_delta(request)
        self._fresh.setdefault(asked.type_url, not asked.initial_versions)
        response = self._sent.pop(asked.nonce, b"") if asked.nonce else b""
        if asked.error is not None:
            return Change(asked.type_url, refused=asked.error)
        gone = tuple(name for name in asked.unsubscribe if name != WILDCARD)
        if not response and not gone:
            return None
        whole = bool(response) and self._fresh[asked.type_url]
        if response:
            self._fresh[asked.type_url] = False
        return Change(asked.type_url, response, gone, whole)

    @staticmethod
    def resumes(requests: Iterable[bytes]) -> bool:
        """Whether one of the requests says that Envoy has resources already."""
        return any(parse_delta(request).initial_versions for request in requests)


def _nonce(response: bytes) -> str:
    return str(_parsed(response).nonce)


def _contents(response: bytes) -> tuple[list[Accepted], list[str]]:
    message = _parsed(response)
    found = [Accepted(r.name, r.version, r.resource.value) for r in message.resources if r.HasField("resource")]
    absent = [r.name for r in message.resources if not r.HasField("resource")]
    return found, [*message.removed_resources, *absent]


def _parsed(response: bytes) -> Any:
    from envoy.service.discovery.v3 import discovery_pb2

    return discovery_pb2.DeltaDiscoveryResponse.FromString(response)
