"""Single rules of validation: a fragment of an object, and the function that Istio checks it with.

Each is put to the rule of ours that stands for that function.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from tidegate.api import mesh, meshnetworks, networking, telemetry
from tidegate.api.fields import decode_hook
from tidegate.api.validation import (
    findings,
    gateway,
    headers,
    http_route,
    locality,
    names,
    proxy_config,
    tls,
    traffic,
    virtual_service,
    workload,
)
from tidegate.api.validation import mesh as mesh_rules
from tidegate.api.validation.mesh_networks import check_mesh_networks
from tidegate.api.validation.telemetry import check_filter
from tidegate.api.walk import walk
from tidegate.kit.durations import Duration

Out = findings.Findings
Rule = Callable[[list[Any], Out], None]

MESSAGES = {
    f"istio.{cls.__doc__.strip().rstrip('.')}": cls
    for module in (networking, mesh, meshnetworks, telemetry)
    for cls in vars(module).values()
    if isinstance(cls, type) and issubclass(cls, msgspec.Struct) and cls.__doc__
}


def typed(argument: Any, out: Out) -> Any:
    """An argument as the rules take it; what does not decode is an error by itself."""
    if isinstance(argument, list):
        return [typed(item, out) for item in argument]
    if not isinstance(argument, dict) or "type" not in argument:
        return argument
    if argument["type"] == "google.protobuf.Duration":
        return Duration(argument["seconds"] * 10**9 + argument["nanos"])
    cls = MESSAGES[argument["type"]]
    body, errors, _ = walk(cls, argument["value"], "", limits=False)
    out.errors += errors
    return msgspec.convert(body, cls, dec_hook=decode_hook)


def optional(rule: Callable[..., None]) -> Rule:
    return lambda args, out: rule("x", args[0], out) if args[0] is not None else None


def problem(found: str | None, out: Out) -> None:
    if found:
        out.error("x", found)


def plain(rule: Callable[[str, Any, Out], None]) -> Rule:
    return lambda args, out: rule("x", args[0], out)


def _walked(cls: type[Any], value: Any, out: Out) -> None:
    """What the shape alone says: a value of an enum that has no such value is never read."""
    out.errors += walk(cls, value, "", limits=False)[1]


FRAGMENTS: dict[str, Rule] = {
    "ValidateConnectTimeout": plain(mesh_rules.check_connect_timeout),
    "ValidateDrainDuration": plain(proxy_config.check_drain),
    "ValidateDuration": plain(names.check_duration),
    "ValidateExtensionProviderEnvoyHTTPAls": plain(mesh_rules.check_provider),
    "ValidateExtensionProviderEnvoyOtelAls": plain(mesh_rules.check_provider),
    "ValidateExtensionProviderEnvoyTCPAls": plain(mesh_rules.check_provider),
    "ValidateExtensionProviderTracingOpentelemetry": plain(mesh_rules.check_provider),
    "validateExtensionProviderTracingDatadog": plain(mesh_rules.check_provider),
    "validateExtensionProviderTracingLightStep": plain(mesh_rules.check_provider),
    "validateExtensionProviderTracingOpenCensusAgent": plain(mesh_rules.check_provider),
    "validateExtensionProviderTracingZipkin": plain(mesh_rules.check_provider),
    "validateExtensionProviderTracingSkyWalking": plain(mesh_rules.check_provider),
    "ValidateExtensionProviderEnvoyExtAuthzHTTP": plain(mesh_rules.check_provider),
    "ValidateExtensionProviderEnvoyExtAuthzGRPC": plain(mesh_rules.check_provider),
    "validateExtensionProviderService": plain(mesh_rules.check_provider_service),
    "ValidateFQDN": plain(names.check_fqdn),
    "ValidateHTTPHeaderNameOrJwtClaimRoute": plain(headers.check_match_name),
    "ValidateHTTPHeaderValue": plain(headers.check_value),
    "ValidateStrictHTTPHeaderName": plain(headers.check_strict_name),
    "ValidateHTTPRetry": optional(http_route.check_retry),
    "ValidateIPAddress": plain(names.check_ip),
    "ValidateIPSubnet": plain(names.check_subnet),
    "ValidateLocalityLbSetting": lambda a, out: (
        locality.check_locality_setting("x", a[0], a[1], out) if a[0] is not None else None
    ),
    "ValidateZoneAwareLbSetting": lambda a, out: (
        locality.check_zone_aware_setting("x", a[0], a[1], out) if a[0] is not None else None
    ),
    "validateLocalities": plain(locality.check_localities),
    "ValidatePort": plain(names.check_port),
    "ValidatePortName": plain(names.check_port_name),
    "ValidateProtocolDetectionTimeout": plain(mesh_rules.check_detection_timeout),
    "ValidateProxyAddress": plain(proxy_config.check_address),
    "ValidateTLS": lambda a, out: tls.check_client_tls("x", a[1], a[0], out) if a[1] is not None else None,
    "ValidateTrustDomain": plain(mesh_rules.check_trust_domain),
    "ValidateWildcardDomain": plain(names.check_wildcard),
    "ValidateWildcardDomainForVirtualServiceBoundToGateway": lambda a, out: problem(
        virtual_service.gateway_domain_problem(a[1], sni=a[0]), out
    ),
    "validateCORSPolicy": optional(http_route.check_cors),
    "validateConnectionPool": optional(traffic.check_pool),
    "validateConnectionSettings": plain(proxy_config.check_connection_settings),
    "validateDestination": plain(http_route.check_destination),
    "validateExportTo": lambda a, out: names.check_export_to(a[1] or (), a[0], out, nobody=a[2], selector=a[3]),
    "ValidatePercent": lambda a, out: names.check_share("x", a[0], out),
    "validatePercentage": lambda a, out: names.check_percent("x", a[0].value, out) if a[0] is not None else None,
    "ValidateProtocol": plain(names.check_protocol),
    "ValidateUnixAddress": plain(names.check_unix),
    "ValidateCORSHTTPHeaderName": plain(headers.check_cors_name),
    "ValidatePartialWildCard": lambda a, out: problem("a part" if names.is_partial_wildcard(a[0]) else None, out),
    "ValidateLightstepCollector": plain(proxy_config.check_lightstep),
    "ValidateZipkinCollector": lambda a, out: proxy_config.check_agent("x", a[0].address, out),
    "ValidateDatadogCollector": lambda a, out: proxy_config.check_agent("x", a[0].address, out),
    "ValidateProxyConfig": plain(proxy_config.check_proxy_config),
    "validateGatewayNames": plain(http_route.check_gateways),
    "validateHTTPDirectResponse": optional(http_route.check_direct_response),
    "validateHTTPFaultInjectionAbort": optional(http_route.check_abort),
    "validateHTTPFaultInjectionDelay": optional(http_route.check_delay),
    "validateHTTPRedirect": lambda a, out: (
        http_route.check_redirect("x", a[0], a[1] or (), out) if a[0] is not None else None
    ),
    "validateHTTPRewrite": optional(http_route.check_rewrite),
    "validateHTTPFaultInjection": optional(http_route.check_fault),
    "validateHTTPRoute": lambda a, out: http_route.check_http_route("x", a[0], out, delegate=a[1], gateway=a[2]),
    "validateHTTPStatus": plain(http_route.check_status),
    "validateLoadBalancer": lambda a, out: (
        traffic.check_load_balancer("x", a[0], a[1], out) if a[0] is not None else None
    ),
    "validateMeshConfigDefaultInboundHTTPRetryPolicy": optional(mesh_rules.check_inbound_retry),
    "validateMeshConfigDefaultTrafficPolicy": optional(mesh_rules.check_default_traffic_policy),
    "validateOutlierDetection": optional(traffic.check_outlier),
    "validateRouteDestinations": lambda a, out: http_route.check_weights(
        "x", msgspec.convert(a[0], list[networking.HTTPRouteDestination]), out
    ),
    "validateServer": lambda a, out: gateway.check_server("x", a[0], out),
    "validateServerPort": lambda a, out: gateway.check_server_port("x", a[0], a[1], out),
    "validateServiceSettings": lambda a, out: mesh_rules.check_service_settings("x", a[0].service_settings, out),
    "validatePortTrafficPolicies": lambda a, out: traffic.check_port_policies("x", a[1], a[0], out),
    "validateReadinessProbe": optional(workload.check_probe),
    "validateTunnelSettings": optional(traffic.check_tunnel),
    "validateWeight": lambda a, out: problem("negative" if a[0] < 0 else None, out),
    "validateTLSOptions": optional(tls.check_server_tls),
    "validateTrafficPolicy": lambda a, out: (
        traffic.check_traffic_policy("x", a[1], a[0], out) if a[1] is not None else None
    ),
    "validateURIRegexRewrite": optional(http_route.check_regex_rewrite),
    "ValidateMeshConfig": lambda a, out: mesh_rules.check_mesh_config(a[0], out),
    "validateTelemetryFilter": plain(check_filter),
    "ValidateControlPlaneAuthPolicy": lambda a, out: _walked(mesh.ProxyConfig, {"controlPlaneAuthPolicy": a[0]}, out),
    "ValidateMeshNetworks": lambda a, out: check_mesh_networks(a[0], out),
    "ValidateMeshConfigProxyConfig": plain(proxy_config.check_proxy_config),
}


def judge(function: str, args: list[Any]) -> Out:
    """What our rule says of a fragment. Raises LookupError where there is no such rule."""
    if function not in FRAGMENTS:
        raise LookupError(f"there is no rule for {function}")
    out = Out()
    FRAGMENTS[function](typed(args, out), out)
    return out
