"""Network filters."""

from typing import Any, ClassVar

import msgspec

from tidegate.dump.config.matching import FilterStateMatcher, HeaderMatcher, MetadataMatcher, PathMatcher, StringMatcher
from tidegate.dump.config.parts import DataSource, Part
from tidegate.dump.model import CidrRange, Metadata


class TcpWeight(Part, frozen=True):
    name: str = ""
    weight: int = 0
    metadata_match: Metadata = Metadata()


class TcpWeights(Part, frozen=True):
    clusters: tuple[TcpWeight, ...] = ()


class Tunneling(Part, frozen=True):
    hostname: str = ""
    use_post: bool = False


class OnDemand(Part, frozen=True):
    timeout: str = ""


class TcpProxy(Part, frozen=True):
    cluster: str = ""
    weighted_clusters: TcpWeights | None = None
    on_demand: OnDemand | None = None
    metadata_match: Metadata = Metadata()
    tunneling_config: Tunneling | None = None


class FormatString(Part, frozen=True):
    text_format: str = ""
    text_format_source: DataSource = DataSource()

    @property
    def text(self) -> str:
        return self.text_format_source.inline_string or self.text_format


class FilterStateValue(Part, frozen=True):
    object_key: str = ""
    format_string: FormatString = FormatString()
    skip_if_empty: bool = False


class SetFilterState(Part, frozen=True):
    on_new_connection: tuple[FilterStateValue, ...] = ()
    on_downstream_tls_handshake: tuple[FilterStateValue, ...] = ()


class SniForwardProxy(Part, frozen=True):
    """sni_dynamic_forward_proxy: resolves the server name and connects to it on this port."""

    port_value: int = 443


class RedisRoute(Part, frozen=True):
    cluster: str = ""


class RedisPrefixRoutes(Part, frozen=True):
    routes: tuple[RedisRoute, ...] = ()
    catch_all_route: RedisRoute | None = None


class RedisProxy(Part, frozen=True):
    prefix_routes: RedisPrefixRoutes = RedisPrefixRoutes()


class Rules(Part, frozen=True):
    """RBAC. Policies are kept raw: their trees are walked, not typed at once."""

    RAW: ClassVar[frozenset[str]] = frozenset({"policies"})
    action: str = "ALLOW"
    policies: dict[str, Any] = {}


class Rbac(Part, frozen=True):
    """Of the network and the HTTP filter."""

    RAW: ClassVar[frozenset[str]] = frozenset({"rules", "shadowRules", "matcher", "shadowMatcher"})
    rules: dict[str, Any] | None = None
    shadow_rules: dict[str, Any] | None = None
    matcher: dict[str, Any] | None = None
    shadow_rules_stat_prefix: str = ""


class RbacPerRoute(Part, frozen=True):
    RAW: ClassVar[frozenset[str]] = frozenset({"rbac"})
    rbac: dict[str, Any] | None = None


class Authenticated(Part, frozen=True):
    principal_name: StringMatcher | None = None


class PortRange(Part, frozen=True):
    """type.v3.Int32Range: the end does not belong to it."""

    start: int = 0
    end: int = 0


class Policy(Part, frozen=True):
    RAW: ClassVar[frozenset[str]] = frozenset({"permissions", "principals", "condition", "checkedCondition"})
    permissions: tuple[Any, ...] = ()
    principals: tuple[Any, ...] = ()
    condition: dict[str, Any] | None = None
    checked_condition: dict[str, Any] | None = None


class Rule(Part, frozen=True):
    """One Permission or Principal: the two have most of their forms in common. Recursive forms are kept raw."""

    RAW: ClassVar[frozenset[str]] = frozenset(
        {"andRules", "orRules", "notRule", "andIds", "orIds", "notId", "matcher", "uriTemplate"}
    )
    any: bool | None = None
    and_rules: dict[str, Any] | None = None
    or_rules: dict[str, Any] | None = None
    not_rule: dict[str, Any] | None = None
    and_ids: dict[str, Any] | None = None
    or_ids: dict[str, Any] | None = None
    not_id: dict[str, Any] | None = None
    header: HeaderMatcher | None = None
    url_path: PathMatcher | None = None
    destination_ip: CidrRange | None = None
    destination_port: int | None = None
    destination_port_range: PortRange | None = None
    requested_server_name: StringMatcher | None = None
    authenticated: Authenticated | None = None
    source_ip: CidrRange | None = None
    direct_remote_ip: CidrRange | None = None
    remote_ip: CidrRange | None = None
    metadata: MetadataMatcher | None = None
    filter_state: FilterStateMatcher | None = None


class RuleSet(Part, frozen=True):
    """The ``rules`` or ``ids`` of a combination."""

    RAW: ClassVar[frozenset[str]] = frozenset({"rules", "ids"})
    rules: tuple[Any, ...] = ()
    ids: tuple[Any, ...] = ()


class Http1Options(Part, frozen=True):
    accept_http10: bool = msgspec.field(default=False, name="acceptHttp10")
    default_host_for_http10: str = msgspec.field(default="", name="defaultHostForHttp10")


class Rds(Part, frozen=True):
    route_config_name: str = ""


class UpgradeConfig(Part, frozen=True):
    upgrade_type: str = ""
    enabled: bool = True


class HttpConnectionManager(Part, frozen=True):
    RAW: ClassVar[frozenset[str]] = frozenset({"routeConfig", "httpFilters"})
    codec_type: str = "AUTO"
    rds: Rds | None = None
    route_config: dict[str, Any] | None = None
    http_filters: tuple[Any, ...] = ()
    http_protocol_options: Http1Options = Http1Options()
    normalize_path: bool = False
    merge_slashes: bool = False
    path_with_escaped_slashes_action: str = "KEEP_UNCHANGED"
    strip_matching_host_port: bool = False
    strip_any_host_port: bool = False
    strip_trailing_host_dot: bool = False
    use_remote_address: bool = False
    xff_num_trusted_hops: int = 0
    upgrade_configs: tuple[UpgradeConfig, ...] = ()
    local_reply_config: dict[str, Any] | None = None
