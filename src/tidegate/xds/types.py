"""Type URLs of the discovery protocol and the order in which they are pushed."""

_PREFIX = "type.googleapis.com/envoy."
CLUSTER = _PREFIX + "config.cluster.v3.Cluster"
ENDPOINT = _PREFIX + "config.endpoint.v3.ClusterLoadAssignment"
LISTENER = _PREFIX + "config.listener.v3.Listener"
ROUTE = _PREFIX + "config.route.v3.RouteConfiguration"
VIRTUAL_HOST = _PREFIX + "config.route.v3.VirtualHost"
SECRET = _PREFIX + "extensions.transport_sockets.tls.v3.Secret"
NAME_TABLE = "type.googleapis.com/istio.networking.nds.v1.NameTable"
"""For agents: it never goes to an Envoy."""
EXTENSION = _PREFIX + "config.core.v3.TypedExtensionConfig"
BOOTSTRAP = _PREFIX + "config.bootstrap.v3.Bootstrap"
"""For agents, which ask for it before their Envoy starts."""

ORDER = (CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET, VIRTUAL_HOST, EXTENSION, NAME_TABLE, BOOTSTRAP)
"""Make before break: clusters, their endpoints, then the listeners and routes that use them (xDS protocol,
"Eventual consistency considerations")."""

FULL_STATE = frozenset({CLUSTER, LISTENER})
"""Types that a state-of-the-world response must hold completely, and for which a first request without names means
all of them (xDS protocol, "How the client specifies what resources to return")."""

SHORT = {
    CLUSTER: "cds",
    ENDPOINT: "eds",
    LISTENER: "lds",
    ROUTE: "rds",
    SECRET: "sds",
    VIRTUAL_HOST: "vhds",
    EXTENSION: "ecds",
    NAME_TABLE: "nds",
    BOOTSTRAP: "bds",
}


def short(type_url: str) -> str:
    """``cds`` for clusters and so on; ``other`` for a type that is none of ours, so that labels stay few."""
    return SHORT.get(type_url, "other")


def rank(type_url: str) -> int:
    """Place in the push order; types that are none of ours come last."""
    return ORDER.index(type_url) if type_url in SHORT else len(ORDER)
