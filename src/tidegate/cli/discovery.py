"""``tidegate discovery``: the control plane."""

from pathlib import Path

import click


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
@click.option("--domain", default="cluster.local", show_default=True, help="Domain of in-mesh service names.")
@click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info", show_default=True
)
def discovery(kubeconfig: Path, run_dir: Path, monitoring_port: int, domain: str, log_level: str) -> None:
    """Run the control plane: objects from the API server become configuration for the sidecars.

    Variables that istiod reads, such as PILOT_HTTP10, switch here what they switch there; tidegate.kit.features lists
    those that are acted on.

    \b
    Examples:
      tidegate discovery --kubeconfig /var/lib/tidegate/kubeconfig
      curl http://127.0.0.1:15014/debug/syncz
    """
    import asyncio
    import logging
    import os

    from tidegate.app.discovery import Settings, run
    from tidegate.kit import features

    logging.basicConfig(level=log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    settings = Settings(
        kubeconfig=kubeconfig,
        run_dir=run_dir,
        monitoring_port=monitoring_port,
        domain=domain,
        features=features.parse(os.environ)[0],
    )
    asyncio.run(run(settings, lambda address: click.echo(f"ready {address} socket={run_dir / 'xds.sock'}")))
