"""``tidegate lab``: workloads and outside hosts as network namespaces on this machine."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from tidegate.lab.inspect import Status
    from tidegate.lab.plan import Plan
    from tidegate.lab.state import Folders

PATH = click.Path(path_type=Path)


@click.group()
@click.option("--run-dir", type=PATH, envvar="TIDEGATE_RUN_DIR", help="Folder of the sockets. [default: /run/tidegate]")
@click.option("--state-dir", type=PATH, envvar="TIDEGATE_STATE_DIR", help="What is kept. [default: /var/lib/tidegate]")
@click.pass_context
def lab(ctx: click.Context, run_dir: Path | None, state_dir: Path | None) -> None:
    """Run workloads and outside hosts as network namespaces on this machine, each with its sidecar.

    \b
    Examples:
      tidegate lab up -f lab.yaml
      tidegate lab exec client -- curl -s http://reviews:9080/
      tidegate lab logs client --proxy
      tidegate lab down -f lab.yaml
    """
    from tidegate.lab.state import DEFAULT_RUN_DIR, DEFAULT_STATE_DIR, Folders

    run, state = run_dir or DEFAULT_RUN_DIR, state_dir or DEFAULT_STATE_DIR
    ctx.obj = Folders(run.absolute(), state.absolute())


def _which_lab(command: Callable[..., Any]) -> Callable[..., Any]:
    command = click.option("--name", help="The lab's name, instead of its file.")(command)
    return click.option("-f", "--file", type=PATH, help="The lab file. [default: that of the lab which is up]")(command)


@lab.command()
@click.option("-f", "--file", type=PATH, default=Path("lab.yaml"), show_default=True, help="The lab file.")
@click.pass_obj
def up(folders: "Folders", file: Path) -> None:
    """Start the API server, the control plane, the hosts and the workloads, and return when all are ready.

    \b
    Examples:
      tidegate lab up
      tidegate lab up -f demo/lab.yaml
    """
    from tidegate.lab.lifecycle import up as build

    plan = _plan(file)
    with _progress() as report:
        build(plan, file.absolute(), folders, report)
    click.echo(f"lab {plan.spec.name} is up; for kubectl:")
    click.echo(f"  export KUBECONFIG={folders.lab(plan.spec.name).kubeconfig}")


@lab.command()
@_which_lab
@click.pass_obj
def down(folders: "Folders", file: Path | None, name: str | None) -> None:
    """Remove a lab: processes, namespaces, links, rules, mounts and its folders; half-built ones too.

    \b
    Examples:
      tidegate lab down
      tidegate lab down --name demo
    """
    from tidegate.lab.lifecycle import down as remove

    name = name or _name(folders, file)
    if not remove(name, folders, click.echo):
        click.echo(f"lab {name}: there was nothing to remove")


@lab.command(name="exec", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@_which_lab
@click.argument("workload")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.pass_obj
def execute(folders: "Folders", file: Path | None, name: str | None, workload: str, command: tuple[str, ...]) -> None:
    """Run COMMAND in a workload or host: in its network, with its names, as its user; its exit code is passed on.

    \b
    Examples:
      tidegate lab exec client -- curl -s http://reviews.default:9080/
      tidegate lab exec client.entry -- sh -c 'cat /etc/resolv.conf'
    """
    from tidegate.lab import inspect

    plan = _running(folders, file, name)
    command = command[1:] if command[0] == "--" else command
    if not command:
        raise click.UsageError("no command after --: tidegate lab exec WORKLOAD -- COMMAND")
    inspect.execute(plan, folders, inspect.find_member(plan, workload), command)


@lab.command()
@_which_lab
@click.argument("workload")
@click.option("--proxy", "which", flag_value="proxy", help="The sidecar's Envoy: its access log.")
@click.option("--agent", "which", flag_value="agent", help="The sidecar's agent.")
@click.option("-F", "--follow", is_flag=True, help="Go on with what is written from now on.")
@click.pass_obj
def logs(
    folders: "Folders", file: Path | None, name: str | None, workload: str, which: str | None, follow: bool
) -> None:
    """Print the output of a workload (NAME[.NAMESPACE]), a host (HOST[/COMMAND]), or one of the lab's own processes
    (apiserver, discovery, dns, outside-dns, node).

    \b
    Examples:
      tidegate lab logs client
      tidegate lab logs client --proxy --follow
      tidegate lab logs node
    """
    from tidegate.lab import inspect

    plan = _running(folders, file, name)
    path = inspect.log_file(plan, folders.lab(plan.spec.name), workload, which or "app")
    for chunk in inspect.read_log(path, follow):
        inspect.write_stdout(chunk)


@lab.command()
@_which_lab
@click.option("-o", "--output", type=click.Choice(["table", "json", "yaml"]), default="table", show_default=True)
@click.pass_obj
def status(folders: "Folders", file: Path | None, name: str | None, output: str) -> None:
    """Show the workloads and hosts: address, sidecar, restarts, process and uptime.

    RESTARTS counts how often the node started a program, or its sidecar's agent, again.

    \b
    Examples:
      tidegate lab status
      tidegate lab status -o json
    """
    import msgspec
    import yaml

    from tidegate.lab import inspect
    from tidegate.lab.state import folder_of

    plan = _running(folders, file, name)
    found = inspect.status(plan, folders, folder_of(plan.spec.name, folders)[1])
    if output == "json":
        click.echo(msgspec.json.format(msgspec.json.encode(found), indent=2))
    elif output == "yaml":
        click.echo(yaml.safe_dump(msgspec.to_builtins(found), sort_keys=False), nl=False)
    else:
        _table(found)


def _table(found: "Status") -> None:
    rows = [("WORKLOAD", "NAMESPACE", "ADDRESS", "READY", "RESTARTS", "PID", "UPTIME")]
    for row in found.members:
        pid, uptime = (str(row.pid), f"{row.uptime:.0f}s") if row.pid else ("-", "-")
        place = (row.workload, row.namespace or "(outside)", row.address)
        rows.append((*place, row.ready, str(row.restarts), pid, uptime))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for cells in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip())
    dead = [name for name, running in found.processes.items() if not running]
    if dead:
        click.echo(f"not running: {', '.join(dead)}; see `tidegate lab logs {dead[0]}`", err=True)
    if not found.complete:
        click.echo("this lab is half-built: `tidegate lab down` removes it", err=True)


def _plan(file: Path) -> "Plan":
    from tidegate.lab.labfile import load
    from tidegate.lab.plan import make_plan

    return make_plan(load(file), str(file.absolute().parent))


def _running(folders: "Folders", file: Path | None, name: str | None) -> "Plan":
    """The plan of a lab that is up, as it was built."""
    from tidegate.lab.state import folder_of

    return folder_of(name or _name(folders, file), folders)[1].plan


def _name(folders: "Folders", file: Path | None) -> str:
    from tidegate.kit.errors import TidegateError
    from tidegate.lab.labfile import load
    from tidegate.lab.state import read_owner

    if file is not None:
        return load(file).name
    owner = read_owner(folders.lock_file)
    if owner is not None:
        return owner.lab
    if Path("lab.yaml").is_file():
        return load(Path("lab.yaml")).name
    raise TidegateError(f"no lab is up in {folders.run}; name one with -f FILE or --name NAME")


def _progress() -> Any:
    """A context giving a reporter: one line for each thing that stands, and on a terminal a sign of life below."""
    import contextlib
    import sys

    if not sys.stdout.isatty():
        return contextlib.nullcontext(click.echo)
    from rich.console import Console

    console = Console()

    @contextlib.contextmanager
    def spinning() -> Any:
        with console.status("building the lab"):
            yield lambda text: console.print(f"[green]✔[/green] {text}", highlight=False)

    return spinning()
