"""What a workload's agent is told of the application's statistics, as injection tells it from the annotations."""

import json

from tidegate.api import meshconfig
from tidegate.inject import scrapes
from tidegate.kit import injected
from tidegate.kit.errors import TidegateError
from tidegate.lab.spec import Workload
from tidegate.store.client import KubeStore
from tidegate.store.model import StoreError

_AGENT_PORT = "15020"


async def merges(store: KubeStore) -> bool:
    """Whether the mesh joins applications' statistics to their proxies': ``enablePrometheusMerge``, true unless it is
    said otherwise in a mesh configuration that can be read."""
    try:
        found = await store.get("ConfigMap", meshconfig.NAMESPACE, meshconfig.NAME)
        mesh = meshconfig.parse(str((found.get("data") or {}).get(meshconfig.KEY, "")))
    except (StoreError, TidegateError):
        return True
    return mesh.enable_prometheus_merge is not False


def environment(workload: Workload, *, merged: bool) -> dict[str, str]:
    """The agent's variable; nothing for an application that tells no statistics, and for a gateway."""
    told = scrapes.told(workload.annotations, merges=merged, port=_AGENT_PORT)
    return {injected.SCRAPES: json.dumps(told)} if told and not workload.is_gateway else {}
