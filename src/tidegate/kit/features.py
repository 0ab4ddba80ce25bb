"""Switches of the control plane that Istio reads from istiod's environment, under Istio's names.

https://istio.io/latest/docs/reference/commands/pilot-discovery/#envvars
"""

from collections.abc import Mapping

import msgspec

from tidegate.kit.errors import TidegateError

_TRUE, _FALSE = ("1", "t", "true"), ("0", "f", "false")


class Features(msgspec.Struct, frozen=True, kw_only=True):
    """One value for each variable that is acted on, at Istio's default."""

    dual_stack: bool = False
    """Endpoints and listeners of both address families."""
    tls_on_sidecar_ingress: bool = False
    """``tls`` of Sidecar ingress listeners counts where mutual TLS is off."""
    merge_sidecar_ingress: bool = False
    """Ingress listeners of a Sidecar are added to the ports of services, and do not replace them."""
    filter_gateway_clusters: bool = False
    """Gateways are given only clusters that their VirtualServices name."""
    headless_filter_chains: bool = False
    """One listener with a filter chain for each address, not one for each address of a headless Service."""
    http10: bool = False
    """HTTP/1.0 is accepted, and taken for HTTP where bytes tell the protocol; such a request line needs no version."""

    persistent_sessions: bool = False
    """Services with a label for it keep sending a client to the endpoint that served it first."""

    ipv4_beside_ipv6: bool = False
    """Connections to IPv4 addresses are taken in workloads that have IPv6 alone."""


DEFAULTS = Features()

VARIABLES = {
    "ISTIO_DUAL_STACK": "dual_stack",
    "ENABLE_TLS_ON_SIDECAR_INGRESS": "tls_on_sidecar_ingress",
    "PILOT_ALLOW_SIDECAR_SERVICE_INBOUND_LISTENER_MERGE": "merge_sidecar_ingress",
    "PILOT_FILTER_GATEWAY_CLUSTER_CONFIG": "filter_gateway_clusters",
    "PILOT_ENABLE_HEADLESS_FILTER_CHAIN_LISTENER": "headless_filter_chains",
    "PILOT_HTTP10": "http10",
    "ISTIO_ENABLE_IPV4_OUTBOUND_LISTENER_FOR_IPV6_CLUSTERS": "ipv4_beside_ipv6",
    "PILOT_ENABLE_PERSISTENT_SESSION_FILTER": "persistent_sessions",
}


def parse(variables: Mapping[str, str]) -> tuple[Features, tuple[str, ...]]:
    """The switches that ``variables`` set, and the names of those that are not acted on.

    Raises TidegateError for a value that is no boolean as Go writes it.
    """
    given = {VARIABLES[name]: _boolean(name, value) for name, value in variables.items() if name in VARIABLES}
    return Features(**given), tuple(sorted(name for name in variables if name not in VARIABLES))


def _boolean(name: str, value: str) -> bool:
    word = value.strip().lower()
    if word not in _TRUE + _FALSE:
        raise TidegateError(f"{name}: must be true or false (got {value!r})")
    return word in _TRUE
