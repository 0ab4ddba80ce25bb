"""Warns at a write of ports that one ServiceEntry takes from other objects in the store."""

from collections import defaultdict
from collections.abc import Iterable
from itertools import islice
from typing import Any

import msgspec

from tidegate.api import decode
from tidegate.api.objects import Object
from tidegate.kit.errors import InvalidObjectError
from tidegate.registry import shadowing
from tidegate.store.model import Json
from tidegate.store.sqlite import Key, Transaction

KINDS = ("Service", "ServiceEntry")
LOOKED_AT = 50
"""Objects of one port that a write is compared with: a write costs the same however many there are."""

Index = dict[int, dict[Key, None]]


class Shadowing:
    """Which objects use a port, kept as a hook of the store's writes; and the warnings.

    The index may name objects that were never stored (a dry run, a write that failed later) or that left the port:
    what it names is read again before it is told.
    """

    def __init__(self, stored: Iterable[Json] = ()) -> None:
        self._users: Index = defaultdict(dict)
        self._takers: Index = defaultdict(dict)
        for obj in stored:
            self._note(obj)

    def __call__(self, verb: str, obj: Json, old: Json | None) -> Json:
        """The hook: verb "create", "update" or "delete"."""
        if obj.get("kind") in KINDS:
            if verb == "delete":
                self._forget(obj)
            else:
                self._note(obj)
        return obj

    def advise(self, tx: Transaction, obj: Json) -> tuple[str, ...]:
        """Warnings for the writer of ``obj``."""
        candidate = _typed(obj) if obj.get("kind") in KINDS else None
        if candidate is None:
            return ()
        taken = frozenset(shadowing.takers(candidate))
        others: dict[Key, Object[Any]] = {}
        for port in shadowing.ports(candidate):
            others |= self._stored(tx, self._users if port in taken else self._takers, port, _key(obj))
        return tuple(shadowing.shadowed(candidate, others.values()))

    def _stored(self, tx: Transaction, index: Index, port: int, own: Key) -> dict[Key, Object[Any]]:
        """What the index names beside the object itself and the store holds; what it does not hold is forgotten."""
        found = {}
        named = (key for key in index.get(port, ()) if key != own)
        for key in list(islice(named, LOOKED_AT)):
            raw = tx.get(key)
            typed = _typed(raw) if raw is not None else None
            if typed is not None and port in shadowing.ports(typed):
                found[key] = typed
            else:
                del index[port][key]
        return found

    def _note(self, obj: Json) -> None:
        typed = _typed(obj)
        if typed is not None:
            for index, numbers in self._indexed(typed):
                for port in numbers:
                    index[port][_key(obj)] = None

    def _forget(self, obj: Json) -> None:
        typed = _typed(obj)
        if typed is not None:
            for index, numbers in self._indexed(typed):
                for port in numbers:
                    index[port].pop(_key(obj), None)

    def _indexed(self, typed: Object[Any]) -> tuple[tuple[Index, tuple[int, ...]], ...]:
        return (self._users, shadowing.ports(typed)), (self._takers, shadowing.takers(typed))


def _key(obj: Json) -> Key:
    meta = obj["metadata"]
    return Key(str(obj["kind"]), str(meta.get("namespace", "")), str(meta.get("name", "")))


def _typed(obj: Json) -> Object[Any] | None:
    """None for one of an older version's store that cannot be typed any more."""
    try:
        return decode.stored(obj)
    except (InvalidObjectError, msgspec.ValidationError):
        return None
