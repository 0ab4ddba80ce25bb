"""The mesh's providers that CUSTOM policies name, and whether they can be asked."""

import re
from collections.abc import Callable, Iterable
from typing import Any

from tidegate.api.mesh import (
    EnvoyExternalAuthorizationGrpcProvider,
    EnvoyExternalAuthorizationHttpProvider,
    ExtensionProvider,
    MeshConfig,
)
from tidegate.api.objects import Object
from tidegate.api.security import AuthorizationPolicy
from tidegate.api.validation.findings import Findings
from tidegate.api.validation.mesh import check_provider
from tidegate.envoy.defaults import keyed
from tidegate.envoy.inputs import Authorizer
from tidegate.envoy.security import messages as m

_LINES = re.compile(r"[\x00\r\n]")

Settings = EnvoyExternalAuthorizationHttpProvider | EnvoyExternalAuthorizationGrpcProvider
Find = Callable[[str, str, int], str]
"""From namespace ("" for any), host and port of a service to why it cannot be reached; "" when it can."""


def of_mesh(
    mesh: MeshConfig, policies: Iterable[Object[AuthorizationPolicy]], unreachable: Find = lambda *_: ""
) -> tuple[Authorizer, ...]:
    """The authorizers that CUSTOM policies name. One that the mesh does not have is left out."""
    names = sorted({p.spec.provider.name for p in policies if p.spec.provider is not None})
    known: dict[str, ExtensionProvider] = {}
    for provider in mesh.extension_providers:
        known.setdefault(provider.name, provider)
    given = ((name, authorizer(known[name])) for name in names if name in known)
    return tuple(_authorizer(name, settings, unreachable) for name, settings in given if settings is not None)


def authorizer(provider: ExtensionProvider) -> Settings | None:
    """The settings of a provider that authorizes; None for providers of other things."""
    return provider.envoy_ext_authz_http or provider.envoy_ext_authz_grpc


def service_of(settings: Any) -> tuple[str, str]:
    """Namespace ("" for any) and host of a provider's ``[namespace/]host``."""
    namespace, slash, host = settings.service.partition("/")
    return (namespace, host.lower()) if slash else ("", settings.service.lower())


def _authorizer(name: str, settings: Settings, unreachable: Find) -> Authorizer:
    namespace, host = service_of(settings)
    problem = _settings_problem(settings) or unreachable(namespace, host, settings.port)
    return Authorizer(name=name, settings=keyed(settings), host=host, problem=problem)


def _settings_problem(settings: Settings) -> str:
    found = Findings()
    check_provider("provider", settings, found)
    _check_limits(settings, found)
    status = settings.status_on_error
    if status and not found.errors and int(status) not in m.StatusCode.values():
        found.error("provider.statusOnError", "must be a status code that Envoy knows", status)
    return str(found.errors[0]) if found.errors else ""


def _check_limits(settings: Settings, out: Findings) -> None:
    """What Envoy would refuse, and the listener with it."""
    body = settings.include_request_body_in_check
    if body is not None and not body.max_request_bytes:
        out.error("provider.includeRequestBodyInCheck.maxRequestBytes", "must be greater than 0")
    if settings.timeout is not None and settings.timeout < 0:
        out.error("provider.timeout", "must not be negative", str(settings.timeout))
    added = getattr(settings, "include_additional_headers_in_check", {})
    for name, value in added.items():
        if not name or _LINES.search(name + value):
            out.error("provider.includeAdditionalHeadersInCheck", "must be header names and values", name)
