"""Capture options of a Pod: what its annotations and its sidecar's environment say."""

from collections.abc import Mapping

import msgspec

from tidegate.kit.errors import FieldError
from tidegate.rules.options import ALL, CaptureOptions, InvalidCaptureOptionsError

MODE = "sidecar.istio.io/interceptionMode"
STATUS_PORT = "15020"
_TRAFFIC = "traffic.sidecar.istio.io/"
_PROXY_PORTS = (STATUS_PORT, "15021", "15090")
"""Ports of the sidecar itself: probes and scrapes go to them directly."""
_LISTS = {
    "includeInboundPorts": "inbound_ports",
    "excludeInboundPorts": "local_exclude_ports",
    "includeOutboundIPRanges": "service_cidr",
    "excludeOutboundIPRanges": "service_exclude_cidr",
    "includeOutboundPorts": "outbound_ports",
    "excludeOutboundPorts": "local_outbound_ports_exclude",
    "excludeInterfaces": "exclude_interfaces",
    "kubevirtInterfaces": "kube_virt_interfaces",
}
_VIRTUAL_INTERFACES = "istio.io/reroute-virtual-interfaces"
"""Today's name of kubevirtInterfaces; it wins."""
_DEFAULTS = CaptureOptions(
    inbound_interception_mode="REDIRECT",
    inbound_ports=ALL,
    service_cidr=ALL,
    local_outbound_ports_exclude=(STATUS_PORT,),
)


def capture_options(
    annotations: Mapping[str, str],
    environment: Mapping[str, str] | None = None,
    user: int | None = None,
    group: int | None = None,
) -> CaptureOptions:
    """What to capture for a Pod, defaulted as Istio's network plugin does.

    ``user`` and ``group`` are the proxy's; none or root stands for 1337. Raises InvalidCaptureOptionsError for a mode
    that is none; other values are checked when the rules are made.
    """
    given = {
        field: _listed(annotations[_TRAFFIC + name]) for name, field in _LISTS.items() if _TRAFFIC + name in annotations
    }
    if _VIRTUAL_INTERFACES in annotations:
        given["kube_virt_interfaces"] = _listed(annotations[_VIRTUAL_INTERFACES])
    given["local_exclude_ports"] = tuple(dict.fromkeys((*given.get("local_exclude_ports", ()), *_PROXY_PORTS)))
    settings = environment or {}
    return msgspec.structs.replace(
        _DEFAULTS,
        **given,
        inbound_interception_mode=_mode(annotations),
        proxy_uid=(str(user or 1337),),
        proxy_gid=(str(group or 1337),),
        redirect_dns=_is_true(settings, "ISTIO_META_DNS_CAPTURE"),
        capture_all_dns=_is_true(settings, "ISTIO_META_DNS_CAPTURE"),
        drop_invalid=_is_true(settings, "INVALID_DROP"),
        dual_stack=_is_true(settings, "ISTIO_DUAL_STACK"),
    )


def _mode(annotations: Mapping[str, str]) -> str:
    mode = annotations.get(MODE, "REDIRECT")
    if mode not in ("REDIRECT", "TPROXY"):
        error = FieldError(f"metadata.annotations[{MODE}]", "expected REDIRECT or TPROXY", mode)
        raise InvalidCaptureOptionsError((error,))
    return mode


def _listed(value: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in value.split(",") if part.strip())


def _is_true(settings: Mapping[str, str], name: str) -> bool:
    """As Go's strconv.ParseBool reads it; what it cannot read counts as false."""
    return settings.get(name, "") in ("1", "t", "T", "TRUE", "true", "True")
