"""One resource type on one stream: what the client asked for, what it holds, what is on its way."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from tidegate.xds.source import Resource

WILDCARD = "*"


@dataclass(frozen=True, slots=True)
class Remembered:
    """A version that a client says it holds; its bytes are not known here."""

    name: str
    version: str
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Flight:
    """A response that the client has not answered yet."""

    nonce: str
    resources: dict[str, Resource]
    """Those that are new to the client."""
    gone: tuple[str, ...]


@dataclass(slots=True)
class Plan:
    """What the next response of a type would tell."""

    resources: dict[str, Resource] = field(default_factory=dict)
    gone: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.resources or self.gone)


@dataclass(slots=True)
class Watch:
    type_url: str
    wildcard: bool = False
    names: set[str] = field(default_factory=set)
    held: dict[str, Resource] = field(default_factory=dict)
    """Last accepted, by name."""
    doubtful: dict[str, set[str]] = field(default_factory=dict)
    """Versions by name that were sent in a response refused for others or for no told reason: the client may or may
    not have taken them over. "" stands for a removal."""
    dirty: dict[str, None] = field(default_factory=dict)
    """Names to look at before the next response, in push order."""
    forced: set[str] = field(default_factory=set)
    """Names to answer even if the client holds them."""
    owed: bool = False
    """A response must be sent even if it tells nothing."""
    trials: deque[list[str]] = field(default_factory=deque)
    """Parts of a refused response, to be sent one after the other until the culprit stands alone."""
    flight: Flight | None = None
    nonce: str = ""
    acked: str = ""
    rejects: int = 0
    last_error: str = ""

    def knows(self, name: str) -> bool:
        """Whether the client may hold the name."""
        return name in self.held or name in self.doubtful

    def subscribed(self, name: str) -> bool:
        return self.wildcard or name in self.names

    def mark(self, names: Iterable[str], *, forced: bool = False) -> None:
        names = list(names)
        self.dirty.update(dict.fromkeys(names))
        if forced:
            self.forced.update(names)

    def doubt(self, name: str, version: str) -> None:
        self.doubtful.setdefault(name, set()).add(version)

    def not_taken(self, name: str, version: str) -> None:
        """The client certainly refused this version. If it may hold another one, that has to be settled."""
        versions = self.doubtful.get(name, set())
        versions.discard(version)
        if versions:
            self.dirty[name] = None
        else:
            self.doubtful.pop(name, None)

    def forget(self, name: str) -> None:
        """The client has dropped the name by itself."""
        self.held.pop(name, None)
        self.doubtful.pop(name, None)
        self.dirty.pop(name, None)
        self.forced.discard(name)

    def settle(self, name: str) -> None:
        """Nothing more to be done for the name."""
        self.dirty.pop(name, None)
        self.forced.discard(name)

    def reset(self) -> None:
        """The client begins anew."""
        self.held.clear()
        self.doubtful.clear()
        self.dirty.clear()
        self.forced.clear()
        self.trials.clear()
        self.flight = None
