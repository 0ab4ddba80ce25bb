"""Whether two proxies trust the same roots."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tidegate.cli.options import complete_workload, run_dir_option
from tidegate.cli.proxy_config import source
from tidegate.cli.proxy_config.source import Command

if TYPE_CHECKING:
    from cryptography.x509 import Certificate


@click.command(name="rootca-compare", cls=Command, short_help="Whether two proxies trust the same roots.")
@click.argument("first", shell_complete=complete_workload)
@click.argument("second", shell_complete=complete_workload)
@click.option("-n", "--namespace", default="", help="Namespace of the workloads [default: default].")
@run_dir_option
def compare(first: str, second: str, namespace: str, run_dir: Path | None) -> None:
    """Compare the mesh's roots that two proxies hold: without one in common they cannot know each other.

    Ends with status 1 when they have none in common.

    \b
    Examples:
      tidegate proxy-config rootca-compare client.entry server.entry
    """
    from tidegate.cli.reach import full_name
    from tidegate.dump.read import DumpError

    names = [full_name(each, namespace) for each in (first, second)]
    held = [_roots(each, namespace, run_dir) for each in (first, second)]
    if not any(root in held[1] for root in held[0]):
        raise DumpError(f"{names[0]} and {names[1]} have no root in common: neither accepts the other's certificate")
    click.echo(f"{names[0]} and {names[1]} have a root in common: each can verify the other's certificate")


def _roots(workload: str, namespace: str, run_dir: Path | None) -> "list[Certificate]":
    from tidegate.dump import secrets
    from tidegate.dump.read import DumpError, MissingSection

    try:
        found = secrets.roots(source.load(None, workload, namespace, run_dir).secrets())
    except MissingSection:
        found = []
    if not found:
        raise DumpError(f"{workload} holds no secret {secrets.ROOTS}, the roots of its mesh")
    return found
