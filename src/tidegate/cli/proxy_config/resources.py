"""Listeners, routes, clusters and endpoints."""

from typing import Any

import click

from tidegate.cli.options import output_option
from tidegate.cli.proxy_config import source
from tidegate.cli.proxy_config.source import Command, Proxy


@click.command(name="listener", cls=Command, short_help="Where each address and port leads.")
@source.of_a_proxy
@click.option(
    "--name",
    "listener_name",
    default="",
    shell_complete=source.names("raw_listeners"),
    help="Only the listener of this name.",
)
@source.place_options("listeners")
@source.listener_options
@output_option
def listener(proxy: Proxy, output: str, **keep: Any) -> None:
    """Listeners: where each address and port leads, chain by chain.

    \b
    Examples:
      tidegate proxy-config listener client.entry
      tidegate proxy-config listener client.entry --address 0.0.0.0 --port 15006
      tidegate proxy-config listener client.entry --type HTTP --no-verbose
      tidegate proxy-config listener client.entry --name virtualOutbound -o yaml
    """
    from tidegate.dump import commands
    from tidegate.dump.tables import ListenerFilter
    from tidegate.dump.whole import some

    chosen = ListenerFilter(address=keep["address"], port=keep["port"], type=keep["kind"])
    dump = proxy.load()
    some(dump.raw_listeners(), "listeners")
    text = commands.listeners(dump, output, chosen, verbose=keep["verbose"], name=keep["listener_name"])
    click.echo(text, nl=False)


@click.command(name="cluster", cls=Command, short_help="Destinations and the rules that shape them.")
@source.of_a_proxy
@click.option("--port", type=int, default=0, help="Only clusters of this service port.")
@source.cluster_options
@output_option
def cluster(proxy: Proxy, output: str, **keep: Any) -> None:
    """Clusters: the destinations, how their endpoints are found, and the rule that shapes them.

    \b
    Examples:
      tidegate proxy-config cluster client.entry
      tidegate proxy-config cluster client.entry --fqdn reviews --port 9080 --subset v2
      tidegate proxy-config cluster client.entry --direction inbound -o json
    """
    from tidegate.dump import commands
    from tidegate.dump.tables import ClusterFilter
    from tidegate.dump.whole import some

    dump = proxy.load()
    some(dump.raw_clusters(), "clusters")
    click.echo(commands.clusters(dump, output, ClusterFilter(**keep)), nl=False)


@click.command(name="route", cls=Command, short_help="Which host and path goes where.")
@source.of_a_proxy
@source.route_option
@click.option("--verbose/--no-verbose", default=True, help="Domains and matches, not only counts.")
@output_option
def route(proxy: Proxy, output: str, **keep: Any) -> None:
    """Routes: which host and path goes where.

    \b
    Examples:
      tidegate proxy-config route client.entry
      tidegate proxy-config route client.entry --name 80 -o yaml
      tidegate proxy-config route client.entry --no-verbose
    """
    from tidegate.dump import commands
    from tidegate.dump.whole import some

    dump = proxy.load()
    some(dump.raw_routes(), "routes")
    click.echo(commands.routes(dump, output, name=keep["route_name"], verbose=keep["verbose"]), nl=False)


@click.command(name="endpoint", cls=Command, short_help="Addresses, and whether Envoy uses them.")
@source.of_a_proxy
@source.endpoint_options
@output_option
def endpoint(proxy: Proxy, output: str, **keep: Any) -> None:
    """Endpoints: the addresses of each cluster and whether Envoy uses them.

    With --file, a config dump shows what the proxy was told; the answer of /clusters?format=json what it found.

    \b
    Examples:
      tidegate proxy-config endpoint client.entry
      tidegate proxy-config endpoint client.entry --cluster "outbound|9080||reviews.default.svc.cluster.local"
      tidegate proxy-config endpoint client.entry --port 9080 --status unhealthy
    """
    from tidegate.dump import commands
    from tidegate.dump.read import parse

    text = proxy.read("clusters?format=json")
    if b'"configs"' in text[:64]:
        click.echo(commands.assignments(parse(text), output, _endpoints(keep)), nl=False)
        return
    click.echo(commands.endpoints(text, output, _endpoints(keep)), nl=False)


@click.command(name="eds", cls=Command, short_help="Addresses as the control plane told them.")
@source.of_a_proxy
@source.endpoint_options
@output_option
def eds(proxy: Proxy, output: str, **keep: Any) -> None:
    """Endpoints as the control plane told them, with their localities; `endpoint` shows what Envoy makes of them.

    \b
    Examples:
      tidegate proxy-config eds client.entry
      tidegate proxy-config eds client.entry --cluster "outbound|9080||reviews.default.svc.cluster.local" -o json
    """
    from tidegate.dump import commands

    click.echo(commands.assignments(proxy.load(), output, _endpoints(keep)), nl=False)


def _endpoints(keep: dict[str, Any]) -> Any:
    from tidegate.dump.tables import EndpointFilter

    return EndpointFilter(keep["address"], keep["port"], keep["cluster_name"], keep["status"])
