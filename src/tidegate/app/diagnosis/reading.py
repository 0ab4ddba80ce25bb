"""The world of an API server, read once and read-only."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from tidegate.api import decode
from tidegate.api.objects import Object, Ref
from tidegate.kit.errors import InvalidObjectError, TidegateError
from tidegate.snapshot.state import Snapshot
from tidegate.snapshot.world import WATCHED, Event, Verb
from tidegate.store.model import StoreError

if TYPE_CHECKING:
    from tidegate.store.client import KubeStore


class Reading(msgspec.Struct, frozen=True):
    """The objects that the control plane follows, and the world that they make."""

    world: Snapshot
    objects: dict[Ref, Object[Any]]
    unreadable: tuple[str, ...] = ()
    """Objects that could not be typed, and why: the control plane leaves them out."""


def reading(objects: list[Object[Any]], domain: str = "cluster.local", unreadable: tuple[str, ...] = ()) -> Reading:
    """The world of these objects."""
    events = [Event(Verb.PUT, each.ref, each) for each in objects]
    return Reading(Snapshot.empty(domain).apply(events)[0], {each.ref: each for each in objects}, unreadable)


def read(kubeconfig: Path, domain: str = "cluster.local") -> Reading:
    """List every kind that counts. Raises TidegateError when the API server does not answer or refuses."""
    try:
        return asyncio.run(_read(kubeconfig, domain))
    except StoreError as error:
        raise TidegateError(f"{error}; kubeconfig {kubeconfig}") from error


def raw_objects(kubeconfig: Path) -> list[dict[str, Any]]:
    """Every object of the kinds that count, as the API server has it. Raises TidegateError as ``read``."""
    try:
        return asyncio.run(_raw(kubeconfig))
    except StoreError as error:
        raise TidegateError(f"{error}; kubeconfig {kubeconfig}") from error


async def _raw(kubeconfig: Path) -> list[dict[str, Any]]:
    from tidegate.store.client import KubeStore  # an HTTP client, which worlds of files do without

    async with KubeStore.from_kubeconfig(kubeconfig) as store:
        return [raw for kind in WATCHED for raw in await _items(store, kind)]


def service_names(kubeconfig: Path) -> list[str]:
    """``name.namespace`` of every Service, and the hosts of every ServiceEntry. Raises TidegateError as ``read``."""
    return asyncio.run(_service_names(kubeconfig))


async def _service_names(kubeconfig: Path) -> list[str]:
    from tidegate.store.client import KubeStore

    async with KubeStore.from_kubeconfig(kubeconfig) as store:
        services = [raw["metadata"] for raw in await _items(store, "Service")]
        hosts = [host for raw in await _items(store, "ServiceEntry") for host in raw.get("spec", {}).get("hosts", ())]
    return sorted({*hosts, *(f"{meta['name']}.{meta['namespace']}" for meta in services)})


async def _read(kubeconfig: Path, domain: str) -> Reading:
    found: list[Object[Any]] = []
    unreadable: list[str] = []
    for raw in await _raw(kubeconfig):
        try:
            found.append(decode.stored(raw))
        except InvalidObjectError as error:
            unreadable.append(str(error))
    return reading(found, domain, tuple(unreadable))


async def _items(store: "KubeStore", kind: str) -> tuple[dict[str, Any], ...]:
    """Nothing of a kind that the cluster does not serve."""
    try:
        return (await store.list(kind)).items
    except StoreError as error:
        if error.code == 404:
            return ()
        raise
