"""Objects as the core sees them: metadata, a typed body, and an identity that can be a cache key."""

from typing import Any, Generic, TypeVar

import msgspec

from tidegate.api.fields import Message

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class OwnerReference(Message, frozen=True):
    api_version: str = ""
    kind: str = ""
    name: str = ""
    uid: str = ""
    controller: bool = False


class ObjectMeta(Message, frozen=True):
    """metav1.ObjectMeta, as far as it is read. Unknown members are ignored here and kept in storage."""

    name: str = ""
    generate_name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: str = ""
    deletion_timestamp: str = ""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    owner_references: tuple[OwnerReference, ...] = ()
    finalizers: tuple[str, ...] = ()


class Ref(msgspec.Struct, frozen=True, order=True, cache_hash=True, gc=False):
    """Which object: kind, namespace ("" for cluster-scoped), name. Prints as ``Kind/namespace/name``."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.namespace}/{self.name}" if self.namespace else f"{self.kind}/{self.name}"


class Object(Generic[T_co]):
    """A decoded, immutable object.

    Equality and hash are those of ``ref`` and ``digest``, so an Object can stand in the frozen inputs that key
    the builders' caches: two Objects are equal when kind, namespace, name, uid, labels, annotations, creation
    time and spec are. resourceVersion, managedFields and (unless ``digest`` covers it) status do not count.
    """

    __slots__ = ("_hash", "digest", "meta", "ref", "spec", "status")

    def __init__(self, ref: Ref, meta: ObjectMeta, spec: T_co, digest: bytes, status: Any = None) -> None:
        self.ref, self.meta, self.spec, self.digest, self.status = ref, meta, spec, digest, status
        self._hash = hash((ref, digest))

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Object) and self.digest == other.digest and self.ref == other.ref)

    def __repr__(self) -> str:
        return f"<{self.ref} {self.digest.hex()[:8]}>"

    @property
    def age_key(self) -> tuple[str, str]:
        """Sort key "oldest first", equal ages by ``name.namespace``: Istio's order for conflicts."""
        return (self.meta.creation_timestamp, f"{self.ref.name}.{self.ref.namespace}")
