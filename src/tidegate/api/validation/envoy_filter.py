"""Rules for EnvoyFilter."""

from collections.abc import Iterator
from typing import Any

from tidegate.api.envoyfilter import (
    ApplyTo,
    ConfigPatch,
    EnvoyFilter,
    FilterMatch,
    ListenerMatch,
    ObjectMatch,
    Operation,
    PatchContext,
    PatchSpec,
)
from tidegate.api.validation.findings import Findings
from tidegate.api.validation.names import check_selector, regex_problem
from tidegate.api.validation.selection import check_target
from tidegate.kit import envoy_messages
from tidegate.kit.envoy_messages import MessageError

MESSAGES = {
    ApplyTo.LISTENER: "envoy.config.listener.v3.Listener",
    ApplyTo.FILTER_CHAIN: "envoy.config.listener.v3.FilterChain",
    ApplyTo.NETWORK_FILTER: "envoy.config.listener.v3.Filter",
    ApplyTo.LISTENER_FILTER: "envoy.config.listener.v3.ListenerFilter",
    ApplyTo.HTTP_FILTER: "envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter",
    ApplyTo.ROUTE_CONFIGURATION: "envoy.config.route.v3.RouteConfiguration",
    ApplyTo.VIRTUAL_HOST: "envoy.config.route.v3.VirtualHost",
    ApplyTo.HTTP_ROUTE: "envoy.config.route.v3.Route",
    ApplyTo.CLUSTER: "envoy.config.cluster.v3.Cluster",
    ApplyTo.EXTENSION_CONFIG: "envoy.config.core.v3.TypedExtensionConfig",
    ApplyTo.BOOTSTRAP: "envoy.config.bootstrap.v3.Bootstrap",
}
"""What the value of a patch is, by what it applies to."""

MANAGER = "envoy.filters.network.http_connection_manager"
_LISTENERS = frozenset((ApplyTo.LISTENER, ApplyTo.FILTER_CHAIN, ApplyTo.NETWORK_FILTER, ApplyTo.HTTP_FILTER))
_ROUTES = frozenset((ApplyTo.ROUTE_CONFIGURATION, ApplyTo.VIRTUAL_HOST, ApplyTo.HTTP_ROUTE))
_VERSION_LIMIT = 1024

_NETWORK = ("client_ssl_auth", "echo", "ext_authz", "http_connection_manager", "mongo_proxy", "ratelimit")
_HTTP = ("buffer", "cors", "csrf", "fault", "grpc_http1_bridge", "grpc_json_transcoder", "grpc_web", "gzip")
_MORE_HTTP = ("health_check", "ip_tagging", "lua", "router", "squash")
OLD_NAMES = {
    **{f"envoy.{name}": f"envoy.filters.network.{name}" for name in (*_NETWORK, "redis_proxy", "tcp_proxy")},
    **{f"envoy.{name}": f"envoy.filters.http.{name}" for name in (*_HTTP, *_MORE_HTTP)},
    "envoy.rate_limit": "envoy.filters.http.ratelimit",
    "envoy.http_dynamo_filter": "envoy.filters.http.dynamo",
    **{
        f"envoy.listener.{name}": f"envoy.filters.listener.{name}"
        for name in ("http_inspector", "original_dst", "original_src", "proxy_protocol", "tls_inspector")
    },
}
"""Names of filters before Envoy 1.14, and what they became."""


def check_envoy_filter(found: EnvoyFilter, out: Findings) -> None:
    if found.workload_selector is not None:
        check_selector("spec.workloadSelector.labels", found.workload_selector.labels, out)
        if found.target_refs:
            out.error("spec", "only one of workloadSelector and targetRefs may be set")
    for index, target in enumerate(found.target_refs):
        check_target(f"spec.targetRefs[{index}]", target, out)
    for index, each in enumerate(found.config_patches):
        _check_patch(f"spec.configPatches[{index}]", each, out)


def _check_patch(path: str, given: ConfigPatch, out: Findings) -> None:
    match = given.match or ObjectMatch()
    waypoint = match.context is PatchContext.WAYPOINT
    if waypoint != (match.waypoint is not None):
        out.error(f"{path}.match", "waypoint conditions go with the context WAYPOINT, and with no other")
    if match.waypoint is not None and match.waypoint.port_number > 65535:
        out.error(f"{path}.match.waypoint.portNumber", "must be 1 to 65535", match.waypoint.port_number)
    if waypoint:
        return
    if given.apply_to is ApplyTo.INVALID:
        out.required(f"{path}.applyTo", "what is patched")
    _check_proxy(path, match, out)
    _check_match(f"{path}.match", given.apply_to, match, out)
    _check_operation(f"{path}.patch", given, out)


def _check_operation(path: str, given: ConfigPatch, out: Findings) -> None:
    patch = given.patch
    if patch is None:
        out.required(path, "operation and value of the patch")
    elif patch.operation is Operation.INVALID:
        out.required(f"{path}.operation", "how the value is applied, such as MERGE or INSERT_BEFORE")
    elif patch.value is not None or patch.operation is not Operation.REMOVE:
        _check_value(f"{path}.value", given.apply_to, patch, out)


def _check_proxy(path: str, match: ObjectMatch, out: Findings) -> None:
    version = match.proxy.proxy_version if match.proxy is not None else ""
    at = f"{path}.match.proxy.proxyVersion"
    if len(version) > _VERSION_LIMIT:
        out.warn(at, f"is longer than {_VERSION_LIMIT} characters and will be ignored")
    elif problem := regex_problem(version):
        out.error(at, f"must be an RE2 expression: {problem}", version)


def _check_match(path: str, applied: ApplyTo, match: ObjectMatch, out: Findings) -> None:
    """The conditions are of the kind that suits what is patched."""
    given = {"listener": match.listener, "routeConfiguration": match.route_configuration, "cluster": match.cluster}
    kind = next((name for name, each in given.items() if each is not None), "")
    wanted = "listener" if applied in _LISTENERS else "routeConfiguration" if applied in _ROUTES else "cluster"
    if kind and kind != wanted and applied in (*_LISTENERS, *_ROUTES, ApplyTo.CLUSTER):
        out.error(f"{path}.{kind}", f"applyTo {applied.value} goes with conditions of {wanted}")
    elif match.listener is not None and applied in _LISTENERS:
        _check_listener(f"{path}.listener", applied, match.listener, out)


def _check_listener(path: str, applied: ApplyTo, match: ListenerMatch, out: Findings) -> None:
    chain = match.filter_chain
    if chain is None or chain.filter is None:
        return
    at = f"{path}.filterChain.filter"
    if applied in (ApplyTo.LISTENER, ApplyTo.FILTER_CHAIN):
        out.warn(at, f"does not count for applyTo {applied.value}")
    if not chain.filter.name:
        out.required(f"{at}.name", "name of the filter")
    elif chain.filter.name in OLD_NAMES:
        out.warn(f"{at}.name", f"is an old name; use {OLD_NAMES[chain.filter.name]}")
    _check_sub_filter(f"{at}.subFilter", applied, chain.filter, out)


def _check_sub_filter(path: str, applied: ApplyTo, match: FilterMatch, out: Findings) -> None:
    if match.sub_filter is None:
        return
    if applied is not ApplyTo.HTTP_FILTER:
        out.error(path, "goes with applyTo HTTP_FILTER only")
    elif OLD_NAMES.get(match.name, match.name) != MANAGER:
        out.error(path, f"goes with the filter {MANAGER} only", match.name)
    elif not match.sub_filter.name:
        out.required(f"{path}.name", "name of the HTTP filter")
    elif match.sub_filter.name in OLD_NAMES:
        out.warn(f"{path}.name", f"is an old name; use {OLD_NAMES[match.sub_filter.name]}")


def _check_value(path: str, applied: ApplyTo, patch: PatchSpec, out: Findings) -> None:
    """The value decodes into Envoy's message."""
    if patch.value is None:
        out.required(path, f"what to {patch.operation.value}, as JSON of the Envoy message")
        return
    name = MESSAGES.get(applied)
    if name is None:
        return
    try:
        message = envoy_messages.decode(name, patch.value)
    except MessageError as error:
        at = f"{path}.{error.path}" if error.path else path
        out.error(at, f"cannot be read as {name}: {error.reason}")
        return
    for at, url in _types(patch.value, path):
        if envoy_messages.is_retired(url):
            out.error(at, "is of a version of the API that Envoy no longer has; use the type of v3", url)
    for each in envoy_messages.unknown_fields(name, patch.value):
        out.warn(f"{path}.{each}", f"{name} has no such field; it will be ignored")
    for at, extension in _unconfigured(message, path):
        out.warn(at, f"names {extension[:120]!r} without typed_config: Envoy no longer knows configurations by name")


def _types(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """Type URLs in a value, however deep it is."""
    left = [(value, path)]
    while left:
        found, at = left.pop()
        if isinstance(found, dict):
            left += [(item, f"{at}.{key}") for key, item in found.items()]
            if isinstance(url := found.get("@type"), str):
                yield f"{at}.@type", url
        elif isinstance(found, list):
            left += [(item, f"{at}[{index}]") for index, item in enumerate(found)]


def _unconfigured(message: Any, path: str) -> Iterator[tuple[str, str]]:
    """Where a message, or one of those in it that stand alone, has a place for a configuration and none in it."""
    names = {field.json_name: field.name for field in message.DESCRIPTOR.fields}
    placed = [names[name] for name in ("typedConfig", "configDiscovery") if name in names]
    if "typedConfig" in names and not any(message.HasField(name) for name in placed):
        yield path, str(getattr(message, "name", ""))
    for field, value in message.ListFields():
        if field.message_type is not None and not field.is_repeated:
            yield from _unconfigured(value, f"{path}.{field.json_name}")
