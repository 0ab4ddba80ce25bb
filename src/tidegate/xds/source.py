"""What the protocol needs to know of resources; the rooms that make them are not imported here."""

from collections.abc import Iterable, Mapping
from typing import Protocol


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


Delta = Mapping[str, frozenset[str]]
"""Type URL to the names that were added, changed or removed between two Views. A type that is absent: no change."""
