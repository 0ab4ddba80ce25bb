"""Worlds made of plain objects, and what a kind of proxy is shown of them. Used by tests of several rooms."""

from typing import Any

from tidegate.api import decode
from tidegate.api.objects import Object, Ref
from tidegate.envoy import protos
from tidegate.envoy.cache import Builders
from tidegate.envoy.defaults import slices
from tidegate.envoy.outbound import Outbound
from tidegate.envoy.resource import CLUSTER, ENDPOINT, LISTENER, ROUTE
from tidegate.scope.proxy import ProxyKind
from tidegate.snapshot.state import Snapshot
from tidegate.snapshot.world import Event, Verb

DOMAIN = "cluster.local"
_VERSIONS = {"Service": "v1", "Pod": "v1", "ConfigMap": "v1", "Namespace": "v1", "Node": "v1"}
_SECURITY = ("AuthorizationPolicy", "PeerAuthentication", "RequestAuthentication")
_VERSIONS |= dict.fromkeys(_SECURITY, "security.istio.io/v1")
_VERSIONS |= {"EnvoyFilter": "networking.istio.io/v1alpha3", "Telemetry": "telemetry.istio.io/v1"}


def made(kind: str, where: str, /, *, day: int = 1, labels: dict[str, str] | None = None, **body: Any) -> Object[Any]:
    """An object as a store holds it. where: ``namespace/name``. day: of its creation; lower is older."""
    namespace, _, name = where.rpartition("/")
    meta: dict[str, Any] = {
        "name": name,
        "uid": f"{kind}/{where}",
        "creationTimestamp": f"2026-01-{day:02}T00:00:00Z",
        "labels": labels or {},
    }
    if namespace:
        meta["namespace"] = namespace
    version = _VERSIONS.get(kind) or ("discovery.k8s.io/v1" if kind == "EndpointSlice" else "networking.istio.io/v1")
    whole = body if kind in ("ConfigMap", "EndpointSlice") else {"spec": body}
    return decode.stored({"apiVersion": version, "kind": kind, "metadata": meta, **whole})


def service(where: str, *ports: tuple[int, str], address: str = "", day: int = 1, **spec: Any) -> Object[Any]:
    """A Kubernetes Service; ports as (number, name). Without an address it is headless."""
    listed = [{"port": number, "name": name, "protocol": "TCP"} for number, name in ports or ((80, "http"),)]
    return made("Service", where, day=day, clusterIP=address or "None", ports=listed, **spec)


def entry(
    where: str, host: str, *ports: tuple[int, str], day: int = 1, resolution: str = "STATIC", **spec: Any
) -> Object[Any]:
    """A ServiceEntry of one host; ports as (number, protocol)."""
    listed = [{"number": n, "name": f"p-{n}", "protocol": p} for n, p in ports or ((80, "HTTP"),)]
    if resolution == "STATIC":
        spec.setdefault("endpoints", [{"address": "10.8.0.1"}])
    return made("ServiceEntry", where, day=day, hosts=[host], ports=listed, resolution=resolution, **spec)


def routing(where: str, hosts: list[str], to: str, *, day: int = 1, **spec: Any) -> Object[Any]:
    """A VirtualService that sends all HTTP of its hosts to one destination, ``host`` or ``host:port``."""
    host, _, port = to.partition(":")
    destination: dict[str, Any] = {"host": host}
    if port:
        destination["port"] = {"number": int(port)}
    http = spec.pop("http", [{"route": [{"destination": destination}]}])
    return made("VirtualService", where, day=day, hosts=hosts, http=http, **spec)


def policy(where: str, host: str, *, day: int = 1, connections: int = 0, **spec: Any) -> Object[Any]:
    """A DestinationRule, told apart by its limit of connections."""
    if connections:
        spec["trafficPolicy"] = {"connectionPool": {"tcp": {"maxConnections": connections}}}
    return made("DestinationRule", where, day=day, host=host, **spec)


def sidecar(where: str, *egress: Any, day: int = 1, **spec: Any) -> Object[Any]:
    """A Sidecar; an egress listener is given whole, or as the list of its hosts."""
    if egress:
        spec["egress"] = [{"hosts": e} if isinstance(e, list) else e for e in egress]
    return made("Sidecar", where, day=day, **spec)


def mesh(text: str) -> Object[Any]:
    return made("ConfigMap", "istio-system/istio", data={"mesh": text})


def pod(where: str, address: str, labels: dict[str, str] | None = None, **spec: Any) -> Object[Any]:
    namespace, _, name = where.partition("/")
    raw = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "uid": where, "labels": labels or {}},
        "spec": {"serviceAccountName": "default", "containers": [{"name": "app"}], **spec},
        "status": {
            "phase": "Running",
            "podIP": address,
            "podIPs": [{"ip": address}],
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }
    return decode.stored(raw)


def put(found: Object[Any]) -> Event:
    return Event(Verb.PUT, found.ref, found)


def gone(found: Object[Any] | Ref) -> Event:
    return Event(Verb.DELETE, found if isinstance(found, Ref) else found.ref)


def world(*objects: Object[Any]) -> Snapshot:
    """The world that holds these objects; every one of them must be valid."""
    after, _ = Snapshot.empty(DOMAIN).apply([put(each) for each in objects])
    assert not dict(after.problems()), dict(after.problems())
    return after


def kind(namespace: str = "shop", **changes: Any) -> ProxyKind:
    changes["labels"] = tuple(sorted(changes.pop("labels", {}).items()))
    return ProxyKind(namespace=namespace, dns_domain=f"{namespace}.svc.{DOMAIN}", **changes)


class Shop:
    """What one kind of proxy is shown of a world, read back from the bytes."""

    def __init__(self, *objects: Object[Any], namespace: str = "shop", **changes: Any) -> None:
        self.world = world(*objects)
        self.builders = Builders()
        cut = slices(self.world.mesh, DOMAIN)
        self.view = Outbound(kind(namespace, **changes), self.world, cut, self.builders)

    def advance(self, *events: Event) -> dict[str, frozenset[str]]:
        """Move on; the names that were told to differ, by type, empty types left out."""
        self.world, changed = self.world.apply(events)
        told = self.view.advance(self.world, changed, slices(self.world.mesh, DOMAIN))
        return {url: names for url, names in told.items() if names}

    def names(self, url: str) -> set[str]:
        return set(self.view.resources[url])

    def clusters(self) -> set[str]:
        """Outbound clusters; the special ones left out."""
        return {name for name in self.names(CLUSTER) if "|" in name}

    def listeners(self) -> set[str]:
        return self.names(LISTENER) - {"virtualOutbound"}

    def assignments(self) -> set[str]:
        return self.names(ENDPOINT)

    def cluster(self, name: str) -> Any:
        return protos.Cluster.FromString(self.view.resources[CLUSTER][name].body)

    def listener(self, name: str) -> Any:
        return protos.Listener.FromString(self.view.resources[LISTENER][name].body)

    def binds(self, name: str) -> bool:
        """Whether a listener really binds its port, as Envoy does unless told otherwise."""
        found = self.listener(name)
        return not found.HasField("bind_to_port") or bool(found.bind_to_port.value)

    def connections(self, name: str) -> int:
        """The limit of connections, by which tests tell DestinationRules apart; 0 for none."""
        limit = int(self.cluster(name).circuit_breakers.thresholds[0].max_connections.value)
        return 0 if limit == 2**32 - 1 else limit

    def route(self, name: str) -> Any:
        return protos.RouteConfiguration.FromString(self.view.resources[ROUTE][name].body)

    def domains(self, name: str) -> dict[str, list[str]]:
        """Virtual hosts of a route configuration in order, each with its domains."""
        return {host.name: list(host.domains) for host in self.route(name).virtual_hosts}

    def target(self, table: str, host: str) -> str:
        """The cluster that the first route of a virtual host leads to."""
        found = next(h for h in self.route(table).virtual_hosts if h.name == host)
        return str(found.routes[0].route.cluster)
