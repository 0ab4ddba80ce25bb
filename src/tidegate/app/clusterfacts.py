"""What injection has to know of a cluster: its Services' addresses, namespaces, kubelets and ProxyConfigs."""

import asyncio
import logging
import re
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from tidegate.api import decode
from tidegate.api.objects import Object
from tidegate.inject import ranges
from tidegate.inject.context import Place
from tidegate.inject.settings import Json, Settings, at
from tidegate.kit.errors import InvalidObjectError
from tidegate.store.informer import Change, follow
from tidegate.store.model import Store, StoreError, WatchType

log = logging.getLogger(__name__)

K = TypeVar("K")
T = TypeVar("T")

KINDS = ("Namespace", "Node", "Service")
PROXY_CONFIG = "ProxyConfig"
"""A kind that a cluster need not have."""
_ABSENT = (403, 404)
"""How an API server says that a kind is not defined, or that it must not be read."""
_ASKED_AGAIN, _TRIED_AGAIN = 10.0, 1.0
"""Seconds until a kind that is absent is asked for again, and until a call that failed is tried again."""
_NATIVE_SINCE = (1, 33)
"""Kubernetes' version since which every kubelet runs native sidecars: those before could have it switched off.
https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/"""


class ClusterFacts:
    """A cluster as it is now; empty until it was read."""

    def __init__(self, *, detects: bool = True) -> None:
        """``detects``: the kubelets say which kind of sidecar a pod gets unless it chooses itself."""
        self._detects = detects
        self._services: dict[str, str] = {}
        self._namespaces: dict[str, dict[str, str]] = {}
        self._kubelets: dict[str, str] = {}
        self._configs: dict[tuple[str, str], Object[Any]] = {}
        self.synced = False
        self.configs_known = False
        """Whether the ProxyConfigs were read, or there are none to be read."""

    @property
    def ready(self) -> bool:
        """Whether all was read that pods go by."""
        return self.synced and self.configs_known

    async def follow(self, store: Store) -> None:
        """Keep up with the cluster until cancelled."""
        async for batch in follow(store, KINDS):
            for change in batch.changes:
                self.take(change)
            if batch.synced and not self.synced:
                log.info("the cluster was read: %d Services, %d nodes", len(self._services), len(self._kubelets))
                self.synced = True

    async def follow_configs(self, store: Store) -> None:
        """Keep up with the cluster's ProxyConfigs until cancelled; a cluster that has no such kind may get it later."""
        while True:
            pause = await self._absent(store)
            if not pause:
                break
            await asyncio.sleep(pause)
        async for batch in follow(store, [PROXY_CONFIG]):
            for change in batch.changes:
                self.take(change)
            self.configs_known = self.configs_known or batch.synced

    async def _absent(self, store: Store) -> float:
        """Seconds to wait for ProxyConfigs; 0 where they can be read."""
        try:
            await store.list(PROXY_CONFIG)
        except StoreError as error:
            if error.code not in _ABSENT:
                return _TRIED_AGAIN
            if not self.configs_known:
                log.info("ProxyConfigs cannot be read, pods are injected without: %s", error)
            self.configs_known = True
            return _ASKED_AGAIN
        return 0

    def take(self, change: Change) -> None:
        """One object that was added, changed or deleted."""
        meta, gone = change.object["metadata"], change.type is WatchType.DELETED
        match change.kind:
            case "Service":
                self._services.pop(f"{meta['name']}.{meta.get('namespace') or 'default'}", None)
                self._services |= {} if gone else ranges.service_addresses([{"kind": "Service", **change.object}])
            case "Namespace":
                _put(self._namespaces, meta["name"], None if gone else dict(meta.get("annotations") or {}))
            case "Node":
                version = str(at(change.object, "status.nodeInfo.kubeletVersion", ""))
                _put(self._kubelets, meta["name"], None if gone else version)
            case "ProxyConfig":
                name = (str(meta.get("namespace") or ""), str(meta["name"]))
                _put(self._configs, name, None if gone else _stored(change.object))

    @property
    def services(self) -> Mapping[str, str]:
        """Addresses of Services by ``<name>.<namespace>``."""
        return self._services

    def placed(self, place: Place, namespace: str) -> Place:
        """The place with what is known of its namespace, and the ProxyConfigs."""
        known = self._namespaces.get(namespace, {})
        return msgspec.structs.replace(place, namespace_annotations=known, proxy_configs=tuple(self._configs.values()))

    def suited(self, settings: Settings, pod: Json) -> Settings:
        """The settings for a pod: its sidecar is a native one where the kubelet of its node runs these, or all do."""
        if not self._detects or not self._kubelets:
            return settings
        node = str(at(pod, "spec.nodeName", ""))
        versions = [self._kubelets[node]] if node in self._kubelets else self._kubelets.values()
        return msgspec.structs.replace(settings, native=all(map(_runs_native, versions)))


def _stored(raw: Json) -> Object[Any] | None:
    """None, and it is told, for one that another API server let pass and that cannot be read."""
    try:
        return decode.stored({"apiVersion": "networking.istio.io/v1beta1", "kind": PROXY_CONFIG, **raw})
    except InvalidObjectError as error:
        log.warning("a ProxyConfig is left out: %s", error)
        return None


def _put(found: dict[K, T], name: K, value: T | None) -> None:
    if value is None:
        found.pop(name, None)
    else:
        found[name] = value


def _runs_native(version: str) -> bool:
    match = re.match(r"v?(\d+)\.(\d+)", version)
    return match is not None and (int(match[1]), int(match[2])) >= _NATIVE_SINCE
