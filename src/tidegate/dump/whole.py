"""``proxy-config all``: every table of a dump, each row led by what it is a part of."""

import datetime
from collections.abc import Iterator
from typing import TypeVar

import msgspec

from tidegate.dump import secrets, tables
from tidegate.dump.model import Bootstrap
from tidegate.dump.read import Dump, DumpError

T = TypeVar("T")


class Filters(msgspec.Struct, frozen=True):
    """The flags of all the tables."""

    listener: tables.ListenerFilter = tables.ListenerFilter()
    cluster: tables.ClusterFilter = tables.ClusterFilter()
    endpoint: tables.EndpointFilter = tables.EndpointFilter()
    route: str = ""
    verbose: bool = True


def sections(dump: Dump, keep: Filters, now: datetime.datetime) -> Iterator[tuple[str, str]]:
    """Title and text of each part. Raises DumpError at the first part that the dump lacks, after those before it."""
    yield "BOOTSTRAP INFO", versions(dump.bootstrap())
    yield "CLUSTER INFO", _clusters(dump, keep)
    yield "LISTENER INFO", _listeners(dump, keep)
    yield "ROUTE INFO", _routes(dump, keep)
    yield "SECRET INFO", secret_text(dump, now, "secret/")
    rows = [(f"endpoint/{row[0]}", *row[1:]) for row in tables.assignment_rows(dump.endpoints(), keep.endpoint)]
    yield "ENDPOINTS INFO", tables.render(tables.ASSIGNMENT_COLUMNS, rows)


def some(found: list[T], what: str) -> list[T]:
    """The parts of a section. Raises DumpError where there are none: an empty table would look filtered."""
    if not found:
        raise DumpError(f"no {what} found")
    return found


def secret_text(dump: Dump, now: datetime.datetime, prefix: str = "") -> str:
    found = dump.secrets()
    if not any((found.dynamic_active_secrets, found.dynamic_warming_secrets, found.static_secrets)):
        return "No active or warming secrets found.\n"
    return tables.render(*secrets.table(found, now, prefix=prefix))


def versions(bootstrap: Bootstrap) -> str:
    """Of the control plane's API, of the proxy's build and of Envoy; a version that is not told is left out."""
    node, build = bootstrap.node.metadata, bootstrap.node.user_agent_build_version
    sha = str(node.get("ISTIO_PROXY_SHA") or build.metadata.get("revision.sha") or "").removeprefix("istio-proxy:")
    parts = [str(build.metadata.get(each) or "") for each in ("revision.status", "build.type", "ssl.version")]
    found = {
        "Istio Version:": str(node.get("ISTIO_VERSION") or ""),
        "Istio Proxy Version:": sha,
        "Envoy Version:": "/".join((str(build.version), *filter(None, parts))),
    }
    return "".join(f"{label:<21}{text}\n" for label, text in found.items() if text)


def _clusters(dump: Dump, keep: Filters) -> str:
    rows: tables.Rows = []
    for cluster in tables.sort_clusters(c for c in some(dump.clusters(), "clusters") if keep.cluster.keeps(c)):
        name = f"cluster/{cluster.name}"
        for host, *cells in tables.cluster_rows([cluster], keep.cluster):
            rows.append((name, name if host == cluster.name else host, *cells))
    return tables.render(("NAME", *tables.CLUSTER_COLUMNS), rows)


def _listeners(dump: Dump, keep: Filters) -> str:
    columns = tables.LISTENER_COLUMNS if keep.verbose else tables.LISTENER_TYPE_COLUMNS
    build = tables.listener_rows if keep.verbose else tables.listener_type_rows
    rows: tables.Rows = []
    for listener in tables.sort_listeners(some(dump.listeners(), "listeners")):
        rows += [(f"listener/{listener.name}", *row) for row in build([listener], keep.listener)]
    return tables.render(("NAME", *columns), rows, padding=1)


def _routes(dump: Dump, keep: Filters) -> str:
    columns = tables.ROUTE_COLUMNS if keep.verbose else tables.ROUTE_SUMMARY_COLUMNS
    build = tables.route_rows if keep.verbose else tables.route_summary_rows
    rows = [(f"route/{name}", *cells) for name, *cells in build(some(dump.routes(), "routes"), keep.route)]
    return tables.render(columns, rows)
