"""``tidegate agent``: one workload's sidecar."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tidegate.cli.options import discovery_options, run_dir_option

if TYPE_CHECKING:
    from tidegate.agent.settings import Network

PATH = click.Path(path_type=Path)


@click.command()
@click.option("--name", required=True, envvar="POD_NAME", help="Name of the Pod.")
@click.option("--namespace", required=True, envvar="POD_NAMESPACE", help="Namespace of the Pod.")
@click.option("--address", required=True, envvar="INSTANCE_IP", help="The workload's IP address.")
@run_dir_option
@click.option("--state-dir", type=PATH, envvar="TIDEGATE_STATE_DIR", help="What is kept. [default: /var/lib/tidegate]")
@click.option("--token-file", type=PATH, required=True, help="File with the ServiceAccount token bound to the Pod.")
@click.option("--upstream", type=PATH, help="The control plane's socket. [default: <run-dir>/xds.sock]")
@discovery_options
@click.option("--hold-file", type=PATH, help="Made when the proxy is ready; the application waits for it.")
@click.option("--envoy", "binary", help="The Envoy to run. [default: $TIDEGATE_ENVOY, else the installed one]")
@click.option("--concurrency", type=click.IntRange(1, 256), default=2, show_default=True, help="Envoy's workers.")
@click.option(
    "--drain",
    type=click.FloatRange(0, 3600),
    default=5.0,
    show_default=True,
    help="Seconds that open connections may go on when the sidecar ends.",
)
@click.option(
    "--exit-on-zero-active-connections",
    is_flag=True,
    envvar="EXIT_ON_ZERO_ACTIVE_CONNECTIONS",
    help="End the drain as soon as no connection is open.",
)
@click.option(
    "--bootstrap-xds-agent",
    "asks_bootstrap",
    is_flag=True,
    envvar="BOOTSTRAP_XDS_AGENT",
    help="Ask the control plane, before Envoy starts, for what EnvoyFilters (BOOTSTRAP) merge into its bootstrap.",
)
@click.option(
    "--log-level",
    type=click.Choice(["trace", "debug", "info", "warning", "error", "critical", "off"]),
    default="warning",
    show_default=True,
    help="Envoy's.",
)
@click.option(
    "--type",
    type=click.Choice(["sidecar", "router"]),
    default="sidecar",
    show_default=True,
    help="router: a gateway, which listens for what the Gateways say that select its Pod.",
)
@click.option(
    "--interception-mode",
    type=click.Choice(["REDIRECT", "TPROXY", "NONE"]),
    default="REDIRECT",
    show_default=True,
    envvar="ISTIO_META_INTERCEPTION_MODE",
    help="How the workload's traffic is captured.",
)
def agent(
    *,
    run_dir: Path | None,
    state_dir: Path | None,
    upstream: Path | None,
    discovery_address: str | None,
    discovery_root: Path | None,
    discovery_name: str | None,
    binary: str | None,
    drain: float,
    exit_on_zero_active_connections: bool,
    **plain: object,
) -> None:
    """Run one workload's sidecar, or a gateway: Envoy, and the companion that keeps it configured and alive.

    It belongs into the workload's network namespace. As root it runs Envoy as user 1337, which the packet rules
    know; Envoy goes on serving when the agent dies, and the next agent adopts it. Ports below 1024 of a gateway need
    the kernel's leave: net.ipv4.ip_unprivileged_port_start. The control plane is that of this machine, by its socket,
    or with --discovery-address one elsewhere, over TLS. `tidegate proxy` is the same in Istio's words.

    \b
    Examples:
      tidegate agent --name web --namespace shop --address 10.244.0.5 --token-file /run/token
      POD_NAME=web POD_NAMESPACE=shop INSTANCE_IP=10.244.0.5 tidegate agent --token-file /run/token --drain 30
      tidegate agent --name vm --namespace shop --address 192.0.2.7 --token-file /run/token \\
        --discovery-address cp.example:15012 --discovery-root /etc/tidegate/root-cert.pem
    """
    import logging

    from tidegate.agent.settings import Settings
    from tidegate.app.agent import run
    from tidegate.kit.envoy_binary import find

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    run_folder = (run_dir or Path("/run/tidegate")).absolute()
    network = _network(discovery_address, discovery_root, discovery_name) if discovery_address else None
    settings = Settings(
        run_dir=run_folder,
        state_dir=(state_dir or Path("/var/lib/tidegate")).absolute(),
        upstream=network or (upstream or run_folder / "xds.sock").absolute(),
        envoy=find(binary),
        drain_seconds=drain,
        exit_on_zero_connections=exit_on_zero_active_connections,
        metadata=node_metadata(dict(os.environ)),
        **plain,  # type: ignore[arg-type]
    )
    run(settings)


def _network(address: str, root: Path | None, name: str | None) -> "Network | Path":
    from tidegate.agent.environment import ROOTS, upstream_of

    return upstream_of(address, root or ROOTS, name or os.environ.get("ISTIOD_SAN", ""))


def node_metadata(environment: dict[str, str]) -> dict[str, str]:
    """ISTIO_META_NAME=value becomes the node's metadata NAME, as Istio's agent has it."""
    prefix = "ISTIO_META_"
    return {name.removeprefix(prefix): value for name, value in environment.items() if name.startswith(prefix)}
