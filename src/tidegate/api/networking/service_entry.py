"""ServiceEntry, WorkloadEntry and WorkloadGroup."""

import enum
from typing import Annotated

from msgspec import field

from tidegate.api.fields import Int32, Message, UInt32, doc
from tidegate.api.networking.shared import WorkloadSelector


class ServiceEntryLocation(enum.StrEnum):
    MESH_EXTERNAL = "MESH_EXTERNAL"
    MESH_INTERNAL = "MESH_INTERNAL"


class ServiceEntryResolution(enum.StrEnum):
    NONE = "NONE"
    STATIC = "STATIC"
    DNS = "DNS"
    DNS_ROUND_ROBIN = "DNS_ROUND_ROBIN"
    DYNAMIC_DNS = "DYNAMIC_DNS"


class ServicePort(Message, frozen=True):
    """networking.v1alpha3.ServicePort."""

    number: Annotated[UInt32, doc("port number 1-65535", required=True)] = 0
    protocol: Annotated[
        str,
        doc("HTTP HTTPS GRPC GRPC-WEB HTTP2 MONGO REDIS MYSQL TCP TLS UDP...; unset means sniffing", max_length=256),
    ] = ""
    name: Annotated[str, doc("port label; key into workload entry ports map", required=True, max_length=256)] = ""
    target_port: Annotated[UInt32, doc("endpoint port to forward to", minimum=1)] = 0


class WorkloadEntry(Message, frozen=True):
    """networking.v1alpha3.WorkloadEntry."""

    address: Annotated[str, doc("IP, DNS name or unix:// path of the workload", max_length=256)] = ""
    ports: Annotated[dict[str, UInt32], doc("map port name to endpoint port", max_properties=128)] = field(
        default_factory=dict
    )
    labels: Annotated[dict[str, str], doc("labels used for selection, subsets, locality", max_properties=256)] = field(
        default_factory=dict
    )
    network: Annotated[str, doc("network id of the endpoint for multi-network routing", max_length=2048)] = ""
    locality: Annotated[str, doc("region/zone/subzone string", max_length=2048)] = ""
    weight: Annotated[UInt32, doc("load balancing weight")] = 0
    service_account: Annotated[str, doc("account for SPIFFE identity; implies mTLS endpoint", max_length=253)] = ""


class ServiceEntry(Message, frozen=True):
    """networking.v1alpha3.ServiceEntry."""

    hosts: Annotated[
        tuple[str, ...],
        doc(
            "DNS names (wildcard prefix allowed) the entry covers; matched against Host/SNI/registry",
            required=True,
            max_items=256,
            min_items=1,
        ),
    ] = ()
    addresses: Annotated[
        tuple[str, ...],
        doc(
            "virtual IPs or CIDRs of the hosts; used for TCP matching and listener binds",
            max_items=256,
            item_max_length=64,
        ),
    ] = ()
    ports: Annotated[tuple[ServicePort, ...], doc("service ports exposed", max_items=256)] = ()
    location: Annotated[ServiceEntryLocation, doc("inside or outside the mesh; external disables auto mTLS")] = (
        ServiceEntryLocation.MESH_EXTERNAL
    )
    resolution: Annotated[ServiceEntryResolution, doc("how endpoint addresses are found")] = ServiceEntryResolution.NONE
    endpoints: Annotated[
        tuple[WorkloadEntry, ...],
        doc("inline endpoints of the hosts (exclusive with workloadSelector)", max_items=4096),
    ] = ()
    workload_selector: Annotated[
        WorkloadSelector | None,
        doc("label selector picking WorkloadEntries and pods in same namespace (MESH_INTERNAL use)"),
    ] = None
    export_to: Annotated[tuple[str, ...], doc("namespaces that may see the entry: . * ~ or names")] = ()
    subject_alt_names: Annotated[
        tuple[str, ...], doc("SANs accepted from servers when TLS originates or mTLS is used")
    ] = ()


class WorkloadGroupObjectMeta(Message, frozen=True):
    """networking.v1alpha3.WorkloadGroup.ObjectMeta."""

    labels: Annotated[dict[str, str], doc("labels to apply", max_properties=256)] = field(default_factory=dict)
    annotations: Annotated[dict[str, str], doc("annotations to apply", max_properties=256)] = field(
        default_factory=dict
    )


class HTTPHeader(Message, frozen=True):
    """networking.v1alpha3.HTTPHeader."""

    name: Annotated[str, doc("header name", pattern=r"^[-_A-Za-z0-9]+$")] = ""
    value: Annotated[str, doc("header value")] = ""


class HTTPHealthCheckConfig(Message, frozen=True):
    """networking.v1alpha3.HTTPHealthCheckConfig."""

    path: Annotated[str, doc("request path")] = ""
    port: Annotated[UInt32, doc("probe port", required=True)] = 0
    host: Annotated[str, doc("host to connect")] = ""
    scheme: Annotated[str, doc("HTTP or HTTPS")] = ""
    http_headers: Annotated[tuple[HTTPHeader, ...], doc("extra request headers")] = ()


class TCPHealthCheckConfig(Message, frozen=True):
    """networking.v1alpha3.TCPHealthCheckConfig."""

    host: Annotated[str, doc("host to connect")] = ""
    port: Annotated[UInt32, doc("port to connect", required=True)] = 0


class ExecHealthCheckConfig(Message, frozen=True):
    """networking.v1alpha3.ExecHealthCheckConfig."""

    command: Annotated[tuple[str, ...], doc("argv; exit 0 is healthy", required=True, item_min_length=1)] = ()


class GrpcHealthCheckConfig(Message, frozen=True):
    """networking.v1alpha3.GrpcHealthCheckConfig."""

    port: Annotated[UInt32, doc("gRPC port")] = 0
    service: Annotated[str, doc("health service name")] = ""


class ReadinessProbe(Message, frozen=True):
    """networking.v1alpha3.ReadinessProbe."""

    initial_delay_seconds: Annotated[Int32, doc("wait before first probe")] = 0
    timeout_seconds: Annotated[Int32, doc("single probe limit")] = 0
    period_seconds: Annotated[Int32, doc("probe interval")] = 0
    success_threshold: Annotated[Int32, doc("successes to become ready")] = 0
    failure_threshold: Annotated[Int32, doc("failures to become unready")] = 0
    http_get: Annotated[HTTPHealthCheckConfig | None, doc("HTTP probe", oneof="health_check_method")] = None
    tcp_socket: Annotated[TCPHealthCheckConfig | None, doc("TCP connect probe", oneof="health_check_method")] = None
    exec: Annotated[ExecHealthCheckConfig | None, doc("command probe", oneof="health_check_method")] = None
    grpc: Annotated[GrpcHealthCheckConfig | None, doc("gRPC health probe", oneof="health_check_method")] = None


class WorkloadGroup(Message, frozen=True):
    """networking.v1alpha3.WorkloadGroup."""

    metadata: Annotated[
        WorkloadGroupObjectMeta | None, doc("labels/annotations copied to generated WorkloadEntries")
    ] = None
    template: Annotated[
        WorkloadEntry | None, doc("WorkloadEntry template used at auto-registration", required=True)
    ] = None
    probe: Annotated[ReadinessProbe | None, doc("readiness probe run by the agent to set Healthy condition")] = None
