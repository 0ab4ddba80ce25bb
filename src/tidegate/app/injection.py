"""What an injector is told, put together from files, options and a cluster's ConfigMaps."""

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from tidegate.api import meshconfig
from tidegate.api.mesh import MeshConfig
from tidegate.api.walk import walk
from tidegate.api.yamltext import YamlError, read_yaml
from tidegate.app.watched import Watched
from tidegate.inject.settings import (
    DEFAULT_REVISION,
    Json,
    Settings,
    at,
    from_injector,
    from_installation,
    merged,
    parse_set,
    settings,
    unknown_values,
)
from tidegate.kit.errors import TidegateError
from tidegate.store.client import KubeStore
from tidegate.store.model import StoreError

log = logging.getLogger(__name__)

MESH_MAP, INJECTOR_MAP = "istio", "istio-sidecar-injector"
"""ConfigMaps of an installation: its mesh configuration, and its injector's templates and values."""
_CONFIG, _VALUES = "config", "values"


class Cluster(msgspec.Struct, frozen=True, kw_only=True):
    """A cluster whose ConfigMaps are read."""

    kubeconfig: Path
    context: str | None = None
    mesh_map: str = ""
    """Name of the ConfigMap; "" for the usual one, which need not be there."""
    injector_map: str = ""


class Sources(msgspec.Struct, frozen=True, kw_only=True):
    """Where settings come from. Of each kind the operator's file wins over other files, and those over the cluster;
    assignments and the revision win over all."""

    values: tuple[Path, ...] = ()
    assignments: tuple[str, ...] = ()
    mesh: Path | None = None
    operator: Path | None = None
    injector: Path | None = None
    revision: str = ""
    native: bool = True
    platform: str = ""
    namespace: str = ""
    """Of the control plane; "" for istio-system."""
    cluster: Cluster | None = None


class Gathered(msgspec.Struct, frozen=True):
    """Settings, and what was found on the way to them."""

    settings: Settings
    services: tuple[Json, ...] = ()
    """The cluster's Services."""
    notes: tuple[str, ...] = ()


class _Found(msgspec.Struct, frozen=True):
    """What a cluster has; an empty text where the ConfigMap or its key is not there."""

    mesh: str = ""
    config: str = ""
    values: str = ""
    services: tuple[Json, ...] = ()
    notes: tuple[str, ...] = ()


def gather(sources: Sources) -> Gathered:
    """Put the settings together. Raises TidegateError that names the file, option or ConfigMap that cannot be used."""
    found = _in_cluster(sources) if sources.cluster is not None else _Found()
    values = _layer(
        {"global": {"istioNamespace": sources.namespace}} if sources.namespace else {}, _injector(sources, found)
    )
    values = _layer(values, *_values(sources, found))
    mesh = merged(_mesh(sources, found), dict(values.pop("meshConfig", None) or {}))
    operator = _document(sources.operator) if sources.operator else {}
    values = _layer(values, from_installation(operator, str(sources.operator)) if operator else {})
    given = parse_set(sources.assignments)
    values = _layer(values, given.get("values") or {k: v for k, v in given.items() if k != "components"})
    values = _layer(values, {"revision": sources.revision} if sources.revision not in ("", DEFAULT_REVISION) else {})
    mesh = merged(mesh, dict(values.pop("meshConfig", None) or {}))
    notes = (*found.notes, *_advice(mesh), *unknown_values(values))
    made = settings(values, mesh, native=sources.native, platform=sources.platform)
    return Gathered(made, found.services, notes)


class Following:
    """Settings that are put together again when a file of theirs changes; files that cannot be used are told, and
    leave the settings as they were."""

    def __init__(self, sources: Sources) -> None:
        """Raises TidegateError that names what cannot be used."""
        self._sources = sources
        given = (*sources.values, sources.mesh, sources.operator, sources.injector)
        try:
            self._files = Watched(file for file in given if file is not None)
        except OSError as error:
            raise TidegateError(f"{error.filename}: {error.strerror}") from None
        self.settings = self._gathered()
        self._problem = ""

    def refresh(self) -> bool:
        """Read the files if they changed; whether there are other settings now."""
        try:
            if not self._files.changed():
                return False
            self.settings = self._gathered()
        except (OSError, TidegateError) as error:
            if str(error) != self._problem:
                log.error("%s\nthe settings read before stay in use", error)
            self._problem = str(error)
            return False
        self._problem = ""
        log.info("the settings were read again")
        return True

    def _gathered(self) -> Settings:
        found = gather(self._sources)
        for note in found.notes:
            log.warning("%s", note.removeprefix("warning: "))
        return found.settings


def _advice(mesh: Json) -> Iterator[str]:
    """Fields of the mesh configuration that there are not. Raises InvalidObjectError for what cannot be read."""
    meshconfig.parse(msgspec.json.encode(mesh).decode())
    _, _, unknown = walk(MeshConfig, mesh, "")
    for each in unknown:
        yield f"warning: mesh configuration: {each}: unknown field"


def _layer(values: Json, *more: Json) -> Json:
    for each in more:
        values = merged(values, each)
    return values


def _values(sources: Sources, found: _Found) -> list[Json]:
    if sources.values:
        return [from_installation(_document(file), str(file)) for file in sources.values]
    where = f"{_named(sources, INJECTOR_MAP, '')}: data.{_VALUES}"
    return [from_installation(_read(found.values, where), where)] if found.values else []


def _injector(sources: Sources, found: _Found) -> Json:
    """Templates and policy; a file may also be the text of the template ``sidecar``, as istioctl takes it."""
    if sources.injector is not None:
        return from_injector(_text(sources.injector), str(sources.injector))
    return from_injector(found.config, f"{_named(sources, INJECTOR_MAP, '')}: data.{_CONFIG}") if found.config else {}


def _mesh(sources: Sources, found: _Found) -> Json:
    """The mesh configuration as it is written, checked. Raises InvalidObjectError."""
    if sources.mesh is not None:
        return dict(_read(mesh_text(sources.mesh), str(sources.mesh)) or {})
    return _checked_mesh(found.mesh, _named(sources, MESH_MAP, "")) if found.mesh else {}


def mesh_text(file: Path) -> str:
    """The text of the MeshConfig in a file, which may be that of its ConfigMap; checked. Raises TidegateError."""
    text = _text(file)
    document = _read(text, str(file))
    if isinstance(document, dict) and document.get("kind") == "ConfigMap":
        text = at(document, f"data.{meshconfig.KEY}")
        if not isinstance(text, str):
            raise TidegateError(f"{file}: data.{meshconfig.KEY}: expected the text of a MeshConfig")
    try:
        meshconfig.parse(text)
    except TidegateError as error:
        raise TidegateError(f"{file}: {error}") from error
    return text


def _checked_mesh(text: str, where: str) -> Json:
    meshconfig.parse(text)
    return dict(_read(text, where) or {})


def _document(file: Path) -> Any:
    return _read(_text(file), str(file))


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except (OSError, ValueError) as error:
        raise TidegateError(f"{file}: {error}") from error


def _read(text: str, where: str) -> Any:
    try:
        return read_yaml(text)
    except YamlError as error:
        raise TidegateError(f"{where}: {error}") from error


# The cluster


def _named(sources: Sources, usual: str, given: str) -> str:
    """A ConfigMap's name: as given, else the usual one of the revision."""
    suffix = f"-{sources.revision}" if sources.revision not in ("", DEFAULT_REVISION) else ""
    return given or usual + suffix


def _in_cluster(sources: Sources) -> _Found:
    assert sources.cluster is not None  # noqa: S101 -- asked by the caller
    try:
        return asyncio.run(_reading(sources, sources.cluster))
    except StoreError as error:
        raise TidegateError(f"{error}; kubeconfig {sources.cluster.kubeconfig}") from error


async def _reading(sources: Sources, cluster: Cluster) -> _Found:
    """Only what no file gives."""
    notes: list[str] = []
    wants_mesh = sources.mesh is None
    wants_injector = sources.injector is None or not (sources.values or sources.operator)
    async with KubeStore.from_kubeconfig(cluster.kubeconfig, cluster.context) as store:
        mesh = await _data(store, sources, MESH_MAP, cluster.mesh_map, notes) if wants_mesh else {}
        injector = await _data(store, sources, INJECTOR_MAP, cluster.injector_map, notes) if wants_injector else {}
        services = (await store.list("Service")).items
    for name, key, data in ((cluster.mesh_map, meshconfig.KEY, mesh), (cluster.injector_map, _CONFIG, injector)):
        if name and data and key not in data:
            raise TidegateError(f"ConfigMap {name}: data.{key}: expected it to be set; there are {', '.join(data)}")
    return _Found(
        mesh=mesh.get(meshconfig.KEY, ""),
        config="" if sources.injector else injector.get(_CONFIG, ""),
        values="" if sources.values else injector.get(_VALUES, ""),
        services=services,
        notes=tuple(notes),
    )


async def _data(store: KubeStore, sources: Sources, usual: str, given: str, notes: list[str]) -> dict[str, str]:
    namespace, name = sources.namespace or "istio-system", _named(sources, usual, given)
    try:
        found = await store.get("ConfigMap", namespace, name)
    except StoreError as error:
        if error.code != 404 or given:
            raise
        notes.append(f"the cluster has no ConfigMap {namespace}/{name}: defaults count in its place")
        return {}
    return {key: str(value) for key, value in (found.get("data") or {}).items()}
