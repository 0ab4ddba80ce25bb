"""From who a proxy is (its token) and what it says (its node) to what the core knows of it."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from tidegate.api.fields import Duration
from tidegate.api.objects import Ref
from tidegate.registry.model import Workload
from tidegate.scope.labels import project
from tidegate.scope.proxy import Interception, Proxy, ProxyKind
from tidegate.snapshot.world import World


class Node(msgspec.Struct, frozen=True):
    """A connected proxy before the world is asked about it.

    namespace, service_account and pod come from its identity; the rest from the discovery node, which tells only how
    the proxy runs.
    """

    name: str
    """``pod.namespace``."""
    namespace: str
    pod: str
    service_account: str
    address: str
    """From the node id; used where the store does not know the Pod."""
    interception: Interception = Interception.REDIRECT
    http10: bool = False
    dns_capture: bool = False
    idle_timeout: Duration | None = None
    cluster_id: str = "Kubernetes"


def read_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The node metadata that is acted on, typed; a word that cannot be read counts as absent."""
    mode = str(metadata.get("INTERCEPTION_MODE", ""))
    return {
        "interception": Interception(mode) if mode in Interception.__members__ else Interception.REDIRECT,
        "http10": _true(metadata.get("HTTP10")),
        "dns_capture": _true(metadata.get("DNS_CAPTURE")),
        "idle_timeout": _duration(metadata.get("IDLE_TIMEOUT")),
        "cluster_id": str(metadata.get("CLUSTER_ID") or "Kubernetes"),
    }


def _true(value: Any) -> bool:
    return str(value).lower() in ("true", "1")


def _duration(value: Any) -> Duration | None:
    try:
        return Duration.parse(str(value)) if value else None
    except ValueError:
        return None


MakeKind = Callable[[Node, Workload | None], ProxyKind]


def make_proxy(world: World, node: Node, kind_of: MakeKind) -> Proxy:
    """What the core knows of a proxy in this world.

    A token that is bound to no Pod leaves the Pod's name to the proxy's own word: it counts only for a Pod of the
    token's ServiceAccount.
    """
    workload = world.workloads.get(Ref("Pod", node.namespace, node.pod)) if node.pod else None
    if workload is not None and workload.service_account != node.service_account:
        workload = None
    return Proxy(
        name=node.name,
        addresses=workload.addresses if workload and workload.addresses else (node.address,),
        kind=kind_of(node, workload),
        labels=workload.labels if workload else (),
        service_account=node.service_account,
        workload=workload.ref if workload else None,
    )


def make_kind(
    world: World, node: Node, workload: Workload | None, label_keys: frozenset[str], node_local: bool
) -> ProxyKind:
    """The kind of a proxy: only what outbound resources can depend on in this world."""
    addresses = workload.addresses if workload and workload.addresses else (node.address,)
    return ProxyKind(
        namespace=node.namespace,
        dns_domain=f"{node.namespace}.svc.{world.domain}",
        labels=project(workload.labels, label_keys) if workload else (),
        locality=workload.locality if workload else "",
        network=workload.network if workload else "",
        node_name=workload.node_name if workload and node_local else "",
        cluster_id=node.cluster_id,
        interception=node.interception,
        ipv4=any(":" not in a for a in addresses),
        ipv6=any(":" in a for a in addresses),
        http10=node.http10,
        idle_timeout=node.idle_timeout,
        dns_capture=node.dns_capture,
    )
