"""Listeners: where they listen, what they look at first, which chains they have."""

from typing import Any, ClassVar

from tidegate.dump.config.parts import Extension, Part, Range
from tidegate.dump.model import AdditionalAddress, CidrRange, Metadata
from tidegate.dump.model import Part as ModelPart


class ListenAddress(ModelPart, frozen=True):
    """A socket address with what a listener may say of it."""

    address: str = ""
    port_value: int = 0
    ipv4_compat: bool = False
    protocol: str = "TCP"


class Listening(ModelPart, frozen=True):
    socket_address: ListenAddress | None = None


class PortPredicate(Part, frozen=True):
    """ListenerFilterChainMatchPredicate, one level; the recursive forms are kept raw."""

    or_match: dict[str, Any] | None = None
    and_match: dict[str, Any] | None = None
    not_match: dict[str, Any] | None = None
    any_match: bool = False
    destination_port_range: Range | None = None


class ListenerFilter(Part, frozen=True):
    RAW: ClassVar[frozenset[str]] = frozenset({"typedConfig"})
    name: str = ""
    typed_config: dict[str, Any] = {}
    filter_disabled: PortPredicate | None = None


class DeprecatedV1(Part, frozen=True):
    bind_to_port: bool = True


class Listener(Part, frozen=True):
    """A listener, its filter chains as they came: a chain is read when it is looked at."""

    RAW: ClassVar[frozenset[str]] = frozenset({"filterChains", "defaultFilterChain", "filterChainMatcher"})
    name: str = ""
    address: Listening = Listening()
    additional_addresses: tuple[AdditionalAddress, ...] = ()
    bind_to_port: bool = True
    deprecated_v1: DeprecatedV1 = DeprecatedV1()
    use_original_dst: bool = False
    hidden_envoy_deprecated_use_original_dst: bool = False
    traffic_direction: str = ""
    listener_filters: tuple[ListenerFilter, ...] = ()
    listener_filters_timeout: str = "15s"
    continue_on_listener_filters_timeout: bool = False
    filter_chains: tuple[Any, ...] = ()
    default_filter_chain: dict[str, Any] | None = None
    filter_chain_matcher: dict[str, Any] | None = None
    metadata: Metadata = Metadata()

    @property
    def binds(self) -> bool:
        return self.bind_to_port and self.deprecated_v1.bind_to_port

    @property
    def hands_over(self) -> bool:
        """True where a redirected connection goes on to the listener of its original address."""
        return self.use_original_dst or self.hidden_envoy_deprecated_use_original_dst


class FilterChainMatch(Part, frozen=True):
    destination_port: int | None = None
    prefix_ranges: tuple[CidrRange, ...] = ()
    direct_source_prefix_ranges: tuple[CidrRange, ...] = ()
    source_type: str = "ANY"
    source_prefix_ranges: tuple[CidrRange, ...] = ()
    source_ports: tuple[int, ...] = ()
    server_names: tuple[str, ...] = ()
    transport_protocol: str = ""
    application_protocols: tuple[str, ...] = ()


class ChainHead(Part, frozen=True):
    """As much of a filter chain as its choice needs."""

    WHOLE: ClassVar[frozenset[str]] = frozenset({"filterChainMatch"})
    name: str = ""
    filter_chain_match: FilterChainMatch = FilterChainMatch()


class FilterChain(Part, frozen=True):
    RAW: ClassVar[frozenset[str]] = frozenset({"filters"})
    RETIRED: ClassVar[frozenset[str]] = frozenset({"tlsContext"})
    name: str = ""
    filters: tuple[Any, ...] = ()
    transport_socket: Extension | None = None
    metadata: Metadata = Metadata()


class DiscoveredConfig(Part, frozen=True):
    """ExtensionConfigSource: the filter's configuration is a resource of its own."""

    RAW: ClassVar[frozenset[str]] = frozenset({"defaultConfig"})
    default_config: dict[str, Any] | None = None


class Filter(Part, frozen=True):
    """A network or HTTP filter."""

    RAW: ClassVar[frozenset[str]] = frozenset({"typedConfig", "config"})
    RETIRED: ClassVar[frozenset[str]] = frozenset({"config"})
    name: str = ""
    typed_config: dict[str, Any] | None = None
    config_discovery: DiscoveredConfig | None = None
    disabled: bool = False
