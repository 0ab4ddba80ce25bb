"""Which resources of a refused response were the bad ones, and what is kept about them.

Envoy applies the good resources of a response and refuses it for the bad ones, naming them in the error text; only a
response that breaks a message constraint is refused whole, and that text need not name anybody.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass, field, replace

from tidegate.xds.source import Resource

_MAX_REFUSALS = 1000
"""Of one type, for one proxy; beyond that the oldest is tried again."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A version of a resource that a proxy refused."""

    resource: Resource
    error: str
    fallback: Resource | None
    """What the proxy accepted last; None when it accepted none, or before this process knew it."""


@dataclass(slots=True)
class ProxyMemory:
    """What outlives a proxy's stream: refusals by type URL and name, and clusters that may still wait."""

    refusals: dict[str, dict[str, Refusal]] = field(default_factory=dict)
    warming: set[str] = field(default_factory=set)
    """Names of endpoints whose cluster was sent anew and not acknowledged: Envoy keeps such a cluster warming until
    it gets its endpoints once more, also on its next stream."""

    def refused(self, type_url: str, resource: Resource) -> Refusal | None:
        """The refusal that keeps this very version from being sent."""
        found = self.refusals.get(type_url, {}).get(resource.name)
        return found if found is not None and found.resource.version == resource.version else None

    def refuse(self, type_url: str, refusal: Refusal) -> None:
        known = self.refusals.setdefault(type_url, {})
        known[refusal.resource.name] = refusal
        if len(known) > _MAX_REFUSALS:
            del known[next(iter(known))]

    def accepted(self, type_url: str, resource: Resource) -> None:
        """Should the refused version come back, this one stays instead."""
        known = self.refusals.get(type_url)
        if known and resource.name in known:
            known[resource.name] = replace(known[resource.name], fallback=resource)

    def gone(self, type_url: str, name: str) -> None:
        """The resource is no more. Should it come back in the refused version, that is refused as before, but what
        was accepted before it went is not brought back."""
        known = self.refusals.get(type_url, {})
        if name in known:
            known[name] = replace(known[name], fallback=None)


_NAME_CHARACTERS = r"\w|*/-"


def culprits(error: str, names: Collection[str]) -> list[str]:
    """The names that an error text tells, as whole words: a name within a longer one does not count.

    A name of digits only (a route named by its port) counts where it is quoted, for "port 80" means something else.
    """
    return [name for name in names if name in error and _told(error, name)]


def _told(error: str, name: str) -> bool:
    quoted = re.escape(name)
    if name.isdigit():
        return re.search(rf"""['"]{quoted}['"]""", error) is not None
    before, after = rf"(?<![{_NAME_CHARACTERS}])(?<!\w\.)", rf"(?![{_NAME_CHARACTERS}]|\.\w)"
    return re.search(before + quoted + after, error) is not None
