"""``proxyHeaders`` of a ProxyConfig as the builders take it."""

from tidegate.api.mesh import ForwardClientCertDetails, ProxyConfig, ProxyHeaders, SetCurrentClientCertDetails
from tidegate.scope.proxy import HeaderSettings

_DEFAULT = HeaderSettings()
_PARTS = {"subject": True, "cert": False, "chain": False, "dns": True, "uri": True}
"""What the header tells of a client's certificate, and whether it does so unasked."""


def header_settings(config: ProxyConfig | None) -> HeaderSettings:
    """``config``: the proxy's own ProxyConfig as it stands (the mesh's default where it has none)."""
    given = config.proxy_headers if config is not None else None
    return _settings(given) if given is not None else _DEFAULT


def _settings(given: ProxyHeaders) -> HeaderSettings:
    mode, server = given.forwarded_client_cert, given.server
    parts = given.set_current_client_cert_details
    passed = server is not None and bool(server.disabled)
    return HeaderSettings(
        server=server.value if server is not None and not passed else "",
        server_passed=passed,
        client_cert="" if mode is ForwardClientCertDetails.UNDEFINED else mode.value,
        client_cert_parts=_parts(parts) if parts is not None else None,
        request_id=not (given.request_id and given.request_id.disabled),
        attempt_count=not (given.attempt_count and given.attempt_count.disabled),
        debug_headers=not (given.envoy_debug_headers and given.envoy_debug_headers.disabled),
        forwarded_port=bool(given.x_forwarded_port and given.x_forwarded_port.enabled),
        forwarded_host=bool(given.x_forwarded_host and given.x_forwarded_host.enabled),
        keeps_case=bool(given.preserve_http1_header_case),
    )


def _parts(given: SetCurrentClientCertDetails) -> tuple[str, ...]:
    asked = {name: getattr(given, name) for name in _PARTS}
    return tuple(name for name, unasked in _PARTS.items() if (unasked if asked[name] is None else asked[name]))
