"""``tidegate dashboard``: the mesh in a browser."""

from pathlib import Path

import click

from tidegate.cli.options import run_dir_option

_LIMIT = 64 * 1024 * 1024
_MAX_DUMP = 512 * 1024 * 1024
"""Bytes of one answer; 10,000 services make a dump of about 60 MB."""


@click.command(name="dashboard")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, show_default=True, help="TCP port on 127.0.0.1; 0 is any free."
)
@click.option(
    "--xds-address",
    help="Debug address of the control plane [default: that of the run folder's, else http://127.0.0.1:15014].",
)
@run_dir_option
def dashboard(port: int, xds_address: str | None, run_dir: Path | None) -> None:
    """Show the mesh in a browser: proxies, services, and what each proxy was told, as it changes.

    Prints a link that opens once, in a browser on this machine. The console only reads. Ctrl-C ends it.

    \b
    Examples:
      tidegate dashboard
      tidegate dashboard --port 15080
    """
    import asyncio

    from tidegate.app.console import run
    from tidegate.cli import reach
    from tidegate.web.sources import Sources

    def envoy(name: str, path: str) -> bytes:
        workload, _, namespace = name.rpartition(".")
        return reach.envoy_admin(workload, namespace, run_dir, path, _MAX_DUMP)

    sources = Sources(
        proxy_names=lambda: reach.proxy_names(run_dir),
        plane=lambda path: reach.discovery(path, xds_address, _LIMIT),
        envoy=envoy,
    )
    asyncio.run(run(sources, port, lambda link: click.echo(f"Open {link}")))
