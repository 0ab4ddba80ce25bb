"""Hosts that are resolved when a request names them: dynamic forward proxies, and the caches of names that their
clusters share with the filters before them.

https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/http/http_proxy
"""

from typing import Any

from tidegate.envoy import balancing, protos
from tidegate.scope.proxy import ProxyKind

CLUSTER_TYPE = "envoy.clusters.dynamic_forward_proxy"
HTTP_FILTER = "envoy.filters.http.dynamic_forward_proxy"
SNI_FILTER = "envoy.extensions.filters.network.sni_dynamic_forward_proxy"

ANY_HOST = "allow_any"
"""Stands for the host of the cache that outboundTrafficPolicy ALLOW_ANY_DYNAMIC_DNS uses."""
AGENTS_RESOLVER = ("127.0.0.1", 15053)
"""Where the agent of a workload whose queries are captured answers them, the mesh's names as well."""
MOST_HOSTS = 1024
"""Names that the cache for any host keeps at most."""


def dns_cache(host: str, proxy: ProxyKind) -> Any:
    """The cache that the cluster of a host, or of any, and the filters before it share: Envoy wants them equal."""
    if host != ANY_HOST:
        return protos.DnsCacheConfig(name=f"{host}_dfp_dns_cache", dns_lookup_family=lookup_family(proxy))
    cache = protos.DnsCacheConfig(
        name=f"{host}_dfp_dns_cache", dns_lookup_family=lookup_family(proxy), max_hosts=protos.u32(MOST_HOSTS)
    )
    if proxy.dns_capture:
        asked = protos.CaresDnsResolverConfig(resolvers=[protos.socket_address(*AGENTS_RESOLVER)])
        cache.typed_dns_resolver_config.CopyFrom(protos.extension("envoy.network.dns_resolver.cares", asked))
    return cache


def lookup_family(proxy: ProxyKind) -> int:
    """Which addresses of a name are asked for."""
    family = protos.Cluster.DnsLookupFamily
    if proxy.both_families or (proxy.ipv4_beside_ipv6 and not proxy.ipv4):
        return int(family.Value("ALL"))
    return int(family.Value("V4_ONLY" if proxy.ipv4 else "V6_ONLY"))


def put_cluster(cluster: Any, host: str, proxy: ProxyKind, *, unchecked: bool = False) -> None:
    """Make a cluster one whose members are whatever names requests ask for.

    ``unchecked``: it has no TLS, or one that does not take server name and certificate names from the request, which
    Envoy refuses unless it is told that this is meant.
    """
    config = protos.DfpClusterConfig(dns_cache_config=dns_cache(host, proxy), allow_insecure_cluster_options=unchecked)
    cluster.lb_policy = balancing.LB.Value("CLUSTER_PROVIDED")
    cluster.cluster_type.name = CLUSTER_TYPE
    cluster.cluster_type.typed_config.CopyFrom(protos.any_of(config))


def http_filter(host: str, proxy: ProxyKind) -> Any:
    """Resolves the names of requests that routes hand to the cluster of ``host``, before the router."""
    config = protos.DynamicForwardProxy(dns_cache_config=dns_cache(host, proxy))
    return protos.HttpFilter(name=HTTP_FILTER, typed_config=protos.any_of(config))


def sni_filter(host: str, port: int, proxy: ProxyKind) -> Any:
    """Resolves the server name of a TLS connection before the TCP proxy takes it on."""
    config = protos.SniDynamicForwardProxy(dns_cache_config=dns_cache(host, proxy), port_value=port)
    return protos.Filter(name=SNI_FILTER, typed_config=protos.any_of(config))
