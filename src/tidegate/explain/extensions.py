"""Which filter a configuration is for, by its message type; by its well-known name where it has no configuration."""

from tidegate.dump.config.listener import Filter
from tidegate.dump.config.parts import body_of, type_of
from tidegate.explain.walk import Walk

_PREFIX = "envoy.extensions.filters."
_NETWORK = {
    "http_connection_manager.v3.HttpConnectionManager": "hcm",
    "tcp_proxy.v3.TcpProxy": "tcp_proxy",
    "rbac.v3.RBAC": "rbac",
    "set_filter_state.v3.Config": "set_filter_state",
    "sni_cluster.v3.SniCluster": "sni_cluster",
    "sni_dynamic_forward_proxy.v3.FilterConfig": "sni_dynamic_forward_proxy",
    "redis_proxy.v3.RedisProxy": "redis_proxy",
    "direct_response.v3.Config": "direct_response",
    "echo.v3.Echo": "echo",
    "mongo_proxy.v3.MongoProxy": "inert",
    "zookeeper_proxy.v3.ZooKeeperProxy": "inert",
    "connection_limit.v3.ConnectionLimit": "inert",
    "local_ratelimit.v3.LocalRateLimit": "inert",
    "tcp_bandwidth_limit.v3.TcpBandwidthLimit": "inert",
    "geoip.v3.Geoip": "inert",
}
_HTTP = {
    "router.v3.Router": "router",
    "fault.v3.HTTPFault": "fault",
    "rbac.v3.RBAC": "rbac",
    "cors.v3.Cors": "cors",
    "jwt_authn.v3.JwtAuthentication": "jwt_authn",
    "ext_authz.v3.ExtAuthz": "ext_authz",
    "local_ratelimit.v3.LocalRateLimit": "local_ratelimit",
    "set_filter_state.v3.Config": "set_filter_state",
    "dynamic_forward_proxy.v3.FilterConfig": "inert",
    "grpc_stats.v3.FilterConfig": "inert",
    "grpc_web.v3.GrpcWeb": "inert",
    "compressor.v3.Compressor": "inert",
    "decompressor.v3.Decompressor": "inert",
    "on_demand.v3.OnDemand": "on_demand",
    "original_src.v3.OriginalSrc": "original_src",
    "bandwidth_limit.v3.BandwidthLimit": "inert",
    "tap.v3.Tap": "inert",
    "alternate_protocols_cache.v3.FilterConfig": "inert",
    "stateful_session.v3.StatefulSession": "inert",
    "upstream_codec.v3.UpstreamCodec": "inert",
}
_ELSEWHERE = {
    "envoy.tcp.metadataexchange.config.MetadataExchange": "inert",
    "io.istio.http.peer_metadata.Config": "inert",
    "istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig": "inert",
    "stats.PluginConfig": "inert",
}
"""Filters of Istio's own proxy that report or propagate, and let every connection pass."""
_OLD_NAMES = {
    "http_connection_manager": "hcm",
    "tcp_proxy": "tcp_proxy",
    "sni_cluster": "sni_cluster",
    "echo": "echo",
    "router": "router",
    "cors": "cors",
    "grpc_web": "inert",
    "on_demand": "on_demand",
}


def network_kind(each: Filter) -> str:
    """A short word for the filters that are known here, else the message type or the name."""
    return _kind(each, f"{_PREFIX}network.", _NETWORK)


def http_kind(each: Filter) -> str:
    return _kind(each, f"{_PREFIX}http.", _HTTP)


def _kind(each: Filter, prefix: str, known: dict[str, str]) -> str:
    full = type_of(each.typed_config)
    if not full:
        return _OLD_NAMES.get(each.name.rpartition(".")[2], each.name) if each.name.startswith("envoy.") else each.name
    return known.get(full.removeprefix(prefix)) or _ELSEWHERE.get(full) or full


def resolved(walk: Walk, each: Filter, where: str) -> Filter | None:
    """The filter with its configuration, fetched where it is a resource of its own; None: it is not in the input."""
    if each.config_discovery is None:
        return each
    found = walk.config.extension(each.name)
    if found is not None:
        return Filter(each.name, found.typed_config, disabled=each.disabled)
    if each.config_discovery.default_config is not None:
        return Filter(each.name, each.config_discovery.default_config, disabled=each.disabled)
    walk.unsure(where, f"the configuration of filter {each.name} is delivered by itself and not in the input")
    return None


def body(each: Filter) -> dict[str, object]:
    found = body_of(each.typed_config or {})
    return found if isinstance(found, dict) else {}
