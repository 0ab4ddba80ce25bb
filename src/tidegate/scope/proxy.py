"""The proxy as the core knows it, and the part of it that its outbound configuration depends on."""

import enum

import msgspec

from tidegate.api.fields import Duration
from tidegate.api.objects import Ref
from tidegate.registry.model import Labels


class Interception(enum.StrEnum):
    REDIRECT = "REDIRECT"
    TPROXY = "TPROXY"
    NONE = "NONE"


class ProxyKind(msgspec.Struct, frozen=True, cache_hash=True):
    """All that outbound resources may depend on. Proxies of equal kind share every outbound resource."""

    namespace: str
    dns_domain: str
    """``<namespace>.svc.<cluster domain>``."""
    labels: Labels = ()
    """Only the labels that some selector or sourceLabels of the world mentions (others cannot matter)."""
    locality: str = ""
    network: str = ""
    node_name: str = ""
    """Set only where a node-local service exists."""
    cluster_id: str = "Kubernetes"
    interception: Interception = Interception.REDIRECT
    ipv4: bool = True
    ipv6: bool = False
    http10: bool = False
    idle_timeout: Duration | None = None
    dns_capture: bool = False
    mtls: bool = False
    """The workload has a certificate: mutual TLS can be spoken and demanded."""

    @property
    def wildcard(self) -> str:
        """The address that stands for "any" in listener names."""
        return "0.0.0.0" if self.ipv4 else "::"  # noqa: S104 -- a listener name, bound by Envoy inside the workload


class Proxy(msgspec.Struct, frozen=True):
    """One connected proxy: who it is (from its identity), where it is (from the store)."""

    name: str
    """Node id's third part: ``pod.namespace``."""
    addresses: tuple[str, ...]
    kind: ProxyKind
    labels: Labels = ()
    service_account: str = ""
    workload: Ref | None = None
