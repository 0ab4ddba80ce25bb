"""How a proxy's agent and the control plane speak of the workloads that a proxy is one of, for zone-aware routing."""

from collections.abc import Mapping
from typing import Any

CLUSTER = "local_cluster"
"""Istio's name for the cluster of an Envoy's own peers."""
ASKS = "ENABLE_SELF_DISCOVERY"
"""Node metadata of a proxy whose bootstrap has that cluster."""


def asked_for(metadata: Mapping[str, Any]) -> bool:
    """Whether the Envoy of a node with this metadata has a cluster of its peers."""
    return str(metadata.get(ASKS, "")).lower() in ("true", "1")
