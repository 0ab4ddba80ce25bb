"""``tidegate proxy``, ``wait`` and ``request``: what Istio's containers call, which ``pilot-agent`` offers too."""

import sys
from pathlib import Path
from typing import Any

import click

from tidegate.cli.options import discovery_options

_PATH = click.Path(path_type=Path)
_NOT_ACTED = (
    "--stsPort",
    "--tokenManagerPlugin",
    "--templateFile",
    "--profiling",
    "--log_target",
    "--log_caller",
    "--log_stacktrace_level",
    "--vklog",
)


def _unacted_flags(command: Any) -> Any:
    """Flags of Istio's agent that do nothing here: told when they are given."""
    for name in reversed(_NOT_ACTED):
        command = click.option(name, name.strip("-").lower(), hidden=True)(command)
    return command


@click.command()
@click.argument("role", type=click.Choice(["sidecar", "router"]))
@click.option("--domain", default="", help="NAMESPACE.svc. and the cluster's domain. [default: …svc.cluster.local]")
@click.option("--concurrency", type=click.IntRange(0, 256), help="Envoy's workers; 0: one for each core.")
@click.option("--serviceCluster", "service_cluster", default="", help="Envoy's node.cluster.")
@click.option("--meshConfig", "mesh_config", type=_PATH, help="MeshConfig whose defaultConfig holds here.")
@click.option(
    "--proxyLogLevel",
    "log_level",
    type=click.Choice(["trace", "debug", "info", "warning", "warn", "error", "critical", "off"]),
    default="warning",
    show_default=True,
    help="Envoy's.",
)
@click.option("--proxyComponentLogLevel", "component_log_level", default="", help="Of Envoy's loggers: misc:error,…")
@click.option("--log_output_level", "levels", default="", help="The agent's own: default:info.")
@click.option(
    "--log_as_json", is_flag=False, flag_value="true", type=click.BOOL, default=False, metavar="", help="Log JSON."
)
@click.option("--outlierLogPath", "outlier_log_path", default="", help="Where Envoy logs endpoints that it ejects.")
@click.option("--run-dir", type=_PATH, envvar="TIDEGATE_RUN_DIR", help="For the sockets. [default: configPath]")
@click.option("--state-dir", type=_PATH, envvar="TIDEGATE_STATE_DIR", help="[default: /var/lib/istio/data]")
@click.option("--token-file", type=_PATH, help="[default: /var/run/secrets/tokens/istio-token]")
@click.option("--envoy", help="The Envoy to run. [default: $TIDEGATE_ENVOY, else binaryPath, else the installed one]")
@discovery_options
@_unacted_flags
def proxy(role: str, envoy: str | None, mesh_config: Path | None, levels: str, **given: Any) -> None:
    """Run a sidecar or a gateway as Istio's containers and machines start it: `pilot-agent proxy`.

    Told by Istio's environment: POD_NAME, POD_NAMESPACE, INSTANCE_IP, PROXY_CONFIG (discoveryAddress, concurrency,
    terminationDrainDuration, …), ISTIO_META_*, ISTIO_METAJSON_*, ISTIO_KUBE_APP_PROBERS, ISTIO_PROMETHEUS_ANNOTATIONS,
    EXIT_ON_ZERO_ACTIVE_CONNECTIONS and others; those that are not acted on are named in the log. The control plane is
    reached over TLS, with the token and the root certificates that a pod has mounted. Envoy logs where this command
    does. To the agent it is `tidegate agent`, with other defaults.

    \b
    Examples:
      tidegate proxy sidecar --domain shop.svc.cluster.local --proxyLogLevel=warning --log_output_level=default:info
      POD_NAMESPACE=edge tidegate proxy router --discovery-address cp.example:15012 --discovery-root root-cert.pem
    """
    from tidegate.agent.environment import Flags
    from tidegate.app.proxy import MESH_CONFIG, run
    from tidegate.kit import logs

    logs.configure(levels, as_json=given["log_as_json"])
    unacted = [name for name in _NOT_ACTED if given.pop(name.strip("-").lower()) is not None]
    flags = Flags(type=role, **given)  # type: ignore[arg-type]  # click has checked it
    run(flags, envoy, mesh_config or MESH_CONFIG, unacted)


@click.command()
@click.option("--url", default="http://localhost:15021/healthz/ready", show_default=True, help="What is asked.")
@click.option("--timeoutSeconds", "seconds", type=click.FloatRange(0, 86400), default=60, show_default=True)
@click.option("--requestTimeoutMillis", "one", type=click.IntRange(1, 600_000), default=500, show_default=True)
@click.option("--periodMillis", "period", type=click.IntRange(1, 600_000), default=500, show_default=True)
def wait(url: str, seconds: float, one: int, period: int) -> None:
    """Wait until the proxy of this pod or machine is ready: `pilot-agent wait`.

    Exit code 1 when it has not become ready in time, with the reason.

    \b
    Examples:
      tidegate wait
      tidegate wait --timeoutSeconds 10 --url http://localhost:15020/healthz/ready
    """
    from tidegate.agent.ask import Patience, wait_until_ready

    wait_until_ready(url, Patience(seconds, one / 1000, period / 1000))


@click.command()
@click.argument("method", type=click.Choice(["GET", "POST"], case_sensitive=False))
@click.argument("path")
@click.argument("body", default="")
@click.option(
    "--debug-port",
    type=click.IntRange(1, 65535),
    default=15000,
    show_default=True,
    help="Envoy's admin port; 15020 is the agent's.",
)
@click.option("--timeout", "seconds", type=click.FloatRange(0.1, 3600), default=60, show_default=True, help="Seconds.")
def request(method: str, path: str, body: str, debug_port: int, seconds: float) -> None:
    """Ask the Envoy of this pod or machine, or its agent: `pilot-agent request`.

    \b
    Examples:
      tidegate request GET config_dump
      tidegate request POST 'logging?level=debug'
      tidegate request --debug-port=15020 POST drain
    """
    from tidegate.agent.ask import ask

    out = sys.stdout.buffer
    for chunk in ask(debug_port, method.upper(), path, body, seconds):
        out.write(chunk)
    out.flush()
