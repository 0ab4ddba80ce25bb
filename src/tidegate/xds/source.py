"""What the protocol needs to know of resources; the rooms that make them are not imported here."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable


class Resource(Protocol):
    """Structurally equal to :class:`tidegate.envoy.resource.Resource`."""

    @property
    def name(self) -> str: ...
    @property
    def body(self) -> bytes: ...
    @property
    def version(self) -> str: ...


class View(Protocol):
    """Everything that one proxy may see at one time. Immutable from the protocol's point of view: a change is a
    new View, announced together with the names that differ."""

    @property
    def version(self) -> str:
        """Names the world it shows; equal versions, equal contents. Goes into version_info."""
        ...

    def names(self, type_url: str) -> Iterable[str]:
        """Names that a wildcard subscription of the type gets, in push order."""
        ...

    def get(self, type_url: str, name: str) -> Resource | None:
        """A resource by name, whether or not a wildcard would include it; None when there is none."""
        ...


@runtime_checkable
class ListingView(View, Protocol):
    """A View that can say at once whether a wildcard includes a name. Without it each session copies the list of
    names to look a changed name up, which makes a change cost as much as there are names."""

    def lists(self, type_url: str, name: str) -> bool:
        """Whether ``names(type_url)`` holds the name."""
        ...


Delta = Mapping[str, frozenset[str]]
"""Type URL to the names that were added, changed or removed between two Views. A type that is absent: no change."""


@dataclass(frozen=True, slots=True)
class Update:
    """What a subscription tells its session."""

    view: View
    delta: Delta | None
    """Names that differ from the View told before; None: anything may differ."""
    since: float | None = None
    """time.monotonic() of the oldest change within, for the convergence time; None: not from a change."""


class Subscription(Protocol):
    """What one stream knows of the world. :class:`tidegate.xds.mailbox.Mailbox` is one that a hub can fill cheaply."""

    @property
    def view(self) -> View:
        """The View that the first responses are made from. Whatever is published later comes by :meth:`next`."""
        ...

    async def next(self) -> Update:
        """Wait for the next change. All that was published since the last call comes merged as one Update. Raises
        SubscriptionEnded when the proxy may not go on (its Pod is gone)."""
        ...

    def close(self) -> None:
        """Called once when the stream has ended."""
        ...


class SubscriptionEnded(Exception):
    """The stream is over: its text is told to the client."""
