"""The answer: which decisions were taken, and how the connection may end."""

from typing import Any, Literal

import msgspec

from tidegate.dump.config.parts import Unknown

EndKind = Literal[
    "forwarded",
    "direct_response",
    "redirect",
    "closed",
    "no_listener",
    "dropped",
    "no_filter_chain",
    "no_virtual_host",
    "no_route",
    "no_cluster",
    "no_endpoints",
    "protocol_error",
    "tls_error",
    "waits",
    "denied",
    "unknown",
]
Stage = Literal[
    "listener",
    "listener_filter",
    "filter_chain",
    "downstream_tls",
    "network_filter",
    "virtual_host",
    "route",
    "http_filter",
    "cluster",
    "endpoint",
    "upstream_tls",
]


class Rejection(msgspec.Struct, frozen=True):
    """A runner-up, and why it lost."""

    what: str
    """Its name, or its path inside the resource where it has none."""
    why: str


class Step(msgspec.Struct, frozen=True):
    """One decision."""

    stage: Stage
    kind: str
    """The type of resource or part that was chosen or that acted: Listener, FilterChain, VirtualHost, RBAC, …"""
    name: str = ""
    path: str = ""
    """Where it stands inside its resource: ``filterChains[2]``, ``virtualHosts[0].routes[1]``."""
    why: str = ""
    rejected: tuple[Rejection, ...] = ()
    istio: dict[str, Any] = {}
    """The resource's own metadata under ``istio``, such as ``config``, the object that it was made from."""
    facts: dict[str, Any] = {}
    """What else a reader may want to know of it, by the names of Envoy's fields."""


class Endpoint(msgspec.Struct, frozen=True):
    address: str
    """host:port, a name for clusters that resolve it, ``unix://…`` or ``envoy://listener/id``."""
    priority: int = 0
    weight: int = 1
    locality: str = ""
    health: str = "UNKNOWN"
    share: float = 0.0
    """The part of this end's connections or requests that it gets while nothing changes."""
    metadata: dict[str, Any] = {}
    hostname: str = ""


class UpstreamTls(msgspec.Struct, frozen=True):
    mode: Literal["none", "tls", "mutual", "unknown"] = "none"
    sni: str = ""
    sans: tuple[str, ...] = ()
    """What the server's certificate must be for, as the matcher says it; empty: any name."""
    certificates: tuple[str, ...] = ()
    """Secrets of the client certificate."""
    roots: tuple[str, ...] = ()
    """Secrets that the server's certificate is verified with."""
    alpn: tuple[str, ...] = ()
    match: str = ""
    """The transportSocketMatches entry that decided, where one did."""


class Tunnel(msgspec.Struct, frozen=True):
    """The bytes go inside a request to a forward proxy."""

    host: str
    method: Literal["CONNECT", "POST"] = "CONNECT"


class FarSide(msgspec.Struct, frozen=True):
    """What the chosen endpoint sees."""

    protocol: str = "tcp"
    """"tcp", "http/1.1" or "h2"; "auto" where the two sides agree on one."""
    authority: str = ""
    path: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    """Of the request as its route leaves it, each name in one place; those that Envoy adds to every request are left
    out."""
    source: str = ""
    """The client's address where it is kept or a bound one; "" for the proxy's own."""
    client_tls: bool = False
    """The client's own TLS goes through unopened."""
    proxy_protocol: str = ""
    """Version of a PROXY protocol header sent first."""
    tunnel: Tunnel | None = None


class Mirror(msgspec.Struct, frozen=True):
    cluster: str
    share: float = 1.0


class End(msgspec.Struct, frozen=True):
    """One way in which the connection, or its request, may end."""

    kind: EndKind
    probability: float
    why: str
    steps: tuple[Step, ...] = ()
    """All decisions that lead here."""
    cluster: str = ""
    cluster_type: str = ""
    endpoints: tuple[Endpoint, ...] = ()
    """Those that may be chosen now; for ``no_endpoints`` those that cannot be."""
    http_status: int | None = None
    """Of the answer that the proxy gives itself."""
    grpc_status: int | None = None
    """The same answer to a gRPC client: HTTP status 200 with this ``grpc-status``."""
    response_flags: tuple[str, ...] = ()
    location: str = ""
    delay: str = ""
    timeout: str = ""
    retries: int = 0
    retry_on: str = ""
    upstream_tls: UpstreamTls | None = None
    far_side: FarSide | None = None
    mirrors: tuple[Mirror, ...] = ()
    hashed_by: tuple[str, ...] = ()
    """What of a request keeps it with one endpoint, where the cluster's balancer heeds it."""


class Trace(msgspec.Struct, frozen=True):
    """Everything that was found out about one connection."""

    steps: tuple[Step, ...]
    """The decisions of the likeliest end."""
    ends: tuple[End, ...]
    """The likeliest first; probabilities add up to 1."""
    unknown: tuple[Unknown, ...] = ()
    """What was met on the way and could not be judged: the ends hold if it lets the connection pass."""

    @property
    def end(self) -> End:
        """The likeliest end."""
        return self.ends[0]


class Profile(msgspec.Struct, frozen=True):
    """How much of a request is looked at."""

    match_headers: bool = True
    """False: a route is chosen by its path alone, not by headers, method, query or a fraction of requests."""
    most_rejections: int = 12
    """Runners-up told for one decision; the nearest ones."""
    most_ends: int = 256
    """Ends told apart; what goes beyond is summed up as one unknown end."""
    most_hops: int = 8
    """Listeners inside the proxy walked through one after the other."""
