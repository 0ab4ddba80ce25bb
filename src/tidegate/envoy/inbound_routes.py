"""Inline route configurations of inbound HTTP chains: everything goes to one cluster."""

import re
from typing import Any

from tidegate.api.networking import HTTPRetry
from tidegate.envoy import protos
from tidegate.envoy.inbound_ports import InboundPort
from tidegate.kit import naming
from tidegate.registry.model import Protocol

DEFAULT_RETRY_ON, DEFAULT_ATTEMPTS = "reset-before-request", 2
"""The application's keep-alive timeout may close a pooled connection under a request: that is safe to repeat."""

_STATUS = re.compile(r"[1-5][0-9]{2}", re.ASCII)
_WITHOUT_RETRY = frozenset({Protocol.GRPC, Protocol.GRPC_WEB})


def route_of(port: InboundPort, retry: HTTPRetry | None) -> Any:
    """The RouteConfiguration ``inbound|port||``."""
    return _route(
        name=naming.inbound_route(port.number),
        host=naming.inbound_virtual_host(port.service_port),
        cluster=naming.inbound_cluster(port.number),
        operation=f"{port.operation}:{port.service_port}/*",
        retry=None if port.protocol in _WITHOUT_RETRY else retry_policy(retry),
    )


def passthrough_route(retry: HTTPRetry | None) -> Any:
    """The RouteConfiguration of ports that no service lists."""
    cluster = naming.INBOUND_PASSTHROUGH_CLUSTER
    host = naming.inbound_virtual_host(0)
    return _route(name=cluster, host=host, cluster=cluster, operation=":0/*", retry=retry_policy(retry))


def _route(*, name: str, host: str, cluster: str, operation: str, retry: Any) -> Any:
    zero = protos.PbDuration()
    action = protos.RouteAction(
        cluster=cluster,
        timeout=zero,
        retry_policy=retry,
        max_stream_duration=protos.RouteAction.MaxStreamDuration(
            max_stream_duration=zero, grpc_timeout_header_max=zero
        ),
    )
    route = protos.Route(
        name=naming.DEFAULT_ROUTE,
        match=protos.RouteMatch(prefix="/"),
        route=action,
        decorator=protos.Decorator(operation=operation),
    )
    return protos.RouteConfiguration(
        name=name,
        virtual_hosts=[protos.VirtualHost(name=host, domains=["*"], routes=[route])],
        validate_clusters=protos.boolean(False),
    )


def retry_policy(given: HTTPRetry | None) -> Any:
    """MeshConfig.defaultInboundHttpRetryPolicy, of which attempts, retryOn and backoff count: there is one endpoint.
    None when it switches retries off with attempts 0."""
    if given is None:
        return protos.RetryPolicy(retry_on=DEFAULT_RETRY_ON, num_retries=protos.u32(DEFAULT_ATTEMPTS))
    if given.attempts <= 0:
        return None
    words = [word.strip() for word in (given.retry_on or DEFAULT_RETRY_ON).split(",") if word.strip()]
    codes = [int(word) for word in words if _STATUS.fullmatch(word)]
    conditions = [word for word in words if not word.isascii() or not word.isdigit()]
    if codes and "retriable-status-codes" not in conditions:
        conditions.append("retriable-status-codes")
    policy = protos.RetryPolicy(
        retry_on=",".join(conditions), num_retries=protos.u32(given.attempts), retriable_status_codes=codes
    )
    if given.backoff:
        policy.retry_back_off.base_interval.CopyFrom(protos.duration(given.backoff))
    return policy
