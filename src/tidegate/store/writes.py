"""The verbs that change objects, each as work for one storage transaction.

Patching, admission and the mutating hooks run inside the transaction, so they see the object that they change.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

import msgspec

from tidegate.api.admission import Admitted, FieldValidation
from tidegate.api.kinds import KINDS, Kind
from tidegate.kit.errors import InvalidObjectError
from tidegate.store import events, garbage, ownership, patches, scale, status, strategy
from tidegate.store.model import Json, StoreError
from tidegate.store.sqlite import Key, Transaction

Hook = Callable[[str, Json, Json | None], Json]
"""Mutating admission: (verb "create", "update" or "delete", object, object before) -> the object to store. May raise
StoreError or InvalidObjectError to refuse, but on "delete", which is told once the deletion is on disk. A dry run is
shown to the hooks for "create" only. All calls are made on one thread."""

Advice = Callable[[Transaction, Json], Sequence[str]]
"""Further warnings for a write that was accepted, from what else is stored. Called after the hooks, on their thread."""

SELF = "tidegate-apiserver"
"""Owner of what the server writes by itself."""

_KUBECTL, _LAST_APPLIED = "kubectl", "kubectl.kubernetes.io/last-applied-configuration"
"""An apply of this manager also renews the annotation that its applies on the client's side compare with."""

PROTECTED = frozenset({"default", "kube-system"})
"""Namespaces that cannot be deleted."""


class Admission(Protocol):
    """Checks an object at the door; :func:`tidegate.api.decode.admit` in production."""

    def __call__(self, raw: Json, /, *, field_validation: FieldValidation) -> Admitted: ...


class Options(msgspec.Struct, frozen=True):
    """Query parameters of a write."""

    dry_run: bool = False
    field_validation: FieldValidation = "Warn"
    field_manager: str = ""
    """The parameter; an apply has to give it."""
    client: str = "unknown"
    """Who owns what is written where there is no parameter: the first word of the user agent."""
    force: bool = False
    applied: bool = False
    """The object's managedFields are already those after the write."""


class Preconditions(msgspec.Struct, frozen=True, rename="camel"):
    uid: str | None = None
    resource_version: str | None = None


class Deletion(msgspec.Struct, frozen=True):
    """metav1.DeleteOptions, as far as they say anything here. Nothing waits for a grace period."""

    preconditions: Preconditions = Preconditions()
    dry_run: bool = False
    orphan: bool = False
    """Leave what the object owns."""


class Target(msgspec.Struct, frozen=True):
    """What a write is about, as its path says."""

    kind: Kind
    version: str
    namespace: str
    name: str = ""
    subresource: str = ""
    group: str | None = None
    """The group of the path where the kind is served in another one than its own: Events."""

    @property
    def key(self) -> Key:
        return Key(self.kind.kind, self.namespace, self.name)

    @property
    def api_version(self) -> str:
        group = self.kind.group if self.group is None else self.group
        return f"{group}/{self.version}" if group else self.version


class Written(msgspec.Struct, frozen=True):
    object: Json
    warnings: tuple[str, ...] = ()
    created: bool = False


class Patch(msgspec.Struct, frozen=True):
    """A decoded patch; ``content_type`` is one of those in :mod:`tidegate.store.patches`."""

    content_type: str
    content: object


class Writes:
    """The verbs. Every method is to be called on the storage's writer thread, with its transaction."""

    def __init__(
        self,
        admission: Admission,
        hooks: Sequence[Hook] = (),
        clock: strategy.Clock = strategy.utc_now,
        advice: Advice | None = None,
        *,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        self._admission, self._hooks, self._clock, self._advice = admission, tuple(hooks), clock, advice
        self._ticks = ticks

        self.orphaned: set[Key] = set()
        """Objects that were created with owners that had gone: for :meth:`collect`."""
        self._next_sweep = ticks()

    def create(self, tx: Transaction, target: Target, raw: Json, options: Options) -> Written:
        return self._create(tx, target, _placed(target, raw), options)

    def _create(self, tx: Transaction, target: Target, obj: Json, options: Options) -> Written:
        if obj["metadata"].get("resourceVersion"):
            raise status.error(400, "resourceVersion must not be set on an object to be created")
        self._require_namespace(tx, target)
        made = strategy.prepare_create(target.kind, target.namespace, obj, self._clock())
        name = made["metadata"]["name"]
        key = Key(target.kind.kind, target.namespace, name)
        if tx.get(key) is not None:
            raise status.already_exists(target.kind, name)
        made, warnings = self._admit(target.kind, made, options)
        if not options.applied:
            made = ownership.updated(made, None, target.kind, self._writer(target, options))
        made = self._mutate("create", made, None)
        warnings += self._advise(tx, made)
        if options.dry_run:
            return Written(made, warnings, created=True)
        stored = tx.put(key, made)
        if garbage.references(stored) and garbage.is_orphaned(tx, stored):
            tx.after_commit.append(partial(self.orphaned.add, key))
        if target.kind.kind == "Namespace":
            self.create(tx, _default_account(name), _account_object(), Options(client=SELF))
        return Written(stored, warnings, created=True)

    def update(self, tx: Transaction, target: Target, raw: Json, options: Options) -> Written:
        old = self._existing(tx, target)
        new = _placed(target, raw)
        if target.kind.strict and not new["metadata"].get("resourceVersion"):
            # Kubernetes asks this of custom resources, and of few others.
            causes = [("FieldValueInvalid", "must be specified for an update", "metadata.resourceVersion")]
            raise status.invalid(target.kind, target.name, causes)
        return self._replace(tx, target, new, old, options)

    def patch(self, tx: Transaction, target: Target, patch: Patch, options: Options) -> Written:
        if patch.content_type == patches.APPLY:
            return self._apply(tx, target, patch.content, options)
        old = self._existing(tx, target)
        shown = events.in_group({**old, "apiVersion": target.api_version}, target.group)
        new = _patched(target, shown, patch)
        return self._replace(tx, target, _placed(target, new), old, options)

    def scale(self, tx: Transaction, target: Target, wanted: object, options: Options) -> Written:
        """Write a Scale, whole or as a patch, of an object that has replicas; gives the Scale as it is then."""
        old = self._existing(tx, target)
        if isinstance(wanted, Patch):
            wanted = _patched(target, scale.shown(old), wanted)
        written = self._replace(tx, target, scale.scaled(target.kind, old, wanted), old, options)
        return msgspec.structs.replace(written, object=scale.shown(written.object))

    def delete(self, tx: Transaction, target: Target, wanted: Deletion) -> Json:
        """The object as it was last, with deletionTimestamp when finalizers or contents still hold it."""
        old = self._existing(tx, target)
        _check_preconditions(target, old, wanted.preconditions)
        if target.kind.kind == "Namespace":
            if target.name in PROTECTED:
                raise status.error(403, f'namespace "{target.name}" is one that cannot be deleted', name=target.name)
            return self._delete_namespace(tx, target.key, old)
        if wanted.orphan:
            self._disown(tx, old)
        return self._delete(tx, target.key, old)

    @property
    def has_garbage(self) -> bool:
        """Whether it is time to :meth:`collect`."""
        return bool(self.orphaned) or self._ticks() >= self._next_sweep

    def collect(self, tx: Transaction) -> None:
        """Delete the objects of :attr:`orphaned` that still are, and Events that have outlived their time."""
        self._next_sweep = self._ticks() + events.SWEEP_SECONDS
        outlived = events.outlived(tx.all("Event"), self._clock())
        old = [Key("Event", meta["namespace"], meta["name"]) for meta in outlived]
        for key in [*old, *self.orphaned]:
            obj = tx.get(key)
            if obj is not None and (key.kind == "Event" or garbage.is_orphaned(tx, obj)):
                self._delete(tx, key, obj)
        tx.after_commit.append(self.orphaned.clear)

    def _existing(self, tx: Transaction, target: Target) -> Json:
        old = tx.get(target.key)
        if old is None:
            raise status.not_found(target.kind, target.name)
        return old

    def _replace(self, tx: Transaction, target: Target, new: Json, old: Json, options: Options) -> Written:
        strategy.check_update(target.kind, new, old, target.name)
        made = strategy.prepare_update(target.kind, new, old, target.subresource)
        made, warnings = self._admit(target.kind, made, options)
        if options.applied:
            made = ownership.copied(made, new)
        else:
            made = ownership.updated(made, old, target.kind, self._writer(target, options))
        if not target.subresource and not options.dry_run:
            made = self._mutate("update", made, old)
        if not target.subresource:
            warnings += self._advise(tx, made)
        made["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"]
        if made == old or options.dry_run:
            return Written(made, warnings)
        if "deletionTimestamp" in made["metadata"] and not _held(tx, target.key, made):
            removed = self._remove(tx, target.key, made)
            return Written(removed, warnings)
        return Written(tx.put(target.key, made), warnings)

    def _apply(self, tx: Transaction, target: Target, content: object, options: Options) -> Written:
        if not isinstance(content, dict) or not isinstance(content.get("metadata"), dict):
            raise status.error(400, "an apply patch is an object with apiVersion, kind and metadata")
        if not options.field_manager:
            raise status.error(400, "an apply patch needs the parameter fieldManager")
        if content["metadata"].get("managedFields"):
            raise status.error(400, "metadata.managedFields must not be set in an apply patch")
        wanted, by = _placed(target, content), self._writer(target, options)
        options = msgspec.structs.replace(options, applied=True)
        old = tx.get(target.key)
        if old is None and target.subresource:
            raise status.not_found(target.kind, target.name)
        shown = None if old is None else {**old, "apiVersion": target.kind.api_version}
        new = ownership.applied(shown, wanted, target.kind, by)
        if old is None:
            new["metadata"].setdefault("name", target.name)
            return self._create(tx, target, new, options)
        if by.manager == _KUBECTL:
            new = _with_last_applied(new, content)
        if version := wanted["metadata"].get("resourceVersion"):
            new["metadata"]["resourceVersion"] = version
        return self._replace(tx, target, _placed(target, new), old, options)

    def _writer(self, target: Target, options: Options) -> ownership.Writer:
        manager = options.field_manager or options.client
        at = strategy.timestamp(self._clock())
        version = target.api_version if target.group is None else target.kind.api_version
        return ownership.Writer(manager, version, at, target.subresource, options.force)

    def _admit(self, kind: Kind, obj: Json, options: Options) -> tuple[Json, tuple[str, ...]]:
        obj = {**obj, "apiVersion": kind.api_version, "kind": kind.kind}
        try:
            admitted = self._admission(obj, field_validation=options.field_validation)
        except InvalidObjectError as failure:
            raise refused(kind, failure) from failure
        return admitted.object, admitted.warnings

    def _mutate(self, verb: str, obj: Json, old: Json | None) -> Json:
        try:
            for hook in self._hooks:
                obj = hook(verb, obj, old)
        except InvalidObjectError as failure:
            raise status.from_invalid_object(KINDS[obj["kind"]], failure) from failure
        return obj

    def _advise(self, tx: Transaction, obj: Json) -> tuple[str, ...]:
        return tuple(self._advice(tx, obj)) if self._advice is not None else ()

    def _require_namespace(self, tx: Transaction, target: Target) -> None:
        if not target.kind.namespaced:
            return
        namespace = tx.get(Key("Namespace", "", target.namespace))
        if namespace is None:
            raise status.not_found(KINDS["Namespace"], target.namespace)
        if "deletionTimestamp" in namespace["metadata"]:
            text = f'nothing can be created in namespace "{target.namespace}" while it is being deleted'
            causes = [{"reason": "NamespaceTerminating", "message": text, "field": "metadata.namespace"}]
            raise status.error(403, text, causes=causes)

    def _delete(self, tx: Transaction, key: Key, old: Json) -> Json:
        if old["metadata"].get("finalizers"):
            return self._mark(tx, key, old)
        return self._remove(tx, key, old)

    def _mark(self, tx: Transaction, key: Key, old: Json) -> Json:
        """Being deleted: gone once its finalizers are."""
        if "deletionTimestamp" in old["metadata"]:
            return old
        meta = {
            **old["metadata"],
            "deletionTimestamp": strategy.timestamp(self._clock()),
            "deletionGracePeriodSeconds": 0,
        }
        if "generation" in meta:
            meta["generation"] += 1
        return tx.put(key, {**old, "metadata": meta})

    def _remove(self, tx: Transaction, key: Key, obj: Json) -> Json:
        removed = tx.remove(key, obj)
        tx.after_commit.append(partial(self._mutate, "delete", obj, obj))
        for dependent in tx.dependents(obj["metadata"]["uid"]):
            self._release(tx, dependent, obj["metadata"]["uid"])
        if key.namespace:
            self._finish_namespace(tx, key.namespace)
        return removed

    def _release(self, tx: Transaction, key: Key, uid: str) -> None:
        """An owner of the object has gone: so does the object, unless it has another."""
        obj = tx.get(key)
        if obj is None:
            return
        kept = garbage.disowned(tx, obj, uid)
        if garbage.references(kept):
            tx.put(key, kept)
        else:
            self._delete(tx, key, obj)

    def _disown(self, tx: Transaction, owner: Json) -> None:
        uid = owner["metadata"]["uid"]
        for key in tx.dependents(uid):
            if (obj := tx.get(key)) is not None:
                tx.put(key, garbage.disowned(tx, obj, uid))

    def _delete_namespace(self, tx: Transaction, key: Key, old: Json) -> Json:
        marked = self._mark(tx, key, old)
        if (marked.get("status") or {}).get("phase") != "Terminating":
            marked = tx.put(key, {**marked, "status": {**(marked.get("status") or {}), "phase": "Terminating"}})
        for inner in tx.keys(key.name):
            if (obj := tx.get(inner)) is not None:
                self._delete(tx, inner, obj)
        self._finish_namespace(tx, key.name)
        return marked

    def _finish_namespace(self, tx: Transaction, name: str) -> None:
        """Remove a namespace that is being deleted once nothing is in it."""
        key = Key("Namespace", "", name)
        obj = tx.get(key)
        if obj is not None and "deletionTimestamp" in obj["metadata"] and not _held(tx, key, obj):
            self._remove(tx, key, obj)


def refused(kind: Kind, failure: InvalidObjectError) -> StoreError:
    """400 when all that is wrong is how the object is written (unknown fields under Strict), else 422."""
    if failure.errors and all(found.reason == "BadRequest" for found in failure.errors):
        text = ", ".join(found.message for found in failure.errors)
        message = f'{status.qualified_kind(kind)} "{failure.name}" cannot be read: {text}'
        causes = [{"reason": e.reason, "message": e.message, "field": e.path} for e in failure.errors]
        return status.error(400, message, name=failure.name, kind=kind.kind, causes=causes)
    return status.from_invalid_object(kind, failure)


def _held(tx: Transaction, key: Key, obj: Json) -> bool:
    """Whether something keeps an object that is being deleted."""
    return bool(obj["metadata"].get("finalizers")) or (key.kind == "Namespace" and bool(tx.keys(key.name)))


def _placed(target: Target, raw: object) -> Json:
    """The object with kind, apiVersion and namespace as the path says; 400 when it says otherwise."""
    if not isinstance(raw, dict):
        raise status.error(400, f"expected a {target.kind.kind} object, got {type(raw).__name__}")
    meta = raw.get("metadata")
    if not isinstance(meta, dict):
        raise status.error(400, f"expected a {target.kind.kind} object with metadata")
    for field, wanted in (("kind", target.kind.kind), ("apiVersion", target.api_version)):
        got = raw.get(field) or wanted
        if got != wanted:
            raise status.error(400, f"{field} of the object is {got!r}, the path is for {wanted!r}")
    if target.kind.namespaced and (meta.get("namespace") or target.namespace) != target.namespace:
        text = f"the object's namespace {meta['namespace']!r} is not that of the request, {target.namespace!r}"
        raise status.error(400, text)
    stored = events.stored(raw, target.group)
    return {**stored, "apiVersion": target.kind.api_version, "kind": target.kind.kind, "metadata": dict(meta)}


def _patched(target: Target, shown: Json, patch: Patch) -> Json:
    match patch.content_type:
        case patches.MERGE:
            if not isinstance(patch.content, dict):
                raise status.error(400, "a merge patch of an object is an object")
            merged: Json = patches.merge(shown, patch.content)
            return merged
        case patches.JSON_PATCH:
            return patches.json_patch(shown, patch.content)
        case patches.STRATEGIC if not target.kind.strict:
            return patches.strategic(shown, patch.content, target.kind.kind)
    served = [patches.JSON_PATCH, patches.MERGE, patches.APPLY]
    if not target.kind.strict:
        served.append(patches.STRATEGIC)
    raise status.error(415, f"{patch.content_type or 'no'} patch of {target.kind.kind}: send {', '.join(served)}")


def _with_last_applied(obj: Json, content: Json) -> Json:
    annotations = obj["metadata"].get("annotations") or {}
    if _LAST_APPLIED not in annotations:
        return obj
    text = msgspec.json.encode(content, order="sorted").decode() + "\n"
    return {**obj, "metadata": {**obj["metadata"], "annotations": {**annotations, _LAST_APPLIED: text}}}


def _check_preconditions(target: Target, old: Json, wanted: Preconditions) -> None:
    meta = old["metadata"]
    if wanted.uid is not None and wanted.uid != meta["uid"]:
        raise status.conflict(target.kind, target.name, f"its uid is {meta['uid']}, not {wanted.uid}")
    if wanted.resource_version is not None and wanted.resource_version != meta["resourceVersion"]:
        why = f"its resourceVersion is {meta['resourceVersion']}, not {wanted.resource_version}"
        raise status.conflict(target.kind, target.name, why)


def _default_account(namespace: str) -> Target:
    return Target(KINDS["ServiceAccount"], "v1", namespace, "default")


def _account_object() -> Json:
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
