"""Registered services whose addresses a pod's ranges leave out of, or take into, what is captured."""

import ipaddress
from collections.abc import Iterator, Mapping

from tidegate.inject.annotations import TRAFFIC
from tidegate.inject.settings import Json
from tidegate.kit.addresses import network

MOST = 5
"""How many services a warning names."""


def service_addresses(objects: list[Json]) -> dict[str, str]:
    """The cluster addresses of the Services among objects, by ``<name>.<namespace>``."""
    found: dict[str, str] = {}
    for each in objects:
        spec, meta = each.get("spec"), each.get("metadata")
        if each.get("kind") != "Service" or not isinstance(spec, dict) or not isinstance(meta, dict):
            continue
        address = spec.get("clusterIP")
        if isinstance(address, str) and address not in ("", "None"):
            found[f"{meta.get('name')}.{meta.get('namespace') or 'default'}"] = address
    return found


def warnings(annotations: Json, services: Mapping[str, str]) -> Iterator[str]:
    """What a pod's ranges do to the services, by their addresses."""
    excluded, included = TRAFFIC + "excludeOutboundIPRanges", TRAFFIC + "includeOutboundIPRanges"
    out = [name for name, address in services.items() if _within(address, annotations.get(excluded, ""))]
    if out:
        yield f"metadata.annotations[{excluded}]: it holds {_listed(out)}: connections to them bypass the sidecar"
    ranges = annotations.get(included, "*")
    if ranges in ("*", ""):
        return
    left = [name for name, address in services.items() if not _within(address, ranges)]
    if left:
        yield f"metadata.annotations[{included}]: {_listed(left)} lie outside: connections to them bypass the sidecar"


def _within(address: str, ranges: str) -> bool:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    nets = (network(part.strip()) for part in ranges.split(",") if part.strip())
    return any(net is not None and net.version == found.version and found in net for net in nets)


def _listed(names: list[str]) -> str:
    shown = ", ".join(sorted(names)[:MOST])
    return shown if len(names) <= MOST else f"{shown} and {len(names) - MOST} more registered services"
