"""Sidecar."""

import enum
from typing import Annotated

from tidegate.api.fields import Message, UInt32, doc
from tidegate.api.networking.gateway import ServerTLSSettings
from tidegate.api.networking.pools import ConnectionPoolSettings
from tidegate.api.networking.shared import Destination, WorkloadSelector


class CaptureMode(enum.StrEnum):
    DEFAULT = "DEFAULT"
    IPTABLES = "IPTABLES"
    NONE = "NONE"


class OutboundTrafficPolicyMode(enum.StrEnum):
    REGISTRY_ONLY = "REGISTRY_ONLY"
    ALLOW_ANY = "ALLOW_ANY"


class SidecarPort(Message, frozen=True):
    """networking.v1alpha3.SidecarPort."""

    number: Annotated[UInt32, doc("port number")] = 0
    protocol: Annotated[str, doc("protocol as ServicePort plus HTTP_PROXY")] = ""
    name: Annotated[str, doc("port name")] = ""
    target_port: Annotated[UInt32, doc("unused", deprecated=True)] = 0


class IstioIngressListener(Message, frozen=True):
    """networking.v1alpha3.IstioIngressListener."""

    port: Annotated[SidecarPort | None, doc("listening port", required=True)] = None
    bind: Annotated[str, doc("IP to bind (or unix path)")] = ""
    capture_mode: Annotated[CaptureMode, doc("iptables capture or direct bind")] = CaptureMode.DEFAULT
    default_endpoint: Annotated[str, doc("127.0.0.1:p, 0.0.0.0:p, [::1]:p, [::]:p or unix:// target")] = ""
    tls: Annotated[ServerTLSSettings | None, doc("TLS termination on this port (needs mTLS disabled)")] = None
    connection_pool: Annotated[ConnectionPoolSettings | None, doc("connection pool for this inbound port")] = None


class IstioEgressListener(Message, frozen=True):
    """networking.v1alpha3.IstioEgressListener."""

    port: Annotated[SidecarPort | None, doc("listener port; unset = catch-all for every service port")] = None
    bind: Annotated[str, doc("IP or unix path to bind")] = ""
    capture_mode: Annotated[CaptureMode, doc("iptables capture or direct bind")] = CaptureMode.DEFAULT
    hosts: Annotated[tuple[str, ...], doc("namespace/dnsName list imported (. * ~ exclusion)", required=True)] = ()


class OutboundTrafficPolicy(Message, frozen=True):
    """networking.v1alpha3.OutboundTrafficPolicy."""

    mode: Annotated[OutboundTrafficPolicyMode, doc("forward, block or DNS-resolve unknown traffic")] = (
        OutboundTrafficPolicyMode.REGISTRY_ONLY
    )
    egress_proxy: Annotated[
        Destination | None, doc("destination to receive all unknown traffic instead of passthrough")
    ] = None


class Sidecar(Message, frozen=True):
    """networking.v1alpha3.Sidecar."""

    workload_selector: Annotated[
        WorkloadSelector | None, doc("labels of workloads configured; none = whole namespace")
    ] = None
    ingress: Annotated[tuple[IstioIngressListener, ...], doc("inbound listeners replacing automatic ones")] = ()
    egress: Annotated[tuple[IstioEgressListener, ...], doc("outbound listeners and imported hosts; none = */*")] = ()
    inbound_connection_pool: Annotated[
        ConnectionPoolSettings | None, doc("connection pool for all inbound clusters, overrides DestinationRule")
    ] = None
    outbound_traffic_policy: Annotated[OutboundTrafficPolicy | None, doc("handling of unknown destinations")] = None
