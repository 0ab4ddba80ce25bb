"""ReplicaSets from Deployments: one for each version of the Pod template, and rollouts from one to the next. Pure.

https://kubernetes.io/docs/concepts/workloads/controllers/deployment/
"""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from tidegate.controllers.plan import Action
from tidegate.controllers.replicasets import owner_reference
from tidegate.store.model import Json

HASH = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"
_NOT_COPIED = ("kubectl.kubernetes.io/last-applied-configuration", REVISION)
_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_HASH_LENGTH = 10


def plan(deployment: Json, replica_sets: Iterable[Json], now: str) -> list[Action]:
    """The next writes towards what the Deployment asks for, and its status.

    ``replica_sets`` are those that it owns; ``now`` is a metav1.Time for conditions that change. Each object is
    written once at most: a rollout goes on when the writes have had their effect.
    """
    if "deletionTimestamp" in deployment["metadata"]:
        return []
    rollout = _Rollout(deployment, replica_sets)
    actions = rollout.actions()
    if any(action.object["kind"] == "Deployment" for action in actions):
        return actions
    return actions + rollout.status(now)


def template_hash(template: Json) -> str:
    """What the ReplicaSet of a Pod template has in its name and its Pods in a label.

    Fields that are empty count as absent: kubectl writes some when it rolls back.
    """
    plain = msgspec.json.encode(_full(template), order="deterministic")
    number = int.from_bytes(hashlib.blake2b(plain, digest_size=16).digest())
    letters = []
    for _ in range(_HASH_LENGTH):
        number, rest = divmod(number, len(_ALPHABET))
        letters.append(_ALPHABET[rest])
    return "".join(letters)


def _full(value: Any) -> Any:
    """The value without what is empty."""
    if isinstance(value, dict):
        inner = {name: _full(item) for name, item in value.items()}
        return {name: item for name, item in inner.items() if item not in (None, "", {}, [])}
    return [_full(item) for item in value] if isinstance(value, list) else value


def share(value: Any, of: int, *, up: bool) -> int:
    """A number, or a share such as "25%" of ``of``, rounded up or down."""
    if isinstance(value, str):
        number = int(value.removesuffix("%") or 0) * of
        return -(-number // 100) if up else number // 100
    return int(value or 0)


class _Rollout:
    def __init__(self, deployment: Json, replica_sets: Iterable[Json]) -> None:
        self.deployment, spec = deployment, deployment["spec"]
        self.hash = template_hash(spec["template"])
        self.replicas = int(spec.get("replicas") or 0)
        self.all = sorted(replica_sets, key=_revision)
        self.new = next((each for each in self.all if _label(each) == self.hash), None)
        self.old = [each for each in self.all if each is not self.new]
        self.strategy = spec.get("strategy") or {}
        limits = self.strategy.get("rollingUpdate") or {}
        self.surge = share(limits.get("maxSurge", "25%"), self.replicas, up=True)
        self.unavailable = min(self.replicas, share(limits.get("maxUnavailable", "25%"), self.replicas, up=False))
        if self.surge == self.unavailable == 0:
            self.unavailable = 1

    @property
    def recreates(self) -> bool:
        return bool(self.strategy.get("type") == "Recreate")

    def actions(self) -> list[Action]:
        if self.deployment["spec"].get("paused"):
            return self._scaled(self.new, self.replicas) if self.new and not self._running_old() else []
        if self.recreates and self._running_old():
            return [action for each in self.old for action in self._scaled(each, 0)]
        if self.new is None:
            return [Action("create", self._made(), f"revision {self._next_revision()}")]
        if _revision(self.new) < self._next_revision() - 1:
            return [Action("update", _annotated(self.new, self._next_revision()), "it is the newest revision again")]
        return self._named_revision() + (self._scaled(self.new, self._wanted_new()) or self._less_of_old())

    def _running_old(self) -> bool:
        return any(_wanted(each) or _counted(each, "replicas") for each in self.old)

    def _next_revision(self) -> int:
        return max((_revision(each) for each in self.all), default=0) + 1

    def _named_revision(self) -> list[Action]:
        revision = str(_revision(self.new or {}))
        if (self.deployment["metadata"].get("annotations") or {}).get(REVISION) == revision:
            return []
        return [Action("update", _annotated(self.deployment, int(revision)), "its revision")]

    def _wanted_new(self) -> int:
        """As many as fit beside the old ones."""
        now = _wanted(self.new) if self.new else 0
        if self.recreates or now >= self.replicas:
            return self.replicas
        room = self.replicas + self.surge - sum(_wanted(each) for each in self.all)
        return min(now + max(room, 0), self.replicas)

    def _less_of_old(self) -> list[Action]:
        """Old Pods that are not available go first, then as many as may be unavailable; then old ReplicaSets."""
        assert self.new is not None  # noqa: S101 - the caller looked
        least = self.replicas - self.unavailable
        missing = _wanted(self.new) - _counted(self.new, "availableReplicas")
        spare = sum(_wanted(each) for each in self.all) - least - max(missing, 0)
        wanted = {_name(each): _wanted(each) for each in self.old}
        for each in self.old:
            ill = max(_wanted(each) - _counted(each, "availableReplicas"), 0)
            wanted[_name(each)] -= min(ill, max(spare, 0))
            spare -= _wanted(each) - wanted[_name(each)]
        healthy = sum(_counted(each, "availableReplicas") for each in self.all) - least
        for each in self.old:
            fewer = min(wanted[_name(each)], max(spare, 0), max(healthy, 0))
            wanted[_name(each)] -= fewer
            spare, healthy = spare - fewer, healthy - fewer
        return [a for each in self.old for a in self._scaled(each, wanted[_name(each)])] or self._forgotten()

    def _forgotten(self) -> list[Action]:
        """ReplicaSets beyond the history that is kept."""
        kept = self.deployment["spec"].get("revisionHistoryLimit")
        idle = [each for each in self.old if not _wanted(each) and not _counted(each, "replicas")]
        beyond = len(idle) - (10 if kept is None else int(kept))
        return [Action("delete", each, "an old revision") for each in idle[: max(beyond, 0)]]

    def _scaled(self, replica_set: Json, replicas: int) -> list[Action]:
        if _wanted(replica_set) == replicas:
            return []
        made = {**replica_set, "spec": {**replica_set["spec"], "replicas": replicas}}
        return [Action("update", made, f"scaled from {_wanted(replica_set)} to {replicas}")]

    def _made(self) -> Json:
        meta, spec = self.deployment["metadata"], self.deployment["spec"]
        template, own = spec["template"], spec.get("selector") or {}
        given = template.get("metadata") or {}
        labels = {**(given.get("labels") or {}), HASH: self.hash}
        annotations = {k: v for k, v in (meta.get("annotations") or {}).items() if k not in _NOT_COPIED}
        return {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": {
                "name": f"{meta['name']}-{self.hash}",
                "namespace": meta.get("namespace", ""),
                "labels": labels,
                "annotations": {**annotations, REVISION: str(self._next_revision())},
                "ownerReferences": [owner_reference(self.deployment)],
            },
            "spec": {
                "replicas": self._wanted_new(),
                "minReadySeconds": spec.get("minReadySeconds", 0),
                "selector": {**own, "matchLabels": {**(own.get("matchLabels") or {}), HASH: self.hash}},
                "template": {**template, "metadata": {**given, "labels": labels}},
            },
        }

    def status(self, now: str) -> list[Action]:
        old = self.deployment.get("status") or {}
        total, available = self._sum("replicas"), self._sum("availableReplicas")
        found: dict[str, Any] = {
            "observedGeneration": self.deployment["metadata"].get("generation", 0),
            "replicas": total,
            "updatedReplicas": _counted(self.new, "replicas") if self.new else 0,
            "readyReplicas": self._sum("readyReplicas"),
            "availableReplicas": available,
            "unavailableReplicas": max(max(total, self.replicas) - available, 0),
        }
        status = {name: value for name, value in found.items() if value}
        status["conditions"] = _conditions(old.get("conditions") or (), self._conditions(status), now)
        if status == old:
            return []
        reason = f"{total} Pods, {found['updatedReplicas']} up to date, {available} available"
        return [Action("status", {**self.deployment, "status": status}, reason)]

    def _sum(self, field: str) -> int:
        return sum(_counted(each, field) for each in self.all)

    def _conditions(self, status: Json) -> list[Json]:
        enough = status.get("availableReplicas", 0) >= self.replicas - self.unavailable
        done = all(
            status.get(field, 0) == self.replicas for field in ("replicas", "updatedReplicas", "availableReplicas")
        )
        least = "has" if enough else "does not have"
        name = _name(self.new) if self.new else ""
        paused = self.deployment["spec"].get("paused")
        reason = "DeploymentPaused" if paused else "NewReplicaSetAvailable" if done else "ReplicaSetUpdated"
        word = "is paused" if paused else "is complete" if done else f"goes on: ReplicaSet {name} is being filled"
        return [
            {
                "type": "Available",
                "status": "True" if enough else "False",
                "reason": "MinimumReplicasAvailable" if enough else "MinimumReplicasUnavailable",
                "message": f"The Deployment {least} as many available Pods as it must have.",
            },
            {
                "type": "Progressing",
                "status": "Unknown" if paused else "True",
                "reason": reason,
                "message": f"The rollout {word}.",
            },
        ]


def _conditions(old: Sequence[Json], new: list[Json], now: str) -> list[Json]:
    """The conditions with their times, which stay as they were where nothing else changed."""
    before = {each["type"]: each for each in old}
    return [_timed(before.get(each["type"], {}), each, now) for each in new]


def _timed(before: Json, condition: Json, now: str) -> Json:
    if all(before.get(name) == value for name, value in condition.items()):
        return before
    since = before.get("lastTransitionTime", now) if before.get("status") == condition["status"] else now
    return {**condition, "lastUpdateTime": now, "lastTransitionTime": since}


def _annotated(obj: Json, revision: int) -> Json:
    meta = obj["metadata"]
    return {**obj, "metadata": {**meta, "annotations": {**(meta.get("annotations") or {}), REVISION: str(revision)}}}


def _revision(replica_set: Json) -> int:
    text = str((replica_set["metadata"].get("annotations") or {}).get(REVISION, "")) if replica_set else ""
    return int(text) if text.isascii() and text.isdigit() else 0


def _label(replica_set: Json) -> str:
    return str((replica_set["metadata"].get("labels") or {}).get(HASH, ""))


def _name(obj: Json) -> str:
    return str(obj["metadata"]["name"])


def _wanted(replica_set: Json) -> int:
    return int(replica_set["spec"].get("replicas") or 0)


def _counted(replica_set: Json, field: str) -> int:
    return int((replica_set.get("status") or {}).get(field) or 0)
