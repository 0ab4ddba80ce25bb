"""The annotations of a pod that injection reads, and what each may say."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from tidegate.inject.settings import Json
from tidegate.kit.addresses import network
from tidegate.kit.errors import FieldError
from tidegate.kit.injected import PROXY_PORTS

STATUS = "sidecar.istio.io/status"
OVERRIDES = "proxy.istio.io/overrides"
PROXY_CONFIG = "proxy.istio.io/config"
INJECT = "sidecar.istio.io/inject"
TEMPLATES = "inject.istio.io/templates"
NATIVE = "sidecar.istio.io/nativeSidecar"
MODE = "sidecar.istio.io/interceptionMode"
STATUS_PORT = "status.sidecar.istio.io/port"
REWRITE = "sidecar.istio.io/rewriteAppHTTPProbers"
MERGE_METRICS = "prometheus.istio.io/merge-metrics"
SCRAPE_TARGETS = "prometheus.istio.io/scrape-targets"
REVISION = "istio.io/rev"
TRAFFIC = "traffic.sidecar.istio.io/"
VIRTUAL_INTERFACES = "istio.io/reroute-virtual-interfaces"
USER_VOLUME, USER_MOUNT = "sidecar.istio.io/userVolume", "sidecar.istio.io/userVolumeMount"

_INTERFACE = re.compile(r"[a-zA-Z][a-zA-Z0-9_.\-]{0,14}")
_QUANTITY = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+|[numkMGTPE]|[KMGTPE]i)?")

Check = Callable[[str], str]
"""What was expected, when the value is not that; else ""."""


def _ranges(value: str) -> str:
    return "" if value == "*" else _plain_ranges(value)


def _plain_ranges(value: str) -> str:
    wrong = [part for part in _parts(value) if network(part) is None]
    return f"expected CIDRs such as 10.0.0.0/8, separated by commas; {wrong[0]!r} is none" if wrong else ""


def _ports_or_all(value: str) -> str:
    return "" if value == "*" else _ports(value)


def _ports(value: str) -> str:
    wrong = [part for part in _parts(value) if not _is_port(part, least=1)]
    return f"expected ports from 1 to 65535, separated by commas; {wrong[0]!r} is none" if wrong else ""


def _port(value: str) -> str:
    return "" if _is_port(value, least=0) else "expected a port from 0 to 65535"


def _unsigned(value: str) -> str:
    return "" if value.isascii() and value.isdigit() and len(value) < 10 else "expected a whole number, 0 or more"


def _boolean(value: str) -> str:
    return "" if is_bool(value) else 'expected "true" or "false"'


def _quantity(value: str) -> str:
    return "" if _QUANTITY.fullmatch(value) else "expected a Kubernetes quantity such as 100m or 128Mi"


def _mode(value: str) -> str:
    return "" if value in ("REDIRECT", "TPROXY", "NONE") else "expected REDIRECT, TPROXY or NONE"


def _volumes(value: str) -> str:
    try:
        named_entries(value)
    except ValueError:
        return "expected JSON: an object of entries by name, or a list of entries with names"
    return ""


def _targets(value: str) -> str:
    for part in _parts(value):
        port = part.partition(":")[0]
        if not _is_port(port, least=1):
            return f"expected port:path pairs separated by commas, as 8080:/metrics; {part!r} is none"
        if int(port) in PROXY_PORTS:
            return f"port {port} is the proxy's own; expected ports of the application"
    return ""


def scraped_port(value: str) -> str:
    """What was expected of a port of the application's, when the value is not that; else ""."""
    own = ", ".join(str(port) for port in PROXY_PORTS)
    right = _is_port(value, least=1) and int(value) not in PROXY_PORTS
    return "" if right else f"expected a port of the application from 1 to 65535, none of the proxy's ({own})"


def _interfaces(value: str) -> str:
    """Names of network interfaces as Linux has them."""
    wrong = [name for name in value.split(",") if not _INTERFACE.fullmatch(name.strip())] if value else []
    said = "expected names of network interfaces, of at most 15 letters, digits, dots, dashes and underscores"
    return f"{said}, separated by commas; {wrong[0]!r} is none" if wrong else ""


def _anything(_value: str) -> str:
    return ""


_SETTINGS = {
    "includeOutboundIPRanges": ("includeIPRanges", _ranges),
    "excludeOutboundIPRanges": ("excludeIPRanges", _plain_ranges),
    "includeInboundPorts": ("includeInboundPorts", _ports_or_all),
    "excludeInboundPorts": ("excludeInboundPorts", _ports),
    "includeOutboundPorts": ("includeOutboundPorts", _ports),
    "excludeOutboundPorts": ("excludeOutboundPorts", _ports),
}
"""Annotations of traffic capture, the value under global.proxy that each replaces, and what both may say."""

CHECKS: dict[str, Check] = {
    **{TRAFFIC + name: check for name, (_, check) in _SETTINGS.items()},
    TRAFFIC + "excludeInterfaces": _interfaces,
    TRAFFIC + "kubevirtInterfaces": _interfaces,
    VIRTUAL_INTERFACES: _interfaces,
    MODE: _mode,
    STATUS_PORT: _port,
    "readiness.status.sidecar.istio.io/initialDelaySeconds": _unsigned,
    "readiness.status.sidecar.istio.io/periodSeconds": _unsigned,
    "readiness.status.sidecar.istio.io/failureThreshold": _unsigned,
    "readiness.status.sidecar.istio.io/applicationPorts": _anything,
    "sidecar.istio.io/proxyCPU": _quantity,
    "sidecar.istio.io/proxyMemory": _quantity,
    "sidecar.istio.io/proxyCPULimit": _quantity,
    "sidecar.istio.io/proxyMemoryLimit": _quantity,
    "sidecar.istio.io/proxyImage": _anything,
    "sidecar.istio.io/proxyImageType": _anything,
    "sidecar.istio.io/logLevel": _anything,
    "sidecar.istio.io/componentLogLevel": _anything,
    "sidecar.istio.io/agentLogLevel": _anything,
    "sidecar.istio.io/bootstrapOverride": _anything,
    "sidecar.istio.io/capNetBindService": _boolean,
    "sidecar.istio.io/discoveryAddress": _anything,
    "sidecar.istio.io/extraStatTags": _anything,
    "sidecar.istio.io/statsInclusionPrefixes": _anything,
    "sidecar.istio.io/statsInclusionSuffixes": _anything,
    "sidecar.istio.io/statsInclusionRegexps": _anything,
    "sidecar.istio.io/statsHistogramBuckets": _anything,
    "sidecar.istio.io/statsHistogramBins": _anything,
    "sidecar.istio.io/statsFlushInterval": _anything,
    "sidecar.istio.io/statsEvictionInterval": _anything,
    "sidecar.istio.io/statsCompression": _anything,
    USER_VOLUME: _volumes,
    USER_MOUNT: _volumes,
    REWRITE: _boolean,
    NATIVE: _boolean,
    INJECT: _anything,
    STATUS: _anything,
    OVERRIDES: _anything,
    PROXY_CONFIG: _anything,
    TEMPLATES: _anything,
    REVISION: _anything,
    MERGE_METRICS: _boolean,
    SCRAPE_TARGETS: _targets,
    "prometheus.istio.io/secure-port": _port,
}


def errors(annotations: Json, at: str = "metadata.annotations") -> Iterator[FieldError]:
    """What is wrong with the values of annotations."""
    for name, value in annotations.items():
        check = CHECKS.get(name)
        if check is None:
            continue
        if said := check(value) if isinstance(value, str) else "expected a string (quote it)":
            short = name.removeprefix(TRAFFIC)
            setting = f" (the setting {_SETTINGS[short][0]})" if short in _SETTINGS else ""
            yield FieldError(f"{at}[{name}]", said + setting, value)


def setting_errors(proxy: Json) -> Iterator[FieldError]:
    """What is wrong with the values under global.proxy that annotations replace."""
    for name, check in _SETTINGS.values():
        value = str(proxy.get(name) or "")
        if said := check(value):
            yield FieldError(f"values.global.proxy.{name}", said, value)


def is_bool(value: str) -> bool:
    """What Kubernetes' annotations commonly hold for a boolean: Go's spellings, yes, no, on and off."""
    return value.lower() in (*_TRUE, *_FALSE)


_TRUE = ("true", "t", "1", "yes", "y", "on")
_FALSE = ("false", "f", "0", "no", "n", "off")


def is_true(value: Any) -> bool:
    return str(value).lower() in _TRUE


def is_false(value: Any) -> bool:
    return str(value).lower() in _FALSE


def named_entries(text: str) -> list[Json]:
    """Entries of a JSON list, or of an object by name. Raises ValueError."""
    found = json.loads(text)
    entries = [{"name": name, **value} for name, value in found.items()] if isinstance(found, dict) else found
    if not isinstance(entries, list) or not all(isinstance(each, dict) and each.get("name") for each in entries):
        raise ValueError("not entries with names")
    return entries


def exclude_port(port: str, ports: str) -> str:
    """A list of ports with one more, unless it is there or is 0."""
    kept = _parts(ports)
    if port and port != "0" and port not in kept:
        kept.append(port)
    return ",".join(kept)


def _parts(value: str) -> list[str]:
    return [part.strip() for part in value.split(",") if part.strip()]


def _is_port(text: str, least: int) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 6 and least <= int(text) <= 65535
