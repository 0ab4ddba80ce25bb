"""Limits of what clients may do on one HTTP connection: ProxyConfig's ``connectionSettings``."""

from typing import Any

from tidegate.api.mesh import (
    ConnectionSettings,
    HttpHeadersWithUnderscoresAction,
    HttpPathWithEscapedSlashesAction,
)
from tidegate.envoy import protos

_Underscores, _Slashes = HttpHeadersWithUnderscoresAction, HttpPathWithEscapedSlashesAction
_PREFIX = "HEADERS_WITH_UNDERSCORES_"
"""What Istio's names have before Envoy's."""

_TIMES = (
    ("http_stream_idle_timeout", "stream_idle_timeout"),
    ("http_request_timeout", "request_timeout"),
    ("http_request_headers_timeout", "request_headers_timeout"),
    ("http_drain_timeout", "drain_timeout"),
)
_COMMON_TIMES = (
    ("http_idle_timeout", "idle_timeout"),
    ("http_max_connection_duration", "max_connection_duration"),
    ("http_max_stream_duration", "max_stream_duration"),
)
_HTTP2 = (
    ("http_max_concurrent_streams", "max_concurrent_streams"),
    ("http2_initial_stream_window_size", "initial_stream_window_size"),
    ("http2_initial_connection_window_size", "initial_connection_window_size"),
)
"""Field of the settings, and of Envoy's message."""


def put(manager: Any, settings: ConnectionSettings | None) -> None:
    """Set what the settings say, over what the mesh says of paths and idle streams."""
    if settings is None:
        return
    _put_times(manager, settings, _TIMES)
    _put_times(manager.common_http_protocol_options, settings, _COMMON_TIMES)
    for name, field in _HTTP2:
        value = getattr(settings, name)
        if value is not None and value >= 0:
            getattr(manager.http2_protocol_options, field).value = value
    _put_headers_and_paths(manager, settings)


def _put_times(message: Any, settings: ConnectionSettings, fields: tuple[tuple[str, str], ...]) -> None:
    for name, field in fields:
        value = getattr(settings, name)
        if value is not None:
            getattr(message, field).CopyFrom(protos.duration(value))


def _put_headers_and_paths(manager: Any, settings: ConnectionSettings) -> None:
    action = settings.http_headers_with_underscores_action
    if action is not _Underscores.HEADERS_WITH_UNDERSCORES_UNSPECIFIED:
        actions = protos.CommonHttpProtocolOptions.HeadersWithUnderscoresAction
        value = actions.Value(action.value.removeprefix(_PREFIX))
        manager.common_http_protocol_options.headers_with_underscores_action = value
    if settings.http_merge_slashes is not None:
        manager.merge_slashes = settings.http_merge_slashes
    slashes = settings.http_path_with_escaped_slashes_action
    if slashes is not _Slashes.PATH_WITH_ESCAPED_SLASHES_UNSPECIFIED:
        known = protos.HttpConnectionManager.PathWithEscapedSlashesAction
        manager.path_with_escaped_slashes_action = known.Value(slashes.value)


def buffer_limit(settings: ConnectionSettings | None) -> int | None:
    """Bytes that a gateway's listener holds back for one connection; None: Envoy's default."""
    limit = settings.listener_per_connection_buffer_limit_bytes if settings is not None else None
    return limit if limit is not None and limit >= 0 else None
