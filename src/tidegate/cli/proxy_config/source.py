"""Where the text of a question comes from, and what the subcommands share."""

import datetime
import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click

from tidegate.cli.options import proxy_arguments

if TYPE_CHECKING:
    from tidegate.dump.read import Dump

F = TypeVar("F", bound=Callable[..., Any])

MAX_DUMP = 512 * 1024 * 1024
"""Bytes of a dump file or answer that are read; 10,000 services make about 60 MB."""
DUMP_PATH = "config_dump?include_eds"
STATUSES = ("healthy", "unhealthy", "draining", "timeout", "degraded", "unknown")
TYPES = ("HTTP", "TCP", "HTTP+TCP", "UNKNOWN")

_BOOLEANS = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}


class Command(click.Command):
    """Takes ``--verbose=false`` too, as Go's programs write it."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, [self._plain(arg) for arg in args])

    def _plain(self, arg: str) -> str:
        name, equals, value = arg.partition("=")
        chosen = _BOOLEANS.get(value.lower())
        for each in self.params:
            if equals and chosen is not None and isinstance(each, click.Option) and each.is_flag and name in each.opts:
                return name if chosen else next(iter(each.secondary_opts), arg)
        return arg


def read(file: Path | None, name: str | None, namespace: str, run_dir: Path | None, path: str = DUMP_PATH) -> bytes:
    """A saved text, or what a proxy's Envoy answers to ``path``."""
    from tidegate.cli.reach import envoy_admin, read_file

    if file is not None:
        return read_file(file, MAX_DUMP)
    if not name:
        raise click.UsageError("name a workload (NAME or NAME.NAMESPACE), or give --file")
    return envoy_admin(name, namespace, run_dir, path, MAX_DUMP)


def load(file: Path | None, name: str | None, namespace: str, run_dir: Path | None) -> "Dump":
    from tidegate.dump.read import DumpError, parse

    text = read(file, name, namespace, run_dir)
    try:
        return parse(text)
    except DumpError as error:
        raise DumpError(f"{file or name}: {error}") from None


class Proxy(NamedTuple):
    """Whose configuration is asked for: a workload's on this machine, or that of a saved dump."""

    workload: str | None
    namespace: str
    file: Path | None
    run_dir: Path | None

    def read(self, path: str = DUMP_PATH) -> bytes:
        return read(self.file, self.workload, self.namespace, self.run_dir, path)

    def load(self) -> "Dump":
        return load(self.file, self.workload, self.namespace, self.run_dir)


def of_a_proxy(command: Callable[..., None]) -> Callable[..., None]:
    """[NAME[.NS]], -n, -f and --run-dir, given to the command as one Proxy."""

    @functools.wraps(command)
    def asked(workload: str | None, namespace: str, file: Path | None, run_dir: Path | None, **options: Any) -> None:
        command(Proxy(workload, namespace, file, run_dir), **options)

    return proxy_arguments(asked)


def now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def words(*given: str) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    """Completes from fixed words."""
    return lambda _, __, incomplete: [word for word in given if word.lower().startswith(incomplete.lower())]


def names(list_raw: str) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    """Completes from the names of a part of the proxy's dump; ``list_raw`` is the method of Dump that lists it."""

    def complete(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
        from tidegate.kit.errors import TidegateError

        given = ctx.params
        # An option still without its value ends click's parsing, which leaves the workload unread.
        workload = given.get("workload") or next(iter(ctx.args), None)
        try:
            dump = load(given.get("file"), workload, given.get("namespace") or "", given.get("run_dir"))
            found = {str(each.get("name", "")) for each in getattr(dump, list_raw)()}
        except (TidegateError, click.ClickException):
            return []
        return sorted(name for name in found if name.startswith(incomplete) and name)

    return complete


def listener_options(command: F) -> F:
    command = click.option(
        "--verbose/--no-verbose", default=True, help="Matches and destinations, not only types and counts."
    )(command)
    return click.option(
        "--type",
        "kind",
        default="",
        shell_complete=words(*TYPES),
        help=f"Only listeners of this type: {', '.join(TYPES)}.",
    )(command)


def cluster_options(command: F) -> F:
    command = click.option(
        "--direction",
        default="",
        shell_complete=words("inbound", "outbound"),
        help="Only clusters whose name has this: inbound or outbound.",
    )(command)
    command = click.option("--subset", default="", help="Only clusters whose name has this subset.")(command)
    return click.option("--fqdn", default="", help="Only clusters whose name has this host, or a part of it.")(command)


def place_options(what: str) -> Callable[[F], F]:
    """--address and --port."""

    def decorate(command: F) -> F:
        command = click.option("--port", type=int, default=0, help=f"Only {what} at this port.")(command)
        return click.option("--address", default="", help=f"Only {what} at this address.")(command)

    return decorate


def endpoint_options(command: F) -> F:
    command = click.option(
        "--status",
        default="",
        shell_complete=words(*STATUSES),
        help=f"Only endpoints of this status: {', '.join(STATUSES)}.",
    )(command)
    command = click.option(
        "--cluster",
        "cluster_name",
        default="",
        shell_complete=names("raw_clusters"),
        help="Only endpoints of this cluster.",
    )(command)
    return place_options("endpoints")(command)


def route_option(command: F) -> F:
    return click.option(
        "--name",
        "route_name",
        default="",
        shell_complete=names("raw_routes"),
        help="Only the route configuration of this name (a port, mostly).",
    )(command)
