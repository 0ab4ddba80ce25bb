"""Small Envoy configurations for tests of the interpreter."""

from typing import Any

from tidegate.explain.config import read_config
from tidegate.explain.connection import Connection, HttpRequest, TlsHello
from tidegate.explain.interpret import interpret
from tidegate.explain.trace import Profile, Trace

TYPE = "type.googleapis.com/envoy.extensions."
NETWORK, HTTP, LISTENER = TYPE + "filters.network.", TYPE + "filters.http.", TYPE + "filters.listener."
RAW = {"name": "raw", "typedConfig": {"@type": TYPE + "transport_sockets.raw_buffer.v3.RawBuffer"}}
ROUTER = {"name": "router", "typedConfig": {"@type": HTTP + "router.v3.Router"}}


def extension(kind: str, name: str = "x", **settings: Any) -> dict[str, Any]:
    return {"name": name, "typedConfig": {"@type": kind, **settings}}


def tcp(cluster: str = "c", **settings: Any) -> dict[str, Any]:
    return extension(NETWORK + "tcp_proxy.v3.TcpProxy", cluster=cluster, **settings)


def chain(*filters: dict[str, Any], name: str = "", **rest: Any) -> dict[str, Any]:
    return {"name": name, "filters": list(filters), **rest}


def listener(name: str, ip: str, port: int, *chains: dict[str, Any], **rest: Any) -> dict[str, Any]:
    address = {"socketAddress": {"address": ip, "portValue": port}}
    return {"name": name, "address": address, "filterChains": list(chains), **rest}


def inspector(kind: str, **rest: Any) -> dict[str, Any]:
    known = {
        "tls": "tls_inspector.v3.TlsInspector",
        "http": "http_inspector.v3.HttpInspector",
        "dst": "original_dst.v3.OriginalDst",
    }
    return {**extension(LISTENER + known[kind]), **rest}


def hcm(*hosts: dict[str, Any], filters: tuple[dict[str, Any], ...] = (), **rest: Any) -> dict[str, Any]:
    table = {"name": "table", "virtualHosts": list(hosts)}
    kind = NETWORK + "http_connection_manager.v3.HttpConnectionManager"
    return extension(kind, routeConfig=table, httpFilters=[*filters, ROUTER], **rest)


def host(*routes: dict[str, Any], name: str = "h", domains: tuple[str, ...] = ("*",), **rest: Any) -> dict[str, Any]:
    return {"name": name, "domains": list(domains), "routes": list(routes), **rest}


def route(match: dict[str, Any] | None = None, name: str = "", **action: Any) -> dict[str, Any]:
    return {"name": name, "match": match or {"prefix": "/"}, **(action or {"route": {"cluster": "c"}})}


def endpoint(address: str, port: int = 80, **rest: Any) -> dict[str, Any]:
    return {"endpoint": {"address": {"socketAddress": {"address": address, "portValue": port}}}, **rest}


def group(*endpoints: dict[str, Any], **rest: Any) -> dict[str, Any]:
    return {"lbEndpoints": list(endpoints), **rest}


def cluster(name: str = "c", *groups: dict[str, Any], **rest: Any) -> dict[str, Any]:
    assignment = {"clusterName": name, "endpoints": list(groups or (group(endpoint("10.0.0.9")),))}
    return {"name": name, "type": "STATIC", "loadAssignment": assignment, **rest}


def tls_socket(direction: str = "Downstream", **settings: Any) -> dict[str, Any]:
    return extension(f"{TYPE}transport_sockets.tls.v3.{direction}TlsContext", **settings)


def explain(
    listeners: list[dict[str, Any]],
    connection: Connection,
    clusters: list[dict[str, Any]] | None = None,
    profile: Profile | None = None,
    **rest: Any,
) -> Trace:
    """Interpret plain lists of resources; without clusters there is one, ``c``."""
    given = {"routes": [], "endpoints": [], **rest, "listeners": listeners}
    given["clusters"] = [cluster()] if clusters is None else clusters
    return interpret(read_config(given), connection, profile)


def at(ip: str = "10.0.0.1", port: int = 80, **rest: Any) -> Connection:
    """A connection to a listener that the proxy has on an address of its own."""
    return Connection("gateway", ip, port, source_ip=rest.pop("source_ip", "10.9.9.9"), **rest)


def get(authority: str = "a.test", path: str = "/", **headers: str) -> HttpRequest:
    pairs = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return HttpRequest(authority=authority, path=path, headers=pairs)


def web(
    request: HttpRequest, *hosts: dict[str, Any], clusters: list[dict[str, Any]] | None = None, **rest: Any
) -> Trace:
    """One request to a listener with one HTTP connection manager."""
    profile = rest.pop("profile", None)
    return explain([listener("l", "0.0.0.0", 80, chain(hcm(*hosts, **rest)))], at(http=request), clusters, profile)


__all__ = ["HTTP", "LISTENER", "NETWORK", "RAW", "TYPE", "HttpRequest", "TlsHello"]
