"""Where a connection has come to: what is known of it, what was decided, how likely this branch is."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from tidegate.dump.config.parts import P, Unknown, read
from tidegate.explain.config import EnvoyConfig
from tidegate.explain.connection import Connection, HttpRequest, Payload
from tidegate.explain.trace import End, EndKind, Profile, Rejection, Stage, Step
from tidegate.kit.durations import Duration

FOREVER = Duration(0)
"""How Envoy writes a time-out that never comes."""


_MOST_DETOURS = 1000


class Notes:
    """What could not be judged, each thing once."""

    def __init__(self) -> None:
        self.found: dict[tuple[str, str], Unknown] = {}
        self._left = _MOST_DETOURS

    def detour(self) -> bool:
        """Count a cluster that leads to others; False once there were more than any mesh needs."""
        self._left -= 1
        return self._left >= 0

    def add(self, where: str, why: str) -> None:
        self.found.setdefault((where, why), Unknown(where, why))

    def read(self, kind: type[P], raw: Any, where: str) -> P:
        """A message; what of it cannot be read is noted."""
        unknown: list[Unknown] = []
        found = read(kind, raw, where, unknown)
        for each in unknown:
            self.add(each.where, each.why)
        return found


@dataclass(frozen=True)
class Walk:
    """One branch of the walk. Immutable: each decision gives the next one."""

    config: EnvoyConfig
    connection: Connection
    profile: Profile
    notes: Notes
    ip: str
    """The local address of the connection, as the proxy takes it: the one that was dialled."""
    port: int
    restored: bool = False
    """The address was restored from a redirection, so that it may be used as where to go."""
    steps: tuple[Step, ...] = ()
    probability: float = 1.0
    hops: int = 0
    transport: str = ""
    """What a listener filter detected: "tls" or ""."""
    sni: str = ""
    alpn: tuple[str, ...] = ()
    """Application protocols that a listener filter saw."""
    ended_tls: bool = False
    negotiated: str = ""
    """The application protocol agreed on when the proxy ended the client's TLS."""
    state: Mapping[str, str] = field(default_factory=dict)
    """Filter state that is known."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """Dynamic metadata that is known, by the filter that wrote it."""
    metadata_open: bool = False
    """A filter that could not be judged may have written more."""
    delay: Duration = FOREVER
    """Time that the proxy adds by itself."""
    on_demand: bool = False
    """A cluster that is missing may be asked for when it is needed."""
    keeps_source: bool = False
    """The far side sees the client's own address."""

    @property
    def payload(self) -> Payload:
        return self.connection.payload(self.ended_tls)

    @property
    def request(self) -> HttpRequest | None:
        """The request, in the protocol that was agreed on where the proxy ended the TLS: a client keeps to that."""
        request = self.connection.http
        if request is None or not self.ended_tls:
            return request
        if self.negotiated == "h2":
            return msgspec.structs.replace(request, version="2")
        downgraded = self.negotiated == "http/1.1" and request.version == "2"
        return msgspec.structs.replace(request, version="1.1") if downgraded else request

    @property
    def principal(self) -> str:
        """The client's identity, where the proxy ended its TLS and saw a certificate."""
        tls = self.connection.tls
        return tls.principal if tls and tls.mutual and self.ended_tls else ""

    def with_(self, **changes: Any) -> "Walk":
        return replace(self, **changes)

    def split(self, share: float) -> "Walk":
        """This branch, taken by a part of what came here."""
        return replace(self, probability=self.probability * share)

    def step(self, stage: Stage, kind: str, name: str = "", **rest: Any) -> "Walk":
        """One decision further; ``rest`` as in Step."""
        return replace(self, steps=(*self.steps, Step(stage, kind, name, **rest)))

    def end(self, kind: EndKind, why: str, **rest: Any) -> End:
        """This branch ends here; ``rest`` as in End."""
        delay = str(self.delay) if self.delay else ""
        return End(kind, self.probability, why, self.steps, delay=delay, **rest)

    def later(self, delay: Duration) -> "Walk":
        return replace(self, delay=Duration(self.delay + delay))

    def unsure(self, where: str, why: str) -> None:
        self.notes.add(where, why)

    def nearest(self, rejected: list[Rejection]) -> tuple[Rejection, ...]:
        """As many runners-up as are told, those that lost last first."""
        return tuple(reversed(rejected))[: self.profile.most_rejections]


def duration(text: str, otherwise: Duration = FOREVER) -> Duration:
    """A duration as protobuf writes it; ``otherwise`` for what is none."""
    try:
        return Duration.parse(text)
    except ValueError:
        return otherwise
