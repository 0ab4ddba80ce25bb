"""What Pods say of their interception in the wrong place, and gateways without Pods."""

from collections.abc import Iterator
from typing import Any

from tidegate.answer.pods import pod_facts
from tidegate.api.objects import Ref
from tidegate.app.offline.pitfalls.looking import Pitfall
from tidegate.app.offline.world import TEMPLATE, Offline
from tidegate.registry.workloads import TLS_MODE
from tidegate.scope.authentication import TLS_ISTIO

PROXY_USER = 1337
_OF_PODS = ("traffic.sidecar.istio.io/", "proxy.istio.io/config", "sidecar.istio.io/")
"""Annotations that count at Pods only begin so."""


def judge(offline: Offline) -> Iterator[Pitfall]:
    yield from _misplaced(offline)
    yield from _as_proxy(offline)
    yield from _selecting_nobody(offline)


def _misplaced(offline: Offline) -> Iterator[Pitfall]:
    for ref, document in offline.documents.items():
        if ref.kind == "Deployment" and isinstance(document.raw, dict):
            for name in _annotations(document.raw):
                if name.startswith(_OF_PODS):
                    text = f"does nothing here: Pods take it from {TEMPLATE}.metadata.annotations"
                    yield ref, f"metadata.annotations[{name}]", text


def _annotations(raw: dict[str, Any]) -> list[str]:
    meta = raw.get("metadata")
    found = meta.get("annotations") if isinstance(meta, dict) else None
    return [name for name in found if isinstance(name, str)] if isinstance(found, dict) else []


def _as_proxy(offline: Offline) -> Iterator[Pitfall]:
    """An application with the proxy's user: packet rules take its connections for the proxy's own."""
    world = offline.hub.world
    for ref, facts in pod_facts((ref, document.raw) for ref, document in offline.documents.items()).items():
        workload = world.workloads.get(ref)
        meshed = workload is not None and dict(workload.labels).get(TLS_MODE) == TLS_ISTIO
        for value, field in ((facts.user, facts.user_field), (facts.group, facts.group_field)):
            if meshed and value == PROXY_USER and workload is not None and not workload.gateway:
                text = f"{PROXY_USER} is the proxy's own: what the application sends is not intercepted"
                yield ref, field, text


def _selecting_nobody(offline: Offline) -> Iterator[Pitfall]:
    """A Gateway whose selector means none of the gateways' Pods that there are."""
    world = offline.hub.world
    pods: dict[Ref, dict[str, str]] = {w.ref: dict(w.labels) for w in world.workloads.values() if w.gateway}
    for group in world.policies("Gateway").values():
        for each in group:
            wanted = each.spec.selector
            if pods and wanted and not any(wanted.items() <= labels.items() for labels in pods.values()):
                listed = ", ".join(sorted(map(str, pods))[:3])
                yield each.ref, "spec.selector", f"means none of the gateways' Pods ({listed}): nothing listens for it"
