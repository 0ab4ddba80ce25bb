"""Istio's own validation cases, for the kinds that tidegate serves.

What is compared is whether an object is accepted, and whether a warning is given. The floors only rise.
"""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from ruamel.yaml import YAML

from tidegate.api import mesh, networking
from tidegate.api.decode import admit
from tidegate.api.fields import decode_hook
from tidegate.api.kinds import KINDS
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
)
from tidegate.api.validation import mesh as mesh_rules
from tidegate.api.walk import walk
from tidegate.kit.durations import Duration
from tidegate.kit.errors import InvalidObjectError

pytestmark = pytest.mark.conformance

KIND_NAMES = frozenset(name for name, kind in KINDS.items() if kind.strict)
OBJECTS_FLOOR = 178
CRDS_FLOOR = 38
FRAGMENTS_FLOOR = 448
WARNINGS_FLOOR = 87

Out = findings.Findings
Rule = Callable[[list[Any], Out], None]


def cases(folder: Path) -> Iterable[dict[str, Any]]:
    for file in sorted(folder.glob("*.json")):
        yield from json.loads(file.read_text())


def report(title: str, passed: int, failed: list[str], floor: int) -> None:
    total = passed + len(failed)
    print(f"{title}: {passed} of {total}")
    for name in failed:
        print(f"  {name}")
    assert total > 0
    assert passed >= floor, f"{title}: {passed} of {total} pass, the floor is {floor}:\n" + "\n".join(failed)


def named(raw: dict[str, Any]) -> dict[str, Any]:
    """With a name and a namespace where the case has none."""
    meta = raw.get("metadata") or {}
    name = meta.get("name") or "case"
    return {**raw, "metadata": {**meta, "name": name, "namespace": meta.get("namespace") or "default"}}


def judged(raw: dict[str, Any]) -> tuple[bool, str]:
    try:
        admit(named(raw), field_validation="Ignore")
    except InvalidObjectError as refused:
        return False, str(refused)
    return True, ""


def test_whole_objects(shared: Path) -> None:
    passed, failed = 0, []
    for case in cases(shared / "conformance/validation/objects"):
        if case["kind"] not in KIND_NAMES:
            continue
        accepted, why = judged(case["object"])
        if accepted == case["valid"]:
            passed += 1
        else:
            failed.append(f"{case['kind']} {case['name']}: {why or 'accepted'} / {case['error_text']}")
    report("objects", passed, failed, OBJECTS_FLOOR)


def test_yaml_documents(shared: Path) -> None:
    passed, failed = 0, []
    for case in cases(shared / "conformance/validation/crds"):
        if case["kind"] not in KIND_NAMES:
            continue
        accepted, why = judged(YAML(typ="safe", pure=True).load(case["yaml"]))
        if accepted == (case["crd_error"] is None):
            passed += 1
        else:
            failed.append(f"{case['name']}: {why or 'accepted'} / {case['crd_error']} / {case['webhook_error']}")
    report("crds", passed, failed, CRDS_FLOOR)


def test_whole_objects_warn_as_istio_does(shared: Path) -> None:
    passed, failed = 0, []
    for case in cases(shared / "conformance/validation/objects"):
        if case["kind"] not in KIND_NAMES or not case["valid"]:
            continue
        found = rule_warnings(case["kind"], named(case["object"]))
        if bool(found) == case["warning"]:
            passed += 1
        else:
            failed.append(f"{case['kind']} {case['name']}: {found} / {case['warning_text']}")
    report("warnings", passed, failed, WARNINGS_FLOOR)


def rule_warnings(kind: str, raw: dict[str, Any]) -> list[str]:
    from tidegate.api.validation import validate

    body, _, _ = walk(KINDS[kind].body, raw.get("spec"), "spec", limits=False)
    typed = msgspec.convert(body, KINDS[kind].body, dec_hook=decode_hook)
    meta = raw["metadata"]
    return validate(kind, meta["namespace"], meta["name"], typed, labels=meta.get("labels", {}))[1]


MESSAGES = {
    f"istio.{cls.__doc__.strip().rstrip('.')}": cls
    for module in (networking, mesh)
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
    "validateHTTPDirectResponse": optional(http_route.check_direct_response),
    "validateHTTPFaultInjectionAbort": optional(http_route.check_abort),
    "validateHTTPFaultInjectionDelay": optional(http_route.check_delay),
    "validateHTTPRedirect": lambda a, out: (
        http_route.check_redirect("x", a[0], a[1] or (), out) if a[0] is not None else None
    ),
    "validateHTTPRewrite": optional(http_route.check_rewrite),
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
    "validateTLSOptions": optional(tls.check_server_tls),
    "validateTrafficPolicy": lambda a, out: (
        traffic.check_traffic_policy("x", a[1], a[0], out) if a[1] is not None else None
    ),
    "validateURIRegexRewrite": optional(http_route.check_regex_rewrite),
    "ValidateMeshConfig": lambda a, out: mesh_rules.check_mesh_config(a[0], out),
    "ValidateMeshConfigProxyConfig": plain(proxy_config.check_proxy_config),
}

NOT_OURS = frozenset(
    (
        "ValidateControlPlaneAuthPolicy",  # an enum here: numbers out of range do not decode
        "ValidateMaxServerConnectionAge",  # a flag of istiod
        "ValidateMeshNetworks",
        "validateTelemetryFilter",
    )
)


def test_single_rules(shared: Path) -> None:
    passed, failed = 0, []
    folder = shared / "conformance/validation"
    for case in (*cases(folder / "fragments"), *cases(folder / "mesh")):
        if case["function"] in NOT_OURS:
            continue
        out = Out()
        FRAGMENTS[case["function"]](typed(case["args"], out), out)
        if (not out.errors, bool(out.warnings)) == (case["valid"], case["warning"]):
            passed += 1
        else:
            found = [str(e) for e in out.errors] + out.warnings
            expected = case["error_text"] or case["warning_text"]
            failed.append(f"{case['function']} {case['name']}: {case['args']} {found} / {expected}")
    report("rules", passed, failed, FRAGMENTS_FLOOR)
