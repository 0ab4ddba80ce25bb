"""How a proxy's agent and the control plane speak of bootstrap patches: EnvoyFilter's ``applyTo: BOOTSTRAP``.

What the patches of one proxy make together is one resource, a Bootstrap with nothing but their values; the agent
merges it over the bootstrap of its own.
"""

from collections.abc import Mapping
from typing import Any

MESSAGE = "envoy.config.bootstrap.v3.Bootstrap"
TYPE_URL = f"type.googleapis.com/{MESSAGE}"
NAME = "bootstrap"
"""Of the one resource."""
ASKS = "BOOTSTRAP_XDS_AGENT"
"""The agent's variable, and the node metadata by which the control plane knows of it."""


def is_true(value: Any) -> bool:
    """What Istio's agent takes for true."""
    return str(value).lower() in ("1", "t", "true")


def asked_for(metadata: Mapping[str, Any]) -> bool:
    """Whether the agent of a node with this metadata asks for bootstrap patches."""
    return is_true(metadata.get(ASKS, ""))
