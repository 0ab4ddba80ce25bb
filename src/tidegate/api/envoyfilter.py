"""EnvoyFilter: changes to the Envoy configuration that Istio's other kinds gave.

https://istio.io/latest/docs/reference/config/networking/envoy-filter/
"""

import enum
from typing import Annotated, Any

from msgspec import field

from tidegate.api.fields import Int32, Message, UInt32, doc
from tidegate.api.networking import WorkloadSelector
from tidegate.api.selection import PolicyTargetReference


class ApplyTo(enum.StrEnum):
    INVALID = "INVALID"
    LISTENER = "LISTENER"
    FILTER_CHAIN = "FILTER_CHAIN"
    NETWORK_FILTER = "NETWORK_FILTER"
    HTTP_FILTER = "HTTP_FILTER"
    ROUTE_CONFIGURATION = "ROUTE_CONFIGURATION"
    VIRTUAL_HOST = "VIRTUAL_HOST"
    HTTP_ROUTE = "HTTP_ROUTE"
    CLUSTER = "CLUSTER"
    EXTENSION_CONFIG = "EXTENSION_CONFIG"
    BOOTSTRAP = "BOOTSTRAP"
    LISTENER_FILTER = "LISTENER_FILTER"


class PatchContext(enum.StrEnum):
    ANY = "ANY"
    SIDECAR_INBOUND = "SIDECAR_INBOUND"
    SIDECAR_OUTBOUND = "SIDECAR_OUTBOUND"
    GATEWAY = "GATEWAY"
    WAYPOINT = "WAYPOINT"


class RouteAction(enum.StrEnum):
    ANY = "ANY"
    ROUTE = "ROUTE"
    REDIRECT = "REDIRECT"
    DIRECT_RESPONSE = "DIRECT_RESPONSE"


class Operation(enum.StrEnum):
    INVALID = "INVALID"
    MERGE = "MERGE"
    ADD = "ADD"
    REMOVE = "REMOVE"
    INSERT_BEFORE = "INSERT_BEFORE"
    INSERT_AFTER = "INSERT_AFTER"
    INSERT_FIRST = "INSERT_FIRST"
    REPLACE = "REPLACE"
    MERGE_AND_REPLACE_LIST = "MERGE_AND_REPLACE_LIST"


class FilterClass(enum.StrEnum):
    UNSPECIFIED = "UNSPECIFIED"
    AUTHN = "AUTHN"
    AUTHZ = "AUTHZ"
    STATS = "STATS"


class ProxyMatch(Message, frozen=True):
    """networking.v1alpha3.EnvoyFilter.ProxyMatch."""

    proxy_version: Annotated[str, doc("RE2 found in the proxy's ISTIO_VERSION")] = ""
    metadata: Annotated[dict[str, str], doc("node metadata, all equal")] = field(default_factory=dict)


class ClusterMatch(Message, frozen=True):
    """networking.v1alpha3.EnvoyFilter.ClusterMatch."""

    port_number: Annotated[UInt32, doc("service port")] = 0
    service: Annotated[str, doc("service's full name")] = ""
    subset: Annotated[str, doc("subset name")] = ""
    name: Annotated[str, doc("exact cluster name; the other fields do not count beside it")] = ""


class RouteMatch(Message, frozen=True):
    """networking.v1alpha3.EnvoyFilter.RouteConfigurationMatch.RouteMatch."""

    name: Annotated[str, doc("route name")] = ""
    action: Annotated[RouteAction, doc("route, redirect or direct response")] = RouteAction.ANY


class VirtualHostMatch(Message, frozen=True):
    """networking.v1alpha3.EnvoyFilter.RouteConfigurationMatch.VirtualHostMatch."""

    name: Annotated[str, doc("virtual host name")] = ""
    domain_name: Annotated[str, doc("one of the virtual host's domains")] = ""
    route: Annotated[RouteMatch | None, doc("route conditions")] = None


class RouteConfigurationMatch(Message, frozen=True):
    """networking.v1alpha3.EnvoyFilter.RouteConfigurationMatch."""

    port_number: Annotated[UInt32, doc("port of the route configuration")] = 0
    port_name: Annotated[str, doc("gateway server's port name")] = ""
    gateway: Annotated[str, doc("Gateway as namespace/name")] = ""
    vhost: Annotated[VirtualHostMatch | None, doc("virtual host conditions")] = None
    name: Annotated[str, doc("exact route configuration name")] = ""


class SubFilterMatch(Message, frozen=True):
    """networking.v1alpha3.EnvoyFilter.ListenerMatch.SubFilterMatch."""

    name: Annotated[str, doc("HTTP filter name")] = ""


class FilterMatch(Message, frozen=True):
    """networking.v1alpha3.EnvoyFilter.ListenerMatch.FilterMatch."""

    name: Annotated[str, doc("network filter name")] = ""
    sub_filter: Annotated[SubFilterMatch | None, doc("HTTP filter within the connection manager")] = None


class FilterChainMatch(Message, frozen=True):
    """networking.v1alpha3.EnvoyFilter.ListenerMatch.FilterChainMatch."""

    name: Annotated[str, doc("filter chain name")] = ""
    sni: Annotated[str, doc("one of the chain match's server names")] = ""
    transport_protocol: Annotated[str, doc("raw_buffer or tls")] = ""
    application_protocols: Annotated[str, doc("comma-separated, all in the chain match")] = ""
    filter: Annotated[FilterMatch | None, doc("network filter")] = None
    destination_port: Annotated[UInt32, doc("the chain match's destination port")] = 0
    transport_socket: Annotated[str, doc("name of the chain's transport socket")] = ""


class ListenerMatch(Message, frozen=True):
    """networking.v1alpha3.EnvoyFilter.ListenerMatch."""

    port_number: Annotated[UInt32, doc("listener port; of capturing listeners the chain's destination port")] = 0
    port_name: Annotated[str, doc("not used")] = ""
    filter_chain: Annotated[FilterChainMatch | None, doc("filter chain conditions")] = None
    listener_filter: Annotated[str, doc("listener filter name")] = ""
    name: Annotated[str, doc("exact listener name")] = ""


class WaypointRouteMatch(Message, frozen=True):
    """networking.v1alpha3.EnvoyFilter.WaypointMatch.RouteMatch."""

    name: Annotated[str, doc("route")] = ""


class WaypointSubFilterMatch(Message, frozen=True):
    """networking.v1alpha3.EnvoyFilter.WaypointMatch.FilterMatch.SubFilterMatch."""

    name: Annotated[str, doc("sub filter")] = ""


class WaypointFilterMatch(Message, frozen=True):
    """networking.v1alpha3.EnvoyFilter.WaypointMatch.FilterMatch."""

    name: Annotated[str, doc("filter")] = ""
    sub_filter: Annotated[WaypointSubFilterMatch | None, doc("sub filter")] = None


class WaypointMatch(Message, frozen=True):
    """networking.v1alpha3.EnvoyFilter.WaypointMatch."""

    port_number: Annotated[UInt32, doc("port", minimum=1)] = 0
    route: Annotated[WaypointRouteMatch | None, doc("route")] = None
    filter: Annotated[WaypointFilterMatch | None, doc("filter")] = None


class ObjectMatch(Message, frozen=True):
    """networking.v1alpha3.EnvoyFilter.EnvoyConfigObjectMatch."""

    context: Annotated[PatchContext, doc("inbound, outbound, gateway or any")] = PatchContext.ANY
    proxy: Annotated[ProxyMatch | None, doc("proxy version and metadata")] = None
    listener: Annotated[ListenerMatch | None, doc("listener conditions", oneof="object_types")] = None
    route_configuration: Annotated[RouteConfigurationMatch | None, doc("route conditions", oneof="object_types")] = None
    cluster: Annotated[ClusterMatch | None, doc("cluster conditions", oneof="object_types")] = None
    waypoint: Annotated[WaypointMatch | None, doc("waypoint conditions", oneof="object_types")] = None


class PatchSpec(Message, frozen=True):
    """networking.v1alpha3.EnvoyFilter.Patch."""

    operation: Annotated[Operation, doc("how to apply")] = Operation.INVALID
    value: Annotated[dict[str, Any] | None, doc("the Envoy message as JSON")] = None
    filter_class: Annotated[FilterClass, doc("where to insert among Istio's filters")] = FilterClass.UNSPECIFIED


class ConfigPatch(Message, frozen=True):
    """networking.v1alpha3.EnvoyFilter.EnvoyConfigObjectPatch."""

    apply_to: Annotated[ApplyTo, doc("what is patched")] = ApplyTo.INVALID
    match: Annotated[ObjectMatch | None, doc("conditions, all of which must hold")] = None
    patch: Annotated[PatchSpec | None, doc("operation and value")] = None


class EnvoyFilter(Message, frozen=True):
    """networking.v1alpha3.EnvoyFilter."""

    workload_selector: Annotated[
        WorkloadSelector | None, doc("labels of the workloads; none: the namespace, in the root namespace the mesh")
    ] = None
    target_refs: Annotated[tuple[PolicyTargetReference, ...], doc("gateways it is attached to", max_items=16)] = ()
    config_patches: Annotated[tuple[ConfigPatch, ...], doc("in order")] = ()
    priority: Annotated[Int32, doc("lower is applied first")] = 0
