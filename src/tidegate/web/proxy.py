"""One proxy's listeners, routes, clusters and endpoints, from what its own Envoy answers."""

from collections import Counter
from collections.abc import Iterable

import msgspec

from tidegate.dump import links, tables
from tidegate.dump.commands import cluster_statuses
from tidegate.dump.links import Row, Target
from tidegate.dump.read import parse
from tidegate.web.tables import Part

DUMP = "config_dump"
STATUSES = "clusters?format=json"


def parts(dump: bytes, statuses: bytes) -> list[Part]:
    """dump, statuses: Envoy's answers to :data:`DUMP` and :data:`STATUSES`. Raises DumpError for anything else."""
    found = parse(dump)
    endpoints = tables.endpoint_rows(cluster_statuses(statuses), tables.EndpointFilter())
    counts = Counter(cluster for *_, cluster in endpoints)
    return [
        Part("listener", "Listeners", (*links.LISTENER_COLUMNS, "LEADS TO"), list(links.listeners(found.listeners()))),
        Part("route", "Routes", (*links.ROUTE_COLUMNS, "LEADS TO"), list(links.routes(found.routes()))),
        Part(
            "cluster",
            "Clusters",
            (*links.CLUSTER_COLUMNS, "LEADS TO"),
            list(_with_endpoints(links.clusters(found.clusters()), counts)),
            label="endpoints",
        ),
        Part("endpoint", "Endpoints", tables.ENDPOINT_COLUMNS, [Row(cells[-1], cells) for cells in endpoints]),
    ]


def _with_endpoints(rows: Iterable[Row], counts: Counter[str]) -> Iterable[Row]:
    for row in rows:
        count = counts[row.name]
        if count:
            yield msgspec.structs.replace(row, targets=(Target("endpoint", row.name, str(count)),))
        else:
            yield msgspec.structs.replace(row, otherwise="no endpoints")
