"""Istio's validation rules: what is refused and what is warned about, each with its path."""

from collections.abc import Callable, Mapping
from typing import Any

from tidegate.api.validation.authorization_policy import DRY_RUN, check_authorization_policy
from tidegate.api.validation.destination_rule import check_destination_rule
from tidegate.api.validation.envoy_filter import check_envoy_filter
from tidegate.api.validation.findings import Findings
from tidegate.api.validation.gateway import check_gateway
from tidegate.api.validation.mesh import check_mesh_config
from tidegate.api.validation.peer_authentication import check_peer_authentication
from tidegate.api.validation.proxyconfig import check_proxy_config_kind
from tidegate.api.validation.request_authentication import check_request_authentication
from tidegate.api.validation.service_entry import check_service_entry
from tidegate.api.validation.sidecar import check_sidecar
from tidegate.api.validation.telemetry import check_telemetry
from tidegate.api.validation.traffic_extension import check_traffic_extension
from tidegate.api.validation.virtual_service import check_virtual_service
from tidegate.api.validation.wasm_plugin import check_wasm_plugin
from tidegate.api.validation.workload import check_workload_entry, check_workload_group
from tidegate.kit.errors import FieldError

__all__ = ["validate"]

_SELECTING, _SELECTOR = ("ServiceEntry", "Sidecar", "EnvoyFilter"), "spec.workloadSelector"
_ALWAYS_REJECT = "internal.istio.io/webhook-always-reject"
_INTERNAL = ("internal.istio.io/parents", "internal.istio.io/parent-namespace", _ALWAYS_REJECT)


def validate(
    kind: str,
    namespace: str,
    name: str,
    body: Any,
    *,
    annotations: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
) -> tuple[list[FieldError], list[str]]:
    """Check the typed body of one object of an Istio kind, or ``MeshConfig``.

    Returns the errors, each of which refuses the object, and the warnings, each beginning with its path.
    """
    out = Findings()
    _check_annotations(kind, annotations or {}, out)
    labels = labels or {}
    rules: dict[str, Callable[[], None]] = {
        "ServiceEntry": lambda: check_service_entry(body, namespace, labels, out),
        "WorkloadEntry": lambda: check_workload_entry("spec", body, out),
        "WorkloadGroup": lambda: check_workload_group(body, out),
        "Sidecar": lambda: check_sidecar(body, namespace, out),
        "VirtualService": lambda: check_virtual_service(body, namespace, out),
        "DestinationRule": lambda: check_destination_rule(body, namespace, out),
        "Gateway": lambda: check_gateway(body, name, out),
        "AuthorizationPolicy": lambda: check_authorization_policy(body, annotations or {}, out),
        "PeerAuthentication": lambda: check_peer_authentication(body, out),
        "RequestAuthentication": lambda: check_request_authentication(body, out),
        "EnvoyFilter": lambda: check_envoy_filter(body, out),
        "ProxyConfig": lambda: check_proxy_config_kind(body, out),
        "Telemetry": lambda: check_telemetry(body, out),
        "WasmPlugin": lambda: check_wasm_plugin(body, out),
        "TrafficExtension": lambda: check_traffic_extension(body, out),
        "MeshConfig": lambda: check_mesh_config(body, out),
    }
    rules[kind]()
    # As in Istio, nothing is advised beside a selector that is wrong.
    stopped = kind in _SELECTING and any(error.path.startswith(_SELECTOR) for error in out.errors)
    return out.errors, [] if stopped else out.warnings


def _check_annotations(kind: str, annotations: Mapping[str, str], out: Findings) -> None:
    for key in _INTERNAL:
        if key in annotations:
            out.error(f"metadata.annotations[{key}]", "is reserved for internal use")
    if DRY_RUN in annotations and kind != "AuthorizationPolicy":
        out.error(f"metadata.annotations[{DRY_RUN}]", "is for AuthorizationPolicies only")
