"""The proxy as the core knows it, and the part of it that its outbound configuration depends on."""

import enum

import msgspec

from tidegate.api.fields import Duration
from tidegate.api.mesh import ConnectionSettings, CustomTag
from tidegate.api.objects import Ref
from tidegate.registry.model import Labels


class Interception(enum.StrEnum):
    REDIRECT = "REDIRECT"
    TPROXY = "TPROXY"
    NONE = "NONE"


class HeaderSettings(msgspec.Struct, frozen=True):
    """What a proxy adds to headers, and tells others of itself: ProxyConfig's ``proxyHeaders``."""

    server: str = ""
    """Value of the header ``server``; "" for the default."""
    server_passed: bool = False
    """The header ``server`` is left as the application gives it."""
    client_cert: str = ""
    """Envoy's mode for ``x-forwarded-client-cert`` at inbound listeners; "" for the default."""
    client_cert_parts: tuple[str, ...] | None = None
    """What of the client's certificate that header tells; None for the default."""
    request_id: bool = True
    attempt_count: bool = True
    debug_headers: bool = True
    """``x-envoy-*`` in responses."""
    forwarded_port: bool = False
    forwarded_host: bool = False
    """Servers are told the host that a route rewrites."""
    keeps_case: bool = False
    """Headers of HTTP/1 keep their upper and lower case."""


class SpanSettings(msgspec.Struct, frozen=True):
    """What a proxy does with traces where Telemetry says nothing else: ProxyConfig's ``tracing``; and as whom."""

    sampling: float = 1.0
    """Percent of the traces that begin here."""
    path_length: int = 0
    """Longest tag of a path, in bytes; 0 for Envoy's default."""
    istio_tags: bool = True
    custom_tags: tuple[tuple[str, CustomTag], ...] = ()
    service: str = ""
    """Name of the service that spans are of; "" where nobody gets any."""
    canonical_service: str = ""
    canonical_revision: str = ""


class ProxyKind(msgspec.Struct, frozen=True, cache_hash=True):
    """All that outbound resources may depend on. Proxies of equal kind share every outbound resource."""

    namespace: str
    dns_domain: str
    """``<namespace>.svc.<cluster domain>``."""
    labels: Labels = ()
    """Only the labels that some selector or sourceLabels of the world mentions (others cannot matter)."""
    locality: str = ""
    network: str = ""
    network_view: frozenset[str] | None = None
    """The networks whose endpoints it wants to see, where it does not want all; of unknown ones it sees them too."""
    node_name: str = ""
    """Set only where a node-local service exists."""
    cluster_id: str = "Kubernetes"
    interception: Interception = Interception.REDIRECT
    ipv4: bool = True
    ipv6: bool = False
    http10: bool = False
    """HTTP/1.0 is accepted where a connection is HTTP."""
    sniff_http10: bool = False
    """It counts as HTTP where the first bytes tell."""
    idle_timeout: Duration | None = None
    dns_capture: bool = False
    mtls: bool = False
    """The workload has a certificate: mutual TLS can be spoken and demanded."""
    router: bool = False
    """A gateway: it listens for what Gateways say, and captures nothing."""
    sni_dnat: bool = False
    """A gateway with an AUTO_PASSTHROUGH server: it has clusters that mutual TLS passes through unopened."""
    only_hosts: frozenset[str] | None = None
    """Lower-case hosts that a gateway has clusters for, where it is not to have them for all that it sees."""

    dual_stack: bool = True
    """Where the workload has addresses of both families, both are used; else the first, but for what has one only."""
    http_proxy_port: int = 0
    """Of the local HTTP proxy, where the workload asks for another than the mesh's."""
    ipv4_beside_ipv6: bool = False
    """A workload with IPv6 alone takes connections to IPv4 addresses too."""
    sessions: bool = False
    """Services may ask for persistent sessions."""
    connections: ConnectionSettings | None = None
    """Limits of what clients may do on one connection."""
    headers: HeaderSettings = HeaderSettings()
    spans: SpanSettings = SpanSettings()

    @property
    def both_families(self) -> bool:
        return self.ipv4 and self.ipv6 and self.dual_stack

    @property
    def loopback(self) -> str:
        return "127.0.0.1" if self.ipv4 else "::1"

    @property
    def wildcard(self) -> str:
        """The address that stands for "any" in listener names."""
        return "0.0.0.0" if self.ipv4 else "::"  # noqa: S104 -- a listener name, bound by Envoy inside the workload


class Topology(msgspec.Struct, frozen=True):
    """What stands before a gateway: ProxyConfig's ``gatewayTopology``."""

    trusted_proxies: int = 0
    client_cert: str = ""
    """forwardClientCertDetails; "" for the default."""
    proxy_protocol: bool = False


class Proxy(msgspec.Struct, frozen=True):
    """One connected proxy: who it is (from its identity), where it is (from the store)."""

    name: str
    """Node id's third part: ``pod.namespace``."""
    addresses: tuple[str, ...]
    kind: ProxyKind
    labels: Labels = ()
    service_account: str = ""
    workload: Ref | None = None
    topology: Topology = Topology()
    unprivileged: bool = False
    """A gateway that may not bind ports below 1024."""
    asks_for_peers: bool = False
    """Its Envoy has a cluster of the workloads that it is one of, and chooses zones by it."""
