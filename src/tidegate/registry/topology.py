"""Where a workload is: its locality, and the labels that tell it to subsets and failover priorities."""

from collections.abc import Mapping

from tidegate.registry.model import Labels

REGION, ZONE = "topology.kubernetes.io/region", "topology.kubernetes.io/zone"
SUBZONE, NETWORK, CLUSTER = "topology.istio.io/subzone", "topology.istio.io/network", "topology.istio.io/cluster"
LOCALITY, OLD_LOCALITY = "topology.istio.io/locality", "istio-locality"
HOSTNAME = "kubernetes.io/hostname"
_OLD_REGION, _OLD_ZONE = "failure-domain.beta.kubernetes.io/region", "failure-domain.beta.kubernetes.io/zone"


def from_labels(labels: Mapping[str, str]) -> str:
    """The locality that a workload's label sets, with ``.`` for ``/`` as label values need; "" when none does."""
    value = labels.get(LOCALITY) or labels.get(OLD_LOCALITY) or ""
    return value if "/" in value else value.replace(".", "/")


def of_node(labels: Mapping[str, str]) -> str:
    """region/zone/subzone of a Node, without empty parts at the end."""
    region = labels.get(REGION) or labels.get(_OLD_REGION, "")
    zone = labels.get(ZONE) or labels.get(_OLD_ZONE, "")
    return "/".join((region, zone, labels.get(SUBZONE, ""))).rstrip("/")


def with_topology(labels: Mapping[str, str], *, cluster: str, locality: str, network: str, node: str = "") -> Labels:
    """An endpoint's labels: the workload's own and those that say where it is; where it is wins."""
    region, zone, subzone = (*locality.split("/", 2), "", "")[:3]
    places = {REGION: region, ZONE: zone, SUBZONE: subzone, CLUSTER: cluster, NETWORK: network, HOSTNAME: node}
    return tuple(sorted({**labels, **{k: v for k, v in places.items() if v}}.items()))
