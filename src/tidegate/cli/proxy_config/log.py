"""Envoy's log levels, read and set while it runs."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tidegate.cli.options import complete_workload, output_option, run_dir_option
from tidegate.cli.proxy_config.source import Command

if TYPE_CHECKING:
    from tidegate.dump.loggers import Levels

_LIMIT = 1 << 20
"""Bytes of an answer; Envoy has some 75 loggers."""


@click.command(name="log", cls=Command, short_help="Log levels of the proxy's Envoy.")
@click.argument("workload", shell_complete=complete_workload)
@click.option("-n", "--namespace", default="", help="Namespace of the workload [default: default].")
@run_dir_option
@click.option(
    "--level",
    default="",
    metavar="[LOGGER:]LEVEL,...",
    help="Set these levels: trace, debug, info, warning, error, critical or off; without LOGGER, of all loggers.",
)
@click.option("-r", "--reset", is_flag=True, help="Set the levels that Envoy was started with.")
@output_option
def log(workload: str, namespace: str, run_dir: Path | None, output: str, level: str, reset: bool) -> None:
    """Log levels of the proxy's Envoy: show them, or set them until it ends.

    \b
    Examples:
      tidegate proxy-config log client.entry
      tidegate proxy-config log client.entry --level debug
      tidegate proxy-config log client.entry --level warning,http:debug,router:trace
      tidegate proxy-config log client.entry --reset
    """
    from tidegate.cli import reach
    from tidegate.dump import commands, loggers

    if level and reset:
        raise click.UsageError("--level sets levels and --reset sets those of the start; give one of them")
    change = loggers.parse_levels(level) if level else loggers.Levels()
    if reset:
        change = loggers.started_with(reach.envoy_admin(workload, namespace, run_dir, "server_info", _LIMIT))
    levels = _apply(change, workload, namespace, run_dir)
    if output != "short":
        click.echo(commands.structured(levels, output), nl=False)
        return
    click.echo(f"{reach.full_name(workload, namespace)}:\nactive loggers:")
    for name, value in levels.items():
        click.echo(f"  {name}: {value}")


def _apply(change: "Levels", workload: str, namespace: str, run_dir: Path | None) -> dict[str, str]:
    """Set levels one query after the other; the levels that hold then."""
    from tidegate.cli.reach import envoy_logging
    from tidegate.dump.loggers import read_levels

    levels = read_levels(envoy_logging(workload, namespace, run_dir, "", _LIMIT))
    change.check(levels)
    for query in change.queries():
        levels = read_levels(envoy_logging(workload, namespace, run_dir, query, _LIMIT))
    return levels
