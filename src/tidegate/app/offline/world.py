"""A world from manifests alone: no cluster, no server. What admission, controllers and the control plane would do."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from tidegate.api import decode, meshconfig
from tidegate.api.kinds import KINDS
from tidegate.api.objects import Object, Ref
from tidegate.app.discovery.hub import Hub
from tidegate.app.offline import assumed, findings, manifests
from tidegate.app.offline.findings import Finding, Severity
from tidegate.app.offline.manifests import Document, Manifests, Place
from tidegate.app.shadowing import KINDS as SHADOWING
from tidegate.app.shadowing import LOOKED_AT
from tidegate.kit import features
from tidegate.kit.errors import FieldError, InvalidObjectError, TidegateError
from tidegate.registry import shadowing
from tidegate.snapshot.world import Event, Verb

MESH = Ref("ConfigMap", meshconfig.NAMESPACE, meshconfig.NAME)
TEMPLATE = "spec.template"
"""Where an object that makes Pods describes them."""
_DOMAIN = "cluster.local"
_NOTED = re.compile(r"^left out: ")
_MESH_KEYS = ("defaultConfig", "outboundTrafficPolicy", "rootNamespace", "accessLogFile")
_LIKE = "looks like a mesh configuration: give it with --mesh-config"


class Admission(msgspec.Struct):
    """Documents that passed admission, in the order in which they stand, and what was said about all of them."""

    documents: dict[Ref, Document]
    objects: dict[Ref, dict[str, Any]]
    """In the form in which they are stored."""
    findings: list[Finding]
    unjudged: Counter[str]
    """Kinds that are not served, and how many objects of each."""


class Offline(msgspec.Struct, frozen=True):
    """What the manifests make, for as many proxies as are asked about."""

    hub: Hub
    documents: dict[Ref, Document]
    findings: tuple[Finding, ...]
    unjudged: Counter[str]
    assumed: dict[Ref, str]
    """Pods without a status, those of Deployments among them, and the address at which each is taken to run."""

    def place(self, ref: Ref, path: str = "") -> Place | None:
        """Where an object, or a field of it, is written; None for what nobody wrote."""
        found = self.documents.get(ref)
        if found is None:
            return None
        kind = found.raw.get("kind") if isinstance(found.raw, dict) else ""
        return found.place(f"{TEMPLATE}.{path}" if path and ref.kind == "Pod" and kind != "Pod" else path)

    def mesh_place(self, setting: str) -> Place | None:
        """Where a setting of the mesh configuration is written: in its ConfigMap, or in a file of its own."""
        found = self.documents.get(MESH)
        inside = isinstance(found.raw, dict) and found.raw.get("kind") == "ConfigMap" if found is not None else False
        return self.place(MESH, f"data.{meshconfig.KEY}.{setting}" if inside else setting)


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What is not in the manifests."""

    mesh_config: Path | None = None
    """A file with a MeshConfig, or with the ConfigMap that holds one; it counts in place of the manifests' own."""
    namespace: str = "default"
    """Of objects that name none."""
    domain: str = _DOMAIN
    judged: bool = True
    """Pass objects through admission; False takes them as a store has them, which a server let pass long ago."""
    variables: Mapping[str, str] = {}
    """istiod's environment variables, as :mod:`tidegate.kit.features` knows them."""


def build(given: Manifests, settings: Settings = Settings()) -> Offline:  # noqa: B008 -- frozen
    """Bring manifests into a world. What admission refuses is left out and told in ``findings``.

    Raises TidegateError for settings that cannot be read.
    """
    switches, unknown = features.parse(settings.variables)
    hub = Hub(settings.domain, switches)
    admitted = admit(given, settings.namespace, judged=settings.judged)
    taken = _assume(admitted)
    mesh = _mesh(settings.mesh_config, admitted)
    found = [
        decode.stored(raw) for raw in (*admitted.objects.values(), *assumed.slices(admitted.objects.values()), *mesh)
    ]
    hub.apply(Event(Verb.PUT, each.ref, each) for each in found)
    told = [*admitted.findings, *_shadowed(found, admitted), *_problems(hub, admitted), *_unused(unknown)]
    return Offline(hub, admitted.documents, tuple(told), admitted.unjudged, taken)


def admit(given: Manifests, namespace: str = "default", *, judged: bool = True) -> Admission:
    """Pass each document through admission, as a server would at ``kubectl apply``; or only read it."""
    out = Admission({}, {}, [findings.note(Severity.ERROR, b.place, "", b.message) for b in given.broken], Counter())
    for document in given.documents:
        raw = _served(document, namespace, out)
        if raw is not None:
            _take(document, raw, out, judged)
    return out


def _served(document: Document, namespace: str, out: Admission) -> Any:
    """The object with the namespace that kubectl would fill in; None, and it is told, for what is of no known kind."""
    raw = document.raw
    named = raw.get("kind") if isinstance(raw, dict) else None
    if isinstance(named, str) and named not in KINDS:
        out.unjudged[named] += 1
        text = f"kind {named[:80]} is not judged: tidegate does not serve it"
        out.findings.append(findings.note(Severity.INFO, document.place("kind"), _name(raw, namespace), text))
        return None
    if not isinstance(named, str):
        hint = _LIKE if isinstance(raw, dict) and any(key in raw for key in _MESH_KEYS) else ""
        text = "must be a Kubernetes object with apiVersion, kind and metadata" + (f"; {hint}" if hint else "")
        out.findings.append(findings.note(Severity.ERROR, document.place(), "", text))
        return None
    return _placed(raw, namespace)


def _take(document: Document, raw: Any, out: Admission, judged: bool) -> None:
    name = _name(raw, "")
    try:
        admitted = decode.admit(raw, field_validation="Strict") if judged else decode.Admitted(raw)
        found = decode.stored(admitted.object)
    except InvalidObjectError as refused:
        out.findings += (findings.refusal(document, name, error) for error in refused.errors)
        return
    out.findings += (findings.advice(document, name, text) for text in admitted.warnings)
    earlier = out.documents.get(found.ref)
    if earlier is not None:
        text = f"is given twice, first at {earlier.place('metadata.name')}: the last one counts"
        out.findings.append(findings.note(Severity.WARNING, document.place("metadata.name"), name, text))
    out.documents[found.ref] = document
    out.objects[found.ref] = admitted.object


def _placed(raw: Any, namespace: str) -> Any:
    meta = raw.get("metadata") if isinstance(raw, dict) else None
    if not isinstance(meta, dict) or not KINDS[raw["kind"]].namespaced or meta.get("namespace"):
        return raw
    return {**raw, "metadata": {**meta, "namespace": namespace}}


def _name(raw: Any, namespace: str) -> str:
    meta = raw.get("metadata") if isinstance(raw, dict) else None
    meta = meta if isinstance(meta, dict) else {}
    parts = (raw.get("kind"), meta.get("namespace") or namespace, meta.get("name") or meta.get("generateName"))
    return "/".join(part[:253] for part in parts if isinstance(part, str) and part)


# What controllers and nodes would have made


def _assume(admitted: Admission) -> dict[Ref, str]:
    """Add the Pods of Deployments, let Pods without a status run, and give ServiceEntries the addresses that they ask
    for; returns the addresses of the Pods."""
    for owner, raw in list(assumed.pods(admitted.objects)):
        ref = Ref("Pod", owner.namespace, raw["metadata"]["name"])
        admitted.objects[ref], admitted.documents[ref] = raw, admitted.documents[owner]
    admitted.objects.update(list(assumed.meshed(admitted.objects)))
    found = dict(assumed.statuses(admitted.objects))
    for ref, address in found.items():
        admitted.objects[ref] = assumed.running(admitted.objects[ref], address)
    admitted.objects.update(list(assumed.allocated(admitted.objects)))
    return found


# The mesh configuration


def _mesh(file: Path | None, admitted: Admission) -> Iterator[dict[str, Any]]:
    """The ConfigMap of ``--mesh-config``, which takes the place of the manifests' own."""
    if file is None:
        return
    given = manifests.load([str(file)])
    if given.broken:
        raise TidegateError(f"{given.broken[0].place}: {given.broken[0].message}")
    if len(given.documents) > 1:
        raise TidegateError(f"{file}: has {len(given.documents)} documents; a mesh configuration is one")
    document = given.documents[0] if given.documents else Document({}, str(file))  # an empty one sets nothing
    text = _mesh_text(document.raw, file)
    try:
        _, warnings = meshconfig.admit_mesh(text)
    except InvalidObjectError as refused:
        told = "\n".join(f"  {_mesh_place(document, error)}: {error}" for error in refused.errors)
        raise TidegateError(f"--mesh-config is invalid:\n{told}") from refused
    admitted.findings += (findings.advice(document, "MeshConfig", warning) for warning in warnings)
    admitted.documents[MESH] = document
    yield mesh_config_map(text, _networks_text(document.raw))


def _networks_text(raw: Any) -> str:
    """MeshNetworks that stand beside the mesh configuration in its ConfigMap."""
    data = raw.get("data") if isinstance(raw, dict) and raw.get("kind") == "ConfigMap" else None
    found = data.get(meshconfig.NETWORKS) if isinstance(data, dict) else None
    return found if isinstance(found, str) else ""


def mesh_config_map(text: str, networks: str = "") -> dict[str, Any]:
    """The ConfigMap that holds a mesh configuration, and MeshNetworks where there are any."""
    meta = {"name": MESH.name, "namespace": MESH.namespace, "uid": "mesh-config"}
    data = {meshconfig.KEY: text, **({meshconfig.NETWORKS: networks} if networks else {})}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data}


def _mesh_text(raw: Any, file: Path) -> str:
    if not isinstance(raw, dict):
        raise TidegateError(f"{file}: must be a MeshConfig, or a ConfigMap with the key {meshconfig.KEY}")
    if raw.get("kind", "ConfigMap") != "ConfigMap":
        kind = str(raw["kind"])[:80]
        raise TidegateError(f"{file}: is a {kind}; must be a MeshConfig, or a ConfigMap with the key {meshconfig.KEY}")
    if "kind" not in raw:
        return file.read_text(encoding="utf-8-sig")
    text = (raw.get("data") or {}).get(meshconfig.KEY)
    if not isinstance(text, str):
        raise TidegateError(f"{file}: the ConfigMap has no key {meshconfig.KEY} under data")
    return text


def _mesh_place(document: Document, error: FieldError) -> Place:
    inner = f"data.{meshconfig.KEY}.{error.path}" if document.raw.get("kind") == "ConfigMap" else error.path
    return document.place(inner)


# What the world says of the objects together


def _problems(hub: Hub, admitted: Admission) -> Iterator[Finding]:
    """Conflicts between objects; what admission refused by itself is told already."""
    for ref, texts in sorted(hub.world.problems().items()):
        document = admitted.documents.get(ref)
        if document is None:
            continue
        for text in texts:
            if not _NOTED.match(text):
                yield findings.note(Severity.WARNING, document.place("metadata.name"), str(ref), text)


def _shadowed(objects: list[Object[Any]], admitted: Admission) -> Iterator[Finding]:
    """Ports that one object takes from another, told of each that comes after the other."""
    users: dict[int, list[Object[Any]]] = {}
    takers: dict[int, list[Object[Any]]] = {}
    for each in objects:
        if each.ref.kind not in SHADOWING:
            continue
        ports, taken = shadowing.ports(each), frozenset(shadowing.takers(each))
        met = {o.ref: o for port in ports for o in (users if port in taken else takers).get(port, [])[:LOOKED_AT]}
        document = admitted.documents.get(each.ref)
        if document is not None:
            yield from (findings.advice(document, str(each.ref), t) for t in shadowing.shadowed(each, met.values()))
        for port in ports:
            users.setdefault(port, []).append(each)
        for port in taken:
            takers.setdefault(port, []).append(each)


def _unused(names: Iterable[str]) -> Iterator[Finding]:
    for name in names:
        place = Place("environment", 0)
        yield findings.note(Severity.WARNING, place, "", f"{name} is not acted on")
