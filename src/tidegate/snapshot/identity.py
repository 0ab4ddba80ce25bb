"""Objects that were derived from others: their identity covers everything they were made of."""

import hashlib
from collections.abc import Iterable
from typing import TypeVar

from tidegate.api.objects import Object

T = TypeVar("T")


def derived(base: Object[T], spec: T, made_of: Iterable[bytes]) -> Object[T]:
    """``base`` with another spec. Equal ``base`` and ``made_of`` must mean equal ``spec``."""
    digest = hashlib.blake2b(base.digest, digest_size=16)
    for part in made_of:
        digest.update(len(part).to_bytes(4))
        digest.update(part)
    return Object(base.ref, base.meta, spec, digest.digest(), base.status)
