"""The mesh configuration: Istio's defaults, and the text of the ``istio`` ConfigMap read over them.

Defaults: https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/
"""

from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec.structs import replace

from tidegate.api import unacted, validation
from tidegate.api.core import ConfigMapBody
from tidegate.api.fields import decode_hook
from tidegate.api.mesh import MeshConfig, MeshConfigOutboundTrafficPolicyMode
from tidegate.api.meshnetworks import MeshNetworks
from tidegate.api.networking import HTTPRetry
from tidegate.api.shapes import MessageShape, shape_of
from tidegate.api.validation.findings import Findings
from tidegate.api.validation.mesh_networks import check_mesh_networks
from tidegate.api.walk import walk
from tidegate.api.yamltext import YamlError, read_yaml
from tidegate.kit.errors import FieldError, InvalidObjectError

NAMESPACE, NAME, KEY = "istio-system", "istio", "mesh"
"""The ConfigMap and its key."""
NETWORKS = "meshNetworks"
"""The key of the ConfigMap that holds MeshNetworks."""

_BASE: dict[str, Any] = {
    "proxyListenPort": 15001,
    "proxyInboundListenPort": 15006,
    "connectTimeout": "10s",
    "protocolDetectionTimeout": "0s",
    "ingressClass": "istio",
    "ingressService": "istio-ingressgateway",
    "ingressControllerMode": "STRICT",
    "enableTracing": True,
    "outboundTrafficPolicy": {"mode": "ALLOW_ANY"},
    "inboundTrafficPolicy": {"mode": "PASSTHROUGH"},
    "enableAutoMtls": True,
    "trustDomain": "cluster.local",
    "defaultServiceExportTo": ["*"],
    "defaultVirtualServiceExportTo": ["*"],
    "defaultDestinationRuleExportTo": ["*"],
    "rootNamespace": "istio-system",
    "localityLbSetting": {"enabled": True},
    "dnsRefreshRate": "60s",
    "enablePrometheusMerge": True,
    "extensionProviders": [
        {"name": "prometheus", "prometheus": {}},
        {"name": "stackdriver", "stackdriver": {}},
        {"name": "envoy", "envoyFileAccessLog": {"path": "/dev/stdout"}},
    ],
    "defaultConfig": {
        "configPath": "./etc/istio/proxy",
        "binaryPath": "/usr/local/bin/envoy",
        "serviceCluster": "istio-proxy",
        "drainDuration": "45s",
        "terminationDrainDuration": "5s",
        "proxyAdminPort": 15000,
        "statusPort": 15020,
        "controlPlaneAuthPolicy": "MUTUAL_TLS",
        "discoveryAddress": "istiod.istio-system.svc:15012",
        "statNameLength": 189,
    },
}
_OUTBOUND_RETRY_ON = "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes"
_INBOUND_RETRY_ON = "reset-before-request"
_ATTEMPTS = 2

_DEFAULT_YAML = """\
# The mesh's configuration (Istio's MeshConfig). Changes take effect at once; what is left out has Istio's default.

# Where requests to destinations that nothing describes go: ALLOW_ANY lets them pass, REGISTRY_ONLY refuses them.
outboundTrafficPolicy:
  mode: ALLOW_ANY

# Every proxy's access log; empty switches it off.
accessLogFile: /dev/stdout

# Mutual TLS between sidecars needs workload certificates, which are not issued yet.
enableAutoMtls: false

# No spans are made: there is no tracing provider.
enableTracing: false
"""


def default_mesh_yaml() -> str:
    """The text that a new mesh's ConfigMap has under ``mesh``."""
    return _DEFAULT_YAML


def base() -> dict[str, Any]:
    """Istio's defaults as JSON, before anything is read over them."""
    return dict(_BASE)


def parse(yaml_text: str) -> MeshConfig:
    """The mesh configuration of ``yaml_text`` over the defaults.

    Messages merge field by field, lists and maps are replaced; extension providers merge by name.
    Raises InvalidObjectError with paths into the YAML.
    """
    return _read(yaml_text)[0]


def admit_mesh(text: str) -> tuple[MeshConfig, tuple[str, ...]]:
    """As :func:`parse`, with what the writer is to be told."""
    return _read(text)


def check_mesh_config_map(meta: dict[str, Any], body: ConfigMapBody) -> tuple[list[FieldError], list[str]]:
    """Errors and warnings of the mesh's ConfigMap; none for other ConfigMaps."""
    if (meta.get("namespace"), meta.get("name")) != (NAMESPACE, NAME):
        return [], []
    errors: list[FieldError] = []
    warnings: list[str] = []
    for key, read in ((KEY, _mesh_advice), (NETWORKS, _networks_advice)):
        try:
            warnings += (f"data.{key}.{warning}" for warning in (read(body.data[key]) if key in body.data else ()))
        except InvalidObjectError as refused:
            errors += (FieldError(_within(key, e.path), e.message, e.value, e.reason) for e in refused.errors)
    return errors, [] if errors else warnings


def _mesh_advice(text: str) -> tuple[str, ...]:
    return _read(text)[1]


def parse_networks(text: str) -> MeshNetworks:
    """MeshNetworks as YAML; none for "". Raises InvalidObjectError with paths into the YAML."""
    return _read_networks(text)[0]


def _networks_advice(text: str) -> tuple[str, ...]:
    """Warnings about the text of MeshNetworks. Raises InvalidObjectError."""
    return _read_networks(text)[1]


def _read_networks(text: str) -> tuple[MeshNetworks, tuple[str, ...]]:
    try:
        document = read_yaml(text)
    except YamlError as error:
        raise _refused(list(error.errors)) from error
    normal, errors, unknown = walk(MeshNetworks, document, "")
    if errors:
        raise _refused(errors)
    found = msgspec.convert(normal, MeshNetworks, dec_hook=decode_hook)
    out = Findings()
    check_mesh_networks(found, out)
    if out.errors:
        raise _refused(out.errors)
    return found, (*(f"{path}: unknown field" for path in unknown), *out.warnings, *_unacted_networks(found))


def _unacted_networks(mesh: MeshNetworks) -> Iterator[str]:
    for name, network in mesh.networks.items():
        for index, gateway in enumerate(network.gateways):
            if gateway.locality:
                text = "a gateway counts to the locality of the endpoints behind it: not acted on"
                yield f"networks.{name}.gateways[{index}].locality: {text}"


def _within(key: str, path: str) -> str:
    return f"data.{key}: {path}" if path.startswith("line ") else f"data.{key}.{path}".rstrip(".")


def _read(text: str) -> tuple[MeshConfig, tuple[str, ...]]:
    try:
        document = read_yaml(text)
    except YamlError as error:
        raise _refused(list(error.errors)) from error
    normal, errors, unknown = walk(MeshConfig, document, "")
    if errors:
        raise _refused(errors)
    shape = shape_of(MeshConfig)
    merged = _merge(shape, _BASE, normal)
    merged["extensionProviders"] = _merge_providers(normal.get("extensionProviders", []))
    config = msgspec.convert(merged, MeshConfig, dec_hook=decode_hook)
    errors, advice = validation.validate("MeshConfig", NAMESPACE, NAME, config)
    if errors:
        raise _refused(errors)
    warnings = [f"{path}: unknown field" for path in unknown] + advice + unacted.warnings("MeshConfig", normal)
    warnings += _idle(config)
    return _with_retries(config), tuple(warnings)


def _idle(config: MeshConfig) -> Iterator[str]:
    """Settings that mean nothing beside the others."""
    policy, dynamic = config.outbound_traffic_policy, MeshConfigOutboundTrafficPolicyMode.ALLOW_ANY_DYNAMIC_DNS
    if policy is not None and policy.tls is not None and policy.mode is not dynamic:
        yield f"outboundTrafficPolicy.tls: not acted on with mode {policy.mode.value}, only with {dynamic.value}"


def _refused(errors: list[FieldError]) -> InvalidObjectError:
    return InvalidObjectError("MeshConfig", NAMESPACE, NAME, tuple(errors))


def _merge(shape: MessageShape, base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for names in shape.oneofs.values():
        if any(name in over for name in names):
            for name in names:
                merged.pop(name, None)
    for name, value in over.items():
        inner = shape.members[name].shape
        if isinstance(inner, MessageShape) and name in merged:
            merged[name] = _merge(inner, merged[name], value)
        else:
            merged[name] = value
    return merged


def _merge_providers(given: list[dict[str, Any]]) -> list[dict[str, Any]]:
    names = {provider.get("name") for provider in given}
    return given + [provider for provider in _BASE["extensionProviders"] if provider["name"] not in names]


def _with_retries(config: MeshConfig) -> MeshConfig:
    """Retry policies without gaps, so that no builder needs to know their defaults."""
    return replace(
        config,
        default_http_retry_policy=_retry(config.default_http_retry_policy, _OUTBOUND_RETRY_ON),
        default_inbound_http_retry_policy=_retry(config.default_inbound_http_retry_policy, _INBOUND_RETRY_ON),
    )


def _retry(policy: HTTPRetry | None, conditions: str) -> HTTPRetry:
    if policy is None:
        return HTTPRetry(attempts=_ATTEMPTS, retry_on=conditions)
    if policy.attempts and not policy.retry_on:
        return replace(policy, retry_on=conditions)
    return policy


DEFAULTS: MeshConfig = parse("")
"""Istio's defaults, as a mesh without any configuration has them."""
