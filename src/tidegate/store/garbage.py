"""Owners and what they own: an object goes when the last of its owners has gone (Kubernetes, "Garbage Collection").

Dependents are deleted in the transaction that deletes their owner, whatever propagation is asked for but Orphan.
"""

from typing import Any

from tidegate.api.kinds import KINDS
from tidegate.store.model import Json
from tidegate.store.sqlite import Key, Transaction


def references(obj: Json) -> list[Json]:
    return list(obj["metadata"].get("ownerReferences") or ())


def is_absent(tx: Transaction, reference: Json, namespace: str) -> bool:
    """Whether the owner is known not to exist. Of kinds that are not served nothing is known."""
    kind = KINDS.get(str(reference.get("kind")))
    group = str(reference.get("apiVersion", "")).rpartition("/")[0]
    if kind is None or kind.group != group or (kind.namespaced and not namespace):
        return False
    owner = tx.get(Key(kind.kind, namespace if kind.namespaced else "", str(reference.get("name"))))
    return owner is None or owner["metadata"]["uid"] != reference.get("uid")


def is_orphaned(tx: Transaction, obj: Json) -> bool:
    """Whether the object has owners, and none of them exists."""
    found = references(obj)
    namespace = str(obj["metadata"].get("namespace", ""))
    return bool(found) and all(is_absent(tx, reference, namespace) for reference in found)


def disowned(tx: Transaction, obj: Json, uid: str) -> Json:
    """The object without its references to ``uid`` and to owners that do not exist."""
    meta: dict[str, Any] = {k: v for k, v in obj["metadata"].items() if k != "ownerReferences"}
    namespace = str(meta.get("namespace", ""))
    kept = [r for r in references(obj) if r.get("uid") != uid and not is_absent(tx, r, namespace)]
    if kept:
        meta["ownerReferences"] = kept
    return {**obj, "metadata": meta}
