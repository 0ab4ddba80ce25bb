"""``tidegate proxy-config``: what a proxy was told, read from its own Envoy."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from tidegate.cli.options import output_option, proxy_arguments

if TYPE_CHECKING:
    from tidegate.dump.read import Dump

F = TypeVar("F", bound=Callable[..., Any])

MAX_DUMP = 512 * 1024 * 1024
"""Bytes of a dump file or answer that are read; 10,000 services make about 60 MB."""

ALIASES = {
    "listeners": "listener",
    "l": "listener",
    "routes": "route",
    "r": "route",
    "clusters": "cluster",
    "c": "cluster",
    "endpoints": "endpoint",
    "ep": "endpoint",
}


class _Group(click.Group):
    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        return super().get_command(ctx, ALIASES.get(name, name))


@click.group(name="proxy-config", cls=_Group)
def proxy_config() -> None:
    """Show what a proxy was told: listeners, routes, clusters and endpoints.

    NAME is a workload, NAME.NAMESPACE or NAME with -n. With --file a saved Envoy config dump is read instead.

    \b
    Examples:
      tidegate proxy-config listener client.entry --port 80
      tidegate proxy-config route client -n entry --name 80 -o yaml
      tidegate proxy-config endpoint client.entry --cluster "outbound|80||nginx.ext.example"
      tidegate proxy-config cluster --file dump.json --direction outbound
    """


def _load(file: Path | None, name: str | None, namespace: str, run_dir: Path | None) -> "Dump":
    from tidegate.dump.read import parse

    return parse(_text(file, name, namespace, run_dir, "config_dump?include_eds"))


def _text(file: Path | None, name: str | None, namespace: str, run_dir: Path | None, path: str) -> bytes:
    from tidegate.cli.reach import envoy_admin, read_file

    if file is not None:
        return read_file(file, MAX_DUMP)
    if not name:
        raise click.UsageError("name a workload (NAME or NAME.NAMESPACE), or give --file")
    return envoy_admin(name, namespace, run_dir, path, MAX_DUMP)


@proxy_config.command(name="listener")
@proxy_arguments
@click.option("--name", "listener_name", default="", help="Only the listener of this name.")
@click.option("--address", default="", help="Only listeners at this address.")
@click.option("--port", type=int, default=0, help="Only listeners at this port.")
@click.option("--type", "kind", default="", help="Only listeners of this type: HTTP, TCP, HTTP+TCP, UNKNOWN.")
@click.option("--verbose/--no-verbose", default=True, help="Matches and destinations, not only the type.")
@output_option
def listener(
    workload: str | None,
    namespace: str,
    file: Path | None,
    run_dir: Path | None,
    output: str,
    verbose: bool,
    **keep: Any,
) -> None:
    """Listeners: where each address and port leads, chain by chain."""
    from tidegate.dump import commands
    from tidegate.dump.tables import ListenerFilter

    chosen = ListenerFilter(address=keep["address"], port=keep["port"], type=keep["kind"])
    dump = _load(file, workload, namespace, run_dir)
    click.echo(commands.listeners(dump, output, chosen, verbose=verbose, name=keep["listener_name"]), nl=False)


@proxy_config.command(name="cluster")
@proxy_arguments
@click.option("--fqdn", default="", help="Only clusters whose host contains this.")
@click.option("--port", type=int, default=0, help="Only clusters of this service port.")
@click.option("--subset", default="", help="Only clusters whose subset contains this.")
@click.option("--direction", default="", help="inbound or outbound.")
@output_option
def cluster(
    workload: str | None, namespace: str, file: Path | None, run_dir: Path | None, output: str, **keep: Any
) -> None:
    """Clusters: the destinations, how their endpoints are found, and the rule that shapes them."""
    from tidegate.dump import commands
    from tidegate.dump.tables import ClusterFilter

    dump = _load(file, workload, namespace, run_dir)
    click.echo(commands.clusters(dump, output, ClusterFilter(**keep)), nl=False)


@proxy_config.command(name="route")
@proxy_arguments
@click.option("--name", "route_name", default="", help="Only the route configuration of this name (a port, mostly).")
@click.option("--verbose/--no-verbose", default=True, help="Domains and matches, not only counts.")
@output_option
def route(
    workload: str | None,
    namespace: str,
    file: Path | None,
    run_dir: Path | None,
    output: str,
    route_name: str,
    verbose: bool,
) -> None:
    """Routes: which host and path goes where."""
    from tidegate.dump import commands

    dump = _load(file, workload, namespace, run_dir)
    click.echo(commands.routes(dump, output, name=route_name, verbose=verbose), nl=False)


@proxy_config.command(name="endpoint")
@proxy_arguments
@click.option("--address", default="", help="Only endpoints at this address.")
@click.option("--port", type=int, default=0, help="Only endpoints at this port.")
@click.option("--cluster", "cluster_name", default="", help="Only endpoints of this cluster.")
@click.option("--status", default="", help="healthy, unhealthy, draining, timeout, degraded or unknown.")
@output_option
def endpoint(
    workload: str | None, namespace: str, file: Path | None, run_dir: Path | None, output: str, **keep: Any
) -> None:
    """Endpoints: the addresses of each cluster and whether Envoy uses them.

    With --file, a config dump shows what the proxy was told; the answer of /clusters?format=json what it found.
    """
    from tidegate.dump import commands
    from tidegate.dump.read import parse
    from tidegate.dump.tables import EndpointFilter

    chosen = EndpointFilter(keep["address"], keep["port"], keep["cluster_name"], keep["status"])
    text = _text(file, workload, namespace, run_dir, "clusters?format=json")
    if b'"configs"' in text[:64]:
        click.echo(commands.assignments(parse(text), output, chosen), nl=False)
        return
    click.echo(commands.endpoints(text, output, chosen), nl=False)
