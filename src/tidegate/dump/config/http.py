"""HTTP filters that answer, delay or refuse a request."""

from typing import Any, ClassVar

from tidegate.dump.config.matching import HeaderMatcher, MetadataMatcher
from tidegate.dump.config.parts import FractionalPercent, Part, RuntimeFraction
from tidegate.dump.config.route import RouteMatch


class FaultDelay(Part, frozen=True):
    fixed_delay: str = ""
    header_delay: dict[str, Any] | None = None
    percentage: FractionalPercent = FractionalPercent()


class FaultAbort(Part, frozen=True):
    http_status: int = 0
    grpc_status: int | None = None
    header_abort: dict[str, Any] | None = None
    percentage: FractionalPercent = FractionalPercent()


class Fault(Part, frozen=True):
    """HTTPFault."""

    delay: FaultDelay | None = None
    abort: FaultAbort | None = None
    upstream_cluster: str = ""
    headers: tuple[HeaderMatcher, ...] = ()
    downstream_nodes: tuple[str, ...] = ()


class JwtHeader(Part, frozen=True):
    name: str = ""
    value_prefix: str = ""


class JwtProvider(Part, frozen=True):
    issuer: str = ""
    audiences: tuple[str, ...] = ()
    from_headers: tuple[JwtHeader, ...] = ()
    from_params: tuple[str, ...] = ()
    from_cookies: tuple[str, ...] = ()


class JwtRule(Part, frozen=True):
    RAW: ClassVar[frozenset[str]] = frozenset({"requires"})
    match: RouteMatch = RouteMatch()
    requires: dict[str, Any] | None = None
    requirement_name: str = ""


class Jwt(Part, frozen=True):
    """JwtAuthentication."""

    RAW: ClassVar[frozenset[str]] = frozenset({"requirementMap"})
    providers: dict[str, JwtProvider] = {}
    rules: tuple[dict[str, Any], ...] = ()
    requirement_map: dict[str, Any] = {}
    bypass_cors_preflight: bool = False
    filter_state_rules: dict[str, Any] | None = None


class JwtPerRoute(Part, frozen=True):
    disabled: bool = False
    requirement_name: str = ""


class ProviderWithAudiences(Part, frozen=True):
    provider_name: str = ""


class JwtRequirement(Part, frozen=True):
    """One level of a requirement; the recursive forms are kept raw."""

    RAW: ClassVar[frozenset[str]] = frozenset({"requiresAny", "requiresAll"})
    provider_name: str = ""
    provider_and_audiences: ProviderWithAudiences | None = None
    requires_any: dict[str, Any] | None = None
    requires_all: dict[str, Any] | None = None
    allow_missing_or_failed: dict[str, Any] | None = None
    allow_missing: dict[str, Any] | None = None


class JwtRequirements(Part, frozen=True):
    requirements: tuple[dict[str, Any], ...] = ()


class ExtAuthz(Part, frozen=True):
    filter_enabled: RuntimeFraction | None = None
    filter_enabled_metadata: MetadataMatcher | None = None


class ExtAuthzPerRoute(Part, frozen=True):
    disabled: bool = False


class TokenBucket(Part, frozen=True):
    max_tokens: int = 0
    tokens_per_fill: int = 1
    fill_interval: str = ""


class LocalRateLimit(Part, frozen=True):
    token_bucket: TokenBucket | None = None
    filter_enabled: RuntimeFraction | None = None
    filter_enforced: RuntimeFraction | None = None


class DisabledOrConfig(Part, frozen=True):
    """config.route.v3.FilterConfig: a per-route wrapper that may switch a filter off."""

    RAW: ClassVar[frozenset[str]] = frozenset({"config"})
    config: dict[str, Any] | None = None
    disabled: bool = False
