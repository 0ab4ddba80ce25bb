"""What one agent was told at its start, and where its files are."""

from pathlib import Path
from typing import Literal

import msgspec

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
    upstream: Path
    """The control plane's Unix socket."""
    envoy: Path
    domain: str = "cluster.local"
    type: ProxyType = "sidecar"
    interception_mode: InterceptionMode = "REDIRECT"
    concurrency: int = 2
    drain_seconds: float = 5.0
    """How long open connections may go on once the agent was told to end."""
    exit_on_zero_connections: bool = False
    """End the drain as soon as no connection is open."""
    hold_file: Path | None = None
    """Made when the proxy is ready; whoever starts the application waits for it."""
    log_level: str = "warning"
    metadata: dict[str, str] = {}
    """Further node metadata."""
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
    def answers_dns(self) -> bool:
        """The application's DNS is captured and answered here: node metadata DNS_CAPTURE, as Istio has it."""
        captured = self.metadata.get("DNS_CAPTURE", "").lower() in ("true", "1")
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
        return self.run_dir / "proxies" / self.full_name

    @property
    def files(self) -> Path:
        """The folder of what this agent keeps."""
        return self.state_dir / "proxies" / self.full_name

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
