"""Options that several commands share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def output_option(command: F) -> F:
    return click.option(
        "-o",
        "--output",
        type=click.Choice(["short", "json", "yaml"]),
        default="short",
        show_default=True,
        help="How to print it.",
    )(command)


def run_dir_option(command: F) -> F:
    return click.option(
        "--run-dir",
        type=click.Path(path_type=Path),
        envvar="TIDEGATE_RUN_DIR",
        help="Folder of the sockets [default: /run/tidegate].",
    )(command)


def discovery_options(command: F) -> F:
    """--discovery-address, --discovery-root and --discovery-name: a control plane in the network."""
    for name, kind, text in reversed(
        (
            ("--discovery-address", str, "HOST[:PORT] of the control plane, over TLS; or unix:PATH of its socket."),
            ("--discovery-root", click.Path(path_type=Path), "Roots of the control plane's certificate, PEM."),
            ("--discovery-name", str, "The name in its certificate. [default: $ISTIOD_SAN, else the address' host]"),
        )
    ):
        command = click.option(name, type=kind, help=text)(command)
    return command


def proxy_arguments(command: F) -> F:
    """[NAME[.NS]], -n, -f and --run-dir: which proxy a question is about."""
    command = run_dir_option(command)
    command = click.option(
        "-f",
        "--file",
        type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
        help="Read this saved dump instead; - for standard input.",
    )(command)
    command = click.option("-n", "--namespace", default="", help="Namespace of the workload [default: default].")(
        command
    )
    return click.argument("workload", required=False, shell_complete=complete_workload)(command)


def complete_workload(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Names of proxies that run here, for shell completion."""
    from tidegate.cli.reach import proxy_names

    return [name for name in proxy_names(ctx.params.get("run_dir")) if name.startswith(incomplete)]
