"""What injection has to know of a cluster: its Services' addresses, its namespaces and its kubelets."""

import logging
import re
from collections.abc import Mapping
from typing import TypeVar

import msgspec

from tidegate.inject import ranges
from tidegate.inject.context import Place
from tidegate.inject.settings import Json, Settings, at
from tidegate.store.informer import Change, follow
from tidegate.store.model import Store, WatchType

log = logging.getLogger(__name__)

T = TypeVar("T")

KINDS = ("Namespace", "Node", "Service")
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
        self.synced = False

    async def follow(self, store: Store) -> None:
        """Keep up with the cluster until cancelled."""
        async for batch in follow(store, KINDS):
            for change in batch.changes:
                self.take(change)
            if batch.synced and not self.synced:
                log.info("the cluster was read: %d Services, %d nodes", len(self._services), len(self._kubelets))
                self.synced = True

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

    @property
    def services(self) -> Mapping[str, str]:
        """Addresses of Services by ``<name>.<namespace>``."""
        return self._services

    def placed(self, place: Place, namespace: str) -> Place:
        """The place with what is known of its namespace."""
        return msgspec.structs.replace(place, namespace_annotations=self._namespaces.get(namespace, {}))

    def suited(self, settings: Settings, pod: Json) -> Settings:
        """The settings for a pod: its sidecar is a native one where the kubelet of its node runs these, or all do."""
        if not self._detects or not self._kubelets:
            return settings
        node = str(at(pod, "spec.nodeName", ""))
        versions = [self._kubelets[node]] if node in self._kubelets else self._kubelets.values()
        return msgspec.structs.replace(settings, native=all(map(_runs_native, versions)))


def _put(found: dict[str, T], name: str, value: T | None) -> None:
    if value is None:
        found.pop(name, None)
    else:
        found[name] = value


def _runs_native(version: str) -> bool:
    match = re.match(r"v?(\d+)\.(\d+)", version)
    return match is not None and (int(match[1]), int(match[2])) >= _NATIVE_SINCE
