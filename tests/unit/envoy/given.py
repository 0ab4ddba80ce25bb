"""Inputs of builders, made by hand with what a test does not care about filled in."""

from typing import Any

import msgspec

from tidegate.api.fields import Duration, decode_hook
from tidegate.api.mesh import DefaultTrafficPolicy
from tidegate.api.networking import ConnectionPoolSettings, DestinationRule, LocalityLoadBalancerSetting, Sidecar
from tidegate.api.objects import Object, ObjectMeta, Ref
from tidegate.envoy.inputs import (
    AccessLog,
    ClusterDefaults,
    ClusterInput,
    EndpointsInput,
    InboundInput,
    ListenerDefaults,
)
from tidegate.kit.keyed import Keyed
from tidegate.registry.model import (
    Endpoint,
    Port,
    Protocol,
    Registry,
    Resolution,
    Service,
    ServiceKey,
    ServiceTarget,
    labels_of,
)
from tidegate.scope.proxy import ProxyKind

HTTP = Port(8080, "http", Protocol.HTTP, 8080)
TCP = Port(9100, "tcp-feed", Protocol.TCP, 9100)
AUTO = Port(9464, "metrics", Protocol.AUTO, 9464)
GRPC = Port(9090, "grpc", Protocol.GRPC, 9090)


def proxy(**changes: Any) -> ProxyKind:
    return ProxyKind(namespace="shop", dns_domain="shop.svc.cluster.local", **changes)


def defaults(**changes: Any) -> ClusterDefaults:
    enabled = Keyed(LocalityLoadBalancerSetting(enabled=True), b"enabled")
    base = ClusterDefaults(
        connect_timeout=Duration.of(seconds=10), dns_refresh_rate=Duration.of(seconds=60), locality_lb=enabled
    )
    return msgspec.structs.replace(base, **changes)


def listener_defaults(**changes: Any) -> ListenerDefaults:
    base = ListenerDefaults(detection_timeout=Duration(0), access_log=AccessLog(), cluster=defaults())
    return msgspec.structs.replace(base, **changes)


def service(host: str = "orders.shop.svc.cluster.local", *ports: Port, **changes: Any) -> Service:
    internal = host.endswith(".svc.cluster.local")
    kind = "Service" if internal else "ServiceEntry"
    name = host.split(".")[0]
    base = Service(
        key=ServiceKey("shop", host),
        registry=Registry.KUBERNETES if internal else Registry.EXTERNAL,
        resolution=Resolution.CLIENT_SIDE,
        ports=ports or (HTTP,),
        name=name,
        external=not internal,
        sources=(Ref(kind, "shop", name),),
    )
    return msgspec.structs.replace(base, **changes)


def endpoint(
    address: str, port: int = 8080, name: str = "http", labels: dict[str, str] | None = None, **changes: Any
) -> Endpoint:
    base = Endpoint(address=address, port=port, port_name=name, labels=labels_of(labels or {}))
    return msgspec.structs.replace(base, **changes)


def rule(policy: Any = None, subsets: Any = (), host: str = "orders", **spec: Any) -> Object[DestinationRule]:
    raw = {"host": host, "subsets": list(subsets), **({"trafficPolicy": policy} if policy is not None else {}), **spec}
    return _object("DestinationRule", raw, DestinationRule)


def sidecar(**spec: Any) -> Object[Sidecar]:
    return _object("Sidecar", spec, Sidecar)


def _object(kind: str, raw: Any, struct: Any) -> Object[Any]:
    body = msgspec.convert(raw, struct, dec_hook=decode_hook)
    digest = msgspec.json.encode(raw, order="deterministic")
    return Object(Ref(kind, "shop", "orders"), ObjectMeta(name="orders", namespace="shop"), body, digest)


def pool(raw: Any) -> Keyed[ConnectionPoolSettings]:
    return Keyed(msgspec.convert(raw, ConnectionPoolSettings, dec_hook=decode_hook), repr(raw).encode())


def mesh_policy(raw: Any) -> Keyed[DefaultTrafficPolicy]:
    return Keyed(msgspec.convert(raw, DefaultTrafficPolicy, dec_hook=decode_hook), repr(raw).encode())


def cluster(**changes: Any) -> ClusterInput:
    base = ClusterInput(service=service(), port=HTTP, defaults=defaults(), proxy=proxy())
    return msgspec.structs.replace(base, **changes)


def assignment(*endpoints: Endpoint, **changes: Any) -> EndpointsInput:
    base = EndpointsInput(service=service(), port=HTTP, endpoints=endpoints, defaults=defaults(), proxy=proxy())
    return msgspec.structs.replace(base, **changes)


def target(port: Port = HTTP, number: int = 0, of: Service | None = None) -> ServiceTarget:
    owner = of or service("orders.shop.svc.cluster.local", port)
    return ServiceTarget(service=owner, port=port, endpoint_port=number or port.target_port)


def inbound(*targets: ServiceTarget, **changes: Any) -> InboundInput:
    base = InboundInput(targets=targets, defaults=listener_defaults(), proxy=proxy())
    return msgspec.structs.replace(base, **changes)
