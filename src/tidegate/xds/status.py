"""What a session tells of itself to people: ``proxy-status`` and the debug endpoints."""

import enum
from dataclasses import dataclass


class SyncState(enum.StrEnum):
    """istioctl's words for how far a proxy is."""

    SYNCED = "SYNCED"
    STALE = "STALE"
    """Something was sent and not answered, or waits to be sent."""
    ERROR = "ERROR"
    """The proxy refused something that still is what it should have."""
    NOT_SENT = "NOT SENT"


@dataclass(frozen=True, slots=True)
class Quarantined:
    name: str
    version: str
    error: str
    accepted_version: str
    """"" when the proxy has none of it, or none that this process knows."""


@dataclass(frozen=True, slots=True)
class TypeStatus:
    type_url: str
    state: SyncState
    sent_nonce: str
    acked_nonce: str
    wildcard: bool
    names: tuple[str, ...]
    """Subscribed by name, sorted."""
    held: int
    """Resources that the proxy has accepted."""
    rejects: int
    last_error: str
    quarantined: tuple[Quarantined, ...]


@dataclass(frozen=True, slots=True)
class SessionStatus:
    types: tuple[TypeStatus, ...]

    def of(self, type_url: str) -> TypeStatus | None:
        return next((status for status in self.types if status.type_url == type_url), None)
