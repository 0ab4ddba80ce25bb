"""The other end of every connection: an Envoy that answers whatever it is asked and logs what it saw."""

from collections.abc import Iterable
from typing import Any

from tests.equivalence.running_envoy import TYPE

SPEAKS_FIRST = (25, 3306)
"""Ports of servers that speak first and close."""
SLOW, DEAD = 7070, 7999
"""A port at which requests are never answered, and one at which nobody listens."""
_LOG = {
    "id": "%REQ(X-ID)%",
    "peer": "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%",
    "dst": "%DOWNSTREAM_LOCAL_ADDRESS%",
    "authority": "%REQ(:AUTHORITY)%",
    "path": "%REQ(:PATH)%",
    "protocol": "%PROTOCOL%",
    "x-user": "%REQ(X-USER)%",
    "x-team": "%REQ(X-TEAM)%",
    "x-new": "%REQ(X-NEW)%",
    "sni": "%REQUESTED_SERVER_NAME%",
    "received": "%BYTES_RECEIVED%",
}


def bootstrap(log: str, certificate: str, key: str, ports: Iterable[int]) -> dict[str, Any]:
    """Listening on these ports of every address."""
    made = [_first(port, log) if port in SPEAKS_FIRST else _any(port, log, certificate, key) for port in ports]
    return {"staticResources": {"listeners": made}}


def _listener(port: int, log: str, **rest: Any) -> dict[str, Any]:
    address = {"socketAddress": {"address": "::", "portValue": port, "ipv4Compat": True}}
    return {"name": f"any_{port}", "address": address, "accessLog": _access_log(log, "connection"), **rest}


def _any(port: int, log: str, certificate: str, key: str) -> dict[str, Any]:
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
        listenerFilters=inspectors,
        filterChains=[{**each, "filters": [_manager(log, slow=port == SLOW)]} for each in chains],
        defaultFilterChain={"filters": [echo]},
    )


def _first(port: int, log: str) -> dict[str, Any]:
    hello = _filter("hello", "direct_response.v3.Config", response={"inlineString": "220 hello\r\n"})
    return _listener(port, log, filterChains=[{"filters": [hello]}])


def _filter(name: str, kind: str, **rest: Any) -> dict[str, Any]:
    return {"name": name, "typedConfig": {"@type": f"{TYPE}filters.network.{kind}", **rest}}


def _manager(log: str, *, slow: bool) -> dict[str, Any]:
    route = {"match": {"prefix": "/"}, "directResponse": {"status": 200, "body": {"inlineString": "far"}}}
    never = {"fixedDelay": "3600s", "percentage": {"numerator": 100}}
    fault = {"name": "f", "typedConfig": {"@type": f"{TYPE}filters.http.fault.v3.HTTPFault", "delay": never}}
    router = {"name": "r", "typedConfig": {"@type": f"{TYPE}filters.http.router.v3.Router"}}
    return _filter(
        "http",
        "http_connection_manager.v3.HttpConnectionManager",
        statPrefix="far",
        routeConfig={"virtualHosts": [{"name": "far", "domains": ["*"], "routes": [route]}]},
        httpFilters=[*([fault] if slow else []), router],
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
