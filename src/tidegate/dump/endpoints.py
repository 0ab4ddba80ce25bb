"""Where an Envoy may connect to, from its admin port's ``/clusters?format=json``."""

from collections import defaultdict

import msgspec

from tidegate.dump.model import ClusterStatuses
from tidegate.dump.read import DumpError, camel
from tidegate.kit.naming import parse_cluster


def by_service_port(statuses: bytes) -> dict[int, frozenset[tuple[str, int]]]:
    """Service port to the addresses and ports of all outbound clusters of that port. Raises DumpError."""
    try:
        typed = msgspec.convert(camel(msgspec.json.decode(statuses)), ClusterStatuses, strict=False)
    except (msgspec.DecodeError, msgspec.ValidationError, RecursionError) as error:
        raise DumpError(f"not an answer of Envoy's /clusters?format=json: {error}") from None
    found: dict[int, set[tuple[str, int]]] = defaultdict(set)
    for cluster in typed.cluster_statuses:
        name = parse_cluster(cluster.name)
        if name is None or name.direction != "outbound":
            continue
        for host in cluster.host_statuses:
            place = host.address.socket_address if host.address else None
            if place is not None:
                found[name.port].add((place.address, place.port_value))
    return {port: frozenset(places) for port, places in found.items()}
