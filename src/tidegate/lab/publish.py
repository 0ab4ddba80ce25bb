"""Writing a lab into its store."""

from pathlib import Path
from typing import Any

import yaml

from tidegate.api.decode import api_version_kind
from tidegate.kit import boundedyaml
from tidegate.kit.errors import TidegateError
from tidegate.lab import objects
from tidegate.lab.plan import Member, Plan
from tidegate.lab.spec import Workload
from tidegate.store.client import KubeStore
from tidegate.store.model import Json, StoreError

AUDIENCE = "istio-ca"
TOKEN_SECONDS = 12 * 3600
"""As Istio's injection template asks for; the node renews it in time."""
_MERGE = "application/merge-patch+json"


def read_objects(plan: Plan) -> list[Json]:
    """The objects of the lab's files, in order. Raises TidegateError naming the file."""
    return [obj for name in plan.spec.objects for obj in _read_file(Path(plan.base) / name)]


def _read_file(path: Path) -> list[Json]:
    try:
        documents = boundedyaml.load_all(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise TidegateError(f"objects: cannot read {path}: {error}") from error
    found = [item for document in documents if document is not None for item in _items(document, path)]
    for item in found:
        api_version_kind(item)
    return found


def _items(document: Any, path: Path) -> list[Json]:
    if not isinstance(document, dict) or "kind" not in document:
        raise TidegateError(f"objects: {path} holds something that is no Kubernetes object; expected apiVersion, kind")
    return list(document.get("items") or []) if document["kind"] == "List" else [document]


async def publish(store: KubeStore, plan: Plan, own: list[Json]) -> None:
    """Create what Pods need, then the user's objects, then the Pods, not ready yet."""
    for obj in objects.surroundings(plan):
        await ensure(store, obj)
    await set_status(store, "Node", "", objects.node_name(plan), objects.node_status(plan))
    for obj in own:
        await ensure(store, obj)
    for workload, _ in plan.workloads:
        await ensure(store, objects.pod(plan, workload))


async def ensure(store: KubeStore, obj: Json) -> None:
    """Create, or bring what is there to what is asked."""
    meta = obj.get("metadata") or {}
    if meta.get("namespace") is None and api_version_kind(obj).namespaced:
        obj = obj | {"metadata": meta | {"namespace": "default"}}
    try:
        await store.create(obj)
    except StoreError as error:
        if error.reason != "AlreadyExists":
            raise
        name, namespace = obj["metadata"]["name"], obj["metadata"].get("namespace", "")
        await store.patch(obj["kind"], namespace, name, obj, content_type=_MERGE)


async def mark_pod(store: KubeStore, plan: Plan, workload: Workload, member: Member, *, ready: bool) -> None:
    """Write the Pod's status."""
    status = objects.pod_status(plan, member, workload, ready=ready)
    await set_status(store, "Pod", workload.namespace, workload.name, status)


async def set_status(store: KubeStore, kind: str, namespace: str, name: str, status: Json) -> None:
    """Write the members of an object's status that are given."""
    await store.patch(kind, namespace, name, {"status": status}, content_type=_MERGE, subresource="status")


async def write_token(store: KubeStore, workload: Workload, path: Path) -> None:
    """A fresh token in a sidecar's token file, which is whole at every moment."""
    fresh = path.with_name(f"{path.name}.new")
    fresh.touch(mode=0o600)
    fresh.write_text(await token_for(store, workload))
    fresh.replace(path)


async def token_for(store: KubeStore, workload: Workload) -> str:
    """A token of the workload's ServiceAccount, bound to its Pod."""
    pod = await store.get("Pod", workload.namespace, workload.name)
    return await store.create_token(
        workload.namespace, workload.service_account, audiences=(AUDIENCE,), seconds=TOKEN_SECONDS, pod=pod
    )
