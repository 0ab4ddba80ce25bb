"""A world as a change would leave it: manifests applied to it, objects deleted from it. Nothing is written anywhere."""

from collections.abc import Container, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec

from tidegate.api.kinds import KINDS, Kind
from tidegate.api.objects import Ref
from tidegate.app.diagnosis.explain import World
from tidegate.app.offline.findings import Severity
from tidegate.app.offline.manifests import Document, Manifests, load
from tidegate.app.offline.world import MESH, Admission, admit, build
from tidegate.kit.errors import TidegateError


def changed(world: World, paths: Iterable[str], deleted: Iterable[str]) -> World:
    """The world after ``kubectl apply`` of some manifests and ``kubectl delete`` of some objects.

    An object that is there already keeps its age and its status; a new one is the youngest, which decides who loses.
    deleted: ``KIND/NAME`` or ``KIND/NAMESPACE/NAME``, the kind in any form that kubectl takes.
    Raises TidegateError for manifests that a server would refuse, and for what is to be deleted and is not there.
    """
    settings = world.settings
    there = {_ref(each.raw, settings.namespace): each for each in world.manifests.documents}
    gone = {_named(text, there, settings.namespace) for text in deleted}
    applied = _admitted(load(paths), settings.namespace)
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    came = [each.holding(_aged(applied.objects[ref], there.get(ref), now)) for ref, each in applied.documents.items()]
    kept = [each for ref, each in there.items() if ref not in gone and ref not in applied.documents]
    if MESH in applied.documents:
        settings = msgspec.structs.replace(settings, mesh_config=None)
    given = Manifests((*kept, *came), world.manifests.broken)
    return World(build(given, settings), given, settings)


def _admitted(applied: Manifests, namespace: str) -> Admission:
    found = admit(applied, namespace)
    errors = [each for each in found.findings if each.severity is Severity.ERROR]
    if errors:
        raise TidegateError("the change would be refused:\n" + "\n".join(f"  {each}" for each in errors))
    return found


def _ref(raw: Any, namespace: str) -> Ref:
    """Of something that may be no object at all, which is told by who reads it."""
    meta = raw.get("metadata") if isinstance(raw, dict) else None
    if not isinstance(meta, dict):
        return Ref("", "", str(id(raw)))
    kind = str(raw.get("kind"))
    namespaced = kind not in KINDS or KINDS[kind].namespaced
    return Ref(kind, str(meta.get("namespace") or namespace) if namespaced else "", str(meta.get("name")))


def _named(text: str, there: Container[Ref], namespace: str) -> Ref:
    said, *rest = text.split("/")
    kind = next((each for each in KINDS.values() if said.lower() in _names(each)), None)
    if kind is None or len(rest) not in (1, 2) or not all(rest):
        raise TidegateError(f"{text}: must be KIND/NAME or KIND/NAMESPACE/NAME of an object to be deleted")
    found = Ref(kind.kind, (rest[0] if len(rest) == 2 else namespace) if kind.namespaced else "", rest[-1])
    if found not in there:
        raise TidegateError(f"{text}: {found} is not there to be deleted")
    return found


def _names(kind: Kind) -> Iterator[str]:
    yield from (kind.singular, kind.plural, *kind.short_names)


def _aged(raw: dict[str, Any], before: Document | None, now: str) -> dict[str, Any]:
    """With what a server adds: the age and the status of the object that is replaced, or the age of a new one."""
    old = before.raw if before is not None else {"metadata": {"creationTimestamp": now}}
    born = old["metadata"].get("creationTimestamp")
    aged = {**raw, "metadata": {**raw["metadata"], **({"creationTimestamp": born} if born else {})}}
    return {"status": old["status"], **aged} if old.get("status") else aged
