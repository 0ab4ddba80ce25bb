"""``tidegate proxy-status``: which proxies are connected and whether they run what they were told."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from tidegate.cli.options import output_option

_SHORT = {
    "type.googleapis.com/envoy.config.cluster.v3.Cluster": "CDS",
    "type.googleapis.com/envoy.config.listener.v3.Listener": "LDS",
    "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment": "EDS",
    "type.googleapis.com/envoy.config.route.v3.RouteConfiguration": "RDS",
}
_LIMIT = 64 * 1024 * 1024


@click.command(name="proxy-status")
@click.argument("workload", required=False)
@click.option("-n", "--namespace", default="", help="Only proxies of this namespace.")
@click.option("-v", "--verbosity", type=click.IntRange(0, 1), default=0, help="1: a column for each type.")
@click.option(
    "--xds-address",
    help="Debug address of the control plane [default: that of the run folder's, else http://127.0.0.1:15014].",
)
@click.option("-f", "--file", type=click.Path(path_type=Path, dir_okay=False), help="Read a saved /debug/syncz.")
@output_option
def proxy_status(
    workload: str | None, namespace: str, verbosity: int, xds_address: str | None, file: Path | None, output: str
) -> None:
    """Show the proxies of the mesh: SYNCED, STALE (sent, not acknowledged), ERROR (refused) or NOT SENT, by type.

    \b
    Examples:
      tidegate proxy-status
      tidegate proxy-status client.entry -v 1
    """
    from tidegate.cli import reach
    from tidegate.dump import commands

    text = reach.read_file(file, _LIMIT) if file else reach.discovery("/debug/syncz", xds_address, _LIMIT)
    proxies = [p for p in json.loads(text) if _wanted(p, workload, namespace)]
    if output != "short":
        click.echo(commands.structured(proxies, output), nl=False)
        return
    if not proxies:
        click.echo("No proxies are connected." if not workload else f"No proxy {workload} is connected.", err=True)
        return
    click.echo(_table(proxies, verbosity), nl=False)
    for line in _errors(proxies):
        click.echo(line, err=True)


def _wanted(proxy: dict[str, Any], workload: str | None, namespace: str) -> bool:
    name = _name(proxy)
    if namespace and not name.endswith(f".{namespace}"):
        return False
    return not workload or name == workload or name.rpartition(".")[0] == workload


def _name(proxy: dict[str, Any]) -> str:
    parts = str(proxy.get("proxy", "")).split("~")
    return parts[2] if len(parts) > 2 else parts[0]


def _table(proxies: list[dict[str, Any]], verbosity: int) -> str:
    from tidegate.dump.tables import render

    if verbosity:
        columns: tuple[str, ...] = ("NAME", "CLUSTER", *_SHORT.values(), "ISTIOD", "VERSION")
    else:
        columns = ("NAME", "CLUSTER", "ISTIOD", "VERSION", "SUBSCRIBED TYPES")
    return render(columns, [_row(p, verbosity) for p in sorted(proxies, key=_name)])


def _row(proxy: dict[str, Any], verbosity: int) -> tuple[str, ...]:
    resources = proxy.get("resources") or {}
    words = {short: _state(resources.get(url)) for url, short in _SHORT.items()}
    server = (str(proxy.get("server") or "tidegate"), str(proxy.get("istio_version") or "-"))
    head = (_name(proxy), str(proxy.get("cluster_id") or "-"))
    if verbosity:
        return (*head, *words.values(), *server)
    subscribed = [short for url, short in _SHORT.items() if url in resources]
    return (*head, *server, f"{len(subscribed)} ({','.join(subscribed)})")


def _state(resource: dict[str, Any] | None) -> str:
    if not resource:
        return "IGNORED"
    if "state" in resource:
        return str(resource["state"])
    if resource.get("lastError"):
        return "ERROR"
    if not resource.get("sent"):
        return "NOT SENT"
    return "SYNCED" if resource.get("sent") == resource.get("acked") else "STALE"


def _errors(proxies: list[dict[str, Any]]) -> Iterator[str]:
    """What a proxy refused: the resource, why, and the objects that it was made from."""
    for proxy in proxies:
        for url, resource in (proxy.get("resources") or {}).items():
            kind = f"{_name(proxy)}: {_SHORT.get(url, url)}"
            for each in resource.get("quarantined") or ():
                made = "; ".join(each.get("origins") or ())
                yield f"{kind}: {each['name']} refused: {each['error']}" + (f" (made from {made})" if made else "")
            if resource.get("lastError") and not resource.get("quarantined"):
                yield f"{kind}: {resource['lastError']}"
