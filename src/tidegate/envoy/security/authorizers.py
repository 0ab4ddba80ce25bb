"""CUSTOM policies: an RBAC filter that only marks what they match, and a filter that asks the mesh's provider."""

from collections.abc import Mapping
from typing import Any

from tidegate.api.mesh import EnvoyExternalAuthorizationGrpcProvider as Grpc
from tidegate.api.mesh import EnvoyExternalAuthorizationHttpProvider as Http
from tidegate.envoy import protos
from tidegate.envoy.inputs import Authorizer
from tidegate.envoy.resource import Decision
from tidegate.envoy.security import matchers, rbac
from tidegate.envoy.security import messages as m
from tidegate.envoy.security.rbac import Enforcement, Policies
from tidegate.kit import naming
from tidegate.kit.durations import Duration

HTTP_EXT_AUTHZ, NETWORK_EXT_AUTHZ = "envoy.filters.http.ext_authz", "envoy.filters.network.ext_authz"
_PREFIX, _BAD = "istio-ext-authz", "-deny-due-to-bad-CUSTOM-action"
_STATS = "istio_ext_authz_"
_MARK = f"{_STATS}shadow_effective_policy_id"
"""Key of the filter metadata in which the RBAC filter leaves the name of the policy that matched."""
_TIMEOUT = Duration.of(seconds=600)


def filters(policies: Policies, authorizers: tuple[Authorizer, ...], where: Enforcement) -> list[Any]:
    """The filters of CUSTOM policies, those of one provider together.

    What would ask a provider that is missing or wrong, or a second one, is denied: no request may pass unasked. TCP
    connections are not put to HTTP providers.
    """
    found = []
    for name, asking in _by_provider(policies):
        given = _known(name, authorizers)
        if given is None or _problem(name, policies, authorizers):
            rules = rbac.rules_of(asking, where, prefix=f"{_PREFIX}-{name}-", suffix=_BAD)
            found.append(rbac.wrapped(where, rules=rules))
        elif not (where.tcp and isinstance(given.settings.value, Http)):
            marks = rbac.rules_of(asking, where, prefix=f"{_PREFIX}-{name}-")
            found.append(rbac.wrapped(where, shadow_rules=marks, shadow_rules_stat_prefix=_STATS))
            found.append(_network(given) if where.tcp else _http(given))
    return found


def refusals(policies: Policies, authorizers: tuple[Authorizer, ...]) -> tuple[Decision, ...]:
    """Why what some CUSTOM policies match is denied unasked."""
    found = ((name, asking, _problem(name, policies, authorizers)) for name, asking in _by_provider(policies))
    return tuple(
        Decision(f"provider {name}", f"denied unasked: {problem}", asking[0].ref)
        for name, asking, problem in found
        if problem
    )


def _by_provider(policies: Policies) -> list[tuple[str, Policies]]:
    names = sorted({_provider(policy) for policy in policies})
    return [(name, tuple(p for p in policies if _provider(p) == name)) for name in names]


def _known(name: str, authorizers: tuple[Authorizer, ...]) -> Authorizer | None:
    return next((each for each in authorizers if each.name == name), None)


def _problem(name: str, policies: Policies, authorizers: tuple[Authorizer, ...]) -> str:
    if len({_provider(policy) for policy in policies}) > 1:
        return "policies of several providers hold for the workload, and one can be asked"
    given = _known(name, authorizers)
    return "the mesh has no such extension provider that authorizes" if given is None else given.problem


def _status(settings: Http | Grpc) -> int:
    return int(settings.status_on_error)


def _provider(policy: Any) -> str:
    return policy.spec.provider.name if policy.spec.provider is not None else ""


def _marked(name: str, source: str) -> Any:
    value = m.ValueMatcher(string_match={"prefix": f"{_PREFIX}-{name}"})
    return m.MetadataMatcher(filter=source, path=[{"key": _MARK}], value=value)


def _grpc_service(given: Authorizer) -> Any:
    settings = given.settings.value
    timeout = settings.timeout if settings.timeout is not None else _TIMEOUT
    cluster = naming.outbound_cluster(settings.port, "", given.host)
    return {"envoy_grpc": {"cluster_name": cluster, "authority": given.host}, "timeout": protos.duration(timeout)}


def _network(given: Authorizer) -> Any:
    config = m.NetworkExtAuthz(
        stat_prefix=rbac.TCP_STATS,
        grpc_service=_grpc_service(given),
        failure_mode_allow=given.settings.value.fail_open,
        transport_api_version=protos.ApiVersion.V3,
        filter_enabled_metadata=_marked(given.name, rbac.NETWORK_RBAC),
    )
    return protos.Filter(name=NETWORK_EXT_AUTHZ, typed_config=protos.any_of(config))


def _http(given: Authorizer) -> Any:
    settings = given.settings.value
    config = m.HttpExtAuthz(
        failure_mode_allow=settings.fail_open,
        clear_route_cache=settings.clear_route_cache,
        transport_api_version=protos.ApiVersion.V3,
        filter_enabled_metadata=_marked(given.name, rbac.HTTP_RBAC),
    )
    if settings.status_on_error:
        config.status_on_error.code = _status(settings)
    _put_body(config, settings)
    if isinstance(settings, Http):
        _put_http_service(config, given, settings)
    else:
        config.grpc_service.CopyFrom(m.HttpExtAuthz(grpc_service=_grpc_service(given)).grpc_service)
    return protos.HttpFilter(name=HTTP_EXT_AUTHZ, typed_config=protos.any_of(config))


def _put_body(config: Any, settings: Http | Grpc) -> None:
    body = settings.include_request_body_in_check
    if body is not None:
        config.with_request_body.max_request_bytes = body.max_request_bytes
        config.with_request_body.allow_partial_message = body.allow_partial_message
        config.with_request_body.pack_as_bytes = body.pack_as_bytes


def _put_http_service(config: Any, given: Authorizer, settings: Http) -> None:
    service = config.http_service
    service.server_uri.uri = f"http://{given.host}"
    service.server_uri.cluster = naming.outbound_cluster(settings.port, "", given.host)
    timeout = settings.timeout if settings.timeout is not None else _TIMEOUT
    service.server_uri.timeout.CopyFrom(protos.duration(timeout))
    service.path_prefix = settings.path_prefix
    added: Mapping[str, str] = settings.include_additional_headers_in_check
    for key in sorted(added):
        service.authorization_request.headers_to_add.add(key=key, value=added[key])
    sent = settings.include_request_headers_in_check or settings.include_headers_in_check
    if sent:
        config.allowed_headers.CopyFrom(_headers(sent))
    for field, names in (
        ("allowed_upstream_headers", settings.headers_to_upstream_on_allow),
        ("allowed_client_headers", settings.headers_to_downstream_on_deny),
        ("allowed_client_headers_on_success", settings.headers_to_downstream_on_allow),
    ):
        if names:
            getattr(service.authorization_response, field).CopyFrom(_headers(names))


def _headers(names: tuple[str, ...]) -> Any:
    """ListStringMatcher of header names, which may begin or end with ``*``."""
    return m.ListStringMatcher(patterns=[matchers.text(name, ignore_case=True) for name in names])
