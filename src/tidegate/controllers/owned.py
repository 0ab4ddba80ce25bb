"""What the Deployment and ReplicaSet controllers know of the store. Pure: changes in, the objects they concern out."""

from collections.abc import Callable

from tidegate.controllers import deployments, replicasets
from tidegate.controllers.cache import Name, name_of
from tidegate.controllers.plan import Action
from tidegate.store.model import Json

Key = tuple[str, str, str]
"""Kind, namespace and name."""


class Workloads:
    """Deployments, ReplicaSets and the Pods that ReplicaSets own.

    A write of one's own is known at once (:meth:`wrote`), and what a watch tells of the time before it is passed over:
    otherwise a Pod would be made, or deleted, twice.
    """

    what = "replicas"
    kinds: tuple[str, ...] = ("Deployment", "ReplicaSet", "Pod")

    def __init__(self, now: Callable[[], str]) -> None:
        self._now = now
        self._objects: dict[Key, Json] = {}
        self._owned: dict[str, dict[Key, Json]] = {}
        """By the uid of their controller."""
        self._deleted: dict[Key, str] = {}
        """uid of what was deleted here and is not yet told to be gone."""

    def put(self, kind: str, obj: Json) -> set[Key]:
        """An object that came or changed; those to look at."""
        key, uid = (kind, *name_of(obj)), obj["metadata"].get("uid")
        if self._deleted.get(key) == uid:
            return set()
        self._deleted.pop(key, None)
        old = self._objects.get(key)
        if old is not None and old["metadata"].get("uid") == uid and _version(obj) <= _version(old):
            return set()
        concerned = self._forget(key)
        if kind == "Pod" and not _controller(obj):
            return concerned
        self._objects[key] = obj
        if owner := _controller(obj):
            self._owned.setdefault(owner["uid"], {})[key] = obj
        return concerned | _concerned(key, obj)

    def drop(self, kind: str, name: Name) -> set[Key]:
        """An object that went."""
        self._deleted.pop((kind, *name), None)
        return self._forget((kind, *name))

    def wrote(self, action: Action, made: Json | None) -> set[Key]:
        """A write of one's own; ``made`` is the object as stored, None when it is gone."""
        if made is not None:
            return self.put(made["kind"], made)
        key: Key = (action.object["kind"], *name_of(action.object))
        self._deleted[key] = action.object["metadata"].get("uid", "")
        return self._forget(key)

    def plan(self, key: Key) -> list[Action]:
        obj = self._objects.get(key)
        if obj is None:
            return []
        owned = list(self._owned.get(obj["metadata"].get("uid", ""), {}).values())
        if key[0] == "Deployment":
            return deployments.plan(obj, owned, self._now())
        return replicasets.plan(obj, owned)

    def _forget(self, key: Key) -> set[Key]:
        old = self._objects.pop(key, None)
        if old is None:
            return set()
        if owner := _controller(old):
            siblings = self._owned.get(owner["uid"], {})
            siblings.pop(key, None)
            if not siblings:
                self._owned.pop(owner["uid"], None)
        return _concerned(key, old)


def _controller(obj: Json) -> Json | None:
    """The Deployment or ReplicaSet that made the object."""
    for reference in obj["metadata"].get("ownerReferences") or ():
        if reference.get("controller") and str(reference.get("apiVersion", "")).startswith("apps/"):
            found: Json = reference
            return found
    return None


def _concerned(key: Key, obj: Json) -> set[Key]:
    found = {key} if key[0] != "Pod" else set()
    if owner := _controller(obj):
        found.add((owner["kind"], key[1], owner["name"]))
    return found


def _version(obj: Json) -> int:
    text = str(obj["metadata"].get("resourceVersion", ""))
    return int(text) if text.isascii() and text.isdigit() else 0
