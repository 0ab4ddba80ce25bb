"""The other end of every connection: an Envoy that answers whatever it is asked and logs what it saw."""

from typing import Any

from tests.equivalence.running_envoy import TYPE

ANY_PORT, FIRST_PORT = 18000, 18001
"""Where packet rules bring connections to everywhere: to a server that listens, to one that speaks first."""
SPEAKS_FIRST = (25, 3306)
_LOG = {
    "id": "%REQ(X-ID)%",
    "peer": "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%",
    "dst": "%DOWNSTREAM_LOCAL_ADDRESS%",
    "authority": "%REQ(:AUTHORITY)%",
    "path": "%REQ(:PATH)%",
    "protocol": "%PROTOCOL%",
    "sni": "%REQUESTED_SERVER_NAME%",
}


def bootstrap(log: str, certificate: str, key: str, ports: tuple[int, ...] = ()) -> dict[str, Any]:
    """Listening where packet rules lead, or on these ports themselves."""
    if ports:
        made = [_first(p, log, ()) if p in SPEAKS_FIRST else _any(p, log, (), certificate, key) for p in ports]
    else:
        original = ({"name": "dst", "typedConfig": {"@type": f"{TYPE}filters.listener.original_dst.v3.OriginalDst"}},)
        made = [_any(ANY_PORT, log, original, certificate, key), _first(FIRST_PORT, log, original)]
    return {"staticResources": {"listeners": made}}


def _listener(port: int, log: str, **rest: Any) -> dict[str, Any]:
    address = {"socketAddress": {"address": "0.0.0.0", "portValue": port}}
    return {"name": f"any_{port}", "address": address, "accessLog": _access_log(log, "connection"), **rest}


def _any(port: int, log: str, filters: tuple[Any, ...], certificate: str, key: str) -> dict[str, Any]:
    inspectors = [
        {"name": kind, "typedConfig": {"@type": f"{TYPE}filters.listener.{kind}"}}
        for kind in ("tls_inspector.v3.TlsInspector", "http_inspector.v3.HttpInspector")
    ]
    plain = {"applicationProtocols": ["http/1.0", "http/1.1", "h2c"]}
    chains = [
        {"filterChainMatch": {"transportProtocol": "tls"}, "transportSocket": _tls(certificate, key)},
        {"filterChainMatch": {"transportProtocol": "raw_buffer", **plain}},
    ]
    echo = _filter("echo", "echo.v3.Echo")
    return _listener(
        port,
        log,
        listenerFilters=[*filters, *inspectors],
        filterChains=[{**each, "filters": [_manager(log)]} for each in chains],
        defaultFilterChain={"filters": [echo]},
    )


def _first(port: int, log: str, filters: tuple[Any, ...]) -> dict[str, Any]:
    hello = _filter("hello", "direct_response.v3.Config", response={"inlineString": "220 hello\r\n"})
    return _listener(port, log, listenerFilters=list(filters), filterChains=[{"filters": [hello]}])


def _filter(name: str, kind: str, **rest: Any) -> dict[str, Any]:
    return {"name": name, "typedConfig": {"@type": f"{TYPE}filters.network.{kind}", **rest}}


def _manager(log: str) -> dict[str, Any]:
    route = {"match": {"prefix": "/"}, "directResponse": {"status": 200, "body": {"inlineString": "far"}}}
    router = {"name": "r", "typedConfig": {"@type": f"{TYPE}filters.http.router.v3.Router"}}
    return _filter(
        "http",
        "http_connection_manager.v3.HttpConnectionManager",
        statPrefix="far",
        routeConfig={"virtualHosts": [{"name": "far", "domains": ["*"], "routes": [route]}]},
        httpFilters=[router],
        httpProtocolOptions={"acceptHttp10": True},
        accessLog=_access_log(log, "request"),
    )


def _tls(certificate: str, key: str) -> dict[str, Any]:
    pair = {"certificateChain": {"filename": certificate}, "privateKey": {"filename": key}}
    common = {"tlsCertificates": [pair], "alpnProtocols": ["http/1.1"]}
    kind = f"{TYPE}transport_sockets.tls.v3.DownstreamTlsContext"
    return {"name": "tls", "typedConfig": {"@type": kind, "commonTlsContext": common}}


def _access_log(path: str, kind: str) -> list[dict[str, Any]]:
    config = {
        "@type": f"{TYPE}access_loggers.file.v3.FileAccessLog",
        "path": path,
        "logFormat": {"jsonFormat": {**_LOG, "kind": kind}},
    }
    return [{"name": "log", "typedConfig": config}]
