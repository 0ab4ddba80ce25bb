"""Headers that a proxy adds or hides by its ProxyConfig, in its HTTP connection managers."""

from typing import Any

from tidegate.envoy import protos
from tidegate.scope.proxy import HeaderSettings

ROUTER = "envoy.filters.http.router"
_DEFAULT = HeaderSettings()


def put(manager: Any, settings: HeaderSettings, direction: str) -> None:
    """Change what the manager has by default; ``direction``: outbound, inbound or gateway."""
    if settings == _DEFAULT:
        return
    if settings.server_passed:
        manager.server_name = ""
        manager.server_header_transformation = protos.HttpConnectionManager.PASS_THROUGH
    elif settings.server:
        manager.server_name = settings.server
    if not settings.request_id:
        manager.generate_request_id.value = False
    if not settings.debug_headers:
        _hide_debug_headers(manager)
    manager.append_x_forwarded_port = settings.forwarded_port
    if direction == "inbound":
        _put_client_cert(manager, settings)


def _put_client_cert(manager: Any, settings: HeaderSettings) -> None:
    if settings.client_cert:
        modes = protos.HttpConnectionManager.ForwardClientCertDetails
        manager.forward_client_cert_details = modes.Value(settings.client_cert)
    if settings.client_cert_parts is not None:
        details = manager.set_current_client_cert_details
        details.Clear()
        details.subject.value = "subject" in settings.client_cert_parts
        for name in settings.client_cert_parts:
            if name != "subject":
                setattr(details, name, True)


def _hide_debug_headers(manager: Any) -> None:
    for each in manager.http_filters:
        if each.name == ROUTER:
            config = protos.Router.FromString(each.typed_config.value)
            config.suppress_envoy_headers = True
            each.typed_config.CopyFrom(protos.any_of(config))
