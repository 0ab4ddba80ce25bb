"""A value that is compared and hashed by a key made once, for values that cannot be hashed or are costly to."""

from typing import Generic, TypeVar

T_co = TypeVar("T_co", covariant=True)


class Keyed(Generic[T_co]):
    """``value`` with identity ``key`` (a digest of its content): equal keys, equal values."""

    __slots__ = ("_hash", "key", "value")

    def __init__(self, value: T_co, key: bytes) -> None:
        self.value, self.key, self._hash = value, key, hash(key)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Keyed) and self.key == other.key)

    def __repr__(self) -> str:
        return f"Keyed({type(self.value).__name__}, {self.key.hex()[:8]})"
