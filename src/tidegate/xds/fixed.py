"""A View of given resources, and the difference of two of them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tidegate.xds.source import Delta, Resource, View


@dataclass(frozen=True, slots=True)
class Item:
    """A resource that needs no builder."""

    name: str
    body: bytes
    version: str


class FixedView:
    """Resources by type URL and name, in push order. ``hidden`` ones are answered by name but not to a wildcard."""

    def __init__(
        self,
        version: str,
        resources: Mapping[str, Iterable[Resource]],
        hidden: Mapping[str, Iterable[Resource]] | None = None,
    ) -> None:
        self.version = version
        self._listed = {url: {r.name: r for r in items} for url, items in resources.items()}
        self._hidden = {url: {r.name: r for r in items} for url, items in (hidden or {}).items()}

    def names(self, type_url: str) -> Iterable[str]:
        return self._listed.get(type_url, {})

    def lists(self, type_url: str, name: str) -> bool:
        return name in self._listed.get(type_url, {})

    def get(self, type_url: str, name: str) -> Resource | None:
        return self._listed.get(type_url, {}).get(name) or self._hidden.get(type_url, {}).get(name)


def difference(old: View, new: View, type_urls: Iterable[str]) -> Delta:
    """What a wildcard subscriber of ``old`` has to be told to know ``new``."""
    delta: dict[str, frozenset[str]] = {}
    for url in type_urls:
        names = {*old.names(url), *new.names(url)}
        changed = frozenset(name for name in names if _version(old, url, name) != _version(new, url, name))
        if changed:
            delta[url] = changed
    return delta


def _version(view: View, type_url: str, name: str) -> str | None:
    resource = view.get(type_url, name)
    return None if resource is None else resource.version
