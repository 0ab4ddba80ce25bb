"""EnvoyFilters, and messages to be patched by them."""

from typing import Any

from tests.worlds import made
from tidegate.api.envoyfilter import EnvoyFilter, PatchContext
from tidegate.api.objects import Object
from tidegate.envoy import protos
from tidegate.envoy.patches.patch import patches_of
from tidegate.envoy.patches.resources import Patched, Patcher
from tidegate.envoy.patches.selection import PatchSet
from tidegate.envoy.resource import CLUSTER, LISTENER, ROUTE, Origin, Resource, resource

PREFIX = "type.googleapis.com/"
LUA = f"{PREFIX}envoy.extensions.filters.http.lua.v3.Lua"
ROUTER = f"{PREFIX}envoy.extensions.filters.http.router.v3.Router"
LIMIT = f"{PREFIX}envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit"
MANAGER = "envoy.filters.network.http_connection_manager"
MANAGER_TYPE = f"{PREFIX}envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
OUTBOUND, INBOUND, GATEWAY = PatchContext.SIDECAR_OUTBOUND, PatchContext.SIDECAR_INBOUND, PatchContext.GATEWAY


def patch(apply_to: str, operation: str, value: dict[str, Any] | None = None, **match: Any) -> dict[str, Any]:
    """One entry of configPatches; ``match`` are the members of its match."""
    change: dict[str, Any] = {"operation": operation}
    if value is not None:
        change["value"] = value
    return {"applyTo": apply_to, "patch": change, **({"match": match} if match else {})}


def envoy_filter(where: str, *patches: dict[str, Any], day: int = 1, **spec: Any) -> Object[EnvoyFilter]:
    return made("EnvoyFilter", where, day=day, configPatches=list(patches), **spec)


def patch_set(*patches: dict[str, Any]) -> PatchSet:
    return PatchSet(patches_of(envoy_filter("shop/f", *patches)))


def apply(
    given: Resource, *patches: dict[str, Any], context: PatchContext = OUTBOUND, hosts: tuple[str, ...] = ()
) -> Patched:
    return Patcher().patch(given, patch_set(*patches), context, hosts)


def cluster(name: str, **fields: Any) -> Resource:
    return resource(name, CLUSTER, protos.Cluster(name=name, **fields))


def http_filter(name: str, message: Any = None) -> Any:
    return protos.HttpFilter(name=name, typed_config=protos.any_of(message or protos.HTTPFault()))


def manager(*names: str, **fields: Any) -> Any:
    filters = [http_filter(f"envoy.filters.http.{n}", protos.Router() if n == "router" else None) for n in names]
    config = protos.HttpConnectionManager(stat_prefix="http", http_filters=filters, **fields)
    return protos.Filter(name=MANAGER, typed_config=protos.any_of(config))


def chain(*filters: Any, name: str = "", port: int = 0, **match: Any) -> Any:
    found = protos.FilterChain(name=name, filters=filters, filter_chain_match=protos.FilterChainMatch(**match))
    if port:
        found.filter_chain_match.destination_port.value = port
    return found


def listener(name: str, port: int, *chains: Any, origins: tuple[Origin, ...] = (), **fields: Any) -> Resource:
    address = protos.socket_address("0.0.0.0", port)
    message = protos.Listener(name=name, address=address, filter_chains=chains, **fields)
    return resource(name, LISTENER, message, origins)


def routes(name: str, *hosts: Any, origins: tuple[Origin, ...] = ()) -> Resource:
    return resource(name, ROUTE, protos.RouteConfiguration(name=name, virtual_hosts=hosts), origins)


def host(name: str, *names: str) -> Any:
    """A virtual host with one route for each name."""
    found = [protos.Route(name=n, match=protos.RouteMatch(prefix=f"/{n}")) for n in names]
    for each in found:
        each.route.cluster = "c"
    return protos.VirtualHost(name=name, domains=[name.partition(":")[0]], routes=found)


def read(patched: Patched, kind: Any) -> Any:
    assert patched.resource is not None
    return kind.FromString(patched.resource.body)


def http_filters(found: Any, at: int = 0) -> list[str]:
    """Names of the HTTP filters of a listener's filter chain, without Envoy's prefix."""
    network = next(f for f in found.filter_chains[at].filters if f.name == MANAGER)
    config = protos.HttpConnectionManager.FromString(network.typed_config.value)
    return [each.name.removeprefix("envoy.filters.http.") for each in config.http_filters]
