"""From YAML to what one proxy would be sent, without a cluster and without a server."""

from collections.abc import Iterator
from typing import Any, cast

import msgspec

from tidegate.app.discovery.hub import Shown
from tidegate.app.discovery.proxies import Node, read_metadata
from tidegate.app.offline.config_dump import PARTS, content, dumped
from tidegate.app.offline.proxyspec import ProxySpec, placed
from tidegate.app.offline.world import Offline
from tidegate.dump.read import BOOTSTRAP, ECDS, SECRETS
from tidegate.envoy.resource import SECRET, Decision, Origin, Resource
from tidegate.envoy.view import ProxyView
from tidegate.kit import bootstraps, peers
from tidegate.registry.model import Workload
from tidegate.scope.proxy import Proxy
from tidegate.snapshot.state import Snapshot
from tidegate.xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE

TYPES = (CLUSTER, ENDPOINT, LISTENER, ROUTE)
"""Type URLs of what is compiled."""

_ROUTE_NAME = "routeConfigName"


class Compiled(msgspec.Struct, frozen=True):
    """What one proxy would be sent, and why."""

    proxy: Proxy
    view: ProxyView
    world: Snapshot
    shown: Shown

    def own_decisions(self) -> Iterator[Decision]:
        """Choices among objects that are about this proxy alone, each with winner, losers and rule; those about every
        proxy of its kind are the hub's."""
        yield from self.shown.inbound.decisions
        for of_type in self.shown.inbound.resources.values():
            for each in of_type.values():
                yield from each.all_decisions()

    def resources(self, type_url: str, names: Iterator[str] | None = None) -> dict[str, Resource]:
        """By name: those that a wildcard subscription gets, or those that are asked for."""
        wanted = self.view.names(type_url) if names is None else names
        found = ((name, self.view.get(type_url, name)) for name in wanted)
        return {name: each for name, each in found if each is not None}

    def origins(self, type_url: str, name: str) -> tuple[Origin, ...]:
        """Which object and field each part of a resource comes from."""
        found = self.view.get(type_url, name)
        return tuple(found.all_origins()) if found is not None else ()

    def config_dump(self) -> dict[str, Any]:
        """JSON as Envoy's ``/config_dump?include_eds`` has it once the proxy runs what it was sent."""
        found = dumped(self.view, {}, TYPES)
        listed = set(self.view.names(ROUTE))
        asked = tuple(name for name in route_names(_section(found, LISTENER)) if name not in listed)
        if asked:
            routes = dumped(self.view, {ROUTE: asked}, (ROUTE,))["configs"][0]
            found["configs"] = [routes if each["@type"] == routes["@type"] else each for each in found["configs"]]
        found["configs"] += [
            {"@type": BOOTSTRAP, "bootstrap": self._bootstrap()},
            {"@type": SECRETS, "dynamicWarmingSecrets": [_awaited(name) for name in self._missing_secrets(found)]},
            {"@type": ECDS},
        ]
        return found

    def _bootstrap(self) -> dict[str, Any]:
        """What is known of the bootstrap without its agent: who the proxy and its peers are, and what EnvoyFilters
        merge into it."""
        patches = self.view.get(bootstraps.TYPE_URL, bootstraps.NAME)
        found = content(bootstraps.TYPE_URL, patches) if patches is not None else {}
        if self.proxy.asks_for_peers:
            manager = {**found.get("clusterManager", {}), "localClusterName": peers.CLUSTER}
            found = {**found, "clusterManager": manager}
        return {**found, "node": {**found.get("node", {}), "id": self._node_id}}

    def _missing_secrets(self, dump: dict[str, Any]) -> list[str]:
        """Secrets that listeners and clusters ask the control plane for, and that it has not got."""
        asking = (_section(dump, LISTENER), [_tls_of(each) for each in _section(dump, CLUSTER)])
        return [name for name in _asked_secrets(asking) if self.view.get(SECRET, name) is None]

    @property
    def _node_id(self) -> str:
        kind = self.proxy.kind
        return f"{'router' if kind.router else 'sidecar'}~{self.proxy.addresses[0]}~{self.proxy.name}~{kind.dns_domain}"


def compile_proxy(offline: Offline, spec: ProxySpec, *, certificates: bool = True) -> Compiled:
    """What the control plane would send to the proxy in this world.

    certificates: whether workloads have a certificate, so that sidecars speak mutual TLS among themselves.
    """
    hub = offline.hub
    workload = placed(hub.world, spec)
    hub.world = msgspec.structs.replace(hub.world, workloads=hub.world.workloads.set(workload.ref, workload))
    shown = hub.attach(_node(spec, workload, certificates))
    return Compiled(shown.proxy, cast(ProxyView, shown.mailbox.view), hub.world, shown)


def _node(spec: ProxySpec, workload: Workload, certificates: bool) -> Node:
    read = read_metadata({"CLUSTER_ID": spec.cluster_id, **spec.metadata})
    return Node(
        name=spec.node_id,
        namespace=spec.namespace,
        pod=spec.node_id.partition(".")[0],
        service_account=workload.service_account,
        address=spec.addresses[0],
        workload=workload.ref,
        dns_domain=spec.dns_domain,
        certificates=certificates,
        router=spec.type == "router",
        **read,
    )


def _awaited(name: str) -> dict[str, Any]:
    """An entry of Envoy's dump for a secret that has not come."""
    return {"name": name, "versionInfo": "uninitialized", "secret": {"@type": SECRET, "name": name}}


def _section(dump: dict[str, Any], type_url: str) -> list[dict[str, Any]]:
    """The entries of one kind of resource."""
    name, field = PARTS[type_url][:2]
    found: list[dict[str, Any]] = next(each[field] for each in dump["configs"] if each["@type"].endswith(f".{name}"))
    return found


def _tls_of(entry: dict[str, Any]) -> list[Any]:
    """The transport sockets of a cluster: thousands have none, and nothing else in a cluster asks for secrets."""
    cluster = entry["cluster"]
    return [cluster[key] for key in ("transportSocket", "transportSocketMatches") if key in cluster]


def route_names(value: Any) -> Iterator[str]:
    """Names of the route configurations that listeners, or a whole dump, ask for; each once."""
    found = (each[_ROUTE_NAME] for each in _objects(value) if isinstance(each.get(_ROUTE_NAME), str))
    yield from dict.fromkeys(found)


def _asked_secrets(value: Any) -> Iterator[str]:
    """Names of the secrets that come by the aggregated stream; each once."""
    found = (each for each in _objects(value) if isinstance(each.get("sdsConfig"), dict))
    yield from dict.fromkeys(each["name"] for each in found if "ads" in each["sdsConfig"])


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    """Every object of a value, outer ones first."""
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            yield each
            waiting += each.values()
        elif isinstance(each, (list, tuple)):
            waiting += each
