"""Kubernetes' own rules for the fields of the core kinds that tidegate reads."""

import base64
import binascii
import ipaddress
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tidegate.api import core
from tidegate.api.labelselectors import OPERATORS, selects
from tidegate.api.metadata import is_dns_label, is_dns_subdomain
from tidegate.kit.errors import FieldError

_PORT_NAME = re.compile(r"(?=.*[a-z])[a-z0-9]+(-[a-z0-9]+)*")
_SHARE = re.compile(r"[0-9]{1,9}%")
_CONFIG_KEY = re.compile(r"[-._a-zA-Z0-9]{1,253}")
_SERVICE_TYPES = ("ClusterIP", "NodePort", "LoadBalancer", "ExternalName")
_PROTOCOLS = ("TCP", "UDP", "SCTP")
_ADDRESS_TYPES = ("IPv4", "IPv6", "FQDN")
_CONFIG_LIMIT = 1024 * 1024


def check(kind: str, body: Any) -> list[FieldError]:
    """Errors of one core object's body; none for kinds without rules of their own."""
    rules = _RULES.get(kind)
    return rules(body) if rules else []


def _one_of(path: str, value: str, allowed: tuple[str, ...]) -> list[FieldError]:
    if value in allowed:
        return []
    return [FieldError(path, f"must be one of {', '.join(allowed)}", value, "FieldValueNotSupported")]


def _port(path: str, number: int) -> list[FieldError]:
    return [] if 1 <= number <= 65535 else [FieldError(path, "must be a port from 1 to 65535", number)]


def is_address(text: str, version: int = 0) -> bool:
    """An IP address, of ``version`` 4 or 6 when given."""
    try:
        return ipaddress.ip_address(text).version == version or not version
    except ValueError:
        return False


def _service(spec: core.ServiceSpec) -> list[FieldError]:
    out = _one_of("spec.type", spec.type, _SERVICE_TYPES)
    if spec.type == "ExternalName":
        if not is_dns_subdomain(spec.external_name.rstrip(".")):
            out.append(FieldError("spec.externalName", "must be a DNS name", spec.external_name[:253]))
    elif not spec.ports and spec.cluster_ip != "None":
        out.append(FieldError("spec.ports", "at least one port is required", None, "FieldValueRequired"))
    out += _one_of("spec.sessionAffinity", spec.session_affinity, ("None", "ClientIP"))
    out += _one_of("spec.internalTrafficPolicy", spec.internal_traffic_policy, ("Cluster", "Local"))
    return [*out, *_cluster_ips(spec), *_service_ports(spec.ports)]


def _cluster_ips(spec: core.ServiceSpec) -> list[FieldError]:
    out = []
    expected = 'must be an IP address, "None" or empty'
    if spec.cluster_ip not in ("", "None") and not is_address(spec.cluster_ip):
        out.append(FieldError("spec.clusterIP", expected, spec.cluster_ip[:253]))
    for index, address in enumerate(spec.cluster_i_ps):
        if address != "None" and not is_address(address):
            out.append(FieldError(f"spec.clusterIPs[{index}]", expected, address[:253]))
    if spec.cluster_ip and spec.cluster_i_ps and spec.cluster_i_ps[0] != spec.cluster_ip:
        out.append(FieldError("spec.clusterIPs[0]", "must equal spec.clusterIP", spec.cluster_i_ps[0][:253]))
    return out


def _service_ports(ports: tuple[core.ServicePort, ...]) -> list[FieldError]:
    out: list[FieldError] = []
    names: set[str] = set()
    numbers: set[tuple[str, int]] = set()
    for index, port in enumerate(ports):
        at = f"spec.ports[{index}]"
        out += _port(f"{at}.port", port.port) + _one_of(f"{at}.protocol", port.protocol, _PROTOCOLS)
        out += _service_port_name(f"{at}.name", port.name, names, many=len(ports) > 1)
        if (port.protocol, port.port) in numbers:
            out.append(FieldError(at, "port and protocol are already in use", port.port, "FieldValueDuplicate"))
        names.add(port.name)
        numbers.add((port.protocol, port.port))
        out += _target_port(f"{at}.targetPort", port.target_port)
    return out


def _service_port_name(path: str, name: str, taken: set[str], *, many: bool) -> list[FieldError]:
    if not name:
        return [FieldError(path, "required when there are several ports", None, "FieldValueRequired")] if many else []
    if name in taken:
        return [FieldError(path, "must be unique", name, "FieldValueDuplicate")]
    return [] if is_dns_label(name) else [FieldError(path, "must be a DNS-1123 label", name[:253])]


def _target_port(path: str, target: int | str | None) -> list[FieldError]:
    if target is None or target == 0:
        return []
    if isinstance(target, int):
        return _port(path, target)
    if len(target) <= 15 and _PORT_NAME.fullmatch(target):
        return []
    return [FieldError(path, "must be a port number or a container port's name (at most 15 characters)", target[:253])]


def _slice(body: core.EndpointSliceBody) -> list[FieldError]:
    out = _one_of("addressType", body.address_type, _ADDRESS_TYPES)
    if len(body.endpoints) > 1000:
        out.append(FieldError("endpoints", "must have at most 1000 items", len(body.endpoints)))
    for index, endpoint in enumerate(body.endpoints):
        if not endpoint.addresses:
            path = f"endpoints[{index}].addresses"
            out.append(FieldError(path, "at least one address is required", None, "FieldValueRequired"))
        for place, address in enumerate(endpoint.addresses):
            if not _fits(body.address_type, address):
                path = f"endpoints[{index}].addresses[{place}]"
                out.append(FieldError(path, f"must be an {body.address_type} address", address[:253]))
    return out + _endpoint_ports(body.ports, "ports")


def _fits(address_type: str, address: str) -> bool:
    if address_type == "FQDN":
        return is_dns_subdomain(address.rstrip("."))
    return is_address(address, 6 if address_type == "IPv6" else 4)


def _endpoint_ports(ports: tuple[core.EndpointPort, ...], at: str) -> list[FieldError]:
    out: list[FieldError] = []
    names: set[str] = set()
    for index, port in enumerate(ports):
        if port.port is not None:
            out += _port(f"{at}[{index}].port", port.port)
        out += _one_of(f"{at}[{index}].protocol", port.protocol, _PROTOCOLS)
        if port.name and not is_dns_label(port.name):
            out.append(FieldError(f"{at}[{index}].name", "must be a DNS-1123 label", port.name[:253]))
        elif port.name in names:
            out.append(FieldError(f"{at}[{index}].name", "must be unique", port.name, "FieldValueDuplicate"))
        names.add(port.name)
    return out


def _endpoints(body: core.EndpointsBody) -> list[FieldError]:
    out: list[FieldError] = []
    for index, subset in enumerate(body.subsets):
        at = f"subsets[{index}]"
        for name, addresses in (("addresses", subset.addresses), ("notReadyAddresses", subset.not_ready_addresses)):
            for place, address in enumerate(addresses):
                if not is_address(address.ip):
                    path = f"{at}.{name}[{place}].ip"
                    out.append(FieldError(path, "must be an IP address", address.ip[:253]))
        out += _endpoint_ports(subset.ports, f"{at}.ports")
    return out


def _pod(spec: core.PodSpec) -> list[FieldError]:
    out: list[FieldError] = []
    if not spec.containers:
        out.append(FieldError("spec.containers", "at least one container is required", None, "FieldValueRequired"))
    for group, containers in (("containers", spec.containers), ("initContainers", spec.init_containers)):
        for index, container in enumerate(containers):
            out += _container(container, f"spec.{group}[{index}]")
    return out


def _container(container: core.Container, at: str) -> list[FieldError]:
    out: list[FieldError] = []
    if not is_dns_label(container.name):
        out.append(FieldError(f"{at}.name", "must be a DNS-1123 label", container.name[:253]))
    for index, port in enumerate(container.ports):
        out += _port(f"{at}.ports[{index}].containerPort", port.container_port)
        out += _one_of(f"{at}.ports[{index}].protocol", port.protocol, _PROTOCOLS)
    return out


def _replica_set(spec: core.ReplicaSetSpec | core.DeploymentSpec) -> list[FieldError]:
    out: list[FieldError] = []
    if spec.replicas is not None and spec.replicas < 0:
        out.append(FieldError("spec.replicas", "must not be negative", spec.replicas))
    out += [replace(found, path=f"spec.template.{found.path}") for found in _pod(spec.template.spec)]
    if spec.template.spec.restart_policy not in ("", "Always"):
        policy = spec.template.spec.restart_policy[:253]
        text = "must be Always: what has replicas is started again whenever it ends"
        out.append(FieldError("spec.template.spec.restartPolicy", text, policy, "FieldValueNotSupported"))
    return out + _workload_selector(spec)


def _workload_selector(spec: core.ReplicaSetSpec | core.DeploymentSpec) -> list[FieldError]:
    """It must say something, and choose the Pods that are made from the template."""
    selector, labels = spec.selector, spec.template.metadata.labels
    if selector is None or not (selector.match_labels or selector.match_expressions):
        text = "required: it says which Pods are counted (usually the labels of spec.template)"
        return [FieldError("spec.selector", text, None, "FieldValueRequired")]
    out = [
        FieldError(
            f"spec.selector.matchExpressions[{index}].operator",
            f"must be one of {', '.join(OPERATORS)}",
            each.operator[:253],
            "FieldValueNotSupported",
        )
        for index, each in enumerate(selector.match_expressions)
        if each.operator not in OPERATORS
    ]
    if not out and not selects(selector, labels):
        text = "must have what spec.selector asks for, or the Pods would not be counted"
        out.append(FieldError("spec.template.metadata.labels", text, dict(labels)))
    return out


def _deployment(spec: core.DeploymentSpec) -> list[FieldError]:
    out = _replica_set(spec)
    kind, limits = spec.strategy.type, spec.strategy.rolling_update
    if kind:
        out += _one_of("spec.strategy.type", kind, ("RollingUpdate", "Recreate"))
    if limits is None:
        return out
    if kind == "Recreate":
        out.append(FieldError("spec.strategy.rollingUpdate", "must be absent when the type is Recreate"))
    for name, value in (("maxUnavailable", limits.max_unavailable), ("maxSurge", limits.max_surge)):
        if value is not None and not _is_share(value):
            text = 'must be a number from 0, or a share such as "25%"'
            out.append(FieldError(f"spec.strategy.rollingUpdate.{name}", text, value))
    if {str(limits.max_unavailable), str(limits.max_surge)} <= {"0", "0%"}:
        text = "must not be 0 while maxSurge is: no Pod could ever be replaced"
        out.append(FieldError("spec.strategy.rollingUpdate.maxUnavailable", text, limits.max_unavailable))
    return out


def _is_share(value: int | str) -> bool:
    return value >= 0 if isinstance(value, int) else bool(_SHARE.fullmatch(value))


def _keys(data: dict[str, str]) -> list[FieldError]:
    expected = "keys must be letters, digits, '-', '_' and '.', at most 253 characters"
    out = [FieldError("data", expected, key[:253]) for key in data if not _CONFIG_KEY.fullmatch(key)]
    size = sum(len(key) + len(value) for key, value in data.items())
    if size > _CONFIG_LIMIT:
        out.append(FieldError("data", f"must be at most {_CONFIG_LIMIT} bytes in all", size))
    return out


def _config_map(body: core.ConfigMapBody) -> list[FieldError]:
    return _keys(body.data)


def _secret(body: core.SecretBody) -> list[FieldError]:
    out = _keys({**body.data, **body.string_data})
    for key, value in body.data.items():
        try:
            base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            # The value is left out on purpose: it may be the secret itself, written without encoding.
            out.append(FieldError(f"data[{key[:253]}]", "must be base64; use stringData for plain text"))
    return out


_RULES: dict[str, Callable[[Any], list[FieldError]]] = {
    "Deployment": _deployment,
    "ReplicaSet": _replica_set,
    "Service": _service,
    "EndpointSlice": _slice,
    "Endpoints": _endpoints,
    "Pod": _pod,
    "ConfigMap": _config_map,
    "Secret": _secret,
}
