"""Inbound clusters: from the sidecar to the application beside it."""

from typing import Any

from tidegate.envoy import balancing, pool, protos
from tidegate.envoy.clusters import put_services, ref_path
from tidegate.envoy.inbound_ports import LOCALHOST_V4, LOCALHOST_V6, InboundPort, split_endpoint
from tidegate.envoy.inputs import ClusterDefaults, InboundInput
from tidegate.envoy.resource import CLUSTER, Origin, Resource, resource
from tidegate.envoy.special import put_inbound_bind
from tidegate.envoy.stat_names import alt_stat_name
from tidegate.kit import naming

NEVER = protos.PbDuration(seconds=9223372035)
"""How long an ORIGINAL_DST cluster keeps an idle host: its one host is the application and never goes."""


def build(given: InboundInput, port: InboundPort) -> Resource:
    """The cluster ``inbound|port||``: to where the caller was going, or to a Sidecar's defaultEndpoint."""
    defaults = given.defaults.cluster
    name = naming.inbound_cluster(port.number)
    cluster = protos.Cluster(name=name)
    cluster.alt_stat_name = _stat_name(given, port, name)
    tcp = pool.tcp_of(port.pool)
    timeout = tcp.connect_timeout if tcp.connect_timeout is not None else defaults.connect_timeout
    cluster.connect_timeout.CopyFrom(protos.duration(timeout))
    cluster.circuit_breakers.CopyFrom(pool.circuit_breakers(port.pool, port.retry_budget))
    cluster.common_lb_config.SetInParent()
    pool.put_keepalive(cluster, defaults.tcp_keepalive, tcp.tcp_keepalive)
    speaker = pool.Speaker(upgrades=False, keeps_case=given.proxy.headers.keeps_case)
    pool.put_http_options(cluster, pool.protocol(port.protocol, port.pool, speaker), port.pool)
    _put_destination(cluster, given, port, defaults)
    _put_metadata(cluster, port)
    return resource(name, CLUSTER, cluster, _origins(port), (port.decision,) if port.decision else ())


def _stat_name(given: InboundInput, port: InboundPort, name: str) -> str:
    service = port.services[0] if port.services else None
    return alt_stat_name(given.defaults.cluster.inbound_stat_name, name, service, port.port)


def _put_destination(cluster: Any, given: InboundInput, port: InboundPort, defaults: ClusterDefaults) -> None:
    endpoint = port.endpoint
    if not endpoint and defaults.inbound_localhost:
        local = LOCALHOST_V4 if given.proxy.ipv4 else f"[{LOCALHOST_V6}]"
        endpoint = f"{local}:{port.number}"
    if not endpoint:
        cluster.type = protos.Cluster.DiscoveryType.ORIGINAL_DST
        cluster.lb_policy = balancing.LB.Value("CLUSTER_PROVIDED")
        cluster.cleanup_interval.CopyFrom(NEVER)
        put_inbound_bind(cluster, given.proxy)
        return
    host, number = split_endpoint(endpoint)
    cluster.type = protos.Cluster.DiscoveryType.STATIC
    address = protos.socket_address(host, number) if number else protos.pipe_address(host)
    cluster.load_assignment.cluster_name = cluster.name
    cluster.load_assignment.endpoints.add().lb_endpoints.add().endpoint.address.CopyFrom(address)
    if host not in (LOCALHOST_V4, LOCALHOST_V6):
        put_inbound_bind(cluster, given.proxy)


def _put_metadata(cluster: Any, port: InboundPort) -> None:
    if not (port.services or port.rule):
        return
    istio = cluster.metadata.filter_metadata["istio"].fields
    if port.services:
        put_services(istio, port.services)
    if port.rule is not None:
        istio["config"].string_value = ref_path(port.rule.kind, port.rule.namespace, port.rule.name)


def _origins(port: InboundPort) -> tuple[Origin, ...]:
    found = [port.origin] if port.origin else []
    if port.rule is not None and port.pooled:
        found.append(Origin("circuit_breakers", port.rule, "spec.trafficPolicy.connectionPool"))
    return tuple(found)
