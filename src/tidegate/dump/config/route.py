"""Route configurations: virtual hosts, matches, actions."""

from typing import Any, ClassVar

from tidegate.dump.config.matching import (
    FilterStateMatcher,
    HeaderMatcher,
    MetadataMatcher,
    QueryParameterMatcher,
    Regex,
    StringMatcher,
)
from tidegate.dump.config.parts import Extension, Part, RuntimeFraction
from tidegate.dump.model import Metadata


class MirrorPolicy(Part, frozen=True):
    cluster: str = ""
    cluster_header: str = ""
    runtime_fraction: RuntimeFraction | None = None


class TlsContextMatch(Part, frozen=True):
    presented: bool | None = None
    validated: bool | None = None


class RouteMatch(Part, frozen=True):
    prefix: str | None = None
    path: str | None = None
    safe_regex: Regex | None = None
    path_separated_prefix: str | None = None
    path_match_policy: Extension | None = None
    connect_matcher: dict[str, Any] | None = None
    case_sensitive: bool = True
    runtime_fraction: RuntimeFraction | None = None
    headers: tuple[HeaderMatcher, ...] = ()
    query_parameters: tuple[QueryParameterMatcher, ...] = ()
    cookies: tuple[dict[str, Any], ...] = ()
    grpc: dict[str, Any] | None = None
    tls_context: TlsContextMatch | None = None
    dynamic_metadata: tuple[MetadataMatcher, ...] = ()
    filter_state: tuple[FilterStateMatcher, ...] = ()


class UriTemplate(Part, frozen=True):
    """UriTemplateMatchConfig and UriTemplateRewriteConfig."""

    path_template: str = ""


class RegexRewrite(Part, frozen=True):
    pattern: Regex = Regex()
    substitution: str = ""


class RetryPolicy(Part, frozen=True):
    retry_on: str = ""
    num_retries: int = 1


class HashHeader(Part, frozen=True):
    header_name: str = ""


class HashNamed(Part, frozen=True):
    name: str = ""


class HashSource(Part, frozen=True):
    source_ip: bool = False


class HashPolicy(Part, frozen=True):
    header: HashHeader | None = None
    cookie: HashNamed | None = None
    connection_properties: HashSource | None = None
    query_parameter: HashNamed | None = None


class HeaderPair(Part, frozen=True):
    key: str = ""
    value: str = ""


class AddedHeader(Part, frozen=True):
    """HeaderValueOption. ``append``: how it was said before there was an action."""

    header: HeaderPair = HeaderPair()
    append: bool = True
    append_action: str = "APPEND_IF_EXISTS_OR_ADD"
    keep_empty_value: bool = False


class RequestHeaders(Part, frozen=True):
    """What a level of a route configuration does with the headers of a request."""

    request_headers_to_add: tuple[AddedHeader, ...] = ()
    request_headers_to_remove: tuple[str, ...] = ()


class WeightedCluster(RequestHeaders, frozen=True):
    RAW: ClassVar[frozenset[str]] = frozenset({"typedPerFilterConfig"})
    name: str = ""
    cluster_header: str = ""
    weight: int = 0
    metadata_match: Metadata = Metadata()
    host_rewrite_literal: str = ""
    typed_per_filter_config: dict[str, Any] = {}


class WeightedClusters(Part, frozen=True):
    clusters: tuple[WeightedCluster, ...] = ()
    header_name: str = ""


class UpgradeSetting(Part, frozen=True):
    upgrade_type: str = ""
    enabled: bool = True


class CorsPolicy(Part, frozen=True):
    allow_origin_string_match: tuple[StringMatcher, ...] = ()
    filter_enabled: RuntimeFraction | None = None
    forward_not_matching_preflights: bool = True


class RouteAction(Part, frozen=True):
    cluster: str = ""
    cluster_header: str = ""
    weighted_clusters: WeightedClusters | None = None
    cluster_specifier_plugin: str = ""
    inline_cluster_specifier_plugin: dict[str, Any] | None = None
    cluster_not_found_response_code: str = "SERVICE_UNAVAILABLE"
    metadata_match: Metadata = Metadata()
    prefix_rewrite: str = ""
    regex_rewrite: RegexRewrite | None = None
    path_rewrite_policy: Extension | None = None
    host_rewrite_literal: str = ""
    auto_host_rewrite: bool = False
    host_rewrite_header: str = ""
    host_rewrite_path_regex: RegexRewrite | None = None
    timeout: str = ""
    retry_policy: RetryPolicy | None = None
    request_mirror_policies: tuple[MirrorPolicy, ...] = ()
    hash_policy: tuple[HashPolicy, ...] = ()
    cors: CorsPolicy | None = None
    upgrade_configs: tuple[UpgradeSetting, ...] = ()


class Redirect(Part, frozen=True):
    https_redirect: bool = False
    scheme_redirect: str = ""
    host_redirect: str = ""
    port_redirect: int = 0
    path_redirect: str = ""
    prefix_rewrite: str = ""
    regex_rewrite: RegexRewrite | None = None
    response_code: str = "MOVED_PERMANENTLY"
    strip_query: bool = False


class DirectResponse(Part, frozen=True):
    status: int = 0


class Route(RequestHeaders, frozen=True):
    RAW: ClassVar[frozenset[str]] = frozenset({"typedPerFilterConfig"})
    name: str = ""
    match: RouteMatch = RouteMatch()
    route: RouteAction | None = None
    redirect: Redirect | None = None
    direct_response: DirectResponse | None = None
    metadata: Metadata = Metadata()
    typed_per_filter_config: dict[str, Any] = {}


class VirtualHost(RequestHeaders, frozen=True):
    """A virtual host, its routes as they came."""

    RAW: ClassVar[frozenset[str]] = frozenset({"routes", "typedPerFilterConfig"})
    name: str = ""
    domains: tuple[str, ...] = ()
    routes: tuple[Any, ...] = ()
    matcher: dict[str, Any] | None = None
    require_tls: str = "NONE"
    retry_policy: RetryPolicy | None = None
    request_mirror_policies: tuple[MirrorPolicy, ...] = ()
    cors: CorsPolicy | None = None
    typed_per_filter_config: dict[str, Any] = {}
    metadata: Metadata = Metadata()


class RouteConfiguration(RequestHeaders, frozen=True):
    """A route configuration, its virtual hosts as they came: thousands may share one."""

    RAW: ClassVar[frozenset[str]] = frozenset({"virtualHosts", "typedPerFilterConfig"})
    name: str = ""
    virtual_hosts: tuple[Any, ...] = ()
    vhds: dict[str, Any] | None = None
    ignore_port_in_host_matching: bool = False
    ignore_path_parameters_in_path_matching: bool = False
    request_mirror_policies: tuple[MirrorPolicy, ...] = ()
    typed_per_filter_config: dict[str, Any] = {}
