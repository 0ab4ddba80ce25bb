"""The lab that is up, for commands that look at its workloads."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from tidegate.cli.options import run_dir_option

if TYPE_CHECKING:
    from tidegate.lab.plan import Plan
    from tidegate.lab.state import Folders

F = TypeVar("F", bound=Callable[..., Any])


def lab_options(command: F) -> F:
    """--lab, --run-dir and --state-dir: which lab a question is about."""
    command = run_dir_option(command)
    command = click.option(
        "--state-dir",
        type=click.Path(path_type=Path),
        envvar="TIDEGATE_STATE_DIR",
        help="What is kept [default: /var/lib/tidegate].",
    )(command)
    return click.option("--lab", help="The lab's name [default: the lab which is up].")(command)


def folders(run_dir: Path | None, state_dir: Path | None) -> "Folders":
    from tidegate.lab.state import DEFAULT_RUN_DIR, DEFAULT_STATE_DIR, Folders

    return Folders((run_dir or DEFAULT_RUN_DIR).absolute(), (state_dir or DEFAULT_STATE_DIR).absolute())


def running(found: "Folders", name: str | None) -> "Plan":
    """The plan of the named lab, or of the one that is up. Raises TidegateError when there is none."""
    from tidegate.kit.errors import TidegateError
    from tidegate.lab.state import folder_of, read_owner

    owner = read_owner(found.lock_file)
    if not name and owner is None:
        raise TidegateError(f"no lab is up in {found.run}; name one with --lab NAME, or another --run-dir")
    return folder_of(name or (owner.lab if owner else ""), found)[1].plan


def chosen(run_dir: Path | None, state_dir: Path | None, lab: str | None) -> "tuple[Folders, Plan]":
    """What the options of :func:`lab_options` name."""
    found = folders(run_dir, state_dir)
    return found, running(found, lab)


def api_server(
    kubeconfig: Path | None = None, run_dir: Path | None = None, state_dir: Path | None = None, lab: str | None = None
) -> Path:
    """The kubeconfig that is given, or that of the lab which is named or up."""
    if kubeconfig is not None and not lab:
        return kubeconfig
    found, plan = chosen(run_dir, state_dir, lab)
    return found.lab(plan.spec.name).kubeconfig


def complete_member(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Names of the lab's workloads and hosts, for shell completion."""
    from tidegate.kit.errors import TidegateError

    given = ctx.params
    try:
        plan = running(folders(given.get("run_dir"), given.get("state_dir")), given.get("lab"))
    except TidegateError:
        return []
    return sorted(member.key for member in plan.members if member.key.startswith(incomplete))
