"""A persistent map from hosts, wildcards among them, that answers which of its hosts meet or cover another."""

from collections.abc import Iterator
from typing import Generic, TypeVar

from immutables import Map

from tidegate.kit import hosts

V = TypeVar("V")


def _suffixes(host: str) -> Iterator[str]:
    """``.b.c``, ``.c`` and "" of ``a.b.c``; a wildcard's own suffix comes first."""
    rest = host[1:] if hosts.is_wildcard(host) else host
    at = rest.find(".")
    while at >= 0:
        yield rest[at:]
        at = rest.find(".", at + 1)
    yield ""


def _is_loose(host: str) -> bool:
    """A wildcard that cuts within a label (``*ample.com``): legal only leniently, and rare."""
    return len(host) > 1 and hosts.is_wildcard(host) and not host.startswith("*.")


class HostIndex(Generic[V]):
    """Immutable: ``put`` and ``drop`` return the next index. Hosts are compared without regard to letter case."""

    __slots__ = ("_loose", "_under", "_values")

    def __init__(
        self,
        values: Map[str, V] | None = None,
        under: Map[str, Map[str, None]] | None = None,
        loose: Map[str, None] | None = None,
    ) -> None:
        self._values: Map[str, V] = Map() if values is None else values
        self._under: Map[str, Map[str, None]] = Map() if under is None else under
        self._loose: Map[str, None] = Map() if loose is None else loose

    def __len__(self) -> int:
        return len(self._values)

    def get(self, host: str) -> V | None:
        return self._values.get(host.lower())

    def items(self) -> Iterator[tuple[str, V]]:
        return iter(self._values.items())

    def put(self, host: str, value: V) -> "HostIndex[V]":
        host = host.lower()
        values = self._values.set(host, value)
        if host in self._values:
            return HostIndex(values, self._under, self._loose)
        with self._under.mutate() as under:
            for suffix in _suffixes(host):
                under[suffix] = under.get(suffix, _NONE).set(host, None)
            tree = under.finish()
        return HostIndex(values, tree, self._loose.set(host, None) if _is_loose(host) else self._loose)

    def drop(self, host: str) -> "HostIndex[V]":
        host = host.lower()
        if host not in self._values:
            return self
        with self._under.mutate() as under:
            for suffix in _suffixes(host):
                rest = under[suffix].delete(host)
                if rest:
                    under[suffix] = rest
                else:
                    del under[suffix]
            tree = under.finish()
        return HostIndex(self._values.delete(host), tree, self._loose.delete(host) if _is_loose(host) else self._loose)

    def covering(self, host: str) -> list[tuple[str, V]]:
        """Hosts of the index that cover all of ``host``: itself, then wildcards, longest first."""
        host = host.lower()
        names = [host] if not hosts.is_wildcard(host) else []
        names += [f"*{suffix}" for suffix in _suffixes(host)]
        if _is_loose(host) or self._loose:
            loose = (h for h in (host, *self._loose) if _is_loose(h) and hosts.covers(h, host))
            names = sorted({*names, *loose}, key=hosts.specificity)
        return [(name, self._values[name]) for name in names if name in self._values]

    def meeting(self, host: str) -> list[tuple[str, V]]:
        """Hosts of the index that have a name in common with ``host``, most specific first."""
        if not (hosts.is_wildcard(host) or self._loose):
            return self.covering(host)  # one name: what meets it covers it
        host = host.lower()
        found = dict(self.covering(host))
        if hosts.is_wildcard(host):
            below = self._under.get("" if _is_loose(host) else host[1:], _NONE)
            found.update((name, self._values[name]) for name in below if hosts.matches(name, host))
        found.update((name, self._values[name]) for name in self._loose if hosts.matches(name, host))
        return sorted(found.items(), key=lambda item: (hosts.specificity(item[0]), item[0]))


_NONE: Map[str, None] = Map()
