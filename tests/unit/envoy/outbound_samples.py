"""Small inputs for tests of outbound builders, and readings of what they return."""

from typing import Any

from tidegate.api import decode
from tidegate.api.fields import Duration
from tidegate.api.networking import DestinationRule, VirtualService
from tidegate.api.objects import Object, Ref
from tidegate.envoy import protos
from tidegate.envoy.inputs import (
    AccessLog,
    CatchAll,
    ClusterDefaults,
    ListenerDefaults,
    ListenerInput,
    Member,
    RouteDefaults,
    Target,
    VirtualHostInput,
)
from tidegate.envoy.resource import Resource
from tidegate.registry.model import Port, Protocol, Registry, Resolution, Service, ServiceKey
from tidegate.scope.proxy import ProxyKind

CLIENT = ProxyKind(namespace="shop", dns_domain="shop.svc.cluster.local", labels=(("track", "canary"),))
ALLOW, BLOCK = CatchAll(allow=True), CatchAll(allow=False)
CLUSTER_DEFAULTS = ClusterDefaults(connect_timeout=Duration.of(seconds=10), dns_refresh_rate=Duration.of(seconds=60))


def listener_defaults(**changes: Any) -> ListenerDefaults:
    given = {"detection_timeout": Duration(0), "access_log": AccessLog(), "cluster": CLUSTER_DEFAULTS}
    return ListenerDefaults(**{**given, **changes})


def service(host: str = "orders.shop.svc.cluster.local", *ports: Port, **changes: Any) -> Service:
    """A Kubernetes Service for names of the cluster, a ServiceEntry's host for others."""
    inside = host.endswith(".svc.cluster.local")
    parts = host.split(".")
    namespace = parts[1] if inside else "shop"
    kind = "Service" if inside else "ServiceEntry"
    given: dict[str, Any] = {
        "key": ServiceKey(namespace, host),
        "registry": Registry.KUBERNETES if inside else Registry.EXTERNAL,
        "resolution": Resolution.CLIENT_SIDE if inside else Resolution.DNS,
        "ports": ports or (Port(8080, "http", Protocol.HTTP),),
        "name": parts[0],
        "sources": (Ref(kind, namespace, parts[0]),),
    }
    return Service(**{**given, **changes})


def rule(name: str, **spec: Any) -> Object[VirtualService]:
    found: Object[VirtualService] = decode.stored(
        {
            "apiVersion": "networking.istio.io/v1",
            "kind": "VirtualService",
            "metadata": {"name": name, "namespace": "shop", "uid": name},
            "spec": spec,
        }
    )
    return found


def policy(name: str, **spec: Any) -> Object[DestinationRule]:
    found: Object[DestinationRule] = decode.stored(
        {
            "apiVersion": "networking.istio.io/v1",
            "kind": "DestinationRule",
            "metadata": {"name": name, "namespace": "shop", "uid": name},
            "spec": spec,
        }
    )
    return found


def host_input(served: Service | None = None, given: Object[VirtualService] | None = None, **changes: Any) -> Any:
    """A virtual host of a service on its first port."""
    served = served or service()
    values: dict[str, Any] = {
        "host": served.host,
        "port": served.ports[0].number,
        "domains": (served.host,),
        "service": served,
        "virtual_service": given,
        "targets": (Target(host=served.host, service=served),),
        "defaults": RouteDefaults(),
        "proxy": CLIENT,
    }
    return VirtualHostInput(**{**values, **changes})


def listener_input(bind: str, port: int, *members: Member, **changes: Any) -> ListenerInput:
    values: dict[str, Any] = {
        "bind": bind,
        "port": port,
        "members": members,
        "catch_all": ALLOW,
        "defaults": listener_defaults(),
        "proxy": CLIENT,
    }
    return ListenerInput(**{**values, **changes})


def member(served: Service, address: str = "", **changes: Any) -> Member:
    target = Target(host=served.host, service=served)
    return Member(**{"service": served, "port": served.ports[0], "address": address, "targets": (target,), **changes})


def opened(resource: Resource | None, message: Any) -> Any:
    assert resource is not None
    return message.FromString(resource.body)


def listener(resource: Resource | None) -> Any:
    return opened(resource, protos.Listener)


def virtual_host(resource: Resource | None) -> Any:
    return opened(resource, protos.VirtualHost)


def unpacked(any_message: Any, message: Any) -> Any:
    found = message()
    assert any_message.Unpack(found)
    return found


def tcp(chain: Any) -> Any:
    return unpacked(chain.filters[-1].typed_config, protos.TcpProxy)


def manager(chain: Any) -> Any:
    return unpacked(chain.filters[-1].typed_config, protos.HttpConnectionManager)
