"""From who a proxy is (its token) and what it says (its node) to what the core knows of it."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from tidegate.api.fields import Duration, decode_hook
from tidegate.api.mesh import ForwardClientCertDetails, ProxyConfig
from tidegate.api.mesh import Topology as MeshTopology
from tidegate.api.objects import Ref
from tidegate.api.walk import walk
from tidegate.envoy.contribution import destinations
from tidegate.kit import peers
from tidegate.registry.model import Workload
from tidegate.scope import gateways
from tidegate.scope.connections import connection_settings
from tidegate.scope.labels import project
from tidegate.scope.proxy import Interception, Proxy, ProxyKind, Topology
from tidegate.scope.proxyheaders import header_settings
from tidegate.scope.spans import span_settings
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
    http_proxy_port: int = 0
    workload: Ref | None = None
    """Stands for its Pod, where another object has its address: a WorkloadEntry."""
    dns_domain: str = ""
    """Where it is not that of its namespace."""
    router: bool = False
    """A gateway. Its node says so: what it may then see follows from its namespace and its Pod's labels."""
    topology: MeshTopology | None = None
    """What stands before a gateway, where it is not the mesh's default."""
    unprivileged: bool = False
    """A gateway that may not bind ports below 1024."""
    asks_for_peers: bool = False
    """Its Envoy has a cluster of the workloads that it is one of: ENABLE_SELF_DISCOVERY."""
    certificates: bool = False
    """The workload has a certificate: mutual TLS can be spoken and demanded."""
    network_view: frozenset[str] | None = None
    """Networks whose endpoints it asks for; None: all."""
    version: str = ""
    """ISTIO_VERSION, which EnvoyFilters can ask for."""
    metadata: Mapping[str, str] = {}
    """All that the node says of itself in text, which EnvoyFilters can ask for too. Besides, its NETWORK counts."""
    proxy_config: ProxyConfig | None = None
    """Its whole ProxyConfig, where it is not the mesh's default."""


def read_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The node metadata that is acted on, typed; a word that cannot be read counts as absent."""
    mode, config = str(metadata.get("INTERCEPTION_MODE", "")), _given_config(metadata)
    return {
        "interception": Interception(mode) if mode in Interception.__members__ else Interception.REDIRECT,
        "http10": _true(metadata.get("HTTP10")),
        "dns_capture": _true(metadata.get("DNS_CAPTURE")),
        "idle_timeout": _duration(metadata.get("IDLE_TIMEOUT")),
        "http_proxy_port": _port(metadata.get("HTTP_PROXY_PORT")),
        "cluster_id": str(metadata.get("CLUSTER_ID") or "Kubernetes"),
        "network_view": _words(metadata.get("REQUESTED_NETWORK_VIEW")),
        "version": str(metadata.get("ISTIO_VERSION") or ""),
        "metadata": {key: value for key, value in metadata.items() if isinstance(value, str)},
        "proxy_config": _proxy_config(config),
        "topology": _topology(config),
        "unprivileged": _true(metadata.get("UNPRIVILEGED_POD")),
        "asks_for_peers": peers.asked_for(metadata),
    }


def _given_config(metadata: Mapping[str, Any]) -> dict[str, Any] | None:
    """PROXY_CONFIG, as JSON or in JSON's text."""
    config = metadata.get("PROXY_CONFIG")
    if isinstance(config, str):
        try:
            config = msgspec.json.decode(config)
        except msgspec.DecodeError:
            return None
    return config if isinstance(config, dict) else None


def _topology(config: dict[str, Any] | None) -> MeshTopology | None:
    given = config.get("gatewayTopology") if config is not None else None
    if not isinstance(given, dict):
        return None
    normal, errors, _ = walk(MeshTopology, given, "", proto=True, limits=False)
    return None if errors else msgspec.convert(normal, MeshTopology, dec_hook=decode_hook)


def _proxy_config(config: dict[str, Any] | None) -> ProxyConfig | None:
    """Without what in it cannot be read."""
    if config is None:
        return None
    normal, _, _ = walk(ProxyConfig, config, "", limits=False)
    return msgspec.convert(normal, ProxyConfig, dec_hook=decode_hook)


def _words(value: Any) -> frozenset[str] | None:
    """Names with commas between them, or a list of them."""
    names = value.split(",") if isinstance(value, str) else value if isinstance(value, list) else ()
    return frozenset(each.strip() for each in names if isinstance(each, str) and each.strip()) or None


def _true(value: Any) -> bool:
    return str(value).lower() in ("true", "1")


def _port(value: Any) -> int:
    word = str(value or "")
    return int(word) if word.isdecimal() and len(word) <= 5 and int(word) <= 65535 else 0


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
    named = node.workload or (Ref("Pod", node.namespace, node.pod) if node.pod else None)
    workload = world.workloads.get(named) if named else None
    if workload is not None and workload.service_account != node.service_account:
        workload = None
    return Proxy(
        name=node.name,
        addresses=workload.addresses if workload and workload.addresses else (node.address,),
        kind=kind_of(node, workload),
        labels=workload.labels if workload else (),
        service_account=node.service_account,
        workload=workload.ref if workload else None,
        topology=_effective_topology(world, node),
        unprivileged=node.unprivileged,
        asks_for_peers=node.asks_for_peers,
    )


def _effective_topology(world: World, node: Node) -> Topology:
    """What the proxy says of itself, else the mesh's default; nothing at a sidecar."""
    mesh = world.mesh.default_config
    given = node.topology or (mesh.gateway_topology if mesh is not None else None)
    if given is None or not node.router:
        return Topology()
    how = given.forward_client_cert_details
    return Topology(
        trusted_proxies=given.num_trusted_proxies,
        client_cert="" if how is ForwardClientCertDetails.UNDEFINED else how.value,
        proxy_protocol=given.proxy_protocol is not None,
    )


def make_kind(
    world: World, node: Node, workload: Workload | None, label_keys: frozenset[str], node_local: bool
) -> ProxyKind:
    """The kind of a proxy: only what outbound resources can depend on in this world."""
    addresses = workload.addresses if workload and workload.addresses else (node.address,)
    config = node.proxy_config or world.mesh.default_config
    return ProxyKind(
        namespace=node.namespace,
        dns_domain=node.dns_domain or f"{node.namespace}.svc.{world.domain}",
        labels=project(workload.labels, label_keys) if workload else (),
        locality=workload.locality if workload else "",
        network=node.metadata.get("NETWORK") or (workload.network if workload else ""),
        network_view=node.network_view,
        node_name=workload.node_name if workload and node_local else "",
        cluster_id=node.cluster_id,
        interception=node.interception,
        ipv4=any(":" not in a for a in addresses),
        ipv6=any(":" in a for a in addresses),
        dual_stack=world.features.dual_stack,
        http10=node.http10 or world.features.http10,
        sniff_http10=world.features.http10,
        idle_timeout=node.idle_timeout,
        http_proxy_port=node.http_proxy_port,
        dns_capture=node.dns_capture,
        ipv4_beside_ipv6=world.features.ipv4_beside_ipv6,
        sessions=world.features.persistent_sessions,
        connections=connection_settings(node.proxy_config, world.mesh.default_config, router=node.router),
        headers=header_settings(config),
        spans=span_settings(config, world.mesh, node.namespace, workload.labels if workload else ()),
        mtls=node.certificates,
        **(_of_gateway(world, node, workload) if node.router else {}),
    )


def _of_gateway(world: World, node: Node, workload: Workload | None) -> dict[str, Any]:
    """What of a gateway's kind follows from the Gateways that select it."""
    selected = gateways.selected(world, workload.labels, world.targets(workload)) if workload is not None else ()
    only = None
    if world.features.filter_gateway_clusters:
        rules = (r for each in selected for r in gateways.bound(world, node.namespace, gateways.qualified(each)))
        only = frozenset(host.lower() for rule in rules for host in destinations(rule))
    return {"router": True, "sni_dnat": gateways.passes_unopened(selected), "only_hosts": only}
