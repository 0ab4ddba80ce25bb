"""Kubernetes kinds that a mesh reads: only the fields that tidegate acts on or shows; the rest is kept in storage.

Unlike the Istio kinds these are read leniently: a field that is not listed is Kubernetes' business, never an error.
"""

import msgspec

from tidegate.api.fields import Message


class NamespaceSpec(Message, frozen=True):
    finalizers: tuple[str, ...] = ()


class NodeAddress(Message, frozen=True):
    type: str = ""
    address: str = ""


class NodeStatus(Message, frozen=True):
    addresses: tuple[NodeAddress, ...] = ()


class ContainerPort(Message, frozen=True):
    container_port: int = 0
    name: str = ""
    protocol: str = "TCP"


class Container(Message, frozen=True):
    name: str = ""
    image: str = ""
    ports: tuple[ContainerPort, ...] = ()


class PodSpec(Message, frozen=True):
    node_name: str = ""
    service_account_name: str = ""
    hostname: str = ""
    subdomain: str = ""
    host_network: bool = False
    restart_policy: str = ""
    containers: tuple[Container, ...] = ()
    init_containers: tuple[Container, ...] = ()


class PodIP(Message, frozen=True):
    ip: str = ""


class Condition(Message, frozen=True):
    type: str = ""
    status: str = ""
    reason: str = ""
    message: str = ""


class PodStatus(Message, frozen=True):
    phase: str = ""
    pod_ip: str = msgspec.field(default="", name="podIP")
    pod_i_ps: tuple[PodIP, ...] = msgspec.field(default=(), name="podIPs")
    conditions: tuple[Condition, ...] = ()


class ServicePort(Message, frozen=True):
    """core/v1 ServicePort. target_port is a number or the name of a container port; None means ``port``."""

    name: str = ""
    protocol: str = "TCP"
    app_protocol: str = ""
    port: int = 0
    target_port: int | str | None = None
    node_port: int = 0


class ServiceSpec(Message, frozen=True):
    """core/v1 ServiceSpec. cluster_ip "None" marks a headless Service."""

    type: str = "ClusterIP"
    selector: dict[str, str] = {}
    ports: tuple[ServicePort, ...] = ()
    cluster_ip: str = msgspec.field(default="", name="clusterIP")
    cluster_i_ps: tuple[str, ...] = msgspec.field(default=(), name="clusterIPs")
    external_name: str = ""
    internal_traffic_policy: str = "Cluster"
    publish_not_ready_addresses: bool = False
    traffic_distribution: str = ""
    session_affinity: str = "None"
    external_i_ps: tuple[str, ...] = msgspec.field(default=(), name="externalIPs")


class LoadBalancerIngress(Message, frozen=True):
    ip: str = ""
    hostname: str = ""


class LoadBalancerStatus(Message, frozen=True):
    ingress: tuple[LoadBalancerIngress, ...] = ()


class ServiceStatus(Message, frozen=True):
    """core/v1 ServiceStatus: where a Service is reached from outside."""

    load_balancer: LoadBalancerStatus = LoadBalancerStatus()


class EndpointPort(Message, frozen=True):
    name: str = ""
    port: int | None = None
    protocol: str = "TCP"
    app_protocol: str = ""


class ObjectReference(Message, frozen=True):
    kind: str = ""
    namespace: str = ""
    name: str = ""
    uid: str = ""


class EndpointConditions(Message, frozen=True):
    """discovery/v1: unset ready means ready, unset serving means ready, unset terminating means false."""

    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class SliceEndpoint(Message, frozen=True):
    addresses: tuple[str, ...] = ()
    conditions: EndpointConditions = EndpointConditions()
    hostname: str = ""
    target_ref: ObjectReference | None = None
    node_name: str = ""
    zone: str = ""


class EndpointSliceBody(Message, frozen=True):
    """discovery/v1 EndpointSlice keeps these at the top level of the object, not under spec."""

    address_type: str = "IPv4"
    endpoints: tuple[SliceEndpoint, ...] = ()
    ports: tuple[EndpointPort, ...] = ()


class EndpointAddress(Message, frozen=True):
    ip: str = ""
    hostname: str = ""
    node_name: str = ""
    target_ref: ObjectReference | None = None


class EndpointSubset(Message, frozen=True):
    addresses: tuple[EndpointAddress, ...] = ()
    not_ready_addresses: tuple[EndpointAddress, ...] = ()
    ports: tuple[EndpointPort, ...] = ()


class EndpointsBody(Message, frozen=True):
    subsets: tuple[EndpointSubset, ...] = ()


class ConfigMapBody(Message, frozen=True):
    data: dict[str, str] = {}


class SecretBody(Message, frozen=True):
    """core/v1 Secret; values are base64 text."""

    type: str = "Opaque"
    data: dict[str, str] = {}
    string_data: dict[str, str] = {}
    """Plain text, in writes only: it is stored in ``data``."""


class ServiceAccountBody(Message, frozen=True):
    automount_service_account_token: bool | None = None


class InvolvedObject(Message, frozen=True):
    """core/v1 ObjectReference, of an Event."""

    api_version: str = ""
    kind: str = ""
    namespace: str = ""
    name: str = ""
    uid: str = ""
    resource_version: str = ""
    field_path: str = ""


class EventSource(Message, frozen=True):
    component: str = ""
    host: str = ""


class EventSeries(Message, frozen=True):
    count: int = 0
    last_observed_time: str = ""


class EventBody(Message, frozen=True):
    """core/v1 Event; its fields stand at the top level of the object."""

    involved_object: InvolvedObject = InvolvedObject()
    reason: str = ""
    message: str = ""
    source: EventSource = EventSource()
    first_timestamp: str = ""
    last_timestamp: str = ""
    count: int = 0
    type: str = ""
    event_time: str = ""
    series: EventSeries | None = None
    action: str = ""
    related: InvolvedObject | None = None
    reporting_component: str = ""
    reporting_instance: str = ""


class RegardingEventBody(Message, frozen=True):
    """events.k8s.io/v1 Event: the same under other names."""

    regarding: InvolvedObject = InvolvedObject()
    reason: str = ""
    note: str = ""
    type: str = ""
    event_time: str = ""
    series: EventSeries | None = None
    action: str = ""
    related: InvolvedObject | None = None
    reporting_controller: str = ""
    reporting_instance: str = ""
    deprecated_source: EventSource = EventSource()
    deprecated_first_timestamp: str = ""
    deprecated_last_timestamp: str = ""
    deprecated_count: int = 0


class LeaseSpec(Message, frozen=True):
    """coordination.k8s.io/v1: who holds a lease, and since when."""

    holder_identity: str = ""
    lease_duration_seconds: int = 0
    acquire_time: str = ""
    renew_time: str = ""
    lease_transitions: int = 0


class LabelSelectorRequirement(Message, frozen=True):
    key: str = ""
    operator: str = ""
    values: tuple[str, ...] = ()


class LabelSelector(Message, frozen=True):
    """metav1.LabelSelector: an object matches when all of it holds."""

    match_labels: dict[str, str] = {}
    match_expressions: tuple[LabelSelectorRequirement, ...] = ()


class TemplateMeta(Message, frozen=True):
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class PodTemplate(Message, frozen=True):
    """core/v1 PodTemplateSpec."""

    metadata: TemplateMeta = TemplateMeta()
    spec: PodSpec = PodSpec()


class RollingUpdate(Message, frozen=True):
    """How many Pods there may be too many or too few while a rollout goes on: numbers, or shares such as "25%"."""

    max_unavailable: int | str | None = None
    max_surge: int | str | None = None


class DeploymentStrategy(Message, frozen=True):
    type: str = ""
    rolling_update: RollingUpdate | None = None


class DeploymentSpec(Message, frozen=True):
    """apps/v1 DeploymentSpec."""

    replicas: int | None = None
    selector: LabelSelector | None = None
    template: PodTemplate = PodTemplate()
    strategy: DeploymentStrategy = DeploymentStrategy()
    min_ready_seconds: int = 0
    revision_history_limit: int | None = None
    progress_deadline_seconds: int | None = None
    paused: bool = False


class ReplicaSetSpec(Message, frozen=True):
    """apps/v1 ReplicaSetSpec."""

    replicas: int | None = None
    selector: LabelSelector | None = None
    template: PodTemplate = PodTemplate()
    min_ready_seconds: int = 0


class ServiceBackendPort(Message, frozen=True):
    name: str = ""
    number: int = 0


class IngressServiceBackend(Message, frozen=True):
    name: str = ""
    port: ServiceBackendPort = ServiceBackendPort()


class IngressBackend(Message, frozen=True):
    service: IngressServiceBackend | None = None


class HTTPIngressPath(Message, frozen=True):
    """networking/v1 HTTPIngressPath; ``path_type``: Exact, Prefix or ImplementationSpecific."""

    path: str = ""
    path_type: str = ""
    backend: IngressBackend = IngressBackend()


class HTTPIngressRuleValue(Message, frozen=True):
    paths: tuple[HTTPIngressPath, ...] = ()


class IngressRule(Message, frozen=True):
    host: str = ""
    http: HTTPIngressRuleValue | None = None


class IngressTLS(Message, frozen=True):
    hosts: tuple[str, ...] = ()
    secret_name: str = ""


class IngressSpec(Message, frozen=True):
    """networking/v1 IngressSpec."""

    ingress_class_name: str = ""
    default_backend: IngressBackend | None = None
    tls: tuple[IngressTLS, ...] = ()
    rules: tuple[IngressRule, ...] = ()
