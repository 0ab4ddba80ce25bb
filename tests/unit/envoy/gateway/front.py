"""A gateway in a world of plain objects, and what it is sent."""

from typing import Any

from tests.worlds import made, pod, put, service
from tidegate.api.objects import Object
from tidegate.app.discovery.hub import Hub
from tidegate.app.discovery.proxies import Node
from tidegate.envoy import protos
from tidegate.envoy.resource import CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET, Decision

SPACE = "edge"
TARGETS = {"gw": 8080, "tls": 8443}


def gateway(where: str, *servers: dict[str, Any], day: int = 1, **selector: str) -> Object[Any]:
    return made("Gateway", where, day=day, selector=selector or {"app": "gw"}, servers=list(servers))


def server(number: int, protocol: str, *hosts: str, bind: str = "", **tls: Any) -> dict[str, Any]:
    named = {"port": {"number": number, "name": f"{protocol.lower()}-{number}", "protocol": protocol}}
    return {**named, "hosts": list(hosts) or ["*"], **({"bind": bind} if bind else {}), **({"tls": tls} if tls else {})}


def simple(number: int, *hosts: str, name: str = "cert", protocol: str = "HTTPS", **tls: Any) -> dict[str, Any]:
    return server(number, protocol, *hosts, **({"mode": "SIMPLE", "credentialName": name} | tls))


def bound(where: str, host: str, to: str, *gateways: str, day: int = 1, **spec: Any) -> Object[Any]:
    """A VirtualService of one HTTP route, to ``host`` or ``host:port``."""
    name, _, port = to.partition(":")
    destination: dict[str, Any] = {"host": name} | ({"port": {"number": int(port)}} if port else {})
    spec.setdefault("http", [{"route": [{"destination": destination}]}])
    return made("VirtualService", where, day=day, hosts=[host], gateways=list(gateways), **spec)


def own_service(**spec: Any) -> Object[Any]:
    """The gateway's own Service: 80 leads to 8080, 443 to 8443."""
    ports = [
        {"name": "http2", "port": 80, "targetPort": 8080, "protocol": "TCP"},
        {"name": "https", "port": 443, "targetPort": 8443, "protocol": "TCP"},
    ]
    return made("Service", f"{SPACE}/gw", clusterIP="10.96.1.1", selector={"app": "gw"}, ports=ports, **spec)


def web(where: str = "shop/web", address: str = "10.96.0.7") -> Object[Any]:
    return service(where, (8000, "http"), address=address)


class Front:
    """One gateway, attached to a hub that holds the objects."""

    def __init__(self, *objects: Object[Any], certificates: bool = False, **node: Any) -> None:
        self.hub = Hub()
        self.hub.apply([put(each) for each in (pod(f"{SPACE}/gw", "10.1.0.9", {"app": "gw"}), *objects)])
        assert not dict(self.hub.world.problems()), dict(self.hub.world.problems())
        self.shown = self.hub.attach(
            Node(
                name=f"gw.{SPACE}",
                namespace=SPACE,
                pod="gw",
                service_account="default",
                address="10.1.0.9",
                router=True,
                certificates=certificates,
                **node,
            )
        )

    @property
    def view(self) -> Any:
        return self.shown.mailbox.view

    def names(self, url: str) -> list[str]:
        return sorted(self.view.names(url))

    def listeners(self) -> list[str]:
        return self.names(LISTENER)

    def clusters(self) -> list[str]:
        return self.names(CLUSTER)

    def listener(self, name: str) -> Any:
        return protos.Listener.FromString(self.view.get(LISTENER, name).body)

    def route(self, name: str) -> Any:
        return protos.RouteConfiguration.FromString(self.view.get(ROUTE, name).body)

    def assignment(self, name: str) -> Any:
        return protos.ClusterLoadAssignment.FromString(self.view.get(ENDPOINT, name).body)

    def secret(self, name: str) -> Any:
        """None where the gateway is given no such secret."""
        found = self.view.get(SECRET, name)
        return found if found is None else protos.Secret.FromString(found.body)

    def chains(self, name: str) -> dict[str, Any]:
        """The filter chains of a listener by their server names."""
        return {",".join(c.filter_chain_match.server_names): c for c in self.listener(name).filter_chains}

    def hosts(self, name: str) -> dict[str, list[str]]:
        """Virtual hosts of a route configuration in order, each with the clusters of its routes."""
        return {host.name: [r.route.cluster for r in host.routes] for host in self.route(name).virtual_hosts}

    def decisions(self) -> list[Decision]:
        return [
            *self.shown.inbound.decisions,
            *self._of_resources(),
        ]

    def _of_resources(self) -> list[Decision]:
        return [
            decision
            for of_type in self.shown.inbound.resources.values()
            for resource in of_type.values()
            for decision in resource.all_decisions()
        ]


def manager(chain: Any) -> Any:
    """The HTTP connection manager at the end of a chain."""
    return protos.HttpConnectionManager.FromString(chain.filters[-1].typed_config.value)


def tcp(chain: Any) -> Any:
    return protos.TcpProxy.FromString(chain.filters[-1].typed_config.value)


def tls(chain: Any) -> Any:
    return protos.DownstreamTlsContext.FromString(chain.transport_socket.typed_config.value)
