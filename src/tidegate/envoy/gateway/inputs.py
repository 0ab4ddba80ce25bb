"""The frozen input of a gateway's builders."""

from tidegate.api.networking import DestinationRule, Gateway, VirtualService
from tidegate.api.objects import Object
from tidegate.envoy.inputs import (
    CredentialInput,
    Input,
    ListenerDefaults,
    PeersInput,
    RouteDefaults,
    SecurityInput,
    Target,
    VirtualHostInput,
)
from tidegate.registry.model import Service, ServiceTarget
from tidegate.scope.proxy import ProxyKind, Topology


class Bound(Input, frozen=True, kw_only=True):
    """A Gateway and the VirtualServices that are bound to it."""

    gateway: Object[Gateway]
    rules: tuple[Object[VirtualService], ...] = ()
    """In order of precedence."""

    @property
    def name(self) -> str:
        """``namespace/name``."""
        return f"{self.gateway.ref.namespace}/{self.gateway.ref.name}"


class Passing(Input, frozen=True, kw_only=True):
    """A service of the mesh that an AUTO_PASSTHROUGH server may lead to."""

    service: Service
    rule: Object[DestinationRule] | None = None
    """Its subsets are led to as well."""


class GatewayInput(Input, frozen=True, kw_only=True):
    """All that the listeners and routes of one gateway depend on."""

    gateways: tuple[Bound, ...] = ()
    """Those that select the workload, oldest first."""
    targets: tuple[ServiceTarget, ...] = ()
    """Service ports that the workload serves: they say on which port a server of a Service's port listens."""
    destinations: tuple[Target, ...] = ()
    """Every host that a route names."""
    passing: tuple[Passing, ...] = ()
    """Oldest service first; only where a server is AUTO_PASSTHROUGH."""
    credentials: tuple[CredentialInput, ...] = ()
    """Of servers, and for TLS to other servers."""
    topology: Topology = Topology()
    internal: tuple[str, ...] = ()
    """Networks of the mesh, smallest address first."""
    unprivileged: bool = False
    peers: PeersInput | None = None
    """Only where the gateway asks who its peers are."""
    security: SecurityInput = SecurityInput()
    defaults: ListenerDefaults
    routes: RouteDefaults
    proxy: ProxyKind


class HostInput(Input, frozen=True, kw_only=True):
    """One virtual host of a gateway."""

    name: str
    domains: tuple[str, ...]
    parts: tuple[VirtualHostInput, ...] = ()
    """One for each VirtualService and server that has routes for it, in order."""
    tls_only: bool = False
    """Requests in plain text are redirected to https."""
    attempt_count: bool = True
    """Servers are told which attempt a request is."""
