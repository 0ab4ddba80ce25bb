"""``lab.yaml``: what a lab consists of.

Fields are named as Kubernetes and Istio name them where they have the thing; docs/lab.md describes each.
"""

import msgspec
import yaml

from tidegate.kit import boundedyaml

PROXY_UID = 1337
"""Envoy's user. The packet rules let its connections pass, so no application may have it."""
PROXY_CONFIG = "proxy.istio.io/config"
"""The annotation with one Pod's ProxyConfig, as YAML."""


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Unknown keys are errors: a misspelt key must not be silently without effect."""


class Port(_Strict, frozen=True):
    container_port: int
    name: str = ""
    protocol: str = "TCP"


class HostAlias(_Strict, frozen=True):
    ip: str
    hostnames: tuple[str, ...] = ()


class Sidecar(_Strict, frozen=True):
    """What the packet rules capture; ranges and ports are annotations ``traffic.sidecar.istio.io/<field>``."""

    include_outbound_ip_ranges: str = msgspec.field(default="*", name="includeOutboundIPRanges")
    exclude_outbound_ip_ranges: str = msgspec.field(default="", name="excludeOutboundIPRanges")
    include_inbound_ports: str = "*"
    exclude_inbound_ports: str = ""
    include_outbound_ports: str = ""
    exclude_outbound_ports: str = ""
    interception_mode: str = "REDIRECT"
    """Of inbound connections, REDIRECT or TPROXY: the annotation ``sidecar.istio.io/interceptionMode``."""


class Workload(_Strict, frozen=True):
    """A Pod of one container: a program in a network namespace, with a sidecar unless told otherwise."""

    name: str
    command: tuple[str, ...] = ()
    type: str = "sidecar"
    """Of its proxy: ``router`` is a gateway, a proxy without a program beside it and without packet rules."""
    namespace: str = "default"
    address: str = ""
    """IPv4 within the lab's network; "" for the next free one."""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    service_account: str = "default"
    env: dict[str, str] = {}
    uid: int = 1000
    ports: tuple[Port, ...] = ()
    sidecar: bool | Sidecar = True
    host_aliases: tuple[HostAlias, ...] = ()
    files: dict[str, str] = {}
    """Copied into the program's working folder: name there -> path beside lab.yaml."""
    restart_policy: str = "Always"
    """Always or Never: whether the program is started again when it ends."""

    @property
    def key(self) -> str:
        return f"{self.name}.{self.namespace}"

    @property
    def is_gateway(self) -> bool:
        return self.type == "router"

    @property
    def proxied(self) -> bool:
        """Whether it has a proxy: a sidecar, or it is a gateway."""
        return self.is_gateway or self.capture is not None

    @property
    def capture(self) -> Sidecar | None:
        """The sidecar's settings; None for a workload without one, a gateway for one."""
        if self.is_gateway:
            return None
        if isinstance(self.sidecar, Sidecar):
            return self.sidecar
        return Sidecar() if self.sidecar else None

    @property
    def proxy_metadata(self) -> dict[str, str]:
        """Environment of the sidecar's agent: ``proxyMetadata`` of the annotation ``proxy.istio.io/config``.

        Raises ValueError telling what was expected.
        """
        try:
            config = boundedyaml.load(self.annotations.get(PROXY_CONFIG, "")) or {}
            return msgspec.convert(config.get("proxyMetadata") or {}, dict[str, str])
        except (yaml.YAMLError, AttributeError, msgspec.ValidationError) as error:
            raise ValueError("expected YAML in which proxyMetadata is a map of text to text") from error

    @property
    def captures_dns(self) -> bool:
        """``ISTIO_META_DNS_CAPTURE`` of ``proxyMetadata``: the sidecar answers the workload's DNS."""
        return self.proxy_metadata.get("ISTIO_META_DNS_CAPTURE", "").lower() in ("true", "1")


class Command(_Strict, frozen=True):
    """One program of an outside host."""

    name: str
    command: tuple[str, ...]
    env: dict[str, str] = {}
    uid: int = 1000
    ports: tuple[int, ...] = ()
    """TCP ports it listens on; ``up`` waits for them."""
    files: dict[str, str] = {}
    restart_policy: str = "Always"


class Image(_Strict, frozen=True):
    """What runs in place of a container image that Pods name: there are no images in a lab."""

    command: tuple[str, ...] = ()
    """Where the container has no command of its own."""
    env: dict[str, str] = {}
    uid: int = 1000
    files: dict[str, str] = {}


class Host(_Strict, frozen=True):
    """A machine outside the mesh: not in the store, without a sidecar."""

    name: str
    address: str
    commands: tuple[Command, ...] = ()
    dns: tuple[str, ...] = ()
    """Names that the outside name server answers with this address."""


class Dns(_Strict, frozen=True):
    """The name server outside the mesh, to which the lab's own forwards what it does not know."""

    address: str
    records: dict[str, tuple[str, ...]] = {}
    """Further names -> IPv4 addresses."""


class Network(_Strict, frozen=True):
    cidr: str = "10.244.0.0/24"
    """Workloads' network; its first address is the gateway and name server."""


class ControlPlane(_Strict, frozen=True):
    """Ports on this machine's 127.0.0.1."""

    api_port: int = 0
    """The API server's; 0 for any free one."""
    monitoring_port: int = 15014


class LabSpec(_Strict, frozen=True):
    name: str
    network: Network = Network()
    control_plane: ControlPlane = ControlPlane()
    workloads: tuple[Workload, ...] = ()
    hosts: tuple[Host, ...] = ()
    dns: Dns | None = None
    images: dict[str, Image] = {}
    """For Pods of Deployments: the image, as they name it or without its tag, to what runs."""
    objects: tuple[str, ...] = ()
    """Files of Kubernetes objects beside lab.yaml, created in this order before any workload starts."""
