"""Names of Envoy objects, as Istio gives them. The only place that composes or takes apart such names."""

from typing import Literal, NamedTuple

BLACK_HOLE_CLUSTER = "BlackHoleCluster"
PASSTHROUGH_CLUSTER = "PassthroughCluster"
INBOUND_PASSTHROUGH_CLUSTER = "InboundPassthroughCluster"
VIRTUAL_OUTBOUND = "virtualOutbound"
VIRTUAL_INBOUND = "virtualInbound"
PASSTHROUGH_FILTER_CHAIN = "PassthroughFilterChain"
ALLOW_ANY = "allow_any"
BLOCK_ALL = "block_all"
ALLOW_ANY_DYNAMIC_DNS = "allow_any_dynamic_dns"
ALLOW_ANY_DYNAMIC_DNS_CLUSTER = "AllowAnyDynamicDNSCluster"
DEFAULT_ROUTE = "default"
HTTP_PROXY_ROUTE = "http_proxy"
"""Route configuration of a sidecar's local HTTP proxy."""
INBOUND_BIND_V4, INBOUND_BIND_V6 = "127.0.0.6", "::6"

Direction = Literal["outbound", "inbound"]


class ClusterName(NamedTuple):
    """Parts of ``outbound|9080|v1|reviews.default.svc.cluster.local``."""

    direction: Direction
    port: int
    subset: str
    host: str

    def __str__(self) -> str:
        return f"{self.direction}|{self.port}|{self.subset}|{self.host}"


def outbound_cluster(port: int, subset: str, host: str) -> str:
    return f"outbound|{port}|{subset}|{host}"


def inbound_cluster(port: int) -> str:
    return f"inbound|{port}||"


def key_server_cluster(port: int, scheme: str, host: str) -> str:
    """The cluster by which a proxy fetches the keys of token issuers from a host that is no service."""
    return f"jwks|{port}|{scheme}|{host}"


def sni_cluster(port: int, subset: str, host: str) -> str:
    """The name that mutual TLS sends as SNI, and the cluster's name at AUTO_PASSTHROUGH gateways."""
    return f"outbound_.{port}_.{subset}_.{host}"


def parse_cluster(name: str) -> ClusterName | None:
    """None for names of another form (BlackHoleCluster, static clusters)."""
    parts = name.split("_.") if name.startswith("outbound_.") else name.split("|")
    if len(parts) != 4 or not parts[1].isdigit():
        return None
    direction: Direction = "inbound" if parts[0] == "inbound" else "outbound"
    return ClusterName(direction, int(parts[1]), parts[2], parts[3])


def listener(bind: str, port: int) -> str:
    """``0.0.0.0_9080``; a unix socket's listener is named by its path with port 0."""
    return f"{bind}_{port}"


def virtual_host(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def inbound_route(port: int) -> str:
    return f"inbound|{port}||"


def inbound_virtual_host(port: int) -> str:
    return f"inbound|http|{port}"
