"""What else a dump holds: the start of the proxy, its certificates, its extensions; and all of it at once."""

from typing import TYPE_CHECKING, Any

import click

from tidegate.cli.options import output_option
from tidegate.cli.proxy_config import source
from tidegate.cli.proxy_config.source import Command, Proxy

if TYPE_CHECKING:
    from tidegate.dump.whole import Filters


@click.command(name="bootstrap", cls=Command, short_help="What the proxy was started with.")
@source.of_a_proxy
@click.option(
    "-o",
    "--output",
    type=click.Choice(["json", "yaml", "short"]),
    default="json",
    show_default=True,
    help="How to print it; short tells the versions.",
)
def bootstrap(proxy: Proxy, output: str) -> None:
    """Bootstrap: what the proxy was started with.

    \b
    Examples:
      tidegate proxy-config bootstrap client.entry
      tidegate proxy-config bootstrap client.entry -o short
    """
    from tidegate.dump import commands

    click.echo(commands.bootstrap(proxy.load(), output), nl=False)


@click.command(name="secret", cls=Command, short_help="Certificates and trusted roots.")
@source.of_a_proxy
@output_option
def secret(proxy: Proxy, output: str) -> None:
    """Secrets: the certificates and trusted roots that the proxy holds, and whether they are valid now.

    Private keys are never shown.

    \b
    Examples:
      tidegate proxy-config secret client.entry
      tidegate proxy-config secret --file dump.json -o yaml
    """
    from tidegate.dump import commands

    click.echo(commands.secrets(proxy.load(), output, source.now()), nl=False)


@click.command(name="ecds", cls=Command, short_help="Extensions discovered apart from listeners.")
@source.of_a_proxy
@output_option
def ecds(proxy: Proxy, output: str) -> None:
    """ECDS: the extensions that the proxy discovers apart from its listeners.

    \b
    Examples:
      tidegate proxy-config ecds client.entry
      tidegate proxy-config ecds client.entry -o yaml
    """
    from tidegate.dump import commands
    from tidegate.dump.read import MissingSection

    try:
        click.echo(commands.ecds(proxy.load(), output), nl=False)
    except MissingSection:
        if proxy.file is not None:
            raise
        if output != "short":
            click.echo("{}")
        told = "no extensions: Envoy lists them only while a filter is discovered apart from its listener"
        click.echo(told, err=True)


@click.command(name="all", cls=Command, short_help="All of it at once.")
@source.of_a_proxy
@source.place_options("listeners and endpoints")
@source.cluster_options
@source.listener_options
@source.route_option
@click.option("--with-headers/--no-with-headers", default=False, help="A title above each table.")
@output_option
def everything(proxy: Proxy, output: str, **keep: Any) -> None:
    """All of it: versions, clusters, listeners, routes, certificates and endpoints.

    As JSON or YAML the whole dump is printed, without private keys: save it, and read it again with --file.

    \b
    Examples:
      tidegate proxy-config all client.entry --with-headers
      tidegate proxy-config all client.entry --port 9080
      tidegate proxy-config all client.entry -o json > dump.json
    """
    from tidegate.dump import commands

    text = proxy.read()
    before = ""
    for title, part in commands.everything(text, output, _filters(keep), source.now()):
        header = f"------ {title} ------\n\n" if keep["with_headers"] and title else ""
        click.echo(f"{before}{header}{part}", nl=False)
        before = "\n"


def _filters(keep: dict[str, Any]) -> "Filters":
    from tidegate.dump import tables
    from tidegate.dump.whole import Filters

    address, port = keep["address"], keep["port"]
    return Filters(
        listener=tables.ListenerFilter(address, port, keep["kind"]),
        cluster=tables.ClusterFilter(keep["fqdn"], port, keep["subset"], keep["direction"]),
        endpoint=tables.EndpointFilter(address, port),
        route=keep["route_name"],
        verbose=keep["verbose"],
    )
