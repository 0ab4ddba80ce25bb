"""Names under which clusters count, as the mesh configuration's patterns make them."""

import re

from tidegate.registry.model import Port, Registry, Service

DELIMITER = ";"
"""Ends a cluster's name in statistics, so that tag extraction knows where a name with dots ends."""

_TOKEN = re.compile(r"%[A-Z_]+%")


def alt_stat_name(pattern: str, name: str, service: Service | None, port: Port | None, subset: str = "") -> str:
    """Statistics name of a cluster."""
    return stat_name(pattern, name, service, port, subset) + DELIMITER


def stat_name(pattern: str, name: str, service: Service | None, port: Port | None, subset: str = "") -> str:
    """``outboundClusterStatName`` or ``inboundClusterStatName`` filled in; without a pattern, the cluster's name.

    A token that is not one of Istio's stays as written.
    """
    if not pattern or service is None or port is None:
        return name
    values = {
        "%SERVICE%": _short(service),
        "%SERVICE_NAME%": service.name or service.host,
        "%SERVICE_FQDN%": service.host,
        "%SERVICE_PORT%": str(port.number),
        "%TARGET_PORT%": str(port.target_port or port.number),
        "%SERVICE_PORT_NAME%": port.name,
        "%SUBSET_NAME%": subset,
    }
    return _TOKEN.sub(lambda token: values.get(token[0], token[0]), pattern)


def _short(service: Service) -> str:
    return f"{service.name}.{service.namespace}" if service.registry is Registry.KUBERNETES else service.host
