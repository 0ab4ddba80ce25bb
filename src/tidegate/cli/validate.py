"""``tidegate validate``: what admission would say of manifests, with lines; for people and for CI."""

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from tidegate.cli.manifests import manifest_options, settings, sign_of_life, without_collector
from tidegate.cli.options import output_option

if TYPE_CHECKING:
    from tidegate.app.offline.findings import Finding

_COLOURS = {"error": "red", "warning": "yellow", "info": "blue", "limit": "blue"}
_OURS = "and tidegate's own mesh does not yet"


@click.command(name="validate")
@manifest_options
@click.option(
    "--fail-on",
    type=click.Choice(["error", "warning", "never"]),
    default="error",
    show_default=True,
    help="The mildest finding that makes the exit code 1.",
)
@click.option(
    "--limits",
    is_flag=True,
    help="Also list the fields that are Istio's and that tidegate's own mesh does not act on yet.",
)
@output_option
@without_collector()
def validate(paths: tuple[str, ...], fail_on: str, limits: bool, output: str, **where: Any) -> None:
    """Tell every error and warning of manifests with file and line, without a server.

    The words are those of `kubectl apply`: the shape of each object, Istio's rules, routes to subsets that there are
    none of, what is valid and most likely not meant (routes that hold nowhere, a Service's port where the workload's
    counts, annotations in the wrong place), what objects take from one another (who loses a listener, a host name, a
    rule), and EnvoyFilters that do nothing at any workload of the manifests. Kinds that tidegate does not serve are
    named as not judged. What tidegate's own mesh does not act on yet says nothing about the manifests: it is counted,
    and listed with --limits.

    Exit code 0: nothing worse than what --fail-on lets pass. 1: something is. 2: wrong usage.

    \b
    Examples:
      tidegate validate -f mesh/
      tidegate validate -f mesh/ --fail-on warning -o json
      helm template chart | tidegate validate -f -
    """
    from tidegate.app.offline.dangling import missing_subsets
    from tidegate.app.offline.disputes import disputes
    from tidegate.app.offline.manifests import load
    from tidegate.app.offline.pitfalls import pitfalls
    from tidegate.app.offline.world import build

    with sign_of_life("reading and judging the manifests"):
        given = load(paths)
        world = build(given, settings(**where))
        found = (*world.findings, *missing_subsets(world), *disputes(world), *pitfalls(world))
    if output == "short":
        _table(found, len(given.documents), limits)
    else:
        _structured(found, output)
    worst = {each.severity.value for each in found}
    failing = {"error": {"error"}, "warning": {"error", "warning"}, "never": set()}[fail_on]
    click.get_current_context().exit(1 if worst & failing else 0)


def _table(found: tuple["Finding", ...], documents: int, limits: bool) -> None:
    shown = {"error", "warning", *(["limit"] if limits else [])}
    for each in found:
        if each.severity.value in shown:
            click.secho(str(each), fg=_COLOURS[each.severity.value])
    for text in _unjudged(found):
        click.secho(text, fg=_COLOURS["info"])
    count = Counter(each.severity.value for each in found)
    told = ", ".join(
        f"{count[name]} {words}"
        for name, words in (("error", "error(s)"), ("warning", "warning(s)"), ("info", "not judged"))
        if count[name]
    )
    if documents or found:
        click.echo(f"{documents} object(s): {told or 'no errors, no warnings'}")
    else:
        click.echo("no objects: the manifests are empty")
    if count["limit"] and not limits:
        click.secho(f"note: {count['limit']} field(s) that Istio acts on, {_OURS}; --limits lists them", fg="blue")


def _unjudged(found: tuple["Finding", ...]) -> Iterator[str]:
    """One line for all objects of a kind that nobody looked at."""
    by_kind: dict[str, list[Finding]] = {}
    for each in found:
        if each.severity.value == "info":
            by_kind.setdefault(each.message, []).append(each)
    for message, several in by_kind.items():
        more = f" ({len(several)} objects)" if len(several) > 1 else ""
        yield f"{several[0].file}:{several[0].line}: info: {message}{more}"


def _structured(found: tuple["Finding", ...], output: str) -> None:
    import msgspec

    from tidegate.dump import commands

    click.echo(commands.structured([msgspec.to_builtins(each) for each in found], output), nl=False)
