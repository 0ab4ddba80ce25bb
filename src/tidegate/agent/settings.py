"""What one agent was told at its start, and where its files are."""

from pathlib import Path
from typing import Any, Literal

import msgspec

from tidegate.kit import peers
from tidegate.kit.hostport import HostPort
from tidegate.registry import topology

PROXY_ID = 1337
"""User and group of Envoy: the packet rules know its connections by them."""

InterceptionMode = Literal["REDIRECT", "TPROXY", "NONE"]

ProxyType = Literal["sidecar", "router"]
"""A router is a gateway: it stands alone and captures nothing."""


class Ports(msgspec.Struct, frozen=True, kw_only=True):
    """Istio's port numbers; tests move them."""

    admin: int = 15000
    status: int = 15020
    readiness: int = 15021
    prometheus: int = 15090


class Network(msgspec.Struct, frozen=True):
    """A control plane of another machine."""

    address: HostPort
    roots: Path
    """File of the root certificates, PEM, that its own must come from."""
    server_name: str
    """The name that its certificate must have."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """One workload's agent."""

    name: str
    """The Pod's."""
    namespace: str
    address: str
    """The workload's address, as the control plane knows it."""
    run_dir: Path
    state_dir: Path
    token_file: Path
    upstream: Path | Network
    """The control plane: its Unix socket, or where it is in the network."""
    envoy: Path
    domain: str = "cluster.local"
    type: ProxyType = "sidecar"
    interception_mode: InterceptionMode = "REDIRECT"
    concurrency: int = 2
    drain_seconds: float = 5.0
    """How long open connections may go on once the agent was told to end."""
    minimum_drain_seconds: float = 0.0
    """No drain that ends with the last connection is shorter: others may still learn that the workload goes."""
    exit_on_zero_connections: bool = False
    """End the drain as soon as no connection is open."""
    envoy_drain_seconds: int = 45
    """How long Envoy takes to close the connections of a listener that was changed or removed."""
    hold_file: Path | None = None
    """Made when the proxy is ready; whoever starts the application waits for it."""
    log_level: str = "warning"
    component_log_level: str = ""
    """Envoy's levels of single loggers, ``misc:error,dns:debug``."""
    log_as_json: bool = False
    own_log_file: bool = True
    """Envoy writes to a file of its own, and goes on when the agent dies. In a container it writes where the agent
    does: the two live and die together."""
    alone: bool = False
    """The folders are this proxy's alone, as in a container: nothing in them is called after it."""
    service_cluster: str = ""
    """Envoy's node.cluster; "" for the workload's name."""
    outlier_log_path: str = ""
    """Where Envoy logs endpoints that it ejects; "" for nowhere."""
    bootstrap_override: Path | None = None
    """A file whose bootstrap Envoy merges over the one made here."""
    asks_bootstrap: bool = False
    """Ask the control plane, before Envoy starts, for what EnvoyFilters merge into the bootstrap."""
    runtime_values: dict[str, str] = {}
    """Envoy's runtime settings over those made here; "" takes one away."""
    stats_compression: bool = True
    """Scrapes of Envoy's own port may be answered compressed."""
    flush_seconds: float = 0.25
    flush_kilobytes: int = 0
    """When access logs are written to their files: after so long, or with so much; 0 is Envoy's default."""
    metadata: dict[str, Any] = {}
    """Further node metadata."""
    other_addresses: tuple[str, ...] = ()
    """The workload's further addresses."""
    ports: Ports = Ports()
    proxy_id: int | None = PROXY_ID
    """Numeric user and group for Envoy; None leaves it the agent's own."""

    @property
    def identity(self) -> tuple[int, int] | None:
        """Numeric user and group for Envoy; None leaves them the agent's own.

        With TPROXY it is user 0, as Istio's rules expect: its connections to the application, which have the caller's
        address, leave by the rule for other users than the proxy's. Elsewhere its group tells it apart.
        """
        if self.proxy_id is None:
            return None
        return (0 if self.interception_mode == "TPROXY" else self.proxy_id), self.proxy_id

    @property
    def ipv6(self) -> bool:
        """The workload's first address is one of IPv6."""
        return ":" in self.address

    @property
    def loopback(self) -> str:
        """Where the application answers beside its own address."""
        return "::1" if self.ipv6 else "127.0.0.1"

    @property
    def knows_peers(self) -> bool:
        """Envoy has a cluster of the workloads that it is one of, for zone-aware routing: node metadata
        ENABLE_SELF_DISCOVERY, as Istio has it."""
        return peers.asked_for(self.metadata)

    @property
    def locality(self) -> str:
        """region/zone/subzone by the Pod's labels; "" where they tell none. Kubernetes gives Pods the region and the
        zone of their Nodes as labels (PodTopologyLabelsAdmission)."""
        labels = self.metadata.get("LABELS")
        texts = {str(key): str(value) for key, value in labels.items()} if isinstance(labels, dict) else {}
        return topology.from_labels(texts) or topology.of_node(texts)

    @property
    def answers_dns(self) -> bool:
        """The application's DNS is captured and answered here: node metadata DNS_CAPTURE, as Istio has it."""
        captured = str(self.metadata.get("DNS_CAPTURE", "")).lower() in ("true", "1")
        return captured and self.type == "sidecar"

    @property
    def domain_of_names(self) -> str:
        """What Kubernetes names of the workload's namespace end with."""
        return f"{self.namespace}.svc.{self.domain}"

    @property
    def full_name(self) -> str:
        """``<pod>.<namespace>``."""
        return f"{self.name}.{self.namespace}"

    @property
    def sockets(self) -> Path:
        """The folder of this agent's sockets."""
        return self.run_dir if self.alone else self.run_dir / "proxies" / self.full_name

    @property
    def files(self) -> Path:
        """The folder of what this agent keeps."""
        return self.state_dir if self.alone else self.state_dir / "proxies" / self.full_name

    @property
    def xds_socket(self) -> Path:
        return self.sockets / "xds.sock"

    @property
    def agent_socket(self) -> Path:
        return self.sockets / "agent.sock"

    @property
    def bootstrap_file(self) -> Path:
        return self.files / "bootstrap.json"

    @property
    def log_file(self) -> Path:
        """Envoy's output and access log."""
        return self.files / "envoy.log"

    @property
    def pid_file(self) -> Path:
        return self.files / "envoy.pid"

    @property
    def last_good_file(self) -> Path:
        return self.files / "lastgood.db"

    @property
    def node_id(self) -> str:
        """``sidecar~IP~POD.NS~NS.svc.DOMAIN``."""
        return f"{self.type}~{self.address}~{self.full_name}~{self.namespace}.svc.{self.domain}"
