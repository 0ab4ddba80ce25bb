"""``tidegate apiserver``."""

from pathlib import Path

import click


@click.command()
@click.option(
    "--state-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("/var/lib/tidegate"),
    envvar="TIDEGATE_STATE_DIR",
    show_default=True,
    show_envvar=True,
    help="Where the store, the keys and the kubeconfig are kept.",
)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, show_default=True, help="TCP port on 127.0.0.1; 0 is any free."
)
@click.option(
    "--history",
    type=click.IntRange(1, 10_000_000),
    default=20_000,
    show_default=True,
    help="How many changes a watch can resume over.",
)
def apiserver(state_dir: Path, port: int, history: int) -> None:
    """Run the embedded Kubernetes-style API server.

    Prints `ready KUBECONFIG=<path>` once it serves. SIGTERM stops it.

    \b
    Examples:
      tidegate apiserver --state-dir /var/lib/tidegate
      tidegate apiserver --state-dir ./state --port 6443
      kubectl --kubeconfig ./state/kubeconfig get namespaces
    """
    from tidegate.app import apiserver as process

    process.run(state_dir, port, history)
