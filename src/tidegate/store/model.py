"""What every client of a store sees, embedded server or Kubernetes alike."""

import enum
from collections.abc import AsyncIterator, Mapping
from typing import Any, Protocol

import msgspec

from tidegate.kit.errors import TidegateError

Json = dict[str, Any]
"""A Kubernetes object as decoded JSON, lossless."""


class WatchType(enum.StrEnum):
    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"
    BOOKMARK = "BOOKMARK"


class WatchEvent(msgspec.Struct, frozen=True):
    type: WatchType
    object: Json
    """For BOOKMARK only metadata.resourceVersion counts."""


class Listing(msgspec.Struct, frozen=True):
    items: tuple[Json, ...]
    resource_version: str


class TokenIdentity(msgspec.Struct, frozen=True):
    """Who a bearer token belongs to, as TokenReview tells."""

    username: str
    """``system:serviceaccount:<namespace>:<name>`` for workloads."""
    groups: tuple[str, ...] = ()
    namespace: str = ""
    service_account: str = ""
    pod: str = ""
    """Name of the Pod that the token is bound to; "" for none."""
    pod_uid: str = ""


class StoreError(TidegateError):
    """The server's metav1.Status. ``reason`` is Kubernetes' word: NotFound, AlreadyExists, Conflict, Invalid, ..."""

    def __init__(self, code: int, reason: str, message: str, details: Mapping[str, Any] | None = None) -> None:
        self.code, self.reason, self.details = code, reason, details or {}
        super().__init__(message)


class Expired(StoreError):
    """410: the resourceVersion is too old; list again."""


class Store(Protocol):
    """A Kubernetes API. ``kind`` is a name of :data:`tidegate.api.kinds.KINDS` ("ServiceEntry").

    Every call has a timeout of its own; every failure is a StoreError (code 0 when the server was not reached).
    """

    async def get(self, kind: str, namespace: str, name: str) -> Json: ...

    async def list(self, kind: str, namespace: str = "", *, label_selector: str = "") -> Listing: ...

    def watch(self, kind: str, resource_version: str, namespace: str = "") -> AsyncIterator[WatchEvent]:
        """Changes after ``resource_version``, with bookmarks. Ends when the server ends it (watch again from the
        last seen version); raises Expired when the version is gone."""
        ...

    async def create(self, obj: Json, *, dry_run: bool = False) -> Json: ...

    async def update(self, obj: Json, *, subresource: str = "") -> Json:
        """Replace; 409 Conflict when metadata.resourceVersion is set and not the current one."""
        ...

    async def patch(
        self, kind: str, namespace: str, name: str, patch: Any, *, content_type: str, subresource: str = ""
    ) -> Json:
        """content_type: application/merge-patch+json, application/json-patch+json,
        application/strategic-merge-patch+json or application/apply-patch+yaml."""
        ...

    async def delete(self, kind: str, namespace: str, name: str, *, uid: str = "") -> None: ...

    async def create_token(
        self,
        namespace: str,
        service_account: str,
        *,
        audiences: tuple[str, ...],
        seconds: int = 3600,
        pod: Json | None = None,
    ) -> str:
        """TokenRequest for a ServiceAccount, bound to ``pod`` (its object) when given."""
        ...

    async def review_token(self, token: str, *, audiences: tuple[str, ...]) -> TokenIdentity | None:
        """TokenReview; None when the token is not valid."""
        ...

    async def close(self) -> None: ...
