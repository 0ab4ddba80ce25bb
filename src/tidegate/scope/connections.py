"""``connectionSettings`` of a ProxyConfig as the builders take it.

https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/#ProxyConfig
"""

from typing import Any

import msgspec

from tidegate.api.mesh import (
    ConnectionSettings,
    HttpHeadersWithUnderscoresAction,
    HttpPathWithEscapedSlashesAction,
    Profile,
    ProxyConfig,
)
from tidegate.kit.durations import Duration

_KIB, _MIB = 1024, 1024 * 1024
_EDGE: dict[str, Any] = {
    "listener_per_connection_buffer_limit_bytes": 32 * _KIB,
    "http_idle_timeout": Duration.of(seconds=3600),
    "http_stream_idle_timeout": Duration.of(seconds=300),
    "http_request_timeout": Duration.of(seconds=300),
    "http_request_headers_timeout": Duration.of(seconds=60),
    "http_max_concurrent_streams": 100,
    "http2_initial_stream_window_size": 64 * _KIB,
    "http2_initial_connection_window_size": _MIB,
    "http_headers_with_underscores_action": HttpHeadersWithUnderscoresAction.HEADERS_WITH_UNDERSCORES_REJECT_REQUEST,
    "http_merge_slashes": True,
    "http_path_with_escaped_slashes_action": HttpPathWithEscapedSlashesAction.UNESCAPE_AND_REDIRECT,
}
"""What profile EDGE sets, Envoy's best practices for proxies that face the outside:
https://www.envoyproxy.io/docs/envoy/latest/configuration/best_practices/edge"""

_UNSAID = (
    None,
    HttpHeadersWithUnderscoresAction.HEADERS_WITH_UNDERSCORES_UNSPECIFIED,
    HttpPathWithEscapedSlashesAction.PATH_WITH_ESCAPED_SLASHES_UNSPECIFIED,
)


def connection_settings(
    own: ProxyConfig | None, mesh: ProxyConfig | None, *, router: bool
) -> ConnectionSettings | None:
    """Those of the proxy's own configuration, else the mesh's; with what profile EDGE adds at a gateway. None: none."""
    found = own.connection_settings if own is not None else None
    if found is None and mesh is not None:
        found = mesh.connection_settings
    if found is None or found.profile is not Profile.EDGE or not router:
        return found
    added = {name: value for name, value in _EDGE.items() if getattr(found, name) in _UNSAID}
    return msgspec.structs.replace(found, **added)
