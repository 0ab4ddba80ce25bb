"""Answers Envoy from the last accepted set while the control plane is away."""

from collections.abc import Iterator

from tidegate.agent.lastgood import Accepted
from tidegate.xds.delta import DeltaSession
from tidegate.xds.fixed import FixedView
from tidegate.xds.session import Send
from tidegate.xds.wire import parse_delta

PATIENCE = 5.0
"""Seconds that routes wait for clusters which do not get warm."""


class Fallback:
    """One stream of Envoy's, answered by the same protocol machine as the control plane's."""

    def __init__(self, resources: dict[str, list[Accepted]]) -> None:
        self._session = DeltaSession(FixedView("last-accepted", resources))

    @property
    def held_back(self) -> bool:
        """Whether something waits that ``go_on`` would send."""
        return self._session.held_back

    def answer(self, request: bytes) -> Iterator[bytes]:
        """Responses to a request. Raises WireError and ProtocolError."""
        return _data(self._session.on_request(parse_delta(request)))

    def go_on(self) -> Iterator[bytes]:
        """What was held back, after PATIENCE."""
        return _data(self._session.on_timeout())


def _data(sends: list[Send]) -> Iterator[bytes]:
    return (send.data for send in sends)
