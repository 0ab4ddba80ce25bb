"""Envoy's bootstrap: what it knows before the control plane tells it anything.

JSON, never YAML: Envoy's YAML reads the words y and n as booleans.
"""

from typing import Any

import msgspec

from tidegate import __version__
from tidegate.agent.settings import Settings
from tidegate.kit import peers
from tidegate.kit.bootstraps import ASKS

_TYPE = "type.googleapis.com/envoy."
_LOOPBACK = "127.0.0.1"
_EVERYWHERE, _EVERYWHERE_V6 = "0.0.0.0", "::"  # noqa: S104 (the workload's own namespace, where scrapers come from)
_BUFFER_LIMIT = 32768
_FOREVER = "0s"
"""As an initial fetch timeout: wait until the control plane has answered."""

INCLUDED_PREFIXES = (
    "cluster.agent",
    "cluster.prometheus_stats",
    "cluster.xds-grpc",
    "cluster_manager",
    "component",
    "istio",
    "listener_manager",
    "reporter=",
    "server",
    "wasm",
)
"""Statistics that exist at all: the rest costs memory by the hundred thousand in a large mesh."""

OPEN_CONNECTIONS = r"listener\.[0-9a-f._\[\]]+_[0-9]+\.downstream_cx_active"
"""A listener's open connections, in all and not by worker: the drain waits for them."""


_CLUSTER_STATS = (
    "assignment_|bind_errors|circuit_breakers|default\\.|external\\.|http1\\.|http2\\.|http3\\.|init_fetch|internal\\.|"
    "lb_|max_host|membership_|original_dst|outlier_|retry_or|ssl\\.|update_|upstream_|version|warming_|zone\\."
)


def bootstrap(settings: Settings) -> dict[str, Any]:
    """The bootstrap of one proxy, as the JSON form of envoy.config.bootstrap.v3.Bootstrap."""
    return {
        "node": _node(settings),
        "admin": {"address": _address(_LOOPBACK, settings.ports.admin)},
        "dynamic_resources": _dynamic_resources(),
        **_cluster_manager(settings),
        "static_resources": {"clusters": _clusters(settings), "listeners": _listeners(settings)},
        "layered_runtime": _runtime(settings.runtime_values),
        "overload_manager": _overload(),
        "stats_config": _stats_config(),
        "stats_flush_interval": "5s",
    }


def encoded(settings: Settings) -> bytes:
    """The bootstrap as the text that Envoy reads."""
    return as_text(bootstrap(settings))


def as_text(found: dict[str, Any]) -> bytes:
    """A bootstrap's JSON form as text."""
    return msgspec.json.format(msgspec.json.encode(found), indent=1)


def _node(settings: Settings) -> dict[str, Any]:
    metadata = {
        "ISTIO_VERSION": __version__,
        **settings.metadata,
        "NAME": settings.name,
        "NAMESPACE": settings.namespace,
        "INSTANCE_IPS": ",".join((settings.address, *settings.other_addresses)),
        **({"INTERCEPTION_MODE": settings.interception_mode} if settings.type == "sidecar" else {}),
        "ENVOY_STATUS_PORT": str(settings.ports.readiness),
        "ENVOY_PROMETHEUS_PORT": str(settings.ports.prometheus),
        "TIDEGATE_VERSION": __version__,
        **({ASKS: "true"} if settings.asks_bootstrap else {}),
    }
    node = {"id": settings.node_id, "cluster": settings.service_cluster or settings.full_name, "metadata": metadata}
    return {**node, "locality": _locality(settings.locality)} if settings.locality else node


def _locality(text: str) -> dict[str, str]:
    return dict(zip(("region", "zone", "sub_zone"), text.split("/", 2), strict=False))


def _cluster_manager(settings: Settings) -> dict[str, Any]:
    manager: dict[str, Any] = {}
    if settings.knows_peers:
        manager["local_cluster_name"] = peers.CLUSTER
    if settings.outlier_log_path:
        manager["outlier_detection"] = {"event_log_path": settings.outlier_log_path}
    return {"cluster_manager": manager} if manager else {}


def _dynamic_resources() -> dict[str, Any]:
    source = {"ads": {}, "initial_fetch_timeout": _FOREVER, "resource_api_version": "V3"}
    stream = {
        "envoy_grpc": {
            "cluster_name": "xds-grpc",
            "retry_policy": {"retry_back_off": {"base_interval": "0.1s", "max_interval": "1s"}},
        }
    }
    ads = {
        "api_type": "DELTA_GRPC",
        "transport_api_version": "V3",
        "set_node_on_first_message_only": True,
        "grpc_services": [stream],
    }
    return {"cds_config": source, "lds_config": source, "ads_config": ads}


def _clusters(settings: Settings) -> list[dict[str, Any]]:
    control = _cluster("xds-grpc", {"pipe": {"path": str(settings.xds_socket)}})
    control["typed_extension_protocol_options"] = {
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": _TYPE + "extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": {"http2_protocol_options": {}},
        }
    }
    return [
        _cluster("prometheus_stats", _address(_LOOPBACK, settings.ports.admin)),
        _cluster("agent", _address(_LOOPBACK, settings.ports.status)),
        control,
        *([_peers()] if settings.knows_peers else ()),
    ]


def _peers() -> dict[str, Any]:
    """Nothing is sent to it: Envoy learns from its endpoints how its peers are spread over zones."""
    source = {"ads": {}, "resource_api_version": "V3"}
    return {
        "name": peers.CLUSTER,
        "type": "EDS",
        "connect_timeout": "1s",
        "eds_cluster_config": {"eds_config": source, "service_name": peers.CLUSTER},
    }


def _cluster(name: str, address: dict[str, Any]) -> dict[str, Any]:
    endpoint = {"lb_endpoints": [{"endpoint": {"address": address}}]}
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": name, "endpoints": [endpoint]},
    }


def _listeners(settings: Settings) -> list[dict[str, Any]]:
    scrapes = _everywhere(settings.ports.prometheus, settings)
    probes = _everywhere(settings.ports.readiness, settings)
    return [
        _listener(
            "prometheus", scrapes, "/stats/prometheus", "prometheus_stats", compressed=settings.stats_compression
        ),
        _listener("agent", probes, "/healthz/ready", "agent", compressed=False),
    ]


def _everywhere(port: int, settings: Settings) -> dict[str, Any]:
    """All addresses of the workload; of both families where it has one of IPv6."""
    if not settings.ipv6:
        return _address(_EVERYWHERE, port)
    return {"socket_address": {"address": _EVERYWHERE_V6, "port_value": port, "ipv4_compat": True}}


def _listener(name: str, address: dict[str, Any], path: str, cluster: str, *, compressed: bool) -> dict[str, Any]:
    """A listener that passes one path on to one cluster and answers 404 to everything else."""
    route = {"match": {"path": path}, "route": {"cluster": cluster}}
    router = {"name": "envoy.filters.http.router", "typed_config": _typed("extensions.filters.http.router.v3.Router")}
    manager = _typed(
        "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        codec_type="AUTO",
        stat_prefix=name,
        route_config={"virtual_hosts": [{"name": "backend", "domains": ["*"], "routes": [route]}]},
        http_filters=[*(_compressors() if compressed else ()), router],
    )
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    return {
        "name": f"static_{name}",
        "address": address,
        "per_connection_buffer_limit_bytes": _BUFFER_LIMIT,
        "filter_chains": [chain],
    }


def _compressors() -> list[dict[str, Any]]:
    found = (("brotli", "Brotli"), ("zstd", "Zstd"), ("gzip", "Gzip"))
    return [
        {
            "name": f"envoy.filters.http.compressor.{library}",
            "typed_config": _typed(
                "extensions.filters.http.compressor.v3.Compressor",
                compressor_library={
                    "name": library,
                    "typed_config": _typed(f"extensions.compression.{library}.compressor.v3.{message}"),
                },
            ),
        }
        for library, message in found
    ]


def _runtime(given: dict[str, str]) -> dict[str, Any]:
    own: dict[str, Any] = {
        "re2.max_program_size.error_level": 32768,
        "envoy.reloadable_features.http_reject_path_with_fragment": False,
    }
    layer = {name: value for name, value in (own | given).items() if value != ""}
    return {
        "layers": [
            {"name": "global config", "static_layer": layer},
            {"name": "admin", "admin_layer": {}},
        ]
    }


def _overload() -> dict[str, Any]:
    limit = _typed(
        "extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
        max_active_downstream_connections=2147483647,
    )
    monitor = {"name": "envoy.resource_monitors.global_downstream_max_connections", "typed_config": limit}
    return {"resource_monitors": [monitor]}


def _stats_config() -> dict[str, Any]:
    patterns: list[dict[str, Any]] = [{"prefix": prefix} for prefix in INCLUDED_PREFIXES]
    patterns.append({"suffix": "rbac.allowed"})
    patterns.append({"suffix": "rbac.denied"})
    patterns.append({"safe_regex": {"regex": "vhost\\..*\\.route\\..*"}})
    patterns.append({"safe_regex": {"regex": OPEN_CONNECTIONS}})
    return {
        "use_all_default_tags": False,
        "stats_tags": [{"tag_name": "cluster_name", "regex": f"^cluster\\.((.+?)\\.)(?:{_CLUSTER_STATS})"}],
        "stats_matcher": {"inclusion_list": {"patterns": patterns}},
    }


def _address(host: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": host, "port_value": port}}


def _typed(kind: str, **fields: Any) -> dict[str, Any]:
    return {"@type": _TYPE + kind, **fields}
