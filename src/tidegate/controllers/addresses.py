"""Addresses for ServiceEntries that have none: one of each IP family for every host, kept in ``status.addresses``.

With an address of its own a host can be told from others on the same port, whatever the protocol, by proxies that
answer DNS. Which entries are concerned, and the ranges, are Istio's. Pure: changes in, plans out.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any

from tidegate.controllers.cache import Name, name_of
from tidegate.controllers.plan import Action
from tidegate.store.model import Json

LABEL = "networking.istio.io/enable-autoallocate-ip"
BLOCKS: tuple[IPv4Network | IPv6Network, ...] = (IPv4Network("240.240.0.0/16"), IPv6Network("2001:2::/48"))
_OUTER = 2
"""The first and the last address of a block are never given."""
_TRIES = 65534

Owner = tuple[str, str, str]
"""Namespace and name of the entry, and the host."""


def hosts_to_serve(entry: Json) -> tuple[str, ...]:
    """Hosts of an entry that get addresses. None where it has its own, where callers go to the address that they know
    (NONE), and where its label opts out; wildcards only where names are resolved as they are asked for."""
    spec = entry.get("spec") or {}
    labels = entry["metadata"].get("labels") or {}
    resolution = spec.get("resolution") or "NONE"
    if resolution == "NONE" or spec.get("addresses") or str(labels.get(LABEL, "")).lower() == "false":
        return ()
    hosts = (str(host) for host in spec.get("hosts") or ())
    return tuple(dict.fromkeys(h for h in hosts if resolution == "DYNAMIC_DNS" or not h.startswith("*")))


def chosen(owner: Owner, block: IPv4Network | IPv6Network, is_free: Callable[[str], bool]) -> str | None:
    """A free address of the block; where to look first follows from the owner, so that an entry that is made again
    gets its old address when that is free. None when none was found."""
    size = block.num_addresses - _OUTER
    start = int.from_bytes(hashlib.blake2b("/".join(owner).encode(), digest_size=8).digest())
    for step in range(min(size, _TRIES)):
        address = str(block[1 + (start + step) % size])
        if is_free(address):
            return address
    return None


class Addresses:
    """Every ServiceEntry of the store, and who has which address.

    What an entry's status says is honoured while nobody has a better right to it: an address that a user wrote into
    ``spec.addresses`` is his, and of two entries with one allocated address the older keeps it.
    """

    what = "addresses of ServiceEntry"
    kinds: tuple[str, ...] = ("ServiceEntry",)

    def __init__(self) -> None:
        self._entries: dict[Name, Json] = {}
        self._claims: dict[str, set[Owner]] = {}
        """Allocated addresses, and whose status has them."""
        self._written: dict[str, set[Name]] = {}
        """Addresses that entries have in their spec."""
        self._networks: dict[IPv4Network | IPv6Network, set[Name]] = {}
        """Networks likewise, where they are part of a block."""

    def put(self, kind: str, obj: Json) -> set[Name]:
        """An entry that came or changed; those to look at."""
        name = name_of(obj)
        concerned = self._forget(name)
        self._entries[name] = obj
        for address in _written(obj):
            self._written.setdefault(address, set()).add(name)
            concerned |= {owner[:2] for owner in self._claims.get(address, ())}
        for network in _networks(obj):
            self._networks.setdefault(network, set()).add(name)
            concerned |= {o[:2] for a, owners in self._claims.items() if ip_address(a) in network for o in owners}
        for host, address in _allocated(obj):
            self._claims.setdefault(address, set()).add((*name, host))
            concerned |= {owner[:2] for owner in self._claims[address]}
        return concerned | {name}

    def drop(self, kind: str, name: Name) -> set[Name]:
        """An entry that went; its addresses are free."""
        return self._forget(name)

    def wrote(self, action: Action, made: Json | None) -> set[Name]:
        """What was written is known at once, so that no two entries get one address."""
        return self.put("ServiceEntry", made) - {name_of(made)} if made is not None else set()

    def plan(self, key: Name) -> list[Action]:
        """Write the status that the entry should have, where it has another."""
        entry = self._entries.get(key)
        if entry is None:
            return []
        wanted = list(self._wanted(key, entry))
        status: Any = entry.get("status")
        status = status if isinstance(status, dict) else {}
        if wanted == list(status.get("addresses") or ()):
            return []
        kept = {field: value for field, value in status.items() if field != "addresses"}
        made = {**entry, "status": {**kept, "addresses": wanted} if wanted else kept}
        reason = "each host gets an address" if wanted else "the entry needs no allocated addresses"
        return [Action("status", made, reason, guarded=True)]

    def _wanted(self, key: Name, entry: Json) -> Iterator[Json]:
        taken: set[str] = set()
        held = list(_allocated(entry))
        for host in hosts_to_serve(entry):
            owner = (*key, host)
            for block in BLOCKS:
                mine = (a for h, a in held if h == host and ip_address(a) in block)
                found = next((a for a in mine if a not in taken and self._may_keep(owner, a)), None)
                found = found or chosen(owner, block, lambda a: a not in taken and self._is_free(a))
                if found is not None:
                    taken.add(found)
                    yield {"value": found, "host": host}

    def _may_keep(self, owner: Owner, address: str) -> bool:
        if self._is_written(address):
            return False
        others = self._claims.get(address, set()) - {owner}
        return all(self._age(owner) < self._age(other) for other in others)

    def _is_free(self, address: str) -> bool:
        return address not in self._claims and not self._is_written(address)

    def _is_written(self, address: str) -> bool:
        found = ip_address(address)
        return address in self._written or any(found in network for network in self._networks)

    def _age(self, owner: Owner) -> tuple[str, Owner]:
        entry = self._entries.get(owner[:2]) or {"metadata": {}}
        return str(entry["metadata"].get("creationTimestamp") or ""), owner

    def _forget(self, name: Name) -> set[Name]:
        """Take an entry out; those that may now have what it had in their way are not moved: addresses are stable."""
        old = self._entries.pop(name, None)
        if old is None:
            return set()
        for address in _written(old):
            _discard(self._written, address, name)
        for network in _networks(old):
            _discard(self._networks, network, name)
        for host, address in _allocated(old):
            _discard(self._claims, address, (*name, host))
        return set()


def _discard(index: dict[Any, set[Any]], key: Any, member: Any) -> None:
    members = index.get(key, set())
    members.discard(member)
    if not members:
        index.pop(key, None)


def _allocated(entry: Json) -> Iterator[tuple[str, str]]:
    """(host, address) of the status, as far as they are such; a host that is left out is the first."""
    status: Any = entry.get("status")
    listed = status.get("addresses") if isinstance(status, dict) else None
    hosts = (entry.get("spec") or {}).get("hosts") or [""]
    for item in listed if isinstance(listed, list) else ():
        value = item.get("value") if isinstance(item, dict) else None
        try:
            yield str(item.get("host") or hosts[0]), str(ip_address(str(value)))
        except (ValueError, AttributeError):
            continue


def _written(entry: Json) -> Iterator[str]:
    for text in (entry.get("spec") or {}).get("addresses") or ():
        try:
            yield str(ip_address(str(text).removesuffix("/32").removesuffix("/128")))
        except ValueError:
            continue


def _networks(entry: Json) -> Iterator[IPv4Network | IPv6Network]:
    """Networks of an entry that are part of a block. One around a block takes nothing: the narrower one is matched."""
    for text in (entry.get("spec") or {}).get("addresses") or ():
        try:
            found = ip_network(str(text), strict=False)
        except ValueError:
            continue
        if found.num_addresses > 1 and any(_is_part(found, block) for block in BLOCKS):
            yield found


def _is_part(inner: IPv4Network | IPv6Network, block: IPv4Network | IPv6Network) -> bool:
    return inner.version == block.version and inner.prefixlen > block.prefixlen and inner.network_address in block


def allocate(entries: Iterable[Json]) -> Iterator[Json]:
    """Those of ``entries`` that the controller would give addresses, with them."""
    known = Addresses()
    names = []
    for entry in entries:
        known.put("ServiceEntry", entry)
        names.append(name_of(entry))
    for name in dict.fromkeys(names):
        for action in known.plan(name):
            known.wrote(action, action.object)
            yield action.object
