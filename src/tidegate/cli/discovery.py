"""``tidegate discovery``: the control plane."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from tidegate.app.discovery.plane import Network

TLS_PORT = 15012
_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command(name="discovery")
@click.option(
    "--kubeconfig",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="KUBECONFIG",
    required=True,
    help="How to reach the API server that holds the objects.",
)
@click.option(
    "--run-dir",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="TIDEGATE_RUN_DIR",
    default=Path("/run/tidegate"),
    show_default=True,
    help="Folder of the discovery socket, xds.sock.",
)
@click.option("--monitoring-port", type=int, default=15014, show_default=True, help="Debug and metrics, on 127.0.0.1.")
@click.option(
    "--tls-address",
    help=f"HOST[:PORT] where proxies of other machines are served, over TLS alone. [port: {TLS_PORT}]",
)
@click.option("--tls-cert", type=_FILE, help="Certificate chain for it, PEM; read again when it changes.")
@click.option("--tls-key", type=_FILE, help="Its private key, PEM.")
@click.option("--domain", default="cluster.local", show_default=True, help="Domain of in-mesh service names.")
@click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info", show_default=True
)
def discovery(
    *,
    kubeconfig: Path,
    run_dir: Path,
    monitoring_port: int,
    tls_address: str | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    domain: str,
    log_level: str,
) -> None:
    """Run the control plane: objects from the API server become configuration for the sidecars.

    Proxies of this machine come by the socket, those of others over TLS to --tls-address; both show the token of their
    ServiceAccount, which tells who they are.

    Variables that istiod reads, such as PILOT_HTTP10, switch here what they switch there; tidegate.kit.features lists
    those that are acted on.

    \b
    Examples:
      tidegate discovery --kubeconfig /var/lib/tidegate/kubeconfig
      tidegate discovery --kubeconfig kubeconfig --tls-address 0.0.0.0 --tls-cert tls.crt --tls-key tls.key
      curl http://127.0.0.1:15014/debug/syncz
    """
    import asyncio
    import logging
    import os

    from tidegate.app.discovery.plane import Settings, run
    from tidegate.kit import features

    logging.basicConfig(level=log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    settings = Settings(
        kubeconfig=kubeconfig,
        run_dir=run_dir,
        monitoring_port=monitoring_port,
        domain=domain,
        features=features.parse(os.environ)[0],
        network=_network(tls_address, tls_cert, tls_key),
    )
    asyncio.run(run(settings, lambda debug, tls: click.echo(_ready(debug, run_dir / "xds.sock", tls))))


def _ready(debug: str, socket: Path, tls: str) -> str:
    return f"ready {debug} socket={socket}" + (f" tls={tls}" if tls else "")


def _network(address: str | None, certificate: Path | None, key: Path | None) -> "Network | None":
    from tidegate.app.discovery.plane import Network
    from tidegate.kit import hostport

    if not (address or certificate or key):
        return None
    if not (address and certificate and key):
        raise click.UsageError("--tls-address, --tls-cert and --tls-key: expected all of them, or none")
    return Network(hostport.parse(address, TLS_PORT, "--tls-address"), certificate, key)
