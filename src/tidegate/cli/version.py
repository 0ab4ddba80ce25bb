"""``tidegate version``."""

import json

import click

from tidegate import __version__
from tidegate.cli.options import output_option


@click.command(name="version")
@click.option("--remote/--no-remote", default=True, help="Also ask the control plane and count its proxies.")
@click.option(
    "--xds-address",
    help="Debug address of the control plane [default: that of the run folder's, else http://127.0.0.1:15014].",
)
@output_option
def version(remote: bool, xds_address: str | None, output: str) -> None:
    """Show the versions of the client, the control plane and the proxies.

    \b
    Examples:
      tidegate version
      tidegate version --no-remote -o json
    """
    from tidegate.dump import commands

    found: dict[str, object] = {"clientVersion": __version__}
    if remote:
        found |= _remote(xds_address)
    if output != "short":
        click.echo(commands.structured(found, output), nl=False)
        return
    click.echo(f"client version: {found['clientVersion']}")
    if "controlPlaneVersion" in found:
        click.echo(f"control plane version: {found['controlPlaneVersion']}")
        click.echo(f"data plane version: {found['dataPlaneVersion']}")
    elif remote:
        click.echo("control plane version: none answers here")


def _remote(address: str | None) -> dict[str, object]:
    from tidegate.cli import reach
    from tidegate.kit.errors import TidegateError

    try:
        plane = reach.discovery("/version", address, 1 << 20).decode(errors="replace").strip()
        proxies = json.loads(reach.discovery("/debug/syncz", address, 64 << 20))
    except TidegateError:
        return {}
    seen = sorted({str(p.get("istio_version") or "-") for p in proxies})
    return {
        "controlPlaneVersion": plane,
        "dataPlaneVersion": f"{', '.join(seen) or '-'} ({len(proxies)} proxies)",
    }
